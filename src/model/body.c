/* Bodies of If, Loop and Scan, and of model-local functions: read into graphs, once. Names are
 * those of the body and, for If, Loop and Scan, of the graphs around it. */
#include "model/proto.h"

#include <string.h>

/* A body that is being read. */
typedef struct frame {
    ox_graph *graph;
    ox_table names;       /* the values that it knows, by name */
    struct frame *around; /* NULL: around it is the model's graph, or nothing */
} frame;

typedef struct reader {
    const ox_model *model;
    const char *label;                   /* of the node of the graph around, or in the function */
    const Onnx__FunctionProto *function; /* NULL: the node is the model's */
    size_t index;                        /* of that node */
} reader;

/* ---- names ------------------------------------------------------------------------------ */

static ox_val find_here(const frame *f, const char *name)
{
    uint64_t hash = ox_hash_string(name);
    size_t at = OX_TABLE_START;
    for (ox_val v; (v = ox_table_next(&f->names, hash, &at)) != NULL;) {
        if (strcmp(v->name, name) == 0) {
            return v;
        }
    }
    return NULL;
}

static ox_val enter(frame *f, ox_val v)
{
    ox_table_add(&f->names, ox_hash_string(v->name), v);
    return v;
}

static ox_val find(const reader *r, frame *f, const char *name)
{
    ox_val own = find_here(f, name);
    ox_val outer = own != NULL           ? NULL
                   : f->around != NULL   ? find(r, f->around, name)
                   : r->function == NULL ? ox_graph_find(r->model->graph, name)
                                         : NULL;
    return outer == NULL ? own : enter(f, ox_body_stand_in(f->graph, outer));
}

/* NULL for what is left out. */
static ox_val use(const reader *r, frame *f, const char *name)
{
    name = ox_proto_text(name);
    ox_val v = name[0] == '\0' ? NULL : find(r, f, name);
    if (v == NULL && name[0] != '\0') {
        ox_fail(r->model->arena, OX_INVALID, "%s: %suses \"%s\", which is not defined before",
                r->label, r->function == NULL ? "its subgraph " : "", name);
    }
    return v;
}

static ox_val define(const reader *r, frame *f, const char *name)
{
    name = ox_proto_text(name);
    if (name[0] != '\0' && find_here(f, name) != NULL) {
        ox_fail(r->model->arena, OX_INVALID, "%s: %sdefines \"%s\" again", r->label,
                r->function == NULL ? "its subgraph " : "", name);
    }
    ox_val v = ox_body_value(f->graph, name);
    return name[0] == '\0' ? v : enter(f, v);
}

/* ---- nodes ------------------------------------------------------------------------------ */

static ox_graph *read_graph(const reader *r, ox_graph *outer, frame *around,
                            const Onnx__GraphProto *p);

static void read_graphs(const reader *r, ox_graph *outer, frame *around, ox_attr *attr)
{
    const Onnx__AttributeProto *p = attr->proto;
    if (p->g != NULL) {
        attr->graph = read_graph(r, outer, around, p->g);
    }
    if (p->n_graphs > 0) {
        ox_graph **graphs = ox_arena_alloc(outer->arena, p->n_graphs, sizeof *graphs);
        for (size_t i = 0; i < p->n_graphs; i++) {
            graphs[i] = read_graph(r, outer, around, p->graphs[i]);
        }
        attr->kind = OX_ATTR_GRAPHS;
        attr->count = p->n_graphs;
        attr->graphs = graphs;
    }
}

void ox_model_read_bodies(const ox_model *m, const ox_node *n, ox_attr *attrs, const char *label)
{
    const reader r = {.model = m, .label = label, .index = n->index};
    for (size_t i = 0; i < n->attr_count; i++) {
        read_graphs(&r, n->graph, NULL, &attrs[i]);
    }
}

static ox_attr read_attribute(const reader *r, frame *f, const Onnx__AttributeProto *p)
{
    const char *ref = ox_proto_text(p->ref_attr_name);
    if (ref[0] != '\0' && r->function != NULL) {
        return (ox_attr){.name = ox_proto_text(p->name), .ref = ref, .proto = p};
    }
    if (ref[0] != '\0') {
        ox_fail(r->model->arena, OX_INVALID,
                "%s: attribute \"%s\" in its subgraph refers to that of a function", r->label,
                ox_proto_text(p->name));
    }
    ox_attr attr = ox_proto_read_attr(r->model->arena, p, r->label);
    read_graphs(r, f->graph, f, &attr);
    return attr;
}

