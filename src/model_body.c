/* Looking into bodies of If, Loop and Scan, which are kept as they were read. */
#include "lift_respell.h"
#include "model_proto.h"

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
