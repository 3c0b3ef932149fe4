/* Looking into bodies of If, Loop and Scan, which are kept as they were read. */
#include "model/proto.h"

static void visit_attribute(const Onnx__AttributeProto *a, ox_body_visit visit, void *user);

static void visit_graph(const Onnx__GraphProto *g, ox_body_visit visit, void *user)
{
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *n = g->node[i];
        visit(user, ox_proto_domain(n->domain), ox_proto_text(n->op_type));
        for (size_t k = 0; k < n->n_attribute; k++) {
            visit_attribute(n->attribute[k], visit, user);
        }
    }
}

/* As deep as the file's messages lie in each other, which reading has gone through. */
static void visit_attribute(const Onnx__AttributeProto *a, ox_body_visit visit, void *user)
{
    if (a->g != NULL) {
        visit_graph(a->g, visit, user);
    }
    for (size_t i = 0; i < a->n_graphs; i++) {
        visit_graph(a->graphs[i], visit, user);
    }
}

void ox_model_visit_body(const ox_attr *a, ox_body_visit visit, void *user)
{
    if (a->proto != NULL) {
        visit_attribute(a->proto, visit, user);
    }
}

/* ---- captured values -------------------------------------------------------------------- */

typedef struct capture {
    const ox_graph *graph;
    void (*visit)(void *user, ox_val v);
    void *user;
} capture;

static void captured_by_name(const capture *c, const char *name)
{
    ox_val v = ox_graph_find(c->graph, ox_proto_text(name));
    if (v != NULL) {
        c->visit(c->user, v);
    }
}

/* Names are unique over a model's graphs, so that one that is found outside means the value there.
 */
static void captured_by_graph(const capture *c, const Onnx__GraphProto *g)
{
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *n = g->node[i];
        for (size_t k = 0; k < n->n_input; k++) {
            captured_by_name(c, n->input[k]);
        }
        for (size_t k = 0; k < n->n_attribute; k++) {
            const Onnx__AttributeProto *a = n->attribute[k];
            if (a->g != NULL) {
                captured_by_graph(c, a->g);
            }
            for (size_t j = 0; j < a->n_graphs; j++) {
                captured_by_graph(c, a->graphs[j]);
            }
        }
    }
    for (size_t i = 0; i < g->n_output; i++) {
        captured_by_name(c, g->output[i]->name);
    }
}

void ox_model_visit_captured(const ox_node *n, void (*visit)(void *user, ox_val v), void *user)
{
    const capture c = {n->graph, visit, user};
    for (size_t i = 0; i < n->attr_count; i++) {
        const Onnx__AttributeProto *a = n->attrs[i].proto;
        if (a != NULL && a->g != NULL) {
            captured_by_graph(&c, a->g);
        }
        for (size_t j = 0; a != NULL && j < a->n_graphs; j++) {
            captured_by_graph(&c, a->graphs[j]);
        }
    }
}
