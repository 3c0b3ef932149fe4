/* Attention, softmax(q k + mask) v, is a product of three: the matrix products by pairs give the
 * third, v, all of what the changes of all three make together, where the Shapley value of a
 * product of three players gives each a third. This moves the shares, with no effect on the sum.
 *
 * A product q k v of numbers is pairwise dq mid(k) mid(v), mid(q) dk mid(v), and for v
 * (mid(q) mid(k) + dq dk/4) dv; three players get dq (mid(k) mid(v) + dk dv/12) and alike. So dq dk
 * dv/12 goes from v to q and to k. With the softmax between, whose rule m -> A m is linear and
 * symmetric in m: q gets A(m dv) dk/12, k gets A(m dv) dq/12, and v loses A(dq dk) m/6.
 *
 * Where nothing stands in the way, all of it is one function. With M = A(m (v/3 + v0/6)) and M0 =
 * A(m (v/6 + v0/3)) the two shares of q add up to M k + M0 k0, those of k to M q + M0 q0; and what
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

/* ---- all of it ----------------------------------------------------------------------------- */

/* The operands of the function, matrices with the same axes before them. */
enum { M, Q, K, V, L, Q0, K0, V0, L0, SCALE, OPERANDS };
enum { TO_Q, TO_K, TO_V, RESULTS };

/* a/3 + b/6 */
static ox_val mostly(ox_val a, ox_val b)
{
    return ox_add(ox_scale(a, 1.0 / 3), ox_scale(b, 1.0 / 6));
}

/* What the shares make of it, where a product with the scale of each key follows, if there is one.
 */
static ox_val through(const ox_val *in, const ox_shares *shares, ox_val v, bool of_shown)
{
    ox_val m = ox_around_level(ox_matmul(in[M], ox_swap_last(v)), shares);
    return of_shown ? ox_mul(m, in[SCALE]) : m;
}

/* Of a scale that is one number, and so goes into q and k; `shown`: that is another for each key.
 */
static void write_body(const ox_val *in, ox_val *out, bool of_shown)
{
    ox_val q = in[Q], k = in[K], q0 = in[Q0], k0 = in[K0];
    ox_shares shares = ox_shares_of(in[L], in[L0]);
    ox_val dk = ox_sub(k, k0), one_sixth = ox_number(q, -1.0 / 6);
    if (!of_shown) {
        q = ox_mul(q, in[SCALE]);
        q0 = ox_mul(q0, in[SCALE]);
        k = ox_mul(k, in[SCALE]);
        k0 = ox_mul(k0, in[SCALE]);
    }
    ox_val m = through(in, &shares, mostly(in[V], in[V0]), of_shown);
    ox_val m0 = through(in, &shares, mostly(in[V0], in[V]), of_shown);
    out[TO_Q] = ox_add(ox_matmul(m, ox_swap_last(k)), ox_matmul(m0, ox_swap_last(k0)));
    out[TO_K] = ox_add(ox_matmul(ox_swap_last(q), m), ox_matmul(ox_swap_last(q0), m0));
    ox_val product = ox_matmul(ox_sub(ox_mul(q, one_sixth), ox_mul(q0, one_sixth)), dk);
    product = of_shown ? ox_mul(product, in[SCALE]) : product;
    ox_val kept = ox_add(ox_around_level(product, &shares), shares.middle);
    out[TO_V] = ox_matmul(ox_swap_last(kept), in[M]);
}

static void body(const ox_val *in, ox_val *out, const void *user)
{
    (void)user;
    write_body(in, out, false);
}

static void body_of_shown(const ox_val *in, ox_val *out, const void *user)
{
    (void)user;
    write_body(in, out, true);
}

/* With axes of length 1 in front, so that it has as many as m. */
static ox_val as_long_as(ox_val m, ox_val v)
{
    ox_dim dims[OX_MAX_RANK];
    for (int d = 0; d < m->rank; d++) {
        int at = d - (m->rank - v->rank);
        dims[d] = at < 0 ? ox_dim_of(1) : v->dims[at];
    }
    return v->rank >= m->rank ? v : ox_reshape(v, m->rank, dims);
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

/* The scale of the products, and 0 for what is not shown. */
static ox_val scale_of(const logits *l, ox_val like)
{
    ox_val factor = l->factor == NULL ? ox_number(like, 1) : ox_reshape(l->factor, 0, NULL);
    return l->shown == NULL ? factor : ox_mul(l->shown, factor);
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
    ox_val in[OPERANDS] = {
        [M] = c->m,
        [Q] = ox_after(c->m, ox_x(&qk, 0)),
        [K] = ox_after(c->m, ox_x(&qk, 1)),
        [V] = ox_after(c->m, ox_x(c, 1)),
        [L] = ox_log_softmax(ox_after(c->m, ox_x(&at, 0))),
        [Q0] = ox_x0(&qk, 0),
        [K0] = ox_x0(&qk, 1),
        [V0] = ox_x0(c, 1),
        [L0] = ox_log_softmax(ox_x0(&at, 0)),
    };
    in[SCALE] = scale_of(&l, in[Q]);
    for (size_t i = 0; i < OPERANDS; i++) {
        in[i] = as_long_as(c->m, in[i]);
    }
    const char *name = l.shown == NULL ? "AttentionFlow%d" : "AttentionFlowOfShown%d";
    ox_val out[RESULTS];
    ox_call_many(ox_arena_format(c->g->arena, name, c->m->rank),
                 l.shown == NULL ? body : body_of_shown, NULL, OPERANDS, in, RESULTS, out);
    ox_send(&qk, 0, out[TO_Q]);
    ox_send(&qk, 1, out[TO_K]);
    ox_send(c, 1, out[TO_V]);
    return true;
}

/* ---- shares alone -------------------------------------------------------------------------- */

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
