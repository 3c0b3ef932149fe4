/* Steps over rows and references: which pairs a step takes, how points enter the model and what
 * comes out of it. */
#include "explain/grid.h"

#include <string.h>

#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/order.h"
#include "explain/plan.h"
#include "explain/references.h"
#include "explain/steps.h"
#include "explain/target.h"
#include "explain/weights.h"
#include "rules/side.h"

/* Pairs a step at most: more of them gain nothing. Backwards, activations are alive all at once. */
enum { MOST_FORWARDS = 1024, MOST_BACKWARDS = 128 };

/* ---- how many a step ------------------------------------------------------------------------ */

/* Whether samples stay apart on the whole way, so that N may be any number; where points of a block
 * are taken from each other also whether they are found. */
static bool folds(const ox_explain_state *s, bool blocks)
{
    if (s->bind->one_at_a_time || !s->bind->batch_free) {
        return false;
    }
    for (size_t i = 0; i < s->order->count; i++) {
        for (size_t k = 0; k < s->order->nodes[i]->output_count; k++) {
            ox_val v = s->order->nodes[i]->outputs[k];
            int axes = 0;
            for (int d = 0; d < v->rank; d++) {
                axes += v->dims[d].batch > 0;
            }
            bool found = axes == 1 && (!blocks || ox_side_of(v)->place.known);
            if (v->rank >= 0 && !found && ox_side_of(v)->varies) {
                return false;
            }
        }
    }
    return true;
}

static int64_t references(const ox_explain_state *s, const ox_grid *grid)
{
    return grid->pairing == OX_PAIR_ALL ? s->bind->refs_count : 1;
}

static void choose_steps(ox_explain_state *s, ox_grid *grid)
{
    int64_t refs = references(s, grid);
    grid->folded = folds(s, grid->block > 0);
    grid->row_chunk = grid->ref_chunk = 1;
    grid->ref_parts = refs;
    if (!grid->folded) {
        return;
    }
    uint64_t each = ox_plan_pair_bytes(s, grid->backwards), memory = ox_plan_memory(s);
    uint64_t fit = each == 0 ? MOST_FORWARDS : memory / each;
    int64_t most = grid->backwards ? MOST_BACKWARDS : MOST_FORWARDS;
    most = s->options->chunk > 0  ? s->options->chunk
           : fit < (uint64_t)most ? (fit < 1 ? 1 : (int64_t)fit)
                                  : most;
    int64_t known = refs > 0 ? refs : 1; /* not known: all of them at once */
    int64_t block = grid->block > 0 ? grid->block : 1, blocks = grid->rows / block;
    most = most > block ? most / block : 1;
    int64_t whole = most / known; /* blocks with all references */
    grid->row_chunk = block * (whole > 0 ? ox_plan_even_steps(blocks, whole, whole) : 1);
    grid->ref_chunk = refs == 0 ? 0 : grid->whole ? refs : ox_plan_even_steps(refs, most, most);
    grid->ref_parts = refs == 0 ? 1 : (refs + grid->ref_chunk - 1) / grid->ref_chunk;
}

/* ---- the body's inputs ---------------------------------------------------------------------- */

/* A number of references that is known at run time, in the body: int64 []. */
static ox_val run_time_references(ox_explain_state *s)
{
    return ox_reshape(ox_scan_state(s, s->g->refs_size), 0, NULL);
}

/* The steps' numbers, in the model's graph. */
static ox_val step_numbers(ox_explain_state *s, const ox_grid *grid)
{
    int64_t row_steps = (grid->rows + grid->row_chunk - 1) / grid->row_chunk;
    if (grid->ref_parts > 0) {
        return ox_iota(s->g, OX_INT64, row_steps * grid->ref_parts);
    }
    ox_val refs = ox_reshape(s->g->refs_size, 0, NULL);
    return ox_iota_of(ox_mul(refs, ox_int_scalar(s->g, row_steps)));
}

