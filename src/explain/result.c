/* From multipliers to results: the mean of m * (x - x0) over the references, the base value, the
 * gap, and the outputs of the explained model. */
#include "explain/result.h"

#include <string.h>

#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/extra.h"
#include "explain/ours.h"
#include "explain/plan.h"
#include "explain/rest.h"
#include "explain/standin.h"
#include "explain/steps.h"
#include "explain/target.h"
#include "explain/walk.h"
#include "explain/weights.h"
#include "rules/side.h"

/* The mean of m (x - x0) over the references, the first axis of x0: takes m, x, x0. */
static ox_val mean_body(const ox_val *in, const void *user)
{
    (void)user;
    int64_t one = 1;
    ox_val terms = ox_mul(in[0], ox_sub(in[1], in[2]));
    if (terms->rank >= 0) { /* not in a function */
        int64_t axis = -(int64_t)in[2]->rank;
        return ox_reduce("ReduceMean", terms, 1, &axis, false);
    }
    ox_val rank = ox_unary("Size", ox_unary("Shape", in[2]));
    ox_val axes = ox_neg(ox_binary("Reshape", rank, ox_ints(in[0]->graph, 1, &one)));
    ox_val mean[] = {terms, axes};
    ox_attr keepdims = ox_attr_int("keepdims", 0);
    return ox_graph_emit(in[0]->graph, "ReduceMean", 2, mean, 1, &keepdims);
}

/* The same in one node, [K, own shape]. */
static ox_val mean_of(ox_explain_state *s, ox_val m, ox_val x, ox_val x0)
{
    ox_dim dims[OX_MAX_RANK + 2] = {m->dims[0]};
    memcpy(dims + s->target->many, x->dims, (size_t)x->rank * sizeof *dims);
    return ox_call_shaped("MeanFlow", mean_body, NULL, 3, (ox_val[]){m, x, x0},
                          x->rank + s->target->many, dims);
}

ox_val ox_result_multiplier(ox_explain_state *s, const ox_explained *e, ox_val dx)
{
    ox_val m = ox_side_of(e->x)->m, q = ox_side_of(e->x)->q;
    if (q != NULL) { /* the second order: V = dx^2 */
        ox_val of_square = ox_mul(ox_cast(q, dx->type), dx);
        m = m == NULL ? of_square : ox_add(m, of_square);
    }
    if (m == NULL) { /* nothing flows here, as from a stride that skips all of the input */
        ox_dim dims[OX_MAX_RANK + 2];
        dims[0] = ox_dim_of(s->target->count);
        memcpy(dims + s->target->many, dx->dims, (size_t)dx->rank * sizeof *dims);
        m = ox_zeros(s->branch->flow, dx->type, dx->rank + s->target->many, dims);
    }
    if (e->x->type < OX_FLOAT16 && e->x->type != OX_FLOAT &&
        e->x->type != OX_STRING) { /* masks: m may be infinite where dx is 0 */
        ox_val most = ox_number(m, 3e38);
        m = ox_max(ox_min(m, most), ox_neg(most));
    }
    return m;
}

/* What a multiplier of text meets: a change that counts as 1. It is 0 where the text is the same,
 * as then all that is made of it is. */
static ox_val change_of_text(ox_explain_state *s, ox_val x0, ox_type type)
{
    ox_val one = ox_cast(ox_int_scalar(s->branch->flow, 1), type);
    return ox_expand(one, x0->rank, x0->dims);
}

ox_change ox_result_change(ox_explain_state *s, const ox_explained *e, ox_val x, ox_val x0)
{
    ox_val m = ox_side_of(e->x)->m;
    ox_type type = m != NULL ? m->type : ox_side_type(e->x->type);
    if (e->x->type == OX_STRING) {
        return (ox_change){.dx = change_of_text(s, x0, type)};
    }
    x = ox_standin(s, e->x, ox_cast(x, type), false);
    x0 = ox_standin(s, e->x, ox_cast(x0, type), false);
    return (ox_change){.x = x, .x0 = x0, .dx = ox_sub(x, x0)};
}

