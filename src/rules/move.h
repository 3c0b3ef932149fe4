/* Operators that move data: what their rules share, and rules of others than the table's rows. */
#ifndef OX_RULES_MOVE_H
#define OX_RULES_MOVE_H

#include "rules/rules.h"

/* rules/index.c */

/* The adjoint of taking `count` positions `index` out of `size` along `axis` (negative): what
 * position k of m has is added to position index[k]. */
ox_val ox_spread(ox_ctx *c, ox_val m, int64_t axis, size_t count, const int64_t *index,
                 int64_t size);

/* m with zeros before and after along one axis (negative). */
ox_val ox_pad_axis(ox_val m, int64_t axis, int64_t before, int64_t after);

/* Gives up where input i, a shape or index, depends on the explained inputs. */
void ox_need_fixed(ox_ctx *c, size_t i);

/* Input 1, an index, with the lead axes of `like`. */
ox_val ox_index_like(ox_ctx *c, ox_val like, int lead);

/* Moves the lead axes of v behind the own ones, or back: GatherND and ScatterND take whole slices.
 */
ox_val ox_lead_last(ox_ctx *c, ox_val v, int lead, bool back);

void flow_gather_nd(ox_ctx *c);
void flow_scatter_elements(ox_ctx *c);
void flow_scatter_nd(ox_ctx *c);

#endif