/* `part` numbers from part * step on, below `end` (0: it is not exceeded). */
static ox_val numbers_at(ox_val step, int64_t part, int64_t total, ox_val *raw)
{
    ox_graph *g = step->graph;
    *raw = ox_add(ox_mul(step, ox_int_scalar(g, part)), ox_iota(g, OX_INT64, part));
    return total % part == 0 ? *raw : ox_min(*raw, ox_int_scalar(g, total - 1));
}

/* 1 where the number is below `total`, else 0. */
static ox_val indicator(ox_explain_state *s, ox_val raw, int64_t total)
{
    return ox_cast(ox_less(raw, ox_int_scalar(raw->graph, total)), s->bind->type);
}

/* The rows of the step, its references [references a step] (NULL: all of them), and weights. */
static ox_val find_pairs(ox_explain_state *s, ox_grid *grid)
{
    ox_graph *g = s->branch->flow;
    ox_val step = ox_scan_slice(s, step_numbers(s, grid), 0), raw, ref = NULL;
    ox_val parts = grid->ref_parts > 0 ? ox_int_scalar(g, grid->ref_parts) : run_time_references(s);
    bool one_part = grid->ref_parts == 1;
    ox_val row_step = one_part ? step : ox_div(step, parts);
    ox_val ref_step = one_part ? ox_int_scalar(g, 0) : ox_binary("Mod", step, parts);
    grid->row = numbers_at(row_step, grid->row_chunk, grid->rows, &raw);
    ox_val weight = ox_unsqueeze(indicator(s, raw, grid->rows), 1);
    int64_t refs = references(s, grid);
    if (refs > 0) {
        ref = numbers_at(ref_step, grid->ref_chunk, refs, &raw);
        ox_val share = ox_scale(indicator(s, raw, refs), 1 / (double)refs);
        if (s->options->weight_count > 0 && grid->pairing == OX_PAIR_ALL) {
            ox_val each = ox_floats(g, s->bind->type, 1, &refs, ox_weights_find(s, refs));
            share = ox_mul(share, ox_gather(each, ref, 0));
        }
        weight = ox_mul(weight, ox_unsqueeze(share, 0));
    } else {
        ref = grid->folded ? NULL : ox_reshape(ref_step, 1, (ox_dim[]){ox_dim_of(1)});
        ox_val share = ox_unary("Reciprocal", ox_cast(run_time_references(s), s->bind->type));
        ox_dim dims[2] = {ox_dim_of(grid->row_chunk),
                          grid->folded ? (ox_dim){.size = 1, .refs = 1} : ox_dim_of(1)};
        weight = ox_expand(ox_mul(weight, share), 2, dims);
    }
    grid->weight = weight;
    return ref;
}

ox_val ox_grid_enter(ox_explain_state *s, const ox_grid *grid, ox_val outside, int axis)
{
    if (!grid->folded || axis < 0) {
        return ox_scan_state(s, outside);
    }
    ox_dim *dims = ox_arena_copy(s->arena, outside->dims, (size_t)outside->rank, sizeof *dims);
    dims[axis] = grid->samples;
    return ox_scan_state_of(s, outside, dims);
}

/* References [R, own shape with 1 in place of N] in the body; of filled ones there is one. */
static ox_val all_references(ox_explain_state *s, const ox_grid *grid, size_t i)
{
    const ox_fed *fed = &grid->former->fed[i];
    if (ox_feed_is_own(s)) {
        return ox_unsqueeze(ox_scan_state(s, fed->all), 0);
    }
    if (fed->all->constant != NULL) {
        ox_val all = ox_graph_constant(s->branch->flow, NULL, fed->all->constant);
        return ox_feed_slices(&s->bind->inputs[i], all);
    }
    return ox_scan_state(s, fed->slices);
}

