/* The reference branch: the model's nodes once more, on the references, as far as they are asked
 * for; and its values in the shapes in which rules meet them.
 *
 * Where the batch is free, one run covers all references: R takes the place of N. A value whose
 * batch axis is [.., R, ..] then becomes [R, .., 1, ..] to meet samples of [.., N, ..]. Where N is
 * a factor of an axis, [N*T, ..] or [T*N, ..] after a Reshape, references are repeated for every
 * sample. That needs N to be found in every value (explain/place.c). Otherwise, and where the batch
 * is fixed, references come one at a time, repeated to the sample's batch, and shapes agree by
 * themselves.
 *
 * What held values reach is another for each sample: it is computed for all pairs, with R*N in
 * place of N, of what is repeated for them where it enters; what they do not reach is as it ever
 * was.
 *
 * Fusible values (explain/fusible.c) are computed once more for the walk, "apart": behind a Sum
 * where they begin, and with DequantizeLinear spelled out, as ONNX Runtime would else find that
 * both are the same, or fuse them. That goes for samples and references alike; what both differ by
 * in the end is accounted for (ox_rest_output). */
#include "explain/branch.h"

#include <string.h>

#include "explain/bind.h"
#include "explain/cache.h"
#include "explain/copies.h"
#include "explain/plan.h"
#include "explain/predicted.h"
#include "explain/steps.h"
#include "explain/target.h"
#include "rules/side.h"

/* A branch in which nothing is known of the former one's values. */
static ox_fork *new_branch(ox_explain_state *s, int lead)
{
    ox_fork *b = ox_arena_alloc(s->arena, 1, sizeof *b);
    b->lead = lead;
    b->fed = ox_arena_alloc(s->arena, s->bind->input_count, sizeof *b->fed);
    for (size_t i = 0; s->branch != NULL && i < s->g->value_count; i++) {
        ox_side *side = s->g->values[i]->side;
        if (side != NULL) {
            side->raw = side->raw_apart = side->raw_inside = side->pairs = side->view =
                side->sample = NULL;
            side->legs[0] = side->legs[1] = NULL;
        }
    }
    s->branch = b;
    return b;
}

/* Lengths that are known of values outside alone go into the body of a Scan like others. */
static ox_val take_in(void *user, ox_val outside)
{
    return ox_scan_state(user, outside);
}

static void let_take(ox_explain_state *s, ox_fork *b)
{
    b->flow->take = take_in;
    b->flow->taker = s;
}

void ox_fork_begin(ox_explain_state *s)
{
    const ox_plan *plan = s->plan;
    ox_fork *b = new_branch(s, s->target->many + !plan->one_at_a_time);
    bool steps = plan->chunk > 0 || plan->target_chunk > 0;
    b->flow = steps ? ox_graph_inside(s->g, "onnxexplainer/step") : s->g;
    b->refs = plan->cache == OX_CACHE_FILE ? ox_graph_inside(s->g, "onnxexplainer/kept")
              : plan->cache == OX_CACHE_LOAD || plan->chunk == 0 ? s->g
                                                                 : b->flow;
    if (steps) {
        let_take(s, b);
    }
    if (steps && s->g->batch_size != NULL) {
        b->flow->batch_size = ox_scan_state(s, s->g->batch_size);
    }
}

void ox_fork_points(ox_explain_state *s, bool folded)
{
    ox_fork *b = new_branch(s, s->target->many);
    b->flow = b->refs = ox_graph_inside(s->g, "onnxexplainer/point");
    b->points = true;
    b->folded = folded;
    let_take(s, b);
    if (s->g->batch_size != NULL && !folded) {
        b->flow->batch_size = ox_scan_state(s, s->g->batch_size);
    }
    if (s->g->refs_size != NULL) {
        b->flow->refs_size = ox_scan_state(s, s->g->refs_size);
    }
}

void ox_fork_samples(ox_explain_state *s)
{
    ox_fork *b = new_branch(s, s->target->many);
    b->flow = b->refs = s->g;
    b->points = true;
}

/* ---- samples
 * -------------------------------------------------------------------------------------- */

ox_val ox_sample_as_predicted(ox_explain_state *s, ox_val v)
{
    bool apart = ox_side_of(v)->fusible && ox_side_of(v)->depends;
    return s->branch->flow == v->graph ? v : apart ? ox_scan_state(s, v) : ox_sample(s, v);
}

