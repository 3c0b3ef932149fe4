/* Rules of operators of two operands that are neither sums nor products. Such a y = f(a, b) is a
 * game of two players: a's part is f(a, .) - f(a0, .), averaged over the two sides of b, and its
 * multiplier that part over a - a0. With one operand constant this is the divided difference. */
#include "rules/second.h"

#include <string.h>

/* ---- Min and Max ------------------------------------------------------------------------- */

/* a's multiplier, where the other operand is b. */
static ox_val extreme_flow(bool max, ox_val m, ox_operand a, ox_operand b)
{
    ox_val in[] = {m, a.x, a.x0, b.x, b.x0};
    return b.varies ? ox_flow(max ? "Max" : "Min", in)
                    : ox_flow(max ? "LowerBound" : "UpperBound", in);
}

/* Infinite bounds are common and would leave nothing of a difference. */
static ox_operand bounded_operand(ox_ctx *c, size_t i)
{
    ox_operand o = ox_operand_of(c, i);
    ox_val x = ox_finite(o.x);
    return (ox_operand){x, o.varies ? ox_finite(o.x0) : x, o.varies};
}

/* y = op(... op(op(x_0, x_1), x_2) ...): from the last pair to the first. */
void flow_extreme(ox_ctx *c)
{
    bool max = strcmp(c->node->op, "Max") == 0;
    size_t count = c->node->input_count;
    ox_operand *x = ox_arena_alloc(c->g->arena, count, sizeof *x);
    ox_operand *partial = ox_arena_alloc(c->g->arena, count, sizeof *partial);
    for (size_t i = 0; i < count; i++) {
        x[i] = bounded_operand(c, i);
        partial[i] = x[i];
        if (i > 0) {
            const ox_operand before = partial[i - 1];
            partial[i].x = ox_binary(c->node->op, before.x, x[i].x);
            partial[i].varies = before.varies || x[i].varies;
            partial[i].x0 =
                partial[i].varies ? ox_binary(c->node->op, before.x0, x[i].x0) : partial[i].x;
        }
    }
    ox_val m = c->m;
    for (size_t i = count; i-- > 1;) {
        if (x[i].varies) {
            ox_send(c, i, extreme_flow(max, m, x[i], partial[i - 1]));
        }
        if (!partial[i - 1].varies) {
            return;
        }
        m = extreme_flow(max, m, partial[i - 1], x[i]);
    }
    ox_send(c, 0, m);
}

/* ---- PRelu ------------------------------------------------------------------------------- */

static ox_unit prelu_unit(ox_ctx *c, ox_operand x, ox_val slope, ox_val v)
{
    ox_unit u = {.name = "PRelu", .v = v, .off = ox_off_path(c)};
    u.p = (ox_pair){.x = x.x, .x0 = x.x0, .a = slope};
    u.y = ox_cast(ox_y(c, 0), v->type);
    u.y0 = ox_cast(ox_y0(c, 0), v->type);
    return u;
}

ox_val ox_mean_of_prelu(ox_ctx *c)
{
    ox_operand x = ox_operand_in(c, 0), s = ox_operand_in(c, 1);
    ox_val v = ox_variance(c->node->inputs[0]);
    if (!x.varies || s.varies || v == NULL) {
        return NULL;
    }
    ox_unit u = prelu_unit(c, x, s.x, v);
    return ox_smooth_value(&u, c->node, ox_mean_of_input(c, 0));
}

/* y = relu(x) + s min(x, 0): a product, and LeakyRelu with the slope in the middle. */
void flow_prelu(ox_ctx *c)
{
    ox_operand x = ox_operand_of(c, 0), s = ox_operand_of(c, 1);
    ox_val v = ox_variance(c->node->inputs[0]);
    if (x.varies && !s.varies && c->second && v != NULL) {
        ox_unit u = prelu_unit(c, x, s.x, v);
        ox_second sent = ox_through_unit(&u, c->m, ox_arrived_second(c));
        ox_send(c, 0, sent.m);
        ox_send_second(c, 0, sent.q);
        return;
    }
    ox_take_in(c);
    ox_val in[] = {c->m, x.x, x.x0, s.varies ? ox_mean(s.x, s.x0) : s.x};
    if (x.varies) {
        ox_send(c, 0, ox_flow("PRelu", in));
    }
    if (s.varies) {
        ox_send(c, 1, ox_flow("PReluSlope", in));
    }
}

/* ---- steps ------------------------------------------------------------------------------- */

/* `high` and `low`: y with the operand as the sample and as the reference has it. A change of text
 * counts as 1. */
static ox_val step_flow(ox_ctx *c, ox_val high, ox_val low, ox_operand o)
{
    ox_type type = c->m->type;
    if (o.x->type == OX_STRING) {
        return ox_mul(c->m, ox_sub(ox_cast(high, type), ox_cast(low, type)));
    }
    ox_val in[] = {c->m, ox_cast(high, type), ox_cast(low, type), ox_cast(o.x, type),
                   ox_cast(o.x0, type)};
    return ox_flow("Step", in);
}

/* The operator at hand at a corner, in the type of the multipliers. */
static ox_val corner(ox_ctx *c, ox_val a, ox_val b)
{
    ox_val in[] = {a, b};
    const ox_node *n = c->node;
    ox_val y = ox_graph_emit(c->g, n->op, 2, in, n->attr_count, n->attrs);
    return ox_cast(y, c->m->type);
}

