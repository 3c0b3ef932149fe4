/* Shapes as data: what the model computes from shapes is the same for sample and reference. The
 * reference branch, which takes R references in place of N samples, cannot tell it where it depends
 * on N, or on an input of which there are no references; references then come one at a time, beside
 * the sample, whose shapes are theirs. */
#include "explain/shapes.h"

#include <string.h>

#include "explain/bind.h"
#include "explain/hold.h"
#include "explain/note.h"
#include "explain/order.h"
#include "graph/body.h"
#include "rules/side.h"
#include "shape/shape.h"

/* ---- inputs without references ------------------------------------------------------------- */

static void mark_needed(void *user, ox_val v)
{
    (void)user;
    v->needed = true;
}

static bool is_explained(const ox_explain_state *s, ox_val v)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        if (s->bind->inputs[i].x == v) {
            return true;
        }
    }
    return false;
}

/* A constant wherever it is copied to, as by ox_graph_known. */
static bool is_number(ox_val v)
{
    size_t count = 0;
    return v->elements != NULL && (v->type == OX_INT64 || v->type == OX_INT32) &&
           ox_shape_count(v->rank, v->dims, &count) && ox_dims_static((int)count, v->elements);
}

static bool any_needed(const ox_node *n, bool fold)
{
    for (size_t i = 0; i < n->output_count; i++) {
        if (n->outputs[i]->needed && !(fold && is_number(n->outputs[i]))) {
            return true;
        }
    }
    return false;
}

/* Whether the output needs an input that is not explained, if only its shape; with `fold` without
 * what is known already, and without those that are held for more than their shape. */
static bool needs_others(const ox_explain_state *s, bool fold)
{
    ox_graph *g = s->g;
    for (size_t i = 0; i < g->value_count; i++) {
        g->values[i]->needed = g->values[i] == s->bind->output;
    }
    for (size_t i = g->node_count; i-- > 0;) {
        const ox_node *n = g->nodes[i];
        bool needed = any_needed(n, fold);
        for (size_t k = 0; needed && k < n->input_count; k++) {
            if (n->inputs[k] != NULL) {
                n->inputs[k]->needed = true;
            }
        }
        if (needed) {
            ox_body_visit_captured(n, mark_needed, NULL);
        }
    }
    bool others = false, known_held = fold && s->bind->needs_held;
    for (size_t i = 0; i < g->input_count; i++) {
        ox_val v = g->inputs[i];
        others = others || (v->needed && !is_explained(s, v) && !(known_held && ox_hold_is(s, v)));
    }
    return others;
}

/* ---- the batch as a number ------------------------------------------------------------------- */

static bool has_batch(size_t count, const ox_dim *dims)
{
    for (size_t i = 0; i < count; i++) {
        if (dims[i].batch > 0) {
            return true;
        }
    }
    return false;
}

/* What is made of N in another way than by products, such as N > 2. */
static bool has_unknown(size_t count, const ox_dim *dims)
{
    for (size_t i = 0; i < count; i++) {
        if (dims[i].unknown != 0) {
            return true;
        }
    }
    return false;
}

/* How many inputs go into the contents of the result; the others are about its shape. */
static size_t content_inputs(const ox_node *n)
{
    if (ox_node_has(n, OX_OF_SHAPE) || ox_node_is(n, "ConstantOfShape") || ox_node_is(n, "Range")) {
        return 0;
    }
    return ox_node_has(n, OX_OF_FIRST) && n->input_count > 1 ? 1 : n->input_count;
}

/* Whether a result of n is another one for each place in the batch: as many numbers as there are
 * samples, or so many rows of a table that are not all the same. */
static bool counts_places(const ox_node *n)
{
    bool range = ox_node_is(n, "Range");
    bool slice = ox_node_is(n, "Slice");
    ox_val x = ox_node_input(n, 0);
    ox_val limit = range ? ox_node_input(n, 1) : slice ? ox_node_input(n, 2) : NULL;
    const ox_dim *ends = limit == NULL ? NULL : ox_shape_elements(limit);
    size_t count = 0;
    if (ends == NULL || !ox_shape_count(limit->rank, limit->dims, &count) ||
        !has_batch(count, ends)) {
        return false;
    }
    bool whole = slice && x->rank >= 0 && has_batch((size_t)x->rank, x->dims);
    const double *rows = range || whole ? NULL : ox_numbers(x, &count);
    bool same = rows != NULL || whole;
    for (size_t i = 1; rows != NULL && i < count; i++) {
        same = same && rows[i] == rows[0];
    }
    return !same;
}

/* Whether v, of the shape of x, tells how much was found in what is held, such as the places of an
 * id: in all samples, then. */
static bool counts_found(ox_val x, ox_val v)
{
    const ox_side *side = ox_side_of(v);
    return side->of_held && !side->varies && has_unknown((size_t)x->rank, x->dims);
}

/* Whether the contents of v, an output of n, depend on N. */
static bool counts_batch(const ox_node *n, ox_val v)
{
    size_t count = 0;
    ox_val x = ox_node_input(n, 0);
    if (v->elements != NULL && ox_shape_count(v->rank, v->dims, &count) &&
        !has_unknown(count, v->elements)) {
        return has_batch(count, v->elements);
    }
    if (ox_only_shape(n)) {
        return x != NULL && x->rank > 0 &&
               (has_batch((size_t)x->rank, x->dims) || counts_found(x, v));
    }
    for (size_t i = 0; i < content_inputs(n); i++) {
        x = n->inputs[i];
        if (x != NULL && !ox_side_of(x)->varies && ox_side_of(x)->counts) {
            return true;
        }
    }
    return !ox_side_of(v)->varies && counts_places(n);
}

/* A node that multipliers reach and that computes with a number that depends on N, or NULL.
 * Integers only say where things are. */
static const ox_node *uses_batch(ox_explain_state *s)
{
    for (size_t i = 0; i < s->g->node_count; i++) {
        const ox_node *n = s->g->nodes[i];
        for (size_t k = 0; k < n->output_count; k++) {
            ox_side_of(n->outputs[k])->counts = counts_batch(n, n->outputs[k]);
        }
    }
    for (size_t i = 0; i < s->order->count; i++) {
        const ox_node *n = s->order->nodes[i];
        for (size_t k = 0; k < content_inputs(n); k++) {
            ox_val x = n->inputs[k];
            if (x != NULL && ox_type_is_float(x->type) && !ox_side_of(x)->varies &&
                ox_side_of(x)->counts) {
                return n;
            }
        }
    }
    return NULL;
}

void ox_shapes_check(ox_explain_state *s, ox_binding *b)
{
    b->fold_shapes = needs_others(s, false);
    b->sample_shapes = b->fold_shapes && needs_others(s, true);
    const ox_node *counts = b->batch_free ? uses_batch(s) : NULL;
    if (!b->one_at_a_time && counts != NULL) {
        ox_note_to(s->options,
                   "references enter one at a time: %s: computes with a number that depends on how "
                   "many samples there are; a constant in its place, or --hold, keeps them apart",
                   ox_node_label(counts));
    }
    b->counts_batch = counts != NULL;
    b->one_at_a_time = b->one_at_a_time || b->sample_shapes || counts != NULL;
}
