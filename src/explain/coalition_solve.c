/* Kernel SHAP: which coalitions, and the least squares over them. */
#include "explain/coalition_solve.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "explain/cholesky.h"

/* ---- which ---------------------------------------------------------------------------------- */

/* How often a size comes, as the kernel weighs it: (n - 1)/(s (n - s)), over all of that size. */
static double size_weight(int64_t n, int64_t size)
{
    return (double)(n - 1) / ((double)size * (double)(n - size));
}

/* n over k, no more than `most` + 1. */
static int64_t choose(int64_t n, int64_t k, int64_t most)
{
    double count = 1;
    for (int64_t i = 0; i < k; i++) {
        count = count * (double)(n - i) / (double)(i + 1);
        if (count > (double)most) {
            return most + 1;
        }
    }
    return (int64_t)(count + 0.5);
}

typedef struct maker {
    ox_coalitions *c;
    int64_t made;
} maker;

/* Adds the coalition of `size` listed players, and with `both` all others. */
static void add(maker *m, const int64_t *list, int64_t size, double weight, bool both)
{
    int64_t n = m->c->players;
    for (int side = 0; side <= both; side++) {
        unsigned char *row = m->c->member + m->made * n;
        memset(row, side, (size_t)n);
        for (int64_t i = 0; i < size; i++) {
            row[list[i]] = side == 0;
        }
        m->c->weight[m->made++] = weight;
    }
}

/* All coalitions of `size`, in order. */
static void add_all(maker *m, int64_t size, double weight, bool both, int64_t *list)
{
    int64_t n = m->c->players, at = size - 1;
    for (int64_t i = 0; i < size; i++) {
        list[i] = i;
    }
    while (at >= 0) {
        add(m, list, size, weight, both);
        for (at = size - 1; at >= 0 && list[at] == n - size + at; at--) {
        }
        for (int64_t i = at; at >= 0 && i < size; i++) {
            list[i] = i == at ? list[i] + 1 : list[i - 1] + 1;
        }
    }
}

/* The weight of sizes from `least` to n - least. */
static double weight_from(int64_t n, int64_t least)
{
    double weight = 0;
    for (int64_t size = least; size <= n - least; size++) {
        weight += size_weight(n, size);
    }
    return weight;
}

/* Draws coalitions of sizes from `least` to n - least by their weights, with their complements;
 * they share the weight of these sizes. */
static void add_drawn(maker *m, int64_t least, ox_random *r, int64_t *list)
{
    int64_t n = m->c->players, pairs = (m->c->count - m->made) / 2;
    double left = weight_from(n, least);
    for (int64_t i = 0; i < n; i++) {
        list[i] = i;
    }
    for (int64_t k = 0; k < pairs; k++) {
        double at = ox_random_unit(r) * left;
        int64_t size = least;
        for (; size < n - least && at >= size_weight(n, size); size++) {
            at -= size_weight(n, size);
        }
        ox_random_shuffle(r, list, n);
        add(m, list, size, left / (double)(2 * pairs), true);
    }
}

void ox_coalitions_choose(ox_coalitions *c, int64_t seed, ox_arena *a)
{
    maker m = {.c = c};
    int64_t n = c->players, size = 1;
    int64_t *list = ox_arena_alloc(a, (size_t)n, sizeof *list);
    for (; 2 * size <= n; size++) {
        bool both = 2 * size < n;
        int64_t of_size = choose(n, size, c->count);
        /* all of a size where draws would bring it as often */
        double share = size_weight(n, size) * (both ? 2 : 1) / weight_from(n, size);
        if ((double)(c->count - m.made) * share < (double)(both ? 2 * of_size : of_size) - 1e-6) {
            break;
        }
        add_all(&m, size, size_weight(n, size) / (double)of_size, both, list);
    }
    if (2 * size <= n && m.made < c->count) {
        ox_random r = ox_random_begin(seed, 0);
        add_drawn(&m, size, &r, list);
    }
    c->count = m.made;
}

/* ---- the solution --------------------------------------------------------------------------- */

/* Matrices are by columns, as LAPACK has them. */

/* right = Z' W, [players, count], and the upper part of gram = Z' W Z. */
static void normal_equations(const ox_coalitions *c, double *right, double *gram)
{
    int64_t n = c->players;
    for (int64_t i = 0; i < c->count; i++) {
        const unsigned char *row = c->member + i * n;
        for (int64_t k = 0; k < n; k++) {
            right[i * n + k] = row[k] != 0 ? c->weight[i] : 0;
            for (int64_t l = 0; row[k] != 0 && l <= k; l++) {
                gram[k * n + l] += row[l] != 0 ? c->weight[i] : 0;
            }
        }
    }
}

/* The largest sum of a row, of the upper part. */
static double norm_of(const double *gram, int64_t n)
{
    double norm = 0;
    for (int64_t k = 0; k < n; k++) {
        double row = 0;
        for (int64_t l = 0; l < n; l++) {
            row += l <= k ? gram[k * n + l] : gram[l * n + k];
        }
        norm = fmax(norm, row);
    }
    return norm;
}

/* Solves gram x = right in place; false where gram is singular, or nearly so. */
static bool solve(double *gram, int64_t n, double *right, int64_t columns, double *one, ox_arena *a)
{
    double *work = ox_arena_alloc(a, (size_t)(3 * n), sizeof *work);
    int32_t *more = ox_arena_alloc(a, (size_t)n, sizeof *more);
    return ox_cholesky(gram, n, norm_of(gram, n), work, more) &&
           ox_cholesky_solve(gram, n, right, columns) && ox_cholesky_solve(gram, n, one, 1);
}

/* With P = gram^-1 Z' W and c = gram^-1 1 the free solution is P (f - base), and what its sum
 * misses is shared in proportion to c. */
bool ox_coalitions_solve(ox_coalitions *c, ox_arena *a)
{
    int64_t n = c->players;
    double *gram = ox_arena_alloc(a, (size_t)(n * n), sizeof *gram), sum = 0;
    double *own = ox_arena_alloc(a, (size_t)(n * c->count), sizeof *own);
    normal_equations(c, own, gram);
    for (int64_t k = 0; k < n; k++) {
        c->outer[k] = 1;
    }
    if (!solve(gram, n, own, c->count, c->outer, a)) {
        return false;
    }
    for (int64_t k = 0; k < n; k++) {
        sum += c->outer[k];
    }
    for (int64_t k = 0; k < n; k++) {
        c->outer[k] /= sum;
    }
    for (int64_t i = 0; i < c->count; i++) {
        double total = 0;
        for (int64_t k = 0; k < n; k++) {
            total += own[i * n + k];
        }
        for (int64_t k = 0; k < n; k++) {
            c->inner[k * c->count + i] = own[i * n + k] - c->outer[k] * total;
        }
    }
    return true;
}
