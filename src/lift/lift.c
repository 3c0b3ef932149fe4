/* Lifting: model-local functions are inlined and older spellings rewritten, in one pass over the
 * nodes, so that everything after it sees operators of one opset only. The values of the graph
 * stay; the nodes are taken out and put back one by one, as they are or respelled. */
#include "lift/lift.h"

#include <string.h>

#include "graph/body.h"
#include "lift/respell.h"
#include "shape/shape.h"

enum { OLDEST_OPSET = 7, NEWEST_OPSET = 28, MAX_CALL_DEPTH = 100 };

typedef struct lift {
    ox_model *model;
    int depth; /* of calls inside of calls */
} lift;

/* Nodes taken out of the graph. */
typedef struct node_list {
    ox_node **nodes;
    size_t count;
} node_list;

static node_list take_nodes(ox_graph *g)
{
    node_list taken = {g->nodes, g->node_count};
    g->nodes = NULL;
    g->node_count = 0;
    return taken;
}

static void mark_needed(node_list list)
{
    for (size_t i = 0; i < list.count; i++) {
        const ox_node *n = list.nodes[i];
        for (size_t k = 0; k < n->input_count; k++) {
            if (n->inputs[k] != NULL) {
                n->inputs[k]->needed = true;
            }
        }
    }
}

/* ---- bodies ----------------------------------------------------------------------------- */

typedef struct body_check {
    const ox_model *model;
    bool outdated;
} body_check;

/* Bodies of If, Loop and Scan stay as they are where they call no functions, and all that they use
 * means at the working opset what it meant before. */
static void check_body_node(void *user, const ox_node *n)
{
    body_check *check = user;
    const ox_model *m = check->model;
    bool calls = ox_model_local(m, n->domain, n->op) != NULL;
    bool outdated = ox_respell_find(n->domain, n->op, ox_model_opset(m, n->domain)) != NULL;
    check->outdated = check->outdated || calls || outdated;
}

/* ---- nodes ------------------------------------------------------------------------------ */

static const char *base_name(const ox_node *n)
{
    return n->name[0] != '\0' || n->output_count == 0 ? n->name : n->outputs[0]->name;
}

/* Puts n into its graph, respelled or not. */
static void put_node(const lift *l, ox_node *n)
{
    ox_graph *g = n->graph;
    int64_t opset = ox_model_opset(l->model, n->domain);
    const ox_respelling *r = ox_respell_find(n->domain, n->op, opset);
    if (r == NULL) {
        ox_shape_infer(ox_graph_append(g, n));
        return;
    }
    const char *former = ox_graph_scope(g, base_name(n));
    r->respell(n, opset);
    ox_graph_scope(g, former);
}

static void lift_nodes(lift *l, node_list list);

static void lift_body(lift *l, ox_graph *body)
{
    ox_body_refresh(body);
    for (size_t i = 0; i < body->value_count; i++) {
        body->values[i]->needed = body->values[i]->name[0] != '\0';
    }
    lift_nodes(l, take_nodes(body));
}

static void lift_node(lift *l, ox_node *n)
{
    body_check check = {l->model, false};
    ox_body_walk_node(&(ox_body_walk){.node = check_body_node, .user = &check}, n);
    for (size_t i = 0; i < n->output_count; i++) {
        n->outputs[i]->node = NULL;
    }
    for (size_t i = 0; check.outdated && i < n->attr_count; i++) {
        for (size_t k = 0; k < ox_attr_graph_count(&n->attrs[i]); k++) {
            lift_body(l, ox_attr_graph(&n->attrs[i], k));
        }
    }
    put_node(l, n);
}

/* ---- functions -------------------------------------------------------------------------- */

/* Can result i of a function's body be the call's output itself? */
static bool is_made_inside(const ox_node *call, const ox_val *results, size_t i)
{
    bool inside = results[i]->node != NULL;
    for (size_t k = 0; k < call->input_count; k++) {
        inside = inside && results[i] != call->inputs[k];
    }
    return inside;
}

static void replace_marked(ox_val *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i] != NULL && values[i]->instead != NULL) {
            values[i] = values[i]->instead;
        }
    }
}

static void replace_outer(const ox_graph *body)
{
    for (size_t i = 0; i < body->value_count; i++) {
        replace_marked(&body->values[i]->outer, 1);
    }
}

static void replace_in(const ox_node *n)
{
    replace_marked(n->inputs, n->input_count);
    replace_marked(n->outputs, n->output_count);
    for (size_t i = 0; i < n->attr_count; i++) {
        for (size_t k = 0; k < ox_attr_graph_count(&n->attrs[i]); k++) {
            replace_outer(ox_attr_graph(&n->attrs[i], k));
        }
    }
}

/* Lets the nodes of the body write the outputs of the call, under their names. Those that they
 * cannot write (an input handed through, a constant, the same result again) stay without a
 * producer. */
