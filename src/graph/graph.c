/* Making graphs: values, constants, nodes, names, sharing of equal nodes. */
#include "graph/graph.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Constants up to this size are compared by contents. */
enum { SHARED_BYTES = 16 * 1024 };

/* A name in use, and how many numbered variants of it were given out. */
typedef struct used_name {
    const char *name;
    ox_val value; /* that is called so, or NULL */
    size_t variants;
} used_name;

ox_graph *ox_graph_outermost(ox_graph *g)
{
    while (g->outer != NULL) {
        g = g->outer;
    }
    return g;
}

/* ---- graphs and names ------------------------------------------------------------------- */

ox_graph *ox_graph_new(ox_arena *arena, ox_infer infer, const char *name)
{
    ox_graph *g = ox_arena_alloc(arena, 1, sizeof *g);
    g->arena = arena;
    g->infer = infer;
    g->name = ox_arena_string(arena, name);
    g->scope = "onnxexplainer";
    g->names.arena = arena;
    g->shared.arena = g->unknown.arena = arena;
    return g;
}

ox_graph *ox_graph_inside(ox_graph *outer, const char *name)
{
    ox_graph *g = ox_graph_new(outer->arena, outer->infer, name);
    g->outer = outer;
    return g;
}

const char *ox_graph_scope(ox_graph *g, const char *scope)
{
    const char *former = g->scope;
    g->scope = scope;
    return former;
}

ox_purpose ox_graph_enter(ox_graph *g, const char *part, const char *base, const ox_node *n)
{
    ox_purpose former = {g->scope, g->origin};
    g->scope = ox_arena_format(g->arena, "%s/%s", part, base);
    g->origin = n == NULL || n->original ? n : n->origin;
    return former;
}

void ox_graph_leave(ox_graph *g, ox_purpose former)
{
    g->scope = former.name;
    g->origin = former.origin;
}

const char *ox_graph_at(const ox_graph *g)
{
    return g->origin != NULL ? ox_node_label(g->origin) : g->scope;
}

static used_name *find_name(const ox_table *names, const char *name)
{
    uint64_t hash = ox_hash_string(name);
    size_t at = OX_TABLE_START;
    for (used_name *u; (u = ox_table_next(names, hash, &at)) != NULL;) {
        if (strcmp(u->name, name) == 0) {
            return u;
        }
    }
    return NULL;
}

static used_name *take_name(ox_graph *g, const char *name)
{
    ox_table *names = &ox_graph_outermost(g)->names;
    if (find_name(names, name) != NULL) {
        return NULL;
    }
    used_name *u = ox_arena_alloc(g->arena, 1, sizeof *u);
    u->name = ox_arena_string(g->arena, name);
    ox_table_add(names, ox_hash_string(name), u);
    return u;
}

bool ox_graph_take_name(ox_graph *g, const char *name)
{
    return take_name(g, name) != NULL;
}

static used_name *take_fresh_name(ox_graph *g, const char *base)
{
    used_name *u = take_name(g, base);
    if (u != NULL) {
        return u;
    }
    used_name *first = find_name(&ox_graph_outermost(g)->names, base);
    assert(first != NULL); /* who has it */
    while (u == NULL) {
        first->variants++;
        u = take_name(g, ox_arena_format(g->arena, "%s_%zu", base, first->variants));
    }
    return u;
}

const char *ox_graph_fresh_name(ox_graph *g, const char *base)
{
    return take_fresh_name(g, base)->name;
}

void ox_graph_forget_names(ox_graph *g)
{
    ox_table given = {.arena = g->arena};
    size_t at = 0;
    for (used_name *u; (u = ox_table_each(&g->names, &at)) != NULL;) {
        u->variants = 0;
        if (u->value == NULL || u->value->base == NULL) {
            ox_table_add(&given, ox_hash_string(u->name), u);
        }
    }
    g->names = given;
}

void ox_graph_swap_names(ox_val a, ox_val b)
{
    const ox_value was = *a;
    used_name *ua = find_name(&ox_graph_outermost(a->graph)->names, a->name);
    used_name *ub = find_name(&ox_graph_outermost(b->graph)->names, b->name);
    a->name = b->name;
    a->base = b->base;
    b->name = was.name;
    b->base = was.base;
    ua->value = b;
    ub->value = a;
}

