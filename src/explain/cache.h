/* Its values that are computed once and kept. */
#ifndef OX_EXPLAIN_CACHE_H
#define OX_EXPLAIN_CACHE_H

#include "explain/state.h"

/* A constant of the model's graph for `computed`, a value of the reference graph, `v` of the lifted
 * one: for all references, one after the other, by chunks where a Scan takes chunks. */
ox_val ox_keep(ox_explain_state *s, ox_val v, ox_val computed);

/* Runs the reference graph and fills these constants. */
void ox_keep_run(ox_explain_state *s);

#endif
