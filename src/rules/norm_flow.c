/* Normalisations y = d/s, s^2 = mean(d^2) + epsilon, as LayerNormalization and RMSNormalization are
 * written out, by exporters or here, in one rule of what those of the quotient, the root, the mean
 * and the square make together. With t = d + d0: the quotient gives d m (1/s + 1/s0)/2 and s sum(m)
 * times -t/(2 s s0), the root 1/(s + s0) of that, the mean 1/n, and the square t. Where d = x -
 * mean(x), x gets that less its mean. */
#include "rules/rules.h"

static bool passes(ox_ctx *c, const ox_node *n)
{
    return n != NULL && n->domain[0] == '\0' && !ox_is_point(n->outputs[0]) && c->sides->own(c, n);
}

/* Whether the node is the mean of v along its last axis alone, which it keeps. */
static bool is_mean_of(ox_ctx *c, const ox_node *n, ox_val v)
{
    ox_val y = n == NULL ? NULL : n->outputs[0];
    int rank = v->rank;
    return passes(c, n) && ox_node_is(n, "ReduceMean") && n->inputs[0] == v && rank > 0 &&
           y->rank == rank && ox_dims_equal(rank - 1, v->dims, y->dims) &&
           ox_dim_is(y->dims[rank - 1], 1) && ox_dim_is_static(v->dims[rank - 1]) &&
           v->dims[rank - 1].size > 1;
}

static bool is_square_of(ox_ctx *c, const ox_node *n, ox_val v)
{
    size_t count = 0;
    if (!passes(c, n) || n->input_count != 2 || n->inputs[0] != v) {
        return false;
    }
    const double *power = ox_node_is(n, "Pow") ? ox_numbers(n->inputs[1], &count) : NULL;
    return (ox_node_is(n, "Mul") && n->inputs[1] == v) ||
           (power != NULL && count == 1 && power[0] == 2);
}

/* Whether s is the root of mean(d^2), and of what does not vary. */
static bool is_root_of(ox_ctx *c, ox_val s, ox_val d)
{
    const ox_node *root = ox_maker_of(s);
    if (!passes(c, root) || !ox_node_is(root, "Sqrt")) {
        return false;
    }
    ox_val v = root->inputs[0];
    const ox_node *sum = ox_maker_of(v);
    if (passes(c, sum) && ox_node_is(sum, "Add") &&
        ox_input_varies(sum, 0) != ox_input_varies(sum, 1)) {
        v = sum->inputs[ox_input_varies(sum, 1)];
    }
    const ox_node *mean = ox_maker_of(v);
    return mean != NULL && ox_node_is(mean, "ReduceMean") &&
           is_square_of(c, ox_maker_of(mean->inputs[0]), d) &&
           is_mean_of(c, mean, mean->inputs[0]) &&
           ox_dims_equal(d->rank, d->dims, mean->inputs[0]->dims) && s->rank == d->rank &&
           ox_dims_equal(s->rank, s->dims, mean->outputs[0]->dims);
}

static const ox_node *centred(ox_ctx *c, ox_val d)
{
    const ox_node *n = ox_maker_of(d);
    bool known = passes(c, n) && ox_node_is(n, "Sub") && n->inputs[0]->rank == d->rank &&
                 ox_dims_equal(d->rank, d->dims, n->inputs[0]->dims);
    return known && is_mean_of(c, ox_maker_of(n->inputs[1]), n->inputs[0]) ? n : NULL;
}

/* Takes m, d, d0, s, s0. */
static ox_val root_norm_body(const ox_val *in, const void *user)
{
    const int64_t last = -1;
    ox_val m = in[0], s = in[3], s0 = in[4], t = ox_add(in[1], in[2]);
    ox_val half = ox_number(s, 0.5), mean = ox_reduce("ReduceMean", ox_mul(m, t), 1, &last, true);
    ox_val through =
        ox_div(ox_mul(mean, ox_div(ox_neg(ox_div(half, s)), s0)), ox_add(s, ox_shift(s0, 1e-20)));
    ox_val direct = ox_add(ox_div(half, s), ox_div(half, s0));
    (void)user;
    return ox_add(ox_mul(m, direct), ox_mul(t, through));
}

static ox_val layer_norm_body(const ox_val *in, const void *user)
{
    const int64_t last = -1;
    ox_val u = root_norm_body(in, user);
    return ox_sub(u, ox_reduce("ReduceMean", u, 1, &last, true));
}

bool ox_normalization(ox_ctx *c)
{
    const ox_node *n = c->node;
    ox_val d = n->inputs[0], s = n->inputs[1];
    bool alone = !c->squared && !c->second && c->sent == NULL && c->spot == NULL && c->frozen == 0;
    if (!alone || d->rank < 1 || !passes(c, n) || !ox_varies(c, 0) || !ox_varies(c, 1) ||
        !is_root_of(c, s, d)) {
        return false;
    }
    const ox_node *from = centred(c, d);
    ox_val in[] = {c->m, ox_x(c, 0), ox_x0(c, 0), ox_x(c, 1), ox_x0(c, 1)};
    ox_ctx at = *c;
    at.node = from != NULL ? from : n;
    ox_send(&at, 0,
            from != NULL ? ox_call("LayerNormFlow", layer_norm_body, NULL, 5, in)
                         : ox_call("RootNormFlow", root_norm_body, NULL, 5, in));
    return true;
}