void ox_graph_rename(ox_val v)
{
    used_name *u = take_fresh_name(v->graph, v->base);
    u->value = v;
    v->name = u->name;
}

ox_val ox_graph_find(const ox_graph *g, const char *name)
{
    const ox_graph *top = g;
    while (top->outer != NULL) {
        top = top->outer;
    }
    const used_name *u = find_name(&top->names, name);
    return u != NULL && u->value != NULL && u->value->graph == g ? u->value : NULL;
}

/* ---- values ----------------------------------------------------------------------------- */

static ox_val new_value(ox_graph *g, used_name *name)
{
    ox_val v = ox_arena_alloc(g->arena, 1, sizeof *v);
    v->graph = g;
    v->rank = -1;
    v->name = name == NULL ? "" : name->name;
    if (name != NULL) {
        name->value = v;
    }
    g->values = ox_arena_grow(g->arena, g->values, g->value_count, sizeof(ox_val));
    g->values[g->value_count++] = v;
    return v;
}

/* A value whose name is made up. */
static ox_val name_value(ox_graph *g, const char *base)
{
    ox_val v = new_value(g, take_fresh_name(g, base));
    v->base = base;
    return v;
}

/* A shared value is called after the first, by alphabet, of the scopes that ask for it. */
static void share_name(ox_val v, const char *base)
{
    if (v->base != NULL && strcmp(base, v->base) < 0) {
        v->base = base;
    }
}

ox_val ox_graph_value(ox_graph *g, const char *name, ox_type type, int rank, const ox_dim *dims)
{
    used_name *u = NULL;
    if (name != NULL && name[0] != '\0') {
        u = take_name(g, name);
        if (u == NULL) {
            ox_fail(g->arena, OX_INVALID, "value \"%s\" is defined twice", name);
        }
    }
    ox_val v = name != NULL ? new_value(g, u)
                            : name_value(g, ox_arena_format(g->arena, "%s/value", g->scope));
    v->type = type;
    v->rank = rank;
    if (rank > 0) {
        v->dims = ox_arena_copy(g->arena, dims, (size_t)rank, sizeof *dims);
    }
    return v;
}

ox_val ox_graph_fresh_value(ox_graph *g, const char *base)
{
    return new_value(g, take_fresh_name(g, base));
}

ox_val ox_graph_input(ox_graph *g, const char *name, ox_type type, int rank, const ox_dim *dims)
{
    ox_val v = ox_graph_value(g, name, type, rank, dims);
    v->is_input = true;
    g->inputs = ox_arena_grow(g->arena, g->inputs, g->input_count, sizeof(ox_val));
    g->inputs[g->input_count++] = v;
    return v;
}

/* `v` under another name, through a node that nothing else shares. */
static ox_val renamed(ox_graph *g, ox_val v, const char *name)
{
    used_name *u = take_name(g, name);
    if (u == NULL) {
        ox_fail(g->arena, OX_ARGUMENT, "the model has a value called \"%s\" already", name);
    }
    ox_val out = new_value(g, u);
    const ox_node like = {
        .op = "Identity",
        .domain = "",
        .name = ox_graph_fresh_name(g, ox_arena_format(g->arena, "%s/Identity", g->scope)),
        .input_count = 1,
        .inputs = &v,
        .output_count = 1,
        .outputs = &out,
    };
    g->infer(ox_graph_append(g, &like));
    return out;
}

void ox_graph_output(ox_graph *g, ox_val v, const char *name)
{
    v = strcmp(v->name, name) == 0 ? v : renamed(g, v, name);
    g->outputs = ox_arena_grow(g->arena, g->outputs, g->output_count, sizeof(ox_val));
    g->outputs[g->output_count++] = v;
}

static uint64_t hash_const(const ox_const *c)
{
    uint64_t h = ox_hash(0, &c->type, sizeof c->type);
    h = ox_hash(h, &c->rank, sizeof c->rank);
    if (c->rank > 0) {
        h = ox_hash(h, c->dims, (size_t)c->rank * sizeof *c->dims);
    }
    size_t size = c->data == NULL ? 0 : c->size < SHARED_BYTES ? c->size : SHARED_BYTES;
    return size > 0 ? ox_hash(h, c->data, size) : h;
}