/* The references that the rows draw: [rows]. */
static ox_val drawn(ox_explain_state *s, const ox_grid *grid)
{
    int64_t rows = grid->rows, refs = s->bind->refs_count;
    ox_graph *g = s->branch->flow;
    if (refs > 0) {
        int64_t *own = ox_arena_alloc(s->arena, (size_t)rows, sizeof *own);
        const double *weights = ox_weights_find(s, refs);
        for (int64_t k = 0; k < rows; k++) {
            own[k] = ox_weights_draw(s, weights, grid->own[k]);
        }
        return ox_gather(ox_ints(g, (size_t)rows, own), grid->row, 0);
    }
    ox_val own = ox_gather(ox_floats(g, OX_DOUBLE, 1, &rows, grid->own), grid->row, 0);
    return ox_cast(ox_mul(own, ox_cast(run_time_references(s), OX_DOUBLE)), OX_INT64);
}

/* The reference of input i for each pair: [rows or 1, references or 1, own shape]. */
static ox_val reference_of(ox_explain_state *s, const ox_grid *grid, size_t i, ox_val ref)
{
    switch (grid->pairing) {
    case OX_PAIR_MEAN: {
        int axis = s->bind->inputs[i].batch_axis;
        bool samples = ox_feed_is_own(s);
        ox_val mean = ox_grid_enter(s, grid, grid->mean[i], samples ? axis : -1);
        return ox_unsqueeze(ox_unsqueeze(mean, 0), 0);
    }
    case OX_PAIR_OWN:
        return ox_unsqueeze(ox_gather(all_references(s, grid, i), drawn(s, grid), 0), 1);
    default: {
        ox_val all = all_references(s, grid, i);
        return ox_unsqueeze(ref == NULL ? all : ox_gather(all, ref, 0), 0);
    }
    }
}

void ox_grid_open(ox_explain_state *s, ox_grid *grid)
{
    choose_steps(s, grid);
    grid->former = s->branch;
    grid->former_plan = s->plan;
    grid->plan = (ox_plan){.one_at_a_time = true, .chunk = 1, .cache = OX_CACHE_NONE};
    grid->samples = grid->folded ? ox_dim_unknown(s->g) : ox_target_batch(s);
    s->plan = &grid->plan;
    ox_fork_points(s, grid->folded);
    ox_val ref = grid->ref = find_pairs(s, grid);
    size_t count = s->bind->input_count;
    grid->x = ox_arena_alloc(s->arena, count, sizeof(ox_val));
    grid->x0 = ox_arena_alloc(s->arena, count, sizeof(ox_val));
    for (size_t i = 0; i < count; i++) {
        const ox_explained *e = &s->bind->inputs[i];
        ox_val x = ox_grid_enter(s, grid, e->x, e->batch_axis);
        grid->x[i] = ox_unsqueeze(ox_unsqueeze(x, 0), 0);
        grid->x0[i] = reference_of(s, grid, i, ref);
        if (grid->folded && i == 0) { /* N of the body: all points of a step */
            ox_attr range[] = {ox_attr_int("start", e->batch_axis),
                               ox_attr_int("end", e->batch_axis + 1)};
            ox_val pairs = ox_unary("Size", grid->weight);
            ox_val samples = ox_graph_emit(s->branch->flow, "Shape", 1, &x, 2, range);
            s->branch->flow->batch_size = ox_mul(samples, pairs);
        }
    }
}

/* ---- points --------------------------------------------------------------------------------- */

ox_val ox_grid_number(ox_explain_state *s, const ox_grid *grid, const double *numbers)
{
    ox_val table = ox_floats(s->branch->flow, s->bind->type, 1, &grid->rows, numbers);
    return ox_gather(table, grid->row, 0);
}

ox_val ox_grid_number_for(ox_explain_state *s, const ox_grid *grid, size_t i, const double *numbers)
{
    int rank = s->bind->inputs[i].x->rank + 2;
    ox_dim dims[OX_MAX_RANK] = {grid->row->dims[0]};
    for (int d = 1; d < rank; d++) {
        dims[d] = ox_dim_of(1);
    }
    return ox_reshape(ox_grid_number(s, grid, numbers), rank, dims);
}

/* Reshapes to what is known to come out. */
static ox_val shaped(ox_val v, int rank, const ox_dim *dims)
{
    ox_val to = ox_reshape(v, rank, dims);
    if (!ox_dims_equal(rank, to->dims, dims)) {
        to->rank = rank;
        to->dims = ox_arena_copy(v->graph->arena, dims, (size_t)rank, sizeof *dims);
    }
    return to;
}

