/* Nodes of domain "onnxexplainer" whose bodies are model-local functions. */
#include <string.h>

#include "graph/build.h"

static bool is_declared(const ox_graph *top, const char *name)
{
    for (size_t i = 0; i < top->function_count; i++) {
        if (strcmp(top->functions[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* A function, as it is declared. */
typedef struct function {
    const char *name;
    bool ranked;
    ox_body_of_many body;
    const void *user;
    size_t outputs;
} function;

/* Of the formal parameters only the types are known, and where `ranked` ranks. */
static void declare(ox_graph *top, const function *f, size_t count, const ox_val *inputs)
{
    ox_arena *a = top->arena;
    if (is_declared(top, f->name)) {
        return;
    }
    ox_graph *g = ox_graph_new(a, top->infer, f->name);
    ox_val *formal = ox_arena_alloc(a, count, sizeof *formal);
    ox_val *made = ox_arena_alloc(a, f->outputs, sizeof *made);
    for (size_t i = 0; i < count; i++) {
        ox_dim dims[OX_MAX_RANK];
        for (int d = 0; f->ranked && d < inputs[i]->rank; d++) {
            dims[d] = ox_dim_unknown(g);
        }
        formal[i] = ox_graph_input(g, ox_arena_format(a, "in%zu", i), inputs[i]->type,
                                   f->ranked ? inputs[i]->rank : -1, f->ranked ? dims : NULL);
    }
    g->scope = "body";
    g->no_functions = true;
    f->body(formal, made, f->user);
    for (size_t i = 0; i < f->outputs; i++) {
        ox_graph_output(g, made[i], i == 0 ? "out" : ox_arena_format(a, "out%zu", i));
    }
    ox_graph_prune(g);
    ox_graph_settle(g);
    top->functions = ox_arena_grow(a, top->functions, top->function_count, sizeof *top->functions);
    top->functions[top->function_count++] = (ox_function){ox_arena_string(a, f->name), g};
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

ox_val ox_not_after(ox_val v)
{
    ox_val own = v->node != NULL && v->node->input_count > 0 ? v->node->inputs[0] : NULL;
    if (own == NULL || own->late != v) {
        return v;
    }
    own->late = NULL;
    return own;
}

/* The node, nothing known of its results but the type; NULL where there are no functions. */
static ox_node *call_node(function f, size_t count, const ox_val *inputs)
{
    ox_graph *g = inputs[0]->graph;
    ox_graph *top = ox_graph_outermost(g);
    if (top->no_functions) {
        return NULL;
    }
    if (inputs[0]->type == OX_DOUBLE) {
        f.name = ox_arena_format(g->arena, "%sDouble", f.name);
    }
    declare(top, &f, count, inputs);
    ox_node *n = ox_graph_emit_node(g, "onnxexplainer", f.name, count, inputs, f.outputs, 0, NULL);
    for (size_t i = 0; i < f.outputs; i++) {
        n->outputs[i]->type = inputs[0]->type;
    }
    return n;
}

/* A body of one result as one of many. */
typedef struct single {
    ox_body body;
    const void *user;
} single;

static void single_body(const ox_val *inputs, ox_val *outputs, const void *user)
{
    const single *s = user;
    outputs[0] = s->body(inputs, s->user);
}

static ox_val call(const char *name, ox_body body, const void *user, size_t count,
                   const ox_val *inputs)
{
    const single own = {body, user};
    function f = {.name = name, .body = single_body, .user = &own, .outputs = 1};
    ox_node *n = call_node(f, count, inputs);
    return n == NULL ? NULL : n->outputs[0];
}

/* What is of the sample waits for the first input. */
static ox_val *after_first(size_t count, const ox_val *given)
{
    ox_val *inputs = ox_arena_copy(given[0]->graph->arena, given, count, sizeof *inputs);
    for (size_t i = 1; i < count; i++) {
        inputs[i] = after(given[0], given[i], 0);
    }
    return inputs;
}

ox_val ox_call(const char *name, ox_body body, const void *user, size_t count, const ox_val *given)
{
    ox_val *inputs = after_first(count, given);
    ox_val out = call(name, body, user, count, inputs);
    return out == NULL ? body(inputs, user) : out;
}

void ox_call_pair(const char *name, ox_body_of_many body, const void *user, size_t count,
                  const ox_val *given, ox_val made[2])
{
    ox_val *inputs = after_first(count, given);
    ox_node *n = call_node((function){name, false, body, user, 2}, count, inputs);
    if (n == NULL) {
        body(inputs, made, user);
        return;
    }
    memcpy(made, n->outputs, 2 * sizeof *made);
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

void ox_call_many(const char *name, ox_body_of_many body, const void *user, size_t count,
                  const ox_val *inputs, size_t outputs, ox_val *made)
{
    ox_node *n = call_node((function){name, true, body, user, outputs}, count, inputs);
    if (n == NULL) {
        body(inputs, made, user);
        return;
    }
    for (size_t i = 0; i < outputs; i++) {
        made[i] = n->outputs[i];
    }
}
