/* Methods that run the model on coalitions of players. */
#ifndef OX_EXPLAIN_COALITIONS_H
#define OX_EXPLAIN_COALITIONS_H

#include "explain/state.h"

void ox_exact(ox_explain_state *s);
void ox_kernel(ox_explain_state *s);
void ox_occlusion(ox_explain_state *s);

/* Gives up where options ask for more than the model's outputs. */
void ox_black_box_check(const ox_explain_state *s);

#endif
