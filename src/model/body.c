/* Looking into bodies of If, Loop and Scan, which are kept as they were read. */
#include "model/proto.h"

typedef struct nodes {
    ox_body_visit visit;
    void *user;
} nodes;

static void visit_node(void *user, const Onnx__NodeProto *n)
{
    const nodes *v = user;
    v->visit(v->user, ox_proto_domain(n->domain), ox_proto_text(n->op_type));
}

void ox_model_visit_bodies(const ox_node *n, ox_body_visit visit, void *user)
{
    nodes v = {visit, user};
    const ox_proto_walk walk = {.node = visit_node, .user = &v};
    ox_proto_walk_node(&walk, n);
}

/* ---- captured values -------------------------------------------------------------------- */

typedef struct capture {
    const ox_graph *graph;
    void (*visit)(void *user, ox_val v);
    void *user;
} capture;

/* Names are unique over a model's graphs, so that one that is found outside means the value there.
 */
static void captured_by_name(const capture *c, const char *name)
{
    ox_val v = ox_graph_find(c->graph, ox_proto_text(name));
    if (v != NULL) {
        c->visit(c->user, v);
    }
}

static void captured_by_node(void *user, const Onnx__NodeProto *n)
{
    for (size_t i = 0; i < n->n_input; i++) {
        captured_by_name(user, n->input[i]);
    }
}

static void captured_by_outputs(void *user, const Onnx__GraphProto *g)
{
    for (size_t i = 0; i < g->n_output; i++) {
        captured_by_name(user, g->output[i]->name);
    }
}

void ox_model_visit_captured(const ox_node *n, void (*visit)(void *user, ox_val v), void *user)
{
    capture c = {n->graph, visit, user};
    const ox_proto_walk walk = {.node = captured_by_node, .leave = captured_by_outputs, .user = &c};
    ox_proto_walk_node(&walk, n);
}