/* phi of all points, in the flow graph: m * (x - x0), and what is left over. */
static void find_phi(ox_explain_state *s)
{
    ox_val *terms = ox_arena_alloc(s->arena, s->bind->point_count, sizeof *terms);
    ox_val *dx = ox_arena_alloc(s->arena, s->bind->point_count, sizeof *dx);
    bool left = s->found->rest != NULL || s->found->rest_whole != NULL;
    bool at_once = !left && !s->options->keep_references && !s->plan->one_at_a_time &&
                   s->branch->weight == NULL && s->plan->chunk == 0;
    for (size_t i = 0; i < s->bind->point_count; i++) {
        const ox_explained *e = &s->bind->points[i];
        ox_val x = ox_sample(s, e->x), x0 = ox_reference(s, e->x);
        ox_change c = ox_result_change(s, e, x, x0);
        ox_val m = ox_result_multiplier(s, e, c.dx);
        dx[i] = c.dx;
        if (c.x0 != NULL) {
            ox_extra_find(s, i, m, c.x0);
        }
        if (at_once && c.x0 != NULL && c.x0->rank == c.x->rank + 1) {
            s->found->phi[i] = mean_of(s, m, c.x, c.x0);
        } else {
            terms[i] = ox_mul(m, dx[i]);
        }
    }
    ox_rest_spread(s, terms, dx);
    for (size_t i = 0; i < s->bind->point_count; i++) {
        const ox_explained *e = &s->bind->points[i];
        if (terms[i] != NULL) {
            s->found->phi[i] = ox_extra_gather(s, e, terms[i]);
        }
    }
}

/* The same of the explained output values: [K, N] as far as these axes exist. */
static ox_val base_of(ox_explain_state *s, ox_val seed)
{
    ox_val y0 = ox_cast(ox_reference_output(s), s->bind->type);
    int rank = s->bind->output->rank;
    if (s->plan->one_at_a_time && s->branch->weight != NULL) {
        y0 = ox_mul(y0, s->branch->weight);
    }
    if (!s->plan->one_at_a_time) {
        if (s->branch->weight != NULL) {
            ox_dim dims[OX_MAX_RANK] = {s->branch->weight->dims[0]};
            for (int i = 1; i <= rank; i++) {
                dims[i] = ox_dim_of(1);
            }
            y0 = ox_mul(y0, ox_reshape(s->branch->weight, rank + 1, dims));
        }
        int64_t axis = -1 - rank;
        y0 = ox_reduce(s->plan->chunk > 0 ? "ReduceSum" : "ReduceMean", y0, 1, &axis, true);
    }
    return ox_target_is_picked(s, y0) ? ox_target_picked(s, y0) : ox_target_pick(s, seed, y0);
}

/* Weights of the references, where they differ or were padded to whole chunks. */
static void make_weight(ox_explain_state *s)
{
    bool same = s->options->weight_count == 0;
    if (same && (s->plan->chunk == 0 || s->plan->padded == s->bind->refs_count)) {
        return;
    }
    const double *data = ox_weights_find(s, s->plan->padded);
    if (s->plan->chunk == 0) {
        s->branch->weight =
            ox_floats(s->branch->flow, s->bind->type, 1, &s->bind->refs_count, data);
        return;
    }
    ox_val all = ox_floats(s->g, s->bind->type, 1, &s->plan->padded, data);
    s->branch->weight = ox_scan_slice(s, all, s->plan->one_at_a_time ? 0 : s->plan->chunk);
}

/* R as a number of the multipliers' type. */
static ox_val count_references(ox_explain_state *s, ox_val like)
{
    return s->bind->refs_count > 0 ? ox_number(like, (double)s->bind->refs_count)
                                   : ox_cast(s->g->refs_size, like->type);
}

/* The flat indices [K, N], padded to whole steps by one beyond the last, which picks nothing. */
static ox_val padded_targets(ox_explain_state *s, ox_val targets)
{
    int64_t steps = (s->target->count + s->plan->target_chunk - 1) / s->plan->target_chunk;
    int64_t missing = steps * s->plan->target_chunk - s->target->count;
    if (missing == 0) {
        return targets;
    }
    ox_dim dims[2] = {ox_dim_of(missing), targets->dims[1]};
    ox_val beyond = ox_expand(ox_int_scalar(s->g, s->target->size), 2, dims);
    return ox_concat(s->g, 2, (ox_val[]){targets, beyond}, 0);
}

/* The first multiplier, in the flow graph. */
static ox_val first_multiplier(ox_explain_state *s)
{
    ox_val targets = ox_transpose(s->target->flat, (int[]){1, 0});
    if (s->plan->target_chunk > 0) {
        return ox_target_seed(s,
                              ox_scan_slice(s, padded_targets(s, targets), s->plan->target_chunk));
    }
    ox_val seed = ox_target_seed(s, targets);
    return s->branch->flow == s->g ? seed : ox_scan_state(s, seed);
}

