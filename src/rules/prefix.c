/* Dense connectivity: layers that concatenate all that is there so far. Where the inputs of a
 * Concat begin with those of a shorter one, its rule sends one part to the result of the shorter
 * one, which hands it on together with what reaches it anyhow, and not a part to each input. */
#include <string.h>

#include "rules/rules.h"

static int axis_of(const ox_node *n)
{
    return ox_axis_front(ox_node_int(n, "axis", 0), n->outputs[0]->rank);
}

static bool begins_with(const ox_node *n, const ox_node *shorter)
{
    size_t count = shorter->input_count;
    return strcmp(shorter->op, "Concat") == 0 && shorter->domain[0] == '\0' && count > 1 &&
           count < n->input_count && axis_of(n) == axis_of(shorter) &&
           memcmp(n->inputs, shorter->inputs, count * sizeof *n->inputs) == 0 &&
           !ox_is_point(shorter->outputs[0]);
}

/* The longest, of those that the walk has not visited yet. */
size_t ox_concat_prefix(ox_ctx *c, ox_val *whole)
{
    size_t best = 0;
    for (size_t i = 0; !c->squared && i < c->sides->later_count; i++) {
        const ox_node *shorter = c->sides->later[i];
        if (shorter->input_count > best && begins_with(c->node, shorter)) {
            best = shorter->input_count;
            *whole = shorter->outputs[0];
        }
    }
    return best;
}
