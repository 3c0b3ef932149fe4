/* AttentionFlow: what multipliers of attention y = softmax(q k) v make of those of q, k and v, for
 * a sample and a reference (rules/attention_flow.c has the formulas). */
#ifndef OPS_ATTENTION_H
#define OPS_ATTENTION_H

#include <stddef.h>

/* The operands, matrices each; the scale of the products broadcasts. */
enum {
    OPS_ATTENTION_M,  /* [queries, depth] */
    OPS_ATTENTION_Q,  /* [queries, width] */
    OPS_ATTENTION_K,  /* [width, keys] */
    OPS_ATTENTION_V,  /* [keys, depth] */
    OPS_ATTENTION_L,  /* [queries, keys]: logarithms of the shares */
    OPS_ATTENTION_Q0, /* the same of the reference */
    OPS_ATTENTION_K0,
    OPS_ATTENTION_V0,
    OPS_ATTENTION_L0,
    OPS_ATTENTION_SCALE, /* [queries or 1, keys or 1] */
    OPS_ATTENTION_INPUTS
};

enum { OPS_ATTENTION_OUTPUTS = 3 }; /* of q, k and v */

typedef struct ops_attention_size {
    size_t queries, keys, width, depth;
    size_t scale_row, scale_key; /* from one scale to the next, or 0 */
} ops_attention_size;

/* What is done of one pair and head. */
typedef struct ops_attention_pair {
    ops_attention_size size;
    const float *in[OPS_ATTENTION_INPUTS];
    float *out[OPS_ATTENTION_OUTPUTS];
} ops_attention_pair;

/* The numbers that one instruction set wants to work with, and what it does. */
typedef size_t (*ops_attention_room)(const ops_attention_size *size);
typedef void (*ops_attention)(const ops_attention_pair *p, float *room);

/* attention_naive.c */
size_t ops_attention_naive_room(const ops_attention_size *size);
void ops_attention_naive(const ops_attention_pair *p, float *room);

#endif
