/* What decompositions share. */
#include "rules/decompose.h"

#include "base/operators.h"
#include "rules/rules.h"
#include "rules/side.h"

_Noreturn void ox_made_fail(const ox_node *n, const char *message)
{
    ox_fail(n->graph->arena, OX_UNSUPPORTED, "%s: %s", ox_node_label(n), message);
}

/* The first node from n upwards whose inputs have ranks that are known: n itself where it does. */
static const ox_node *where_unknown(const ox_node *n)
{
    for (size_t i = 0; i < n->input_count; i++) {
        ox_val v = n->inputs[i];
        if (v != NULL && v->rank < 0 && v->node != NULL) {
            n = v->node;
            i = (size_t)-1;
        }
    }
    return n;
}

/* ", as that of .. is not": the node that `first` is. */
static const char *as_that_of(const ox_node *first)
{
    bool known = ox_operator_find(first->domain, first->op) >= 0;
    return ox_arena_format(first->graph->arena, ", as that of %s is not%s", ox_node_label(first),
                           known ? "" : ": no such operator is known");
}

const char *ox_shape_reason(ox_val v)
{
    return v->node == NULL ? "" : as_that_of(where_unknown(v->node));
}

/* The first value from the inputs of n upwards whose contents vary and decide sizes. */
static ox_val where_sized(const ox_node *n)
{
    ox_val sized = NULL;
    for (size_t i = 0; i < n->input_count; i++) {
        ox_val v = n->inputs[i];
        if (v != NULL && v->node != NULL && ox_side_of(v)->sized) {
            sized = v;
            n = v->node;
            i = (size_t)-1;
        }
    }
    return sized;
}

_Noreturn void ox_shape_fail(const ox_node *n)
{
    const ox_node *first = where_unknown(n);
    ox_val sized = where_sized(n);
    bool places = sized != NULL && (sized->type == OX_INT64 || sized->type == OX_BOOL);
    ox_arena *a = n->graph->arena;
    ox_fail(a, OX_UNSUPPORTED, "%s: its shape is not known%s%s", ox_node_label(n),
            first == n ? "" : as_that_of(first), places ? ox_hold_hint(a, sized) : "");
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
        ox_shape_fail(n);
    }
    return v;
}

int64_t ox_made_size(const ox_node *n, ox_val v, int axis)
{
    int at = ox_axis_front(axis, v->rank);
    if (at < 0 || !ox_dim_is_static(v->dims[at])) {
        ox_shape_fail(n);
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
