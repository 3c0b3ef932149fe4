/* Decompositions that rules.h does not list. */
#ifndef OX_RULES_NORM_H
#define OX_RULES_NORM_H

#include "rules.h"

void decompose_rms_normalization(const ox_node *n, ox_val *outputs);
void decompose_mean_variance_normalization(const ox_node *n, ox_val *outputs);
void decompose_reduce_l1(const ox_node *n, ox_val *outputs);
void decompose_reduce_l2(const ox_node *n, ox_val *outputs);
void decompose_reduce_sum_square(const ox_node *n, ox_val *outputs);
void decompose_reduce_log_sum(const ox_node *n, ox_val *outputs);
void decompose_reduce_prod(const ox_node *n, ox_val *outputs);

#endif