/* Sums over the references as means; targets without those that fill up the last step. */
static ox_val mean_of_steps(ox_explain_state *s, ox_val v)
{
    return s->plan->target_chunk > 0 ? ox_slice(v, 0, 0, s->target->count, 1)
                                     : ox_div(v, count_references(s, v));
}

/* The Scan with all that comes out of it: added up, or for each reference. */
static void emit_steps(ox_explain_state *s)
{
    ox_found *f = s->found;
    ox_val *lists[] = {f->phi, f->multipliers, f->hypothetical};
    size_t points = s->bind->point_count, count = 0;
    ox_val **results = ox_arena_alloc(s->arena, 3 * points + 1, sizeof *results);
    bool keep = s->options->keep_references, over_references = s->plan->target_chunk == 0;
    for (size_t i = 0; i < 3 * points; i++) {
        if (lists[i / points] != NULL) {
            results[count++] = &lists[i / points][i % points];
        }
    }
    f->base = keep && over_references ? ox_unsqueeze(f->base, 0) : f->base;
    results[count] = &f->base;
    ox_scan_emit(s, results, count + 1, keep || !over_references, NULL);
    for (size_t i = 0; i < count; i++) {
        *results[i] = keep ? ox_extra_steps(s, *results[i]) : mean_of_steps(s, *results[i]);
    }
    f->base = keep && over_references ? ox_sum(f->base, 0, false) : f->base;
    f->base = mean_of_steps(s, f->base);
}

void ox_result_walk(ox_explain_state *s)
{
    s->found->phi = ox_arena_alloc(s->arena, s->bind->point_count, sizeof(ox_val));
    s->found->seed = first_multiplier(s);
    make_weight(s);
    ox_rest_output(s, s->found->seed);
    ox_walk(s, s->found->seed);
    find_phi(s);
    s->found->base = base_of(s, s->found->seed);
    if (s->branch->flow != s->g) {
        emit_steps(s);
    }
}

void ox_result_base(ox_explain_state *s)
{
    s->found->phi = ox_arena_alloc(s->arena, s->bind->point_count, sizeof(ox_val));
    s->found->seed = first_multiplier(s);
    make_weight(s);
    s->found->base = base_of(s, s->found->seed);
    ox_val *results[] = {&s->found->base};
    if (s->branch->flow != s->g) {
        ox_scan_emit(s, results, 1, s->plan->target_chunk > 0, NULL);
        s->found->base = mean_of_steps(s, s->found->base);
    }
}

/* [K, N] from [K, 1, N] and the like, then [N, K]; without the axes that do not exist. */
static ox_val by_sample(ox_explain_state *s, ox_val v)
{
    ox_dim n = s->bind->output_batch_axis < 0 ? ox_dim_of(1)
                                              : s->bind->output->dims[s->bind->output_batch_axis];
    ox_dim dims[2] = {ox_dim_of(s->target->count), n};
    v = s->target->count == 1 ? v : ox_transpose(ox_reshape(v, 2, dims), (int[]){1, 0});
    ox_dim result[2];
    int rank = 0;
    if (s->bind->output_batch_axis >= 0) {
        result[rank++] = n;
    }
    if (s->target->many) {
        result[rank++] = ox_dim_of(s->target->count);
    }
    return ox_reshape(v, rank, result);
}

/* The base value, [K, N], double. */
ox_val ox_result_base_by_target(ox_explain_state *s)
{
    ox_dim n = s->bind->output_batch_axis < 0 ? ox_dim_of(1)
                                              : s->bind->output->dims[s->bind->output_batch_axis];
    ox_dim dims[2] = {ox_dim_of(s->target->count), n};
    return ox_cast(ox_reshape(s->found->base, 2, dims), OX_DOUBLE);
}

static bool is_grouped(const ox_explain_state *s, size_t i)
{
    return s->found->grouped != NULL && s->found->grouped[i] > 0;
}

int ox_result_axis(const ox_explain_state *s, size_t i)
{
    int axis = s->bind->points[i].batch_axis;
    return is_grouped(s, i) && axis > 0 ? 0 : axis;
}

