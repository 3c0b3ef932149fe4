/* The phases of a strided convolution in two dimensions, put together as planes by fused nodes:
 * Interleave<rows>x<columns>(parts.., shape), and Spread<rows>x<columns>At<row>x<column>(part,
 * shape) for a single phase that is not zero. `shape` is int64 [4], 0 standing for what the parts
 * have; the names of those where it cuts off the end of the phases go on with "Cut". */
#include "rules/spatial.h"

#include <stdio.h>
#include <string.h>

#include "base/ours.h"

enum { ROWS = 2, COLUMNS = 3 }; /* axes */

typedef struct phases {
    int64_t steps[2], at[2];
    bool cut;
} phases;

static ox_val element(ox_val v, int64_t from, int64_t to)
{
    ox_attr range[] = {ox_attr_int("start", from), ox_attr_int("end", to)};
    return ox_graph_emit(v->graph, "Shape", 1, &v, 2, range);
}

/* The first rows and columns, as many as the shape says. */
static ox_val cut_off(ox_val planes, ox_val shape)
{
    static const int64_t none[] = {0, 0}, axes[] = {ROWS, COLUMNS};
    ox_graph *g = planes->graph;
    ox_val in[] = {planes, ox_ints(g, 2, none), ox_slice(shape, 0, 2, 4, 1), ox_ints(g, 2, axes)};
    return ox_graph_emit(g, "Slice", 4, in, 0, NULL);
}

/* Parts side by side on new axes behind columns and rows, [B, C, h, rows, w, columns]. */
static ox_val interleave_body(const ox_val *in, const void *user)
{
    const phases *p = user;
    ox_graph *g = in[0]->graph;
    ox_val rows[OX_INTERLEAVE_MOST];
    for (int64_t i = 0; i < p->steps[0]; i++) {
        ox_val columns[OX_INTERLEAVE_MOST];
        for (int64_t j = 0; j < p->steps[1]; j++) {
            columns[j] = ox_unsqueeze(in[i * p->steps[1] + j], COLUMNS + 1);
        }
        rows[i] = ox_unsqueeze(ox_concat(g, (size_t)p->steps[1], columns, COLUMNS + 1), ROWS + 1);
    }
    ox_val all = ox_concat(g, (size_t)p->steps[0], rows, ROWS + 1);
    ox_val shape = in[p->steps[0] * p->steps[1]];
    if (!p->cut) {
        return ox_binary("Reshape", all, shape);
    }
    const int64_t factors[] = {1, 1, p->steps[0], p->steps[1]};
    ox_val full = ox_mul(ox_unary("Shape", in[0]), ox_ints(g, 4, factors));
    return cut_off(ox_binary("Reshape", all, full), shape);
}

/* By a ConvTranspose of each channel with a single one, at the phase. */
static ox_val spread_body(const ox_val *in, const void *user)
{
    const phases *p = user;
    ox_val part = in[0], shape = in[1];
    ox_graph *g = part->graph;
    int64_t dims[4] = {1, 1, p->at[0] + 1, p->at[1] + 1}, behind[2], single[2] = {-1, 1};
    size_t count = (size_t)(dims[2] * dims[3]);
    double *ones = ox_arena_alloc(g->arena, count, sizeof *ones);
    ones[count - 1] = 1;
    for (int k = 0; k < 2; k++) {
        behind[k] = p->steps[k] - 1 - p->at[k];
    }
    ox_val alone[] = {ox_ints(g, 2, single), element(part, 2, 4)};
    ox_val taps[] = {ox_binary("Reshape", part, ox_concat(g, 2, alone, 0)),
                     ox_floats(g, part->type, 4, dims, ones)};
    ox_attr attrs[] = {ox_attr_ints("strides", 2, p->steps),
                       ox_attr_ints("output_padding", 2, behind)};
    ox_val spread = ox_graph_emit(g, "ConvTranspose", 2, taps, 2, attrs);
    spread = p->cut ? cut_off(spread, shape) : spread;
    ox_val together[] = {element(part, 0, 2), ox_slice(shape, 0, 2, 4, 1)};
    return ox_binary("Reshape", spread, ox_concat(g, 2, together, 0));
}

/* The node of `count` parts, parts[count] being room for the shape. */
static ox_val emit(const char *name, ox_body body, phases *p, size_t count, ox_val *parts,
                   const int64_t size[2])
{
    ox_graph *g = parts[0]->graph;
    const int64_t shape[4] = {0, 0, size[0], size[1]};
    ox_dim dims[4] = {parts[0]->dims[0], parts[0]->dims[1], ox_dim_of(size[0]), ox_dim_of(size[1])};
    for (int k = 0; k < 2; k++) {
        p->cut = p->cut || parts[0]->dims[ROWS + k].size * p->steps[k] != size[k];
    }
    parts[count] = ox_ints(g, 4, shape);
    name = p->cut ? ox_arena_format(g->arena, "%sCut", name) : name;
    return ox_call_shaped(name, body, p, count + 1, parts, 4, dims);
}

