/* Maxima over windows and axes as trees of maxima of two. */
#ifndef OX_RULES_POOL_TREE_H
#define OX_RULES_POOL_TREE_H

#include "rules/spatial.h"

/* The window that is all of an axis. */
ox_window ox_whole_window(int64_t size);

/* What x gets of c->m, the multiplier of the maxima (max: else minima) over windows `w` along the
 * last `axes` axes of x and x0. */
ox_val ox_pool_tree(ox_ctx *c, bool max, ox_val x, ox_val x0, int axes, const ox_window *w);

#endif
