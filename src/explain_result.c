/* From multipliers to results: the mean of m * (x - x0) over the references, the base value, the
 * gap, and the outputs of the explained model. */
#include <string.h>

#include "explain.h"

enum { MAX_RANK = 32 };

/* Sum over the references of m * (x - x0), weighted, in the flow graph: [K, own shape]. Outside of
 * a Scan the mean. */
static ox_val phi_of(ox_explain_state *s, const ox_explained *e)
{
    ox_val m = ox_side_of(s, e->x)->m;
    ox_val x = ox_cast(ox_sample(s, e->x), s->type);
    ox_val dx = ox_sub(x, ox_cast(ox_reference(s, e->x), s->type));
    if (m == NULL) { /* nothing flows here, as from a stride that skips all of the input */
        ox_dim dims[MAX_RANK + 2];
        dims[0] = ox_dim_of(s->target_count);
        memcpy(dims + s->many_targets, dx->dims, (size_t)dx->rank * sizeof *dims);
        m = ox_zeros(s->flow, s->type, dx->rank + s->many_targets, dims);
    }
    ox_val terms = ox_mul(m, dx);
    if (s->one_at_a_time) {
        return terms;
    }
    int64_t axis = -1 - e->x->rank;
    if (s->weight != NULL) {
        ox_dim dims[MAX_RANK] = {s->weight->dims[0]};
        for (int i = 1; i <= e->x->rank; i++) {
            dims[i] = ox_dim_of(1);
        }
        terms = ox_mul(terms, ox_reshape(s->weight, e->x->rank + 1, dims));
    }
    return ox_reduce(s->chunk > 0 ? "ReduceSum" : "ReduceMean", terms, 1, &axis, false);
}

/* The same of the explained output values: [K, N] as far as these axes exist. */
static ox_val base_of(ox_explain_state *s, ox_val seed)
{
    ox_val y0 = ox_cast(ox_reference(s, s->output), s->type);
    int rank = s->output->rank;
    if (!s->one_at_a_time) {
        if (s->weight != NULL) {
            ox_dim dims[MAX_RANK] = {s->weight->dims[0]};
            for (int i = 1; i <= rank; i++) {
                dims[i] = ox_dim_of(1);
            }
            y0 = ox_mul(y0, ox_reshape(s->weight, rank + 1, dims));
        }
        int64_t axis = -1 - rank;
        y0 = ox_reduce(s->chunk > 0 ? "ReduceSum" : "ReduceMean", y0, 1, &axis, true);
    }
    return ox_target_pick(s, seed, y0);
}

/* Weights of the references where they were padded to whole chunks. */
static void make_weight(ox_explain_state *s)
{
    if (s->chunk == 0 || s->padded == s->refs_count) {
        return;
    }
    double *data = ox_arena_alloc(s->arena, (size_t)s->padded, sizeof *data);
    for (int64_t i = 0; i < s->refs_count; i++) {
        data[i] = 1;
    }
    s->weight = ox_scan_slice(s, ox_floats(s->g, s->type, 1, &s->padded, data));
}

/* R as a number of the multipliers' type. */
static ox_val count_references(ox_explain_state *s, ox_val like)
{
    return s->refs_count > 0 ? ox_number(like, (double)s->refs_count)
                             : ox_cast(s->g->refs_size, like->type);
}

void ox_result_walk(ox_explain_state *s)
{
    bool scan = s->flow != s->g;
    ox_val seed = scan ? ox_scan_state(s, s->seed) : s->seed;
    make_weight(s);
    ox_walk(s, seed);
    ox_val **totals = ox_arena_alloc(s->arena, s->input_count + 1, sizeof *totals);
    for (size_t i = 0; i < s->input_count; i++) {
        s->inputs[i].phi = phi_of(s, &s->inputs[i]);
        totals[i] = &s->inputs[i].phi;
    }
    s->base = base_of(s, seed);
    totals[s->input_count] = &s->base;
    if (!scan) {
        return;
    }
    ox_scan_emit(s, totals, s->input_count + 1);
    for (size_t i = 0; i <= s->input_count; i++) {
        *totals[i] = ox_div(*totals[i], count_references(s, *totals[i]));
    }
}