/* [rows, references] of a step. */
static void pair_dims(const ox_grid *grid, ox_dim *dims)
{
    dims[0] = grid->weight->dims[0];
    dims[1] = grid->weight->dims[1];
}

/* [rows, references, own shape] as [all of them, others]; `all` is how many. */
static ox_val samples_first(const ox_explained *e, ox_val points, ox_dim all)
{
    int rank = e->x->rank, axis = e->batch_axis, order[OX_MAX_RANK] = {0, 1, 2 + axis};
    ox_dim dims[OX_MAX_RANK] = {all};
    for (int d = 0, at = 3; d < rank; d++) {
        if (d != axis) {
            order[at++] = 2 + d;
        }
    }
    points = ox_transpose(points, order);
    memcpy(dims + 1, points->dims + 3, (size_t)(rank - 1) * sizeof *dims);
    return shaped(points, rank, dims);
}

/* And with samples where they are. */
static ox_val samples_in_place(const ox_explained *e, ox_val points)
{
    int order[OX_MAX_RANK];
    for (int d = 0; d < points->rank; d++) {
        order[d] = d == e->batch_axis ? 0 : d < e->batch_axis ? d + 1 : d;
    }
    return ox_transpose(points, order);
}

void ox_grid_feed(ox_explain_state *s, const ox_grid *grid, size_t i, ox_val points)
{
    const ox_explained *e = &s->bind->inputs[i];
    int rank = e->x->rank;
    ox_dim dims[OX_MAX_RANK];
    pair_dims(grid, dims);
    memcpy(dims + 2, grid->x[i]->dims + 2, (size_t)rank * sizeof *dims);
    points = ox_cast(ox_expand(points, rank + 2, dims), e->x->type);
    ox_val *raw = &ox_side_of(e->x)->raw;
    if (!grid->folded) {
        *raw = shaped(points, rank, e->x->dims);
        return;
    }
    points = samples_first(e, points, (ox_dim){.size = 1, .batch = 1});
    *raw = samples_in_place(e, points);
}

void ox_grid_feed_once(ox_explain_state *s, const ox_grid *grid, size_t i, ox_val points)
{
    const ox_explained *e = &s->bind->inputs[i];
    int rank = e->x->rank;
    ox_dim dims[OX_MAX_RANK], all = ox_dim_unknown(s->branch->flow);
    pair_dims(grid, dims);
    dims[0] = points->dims[0];
    memcpy(dims + 2, grid->x[i]->dims + 2, (size_t)rank * sizeof *dims);
    ox_val parts[] = {ox_expand(points, rank + 2, dims), grid->x[i], grid->x0[i]};
    for (int k = 0; k < 3; k++) {
        parts[k] = samples_first(e, ox_cast(parts[k], e->x->type), all);
    }
    ox_side_of(e->x)->raw = samples_in_place(e, ox_concat(s->branch->flow, 3, parts, 0));
}

ox_val ox_grid_targets(ox_explain_state *s, const ox_grid *grid)
{
    ox_val flat = s->target->flat;
    ox_val inside = ox_grid_enter(s, grid, flat, 0);
    if (!grid->folded) {
        return inside;
    }
    ox_dim dims[4];
    pair_dims(grid, dims);
    dims[2] = inside->dims[0];
    dims[3] = inside->dims[1];
    ox_val all = ox_expand(ox_unsqueeze(ox_unsqueeze(inside, 0), 0), 4, dims);
    return shaped(all, 2, (ox_dim[]){{.size = 1, .batch = 1}, dims[3]});
}

