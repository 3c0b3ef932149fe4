/* Bodies of If, Loop and Scan, and of functions: graphs inside of another. What a body uses of the
 * graph around is there as a value of its own, a stand-in whose `outer` is the value around. */
#ifndef OX_BODY_H
#define OX_BODY_H

#include "graph/graph.h"

/* The graphs in an attribute. */
size_t ox_attr_graph_count(const ox_attr *a);
ox_graph *ox_attr_graph(const ox_attr *a, size_t i);

/* A value of a body under its own name, which others elsewhere may have, and one that stands for
 * `outer`. */
ox_val ox_body_value(ox_graph *body, const char *name);
ox_val ox_body_stand_in(ox_graph *body, ox_val outer);

/* Tells stand-ins what is known by now of the values that they stand for. */
void ox_body_refresh(ox_graph *body);

/* The value that v stands for in the end. */
ox_val ox_body_origin(ox_val v);

/* What is called, where not NULL, on the way through the bodies of a node and those inside them:
 * for every node before the bodies in it, and when a body has ended. */
typedef struct ox_body_walk {
    void (*node)(void *user, const ox_node *n);
    void (*leave)(void *user, const ox_graph *body);
    void *user;
} ox_body_walk;

void ox_body_walk_node(const ox_body_walk *w, const ox_node *n);

/* Calls visit for the values of n's graph that bodies of n use, once per use. */
void ox_body_visit_captured(const ox_node *n, void (*visit)(void *user, ox_val v), void *user);

/* Takes the names of all that is in bodies of n, so that no new value gets them. */
void ox_body_take_names(ox_graph *g, const ox_node *n);

/* ---- bodies once more ------------------------------------------------------------------- */

/* What the values of a body become elsewhere, and those of the bodies around. */
typedef struct ox_map {
    const struct ox_map *around;
    ox_table values;
} ox_map;

void ox_map_add(ox_map *m, ox_val from, ox_val to);

/* NULL where it is left out; v itself where nothing is said of it. */
ox_val ox_map_find(const ox_map *m, ox_val v);

/* Calls visit for every node of the body, `from`, with a copy of it that has inputs according to
 * the map; its outputs, which visit fills, are entered there. */
typedef void (*ox_body_visit)(void *user, ox_node *n, const ox_node *from, const ox_map *map);
void ox_body_each(const ox_graph *body, ox_map *map, ox_body_visit visit, void *user);

/* How copies differ. */
typedef struct ox_body_copier {
    const char *(*name)(void *user, const char *name);        /* new ones; NULL: the same */
    const ox_attr *(*given)(void *user, const ox_attr *attr); /* what stands for `ref`, or NULL */
    void (*check)(void *user, const ox_node *n);              /* of each node, where not NULL */
    const void *(*proto)(void *user, const ox_graph *from);   /* of a body; NULL: the same */
    void *user;
} ox_body_copier;

/* A copy of a body, inside of `outer`; and of a node's attributes with the bodies in them. */
ox_graph *ox_body_copy(const ox_body_copier *c, ox_graph *outer, const ox_map *around,
                       const ox_graph *from);
void ox_body_copy_attrs(const ox_body_copier *c, ox_graph *outer, const ox_map *around, ox_node *n);

#endif
