/* Scopes of names, and the check that subgraphs use only what is defined. */
#include "model/scope.h"

#include <string.h>

static ox_binding *find_here(const ox_scope *s, const char *name)
{
    uint64_t hash = ox_hash_string(name);
    size_t at = OX_TABLE_START;
    for (ox_binding *b; (b = ox_table_next(&s->names, hash, &at)) != NULL;) {
        if (strcmp(b->from, name) == 0) {
            return b;
        }
    }
    return NULL;
}

ox_binding *ox_scope_add(ox_scope *s, const char *from, const char *to, ox_val value)
{
    if (find_here(s, from) != NULL) {
        return NULL;
    }
    ox_binding *b = ox_arena_alloc(s->names.arena, 1, sizeof *b);
    *b = (ox_binding){from, to, value};
    ox_table_add(&s->names, ox_hash_string(from), b);
    return b;
}

const ox_binding *ox_scope_find(const ox_scope *s, const char *name)
{
    const ox_binding *b = NULL;
    for (; s != NULL && b == NULL; s = s->outer) {
        b = find_here(s, name);
    }
    return b;
}

/* ---- checking --------------------------------------------------------------------------- */

typedef struct check {
    const ox_model *model;
    const char *label;
} check;

static void check_attribute(const check *c, const ox_scope *around, const Onnx__AttributeProto *p);

static void define(const check *c, ox_scope *s, const char *name)
{
    if (ox_proto_text(name)[0] != '\0' && ox_scope_add(s, name, name, NULL) == NULL) {
        ox_fail(c->model->arena, OX_INVALID, "%s: its subgraph defines \"%s\" twice", c->label,
                name);
    }
}

static void use(const check *c, const ox_scope *s, const char *name)
{
    name = ox_proto_text(name);
    if (name[0] != '\0' && ox_scope_find(s, name) == NULL &&
        ox_graph_find(c->model->graph, name) == NULL) {
        ox_fail(c->model->arena, OX_INVALID,
                "%s: its subgraph uses \"%s\", which is not defined "
                "before",
                c->label, name);
    }
}

static void check_graph(const check *c, const ox_scope *around, const Onnx__GraphProto *g)
{
    ox_scope s = {.outer = around, .names.arena = c->model->arena};
    for (size_t i = 0; i < g->n_input; i++) {
        define(c, &s, g->input[i]->name);
    }
    for (size_t i = 0; i < g->n_initializer; i++) {
        /* Initializers may be listed as inputs, too. */
        const char *name = ox_proto_text(g->initializer[i]->name);
        ox_scope_add(&s, name, name, NULL);
    }
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *n = g->node[i];
        int64_t version = ox_model_opset(c->model, ox_proto_domain(n->domain));
        ox_check_proto(c->model, n, version, c->label, true);
        for (size_t k = 0; k < n->n_input; k++) {
            use(c, &s, n->input[k]);
        }
        for (size_t k = 0; k < n->n_attribute; k++) {
            check_attribute(c, &s, n->attribute[k]);
        }
        for (size_t k = 0; k < n->n_output; k++) {
            define(c, &s, n->output[k]);
        }
    }
    for (size_t i = 0; i < g->n_output; i++) {
        use(c, &s, g->output[i]->name);
    }
}

static void check_attribute(const check *c, const ox_scope *around, const Onnx__AttributeProto *p)
{
    if (p->g != NULL) {
        check_graph(c, around, p->g);
    }
    for (size_t i = 0; i < p->n_graphs; i++) {
        check_graph(c, around, p->graphs[i]);
    }
}

void ox_scope_check(const ox_model *m, const Onnx__AttributeProto *p, const char *label)
{
    check c = {m, label};
    check_attribute(&c, NULL, p);
}
