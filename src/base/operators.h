/* The table of operators, base/operators.inc, by number. */
#ifndef OX_OPERATORS_H
#define OX_OPERATORS_H

#include <stdbool.h>

/* What holds of an operator whatever goes in, a bit each. */
enum {
    OX_NO_TRAIT = 0,
    OX_KEEPS_ELEMENTS = 1, /* those of input 0, in their order, in another type or shape */
    OX_OF_FIRST = 2,       /* what comes out are contents of input 0; the others say where */
    OX_OF_SHAPE = 4,       /* or nothing but its shape */
    OX_ALONG_AXIS = 8,     /* one number of several along its axis, which stays as long as it is */
    OX_IN_WINDOWS = 16,    /* or along all axes but the first */
    OX_NOT_NEGATIVE = 32,  /* what tends to 0, like e^x, is 0 somewhere */
    OX_OVERFLOWS = 64,     /* finite numbers may become infinite */
    OX_PARTIAL = 128,      /* not all numbers have a finite result */
    OX_RANDOM = 256,
    OX_IN_STEPS = 1024, /* along axis 0, or 1 where `layout` is 1, one step after the other */
    OX_SIZES =
        512, /* how much comes out is decided by what is in the inputs (OF_FIRST: the others) */
};

/* How many there are. */
enum {
    OX_OPERATORS = 0
#define OP(...) +1
#define LIFTED(...) +1
#include "base/operators.inc"
};

/* The number of its row; -1 where it has none. */
int ox_operator_find(const char *domain, const char *op);

/* Whether it has any of the traits. */
bool ox_operator_has(const char *domain, const char *op, unsigned traits);

#endif
