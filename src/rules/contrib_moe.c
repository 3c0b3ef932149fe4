/* MoE and QMoE: every expert's network, weighed by gates that are 0 for all but k of them; and what
 * makes the scores, MoEGroupRouter.
 *
 * An expert is among the k if fewer than k others are before it: those of a higher score, and of an
 * equal one those behind it (of a router before it). Counting them takes comparisons of scores
 * alone, whose rule is complete also where sample and reference choose other experts. */
#include "rules/weights.h"

#include <string.h>

enum { ROUTER = 1 };

/* ---- gates ----------------------------------------------------------------------------------- */

/* Which of several with the same score come first. */
typedef enum equals { LAST_FIRST, FIRST_FIRST } equals;

/* 1 for pairs j, e of experts [E, E] of which j comes first if they have the same score, else 0. */
static ox_val preferred(ox_val like, int64_t count, equals order)
{
    int64_t dims[] = {count, count};
    double *data = ox_arena_alloc(like->graph->arena, (size_t)(count * count), sizeof *data);
    for (int64_t j = 0; j < count; j++) {
        for (int64_t e = 0; e < count; e++) {
            data[j * count + e] = order == LAST_FIRST ? j > e : j < e;
        }
    }
    return ox_floats(like->graph, like->type, 2, dims, data);
}

/* Scores [.., E] to 1 for the k that are chosen, else 0; of those only that `allowed`, 1 or 0, does
 * not exclude, where it is not NULL. */
static ox_val chosen(ox_val scores, int64_t k, equals order, ox_val allowed)
{
    const int64_t others = -2, count = scores->dims[scores->rank - 1].size;
    ox_val d = ox_sub(ox_unsqueeze(scores, -1), ox_unsqueeze(scores, -2)); /* [.., j, e] */
    ox_val zero = ox_number(d, 0), first = preferred(scores, count, order);
    ox_val higher = ox_cast(ox_greater(d, zero), scores->type);
    ox_val as_high = ox_cast(ox_unary("Not", ox_less(d, zero)), scores->type);
    ox_val before = ox_add(ox_mul(as_high, first), ox_mul(higher, ox_shift(ox_neg(first), 1)));
    before = allowed == NULL ? before : ox_mul(before, ox_unsqueeze(allowed, -1));
    ox_val rank = ox_reduce("ReduceSum", before, 1, &others, false);
    ox_val taken = ox_cast(ox_less(rank, ox_number(rank, (double)k - 0.5)), scores->type);
    return allowed == NULL ? taken : ox_mul(taken, allowed);
}

/* Scores [.., E] to what each expert counts; QMoE's always add up to 1. */
static ox_val gates_of(const ox_node *n, ox_val scores)
{
    const int64_t last = -1;
    int64_t count = ox_made_size(n, scores, -1), k = ox_node_int(n, "k", 1);
    if (k < 1 || count < 1 || count > 1024 || ox_node_int(n, "use_sparse_mixer", 0) != 0) {
        ox_made_fail(n, "no rule for how it chooses experts");
    }
    ox_attr axis = ox_attr_int("axis", -1);
    ox_val gates = ox_graph_emit(n->graph, "Softmax", 1, &scores, 1, &axis);
    if (k < count) {
        gates = ox_mul(gates, chosen(scores, k, LAST_FIRST, NULL));
    }
    bool normal = strcmp(n->op, "QMoE") == 0 || ox_node_int(n, "normalize_routing_weights", 0) != 0;
    return normal ? ox_div(gates, ox_reduce("ReduceSum", gates, 1, &last, true)) : gates;
}

/* ---- experts --------------------------------------------------------------------------------- */

/* A layer of all experts: weights [E, out, in] and bias [E, out] or NULL. */
typedef struct layer {
    ox_val weights, bias;
} layer;

/* x [B, E or 1, S, in] to [B, E, S, out]. */
static ox_val through(layer l, ox_val x)
{
    ox_val y = ox_matmul(x, ox_swap_last(l.weights));
    return l.bias == NULL ? y : ox_add(y, ox_unsqueeze(l.bias, 1));
}

