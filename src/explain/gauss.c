/* The quadrature of Gauss and Legendre. */
#include "explain/gauss.h"

#include <math.h>

void ox_gauss_legendre(int i, int count, double *at, double *weight)
{
    double z = cos(3.14159265358979323846 * (i + 0.75) / (count + 0.5)), slope = 1;
    for (int step = 0; step < 100; step++) {
        double p = 1, before = 0;
        for (int k = 1; k <= count; k++) {
            double next = ((2 * k - 1) * z * p - (k - 1) * before) / k;
            before = p;
            p = next;
        }
        slope = count * (z * p - before) / (z * z - 1);
        z -= p / slope;
        if (fabs(p / slope) < 1e-15) {
            break;
        }
    }
    *at = (1 - z) / 2;
    *weight = 1 / ((1 - z * z) * slope * slope);
}
