/* LSTM, GRU and RNN: what their decomposition and their rules share. */
#ifndef OX_RULES_RECURRENT_H
#define OX_RULES_RECURRENT_H

#include "rules/unary.h"

/* Whether a first state is none, or zeros of whatever shape. */
bool ox_recurrent_starts_at_zero(ox_val v);

int ox_recurrent_directions(const ox_node *n);

/* The lengths of the sequences, [N]; NULL where all have all steps. */
ox_val ox_recurrent_lengths(const ox_node *n);

/* ---- rules/recurrent_memory.c --------------------------------------------------------------- */

/* What the attention of an AttnLSTM reads, in one direction. */
typedef struct ox_memory ox_memory;
const ox_memory *ox_recurrent_memory(const ox_node *n, int direction);

/* What a state [1, N, H] finds there, [1, N, A]. */
ox_val ox_recurrent_read(const ox_memory *m, ox_val h);

/* ---- rules/recurrent_gates.c ---------------------------------------------------------------- */

/* y = f(x) of a gate or a cell, with up to two parameters. */
typedef struct ox_gate {
    const char *op;
    int parameters; /* 1: alpha, 2: alpha and beta */
    float alpha, beta;
} ox_gate;

/* Those of an LSTM, in this order; a GRU has the first two, an RNN the first. */
enum { OX_GATE, OX_GATE_NEW, OX_GATE_OUT };

/* The functions of a direction. */
const ox_gate *ox_gates_of(const ox_node *n, int direction, size_t *count);

/* The attributes that say so, at most three, to where `attrs` points; and how many. */
size_t ox_gate_attrs(const ox_node *n, int direction, ox_attr *attrs);

ox_val ox_gate_value(const ox_gate *f, ox_val x);

/* m times the slope between both sides. */
ox_val ox_gate_flow(const ox_gate *f, ox_val m, const ox_pair *p);

#endif
