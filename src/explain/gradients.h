/* Methods of gradients. */
#ifndef OX_EXPLAIN_GRADIENTS_H
#define OX_EXPLAIN_GRADIENTS_H

#include "explain/state.h"

void ox_gradient_check(const ox_explain_state *s);
void ox_gradient(ox_explain_state *s);
void ox_gradient_times_input(ox_explain_state *s);
void ox_integrated_gradients(ox_explain_state *s);
void ox_expected_gradients(ox_explain_state *s);
void ox_smooth_gradients(ox_explain_state *s);

#endif