/* y = f(x) or f(a, b) that changes in steps. */
void flow_step(ox_ctx *c)
{
    ox_operand a = ox_operand_raw(c, 0);
    if (!ox_varies(c, 1) || !a.varies) {
        size_t i = a.varies ? 0 : 1;
        bool text = c->node->outputs[0]->type == OX_STRING;
        ox_val y = text ? ox_number(c->m, 1) : ox_y(c, 0);
        ox_val y0 = text ? ox_number(c->m, 0) : ox_y0(c, 0);
        ox_send(c, i, step_flow(c, y, y0, ox_operand_raw(c, i)));
        return;
    }
    ox_operand b = ox_operand_raw(c, 1);
    ox_val y = corner(c, a.x, b.x), y0 = corner(c, a.x0, b.x0);
    ox_val only_a = corner(c, a.x, b.x0), only_b = corner(c, a.x0, b.x);
    ox_send(c, 0, step_flow(c, ox_mean(y, only_a), ox_mean(only_b, y0), a));
    ox_send(c, 1, step_flow(c, ox_mean(y, only_b), ox_mean(only_a, y0), b));
}

/* To a floating-point type the value stays, to an integer or a bool it is cut off. */
void flow_cast(ox_ctx *c)
{
    bool text = ox_node_input(c->node, 0)->type == OX_STRING;
    if (ox_type_is_float(c->node->outputs[0]->type) && !text) {
        ox_send(c, 0, c->m);
        return;
    }
    flow_step(c);
}

/* ---- text ---------------------------------------------------------------------------------- */

/* 1 where operand i changes. */
static ox_val changes(ox_ctx *c, size_t i)
{
    ox_operand o = ox_operand_raw(c, i);
    return ox_cast(ox_unary("Not", ox_equal(o.x, o.x0)), c->m->type);
}

/* y = a b, one text behind the other: both have the same part in it. */
void flow_string_concat(ox_ctx *c)
{
    if (!ox_varies(c, 0) || !ox_varies(c, 1)) {
        ox_send(c, ox_varies(c, 0) ? 0 : 1, c->m);
        return;
    }
    ox_val a = changes(c, 0), b = changes(c, 1);
    ox_val share = ox_div(c->m, ox_max(ox_add(a, b), ox_number(a, 1)));
    ox_send(c, 0, ox_mul(share, a));
    ox_send(c, 1, ox_mul(share, b));
}

/* Letters in another case. */
void flow_string_normalizer(ox_ctx *c)
{
    if (ox_node_attr(c->node, "stopwords") != NULL) {
        ox_rule_fail(c, "it leaves out words, so that others take their place");
    }
    ox_send(c, 0, c->m);
}

/* ---- Pow --------------------------------------------------------------------------------- */

/* (high - low)/(x - x0), or the slope in the middle where x and x0 are too close for it: a
 * thousandth (a hundred thousandth for doubles) apart the slope is off by a part in 10^7 (10^11).
 * `size` is what the distance is measured by. */
static ox_val ratio(ox_val high, ox_val low, ox_val x, ox_val x0, ox_val size, ox_val slope)
{
    ox_val dx = ox_sub(x, x0);
    ox_val near = ox_scale(size, x->type == OX_DOUBLE ? 1e-5 : 1e-3);
    ox_val close = ox_unary("Not", ox_greater(ox_abs(dx), near));
    ox_val safe = ox_where(close, ox_number(x, 1), dx);
    return ox_where(close, slope, ox_div(ox_sub(high, low), safe));
}

static ox_val power(ox_val a, ox_val b)
{
    return ox_binary("Pow", a, b);
}

/* ((a^b - a0^b)/(a - a0) + the same with b0) / 2 */
static ox_val base_body(const ox_val *in, const void *user)
{
    (void)user;
    ox_val a = in[1], a0 = in[2], middle = ox_mean(a, a0);
    ox_val size = ox_max(ox_abs(a), ox_abs(a0));
    ox_val part[2];
    for (int i = 0; i < 2; i++) {
        ox_val b = in[3 + i];
        ox_val slope = ox_mul(b, power(middle, ox_shift(b, -1)));
        part[i] = ratio(power(a, b), power(a0, b), a, a0, size, slope);
    }
    return ox_mul(in[0], ox_mean(part[0], part[1]));
}

/* ((a^b - a^b0)/(b - b0) + the same with a0) / 2; 0^b and (-1)^b have no slope of their own. */
static ox_val exponent_body(const ox_val *in, const void *user)
{
    (void)user;
    ox_val b = in[3], b0 = in[4], middle = ox_mean(b, b0);
    ox_val part[2];
    for (int i = 0; i < 2; i++) {
        ox_val a = in[1 + i];
        ox_val positive = ox_greater(a, ox_number(a, 0)), one = ox_number(a, 1);
        ox_val safe = ox_where(positive, a, one);
        ox_val slope = ox_mul(ox_log(safe), power(safe, middle));
        part[i] = ratio(power(a, b), power(a, b0), b, b0, one, slope);
    }
    return ox_mul(in[0], ox_mean(part[0], part[1]));
}

/* y = a^b. */
void flow_pow(ox_ctx *c)
{
    if (!ox_varies(c, 1)) {
        flow_power(c);
        return;
    }
    ox_operand a = ox_operand_of(c, 0), b = ox_operand_of(c, 1);
    ox_val in[] = {c->m, a.x, a.x0, b.x, b.x0};
    if (a.varies) {
        ox_send(c, 0, ox_call("PowBaseFlow", base_body, NULL, 5, in));
    }
    ox_send(c, 1, ox_call("PowExponentFlow", exponent_body, NULL, 5, in));
}
