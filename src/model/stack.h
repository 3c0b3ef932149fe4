/* Several models as one: which outputs feed which inputs (ties.c), and the graph of all (stack.c).
 */
#ifndef OX_MODEL_STACK_H
#define OX_MODEL_STACK_H

#include "model/model.h"

/* An output, or a tensor inside, of one model and the input of a later one that it feeds. */
typedef struct ox_tie {
    size_t from, to;
    ox_val output, input; /* of their models' graphs */
} ox_tie;

typedef struct ox_ties {
    ox_tie *ties;
    size_t count;
} ox_ties;

/* Models in order, and "OUT:IN" of what names do not say. */
typedef struct ox_parts {
    ox_arena *arena;
    ox_model *const *models;
    size_t count;
    const char *const *connect;
    size_t connect_count;
} ox_parts;

/* Those that are asked for, then by name, then where one output is before one input. Gives up where
 * they do not fit, and where a model but the last feeds nothing. */
ox_ties ox_ties_find(const ox_parts *p);

/* The tie of an input, or NULL. */
const ox_tie *ox_ties_of(const ox_ties *ties, size_t part, ox_val input);

/* Gives up where a value cannot be what an input is; names what they are. */
void ox_ties_check(const ox_parts *p, size_t from, ox_val value, size_t to, ox_val input);

/* Fills `to`, which is new, with the graph of all parts, whose weights it shares. Operators mean
 * the same in all parts at the opsets that `to` has. */
void ox_model_stack(ox_model *to, const ox_parts *p);

#endif
