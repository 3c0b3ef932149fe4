/* LSTM, GRU and RNN: what their decomposition and their rules share. */
#ifndef OX_RULES_RECURRENT_H
#define OX_RULES_RECURRENT_H

#include "rules/rules.h"

/* Whether a first state is none, or zeros of whatever shape. */
bool ox_recurrent_starts_at_zero(ox_val v);

/* The function of an RNN's only gate. */
const char *ox_recurrent_function(const ox_node *n);

#endif