static bool const_equal(const ox_const *a, const ox_const *b)
{
    return a->type == b->type && a->rank == b->rank && a->size == b->size &&
           (a->rank == 0 || memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0) &&
           (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

/* The table of shared things holds values: the constant itself, or a node's first output. */
static ox_val find_constant(ox_graph *g, const ox_const *c, uint64_t hash)
{
    size_t at = OX_TABLE_START;
    for (ox_val v; (v = ox_table_next(&g->shared, hash, &at)) != NULL;) {
        if (v->constant != NULL && !v->gone && const_equal(v->constant, c)) {
            return v;
        }
    }
    return NULL;
}

ox_val ox_graph_constant(ox_graph *g, const char *name, const ox_const *c)
{
    bool small = c->data != NULL && c->size <= SHARED_BYTES;
    uint64_t hash = small ? hash_const(c) : 0;
    ox_val v = small && name == NULL ? find_constant(g, c, hash) : NULL;
    const char *base = ox_arena_format(g->arena, "%s/constant", g->scope);
    if (v != NULL) {
        share_name(v, base);
        return v;
    }
    ox_const *copy = ox_arena_copy(g->arena, c, 1, sizeof *c);
    size_t rank = (size_t)c->rank;
    copy->dims = ox_arena_copy(g->arena, c->dims, rank, sizeof *c->dims);
    if (small && c->proto == NULL) {
        copy->data = ox_arena_copy(g->arena, c->data, c->size, 1);
    }
    ox_dim *dims = ox_arena_alloc(g->arena, rank, sizeof *dims);
    for (size_t i = 0; i < rank; i++) {
        dims[i] = ox_dim_of(c->dims[i]);
    }
    v = name != NULL ? ox_graph_value(g, name, c->type, c->rank, dims) : name_value(g, base);
    v->type = c->type;
    v->rank = c->rank;
    v->dims = dims;
    v->constant = copy;
    v->keep = name != NULL;
    if (small && find_constant(g, c, hash) == NULL) { /* one of equal ones, however many */
        ox_table_add(&g->shared, hash, v);
    }
    return v;
}

/* ---- nodes ------------------------------------------------------------------------------ */

static uint64_t hash_attr(uint64_t h, const ox_attr *a)
{
    h = ox_hash(h, a->name, strlen(a->name));
    h = ox_hash(h, &a->i, sizeof a->i);
    h = ox_hash(h, &a->f, sizeof a->f);
    switch (a->kind) {
    case OX_ATTR_STRING: return ox_hash(h, a->s, a->count);
    case OX_ATTR_INTS: return ox_hash(h, a->ints, a->count * sizeof *a->ints);
    case OX_ATTR_FLOATS: return ox_hash(h, a->floats, a->count * sizeof *a->floats);
    case OX_ATTR_TENSOR: return h ^ hash_const(a->tensor);
    case OX_ATTR_GRAPH: return ox_hash(h, &a->graph, sizeof a->graph);
    case OX_ATTR_STRINGS: return ox_hash(h, &a->strings, sizeof a->strings);
    default: return h;
    }
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static bool attr_equal(const ox_attr *a, const ox_attr *b)
{
    if (a->kind != b->kind || a->count != b->count || a->i != b->i || a->graph != b->graph ||
        a->graphs != b->graphs || a->strings != b->strings || bits_of(a->f) != bits_of(b->f) ||
        strcmp(a->name, b->name) != 0 || a->proto != b->proto) {
        return false;
    }
    switch (a->kind) {
    case OX_ATTR_STRING: return a->count == 0 || memcmp(a->s, b->s, a->count) == 0;
    case OX_ATTR_INTS: return a->count == 0 || memcmp(a->ints, b->ints, a->count * 8) == 0;
    case OX_ATTR_FLOATS: return a->count == 0 || memcmp(a->floats, b->floats, a->count * 4) == 0;
    case OX_ATTR_TENSOR: return a->tensor == b->tensor || const_equal(a->tensor, b->tensor);
    default: return a->kind != OX_ATTR_OTHER;
    }
}

static uint64_t hash_node(const ox_node *n)
{
    uint64_t h = ox_hash(0, n->op, strlen(n->op));
    h = ox_hash(h, n->domain, strlen(n->domain));
    for (size_t i = 0; i < n->input_count; i++) {
        h = ox_hash(h, &n->inputs[i], sizeof n->inputs[i]);
    }
    for (size_t i = 0; i < n->attr_count; i++) {
        h = hash_attr(h, &n->attrs[i]);
    }
    return h;
}

/* Whether it has no output i but a place for it. */
static bool leaves_out(const ox_node *n, size_t i)
{
    return n->outputs != NULL && n->outputs[i]->name[0] == '\0';
}

static bool node_equal(const ox_node *a, const ox_node *b)
{
    if (strcmp(a->op, b->op) != 0 || strcmp(a->domain, b->domain) != 0 ||
        a->input_count != b->input_count || a->output_count != b->output_count ||
        a->attr_count != b->attr_count) {
        return false;
    }
    for (size_t i = 0; i < a->input_count; i++) {
        if (a->inputs[i] != b->inputs[i]) {
            return false;
        }
    }
    for (size_t i = 0; i < a->attr_count; i++) {
        if (!attr_equal(&a->attrs[i], &b->attrs[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < a->output_count; i++) {
        if (leaves_out(a, i) != leaves_out(b, i)) {
            return false;
        }
    }
    return true;
}

static ox_node *find_node(ox_graph *g, const ox_node *like)
{
    size_t at = OX_TABLE_START;
    for (ox_val v; (v = ox_table_next(&g->shared, like->hash, &at)) != NULL;) {
        if (v->node != NULL && !v->gone && node_equal(v->node, like)) {
            return v->node;
        }
    }
    return NULL;
}

static bool moves_int8(const ox_node *n)
{
    const ox_val from = ox_node_input(n, 0);
    if (from == NULL) {
        return false;
    }
    return ox_only_moves(n->op) ? from->node != NULL && from->node->moves_int8
                                : strcmp(n->op, "DequantizeLinear") == 0 && from->type == OX_INT8;
}

ox_node *ox_graph_append(ox_graph *g, const ox_node *like)
{
    ox_arena *a = g->arena;
    ox_node *n = ox_arena_copy(a, like, 1, sizeof *n);
    n->graph = g;
    n->inputs = ox_arena_copy(a, like->inputs, like->input_count, sizeof(ox_val));
    n->outputs = ox_arena_copy(a, like->outputs, like->output_count, sizeof(ox_val));
    n->attrs = ox_arena_copy(a, like->attrs, like->attr_count, sizeof *like->attrs);
    for (size_t i = 0; i < n->output_count; i++) {
        assert(n->outputs[i]->node == NULL);
        n->outputs[i]->node = n;
        n->outputs[i]->output = (int)i;
    }
    n->moves_int8 = moves_int8(n);
    n->origin = n->original ? NULL : g->origin;
    g->nodes = ox_arena_grow(a, g->nodes, g->node_count, sizeof *g->nodes);
    g->nodes[g->node_count++] = n;
    return n;
}

/* Attributes are copied with the arrays they point to, which are often the caller's locals. */
static ox_attr *copy_attrs(ox_arena *a, size_t count, const ox_attr *attrs)
{
    ox_attr *copy = ox_arena_copy(a, attrs, count, sizeof *attrs);
    for (size_t i = 0; i < count; i++) {
        ox_attr *c = &copy[i];
        if (c->kind == OX_ATTR_INTS) {
            c->ints = ox_arena_copy(a, c->ints, c->count, sizeof *c->ints);
        } else if (c->kind == OX_ATTR_FLOATS) {
            c->floats = ox_arena_copy(a, c->floats, c->count, sizeof *c->floats);
        } else if (c->kind == OX_ATTR_STRING) {
            c->s = ox_arena_string(a, c->s);
        }
    }
    return copy;
}

/* Adds `like`, of whose outputs those are left out that it leaves out, if it has any; or finds it.
 */
static ox_node *emit(ox_graph *g, ox_node like)
{
    while (like.input_count > 0 && like.inputs[like.input_count - 1] == NULL) {
        like.input_count--;
    }
    for (size_t i = 0; i < like.input_count; i++) {
        const ox_graph *around = g; /* a body may read what is around it */
        while (like.inputs[i] != NULL && around != NULL && around != like.inputs[i]->graph) {
            around = around->outer;
        }
        assert(around != NULL);
    }
    like.hash = hash_node(&like);
    const char *base = ox_arena_format(g->arena, "%s/%s", g->scope, like.op);
    ox_node *n = find_node(g, &like);
    if (n != NULL) {
        for (size_t i = 0; i < n->output_count; i++) {
            share_name(n->outputs[i], base);
        }
        return n;
    }
    like.attrs = copy_attrs(g->arena, like.attr_count, like.attrs);
    ox_val *outputs = ox_arena_alloc(g->arena, like.output_count, sizeof(ox_val));
    like.name = "";
    for (size_t i = 0; i < like.output_count; i++) {
        outputs[i] = leaves_out(&like, i) ? new_value(g, NULL) : name_value(g, base);
        like.name = like.name[0] == '\0' ? outputs[i]->name : like.name;
    }
    like.outputs = outputs;
    n = ox_graph_append(g, &like);
    g->infer(n);
    for (size_t i = 0; i < n->output_count; i++) {
        if (n->outputs[i]->rank > OX_RANK_LIMIT) {
            ox_fail(g->arena, OX_UNSUPPORTED, "%s has too many axes", ox_node_label(n));
        }
    }
    if (n->output_count > 0) { /* else it computes nothing that could be shared */
        ox_table_add(&g->shared, n->hash, n->outputs[0]);
    }
    return n;
}

ox_node *ox_graph_emit_node(ox_graph *g, const char *domain, const char *op, size_t input_count,
                            const ox_val *inputs, size_t output_count, size_t attr_count,
                            const ox_attr *attrs)
{
    return emit(g, (ox_node){.op = op,
                             .domain = domain,
                             .input_count = input_count,
                             .inputs = (ox_val *)(uintptr_t)inputs,
                             .output_count = output_count,
                             .attr_count = attr_count,
                             .attrs = attrs});
}

ox_node *ox_graph_emit_like(ox_graph *g, const ox_node *n, const ox_val *inputs)
{
    bool standard = n->domain[0] == '\0';
    return emit(g, (ox_node){.op = n->op,
                             .domain = n->domain,
                             .input_count = n->input_count,
                             .inputs = (ox_val *)(uintptr_t)inputs,
                             .output_count = n->output_count,
                             .outputs = standard ? NULL : n->outputs,
                             .attr_count = n->attr_count,
                             .attrs = n->attrs,
                             .captured_count = n->captured_count,
                             .captured = n->captured});
}

void ox_node_captures(ox_node *n, ox_val v)
{
    n->captured = ox_arena_grow(n->graph->arena, n->captured, n->captured_count, sizeof(ox_val));
    n->captured[n->captured_count++] = v;
}

ox_val ox_graph_known(ox_graph *g, ox_val v)
{
    if (v->elements == NULL || (v->type != OX_INT64 && v->type != OX_INT32) ||
        !ox_dims_static(v->rank, v->dims)) {
        return NULL;
    }
    ox_arena *a = g->arena;
    size_t count = (size_t)ox_val_size(v).size;
    size_t width = ox_type_size(v->type);
    unsigned char *data = ox_arena_alloc(a, count, width);
    int64_t *dims = ox_arena_alloc(a, (size_t)v->rank, sizeof *dims);
    for (size_t i = 0; i < count; i++) {
        if (!ox_dim_is_static(v->elements[i])) {
            return NULL;
        }
        int64_t wide = v->elements[i].size;
        int32_t narrow = (int32_t)wide;
        memcpy(data + i * width, width == 8 ? (void *)&wide : (void *)&narrow, width);
    }
    for (int i = 0; i < v->rank; i++) {
        dims[i] = v->dims[i].size;
    }
    ox_const c = {.type = v->type, .rank = v->rank, .dims = dims, .data = data};
    c.size = count * width;
    return ox_graph_constant(g, NULL, &c);
}

ox_val ox_graph_emit(ox_graph *g, const char *op, size_t input_count, const ox_val *inputs,
                     size_t attr_count, const ox_attr *attrs)
{
    ox_node *n = ox_graph_emit_node(g, "", op, input_count, inputs, 1, attr_count, attrs);
    ox_val known = ox_graph_known(g, n->outputs[0]);
    return known != NULL ? known : n->outputs[0];
}