ox_val ox_interleave(const int64_t steps[2], ox_val *parts, const int64_t size[2])
{
    phases p = {.steps = {steps[0], steps[1]}};
    const char *name = ox_arena_format(parts[0]->graph->arena, "Interleave%lldx%lld",
                                       (long long)steps[0], (long long)steps[1]);
    return emit(name, interleave_body, &p, (size_t)(steps[0] * steps[1]), parts, size);
}

/* ---- a flow of what was put together ------------------------------------------------------ */

/* The node of ours that puts phases together which do not overhang, behind a Reshape or not. */
static const ox_node *putting_together(ox_val m, int64_t steps[2])
{
    const ox_node *n = m->node;
    long long rows, columns;
    int end = 0;
    if (n != NULL && !n->original && strcmp(n->op, "Reshape") == 0) {
        n = n->inputs[0]->node;
    }
    if (n == NULL || strcmp(n->domain, "onnxexplainer") != 0 ||
        sscanf(n->op, "Interleave%lldx%lld%n", &rows, &columns, &end) != 2 || n->op[end] != '\0') {
        return NULL;
    }
    steps[0] = (int64_t)rows;
    steps[1] = (int64_t)columns;
    return n;
}

/* Every steps-th row and column of v; v itself where it has none. */
static ox_val phase_of(ox_val v, const int64_t steps[2], const int64_t at[2], const ox_dim size[2])
{
    static const int64_t axes[] = {-2, -1}, ends[] = {INT64_MAX, INT64_MAX};
    if (v->rank == 0) {
        return v;
    }
    if (v->rank < 2 || !ox_dims_equal(2, v->dims + v->rank - 2, size)) {
        return NULL;
    }
    ox_graph *g = v->graph;
    ox_val in[] = {v, ox_ints(g, 2, at), ox_ints(g, 2, ends), ox_ints(g, 2, axes),
                   ox_ints(g, 2, steps)};
    return ox_graph_emit(g, "Slice", 5, in, 0, NULL);
}

bool ox_flow_of_phases(ox_ctx *c, ox_val m, ox_val *parts, int64_t steps[2])
{
    const ox_node *flow = m->node;
    bool ours = flow != NULL && strcmp(flow->domain, "onnxexplainer") == 0;
    bool sum = ours && strstr(flow->op, "SumFlow") != NULL; /* of a term that is not in phases */
    const ox_ours *kind = ours && !sum ? ox_ours_find(flow->op) : NULL;
    const ox_node *from = kind != NULL && kind->kind == OX_OURS_ELEMENTS
                              ? putting_together(flow->inputs[0], steps)
                              : NULL;
    ox_val in[8], whole[8];
    if (from == NULL || flow->input_count > sizeof in / sizeof *in) {
        return false;
    }
    ox_val before = flow->inputs[0];
    if (m->rank != c->lead + 4 || before->rank != m->rank) {
        return false;
    }
    for (size_t i = 1; i < flow->input_count; i++) {
        whole[i] = ox_not_after(flow->inputs[i]);
    }
    for (int64_t p = 0; p < steps[0] * steps[1]; p++) {
        in[0] = ox_unfold(c, from->inputs[p], before);
        for (size_t i = 1; i < flow->input_count; i++) {
            int64_t at[] = {p / steps[1], p % steps[1]};
            in[i] = phase_of(whole[i], steps, at, m->dims + m->rank - 2);
            if (in[i] == NULL) {
                return false;
            }
            in[i] = ox_after(in[0], in[i]);
        }
        ox_node *n =
            ox_graph_emit_node(m->graph, flow->domain, flow->op, flow->input_count, in, 1, 0, NULL);
        parts[p] = n->outputs[0];
        parts[p]->type = m->type;
    }
    return true;
}

ox_val ox_put_apart(ox_val part, const int64_t steps[2], const int64_t at[2], const int64_t size[2])
{
    phases p = {.steps = {steps[0], steps[1]}, .at = {at[0], at[1]}};
    ox_val parts[2] = {part};
    const char *name =
        ox_arena_format(part->graph->arena, "Spread%lldx%lldAt%lldx%lld", (long long)steps[0],
                        (long long)steps[1], (long long)at[0], (long long)at[1]);
    return emit(name, spread_body, &p, 1, parts, size);
}
