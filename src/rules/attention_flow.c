/* Attention, softmax(q k + mask) v, is a product of three: the matrix products by pairs give the
 * third, v, all of what the changes of all three make together, where the Shapley value of a
 * product of three players gives each a third. This moves the shares, with no effect on the sum.
 *
 * A product q k v of numbers is pairwise dq mid(k) mid(v), mid(q) dk mid(v), and for v
 * (mid(q) mid(k) + dq dk/4) dv; three players get dq (mid(k) mid(v) + dk dv/12) and alike. So dq dk
 * dv/12 goes from v to q and to k. With the softmax between, whose rule m -> A m is linear and
 * symmetric in m: q gets A(m dv) dk/12, k gets A(m dv) dq/12, and v loses A(dq dk) m/6.
 *
 * Where nothing stands in the way, all of it is one rule. m goes through A with mid(v) and dv/12
 * side by side, [.., queries, 2, keys], which two products take to q and k without a sum; and what
 * v loses is taken off the shares before the product that they are in anyhow. */
#include "rules/rules.h"

#include <string.h>

static bool last_axis(const ox_node *softmax)
{
    int64_t axis = ox_node_int(softmax, "axis", -1);
    return axis == -1 || axis == softmax->inputs[0]->rank - 1;
}

/* Only one of the inputs varies: its index, else -1. */
static int varying_input(const ox_node *n)
{
    int which = -1;
    for (size_t i = 0; i < n->input_count; i++) {
        if (ox_input_varies(n, i)) {
            if (which >= 0) {
                return -1;
            }
            which = (int)i;
        }
    }
    return which;
}

typedef struct logits {
    const ox_node *softmax, *product;
    ox_val factor; /* scales between them, NULL: 1 */
    ox_val shown;  /* 0 where a Where takes another value, else 1; NULL: 1 */
    bool plain;    /* nothing is there but these and sums, of which every rule is its own */
} logits;

/* The product that the logits are made of by scales and masks; false where it is not one of two
 * that vary, or where multipliers stop on the way. */
static bool find_product(ox_ctx *c, logits *found)
{
    static const char *const steps[] = {"Add", "Sub", "Mul", "Div", "Where", "Identity"};
    const ox_node *n = ox_maker_of(found->softmax->inputs[0]);
    while (n != NULL && !ox_is_point(n->outputs[0])) {
        found->plain = found->plain && c->sides->own(c, n);
        if (ox_node_is(n, "MatMul")) {
            found->product = n;
            return ox_input_varies(n, 0) && ox_input_varies(n, 1);
        }
        bool known = false;
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            known = known || ox_node_is(n, steps[i]);
        }
        int i = known ? varying_input(n) : -1;
        if (i < 0 || (ox_node_is(n, "Sub") && i != 0) || (ox_node_is(n, "Div") && i != 0) ||
            (ox_node_is(n, "Where") && i == 0) || n->inputs[i]->rank != n->outputs[0]->rank) {
            return false;
        }
        ox_ctx at = *c;
        at.node = n;
        if (ox_node_is(n, "Mul") || ox_node_is(n, "Div")) {
            ox_val scale = ox_x(&at, ox_node_is(n, "Mul") ? 1 - (size_t)i : 1);
            scale = ox_node_is(n, "Mul") ? scale : ox_unary("Reciprocal", scale);
            found->factor = found->factor == NULL ? scale : ox_mul(found->factor, scale);
        }
        if (ox_node_is(n, "Where")) {
            ox_val chosen = ox_x_raw(&at, 0);
            chosen = ox_cast(i == 1 ? chosen : ox_unary("Not", chosen), c->type);
            found->shown = found->shown == NULL ? chosen : ox_mul(found->shown, chosen);
        }
        n = ox_maker_of(n->inputs[i]);
    }
    return false;
}

/* Whether the MatMul is of attention. */
static bool find_logits(ox_ctx *c, logits *found)
{
    const ox_node *softmax = c->node->inputs[0]->node;
    bool matrices = c->node->inputs[0]->rank >= 2 && c->node->inputs[1]->rank >= 2;
    *found = (logits){.softmax = softmax, .plain = true};
    return matrices && ox_varies(c, 1) && ox_node_is(softmax, "Softmax") && last_axis(softmax) &&
           !ox_is_point(softmax->outputs[0]) && find_product(c, found) &&
           found->product->inputs[0]->rank >= 2 && found->product->inputs[1]->rank >= 2;
}

static ox_val times(ox_val v, ox_val factor)
{
    return factor == NULL ? v : ox_mul(v, factor);
}

/* ---- all of it -------------------------------------------------------------------------------
 */

/* mid(x) and change (x - x0), times a number or NULL, side by side along a new axis. */
static ox_val both(ox_val x, ox_val x0, int64_t axis, double change, ox_val factor)
{
    const double of_x[] = {0.5, change}, of_x0[] = {0.5, -change};
    int64_t dims[3] = {2, 1, 1};
    int rank = (int)-axis;
    ox_val a = ox_floats(x->graph, x->type, rank, dims, of_x);
    ox_val b = ox_floats(x->graph, x->type, rank, dims, of_x0);
    return ox_add(ox_mul(ox_unsqueeze(x, axis), times(a, factor)),
                  ox_mul(ox_unsqueeze(x0, axis), times(b, factor)));
}