static void bind_outputs(const ox_node *call, node_list body, ox_val *results)
{
    for (size_t i = 0; i < call->output_count; i++) {
        if (call->outputs[i]->name[0] != '\0' && is_made_inside(call, results, i)) {
            results[i]->instead = call->outputs[i];
            results[i]->node = NULL; /* nobody's result from now on */
        }
    }
    for (size_t i = 0; i < body.count; i++) {
        replace_in(body.nodes[i]);
    }
    replace_marked(results, call->output_count);
}

static node_list read_body(lift *l, const ox_local_function *f, const ox_node *call,
                           ox_val **results)
{
    ox_graph *g = call->graph;
    const char *prefix = ox_arena_format(g->arena, "%s/", base_name(call));
    prefix = ox_graph_fresh_name(g, prefix);
    node_list before = take_nodes(g);
    size_t count = 0;
    *results = ox_model_inline(l->model, g, f, call, prefix, &count);
    node_list body = take_nodes(g);
    g->nodes = before.nodes;
    g->node_count = before.count;
    if (count < call->output_count) {
        ox_fail(g->arena, OX_INVALID, "%s: the function has %zu outputs, the call %zu",
                ox_node_label(call), count, call->output_count);
    }
    for (size_t i = 0; i < call->output_count; i++) {
        if ((*results)[i] == NULL) {
            ox_fail(g->arena, OX_INVALID, "%s: output %zu is an input that is left out",
                    ox_node_label(call), i);
        }
    }
    return body;
}

static void inline_call(lift *l, const ox_local_function *f, const ox_node *call)
{
    ox_graph *g = call->graph;
    if (l->depth == MAX_CALL_DEPTH) {
        ox_fail(g->arena, OX_UNSUPPORTED, "function %s: calls nest deeper than %d", f->name,
                MAX_CALL_DEPTH);
    }
    for (size_t i = 0; i < call->output_count; i++) {
        call->outputs[i]->node = NULL;
    }
    ox_val *results = NULL;
    node_list body = read_body(l, f, call, &results);
    bind_outputs(call, body, results);
    mark_needed(body);
    for (size_t i = 0; i < call->output_count; i++) {
        results[i]->needed = true;
    }
    l->depth++;
    lift_nodes(l, body);
    l->depth--;
    for (size_t i = 0; i < call->output_count; i++) {
        if (results[i] != call->outputs[i] && call->outputs[i]->name[0] != '\0') {
            ox_node hand_on = {
                .op = "Identity",
                .domain = "",
                .name = call->outputs[i]->name,
                .input_count = 1,
                .inputs = &results[i],
                .output_count = 1,
                .outputs = &call->outputs[i],
                .original = true,
                .index = call->index,
            };
            ox_shape_infer(ox_graph_append(g, &hand_on));
        }
    }
}

static void lift_nodes(lift *l, node_list list)
{
    for (size_t i = 0; i < list.count; i++) {
        ox_node *n = list.nodes[i];
        ox_node_at(n);
        const ox_local_function *f = ox_model_local(l->model, n->domain, n->op);
        if (f != NULL) {
            inline_call(l, f, n);
        } else {
            lift_node(l, n);
        }
    }
}

/* ---- the model -------------------------------------------------------------------------- */

static void refuse_standard(void *user, const ox_node *n)
{
    const ox_model *m = user;
    if (n->domain[0] == '\0') {
        ox_fail(m->arena, OX_INVALID, "the model imports no version of the ONNX opset");
    }
}

int64_t ox_lift_opset(const ox_model *m)
{
    int64_t opset = ox_model_opset(m, "");
    const ox_body_walk walk = {.node = refuse_standard, .user = (void *)(uintptr_t)m};
    for (size_t i = 0; opset == 0 && i < m->graph->node_count; i++) {
        refuse_standard(walk.user, m->graph->nodes[i]);
        ox_body_walk_node(&walk, m->graph->nodes[i]);
    }
    if (opset != 0 && (opset < OLDEST_OPSET || opset > NEWEST_OPSET)) {
        ox_fail(m->arena, OX_UNSUPPORTED, "the model is of opset %lld; understood are %d to %d",
                (long long)opset, OLDEST_OPSET, NEWEST_OPSET);
    }
    return opset;
}

void ox_lift(ox_model *m)
{
    ox_lift_opset(m);
    lift l = {.model = m};
    for (size_t i = 0; i < m->graph->output_count; i++) {
        m->graph->outputs[i]->needed = true;
    }
    node_list nodes = take_nodes(m->graph);
    mark_needed(nodes);
    lift_nodes(&l, nodes);
    m->local_count = 0;
    int64_t opset = ox_lift_opset(m);
    ox_model_set_opset(m, "", opset > OX_WORKING_OPSET ? opset : OX_WORKING_OPSET);
}
