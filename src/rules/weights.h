/* Weights of a few bits, in blocks that share a scale. */
#ifndef OX_RULES_WEIGHTS_H
#define OX_RULES_WEIGHTS_H

#include "rules/decompose.h"

/* How weights are packed: `bits` each, the lower ones of a byte first, every `block` of them along
 * the last axis with a scale of its own. */
typedef struct ox_packing {
    int64_t bits, block;
} ox_packing;

/* bytes [.., L] as numbers [.., L * 8 / bits]. */
ox_val ox_weights_unpack(ox_val bytes, ox_type type, int64_t bits);

/* The weights [.., K] of bytes [.., K * bits / 8]: (number - zero) scale. Scales are as many as
 * [.., K / block]; zeros are packed like weights, or numbers like the scales; NULL: the middle. */
ox_val ox_weights_real(const ox_node *n, ox_val bytes, ox_val scale, ox_val zero, ox_packing p);

#endif