ox_val ox_grid_unfold(ox_explain_state *s, const ox_grid *grid, ox_val v, int lead, int axis)
{
    int own = v->rank - lead, order[OX_MAX_RANK];
    ox_dim dims[OX_MAX_RANK];
    (void)s;
    memcpy(dims, v->dims, (size_t)lead * sizeof *dims);
    pair_dims(grid, dims + lead);
    if (!grid->folded || axis < 0) {
        memcpy(dims + lead + 2, v->dims + lead, (size_t)own * sizeof *dims);
        return shaped(v, v->rank + 2, dims);
    }
    for (int d = 0; d < lead; d++) {
        order[d] = d;
    }
    order[lead] = lead + axis;
    for (int d = 0, at = lead + 1; d < own; d++) {
        if (d != axis) {
            order[at++] = lead + d;
        }
    }
    v = ox_transpose(v, order);
    dims[lead + 2] = grid->samples;
    memcpy(dims + lead + 3, v->dims + lead + 1, (size_t)(own - 1) * sizeof *dims);
    v = shaped(v, v->rank + 2, dims);
    for (int d = 0; d < lead + 2; d++) {
        order[d] = d;
    }
    for (int d = 0; d < own; d++) {
        order[lead + 2 + d] = lead + 2 + (d == axis ? 0 : d < axis ? d + 1 : d);
    }
    return ox_transpose(v, order);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void leave(ox_explain_state *s, ox_grid *grid)
{
    s->branch = grid->former;
    s->plan = grid->former_plan;
}

void ox_grid_close(ox_explain_state *s, ox_grid *grid, ox_val *sums[], size_t count,
                   const ox_dim *const *dims)
{
    ox_scan_emit(s, sums, count, false, dims);
    leave(s, grid);
}

/* What all steps give, and its first dimensions: steps come row after row, and of each row part
 * after part of the references. */
static ox_val all_steps(ox_explain_state *s, const ox_grid *grid, ox_val each, ox_dim *full)
{
    ox_val *results[] = {&each};
    ox_scan_emit(s, results, 1, true, NULL);
    full[0] = ox_dim_of((grid->rows + grid->row_chunk - 1) / grid->row_chunk);
    full[1] = grid->ref_parts > 0 ? ox_dim_of(grid->ref_parts) : (ox_dim){.size = 1, .refs = 1};
    full[2] = ox_dim_of(grid->row_chunk);
    return each;
}

ox_val ox_grid_close_pairs(ox_explain_state *s, ox_grid *grid, ox_val each, int rank,
                           const ox_dim *dims)
{
    ox_dim full[OX_MAX_RANK];
    int order[OX_MAX_RANK] = {0, 2, 1, 3};
    int64_t refs = references(s, grid);
    ox_val all = all_steps(s, grid, each, full);
    full[3] = grid->ref_chunk > 0 ? ox_dim_of(grid->ref_chunk)
              : grid->folded      ? (ox_dim){.size = 1, .refs = 1}
                                  : ox_dim_of(1);
    memcpy(full + 4, dims, (size_t)rank * sizeof *dims);
    for (int d = 4; d < rank + 4; d++) {
        order[d] = d;
    }
    all = ox_transpose(shaped(all, rank + 4, full), order);
    full[0] = ox_dim_mul(s->g, full[0], full[2]);
    full[1] = ox_dim_mul(s->g, full[1], full[3]);
    memcpy(full + 2, dims, (size_t)rank * sizeof *dims);
    all = ox_slice(shaped(all, rank + 2, full), 0, 0, grid->rows, 1);
    leave(s, grid);
    return refs > 0 ? ox_slice(all, 1, 0, refs, 1) : all;
}

ox_val ox_grid_close_rows(ox_explain_state *s, ox_grid *grid, ox_val each, int rank,
                          const ox_dim *dims)
{
    ox_dim full[OX_MAX_RANK];
    int64_t first = 1;
    ox_val all = all_steps(s, grid, each, full);
    memcpy(full + 3, dims, (size_t)rank * sizeof *dims);
    all = ox_reduce("ReduceSum", shaped(all, rank + 3, full), 1, &first, false);
    full[0] = ox_dim_mul(s->g, full[0], full[2]);
    memcpy(full + 1, dims, (size_t)rank * sizeof *dims);
    all = ox_slice(shaped(all, rank + 1, full), 0, 0, grid->rows, 1);
    leave(s, grid);
    return all;
}
