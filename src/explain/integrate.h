/* Integrals in place of rules. */
#ifndef OX_EXPLAIN_INTEGRATE_H
#define OX_EXPLAIN_INTEGRATE_H

#include "explain/state.h"

/* Gives up where options.integrate or .integrate_ops cannot be used. */
void ox_integrate_check(const ox_explain_state *s);

/* Whether the node's rule is to be replaced by an integral, and that, in place of the rule. */
bool ox_integrate_wants(const ox_explain_state *s, const ox_node *n);
void ox_integrate(ox_explain_state *s, ox_ctx *c);

#endif
