/* The rule of an ensemble of trees: interventional Shapley values, one leaf at a time.
 *
 * A leaf is a box: it adds its value v where each feature on its path lies in that feature's
 * ranges. Let x be a sample and r a reference, P the features of the path where x is inside and r
 * is not, M those where r is and x is not, a = |P|, b = |M|. A feature set to the sample's value
 * and the others to the reference's reaches the leaf where all of P and none of M are among those
 * set: nothing where neither x nor r is inside some feature's ranges; else, by the orders in which
 * features are set,
 *
 *     each of P gets  v (a-1)! b! / (a+b)!,    each of M  -v a! (b-1)! / (a+b)!.
 *
 * Their sum is v times (x is in the box) - (r is in the box). The multiplier of a feature is m
 * times what it gets of all leaves, divided by x - r: what arrives at both ends of a value is the
 * same difference (rules/difference.c), so that the product is what it gets, however small that is.
 *
 * As matrices. Of a leaf l, let X be 1 where x is outside of a feature's ranges, R where r is. Then
 * neither is inside where sum(X R) > 0, a = sum(R) and b = sum(X) elsewhere: with w(a, b) what
 * stands above, and E_b the b-th row of the identity,
 *
 *     relu([-4 X, E_b] . [R, w(a, .)])
 *
 * is w where the leaf counts and 0 elsewhere, as w is at most 1. P is where R is 1, and M where X
 * is, which gives the sums over leaves as products of matrices as well. */
#include <string.h>

#include "rules/trees.h"
#include "rules/trees_flow.h"
#include "rules/unary.h"

/* ---- the function ---------------------------------------------------------------------------- */

static ox_val emit(const char *op, ox_val a, size_t attr_count, const ox_attr *attrs)
{
    return ox_graph_emit(a->graph, op, 1, &a, attr_count, attrs);
}

/* Ranks are not known in a function. */
static ox_val transpose(ox_val a, size_t rank, const int64_t *permutation)
{
    ox_attr perm = ox_attr_ints("perm", rank, permutation);
    return emit("Transpose", a, 1, &perm);
}

static ox_val part(ox_val stack, int64_t i)
{
    return ox_gather(stack, ox_int_scalar(stack->graph, i), 0);
}

/* Dimension `axis` of v, int64 [1]. */
static ox_val length(ox_val v, int64_t axis)
{
    ox_attr range[] = {ox_attr_int("start", axis), ox_attr_int("end", axis + 1)};
    return emit("Shape", v, 2, range);
}

/* The first dimensions as they are (0) or what is left (-1), then `dims`. */
static ox_val reshape(ox_val v, size_t count, const int64_t *first, size_t more, ox_val *dims)
{
    ox_val parts[4] = {ox_ints(v->graph, count, first)};
    memcpy(parts + 1, dims, more * sizeof *dims);
    return ox_binary("Reshape", v, ox_concat(v->graph, 1 + more, parts, 0));
}

/* 1 where a row of x [B, N, features] is outside of the ranges, [B, L, N, D], in the type of m. */
static ox_val outside(const ox_val *in, ox_val x)
{
    static const int64_t all[] = {-1}, keep[] = {0, 0}, leaf_first[] = {0, 2, 1, 3}, ranges[] = {2};
    ox_graph *g = x->graph;
    ox_val feature = in[OX_TREE_FEATURE], bounds = in[OX_TREE_BOUNDS];
    ox_val flat = ox_binary("Reshape", feature, ox_ints(g, 1, all));
    ox_val picked = ox_unsqueeze(ox_gather(x, flat, -1), 2);
    ox_val above = ox_binary("GreaterOrEqual", picked, part(bounds, 0));
    ox_val below = ox_binary("LessOrEqual", picked, part(bounds, 1));
    ox_val missing = part(bounds, 2);
    ox_val gone =
        ox_binary("And", ox_unary("IsNaN", picked), ox_greater(missing, ox_number(missing, 0)));
    ox_val inside = ox_binary("Or", ox_binary("And", above, below), gone);
    ox_val is = ox_cast(inside, in[OX_TREE_M]->type);
    is = ox_sub(ox_number(is, 1), ox_reduce("ReduceMax", is, 1, ranges, false));
    ox_val shape[] = {emit("Shape", feature, 0, NULL)};
    return transpose(reshape(is, 2, keep, 1, shape), 4, leaf_first);
}

