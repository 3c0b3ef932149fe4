/* What picking by an index that varies shares with writing by one. */
#ifndef OX_RULES_PICK_H
#define OX_RULES_PICK_H

#include "rules/rules.h"

/* x as floating-point numbers: whole ones are exact in doubles. */
ox_val ox_pick_reals(ox_val x);

/* v with `axis` moved to place `to`. */
ox_val ox_pick_move_axis(ox_val v, int axis, int to);

/* [index, size]: 1 at the position, which may be counted from the end. */
ox_val ox_pick_weights(ox_val index, int64_t size, ox_type type);

/* The part of x, along all axes but one, that an index of its rank reaches. */
ox_val ox_pick_reached(const ox_node *n, ox_val x, ox_val index, int axis);

/* Tuples of `count` along the last axis of the index, each element an axis of x behind `batch`
 * axes: their weights, [batch, tuples, positions]. */
ox_val ox_pick_tuples(const ox_node *n, ox_val x, ox_val index, int batch, int count);

/* x with `count` axes behind `batch` ones as one, and the rest as another. */
ox_val ox_pick_flat(const ox_node *n, ox_val x, int batch, int count);

/* Whether the index, input 1, is of held values alone: there is one for each sample. */
bool ox_pick_is_held(const ox_node *n);

/* The index without the first of a tuple, where that is the sample's own number; else NULL. */
ox_val ox_pick_in_own(ox_val x, ox_val index);

#endif
