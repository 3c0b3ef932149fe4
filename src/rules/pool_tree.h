/* Maxima over windows and axes as trees of maxima of two. */
#ifndef OX_RULES_POOL_TREE_H
#define OX_RULES_POOL_TREE_H

#include "rules/spatial.h"

/* The window that is all of an axis. */
ox_window ox_whole_window(int64_t size);

/* Maxima (max: else minima) over windows `w` along the last `axes` axes of x and x0; v: V of x,
 * NULL without a second order; mean: x on the mean path, NULL without one. */
typedef struct ox_pool {
    ox_ctx *c;
    bool max;
    ox_val x, x0, v, mean;
    int axes;
    const ox_window *w;
} ox_pool;

/* What x gets of c->m, the multiplier of the maxima, and in *second of that and of q, their
 * multiplier of the second order (NULL: 0). */
ox_val ox_pool_tree(const ox_pool *p, ox_val q, ox_val *second);

/* V of the maxima; and *mean, what they are on the mean path, NULL without one. */
ox_val ox_pool_tree_variance(const ox_pool *p, ox_val *mean);

#endif
