/* What decompositions share. */
#include "rules/decompose.h"

_Noreturn void ox_made_fail(const ox_node *n, const char *message)
{
    ox_fail(n->graph->arena, OX_UNSUPPORTED, "%s: %s", ox_node_label(n), message);
}

ox_val ox_made_input(const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    bool narrow = v != NULL && (v->type == OX_FLOAT16 || v->type == OX_BFLOAT16);
    return narrow ? ox_cast(v, OX_FLOAT) : v;
}

ox_val ox_made_ranked(const ox_node *n, size_t i)
{
    ox_val v = ox_made_input(n, i);
    if (v == NULL || v->rank < 0) {
        ox_made_fail(n, "its shape is not known");
    }
    return v;
}

int64_t ox_made_size(const ox_node *n, ox_val v, int axis)
{
    int at = ox_axis_front(axis, v->rank);
    if (at < 0 || !ox_dim_is_static(v->dims[at])) {
        ox_made_fail(n, "its shape is not known");
    }
    return v->dims[at].size;
}

int64_t ox_made_count(const ox_node *n, ox_val v, int first)
{
    int64_t count = 1;
    for (int d = first; d < v->rank; d++) {
        if (!ox_int_mul(count, ox_made_size(n, v, d), &count)) {
            ox_made_fail(n, "its shape is too large");
        }
    }
    return count;
}

ox_val ox_made_column(ox_val v, int after)
{
    for (int d = 0; d < after; d++) {
        v = ox_unsqueeze(v, -1);
    }
    return v;
}

ox_val ox_made_plus(ox_val a, ox_val b)
{
    return a == NULL ? b : b == NULL ? a : ox_add(a, b);
}

ox_val ox_made_of_rank(const ox_node *n, size_t i, int least, int most)
{
    ox_val v = ox_made_ranked(n, i);
    if (v->rank < least || v->rank > most) {
        ox_made_fail(n, "its shapes do not fit");
    }
    return v;
}

ox_val ox_made_result(const ox_node *n, size_t i, ox_val y)
{
    ox_type type = n->outputs[i]->type;
    return type == OX_NONE ? y : ox_cast(y, type);
}

bool ox_made_has_output(const ox_node *n, size_t i)
{
    return i < n->output_count && n->outputs[i]->name[0] != '\0';
}

ox_val ox_made_range(ox_val like, int64_t count, int ones)
{
    ox_val range = ox_iota(like->graph, OX_INT64, count);
    return ox_made_column(ox_cast(range, like->type), ones);
}

ox_val ox_made_counted(ox_val v, int axis)
{
    return ox_iota_of(ox_squeeze(ox_dims(v->graph, 1, &v->dims[axis]), 0));
}
