/* Several models as one: their nodes one behind the other, in which an input that is fed is what
 * feeds it. Names that another model has, too, get a number; those that users see come first: free
 * inputs, then the outputs of the last model, then those of the others that feed nothing. */
#include "model/stack.h"

#include <string.h>

#include "graph/body.h"
#include "graph/build.h"
#include "model/proto.h"
#include "shape/shape.h"

/* What something is called in a part, and in the stack. */
typedef struct renaming {
    const char *from, *to;
} renaming;

typedef struct part {
    ox_model *m;
    size_t number;           /* from 1 */
    ox_table names, symbols; /* renamings: of its values, of its dimensions */
    ox_table own;            /* all its names */
    ox_map values;           /* to those of the stack */
    const char **outputs;    /* names of its outputs in the stack; NULL: not among these */
    uint32_t unknowns;       /* dimensions of which nothing is known, in the parts before */
    size_t nodes;            /* in the parts before */
} part;

typedef struct stack {
    ox_model *to;
    const ox_parts *given;
    part *parts;
    ox_ties ties;
    ox_table taken, symbols; /* names in the stack, and of its dimensions */
} stack;

/* ---- names ------------------------------------------------------------------------------ */

static bool is_in(const ox_table *t, const char *name)
{
    return ox_index_find(t, name) != SIZE_MAX;
}

/* `name`, or NAME_2 .. where that is taken or another of the part's own. */
static const char *fresh(stack *s, const part *p, ox_table *taken, const char *name)
{
    const char *to = name;
    for (size_t n = p->number; is_in(taken, to); n++) {
        do {
            to = ox_arena_format(s->to->arena, "%s_%zu", name, n++);
        } while (is_in(&p->own, to));
        n--;
    }
    ox_index_add(taken, ox_arena_string(s->to->arena, to), 0);
    return to;
}

static const char *find_renaming(const ox_table *t, const char *from)
{
    size_t at = OX_TABLE_START;
    for (const renaming *r; (r = ox_table_next(t, ox_hash_string(from), &at)) != NULL;) {
        if (strcmp(r->from, from) == 0) {
            return r->to;
        }
    }
    return NULL;
}

static const char *add_renaming(ox_table *t, const char *from, const char *to)
{
    renaming *r = ox_arena_alloc(t->arena, 1, sizeof *r);
    *r = (renaming){from, to};
    ox_table_add(t, ox_hash_string(from), r);
    return to;
}

/* What a name of the part is in the stack. */
static const char *name_of(stack *s, part *p, const char *name)
{
    const char *to = name[0] == '\0' ? "" : find_renaming(&p->names, name);
    return to != NULL ? to : add_renaming(&p->names, name, fresh(s, p, &s->taken, name));
}

static void note_body(void *user, const ox_graph *body)
{
    part *p = user;
    for (size_t i = 0; i < body->value_count; i++) {
        ox_index_add(&p->own, body->values[i]->name, 0);
    }
}

/* All names of a part, those in bodies too. */
static void note_names(part *p)
{
    const ox_graph *g = p->m->graph;
    note_body(p, g);
    for (size_t i = 0; i < g->node_count; i++) {
        ox_body_walk_node(&(ox_body_walk){.leave = note_body, .user = p}, g->nodes[i]);
    }
}

/* ---- names of dimensions ----------------------------------------------------------------- */

static const char *symbol_of(stack *s, part *p, const char *name)
{
    const char *to = find_renaming(&p->symbols, name);
    return to != NULL ? to : add_renaming(&p->symbols, name, fresh(s, p, &s->symbols, name));
}

static const char *described(const part *p, ox_val v, int axis)
{
    return ox_model_symbol(p->m, v, axis, ox_model_hint(p->m, v->name));
}

/* A dimension of what feeds an input, or of an input that both models have, is the same for both;
 * where it has no name there, one that is known keeps its meaning. */
