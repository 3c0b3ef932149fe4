/* Coalitions of players, and the weighted least squares of Kernel SHAP over them. */
#ifndef OX_EXPLAIN_COALITION_SOLVE_H
#define OX_EXPLAIN_COALITION_SOLVE_H

#include "base/arena.h"

/* Some coalitions, none and all not among them, and what makes SHAP values of them:
 * phi = inner (f(coalitions) - base) + outer (f(x) - base). */
typedef struct ox_coalitions {
    int64_t players, count;
    unsigned char *member; /* [count, players] */
    double *weight;        /* [count] */
    double *inner;         /* [players, count] */
    double *outer;         /* [players] */
} ox_coalitions;

/* Fills in count coalitions and weights: all of a size where there is room, from the outer sizes
 * on, each with what it leaves out; the others are drawn. May take fewer, and sets count. */
void ox_coalitions_choose(ox_coalitions *c, int64_t seed, ox_arena *a);

/* Fills in inner and outer: the solution of the weighted least squares of f(S) - base by the sum of
 * its members' values, which add up to f(x) - base. False where it is not determined. */
bool ox_coalitions_solve(ox_coalitions *c, ox_arena *a);

#endif
