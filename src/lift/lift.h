/* Lifting: one spelling before anything else. */
#ifndef OX_LIFT_H
#define OX_LIFT_H

#include "model/model.h"

/* Brings the graph of `m` (a private copy, its inputs' dimensions already bound) to the working
 * opset max(own, 18): model-local functions are inlined, older spellings rewritten, Constant nodes
 * stay, types and shapes of all values inferred. Works in place: values stay, nodes keep name,
 * order and meaning, and those whose spelling is valid already are kept as they are. Gives up on
 * what cannot be spelled, naming node, op and opset. */
void ox_lift(ox_model *m);

/* The opset that the model imports, or imports now for its functions, 0 for none that it needs.
 * Gives up on one that is not understood. */
int64_t ox_lift_opset(const ox_model *m);

/* The opset that our own nodes are written in, at least. */
enum { OX_WORKING_OPSET = 18 };

/* lift/control.c: writes out the control flow and the sequences on which needed values depend, and
 * infers shapes anew after them. Nothing gives up: nodes that cannot be written out say so when a
 * multiplier reaches them. */
void ox_control_expand(ox_graph *g);

/* Fills outputs[0 .. n->output_count) with what a node that was written out is made of, NULL for
 * those that nobody needs; gives up where it was not. */
void decompose_control(const ox_node *n, ox_val *outputs);

#endif
