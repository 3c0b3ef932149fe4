/* What keeps the sample's value. */
#ifndef OX_EXPLAIN_HOLD_H
#define OX_EXPLAIN_HOLD_H

#include "explain/bind.h"

/* Whether options.hold names an input or tensor. */
bool ox_hold_names(const ox_options *o, const char *name);

/* Finds b->held by name in the graph as it is now; gives up where there is none of a name. */
void ox_hold_find(ox_explain_state *s, ox_binding *b);

/* Whether v is one of them, or drawn. */
bool ox_hold_is(const ox_explain_state *s, ox_val v);

/* Whether random numbers are needed, as ox_bind_mark_reached has marked. */
bool ox_hold_any_draw(const ox_graph *g);

#endif