ox_val ox_sample(ox_explain_state *s, ox_val v)
{
    ox_side *side = ox_side_of(v);
    bool apart = side->fusible && (side->depends || s->branch->flow == v->graph);
    ox_val at = apart ? ox_copy(&(ox_copying){s, s->g, false, true, false, false}, v) : v;
    if (s->branch->flow == v->graph) {
        return at;
    }
    v = ox_made_as(v);
    side = ox_side_of(v);
    if (side->sample == NULL && side->depends) {
        side->sample = ox_scan_state(s, apart ? at : v);
    }
    return ox_copy(&(ox_copying){s, s->branch->flow, false, false, false, false}, v);
}

/* Of int8 values ONNX Runtime fuses nothing where their DequantizeLinear is read by more than one,
 * and the model's output is one. */
ox_val ox_predicted(ox_explain_state *s)
{
    ox_val y = s->bind->output;
    bool read = !ox_side_of(y)->depends || ox_apart(y) == y || ox_only_moves(y->node->op);
    return read ? y : ox_apart(ox_copy(&(ox_copying){s, s->g, false, true, true, false}, y));
}

ox_val ox_sample_output(ox_explain_state *s)
{
    return ox_sample_as_predicted(s, ox_predicted(s));
}

/* ---- references
 * ------------------------------------------------------------------------------------ */

ox_dim ox_refs_dim(const ox_explain_state *s)
{
    if (s->branch->refs != s->g) {
        return ox_dim_of(s->branch->refs == s->branch->flow ? s->plan->chunk : 1);
    }
    return s->bind->refs_count > 0 ? ox_dim_of(s->plan->padded) : (ox_dim){.size = 1, .refs = 1};
}

ox_dim ox_refs_in_flow(const ox_explain_state *s)
{
    int64_t known = s->plan->chunk > 0 ? s->plan->chunk : s->plan->padded;
    return s->bind->refs_count > 0 || s->plan->chunk > 0 ? ox_dim_of(known)
                                                         : (ox_dim){.size = 1, .refs = 1};
}

/* The own shape of v with its batch axis, before*N*after, taken apart: [.., before, n, after, ..].
 * Where before or after is 1 there is no such axis. Returns the rank, and the place of n in *at. */
static int split_batch(ox_val v, ox_dim n, ox_dim *dims, int *at)
{
    const ox_place *place = &ox_side_of(v)->place;
    int rank = 0;
    for (int i = 0; i < v->rank; i++) {
        if (i != place->axis) {
            dims[rank++] = v->dims[i];
            continue;
        }
        if (place->before != 1) {
            dims[rank++] = ox_dim_of(place->before);
        }
        *at = rank;
        dims[rank++] = n;
        if (place->after != 1) {
            dims[rank++] = ox_dim_of(place->after);
        }
    }
    return rank;
}

/* A value of the reference branch as [R, own shape with 1 in place of N], the batch axis taken
 * apart. */
static ox_val view_of(ox_explain_state *s, ox_val v, ox_val raw)
{
    if (s->plan->one_at_a_time) {
        return raw;
    }
    if (v->rank < 0 || !ox_side_of(v)->place.known || v->rank > OX_MAX_RANK - 2) {
        ox_fail(s->arena, OX_UNSUPPORTED, "the batch of \"%s\" is not known", v->name);
    }
    int order[OX_MAX_RANK + 2], at = 0;
    ox_dim dims[OX_MAX_RANK + 2], refs = ox_refs_dim(s);
    int rank = split_batch(v, refs, dims, &at);
    order[0] = at;
    for (int i = 0, to = 1; i < rank; i++) {
        if (i != at) {
            order[to++] = i;
        }
    }
    raw = ox_transpose(ox_reshape(raw, rank, dims), order);
    dims[0] = refs;
    split_batch(v, ox_dim_of(1), dims + 1, &at);
    return ox_reshape(raw, rank + 1, dims);
}

/* Repeats a view [R, .., before, 1, after, ..] for every sample: [R, .., before*N*after, ..]. Other
 * views stay. */
static ox_val repeat(ox_explain_state *s, ox_val v, ox_val view)
{
    int at;
    if (s->plan->one_at_a_time || v->dims[ox_side_of(v)->place.axis].size == 1) {
        return view;
    }
    ox_dim dims[OX_MAX_RANK + 2];
    dims[0] = view->dims[0];
    int rank = split_batch(v, (ox_dim){.size = 1, .batch = 1}, dims + 1, &at) + 1;
    ox_val all = ox_expand(view, rank, dims);
    memcpy(dims + 1, v->dims, (size_t)v->rank * sizeof *dims);
    return ox_reshape(all, v->rank + 1, dims);
}

