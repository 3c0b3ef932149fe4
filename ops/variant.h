/* What the files that are compiled for several instruction sets have names of. */
#ifndef OPS_VARIANT_H
#define OPS_VARIANT_H

#include "ops.h"

#define OPS_JOIN(a, b) a##_##b
#define OPS_JOINED(a, b) OPS_JOIN(a, b)
#define OPS_TEXT(name) #name
#define OPS_QUOTE(name) OPS_TEXT(name)

/* name_avx2 and so on. */
#define OPS_VARIANT(name) OPS_JOINED(name, OPS_ISA)

/* axes.c */
void OPS_VARIANT(row_softmax)(size_t count, float *out, const float *const *in);
void OPS_VARIANT(row_log_softmax)(size_t count, float *out, const float *const *in);
void OPS_VARIANT(row_log_sum_exp)(size_t count, float *out, const float *const *in);
double OPS_VARIANT(share)(size_t count, float *mean, float *middle, const float *l,
                          const float *l0);
void OPS_VARIANT(row_root_norm)(size_t count, float *out, const float *const *in);
void OPS_VARIANT(row_layer_norm)(size_t count, float *out, const float *const *in);

/* attention_rows.c */
size_t OPS_VARIANT(attention_room)(const ops_attention_size *size);
void OPS_VARIANT(attention)(const ops_attention_pair *p, float *room);

#endif
