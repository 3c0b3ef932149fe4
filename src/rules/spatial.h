/* Sliding windows in rules: what convolutions and pools share. */
#ifndef OX_RULES_SPATIAL_H
#define OX_RULES_SPATIAL_H

#include "rules/rules.h"
#include "shape/window.h"

enum { OX_SPATIAL_AXES = 8 }; /* at most */

/* The number of spatial axes of the node at hand; gives up where its ranks are not known. */
int ox_spatial_axes(ox_ctx *c);

/* Its windows, auto_pad resolved. `in` and `out` are the sizes of its input 0 and its output;
 * `kernel` comes from kernel_shape, or from `filters` where they are given. Gives up on numbers
 * of which products might not fit. */
ox_window *ox_windows(ox_ctx *c, ox_val filters);

/* Gives up on numbers of which products might not fit. */
void ox_window_check(ox_ctx *c, const ox_window *w);

/* The adjoint of a convolution with `filters` [M, C / group, ...]: takes m, [..., M, out...], to
 * [..., C, in...]. NULL where no window reaches the input, so that nothing flows. */
ox_val ox_unconvolve(ox_ctx *c, ox_val m, ox_val filters, int64_t group, const ox_window *w);

enum { OX_INTERLEAVE_MOST = 9 }; /* parts, as of stride 3 in two dimensions */

/* Planes [B, C, H, W] of `size` from those of their phases, [B, C, ceil(H / steps), ..]: all of
 * them, row by row with room for one more, or the one at `at` and zeros elsewhere.
 * rules/interleave.c. */
ox_val ox_interleave(const int64_t steps[2], ox_val *parts, const int64_t size[2]);
ox_val ox_put_apart(ox_val part, const int64_t steps[2], const int64_t at[2],
                    const int64_t size[2]);

/* Where m, [..., C, H, W], is made by a flow of elements from all phases put together: what it
 * makes of each of them. Gives false where it is not so. */
bool ox_flow_of_phases(ox_ctx *c, ox_val m, ox_val *parts, int64_t steps[2]);

#endif
