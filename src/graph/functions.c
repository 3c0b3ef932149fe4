/* Nodes of domain "onnxexplainer" whose bodies are model-local functions. */
#include <string.h>

#include "graph/build.h"

static void declare(ox_graph *top, const char *name, ox_body body, const void *user, size_t count,
                    const ox_val *inputs)
{
    for (size_t i = 0; i < top->function_count; i++) {
        if (strcmp(top->functions[i].name, name) == 0) {
            return;
        }
    }
    ox_arena *a = top->arena;
    ox_graph *g = ox_graph_new(a, top->infer, name);
    ox_val *formal = ox_arena_alloc(a, count, sizeof *formal);
    for (size_t i = 0; i < count; i++) {
        formal[i] = ox_graph_input(g, ox_arena_format(a, "in%zu", i), inputs[i]->type, -1, NULL);
    }
    g->scope = "body";
    g->no_functions = true;
    ox_graph_output(g, body(formal, user), "out");
    ox_graph_prune(g);
    ox_graph_settle(g);
    top->functions = ox_arena_grow(a, top->functions, top->function_count, sizeof *top->functions);
    top->functions[top->function_count++] = (ox_function){ox_arena_string(a, name), g};
}

/* Values of a sample. Less is no memory worth two nodes more, of which recurrent layers have
 * thousands. */
enum { WORTH_WAITING = 1024 };

/* v, of the sample, but not before the multiplier m is there: through a Reshape, which moves
 * nothing, to a shape that is read off m, but for at most so many of the last axes, which may be
 * others. ONNX Runtime would else compute what needs no multiplier in the forward pass, for all
 * references and layers, and hold it until the walk comes by. The first multiplier does for all
 * that come later, so that what they compute of v alone is shared. */
static ox_val after(ox_val m, ox_val v, int most)
{
    int lead = m->rank - v->rank, same = v->rank;
    if (v->rank < 1 || lead < 0 || ox_dims_static(v->rank, v->dims) ||
        ox_val_size(v).size < WORTH_WAITING) {
        return v;
    }
    for (int d = v->rank; d-- > 0;) {
        same = ox_dim_equal(v->dims[d], m->dims[lead + d]) ? same : d;
    }
    int own = v->rank - same;
    if (same == 0 || own > most || !ox_dims_static(own, v->dims + same)) {
        return v;
    }
    if (v->late != NULL) {
        return v->late;
    }
    ox_attr range[] = {ox_attr_int("start", -v->rank), ox_attr_int("end", -own)};
    ox_node *read = ox_graph_emit_node(v->graph, "", "Shape", 1, &m, 1, own == 0 ? 1 : 2, range);
    ox_val shape[] = {read->outputs[0], own == 0 ? NULL : ox_dims(v->graph, own, v->dims + same)};
    ox_val in[] = {ox_apart(v), own == 0 ? shape[0] : ox_concat(v->graph, 2, shape, 0)};
    ox_node *late = ox_graph_emit_node(v->graph, "", "Reshape", 2, in, 1, 0, NULL);
    late->outputs[0]->rank = v->rank;
    late->outputs[0]->dims = v->dims;
    v->late = late->outputs[0];
    return v->late;
}

ox_val ox_after(ox_val m, ox_val v)
{
    return after(m, v, 2);
}

/* The node, nothing known of its result but the type; NULL where there are no functions. */
static ox_val call(const char *name, ox_body body, const void *user, size_t count,
                   const ox_val *inputs)
{
    ox_graph *g = inputs[0]->graph;
    ox_graph *top = ox_graph_outermost(g);
    if (top->no_functions) {
        return NULL;
    }
    if (inputs[0]->type == OX_DOUBLE) {
        name = ox_arena_format(g->arena, "%sDouble", name);
    }
    declare(top, name, body, user, count, inputs);
    ox_node *n = ox_graph_emit_node(g, "onnxexplainer", name, count, inputs, 1, 0, NULL);
    n->outputs[0]->type = inputs[0]->type;
    return n->outputs[0];
}

ox_val ox_call(const char *name, ox_body body, const void *user, size_t count, const ox_val *given)
{
    ox_val *inputs = ox_arena_copy(given[0]->graph->arena, given, count, sizeof *inputs);
    for (size_t i = 1; i < count; i++) {
        inputs[i] = after(given[0], given[i], 0);
    }
    ox_val out = call(name, body, user, count, inputs);
    return out == NULL ? body(inputs, user) : out;
}

ox_val ox_call_shaped(const char *name, ox_body body, const void *user, size_t count,
                      const ox_val *inputs, int rank, const ox_dim *dims)
{
    ox_val out = call(name, body, user, count, inputs);
    if (out == NULL) {
        return ox_reshape(body(inputs, user), rank, dims);
    }
    out->rank = rank;
    out->dims = ox_arena_copy(out->graph->arena, dims, (size_t)rank, sizeof *dims);
    return out;
}
