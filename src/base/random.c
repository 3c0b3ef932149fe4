/* SplitMix64 (Steele, Lea, Flood 2014): a Weyl sequence, its numbers mixed. */
#include "base/random.h"

#include <math.h>

static const uint64_t STEP = UINT64_C(0x9e3779b97f4a7c15);

uint64_t ox_random_bits(ox_random *r)
{
    uint64_t z = r->state += STEP;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

ox_random ox_random_begin(int64_t seed, uint64_t stream)
{
    ox_random r = {(uint64_t)seed};
    r.state = ox_random_bits(&r) + stream * UINT64_C(0xd1342543de82ef95);
    ox_random_bits(&r);
    return r;
}

double ox_random_unit(ox_random *r)
{
    return (double)(ox_random_bits(r) >> 11) * 0x1p-53;
}

int64_t ox_random_below(ox_random *r, int64_t count)
{
    return (int64_t)(ox_random_unit(r) * (double)count);
}

/* Box and Muller. */
double ox_random_normal(ox_random *r)
{
    double radius = sqrt(-2 * log(1 - ox_random_unit(r)));
    return radius * cos(6.283185307179586477 * ox_random_unit(r));
}

void ox_random_shuffle(ox_random *r, int64_t *numbers, int64_t count)
{
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t k = ox_random_below(r, i + 1), number = numbers[i];
        numbers[i] = numbers[k];
        numbers[k] = number;
    }
}
