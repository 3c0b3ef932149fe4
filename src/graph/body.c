/* Bodies: their values, walking through them, and having them once more. */
#include "graph/body.h"

#include <string.h>

size_t ox_attr_graph_count(const ox_attr *a)
{
    return a->graph != NULL ? 1 : a->kind == OX_ATTR_GRAPHS ? a->count : 0;
}

ox_graph *ox_attr_graph(const ox_attr *a, size_t i)
{
    return a->graph != NULL ? a->graph : a->graphs[i];
}

/* ---- values ----------------------------------------------------------------------------- */

ox_val ox_body_value(ox_graph *body, const char *name)
{
    ox_val v = ox_graph_value(body, "", OX_NONE, -1, NULL);
    v->name = name;
    return v;
}

ox_val ox_body_stand_in(ox_graph *body, ox_val outer)
{
    ox_val v = ox_body_value(body, outer->name);
    v->outer = outer;
    return v;
}

void ox_body_refresh(ox_graph *body)
{
    for (size_t i = 0; i < body->value_count; i++) {
        ox_val v = body->values[i];
        if (v->outer != NULL) {
            v->type = v->outer->type;
            v->rank = v->outer->rank;
            v->dims = v->outer->dims;
            v->constant = v->outer->constant;
            v->elements = v->outer->elements;
        }
    }
}

ox_val ox_body_origin(ox_val v)
{
    while (v->outer != NULL) {
        v = v->outer;
    }
    return v;
}

/* ---- walking through -------------------------------------------------------------------- */

/* As deep as the file's messages lie in each other, which reading has gone through. */
static void walk_graph(const ox_body_walk *w, const ox_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++) {
        if (w->node != NULL) {
            w->node(w->user, g->nodes[i]);
        }
        ox_body_walk_node(w, g->nodes[i]);
    }
    if (w->leave != NULL) {
        w->leave(w->user, g);
    }
}

void ox_body_walk_node(const ox_body_walk *w, const ox_node *n)
{
    for (size_t i = 0; i < n->attr_count; i++) {
        for (size_t k = 0; k < ox_attr_graph_count(&n->attrs[i]); k++) {
            walk_graph(w, ox_attr_graph(&n->attrs[i], k));
        }
    }
}

typedef struct capture {
    const ox_graph *graph;
    void (*visit)(void *user, ox_val v);
    void *user;
} capture;

static void captured(const capture *c, size_t count, const ox_val *values)
{
    for (size_t i = 0; i < count; i++) {
        ox_val v = values[i];
        while (v != NULL && v->graph != c->graph) {
            v = v->outer;
        }
        if (v != NULL) {
            c->visit(c->user, v);
        }
    }
}

static void captured_by_node(void *user, const ox_node *n)
{
    captured(user, n->input_count, n->inputs);
}

static void captured_by_outputs(void *user, const ox_graph *body)
{
    captured(user, body->output_count, body->outputs);
}

void ox_body_visit_captured(const ox_node *n, void (*visit)(void *user, ox_val v), void *user)
{
    capture c = {n->graph, visit, user};
    ox_body_walk_node(&(ox_body_walk){captured_by_node, captured_by_outputs, &c}, n);
}

static void take_names(void *user, const ox_graph *body)
{
    for (size_t i = 0; i < body->value_count; i++) {
        ox_graph_take_name(user, body->values[i]->name);
    }
}

void ox_body_take_names(ox_graph *g, const ox_node *n)
{
    ox_body_walk_node(&(ox_body_walk){.leave = take_names, .user = g}, n);
}

/* ---- maps ------------------------------------------------------------------------------- */

typedef struct pair {
    ox_val from, to;
} pair;

static const pair *find_pair(const ox_map *m, ox_val v)
{
    size_t at = OX_TABLE_START;
    uint64_t hash = ox_hash(0, &v, sizeof v);
    for (const pair *p; (p = ox_table_next(&m->values, hash, &at)) != NULL;) {
        if (p->from == v) {
            return p;
        }
    }
    return NULL;
}

void ox_map_add(ox_map *m, ox_val from, ox_val to)
{
    pair *p = ox_arena_alloc(m->values.arena, 1, sizeof *p);
    *p = (pair){from, to};
    ox_table_add(&m->values, ox_hash(0, &from, sizeof from), p);
}

ox_val ox_map_find(const ox_map *m, ox_val v)
{
    for (; m != NULL; m = m->around) {
        const pair *p = find_pair(m, v);
        if (p != NULL || v->outer == NULL) {
            return p != NULL ? p->to : v;
        }
        v = v->outer;
    }
    return v;
}

