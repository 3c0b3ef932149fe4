/* The third order: where values are in the mean, beside the middle of both sides, and how far off
 * that is. What finds the means is in rules/mean_path.c. */
#include "rules/second.h"
#include "rules/side.h"

/* The middle of both sides, for each pair. */
static ox_val middle(ox_ctx *c, size_t i)
{
    return ox_mean(ox_x(c, i), ox_x0(c, i));
}

ox_val ox_mean_of_input(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i), own = ox_varies(c, i) ? ox_side_of(v)->mean : NULL;
    return own == NULL ? middle(c, i) : ox_align(c, ox_cast(own, c->type), v->rank);
}

ox_val ox_off_middle(ox_val mean, ox_val x, ox_val x0)
{
    return ox_scale(ox_sub(mean, ox_mean(x, x0)), 2.0 / 3);
}

ox_val ox_off_path(ox_ctx *c)
{
    ox_val mean = ox_side_of(c->node->inputs[0])->mean;
    return mean == NULL ? NULL : ox_off_middle(ox_cast(mean, c->type), ox_x(c, 0), ox_x0(c, 0));
}
