/* Explaining: forward on the sample, the reference branch, one backward walk, the mean over the
 * references. The parts of it, in the order in which explain.c calls them:
 *
 *     explain/method.c     the methods, which say what of the following they need
 *     explain/attempt.c    the way into a model, shared with ox_inspect
 *     explain/fix.c        inputs that are settings
 *     explain/hold.c       what keeps the sample's value
 *     explain/axis.c       which free dimension is the batch
 *     explain/bind.c       which inputs are explained, batch axes, references
 *     explain/references.c       the references in the graph
 *     explain/plan.c       what is kept of the references, how many a step, in which graphs
 *     explain/footprint.c  what that takes of memory, of which a bound is a promise
 *     explain/objective.c  what is made of the output: logits, losses, cosine
 *     explain/target.c     which output values: the multiplier that the walk starts with
 *     explain/places.c     the text of a target
 *     explain/order.c      the nodes that it reaches
 *     explain/sign.c       which values are above 0
 *     explain/beyond.c     which values may be infinite or NaN
 *     explain/shapes.c     shapes that are computed with
 *     explain/place.c      where the samples lie in a value
 *     explain/walk.c       the walk
 *     explain/standin.c    numbers in place of what is infinite or NaN
 *     explain/fusible.c    values that ONNX Runtime fuses, which nothing of ours may read
 *     explain/branch.c  the reference branch, and its values as the walk sees them
 *     explain/copies.c      the copies of the model's nodes that it is made of
 *     explain/predicted.c   references in a body of their own, fused as the model is
 *     explain/cache.c       its values that are computed once and kept
 *     explain/steps.c       the walk inside a Scan over the references
 *     explain/rest.c       what no rule could give to its inputs
 *     explain/result.c     the mean over the references, and the outputs
 *     explain/ours.c       names of what is added
 *     explain/splits.c     the walk from a reference to a mixture, and on to the sample
 *     explain/range.c      the scale of references and samples
 *     explain/note.c       what callers are told meanwhile
 *     explain/check.c      what the explained model gives: is it finite, does it add up?
 *     explain/check_model.c  the same by the metadata of a model in memory
 *     explain/curves.c     the model on the way from sample to references
 *     explain/original.c   the model that was explained, and its references
 *
 * Three graphs may be involved. `g` is the model's. Multipliers live in `flow`: the same one, or
 * the body of a Scan. References are computed in `refs`: the model's graph, the body, or a graph
 * of its own whose results are run once and kept (OX_CACHE_FILE). */
#ifndef OX_EXPLAIN_H
#define OX_EXPLAIN_H

#include "explain/state.h"

/* Gives up where the options do not fit the model that has been begun with. */
void ox_explain_check_given(const ox_explain_state *s);

/* Gives up where a node that multipliers reach has no rule. */
void ox_explain_check_rules(ox_explain_state *s);

/* Builds the explained graph; values kept of the references have no contents yet. */
void ox_explain_build(ox_explain_state *s);

#endif