void ox_body_each(const ox_graph *body, ox_map *map, ox_body_visit visit, void *user)
{
    ox_arena *a = map->values.arena;
    for (size_t i = 0; i < body->node_count; i++) {
        const ox_node *from = body->nodes[i];
        ox_node n = *from;
        n.inputs = ox_arena_alloc(a, n.input_count, sizeof *n.inputs);
        n.outputs = ox_arena_alloc(a, n.output_count, sizeof *n.outputs);
        for (size_t k = 0; k < n.input_count; k++) {
            n.inputs[k] = from->inputs[k] == NULL ? NULL : ox_map_find(map, from->inputs[k]);
        }
        visit(user, &n, from, map);
        for (size_t k = 0; k < n.output_count; k++) {
            ox_map_add(map, from->outputs[k], n.outputs[k]);
        }
    }
}

/* ---- copies ----------------------------------------------------------------------------- */

typedef struct copying {
    const ox_body_copier *how;
    ox_graph *graph;
} copying;

static const char *new_name(const ox_body_copier *c, const char *name)
{
    return c->name == NULL || name[0] == '\0' ? name : c->name(c->user, name);
}

/* Dimensions that are not known are others in every copy. */
static const ox_dim *copy_dims(ox_graph *g, const ox_value *from)
{
    size_t rank = from->rank < 0 ? 0 : (size_t)from->rank;
    ox_dim *dims = ox_arena_alloc(g->arena, rank, sizeof *dims);
    for (size_t i = 0; i < rank; i++) {
        dims[i] = from->dims[i].unknown != 0 ? ox_dim_unknown(g) : from->dims[i];
    }
    return dims;
}

static ox_val copy_value(const copying *c, const ox_map *around, ox_val from)
{
    ox_graph *g = c->graph;
    if (from->outer != NULL) {
        ox_val outer = ox_map_find(around, from->outer);
        return outer == NULL ? NULL : ox_body_stand_in(g, outer);
    }
    ox_val v = ox_body_value(g, new_name(c->how, from->name));
    v->type = from->type;
    v->rank = from->rank;
    v->dims = copy_dims(g, from);
    v->constant = from->constant;
    v->is_input = from->is_input;
    v->keep = from->keep;
    return v;
}

void ox_body_copy_attrs(const ox_body_copier *c, ox_graph *outer, const ox_map *around, ox_node *n)
{
    const ox_attr *from = n->attrs;
    ox_attr *attrs = ox_arena_alloc(outer->arena, n->attr_count, sizeof *attrs);
    size_t count = 0;
    for (size_t i = 0; i < n->attr_count; i++) {
        const ox_attr *given = from[i].ref == NULL ? &from[i] : c->given(c->user, &from[i]);
        if (given == NULL) {
            continue;
        }
        ox_attr *to = &attrs[count++];
        *to = *given;
        to->name = from[i].name;
        size_t graphs = given == &from[i] ? ox_attr_graph_count(given) : 0;
        ox_graph **copies = ox_arena_alloc(outer->arena, graphs, sizeof *copies);
        for (size_t k = 0; k < graphs; k++) {
            copies[k] = ox_body_copy(c, outer, around, ox_attr_graph(given, k));
        }
        to->graphs = graphs > 0 && to->graph == NULL ? copies : to->graphs;
        to->graph = graphs > 0 && to->graph != NULL ? copies[0] : to->graph;
    }
    n->attrs = attrs;
    n->attr_count = count;
}

static void copy_node(void *user, ox_node *n, const ox_node *from, const ox_map *map)
{
    const copying *c = user;
    n->graph = c->graph;
    ox_body_copy_attrs(c->how, c->graph, map, n);
    for (size_t i = 0; i < n->output_count; i++) {
        n->outputs[i] = ox_body_value(c->graph, new_name(c->how, from->outputs[i]->name));
    }
    if (c->how->check != NULL) {
        c->how->check(c->how->user, n);
    }
    ox_graph_append(c->graph, n);
}

static ox_val *copy_list(ox_arena *a, const ox_map *map, size_t count, const ox_val *from)
{
    ox_val *to = ox_arena_alloc(a, count, sizeof *to);
    for (size_t i = 0; i < count; i++) {
        to[i] = from[i] == NULL ? NULL : ox_map_find(map, from[i]);
    }
    return to;
}

ox_graph *ox_body_copy(const ox_body_copier *how, ox_graph *outer, const ox_map *around,
                       const ox_graph *from)
{
    copying c = {how, ox_graph_inside(outer, from->name)};
    ox_graph *g = c.graph;
    ox_map map = {.around = around, .values.arena = g->arena};
    for (size_t i = 0; i < from->value_count; i++) {
        if (from->values[i]->node == NULL) {
            ox_map_add(&map, from->values[i], copy_value(&c, around, from->values[i]));
        }
    }
    ox_body_each(from, &map, copy_node, &c);
    g->input_count = from->input_count;
    g->inputs = copy_list(g->arena, &map, from->input_count, from->inputs);
    g->output_count = from->output_count;
    g->outputs = copy_list(g->arena, &map, from->output_count, from->outputs);
    g->info_count = from->info_count;
    g->infos = copy_list(g->arena, &map, from->info_count, from->infos);
    g->proto = how->proto == NULL ? from->proto : how->proto(how->user, from);
    return g;
}