/* Rows of a table at the number of features that are outside, [B, L, N, ..]. */
static ox_val looked_up(ox_val table, ox_val out)
{
    static const int64_t last[] = {3};
    return ox_gather(table, ox_cast(ox_reduce("ReduceSum", out, 1, last, false), OX_INT64), 0);
}

/* What each feature gets of a leaf's value where it is outside: [B, N, T columns, L]. */
static ox_val paid(const ox_val *in, ox_val out)
{
    static const int64_t leaf_last[] = {0, 2, 3, 4, 1}, merged[] = {0, 0, -1}, middle[] = {1, 3};
    ox_val value = in[OX_TREE_VALUE], columns = in[OX_TREE_COLUMNS];
    ox_val is = ox_equal(ox_unsqueeze(in[OX_TREE_FEATURE], 2), columns);
    ox_val by_column = ox_unsqueeze(ox_matmul(out, ox_cast(is, out->type)), 3);
    ox_val each = ox_binary("Unsqueeze", value, ox_ints(value->graph, 2, middle));
    ox_val leaves[] = {length(value, 0)};
    return reshape(transpose(ox_mul(by_column, each), 5, leaf_last), 3, merged, 1, leaves);
}

/* acc + m phi, [K, B, R, N, columns]. */
static ox_val body(const ox_val *in, const void *user)
{
    static const int64_t leaf_second[] = {0, 2, 1, 3}, last_two[] = {0, 1, 3, 2};
    static const int64_t sample_third[] = {0, 3, 1, 2}, keep[] = {0, 0, 0}, targets[] = {4};
    (void)user;
    ox_val weights = in[OX_TREE_WEIGHTS];
    ox_val x = outside(in, in[OX_TREE_X]), r = outside(in, in[OX_TREE_X0]);
    ox_val two[] = {ox_scale(x, -4), looked_up(part(weights, 2), x)};
    ox_val left = ox_concat(x->graph, 2, two, -1);
    ox_val won[] = {r, looked_up(part(weights, 0), r)};
    ox_val lost[] = {r, looked_up(part(weights, 1), r)};
    ox_val p = ox_matmul(ox_concat(x->graph, 2, won, -1), transpose(left, 4, last_two));
    ox_val q = ox_matmul(left, transpose(ox_concat(x->graph, 2, lost, -1), 4, last_two));
    p = ox_matmul(paid(in, r), transpose(ox_unary("Relu", p), 4, leaf_second));
    q = ox_matmul(paid(in, x), transpose(ox_unary("Relu", q), 4, leaf_second));
    ox_val phi = ox_sub(transpose(p, 4, last_two), transpose(q, 4, sample_third));
    ox_val own[] = {length(in[OX_TREE_VALUE], 1), length(in[OX_TREE_COLUMNS], 0)};
    ox_val terms = ox_mul(ox_unsqueeze(in[OX_TREE_M], 5), reshape(phi, 3, keep, 2, own));
    return ox_add(in[OX_TREE_ACC], ox_reduce("ReduceSum", terms, 1, targets, false));
}

ox_val ox_tree_call(bool narrow, const ox_val *in)
{
    const ox_dim dims[] = {in[OX_TREE_M]->dims[0], in[OX_TREE_M]->dims[1], in[OX_TREE_X0]->dims[1],
                           in[OX_TREE_X]->dims[1], in[OX_TREE_COLUMNS]->dims[0]};
    const char *name = in[OX_TREE_X]->type == OX_DOUBLE ? "TreeFlowOfDouble"
                       : narrow                         ? "TreeFlow"
                                                        : "TreeFlowOfMany";
    return ox_call_shaped(name, body, NULL, OX_TREE_INPUTS, in, 5, dims);
}