static void unify(stack *s, part *from, ox_val value, part *to, ox_val input)
{
    for (int d = 0; d < input->rank; d++) {
        const char *name = described(to, input, d);
        if (name[0] == '\0' || find_renaming(&to->symbols, name) != NULL) {
            continue;
        }
        const char *other = d < value->rank ? described(from, value, d) : "";
        bool known = other[0] != '\0';
        if (known || is_in(&s->symbols, name)) {
            add_renaming(&to->symbols, name, known ? symbol_of(s, from, other) : name);
        }
    }
}

static Onnx__TensorShapeProto *copy_shape(stack *s, part *p, const Onnx__TensorShapeProto *from)
{
    ox_arena *a = s->to->arena;
    Onnx__TensorShapeProto *shape = ox_proto_copy(a, from);
    shape->dim = ox_arena_alloc(a, from->n_dim, sizeof *shape->dim);
    for (size_t i = 0; i < from->n_dim; i++) {
        shape->dim[i] = ox_proto_copy(a, from->dim[i]);
        const char *name = ox_proto_text(from->dim[i]->dim_param);
        bool named =
            from->dim[i]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        if (named && name[0] != '\0') {
            shape->dim[i]->dim_param = (char *)(uintptr_t)symbol_of(s, p, name);
        }
    }
    return shape;
}

/* How an input or output is described, under its name in the stack. */
static void describe(stack *s, part *p, const char *from, const char *to)
{
    ox_arena *a = s->to->arena;
    const Onnx__ValueInfoProto *hint = ox_model_hint(p->m, from);
    if (hint == NULL || ox_model_hint(s->to, to) != NULL) {
        return;
    }
    Onnx__ValueInfoProto *info = ox_proto_copy(a, hint);
    info->name = (char *)(uintptr_t)to;
    const Onnx__TensorShapeProto *shape = ox_proto_shape(hint);
    if (shape != NULL) {
        info->type = ox_proto_copy(a, hint->type);
        info->type->tensor_type = ox_proto_copy(a, hint->type->tensor_type);
        info->type->tensor_type->shape = copy_shape(s, p, shape);
    }
    ox_table_add(&s->to->hints, ox_hash_string(to), info);
}

/* ---- values and nodes ------------------------------------------------------------------- */

static const ox_dim *dims_of(stack *s, const part *p, size_t count, const ox_dim *from)
{
    ox_dim *dims = ox_arena_copy(s->to->arena, from, from == NULL ? 0 : count, sizeof *dims);
    for (size_t i = 0; from != NULL && i < count; i++) {
        dims[i].unknown += dims[i].unknown == 0 ? 0 : p->unknowns;
    }
    return from == NULL ? NULL : dims;
}

static size_t count_of(const ox_value *v)
{
    size_t count = 1;
    for (int d = 0; d < v->rank; d++) {
        count *= (size_t)v->dims[d].size;
    }
    return count;
}

static ox_val copy_value(stack *s, part *p, ox_val from)
{
    size_t rank = from->rank < 0 ? 0 : (size_t)from->rank;
    const ox_dim *dims = dims_of(s, p, rank, from->dims);
    const char *name = name_of(s, p, from->name);
    ox_graph *g = s->to->graph;
    ox_val v = from->is_input ? ox_graph_input(g, name, from->type, from->rank, dims)
                              : ox_graph_value(g, name, from->type, from->rank, dims);
    v->elements = from->elements == NULL ? NULL : dims_of(s, p, count_of(from), from->elements);
    v->constant = from->constant;
    v->keep = from->keep;
    ox_map_add(&p->values, from, v);
    return v;
}

typedef struct naming {
    stack *s;
    part *p;
} naming;

static const char *name_inside(void *user, const char *name)
{
    const naming *n = user;
    return name_of(n->s, n->p, name);
}

static const void *without_annotations(void *user, const ox_graph *from)
{
    const naming *n = user;
    Onnx__GraphProto *p = ox_proto_copy(n->s->to->arena, from->proto);
    p->n_quantization_annotation = 0; /* they are about tensors by their former names */
    return p;
}

