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

/* The names of a graph that is walked through, and the one around it. */
typedef struct frame {
    ox_scope scope;
    struct frame *outer;
} frame;

typedef struct check {
    const ox_model *model;
    const char *label;
    frame *inner;
} check;

static void define(const check *c, const char *name)
{
    if (ox_proto_text(name)[0] != '\0' &&
        ox_scope_add(&c->inner->scope, name, name, NULL) == NULL) {
        ox_fail(c->model->arena, OX_INVALID, "%s: its subgraph defines \"%s\" twice", c->label,
                name);
    }
}

static void use(const check *c, const char *name)
{
    name = ox_proto_text(name);
    if (name[0] != '\0' && ox_scope_find(&c->inner->scope, name) == NULL &&
        ox_graph_find(c->model->graph, name) == NULL) {
        ox_fail(c->model->arena, OX_INVALID,
                "%s: its subgraph uses \"%s\", which is not defined "
                "before",
                c->label, name);
    }
}

static void enter_graph(void *user, const Onnx__GraphProto *g)
{
    check *c = user;
    ox_arena *a = c->model->arena;
    frame *f = ox_arena_alloc(a, 1, sizeof *f);
    f->scope = (ox_scope){.outer = c->inner == NULL ? NULL : &c->inner->scope, .names.arena = a};
    f->outer = c->inner;
    c->inner = f;
    for (size_t i = 0; i < g->n_input; i++) {
        define(c, g->input[i]->name);
    }
    for (size_t i = 0; i < g->n_initializer; i++) {
        /* Initializers may be listed as inputs, too. */
        const char *name = ox_proto_text(g->initializer[i]->name);
        ox_scope_add(&f->scope, name, name, NULL);
    }
}

static void check_uses(void *user, const Onnx__NodeProto *n)
{
    const check *c = user;
    int64_t version = ox_model_opset(c->model, ox_proto_domain(n->domain));
    ox_check_proto(c->model, n, version, c->label, true);
    for (size_t i = 0; i < n->n_input; i++) {
        use(c, n->input[i]);
    }
}

static void define_results(void *user, const Onnx__NodeProto *n)
{
    for (size_t i = 0; i < n->n_output; i++) {
        define(user, n->output[i]);
    }
}

static void leave_graph(void *user, const Onnx__GraphProto *g)
{
    check *c = user;
    for (size_t i = 0; i < g->n_output; i++) {
        use(c, g->output[i]->name);
    }
    c->inner = c->inner->outer;
}

void ox_scope_check(const ox_model *m, const Onnx__AttributeProto *p, const char *label)
{
    check c = {.model = m, .label = label};
    const ox_proto_walk walk = {.enter = enter_graph,
                                .node = check_uses,
                                .after = define_results,
                                .leave = leave_graph,
                                .user = &c};
    ox_proto_walk_attribute(&walk, p);
}