/* The same with an axis R before n. */
static int split_pairs(const ox_explain_state *s, ox_val v, ox_dim *dims, int *at)
{
    int rank = split_batch(v, (ox_dim){.size = 1, .batch = 1}, dims, at);
    memmove(dims + *at + 1, dims + *at, (size_t)(rank - *at) * sizeof *dims);
    dims[*at] = ox_refs_in_flow(s);
    return rank + 1;
}

ox_val ox_pairs_of(ox_explain_state *s, ox_val v, ox_val view)
{
    int order[OX_MAX_RANK + 2], at = 0, axis = ox_side_of(v)->place.axis;
    ox_dim dims[OX_MAX_RANK + 2], split[OX_MAX_RANK + 2];
    int rank = split_pairs(s, v, split, &at);
    dims[0] = ox_refs_in_flow(s);
    memcpy(dims + 1, v->dims, (size_t)v->rank * sizeof *dims);
    view = ox_expand(view, v->rank + 1, dims);
    for (int i = 0; i < rank; i++) {
        order[i] = i == at ? 0 : i + (i < at);
        dims[order[i]] = split[i];
    }
    view = ox_transpose(ox_reshape(view, rank, dims), order);
    memcpy(dims, v->dims, (size_t)v->rank * sizeof *dims);
    dims[axis] = ox_dim_mul(view->graph, dims[axis], ox_refs_in_flow(s));
    return ox_reshape(view, v->rank, dims);
}

/* And back: [R, own shape]. */
static ox_val view_of_pairs(ox_explain_state *s, ox_val v)
{
    int order[OX_MAX_RANK + 2], at = 0;
    ox_dim dims[OX_MAX_RANK + 2];
    int rank = split_pairs(s, v, dims, &at);
    ox_val all = ox_copy(
        &(ox_copying){.s = s, .graph = s->branch->flow, .references = true, .pairs = true}, v);
    all = ox_reshape(ox_apart(all), rank, dims);
    for (int i = 0; i < rank; i++) {
        order[i] = i == 0 ? at : i - (i <= at);
    }
    dims[0] = ox_refs_in_flow(s);
    memcpy(dims + 1, v->dims, (size_t)v->rank * sizeof *dims);
    return ox_reshape(ox_transpose(all, order), v->rank + 1, dims);
}

/* The reference of v in the flow graph. */
static ox_val reference_of(ox_explain_state *s, ox_val v, bool apart)
{
    bool pairs = s->plan->pairs && ox_side_of(v)->of_held;
    ox_graph *graph = pairs ? s->branch->flow : s->branch->refs;
    ox_purpose former = ox_graph_enter(graph, "onnxexplainer/reference",
                                       v->base != NULL ? v->base : v->name, v->node);
    if (pairs) {
        ox_val view = view_of_pairs(s, v);
        ox_graph_leave(graph, former);
        return view;
    }
    bool inside = !apart && ox_side_of(v)->fusible && ox_predicted_inside(s);
    ox_val raw = inside ? ox_predicted_references(s, v)
                        : ox_copy(&(ox_copying){s, s->branch->refs, true, apart, false, false}, v);
    ox_val view = view_of(s, v, apart ? raw : ox_apart(raw));
    ox_type type = view->type;
    bool kept = s->branch->refs != s->branch->flow && s->branch->refs != s->g;
    if (kept) {
        view = ox_keep(s, v, view);
    }
    if (s->branch->flow != view->graph) {
        bool whole = kept || s->plan->one_at_a_time; /* slices are what a step takes */
        view = s->plan->target_chunk > 0 ? ox_scan_state(s, view)
                                         : ox_scan_slice(s, view, whole ? 0 : s->plan->chunk);
    }
    view = repeat(s, v, ox_cast(view, type));
    ox_graph_leave(graph, former);
    return view;
}

ox_val ox_reference(ox_explain_state *s, ox_val v)
{
    ox_side *side = ox_side_of(v);
    if (!side->varies && !(s->branch->folded && side->depends)) {
        return ox_sample(s, v);
    }
    if (side->view == NULL) {
        side->view = reference_of(s, v, side->fusible);
    }
    return side->view;
}

