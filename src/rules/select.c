/* Rules of operators that select by size or place: TopK, Hardmax, ReverseSequence, Compress,
 * OneHot, and Clip with bounds that vary. */
#include <string.h>

#include "rules/decompose.h"
#include "rules/move.h"
#include "rules/unary.h"
#include "shape/shape.h"

/* a / b, 1/2 where b is 0. */
static ox_val share_of(ox_val a, ox_val b)
{
    ox_val still = ox_indicator(ox_equal(b, ox_number(b, 0)), b);
    return ox_div(ox_add(a, ox_scale(still, 0.5)), ox_add(b, still));
}

/* ---- TopK ---------------------------------------------------------------------------------- */

/* The positions of the k largest, or smallest, of x. */
static ox_val top_positions(ox_ctx *c, ox_val x, int64_t axis)
{
    ox_attr attrs[] = {ox_attr_int("axis", axis),
                       ox_attr_int("largest", ox_node_int(c->node, "largest", 1))};
    ox_val in[] = {x, ox_x(c, 1)};
    return ox_graph_emit_node(c->g, "", "TopK", 2, in, 2, 2, attrs)->outputs[1];
}

/* Sums of all up to each position, or from each position on. */
static ox_val sums_along(ox_val v, int64_t axis, bool from_end)
{
    ox_attr reverse = ox_attr_int("reverse", from_end);
    ox_val in[] = {v, ox_int_scalar(v->graph, axis)};
    return ox_graph_emit(v->graph, "CumSum", 2, in, 1, &reverse);
}

/* m_k - m_(k+1) along the axis, 0 after the last one. */
static ox_val steps_down(ox_val m, int64_t axis)
{
    ox_val next = ox_slice(m, axis, 1, INT64_MAX, 1);
    return ox_sub(m, ox_pad_axis(next, axis, 0, 1));
}

/* The dimensions of v, the axis being that of `like`. */
static ox_dim *dims_with(ox_val v, ox_val like, int64_t axis)
{
    ox_dim *dims = ox_arena_copy(v->graph->arena, v->dims, (size_t)v->rank, sizeof *dims);
    dims[v->rank + axis] = like->dims[like->rank + axis];
    return dims;
}

/* l and 1 - l, see below. Where one of both sums holds the difference to a mask, l would be a
 * half and large terms cancel: that one gets dS_k in all. */
static void split_sums(ox_ctx *c, ox_val own, ox_val other, ox_val sums, ox_val parts[2])
{
    parts[0] = ox_clip(share_of(ox_sub(sums, other), ox_sub(own, other)), 0, 1);
    parts[1] = ox_one_minus(parts[0]);
    if (!ox_stands_in(c, 0)) {
        return;
    }
    ox_val none = ox_number(sums, 0), first = ox_is_standin(own), second = ox_is_standin(other);
    ox_val whole = share_of(sums, ox_where(first, own, other));
    parts[0] = ox_where(first, whole, ox_where(second, none, parts[0]));
    parts[1] = ox_where(first, none, ox_where(second, whole, parts[1]));
}

/* 1 at the positions of both sides, in the shape of d. */
static ox_val members(ox_val d, ox_val at, ox_val at0, int64_t axis)
{
    ox_val zeros = ox_zeros(d->graph, d->type, d->rank, d->dims), sum = zeros;
    for (int i = 0; i < 2; i++) {
        ox_val where = i == 0 ? at : at0;
        where = ox_expand(where, d->rank, dims_with(d, where, axis));
        ox_val one = ox_cast(ox_int_scalar(d->graph, 1), d->type);
        sum = ox_scatter_add(sum, where, ox_expand(one, where->rank, where->dims), axis);
    }
    return ox_min(sum, ox_number(sum, 1));
}

/* Which positions are the first k changes only where one of these changes, on either side: each of
 * them gets of sum(m di) as much as its change has in all of theirs. */
static void flow_positions(ox_ctx *c, ox_val m)
{
    int64_t axis = ox_axis(c, -1);
    ox_val x = ox_cast(ox_x(c, 0), m->type), x0 = ox_cast(ox_x0(c, 0), m->type), d = ox_sub(x, x0);
    ox_val at = top_positions(c, x, axis), at0 = top_positions(c, x0, axis);
    ox_val di = ox_sub(ox_cast(ox_y(c, 1), m->type), ox_cast(ox_y0(c, 1), m->type));
    ox_val gain = ox_sum(ox_mul(m, di), axis, true);
    d = ox_mul(d, members(d, at, at0, axis));
    ox_val share = ox_div(gain, ox_shift(ox_sum(ox_abs(d), axis, true), OX_TINY));
    ox_send(c, 0, ox_mul(share, ox_unary("Sign", d)));
}

/* The sum S_k of the k largest values is the sum over the sample's positions A_k if these are the
 * best, so that its difference lies between that of the sums over the reference's positions and
 * that over the sample's: dS_k = l sum(d in A_k) + (1 - l) sum(d in A0_k) with l in [0, 1], which
 * are thus the multipliers. y_k = S_k - S_(k-1): the flow into S_k is m_k - m_(k+1), and a
 * position that stands kth gets all that goes to S_k and to the sums after it. */
