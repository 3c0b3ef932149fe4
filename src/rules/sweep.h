/* What goes back through all steps of a recurrent layer, in one Scan. */
#ifndef OX_RULES_SWEEP_H
#define OX_RULES_SWEEP_H

#include "rules/recurrent.h"

/* Multipliers and factors of all steps: of each pair of sample and reference, [.., T, N, ..], with
 * lead axes that broadcast. */
typedef struct ox_sweep {
    ox_val m;     /* of the states that leave the layer, [.., T, N, H] */
    ox_val h, c;  /* of the last ones, [.., N, H], in full shape; c: of an LSTM */
    ox_val u;     /* from a state to its gates, [.., T, N, G H] */
    ox_val kept;  /* from an LSTM's cell, or a GRU's state, to the one before, [.., T, N, H] */
    ox_val out;   /* from an LSTM's state to its cell, [.., T, N, H] */
    ox_val reset; /* of a GRU that resets before its product: from what is reset to the state before
                     and to the gate r, [.., T, N, 2 H] */
    ox_val r;     /* weights of the state before, [G H, H] */
    ox_val r_new; /* of such a GRU: those of what is reset, [H, H] */
    bool up;      /* the layer runs backwards, the sweep from the first step to the last */
    bool first;   /* behind each result what arrives at the state before, and at the cell */
} ox_sweep;

/* Of an RNN, multipliers of its states of all steps:
 *
 *     h_t = m_t + (h u)_t+1 r                                      [.., T, N, H] */
ox_val ox_sweep_rnn(const ox_sweep *s);

/* Of a GRU that resets behind its product, the same:
 *
 *     h_t = m_t + (h kept)_t+1 + ((h, h, h) u)_t+1 r               [.., T, N, H] */
ox_val ox_sweep_gru(const ox_sweep *s);

/* Of one that resets before it, those of its gates z, r and the new value, u being of z and that:
 *
 *     g = (h, h) u,  a = g_new r_new,  g_r = a reset_r             [.., T, N, 3 H]
 *     h_t = m_t + (h kept + a reset_h + (g_z, g_r) r)_t+1 */
ox_val ox_sweep_gru_reset(const ox_sweep *s);

/* Of an LSTM, those of its gates i, o, f and the new value:
 *
 *     g = (c, h, c, c) u,  h_t = m_t + (g r)_t+1                   [.., T, N, 4 H]
 *     c_t = (c kept)_t+1 + h_t out_t */
ox_val ox_sweep_lstm(const ox_sweep *s);

/* c_t = c_t-1 f_t + b_t, from zeros on, over steps of any number [.., T, N, H]; from the last to
 * the first where `down`. */
ox_val ox_sweep_sums(ox_val f, ox_val b, bool down);

/* The cells of an LSTM, to whose gates i and f, of this function of what is clipped, the cell
 * before goes with these weights, f NULL where it is 1 - i:
 *
 *     c = c_t-1 + enters_t
 *     c_t = f(f_t + c to_f) c + i(i_t + c to_i) new_t              [.., T, N, H] */
typedef struct ox_cells {
    const ox_gate *function;
    double clip;       /* 0: none */
    ox_val i, f, new;  /* [.., T, N, H] */
    ox_val enters;     /* NULL: 0 */
    ox_val to_i, to_f; /* [H] */
    bool down;         /* from the last step to the first */
} ox_cells;

ox_val ox_sweep_cells(const ox_cells *c);

#endif
