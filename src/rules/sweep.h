/* What goes back through all steps of a recurrent layer, in one Scan. */
#ifndef OX_RULES_SWEEP_H
#define OX_RULES_SWEEP_H

#include "rules/rules.h"

/* Multipliers and factors of all steps: of each pair of sample and reference, [.., T, N, ..], with
 * lead axes that broadcast. */
typedef struct ox_sweep {
    ox_val m;    /* of the states that leave the layer, [.., T, N, H] */
    ox_val h, c; /* of the last ones, [.., N, H], in full shape; c: of an LSTM */
    ox_val u;    /* from a state to its G gates, [.., T, N, G H] */
    ox_val
        kept; /* from an LSTM's cell, or a GRU's state, to the one before, [.., T, N, H]; or NULL */
    ox_val out; /* from an LSTM's state to its cell, [.., T, N, H] */
    ox_val r;   /* weights of the state before, [G H, H] */
    bool up;    /* the layer runs backwards, the sweep from the first step to the last */
} ox_sweep;

/* Of a layer with one state, its multipliers of all steps:
 *
 *     h_t = m_t + h_t+1 kept + ((h_t+1, .., h_t+1) u_t+1) r                    [.., T, N, H]
 */
ox_val ox_sweep_states(const ox_sweep *s);

/* Of an LSTM, those of its gates i, o, f and the new value (c, h, c, c) u, and behind them of its
 * cells where `cells`:
 *
 *     h_t = m_t + ((c, h, c, c) u) r,  c_t = c_t+1 kept + h_t out          [.., T, N, 4 H or 5 H]
 */
ox_val ox_sweep_cells(const ox_sweep *s, bool cells);

/* c_t = c_t-1 f_t + b_t, from zeros on, over steps of any number [.., T, N, H]; from the last to
 * the first where `down`. */
ox_val ox_sweep_sums(ox_val f, ox_val b, bool down);

#endif