void flow_topk(ox_ctx *c)
{
    if (ox_m(c, 1) != NULL) {
        flow_positions(c, ox_m(c, 1));
    }
    if (c->m == NULL) {
        return;
    }
    ox_need_fixed(c, 1);
    int64_t axis = ox_axis(c, -1);
    if (ox_node_int(c->node, "sorted", 1) == 0 && ox_static_dim(c, -1, (int)axis) > 1) {
        ox_rule_fail(c, "the order of its values is not defined without sorted=1");
    }
    ox_val x = ox_cast(ox_x(c, 0), c->m->type), x0 = ox_cast(ox_x0(c, 0), c->m->type);
    ox_val d = ox_sub(x, x0), at = top_positions(c, x, axis), at0 = top_positions(c, x0, axis);
    ox_val dy = ox_sub(ox_gather_elements(x, at, axis), ox_gather_elements(x0, at0, axis));
    at = ox_expand(at, dy->rank, dy->dims);
    at0 = ox_expand(at0, dy->rank, dy->dims);
    ox_val own = sums_along(ox_gather_elements(d, at, axis), axis, false);
    ox_val other = sums_along(ox_gather_elements(d, at0, axis), axis, false);
    ox_val split[2];
    split_sums(c, own, other, sums_along(dy, axis, false), split);

    ox_val steps = steps_down(c->m, axis), mine = ox_mul(steps, split[0]);
    ox_val parts[] = {sums_along(mine, axis, true),
                      sums_along(ox_mul(steps, split[1]), axis, true)};
    ox_val places[] = {ox_expand(at, mine->rank, mine->dims),
                       ox_expand(at0, mine->rank, mine->dims)};
    ox_val zeros = ox_zeros(c->g, mine->type, mine->rank, dims_with(mine, d, axis));
    ox_val flow = ox_concat(c->g, 2, parts, axis), where = ox_concat(c->g, 2, places, axis);
    ox_send(c, 0, ox_scatter_add(zeros, where, flow, axis));
}

/* ---- Hardmax ------------------------------------------------------------------------------- */

/* Takes m, x, x0, y, y0 with the axis at the end. With the winners i of the sample and j of the
 * reference, m dy = m_i - m_j is due to x_i - x_j, which was at most 0 and became at least 0: as
 * for a step, (m_i - m_j)/(d_i - d_j) for i and its negative for j, all of it as sums with dy. */
static ox_val hardmax_body(const ox_val *in, const void *user)
{
    (void)user;
    ox_val least = ox_number(in[1], -1e30); /* masks of -inf would leave nothing */
    ox_val d = ox_sub(ox_max(in[1], least), ox_max(in[2], least)), dy = ox_sub(in[3], in[4]);
    ox_val gap = ox_sum(ox_mul(d, dy), -1, true), gain = ox_sum(ox_mul(in[0], dy), -1, true);
    ox_val still = ox_indicator(ox_equal(gap, ox_number(gap, 0)), gap);
    return ox_mul(dy, ox_div(gain, ox_add(gap, still)));
}

void flow_hardmax(ox_ctx *c)
{
    int rank = c->node->inputs[0]->rank, order[OX_MAX_RANK];
    int64_t axis = ox_axis(c, -1);
    for (int d = 0; d < rank; d++) {
        order[d] = d;
    }
    order[rank + axis] = rank - 1;
    order[rank - 1] = (int)(rank + axis);
    ox_val in[] = {c->m, ox_x(c, 0), ox_x0(c, 0), ox_y(c, 0), ox_y0(c, 0)};
    for (int i = 0; i < 5; i++) {
        in[i] = ox_transpose_own(ox_cast(in[i], c->m->type), rank, order);
    }
    ox_val flow = ox_call("HardmaxFlow", hardmax_body, NULL, 5, in);
    ox_send(c, 0, ox_transpose_own(flow, rank, order));
}

/* ---- ReverseSequence ----------------------------------------------------------------------- */

/* Its own inverse, and so its own adjoint. Its two axes must come first: the lead axes of m go to
 * the end and back. */
void flow_reverse_sequence(ox_ctx *c)
{
    ox_need_fixed(c, 1);
    int perm[OX_MAX_RANK], back[OX_MAX_RANK], own = c->node->inputs[0]->rank;
    if (c->m->rank > OX_MAX_RANK) {
        ox_rule_fail(c, "has too many axes");
    }
    for (int i = 0; i < c->m->rank; i++) {
        perm[i] = i < own ? c->lead + i : i - own;
        back[perm[i]] = i;
    }
    ox_attr attrs[] = {ox_attr_int("batch_axis", ox_node_int(c->node, "batch_axis", 1)),
                       ox_attr_int("time_axis", ox_node_int(c->node, "time_axis", 0))};
    ox_val in[] = {ox_transpose(c->m, perm), ox_x(c, 1)};
    ox_val reversed = ox_graph_emit(c->g, "ReverseSequence", 2, in, 2, attrs);
    ox_send(c, 0, ox_transpose(reversed, back));
}

/* ---- Compress ------------------------------------------------------------------------------ */

