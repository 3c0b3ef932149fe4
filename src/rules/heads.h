/* What attention of the standard and of com.microsoft share: values with an axis for the heads. */
#ifndef OX_RULES_HEADS_H
#define OX_RULES_HEADS_H

#include "rules/decompose.h"

/* Hides a key: a finite number, so that queries from which all are hidden give no NaN. */
#define OX_HIDDEN (-1e14)

/* [B, L, H * D] as [B, L, H, D]. */
ox_val ox_heads_apart(const ox_node *n, ox_val v, int64_t heads);

/* [B, L, H, D] as [B, H, L, D], and back. */
ox_val ox_heads_swap(ox_val v);

/* [B, H, L, D] as [B, L, H * D]. */
ox_val ox_heads_join(ox_val v);

/* OX_HIDDEN where the condition holds, else 0. */
ox_val ox_heads_hide(ox_val condition, ox_val like);

/* limit tanh(x / limit), x where there is no limit. */
ox_val ox_heads_cap(ox_val x, double limit);

/* The first `size` values of the last axis of x [.., D] turned in pairs by angles of which the
 * cosine and sine are given. 0 stands for all. */
ox_val ox_heads_turn(const ox_node *n, ox_val x, ox_val cosine, ox_val sine, int64_t size);

/* Steps that linear attention is unrolled over at most. */
enum { OX_HEADS_STEPS = 4096 };

/* The state of linear attention after one token, [B, H, key, value]: decayed, corrected, and with
 * k v added. k and v are [B, H, 1, ..], decay and beta NULL or of the same rank. */
ox_val ox_heads_state(ox_val state, ox_val k, ox_val v, ox_val decay, ox_val beta);

#endif
