/* Which inputs are explained, batch axes, references. */
#ifndef OX_EXPLAIN_BIND_H
#define OX_EXPLAIN_BIND_H

#include "explain/state.h"

/* An input that is explained, or a tensor in place of the inputs; the latter has no references of
 * its own. */
typedef struct ox_explained {
    ox_val x;
    int batch_axis;         /* -1: none */
    const ox_tensor *given; /* its references, or NULL */
} ox_explained;

/* What is explained, by what, and where its samples are: attempt.c, bind.c, hold.c, shapes.c. */
struct ox_binding {
    ox_val output;        /* explained */
    ox_val output_tensor; /* the model's own that it is made of, or itself */
    int output_batch_axis;
    ox_type type; /* of the explained output's multiplier, f(x) and base value: float or double */

    ox_explained *inputs; /* that differ between sample and reference */
    size_t input_count;
    ox_val *held; /* inputs and tensors of options.hold */
    size_t held_count;
    bool needs_held;      /* the output needs some of them */
    bool draws;           /* the output needs random numbers */
    ox_explained *points; /* that get SHAP values: the inputs, or the tensors of options.at */
    size_t point_count;
    const char *batch_symbol; /* axis.c, or NULL */
    bool batch_free;          /* N is symbolic */
    bool batch_taken;         /* as free, as far as nodes let it; the model declares 1 */
    int64_t batch;            /* N where it is fixed, 1 without a batch axis */
    bool one_at_a_time;       /* references cannot be told from the sample's batch */
    bool counts_batch;        /* the output depends on N, as a number */
    bool fold_shapes;         /* the output needs shapes of inputs that have no references */
    bool sample_shapes;       /* and not all are numbers: references take the sample's */
    int64_t refs_count;       /* R, 0 where it is known at run time only */
};

/* Finds the explained inputs and the batch, checks the references against them, and sets the
 * dimensions of the inputs of s->model's graph. With force_fixed the batch is taken as 1. */
void ox_bind(ox_explain_state *s, ox_binding *b, bool force_fixed);

/* Marks as needed what the output is computed from; with `past_held` also what held values are. */
void ox_bind_mark_reached(ox_explain_state *s, bool past_held);

/* The named tensors inside the model that depend on its inputs, for messages. */
const char *ox_bind_list_tensors(ox_explain_state *s);

/* Gives an output of unknown shape the one that the model declares. */
void ox_bind_declared(const ox_explain_state *s, ox_val output);

/* What goes in and out, with the batch of 1 that the model declares. */
void ox_bind_declare(ox_explain_state *s);

/* The axis of samples in a value like the output, -1: none. */
int ox_bind_batch_axis(const ox_explain_state *s, ox_val y);

/* Gives up on a value, such as "output ", of which sizes are needed, with the ways out. */
_Noreturn void ox_bind_no_shape(const ox_explain_state *s, const char *what, const char *name);

/* After lifting: false when the model declares a free batch that its nodes do not keep. */
bool ox_bind_check(ox_explain_state *s);

#endif
