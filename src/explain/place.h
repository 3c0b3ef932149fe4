/* Where the samples lie in a value. */
#ifndef OX_EXPLAIN_PLACE_H
#define OX_EXPLAIN_PLACE_H

#include "explain/state.h"

/* How rows may be cut into batches. */
typedef enum ox_cut {
    OX_CUT_ANY,
    OX_CUT_ALONE, /* samples of a batch share what they are rounded by: one at a time */
    OX_CUT_WHOLE, /* they may depend on each other, or on how many there are: all at once */
} ox_cut;

/* Finds ox_side.place of all values that there are. `decomposed`: of nodes that may be decomposed
 * it is known whether they are. */
void ox_place_find(ox_explain_state *s, bool decomposed);

/* The first node that multipliers reach of which a result's samples are not found, and why; NULL
 * where there is none. */
const char *ox_place_missing(ox_explain_state *s);

/* Whether v, of known rank, has no axis of samples. */
bool ox_place_absent(ox_val v);

/* Whether v is as long, in some axis, as what was found while the model ran. */
bool ox_place_found(ox_val v);

/* Whether v can be repeated for others in the place of its samples: the lengths of all other axes
 * are known. */
bool ox_place_repeats(ox_val v);

/* What that means for batches that rows are cut into, on the way to any output. */
ox_cut ox_place_cut(ox_explain_state *s);

/* The first node that loses the batch on the way to the output, and how, where it does not stay
 * free. */
const char *ox_place_lost(ox_explain_state *s);

#endif