/* g sigmoid(alpha g) (l + beta), both cut at a limit before. */
static ox_val swiglu(const ox_node *n, ox_val g, ox_val l)
{
    const ox_attr *limit = ox_node_attr(n, "swiglu_limit");
    if (limit != NULL && limit->kind == OX_ATTR_FLOAT) {
        double most = (double)limit->f;
        g = ox_min(g, ox_number(g, most));
        ox_val in[] = {l, ox_number(l, -most), ox_number(l, most)};
        l = ox_graph_emit(l->graph, "Clip", 3, in, 0, NULL);
    }
    ox_val gate = ox_unary("Sigmoid", ox_scale(g, ox_node_float(n, "activation_alpha", 1)));
    return ox_mul(ox_mul(g, gate), ox_shift(l, ox_node_float(n, "activation_beta", 0)));
}

/* What is between the layers; `other` is the third layer's result, or NULL. */
static ox_val activated(const ox_node *n, ox_val h, ox_val other)
{
    const char *op = ox_node_string(n, "activation_type", "relu");
    int64_t fusion = ox_node_int(n, "swiglu_fusion", 0);
    if (strcmp(op, "swiglu") == 0 && ox_node_int(n, "swiglu_limit_after_activation", 0) == 0) {
        int64_t width = ox_made_size(n, h, -1);
        bool in_turn = fusion == 1;
        if (fusion == 0 && other != NULL) {
            return swiglu(n, h, other);
        }
        if ((fusion == 1 || fusion == 2) && other == NULL && width % 2 == 0) {
            ox_val g = ox_slice(h, -1, 0, in_turn ? width : width / 2, in_turn ? 2 : 1);
            ox_val l = ox_slice(h, -1, in_turn ? 1 : width / 2, width, in_turn ? 2 : 1);
            return swiglu(n, g, l);
        }
    }
    ox_val y = NULL;
    if (strcmp(op, "relu") == 0) {
        y = ox_unary("Relu", h);
    } else if (strcmp(op, "gelu") == 0) {
        y = ox_made_fast_gelu(h);
    } else if (strcmp(op, "silu") == 0) {
        y = ox_mul(h, ox_unary("Sigmoid", h));
    } else if (strcmp(op, "identity") == 0) {
        y = h;
    }
    if (y == NULL) {
        ox_made_fail(n, ox_arena_format(n->graph->arena, "no rule for its activation %s", op));
    }
    return other == NULL ? y : ox_mul(y, other);
}

/* The experts' results for x [N, H] or [B, S, H], weighed by scores [N, E] or [B * S, E]. */
static ox_val mixed(const ox_node *n, layer first, layer second, layer third)
{
    static const int experts_first[] = {0, 2, 1};
    const int64_t experts = 1;
    ox_val x = ox_made_of_rank(n, 0, 2, 3), scores = ox_made_of_rank(n, ROUTER, 2, 2);
    bool flat = x->rank == 2;
    ox_val each = flat ? ox_unsqueeze(ox_unsqueeze(x, 1), 1) : ox_unsqueeze(x, 1);
    ox_val gates = gates_of(n, scores); /* [B * S, E] */
    if (flat) {
        gates = ox_unsqueeze(ox_unsqueeze(gates, -1), -1);
    } else {
        const ox_dim apart[] = {x->dims[0], x->dims[1], scores->dims[1]};
        gates = ox_transpose(ox_reshape(gates, 3, apart), experts_first);
        gates = ox_unsqueeze(gates, -1);
    }
    ox_val h = through(first, each);
    h = activated(n, h, third.weights == NULL ? NULL : through(third, each));
    ox_val y = ox_reduce("ReduceSum", ox_mul(through(second, h), gates), 1, &experts, false);
    return flat ? ox_squeeze(y, 1) : y;
}

/* ---- operators ------------------------------------------------------------------------------- */

static layer plain_layer(const ox_node *n, size_t i)
{
    bool there = ox_node_input(n, i) != NULL;
    return (layer){there ? ox_made_of_rank(n, i, 3, 3) : NULL, ox_made_input(n, i + 1)};
}

void decompose_moe(const ox_node *n, ox_val *outputs)
{
    ox_val y = mixed(n, plain_layer(n, 2), plain_layer(n, 4), plain_layer(n, 6));
    outputs[0] = ox_made_result(n, 0, y);
}

