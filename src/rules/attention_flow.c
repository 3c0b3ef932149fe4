/* Attention, softmax(q k + mask) v, is a product of three: the matrix products by pairs give the
 * third, v, all of what the changes of all three make together, where the Shapley value of a
 * product of three players gives each a third. This moves the shares, with no effect on the sum.
 *
 * A product q k v of numbers is pairwise dq mid(k) mid(v), mid(q) dk mid(v), and for v
 * (mid(q) mid(k) + dq dk/4) dv; three players get dq (mid(k) mid(v) + dk dv/12) and alike. So dq dk
 * dv/12 goes from v to q and to k. With the softmax between, whose rule m -> A m is linear and
 * symmetric in m: q gets A(m dv) dk/12, k gets A(m dv) dq/12, and v loses A(dq dk) m/6. */
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

/* The product that the logits v are made of by scales and masks, NULL where it is not one of two
 * that vary. Multiplies *factor, NULL for 1, by the scales; masked positions pass nothing anyhow.
 */
static const ox_node *product_of(ox_ctx *c, ox_val v, ox_val *factor)
{
    static const char *const steps[] = {"Add", "Sub", "Mul", "Div", "Where", "Identity"};
    for (const ox_node *n = ox_maker_of(v); n != NULL;) {
        if (ox_node_is(n, "MatMul")) {
            return ox_input_varies(n, 0) && ox_input_varies(n, 1) ? n : NULL;
        }
        bool known = false;
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            known = known || ox_node_is(n, steps[i]);
        }
        int i = known ? varying_input(n) : -1;
        if (i < 0 || (ox_node_is(n, "Sub") && i != 0) || (ox_node_is(n, "Div") && i != 0) ||
            (ox_node_is(n, "Where") && i == 0) || n->inputs[i]->rank != n->outputs[0]->rank) {
            return NULL;
        }
        ox_ctx at = *c;
        at.node = n;
        if (ox_node_is(n, "Mul") || ox_node_is(n, "Div")) {
            ox_val scale = ox_x(&at, ox_node_is(n, "Mul") ? 1 - (size_t)i : 1);
            scale = ox_node_is(n, "Mul") ? scale : ox_unary("Reciprocal", scale);
            *factor = *factor == NULL ? scale : ox_mul(*factor, scale);
        }
        n = ox_maker_of(n->inputs[i]);
    }
    return NULL;
}

/* x - x0, not before m is there. */
static ox_val change(ox_ctx *c, size_t i, ox_val m)
{
    return ox_sub(ox_after(m, ox_x(c, i)), ox_x0(c, i));
}

static ox_val times(ox_val v, ox_val factor)
{
    return factor == NULL ? v : ox_mul(v, factor);
}

void ox_attention_share(ox_ctx *c)
{
    const ox_node *softmax = c->node->inputs[0]->node;
    ox_val factor = NULL;
    bool matrices = c->node->inputs[0]->rank >= 2 && c->node->inputs[1]->rank >= 2;
    if (!matrices || !ox_varies(c, 1) || !ox_node_is(softmax, "Softmax") || !last_axis(softmax)) {
        return;
    }
    const ox_node *product = product_of(c, softmax->inputs[0], &factor);
    if (product == NULL || product->inputs[0]->rank < 2 || product->inputs[1]->rank < 2) {
        return;
    }
    ox_ctx logits = *c, qk = *c;
    logits.node = softmax;
    qk.node = product;
    ox_val x = ox_x(&logits, 0), x0 = ox_x0(&logits, 0);
    ox_val dq = change(&qk, 0, c->m), dk = change(&qk, 1, c->m), dv = change(c, 1, c->m);

    ox_val shared = ox_softmax_flow(ox_matmul(c->m, ox_swap_last(dv)), x, x0);
    shared = ox_scale(times(shared, factor), 1.0 / 12);
    ox_send(&qk, 0, ox_matmul(shared, ox_swap_last(dk)));
    ox_send(&qk, 1, ox_matmul(ox_swap_last(dq), shared));
    ox_val lost = ox_softmax_flow(times(ox_matmul(dq, dk), factor), x, x0);
    ox_send(c, 1, ox_matmul(ox_swap_last(ox_scale(lost, -1.0 / 6)), c->m));
}
