/* What decompositions of mathematical operators and attention share. */
#include "rules_parts.h"

ox_val ox_part_ranked(const ox_node *n, size_t i, int least, int most)
{
    ox_val v = ox_made_ranked(n, i);
    if (v->rank < least || v->rank > most) {
        ox_made_fail(n, "its shapes do not fit");
    }
    return v;
}

ox_val ox_part_result(const ox_node *n, size_t i, ox_val y)
{
    ox_type type = n->outputs[i]->type;
    return type == OX_NONE ? y : ox_cast(y, type);
}

int ox_part_axis(const ox_node *n, int64_t axis, int rank)
{
    if (axis < -(int64_t)rank || axis >= rank) {
        ox_made_fail(n, "its axis is out of range");
    }
    return (int)(axis < 0 ? axis : axis - rank);
}

bool ox_part_has_output(const ox_node *n, size_t i)
{
    return i < n->output_count && n->outputs[i]->name[0] != '\0';
}

ox_val ox_part_range(ox_val like, int64_t count, int ones)
{
    int64_t *numbers = ox_arena_alloc(like->graph->arena, (size_t)count, sizeof *numbers);
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = i;
    }
    ox_val range = ox_ints(like->graph, (size_t)count, numbers);
    return ox_made_column(ox_cast(range, like->type), ones);
}
