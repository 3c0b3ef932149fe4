/* The model on the way from sample to references. */
#ifndef OX_EXPLAIN_CURVES_H
#define OX_EXPLAIN_CURVES_H

#include "explain/state.h"

/* found->curve, of the input shap_step; and the outputs. */
void ox_curves_values(ox_explain_state *s);
void ox_curves_outputs(ox_explain_state *s);

#endif
