/* The references in the graph. */
#ifndef OX_EXPLAIN_REFERENCES_H
#define OX_EXPLAIN_REFERENCES_H

#include "explain/bind.h"

/* Adds the references to the graph, as constants or inputs. */
void ox_feed_references(ox_explain_state *s);

/* Whether each sample has one reference of its own shape: filled, or paired with it. */
bool ox_feed_is_own(const ox_explain_state *s);

/* `count` references of input i from `first` on, as they were given, as a constant of `g`. */
ox_val ox_feed_rows(ox_explain_state *s, ox_graph *g, size_t i, int64_t first, int64_t count);

/* References with R along the batch axis as [R, own shape with 1 in place of N]. */
ox_val ox_feed_slices(const ox_explained *e, ox_val references);

#endif