/* [K, N] from [K, 1, N] and the like, then [N, K]; without the axes that do not exist. */
static ox_val by_sample(ox_explain_state *s, ox_val v)
{
    ox_dim n = s->output_batch_axis < 0 ? ox_dim_of(1) : s->output->dims[s->output_batch_axis];
    ox_dim dims[2] = {ox_dim_of(s->target_count), n};
    v = ox_transpose(ox_reshape(v, 2, dims), (int[]){1, 0});
    ox_dim result[2];
    int rank = 0;
    if (s->output_batch_axis >= 0) {
        result[rank++] = n;
    }
    if (s->many_targets) {
        result[rank++] = ox_dim_of(s->target_count);
    }
    return ox_reshape(v, rank, result);
}

/* phi [K, d0, d1, ...] with K moved behind the batch axis. */
static ox_val target_axis(ox_explain_state *s, const ox_explained *e)
{
    int order[MAX_RANK];
    int rank = e->x->rank;
    if (!s->many_targets) {
        return e->phi;
    }
    for (int i = 0; i <= e->batch_axis; i++) {
        order[i] = i + 1;
    }
    order[e->batch_axis + 1] = 0;
    for (int i = e->batch_axis + 2; i <= rank; i++) {
        order[i] = i;
    }
    return ox_transpose(e->phi, order);
}

/* Sum of an input's phi over all axes but K and the batch: [K, N], or [K, 1] without a batch. */
static ox_val sum_of(ox_explain_state *s, const ox_explained *e)
{
    int64_t axes[MAX_RANK];
    size_t count = 0;
    int rank = e->x->rank;
    for (int i = 0; i < rank; i++) {
        if (i != e->batch_axis) {
            axes[count++] = i - rank;
        }
    }
    ox_val sum = ox_reduce("ReduceSum", e->phi, count, axes, false);
    bool batch = e->batch_axis >= 0;
    ox_dim dims[2] = {ox_dim_of(s->target_count), batch ? e->x->dims[e->batch_axis] : ox_dim_of(1)};
    return ox_reshape(sum, 2, dims);
}

static ox_val gap_of(ox_explain_state *s)
{
    ox_dim n = s->output_batch_axis < 0 ? ox_dim_of(1) : s->output->dims[s->output_batch_axis];
    ox_dim dims[2] = {ox_dim_of(s->target_count), n};
    ox_val y = ox_cast(s->output, s->type);
    ox_val gap =
        ox_sub(ox_reshape(ox_target_pick(s, s->seed, y), 2, dims), ox_reshape(s->base, 2, dims));
    for (size_t i = 0; i < s->input_count; i++) {
        gap = ox_sub(gap, sum_of(s, &s->inputs[i]));
    }
    return by_sample(s, gap);
}

static void add_output(ox_explain_state *s, ox_val v, const char *name)
{
    const char *prefix = s->options->prefix == NULL ? "" : s->options->prefix;
    const char *full = ox_arena_format(s->arena, "%s%s", prefix, name);
    if (ox_graph_find(s->g, full) != NULL) {
        ox_fail(s->arena, OX_ARGUMENT,
                "the model has a value called \"%s\" already; --prefix changes ours", full);
    }
    ox_graph_output(s->g, v, full);
}

void ox_result_outputs(ox_explain_state *s)
{
    const char *former = ox_graph_scope(s->g, "onnxexplainer/result");
    ox_type out = s->type == OX_DOUBLE ? OX_DOUBLE : OX_FLOAT;
    for (size_t i = 0; i < s->input_count; i++) {
        const ox_explained *e = &s->inputs[i];
        ox_val phi = ox_cast(target_axis(s, e), e->x->type == OX_DOUBLE ? OX_DOUBLE : OX_FLOAT);
        add_output(s, phi, ox_arena_format(s->arena, "%s_shap", e->x->name));
    }
    ox_dim n = s->output_batch_axis < 0 ? ox_dim_of(1) : s->output->dims[s->output_batch_axis];
    ox_dim dims[2] = {n, ox_dim_of(s->target_count)};
    ox_val target = ox_transpose(ox_reshape(s->target, 2, dims), (int[]){1, 0});
    add_output(s, by_sample(s, target), "shap_target");
    add_output(s, ox_cast(by_sample(s, s->base), out), "base_value");
    if (s->options->gap) {
        add_output(s, ox_cast(gap_of(s), out), "completeness_gap");
    }
    ox_graph_scope(s->g, former);
}