/* Bytes, scales, bias, and zero points further behind. */
static layer packed_layer(const ox_node *n, size_t i, size_t zero, const char *own_bits)
{
    if (ox_node_input(n, i) == NULL) {
        return (layer){NULL, NULL};
    }
    int64_t bits = ox_node_int(n, own_bits, ox_node_int(n, "expert_weight_bits", 4));
    ox_val bytes = ox_made_of_rank(n, i, 3, 3), scale = ox_made_of_rank(n, i + 1, 2, 3);
    int64_t block = ox_node_int(n, "block_size", 0), width = ox_made_size(n, bytes, -1);
    bool rows = block == 0 && (bits == 2 || bits == 4 || bits == 8) && width < INT32_MAX;
    ox_packing p = {bits, rows ? width * 8 / bits : block};
    ox_val points = ox_made_input(n, zero);
    if (rows && points != NULL) { /* packed along the rows */
        points = ox_weights_unpack(ox_made_of_rank(n, zero, 2, 2), scale->type, bits);
        points = ox_slice(points, -1, 0, ox_made_size(n, bytes, 1), 1);
    }
    return (layer){ox_weights_real(n, bytes, scale, points, p), ox_made_input(n, i + 2)};
}

/* ONNX Runtime may round what goes into the layers to eight bits. */
void decompose_qmoe(const ox_node *n, ox_val *outputs)
{
    if (strcmp(ox_node_string(n, "quant_type", "int"), "int") != 0 ||
        ox_node_input(n, 14) != NULL || ox_node_int(n, "weights_prepacked", -1) == 1) {
        ox_made_fail(n, "no rule for its kind of weights");
    }
    layer first = packed_layer(n, 2, 11, "fc1_expert_weight_bits");
    layer second = packed_layer(n, 5, 12, "fc2_expert_weight_bits");
    layer third = packed_layer(n, 8, 13, "fc3_expert_weight_bits");
    outputs[0] = ox_made_rounded(n, 0, mixed(n, first, second, third));
}

/* ---- MoEGroupRouter -------------------------------------------------------------------------- */

/* Scores [T, E] to 1 for the experts of the groups chosen: those with the largest sums of their
 * best scores. */
static ox_val of_best_groups(const ox_node *n, ox_val scores, int64_t groups, int64_t k)
{
    const int64_t last = -1, count = ox_made_size(n, scores, -1), each = count / groups;
    int64_t best = ox_node_int(n, "group_topk", 2);
    const ox_dim apart[] = {scores->dims[0], ox_dim_of(groups), ox_dim_of(each)};
    ox_val v = ox_reshape(scores, 3, apart);
    if (best < each) {
        ox_val in[] = {v, ox_ints(n->graph, 1, &best)};
        v = ox_graph_emit_node(n->graph, "", "TopK", 2, in, 2, 0, NULL)->outputs[0];
    }
    v = chosen(ox_reduce("ReduceSum", v, 1, &last, false), k, FIRST_FIRST, NULL);
    return ox_reshape(ox_expand(ox_unsqueeze(v, -1), 3, apart), 2, scores->dims);
}

/* Sigmoids [T, E] and the scores that choose among them. */
static ox_val sigmoids(const ox_node *n)
{
    ox_val x = ox_made_of_rank(n, 0, 1, 8), w = ox_made_input(n, 2);
    ox_dim rows = ox_dim_of(1);
    for (int d = 0; d < x->rank - 1; d++) {
        rows = ox_shape_dim_times(n, rows, x->dims[d]);
    }
    const ox_dim flat[] = {rows, x->dims[x->rank - 1]};
    x = ox_reshape(x, 2, flat);
    return ox_unary("Sigmoid", w == NULL ? x : ox_matmul(x, ox_swap_last(w)));
}

void decompose_group_router(const ox_node *n, ox_val *outputs)
{
    ox_val s = sigmoids(n), scores = ox_made_plus(s, ox_made_input(n, 1)), allowed = NULL;
    int64_t groups = ox_node_int(n, "n_group", 1), active = ox_node_int(n, "topk_group", 1);
    int64_t count = ox_made_size(n, s, -1), k = ox_node_int(n, "top_k", 0);
    if (groups < 1 || count < 1 || count > 1024 || count % groups != 0 || active < 1 || k < 1 ||
        ox_node_int(n, "group_topk", 2) < 1) {
        ox_made_fail(n, "no rule for how it chooses experts");
    }
    if (active < groups) {
        allowed = of_best_groups(n, scores, groups, active);
    }
    ox_val zero = ox_number(s, 0.5), taken = chosen(scores, k, FIRST_FIRST, allowed);
    ox_val log = ox_log(ox_max(s, ox_number(s, 1e-20)));
    ox_val rest = ox_number(s, ox_node_float(n, "router_sentinel", -10000));
    ox_val made[] = {ox_where(ox_greater(taken, zero), log, rest), scores, s};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        if (ox_made_has_output(n, i)) {
            outputs[i] = ox_made_result(n, i, made[i]);
        }
    }
}