static void copy_node(stack *s, part *p, const ox_node *from)
{
    ox_arena *a = s->to->arena;
    naming names = {s, p};
    const ox_body_copier copier = {
        .name = name_inside, .proto = without_annotations, .user = &names};
    ox_node like = *from;
    like.inputs = ox_arena_alloc(a, from->input_count, sizeof(ox_val));
    like.outputs = ox_arena_alloc(a, from->output_count, sizeof(ox_val));
    like.index = p->nodes + from->index;
    for (size_t i = 0; i < from->input_count; i++) {
        ox_val v = from->inputs[i];
        like.inputs[i] = v == NULL ? NULL : ox_map_find(&p->values, v);
    }
    if (ox_node_has_body(from)) {
        ox_body_copy_attrs(&copier, s->to->graph, &p->values, &like);
    }
    for (size_t i = 0; i < from->output_count; i++) {
        like.outputs[i] = copy_value(s, p, from->outputs[i]);
    }
    ox_graph_append(s->to->graph, &like);
}

/* ---- inputs ----------------------------------------------------------------------------- */

/* What feeds an input, in its type. */
static ox_val fed(stack *s, const ox_tie *tie)
{
    ox_val v = ox_map_find(&s->parts[tie->from].values, tie->output);
    bool known = tie->input->type != OX_NONE && v->type != OX_NONE;
    if (!known || v->type == tie->input->type) {
        return v;
    }
    const char *former =
        ox_graph_scope(s->to->graph, ox_arena_format(s->to->arena, "stack/%s", tie->input->name));
    ox_val cast = ox_cast(v, tie->input->type);
    if (cast->node != NULL) {
        cast->node->original = true;
        cast->node->index = s->parts[tie->to].nodes;
    }
    ox_graph_scope(s->to->graph, former);
    ox_index_add(&s->taken, cast->name, 0);
    return cast;
}

/* The part before that has a free input of this name. */
static part *shared_with(stack *s, const part *p, ox_val input, ox_val *other)
{
    for (part *q = s->parts; q < p; q++) {
        const ox_graph *g = q->m->graph;
        for (size_t i = 0; i < g->input_count; i++) {
            *other = g->inputs[i];
            if (strcmp((*other)->name, input->name) == 0 &&
                ox_ties_of(&s->ties, q->number - 1, *other) == NULL) {
                return q;
            }
        }
    }
    return NULL;
}

/* Inputs that are fed are what feeds them; those that a model before has, too, are the same. */
static bool enter_tied(stack *s, part *p, ox_val input)
{
    const ox_tie *tie = ox_ties_of(&s->ties, p->number - 1, input);
    ox_val other, value;
    part *from = tie == NULL ? shared_with(s, p, input, &other) : &s->parts[tie->from];
    if (from == NULL) {
        return false;
    }
    if (tie != NULL) {
        other = tie->output;
        value = fed(s, tie);
    } else {
        if (other->type != input->type) {
            ox_fail(s->to->arena, OX_ARGUMENT,
                    "input \"%s\" is %s in model %zu and %s in model %zu: rename one of them",
                    input->name, ox_type_name(other->type), from->number, ox_type_name(input->type),
                    p->number);
        }
        ox_ties_check(s->given, from->number - 1, other, p->number - 1, input);
        value = ox_map_find(&from->values, other);
    }
    ox_map_add(&p->values, input, value);
    unify(s, from, other, p, input);
    return true;
}

static void enter_free(stack *s, part *p, ox_val input)
{
    add_renaming(&p->names, input->name, input->name);
    copy_value(s, p, input);
    describe(s, p, input->name, input->name);
}

/* ---- parts ------------------------------------------------------------------------------ */

