/* What decompositions share. */
#include "rules_made.h"

#include "rules_unary.h"

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
    int at = axis < 0 ? v->rank + axis : axis;
    if (v->rank < 0 || at < 0 || at >= v->rank || !ox_dim_is_static(v->dims[at])) {
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

int ox_made_axis(const ox_node *n, const char *name, int64_t otherwise, int rank)
{
    int64_t axis = ox_node_int(n, name, otherwise);
    axis += axis < 0 ? rank : 0;
    if (axis < 0 || axis >= rank) {
        ox_made_fail(n, "its axis is out of range");
    }
    return (int)axis;
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

int ox_made_axis_from_end(const ox_node *n, int64_t axis, int rank)
{
    if (axis < -(int64_t)rank || axis >= rank) {
        ox_made_fail(n, "its axis is out of range");
    }
    return (int)(axis < 0 ? axis : axis - rank);
}

bool ox_made_has_output(const ox_node *n, size_t i)
{
    return i < n->output_count && n->outputs[i]->name[0] != '\0';
}

ox_val ox_made_range(ox_val like, int64_t count, int ones)
{
    int64_t *numbers = ox_arena_alloc(like->graph->arena, (size_t)count, sizeof *numbers);
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = i;
    }
    ox_val range = ox_ints(like->graph, (size_t)count, numbers);
    return ox_made_column(ox_cast(range, like->type), ones);
}

/* ---- rounding -------------------------------------------------------------------------------- */

/* A node that is never computed: its input 1 is the output that it stands for. */
ox_val ox_made_rounded(const ox_node *n, size_t i, ox_val exact)
{
    ox_val y = n->outputs[i];
    ox_val in[] = {exact, y};
    ox_val out =
        ox_graph_emit_node(n->graph, "onnxexplainer", "Rounded", 2, in, 1, 0, NULL)->outputs[0];
    out->type = y->type;
    out->rank = y->rank;
    out->dims = y->dims;
    return out;
}

/* m dy/d as m dy d / d^2, nothing where d = 0. Takes m, y, y0, x, x0. */
static ox_val rounded_body(const ox_val *in, const void *user)
{
    (void)user;
    ox_val d = ox_sub(in[3], in[4]), dy = ox_sub(in[1], in[2]);
    return ox_mul(in[0], ox_div(ox_mul(dy, d), ox_shift(ox_square(d), OX_TINY)));
}

static void send_rounded(ox_ctx *c, ox_val y, ox_val y0)
{
    ox_type type = c->m->type;
    ox_val in[] = {c->m, ox_cast(y, type), ox_cast(y0, type), ox_cast(ox_x(c, 0), type),
                   ox_cast(ox_x0(c, 0), type)};
    ox_send(c, 0, ox_call("RoundedFlow", rounded_body, NULL, 5, in));
}

void flow_rounded(ox_ctx *c)
{
    send_rounded(c, ox_x(c, 1), ox_x0(c, 1));
}

void flow_quantize(ox_ctx *c)
{
    if (ox_varies(c, 1) || ox_varies(c, 2)) {
        ox_rule_fail(c, "its scale depends on the input");
    }
    send_rounded(c, ox_y(c, 0), ox_y0(c, 0));
}