/* ---- pairs
 * ------------------------------------------------------------------------------------ */

/* The order of axes that takes the first of `rank` to where the batch is, or back. */
static void pairs_order(int rank, int at, bool back, int *order)
{
    for (int i = 0; i < rank; i++) {
        int from = i == at ? 0 : i < at ? i + 1 : i;
        order[back ? from : i] = back ? i : from;
    }
}

/* The own shape of v with `n` in place of its samples. */
static void own_dims(ox_explain_state *s, ox_val v, ox_dim n, ox_dim *dims)
{
    const ox_place *place = &ox_side_of(v)->place;
    if (!place->known || v->rank > OX_MAX_RANK - 3) {
        ox_fail(s->arena, OX_UNSUPPORTED, "the batch of \"%s\" is not known", v->name);
    }
    memcpy(dims, v->dims, (size_t)v->rank * sizeof *dims);
    ox_dim outside = ox_dim_of(place->before * place->after);
    dims[place->axis] = ox_dim_mul(s->branch->flow, outside, n);
}

ox_val ox_pairs(ox_explain_state *s, ox_val v, ox_val variance)
{
    ox_dim dims[OX_MAX_RANK + 3], refs = variance->dims[0], one = {.size = 1, .batch = 1};
    ox_dim own[OX_MAX_RANK];
    int order[OX_MAX_RANK + 3], at = 0;
    own_dims(s, v, ox_dim_mul(s->branch->flow, refs, one), own);
    dims[0] = refs;
    int rank = split_batch(v, one, dims + 1, &at) + 1;
    pairs_order(rank, at, false, order);
    return ox_reshape(ox_transpose(ox_reshape(variance, rank, dims), order), v->rank, own);
}

ox_val ox_unpairs(ox_explain_state *s, ox_val v, ox_val pairs)
{
    ox_dim dims[OX_MAX_RANK + 3], refs = s->branch->pairs, one = {.size = 1, .batch = 1};
    int order[OX_MAX_RANK + 3], at = 0;
    int rank = split_batch(v, one, dims, &at);
    memmove(dims + at + 1, dims + at, (size_t)(rank - at) * sizeof *dims);
    dims[at] = refs;
    pairs_order(rank + 1, at, true, order);
    ox_val first = ox_transpose(ox_reshape(pairs, rank + 1, dims), order);
    memcpy(dims + 1, v->dims, (size_t)v->rank * sizeof *dims);
    dims[0] = refs;
    return ox_reshape(first, v->rank + 1, dims);
}

ox_val ox_point(ox_explain_state *s, ox_val v)
{
    return s->branch->flow == s->g ? ox_sample(s, v) : ox_reference(s, v);
}

ox_val ox_leg_pick(ox_explain_state *s, ox_val v, ox_val all, bool reference)
{
    ox_graph *g = s->branch->flow;
    ox_dim points = s->branch->fewer ? ox_dim_unknown(g) : (ox_dim){.size = 1, .batch = 1};
    ox_dim dims[OX_MAX_RANK + 2];
    int at = 0, rank = split_batch(v, points, dims, &at);
    bool apart = s->branch->fewer && rank == v->rank;
    all = apart ? all : ox_reshape(all, rank, dims);
    return ox_reshape(ox_gather(all, s->branch->ends[reference], at), v->rank, v->dims);
}

void ox_leg_check(ox_explain_state *s, ox_val v)
{
    if (s->branch->copies && ox_side_of(v)->fusible) {
        ox_fail(s->arena, OX_UNSUPPORTED,
                "quantised models have no splits where their batch is fixed or values are held");
    }
}

ox_val ox_leg(ox_explain_state *s, ox_val v, bool reference)
{
    ox_side *side = ox_side_of(v);
    if (!side->varies || (reference && s->branch->copies)) {
        return ox_point(s, v);
    }
    ox_leg_check(s, v);
    if (s->branch->copies) {
        return ox_copy(&(ox_copying){s, s->branch->flow, false, false, false, false}, v);
    }
    if (side->legs[reference] == NULL) {
        side->legs[reference] = ox_leg_pick(s, v, ox_point(s, v), reference);
    }
    return side->legs[reference];
}

ox_val ox_reference_output(ox_explain_state *s)
{
    const ox_side *side = ox_side_of(s->bind->output);
    return side->fusible && side->varies ? reference_of(s, s->bind->output, false)
                                         : ox_reference(s, s->bind->output);
}
