/* Vectors whose elements are each the one before and a number more. */
#ifndef OX_LIFT_PROGRESSION_H
#define OX_LIFT_PROGRESSION_H

#include "graph/graph.h"

/* `each` t + `first`, for t = 0, 1, .. */
typedef struct ox_progression {
    bool known;
    int64_t each, first;
} ox_progression;

/* That of v, a vector, by its elements or by the nodes that make it. */
ox_progression ox_progression_of(ox_val v);

#endif