static void append(stack *s, part *p)
{
    const ox_graph *from = p->m->graph;
    ox_graph *g = s->to->graph;
    p->nodes = g->node_count;
    p->unknowns = g->unknowns;
    g->unknowns += from->unknowns; /* before more of them come */
    bool *is_fed = ox_arena_alloc(s->to->arena, from->input_count, sizeof *is_fed);
    for (size_t i = 0; i < from->input_count; i++) { /* which says what dimensions are */
        is_fed[i] = enter_tied(s, p, from->inputs[i]);
    }
    for (size_t i = 0; i < from->input_count; i++) {
        if (!is_fed[i]) {
            enter_free(s, p, from->inputs[i]);
        }
    }
    for (size_t i = 0; i < from->value_count; i++) {
        if (!from->values[i]->is_input && from->values[i]->node == NULL) {
            copy_value(s, p, from->values[i]);
        }
    }
    for (size_t i = 0; i < from->node_count; i++) {
        copy_node(s, p, from->nodes[i]);
    }
}

static bool is_fed_on(const stack *s, const part *p, ox_val output)
{
    for (size_t i = 0; i < s->ties.count; i++) {
        if (s->ties.ties[i].from == p->number - 1 && s->ties.ties[i].output == output) {
            return true;
        }
    }
    return false;
}

/* Names of outputs in the stack; what a node makes is called so itself. */
static void name_outputs(stack *s, part *p)
{
    const ox_graph *g = p->m->graph;
    bool last = p->number == s->given->count;
    p->outputs = ox_arena_alloc(s->to->arena, g->output_count, sizeof *p->outputs);
    for (size_t i = 0; i < g->output_count; i++) {
        ox_val v = g->outputs[i];
        if (last || !is_fed_on(s, p, v)) {
            p->outputs[i] = v->is_input ? v->name : fresh(s, p, &s->taken, v->name);
            if (!v->is_input) {
                add_renaming(&p->names, v->name, p->outputs[i]);
            }
        }
    }
}

static void add_outputs(stack *s, part *p)
{
    const ox_graph *g = p->m->graph;
    for (size_t i = 0; i < g->output_count; i++) {
        const char *name = p->outputs[i];
        if (name != NULL) {
            ox_val v = ox_map_find(&p->values, g->outputs[i]);
            describe(s, p, g->outputs[i]->name, name);
            ox_graph_output(s->to->graph, v, name);
        }
    }
}

static void begin_part(stack *s, size_t index)
{
    part *p = &s->parts[index];
    ox_arena *a = s->to->arena;
    *p = (part){.m = s->given->models[index], .number = index + 1, .own.arena = a};
    p->names.arena = p->symbols.arena = p->values.values.arena = a;
    note_names(p);
    for (size_t i = 0; i < p->m->graph->input_count; i++) {
        ox_val v = p->m->graph->inputs[i];
        if (ox_ties_of(&s->ties, index, v) == NULL && !is_in(&s->taken, v->name)) {
            ox_index_add(&s->taken, v->name, 0);
        }
    }
    for (size_t i = 0; i < p->m->property_count; i++) {
        ox_model_set_property(s->to, p->m->properties[i].key, p->m->properties[i].value);
    }
    s->to->ir_version = s->to->ir_version > p->m->ir_version ? s->to->ir_version : p->m->ir_version;
    ox_model_share_weights(s->to, p->m);
}

void ox_model_stack(ox_model *to, const ox_parts *given)
{
    ox_arena *a = to->arena;
    stack s = {.to = to, .given = given, .taken.arena = a, .symbols.arena = a};
    s.ties = ox_ties_find(given);
    s.parts = ox_arena_alloc(a, given->count, sizeof *s.parts);
    to->graph = ox_graph_new(a, ox_shape_infer, given->models[given->count - 1]->graph->name);
    for (size_t i = 0; i < given->count; i++) {
        begin_part(&s, i);
    }
    for (size_t i = given->count; i-- > 0;) {
        name_outputs(&s, &s.parts[i]);
    }
    for (size_t i = 0; i < given->count; i++) {
        append(&s, &s.parts[i]);
    }
    add_outputs(&s, &s.parts[given->count - 1]);
    for (size_t i = 0; i + 1 < given->count; i++) {
        add_outputs(&s, &s.parts[i]);
    }
    for (size_t i = 0; i < to->graph->node_count; i++) {
        ox_body_take_names(to->graph, to->graph->nodes[i]);
    }
    ox_model_publish(to);
}
