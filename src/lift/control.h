/* Control flow and sequences, written out before the walk: a node gets `parts`, values of the graph
 * that are what its outputs are, computed by nodes beside it. The node itself stays, and is what
 * predicts; the parts are what is explained. */
#ifndef OX_LIFT_CONTROL_H
#define OX_LIFT_CONTROL_H

#include "graph/body.h"
#include "graph/build.h"
#include "model/model.h"

/* What all nodes that are written out share. */
typedef struct ox_control_budget {
    uint64_t most, left; /* nodes of bodies that may be read, and still may */
    ox_map constants;    /* what initializers of bodies are in the graph */
} ox_control_budget;

/* A node to be written out, of the graph or of a body. */
typedef struct ox_control {
    const ox_node *node;
    const ox_map *around; /* what values of bodies around it are in the graph; NULL: none is */
    ox_control_budget *budget;
} ox_control;

/* Fills the node's outputs, NULL before; gives up where that cannot be done. */
typedef void (*ox_control_rule)(const ox_control *c, ox_val *outputs);

_Noreturn void ox_control_fail(const ox_control *c, const char *message);

/* Counts nodes of bodies that are written out; gives up where they become too many. */
void ox_control_spend(const ox_control *c, size_t count);

/* The node's body of this name over `inputs`, written into the graph; gives up where it has fewer
 * than `least` outputs. */
ox_val *ox_control_body(const ox_control *c, const char *body, size_t input_count,
                        const ox_val *inputs, size_t least, size_t *output_count);

/* Takes a node of a body and fills its outputs; `around` is for its own bodies. lift/body.c. */
typedef void (*ox_control_visit)(void *user, ox_node *n, const ox_map *around);

/* Goes through the nodes of a body over `inputs`. Returns its outputs. */
ox_val *ox_control_put(const ox_control *c, const char *body, ox_control_visit visit, void *user,
                       size_t input_count, const ox_val *inputs, size_t *output_count);

/* Whether a body declares an input as a vector (1) or not (0). */
int ox_control_rank(const ox_control *c, const char *body, size_t input);

/* `count` equal parts of v along `axis`, without it. */
const ox_val *ox_control_slices(const ox_control *c, ox_val v, int64_t axis, size_t count);

/* `v` as far back as it is the same value, or sequence, under another name. */
ox_val ox_control_origin(const ox_control *c, ox_val v);

/* Whether v, an origin, is a sequence. */
bool ox_control_is_sequence(ox_val v);

/* lift/sequence.c */
ox_control_rule ox_sequence_rule(const char *op);

#endif