/* The positions that a condition keeps, int64: constant, or counted as it runs. */
static ox_val kept_by(const ox_node *n, ox_val condition)
{
    const ox_dim *kept = ox_shape_elements(condition);
    int64_t size = kept == NULL ? 0 : condition->dims[0].size;
    int64_t *index = ox_arena_alloc(n->graph->arena, (size_t)size + 1, sizeof *index);
    size_t count = 0;
    for (int64_t i = 0; kept != NULL && i < size; i++) {
        kept = ox_dim_is_static(kept[i]) ? kept : NULL;
        index[count] = i;
        count += kept != NULL && kept[i].size != 0;
    }
    if (kept == NULL && ox_input_varies(n, 1)) {
        ox_made_fail(n, "its condition is not constant");
    }
    return kept != NULL ? ox_ints(n->graph, count, index)
                        : ox_squeeze(ox_unary("NonZero", condition), 0);
}

/* A Gather of the positions that the condition keeps. */
void decompose_compress(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), index = kept_by(n, ox_made_of_rank(n, 1, 1, 1));
    bool flat = ox_node_attr(n, "axis") == NULL;
    ox_dim all = ox_val_size(x);
    int axis = flat ? -1 : ox_shape_axis(n, ox_node_int(n, "axis", 0), x->rank) - x->rank;
    outputs[0] = ox_made_result(n, 0, ox_gather(flat ? ox_reshape(x, 1, &all) : x, index, axis));
}

/* ---- OneHot -------------------------------------------------------------------------------- */

/* off + hit (on - off), where hit is 1 at the index: off (1 - hit) + on hit. */
void decompose_one_hot(const ox_node *n, ox_val *outputs)
{
    ox_val at = ox_made_of_rank(n, 0, 0, OX_MAX_RANK - 1), values = ox_made_of_rank(n, 2, 1, 1);
    ox_val y = n->outputs[0];
    if (y->rank != at->rank + 1) {
        ox_shape_fail(n);
    }
    bool real = at->type == OX_FLOAT || at->type == OX_DOUBLE;
    ox_type type = at->type;
    at = ox_cast(at, OX_INT64);
    at = real ? ox_cast(at, type) : at; /* cut off, as indices are */
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", -1), y->rank) - y->rank;
    int64_t depth = ox_made_size(n, y, axis);
    ox_val wrapped = ox_indicator(ox_less(at, ox_number(at, 0)), at);
    at = ox_unsqueeze(ox_add(at, ox_scale(wrapped, (double)depth)), axis);
    ox_val hit = ox_indicator(ox_equal(at, ox_made_range(at, depth, -axis - 1)), values);
    ox_val off = ox_squeeze(ox_slice(values, 0, 0, 1, 1), 0);
    ox_val on = ox_squeeze(ox_slice(values, 0, 1, 2, 1), 0);
    ox_val rest = ox_one_minus(hit);
    outputs[0] = ox_made_result(n, 0, ox_add(ox_mul(rest, off), ox_mul(hit, on)));
}

/* ---- Clip ---------------------------------------------------------------------------------- */

/* The slope of Relu from a0 - b0 to a - b. */
static ox_val slope_above(ox_val a, ox_val b, ox_val a0, ox_val b0)
{
    ox_pair p = {.x = ox_sub(a, b), .x0 = ox_sub(a0, b0)};
    return slope_relu(&p);
}

/* max(a, b) = b + relu(a - b): the slope in a, the mean over both sides of b. */
static ox_val slope_larger(ox_val a, ox_val a0, ox_val b, ox_val b0)
{
    return ox_mean(slope_above(a, b, a0, b), slope_above(a, b0, a0, b0));
}

/* The same of min(a, b) = -max(-a, -b). */
static ox_val slope_smaller(ox_val a, ox_val a0, ox_val b, ox_val b0)
{
    return slope_larger(ox_neg(a), ox_neg(a0), ox_neg(b), ox_neg(b0));
}

/* y = min(max(x, low), high) with bounds that vary: two players each, the last pair first. */
void flow_clip(ox_ctx *c)
{
    if (!ox_varies(c, 1) && !ox_varies(c, 2)) {
        flow_unary(c);
        return;
    }
    ox_operand x = ox_operand_of(c, 0), z = x, low = x;
    ox_val m = c->m;
    if (ox_node_input(c->node, 1) != NULL) {
        low = ox_operand_of(c, 1);
        z = (ox_operand){ox_max(x.x, low.x), ox_max(x.x0, low.x0), true};
    }
    if (ox_node_input(c->node, 2) != NULL) {
        ox_operand high = ox_operand_of(c, 2);
        ox_send(c, 2, ox_mul(m, slope_smaller(high.x, high.x0, z.x, z.x0)));
        m = ox_mul(m, slope_smaller(z.x, z.x0, high.x, high.x0));
    }
    if (ox_node_input(c->node, 1) != NULL) {
        ox_send(c, 1, ox_mul(m, slope_larger(low.x, low.x0, x.x, x.x0)));
        m = ox_mul(m, slope_larger(x.x, x.x0, low.x, low.x0));
    }
    ox_send(c, 0, m);
}
