/* What a body becomes that is written once for all of its steps: which of its values have an axis
 * of steps in front, and nodes over these. */
#ifndef OX_LIFT_BATCH_H
#define OX_LIFT_BATCH_H

#include "lift/control.h"
#include "lift/progression.h"

/* A value of the body as it was met: with an axis of steps or without; and what it is in step t,
 * where it is one whole number that is known. */
typedef struct ox_batch_mark {
    ox_val value;
    bool by_step;
    ox_progression is;
} ox_batch_mark;

typedef struct ox_batch {
    const ox_control *c;
    ox_dim steps;
    ox_val like; /* the steps' axis first */
    ox_table marks;
} ox_batch;

_Noreturn void ox_batch_give_up(const ox_batch *b, const ox_node *n);

/* NULL where it was not met. */
ox_batch_mark *ox_batch_mark_of(const ox_batch *b, ox_val v);

/* Marks v, which it returns. */
ox_val ox_batch_note(ox_batch *b, ox_val v, bool by_step);

bool ox_batch_by_step(const ox_batch *b, ox_val v);

/* The rank that v has in one step. */
int ox_batch_rank(const ox_batch *b, ox_val v);

/* v with axes of length 1 behind that of the steps, so that it broadcasts as in one step. */
ox_val ox_batch_aligned(const ox_batch *b, ox_val v, int rank);

/* v with an axis of steps, along which it is repeated where it had none. */
ox_val ox_batch_repeated(const ox_batch *b, ox_val v);

/* The output of n for all steps, of which an input differs from step to step (batch_nodes.c). */
ox_val ox_batch_write(ox_batch *b, const ox_node *n);

#endif
