/* What tree.c and the loops that are compiled for each instruction set (tree_rows.c) share. */
#ifndef OPS_TREE_H
#define OPS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* References whose numbers lie in a row. */
typedef struct ops_tree_pass {
    size_t refs, sides;
    uint32_t x;              /* a bit for each feature of the path that the sample is outside of */
    const uint32_t *r;       /* the same of each reference */
    const int32_t *a;        /* bits of that, counted */
    const float *won, *lost; /* by a: what P and M get of a leaf's value */
    float *u, *w;            /* room for a row each */
} ops_tree_pass;

/* Sets u to what P gets of a pair's value, w to what M gets, 0 where neither is inside somewhere.
 * False where all are 0. */
typedef bool (*ops_tree_weigh)(const ops_tree_pass *p);

/* Adds c u to the sum of side d where the reference is outside; takes c w off. */
typedef void (*ops_tree_add)(const ops_tree_pass *p, size_t d, const float *c, float *sum);
typedef void (*ops_tree_take)(const ops_tree_pass *p, const float *c, float *sum);

/* Adds bit d of each reference where its value x is outside: of one of `count` ranges, and not
 * where it is NaN and that is inside. */
typedef void (*ops_tree_mark)(size_t refs, const float *x, size_t count, const float *low,
                              const float *high, size_t step, bool missing, uint32_t bit,
                              uint32_t *r, int32_t *a);

typedef struct ops_tree_rows {
    ops_tree_weigh weigh;
    ops_tree_add add;
    ops_tree_take take;
    ops_tree_mark mark;
} ops_tree_rows;

extern const ops_tree_rows ops_tree_plain;
extern const ops_tree_rows ops_tree_neon;
extern const ops_tree_rows ops_tree_avx2;
extern const ops_tree_rows ops_tree_avx512;

#endif
