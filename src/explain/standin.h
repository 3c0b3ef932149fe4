/* Numbers in place of what is infinite or NaN. */
#ifndef OX_EXPLAIN_STANDIN_H
#define OX_EXPLAIN_STANDIN_H

#include "explain/state.h"

/* `seen`, a sample or reference of v, with stand-ins where v is beyond numbers; `always` also where
 * that has no effect. */
ox_val ox_standin(ox_explain_state *s, ox_val v, ox_val seen, bool always);

/* Whether the node's operands or results are beyond numbers; and its rule in that case. */
bool ox_standin_wants(ox_explain_state *s, const ox_node *n);
void ox_standin_visit(ox_explain_state *s, ox_ctx *c, ox_rule rule);

/* Gives up where references hold what no operator of the model replaces. */
void ox_standin_check(ox_explain_state *s);

#endif
