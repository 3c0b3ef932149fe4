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

enum { BITS = 64 };

/* The coalitions of each player as bits, words after words, for those that weigh the same: from
 * `first` on, `count` of them. */
static void pack(const ox_coalitions *c, int64_t first, int64_t count, int64_t words,
                 uint64_t *bits)
{
    int64_t n = c->players;
    memset(bits, 0, (size_t)(n * words) * sizeof *bits);
    for (int64_t i = 0; i < count; i++) {
        const unsigned char *row = c->member + (first + i) * n;
        for (int64_t k = 0; k < n; k++) {
            bits[k * words + i / BITS] |= (uint64_t)row[k] << i % BITS;
        }
    }
}

static int64_t ones(uint64_t word)
{
    word -= word >> 1 & UINT64_C(0x5555555555555555);
    word = (word & UINT64_C(0x3333333333333333)) + (word >> 2 & UINT64_C(0x3333333333333333));
    word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (int64_t)(word * UINT64_C(0x0101010101010101) >> 56);
}

/* The upper part of gram = Z' W Z: how many coalitions, by weight, have both players. Those of one
 * weight follow each other. */
static void normal_equations(const ox_coalitions *c, double *gram, ox_arena *a)
{
    int64_t n = c->players, most = (c->count + BITS - 1) / BITS, end = 0;
    uint64_t *bits = ox_arena_alloc(a, (size_t)(n * most), sizeof *bits);
    for (int64_t first = 0; first < c->count; first = end) {
        for (end = first; end < c->count && c->weight[end] == c->weight[first];) {
            end++;
        }
        int64_t words = (end - first + BITS - 1) / BITS;
        pack(c, first, end - first, words, bits);
        for (int64_t k = 0; k < n; k++) {
            for (int64_t l = 0; l <= k; l++) {
                int64_t both = 0;
                for (int64_t w = 0; w < words; w++) {
                    both += ones(bits[k * words + w] & bits[l * words + w]);
                }
                gram[k * n + l] += c->weight[first] * (double)both;
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

/* The inverse of gram in place; false where it is singular, or nearly so. */
static bool invert(double *gram, int64_t n, ox_arena *a)
{
    if (!ox_cholesky_is_there()) {
        ox_fail(a, OX_UNSUPPORTED,
                "this onnxexplainer was built without LAPACK, which the method "
                "kernel needs");
    }
    double *work = ox_arena_alloc(a, (size_t)(3 * n), sizeof *work);
    int32_t *more = ox_arena_alloc(a, (size_t)n, sizeof *more);
    return ox_cholesky(gram, n, norm_of(gram, n), work, more) && ox_cholesky_invert(gram, n);
}

/* sum = the columns of the players that are in, or `whole` less those that are out: whichever are
 * fewer. */
static void add_columns(const double *inverse, const double *whole, const unsigned char *row,
                        int64_t n, double *sum)
{
    int64_t in = 0;
    for (int64_t k = 0; k < n; k++) {
        in += row[k];
    }
    bool few = 2 * in <= n;
    for (int64_t k = 0; k < n; k++) {
        sum[k] = few ? 0 : whole[k];
    }
    for (int64_t l = 0; l < n; l++) {
        const double *column = inverse + l * n, sign = few ? 1 : -1;
        for (int64_t k = 0; row[l] == few && k < n; k++) {
            sum[k] += sign * column[k];
        }
    }
}

/* With P = gram^-1 Z' W and c = gram^-1 1 the free solution is P (f - base), and what its sum
 * misses is shared in proportion to c. */
bool ox_coalitions_solve(ox_coalitions *c, ox_arena *a)
{
    int64_t n = c->players;
    double *gram = ox_arena_alloc(a, (size_t)(n * n), sizeof *gram), all = 0;
    double *whole = ox_arena_alloc(a, (size_t)n, sizeof *whole);
    double *sum = ox_arena_alloc(a, (size_t)n, sizeof *sum);
    normal_equations(c, gram, a);
    if (!invert(gram, n, a)) {
        return false;
    }
    for (int64_t l = 0; l < n; l++) {
        for (int64_t k = 0; k < n; k++) {
            whole[k] += gram[l * n + k];
        }
    }
    for (int64_t k = 0; k < n; k++) {
        all += whole[k];
    }
    for (int64_t k = 0; k < n; k++) {
        c->outer[k] = whole[k] / all;
    }
    for (int64_t i = 0; i < c->count; i++) {
        double total = 0;
        add_columns(gram, whole, c->member + i * n, n, sum);
        for (int64_t k = 0; k < n; k++) {
            total += sum[k];
        }
        for (int64_t k = 0; k < n; k++) {
            c->inner[k * c->count + i] = c->weight[i] * (sum[k] - c->outer[k] * total);
        }
    }
    return true;
}
