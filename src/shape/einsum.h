/* The equation of an Einsum. */
#ifndef OX_SHAPE_EINSUM_H
#define OX_SHAPE_EINSUM_H

#include "graph/graph.h"

enum { OX_LETTERS = 128 };

/* The letters of the axes of an operand or of the result. The axes of an ellipsis, counted from its
 * end, are the letters 1, 2, ... */
typedef struct ox_einsum_term {
    int count;
    int letters[OX_MAX_RANK];
} ox_einsum_term;

/* The terms of the inputs, whose ranks have to be known, and after them that of the output: what
 * stands after the arrow; without one the ellipsis, and the letters that are used once in the order
 * of the alphabet. Gives up where the equation does not fit the inputs. */
const ox_einsum_term *ox_einsum_read(const ox_node *n);

#endif