/* Axes of the values of point i without their targets. */
static int result_rank(const ox_explain_state *s, size_t i)
{
    const ox_explained *e = &s->bind->points[i];
    return is_grouped(s, i) ? 1 + (e->batch_axis >= 0) : e->x->rank;
}

/* phi [K, R, d0, d1, ...] of point i with K and R, as far as they are there, moved behind the batch
 * axis. */
static ox_val target_axis(ox_explain_state *s, size_t i, ox_val phi)
{
    int order[OX_MAX_RANK], lead = s->target->many + s->options->keep_references;
    int rank = result_rank(s, i), axis = ox_result_axis(s, i);
    for (int d = 0; d <= axis; d++) {
        order[d] = d + lead;
    }
    for (int d = 0; d < lead; d++) {
        order[axis + 1 + d] = d;
    }
    for (int d = axis + 1 + lead; d < rank + lead; d++) {
        order[d] = d;
    }
    return ox_transpose(phi, order);
}

/* The sum of phi of point i over all axes but K and the batch: [K, N], or [K, 1] without a batch;
 * in double, since there may be many. */
static ox_val sum_of(ox_explain_state *s, size_t i, ox_val phi)
{
    const ox_explained *e = &s->bind->points[i];
    int64_t axes[OX_MAX_RANK];
    size_t count = 0;
    int rank = result_rank(s, i), axis = ox_result_axis(s, i);
    for (int d = 0; d < rank; d++) {
        if (d != axis) {
            axes[count++] = d - rank;
        }
    }
    ox_dim n = axis >= 0 ? e->x->dims[e->batch_axis] : ox_dim_of(1);
    ox_dim dims[2] = {ox_dim_of(s->target->count), n};
    phi = ox_cast(phi, OX_DOUBLE);
    return ox_reshape(ox_reduce("ReduceSum", phi, count, axes, false), 2, dims);
}

/* f(x) - base - sum(phi), [K, N], double. */
static ox_val gap_of(ox_explain_state *s)
{
    ox_val gap = ox_sub(ox_cast(ox_target_value(s), OX_DOUBLE), ox_result_base_by_target(s));
    for (size_t i = 0; i < s->bind->point_count; i++) {
        ox_val phi = s->found->phi[i];
        int64_t references = s->target->many;
        if (s->options->keep_references) {
            phi = ox_reduce("ReduceMean", phi, 1, &references, false);
        }
        gap = ox_sub(gap, sum_of(s, i, phi));
    }
    return gap;
}

void ox_result_targets(ox_explain_state *s)
{
    ox_dim n = ox_target_batch(s);
    ox_dim dims[2] = {n, ox_dim_of(s->target->count)};
    ox_val target = ox_transpose(ox_reshape(s->target->flat, 2, dims), (int[]){1, 0});
    ox_ours_output(s, by_sample(s, target), "shap_target");
    ox_ours_output(s, ox_cast(by_sample(s, s->found->base), s->bind->type), "base_value");
}

/* What there is of point i beside its values. */
static void add_extra(ox_explain_state *s, size_t i, const ox_val *values, const char *tail)
{
    ox_val x = s->bind->points[i].x;
    if (values != NULL) {
        ox_val v = ox_cast(target_axis(s, i, values[i]), ox_side_type(x->type));
        ox_ours_output(s, v, ox_arena_format(s->arena, "%s%s", x->name, tail));
    }
}

void ox_result_outputs(ox_explain_state *s)
{
    const char *former = ox_graph_scope(s->g, "onnxexplainer/result");
    for (size_t i = 0; i < s->bind->point_count; i++) {
        const ox_explained *e = &s->bind->points[i];
        ox_val phi = ox_cast(target_axis(s, i, s->found->phi[i]), ox_side_type(e->x->type));
        ox_ours_output(s, phi, ox_arena_format(s->arena, "%s_shap", e->x->name));
        add_extra(s, i, s->found->multipliers, "_multipliers");
        add_extra(s, i, s->found->hypothetical, "_hypothetical");
        if (s->found->error != NULL) {
            ox_val error = ox_cast(target_axis(s, i, s->found->error[i]), phi->type);
            ox_ours_output(s, error, ox_arena_format(s->arena, "%s_shap_error", e->x->name));
        }
    }
    ox_result_targets(s);
    if (s->options->gap) {
        ox_ours_output(s, ox_cast(by_sample(s, gap_of(s)), s->bind->type), "completeness_gap");
    }
    ox_graph_scope(s->g, former);
}