static void read_node(const reader *r, frame *f, const Onnx__NodeProto *p)
{
    ox_node n = ox_proto_node(f->graph, p);
    ox_attr *attrs = ox_arena_alloc(f->graph->arena, p->n_attribute, sizeof *attrs);
    n.original = true;
    n.index = r->index;
    n.attr_count = p->n_attribute;
    n.attrs = attrs;
    if (r->function == NULL) { /* else when it is called, which says what its attributes are */
        ox_check_proto(r->model, p, ox_model_opset(r->model, n.domain), r->label, true);
    }
    for (size_t i = 0; i < p->n_input; i++) {
        n.inputs[i] = use(r, f, p->input[i]);
    }
    for (size_t i = 0; i < p->n_attribute; i++) {
        attrs[i] = read_attribute(r, f, p->attribute[i]);
    }
    for (size_t i = 0; i < p->n_output; i++) {
        n.outputs[i] = define(r, f, p->output[i]);
    }
    ox_graph_append(f->graph, &n);
}

/* ---- graphs ----------------------------------------------------------------------------- */

static void read_initializer(const reader *r, frame *f, const Onnx__TensorProto *t)
{
    ox_arena *a = f->graph->arena;
    ox_val v = find_here(f, ox_proto_text(t->name));
    bool listed = v != NULL && v->is_input; /* initializers may be listed as inputs, too */
    v = listed ? v : define(r, f, t->name);
    const ox_const *c = ox_proto_const(a, t);
    ox_dim *dims = ox_arena_alloc(a, (size_t)c->rank, sizeof *dims);
    for (int i = 0; i < c->rank; i++) {
        dims[i] = ox_dim_of(c->dims[i]);
    }
    v->type = c->type;
    v->rank = c->rank;
    v->dims = dims;
    v->constant = c;
    v->is_input = false;
    v->keep = true;
}

static ox_graph *read_graph(const reader *r, ox_graph *outer, frame *around,
                            const Onnx__GraphProto *p)
{
    ox_arena *a = outer->arena;
    frame f = {ox_graph_inside(outer, ox_proto_text(p->name)), {.arena = a}, around};
    ox_graph *g = f.graph;
    g->proto = p;
    g->inputs = ox_arena_alloc(a, p->n_input, sizeof *g->inputs);
    g->outputs = ox_arena_alloc(a, p->n_output, sizeof *g->outputs);
    g->infos = ox_arena_alloc(a, p->n_value_info, sizeof *g->infos);
    for (; g->input_count < p->n_input; g->input_count++) {
        ox_val v = g->inputs[g->input_count] = define(r, &f, p->input[g->input_count]->name);
        v->is_input = true;
        ox_proto_describe(v, p->input[g->input_count]);
    }
    for (size_t i = 0; i < p->n_initializer; i++) {
        read_initializer(r, &f, p->initializer[i]);
    }
    for (size_t i = 0; i < p->n_node; i++) {
        read_node(r, &f, p->node[i]);
    }
    for (; g->output_count < p->n_output; g->output_count++) {
        g->outputs[g->output_count] = use(r, &f, p->output[g->output_count]->name);
    }
    for (; g->info_count < p->n_value_info; g->info_count++) {
        const char *name = ox_proto_text(p->value_info[g->info_count]->name);
        g->infos[g->info_count] = find_here(&f, name);
    }
    return g;
}

/* ---- functions -------------------------------------------------------------------------- */

ox_function_body *ox_model_read_function(const ox_model *m, const ox_local_function *local)
{
    const Onnx__FunctionProto *p = local->proto;
    ox_arena *a = m->arena;
    ox_function_body *body = ox_arena_alloc(a, 1, sizeof *body);
    body->function = local;
    reader r = {.model = m, .function = p};
    frame f = {ox_graph_inside(m->graph, local->name), {.arena = a}, NULL};
    ox_graph *g = body->graph = f.graph;
    r.label = ox_arena_format(a, "function %s", local->name);
    g->inputs = ox_arena_alloc(a, p->n_input, sizeof *g->inputs);
    g->outputs = ox_arena_alloc(a, p->n_output, sizeof *g->outputs);
    for (; g->input_count < p->n_input; g->input_count++) {
        g->inputs[g->input_count] = define(&r, &f, p->input[g->input_count]);
    }
    body->defaults = ox_arena_alloc(a, p->n_attribute_proto, sizeof *body->defaults);
    for (; body->default_count < p->n_attribute_proto; body->default_count++) {
        const Onnx__AttributeProto *standard = p->attribute_proto[body->default_count];
        body->defaults[body->default_count] = ox_proto_read_attr(a, standard, r.label);
        read_graphs(&r, g, &f, &body->defaults[body->default_count]);
    }
    for (size_t i = 0; i < p->n_node; i++) {
        r.index = i;
        r.label = ox_proto_function_label(a, p, i);
        read_node(&r, &f, p->node[i]);
    }
    r.label = ox_arena_format(a, "function %s, its end", local->name);
    for (; g->output_count < p->n_output; g->output_count++) {
        g->outputs[g->output_count] = use(&r, &f, p->output[g->output_count]);
    }
    return body;
}