/* [.., 2, n, d] or [.., 2, n] with the axis before the last two, or before the last, merged. */
static ox_val merged(ox_val v, int axis)
{
    ox_dim dims[OX_MAX_RANK + 2];
    int at = v->rank + axis;
    memcpy(dims, v->dims, (size_t)v->rank * sizeof *dims);
    dims[at] = ox_dim_mul(v->graph, dims[at], dims[at + 1]);
    memmove(dims + at + 1, dims + at + 2, (size_t)(v->rank - at - 2) * sizeof *dims);
    return ox_reshape(v, v->rank - 1, dims);
}

/* [.., queries, 2 keys] as [.., queries, 2, keys]. */
static ox_val apart(ox_val v, ox_dim keys)
{
    ox_dim dims[OX_MAX_RANK + 2];
    memcpy(dims, v->dims, (size_t)v->rank * sizeof *dims);
    dims[v->rank - 1] = ox_dim_of(2);
    dims[v->rank] = keys;
    return ox_reshape(v, v->rank + 1, dims);
}

/* A scale that goes into the operands: one number for all, or none. */
static bool is_number(ox_val factor)
{
    return factor == NULL || (factor->rank >= 0 && ox_dim_is(ox_val_size(factor), 1));
}

static bool is_whole(ox_ctx *c, const logits *l)
{
    ox_val y = l->softmax->outputs[0], scores = l->product->outputs[0];
    return l->plain && c->sides->own(c, l->softmax) && !c->squared && !c->second &&
           c->sent == NULL && c->spot == NULL && c->frozen == 0 && is_number(l->factor) &&
           (l->shown == NULL || l->shown->rank > 0) && y->rank >= 2 && y->rank < OX_MAX_RANK - 3 &&
           scores->rank == y->rank && ox_dims_equal(y->rank, y->dims, scores->dims) &&
           ox_dims_static(2, y->dims + y->rank - 2);
}

bool ox_attention(ox_ctx *c)
{
    logits l;
    if (c->squared || !find_logits(c, &l) || !is_whole(c, &l)) {
        return false;
    }
    ox_ctx at = *c, qk = *c;
    at.node = l.softmax;
    qk.node = l.product;
    ox_val factor = l.factor == NULL ? NULL : ox_reshape(l.factor, 0, NULL);
    ox_val logs = ox_log_softmax(ox_after(c->m, ox_x(&at, 0)));
    ox_val logs0 = ox_log_softmax(ox_x0(&at, 0));
    ox_val q = ox_after(c->m, ox_x(&qk, 0)), k = ox_after(c->m, ox_x(&qk, 1));
    ox_val v = ox_after(c->m, ox_x(c, 1));
    ox_val q0 = ox_x0(&qk, 0), k0 = ox_x0(&qk, 1), v0 = ox_x0(c, 1);

    ox_val m = ox_matmul(c->m, ox_swap_last(merged(both(v, v0, -3, 1.0 / 12, NULL), -3)));
    m = apart(m, logs->dims[logs->rank - 1]);
    m = ox_softmax_flow(m, ox_unsqueeze(logs, -2), ox_unsqueeze(logs0, -2));
    ox_val keys = merged(both(k, k0, -2, 1, factor), -2);
    m = times(m, l.shown == NULL ? NULL : ox_unsqueeze(l.shown, -2));
    ox_send(&qk, 0, ox_matmul(merged(m, -2), ox_swap_last(keys)));
    ox_val queries = merged(both(q, q0, -2, 1, factor), -3);
    ox_send(&qk, 1, ox_matmul(ox_swap_last(queries), merged(m, -3)));

    ox_val sixth = times(ox_number(q, -1.0 / 6), factor);
    ox_val dq = ox_sub(ox_mul(q, sixth), ox_mul(q0, sixth));
    ox_val products = times(ox_matmul(dq, ox_sub(k, k0)), l.shown);
    ox_val shares = ox_shares_flow(products, logs, logs0);
    ox_send(c, 1, ox_matmul(ox_swap_last(shares), c->m));
    return true;
}

/* ---- shares alone ----------------------------------------------------------------------------
 */

/* x - x0, not before m is there. */
static ox_val change(ox_ctx *c, size_t i, ox_val m)
{
    return ox_sub(ox_after(m, ox_x(c, i)), ox_x0(c, i));
}

void ox_attention_share(ox_ctx *c)
{
    logits l;
    if (!find_logits(c, &l)) {
        return;
    }
    ox_val factor = l.factor;
    ox_ctx at = *c, qk = *c;
    at.node = l.softmax;
    qk.node = l.product;
    ox_val logs = ox_log_softmax(ox_after(c->m, ox_x(&at, 0)));
    ox_val logs0 = ox_log_softmax(ox_x0(&at, 0));
    ox_val dq = change(&qk, 0, c->m), dk = change(&qk, 1, c->m), dv = change(c, 1, c->m);

    ox_val shared = ox_softmax_flow(ox_matmul(c->m, ox_swap_last(dv)), logs, logs0);
    shared = ox_scale(times(shared, factor), 1.0 / 12);
    ox_send(&qk, 0, ox_matmul(shared, ox_swap_last(dk)));
    ox_send(&qk, 1, ox_matmul(ox_swap_last(dq), shared));
    ox_val lost = ox_softmax_flow(times(ox_matmul(dq, dk), factor), logs, logs0);
    ox_send(c, 1, ox_matmul(ox_swap_last(ox_scale(lost, -1.0 / 6)), c->m));
}
