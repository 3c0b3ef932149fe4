/* Rules of sums and products.
 *
 * Of a product of two operands each gets the multiplier times the mean of the other's two sides:
 * the Shapley values of a game of two players, and the gradient where the other is constant. Means
 * are taken as x/2 + x0/2: halves of samples and references are small or constant, so that the
 * pairs of them are passed over once. */
#include "rules/second.h"

#include <string.h>

static ox_val mid_of(ox_operand o)
{
    return o.varies ? ox_mean(o.x, o.x0) : o.x;
}

/* ---- sums -------------------------------------------------------------------------------- */

/* y = a + b + ...: m each. */
void flow_add(ox_ctx *c)
{
    for (size_t i = 0; i < c->node->input_count; i++) {
        ox_send(c, i, c->m);
    }
}

/* y = a - b: m and -m. */
void flow_sub(ox_ctx *c)
{
    ox_send(c, 0, c->m);
    ox_send(c, 1, c->squared ? c->m : ox_neg(c->m));
}

void flow_neg(ox_ctx *c)
{
    ox_send(c, 0, c->squared ? c->m : ox_neg(c->m));
}

/* y = (a + b + ...) / n: m / n each. */
void flow_mean(ox_ctx *c)
{
    size_t count = c->node->input_count;
    double share = 1.0 / (double)count;
    ox_val m = count == 1 ? c->m : ox_scale(c->m, c->squared ? share * share : share);
    for (size_t i = 0; i < count; i++) {
        ox_send(c, i, m);
    }
}

/* ---- products ---------------------------------------------------------------------------- */

/* Of what varies in one pass over the pairs, but of one number a channel, which may be put off. */
static ox_val times_mid_square(ox_val m, ox_operand o)
{
    ox_val mid = mid_of(o);
    bool thin = mid->rank > 2 && ox_dim_is(mid->dims[mid->rank - 1], 1) &&
                ox_dim_is(mid->dims[mid->rank - 2], 1);
    return thin || !o.varies ? ox_times_thin(m, ox_square(mid))
                             : ox_flow("MulSquare", (ox_val[]){m, o.x, o.x0});
}

static ox_val times_mid(ox_ctx *c, ox_val m, ox_operand o)
{
    if (c->squared) {
        return times_mid_square(m, o);
    }
    return o.varies ? ox_flow("Mul", (ox_val[]){m, o.x, o.x0}) : ox_mul(m, o.x);
}

/* y = a b: m_a = m (b + b0)/2, m_b = m (a + a0)/2. */
void flow_mul(ox_ctx *c)
{
    if (ox_activation(c)) {
        return;
    }
    ox_operand a = ox_operand_of(c, 0), b = ox_operand_of(c, 1);
    if (a.varies) {
        ox_send(c, 0, times_mid(c, c->m, b));
    }
    if (b.varies) {
        ox_send(c, 1, times_mid(c, c->m, a));
    }
}

/* -m a/b/b0 for a constant a. Takes m, a, b, b0. */
static ox_val divide_constant_body(const ox_val *in, const void *user)
{
    (void)user;
    ox_val y = ox_div(in[1], ox_finite(in[2]));
    return ox_mul(ox_mul(in[0], ox_neg(y)), ox_unary("Reciprocal", ox_finite(in[3])));
}

/* Whether b is e^x plus something. */
static bool adds_exp(ox_val b)
{
    const ox_node *sum = ox_maker_of(b);
    if (sum == NULL || strcmp(sum->op, "Add") != 0) {
        return false;
    }
    for (size_t i = 0; i < sum->input_count; i++) {
        const ox_node *n = ox_maker_of(ox_node_input(sum, i));
        if (n != NULL && strcmp(n->op, "Exp") == 0) {
            return true;
        }
    }
    return false;
}

static bool is_integer(ox_type type)
{
    return type != OX_FLOAT && type != OX_DOUBLE && type != OX_FLOAT16 && type != OX_BFLOAT16;
}

/* m times the factor of operand i of a quotient whose divisor varies. */
static ox_val quotient_flow(ox_ctx *c, size_t i, ox_val m)
{
    ox_operand a = ox_operand_in(c, 0), b = ox_operand_in(c, 1);
    if (!a.varies) {
        ox_val in[] = {m, a.x, b.x, b.x0};
        return ox_call("DivideConstantFlow", divide_constant_body, NULL, 4, in);
    }
    if (i == 0) {
        return ox_flow("Dividend", (ox_val[]){m, b.x, b.x0});
    }
    bool exp = adds_exp(ox_node_input(c->node, 1));
    ox_val y = exp ? a.x : ox_cast(ox_y(c, 0), c->type);
    ox_val y0 = exp ? a.x0 : ox_cast(ox_y0(c, 0), c->type);
    return ox_flow(exp ? "DivisorOfExp" : "Divisor", (ox_val[]){m, y, y0, b.x, b.x0});
}

/* The square of the factor of operand i of a product or quotient. */
static ox_val squared_factor(ox_ctx *c, size_t i)
{
    bool quotient = strcmp(c->node->op, "Div") == 0;
    ox_val one = ox_floats(c->g, c->type, 0, NULL, (const double[]){1});
    if (quotient && ox_varies(c, 1)) {
        return ox_square(quotient_flow(c, i, one));
    }
    ox_val other = ox_square(mid_of(ox_operand_in(c, 1 - i)));
    return quotient ? ox_unary("Reciprocal", other) : other;
}

/* y = a / b: the product of a and 1/b. Integers divide in steps. */
void flow_div(ox_ctx *c)
{
    if (is_integer(c->node->outputs[0]->type)) {
        flow_step(c);
        return;
    }
    if (ox_activation(c) || ox_normalization(c)) {
        return;
    }
    if (!ox_varies(c, 1)) {
        ox_send(c, 0, ox_div(c->m, ox_factor(c, ox_operand_of(c, 1).x)));
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        if (ox_varies(c, i)) {
            ox_send(c, i,
                    c->squared ? ox_mul(c->m, squared_factor(c, i)) : quotient_flow(c, i, c->m));
        }
    }
}

ox_val ox_scaler_scale(const ox_node *n, ox_graph *g, ox_type type)
{
    const ox_attr *scale = ox_node_attr(n, "scale");
    if (scale == NULL || scale->kind != OX_ATTR_FLOATS || scale->count == 0) {
        return NULL;
    }
    double *factors = ox_arena_alloc(g->arena, scale->count, sizeof *factors);
    for (size_t i = 0; i < scale->count; i++) {
        factors[i] = (double)scale->floats[i];
    }
    int64_t dims[1] = {(int64_t)scale->count};
    return ox_floats(g, type, 1, dims, factors);
}

/* y = (x - offset) scale of ai.onnx.ml: m scale. */
void flow_scaler(ox_ctx *c)
{
    ox_val scale = ox_scaler_scale(c->node, c->g, c->m->type);
    ox_send(c, 0, scale == NULL ? c->m : ox_mul(c->m, ox_factor(c, scale)));
}

/* ---- matrices ---------------------------------------------------------------------------- */

/* y = A B: m_A = m mid(B)^T, m_B = mid(A)^T m. A vector is a row on the left and a column on the
 * right; y lacks the axis that it does not have. */
void flow_matmul(ox_ctx *c)
{
    if (ox_attention(c)) {
        return;
    }
    ox_val left = ox_node_input(c->node, 0), right = ox_node_input(c->node, 1);
    if (left == NULL || right == NULL || left->rank < 1 || right->rank < 1) {
        ox_shape_fail(c->node);
    }
    bool row = left->rank == 1, column = right->rank == 1;
    ox_val m = column ? ox_unsqueeze(c->m, -1) : c->m;
    m = row ? ox_unsqueeze(m, -2) : m;
    if (ox_varies(c, 0)) {
        ox_val b = mid_of(ox_operand_of(c, 1));
        ox_val back = column ? ox_unsqueeze(b, -2) : ox_swap_last(b);
        ox_val flow = ox_times_right(c, m, back, !ox_varies(c, 1));
        ox_send(c, 0, row ? ox_squeeze(flow, -2) : flow);
    }
    if (ox_varies(c, 1)) {
        ox_val a = mid_of(ox_operand_of(c, 0));
        ox_val back = row ? ox_unsqueeze(a, -1) : ox_swap_last(a);
        ox_val flow = ox_times_left(c, back, m, !ox_varies(c, 0));
        ox_send(c, 1, column ? ox_squeeze(flow, -1) : flow);
    }
    if (!c->squared) {
        ox_attention_share(c);
    }
}

static ox_val plus(ox_val sum, ox_val term)
{
    return sum == NULL ? term : term == NULL ? sum : ox_add(sum, term);
}

ox_val ox_variance_of_matmul(ox_ctx *c)
{
    ox_ctx of = ox_over_variances(c);
    ox_val a = ox_variance_of(c, 0), b = ox_variance_of(c, 1), v = NULL;
    if (a != NULL) {
        v = ox_times_right(&of, a, mid_of(ox_operand_in(c, 1)), !ox_varies(c, 1));
    }
    if (b != NULL) {
        v = plus(v, ox_times_left(&of, mid_of(ox_operand_in(c, 0)), b, !ox_varies(c, 0)));
    }
    return v;
}

static ox_val swapped(ox_val a, bool swap)
{
    return swap ? ox_swap_last(a) : a;
}

static ox_val scaled(ox_val a, double factor)
{
    return factor == 1 ? a : ox_scale(a, factor);
}

/* Y = alpha A B + beta C with A and B transposed where transA and transB say so: as MatMul, and
 * beta m for C. */
void flow_gemm(ox_ctx *c)
{
    bool trans_a = ox_node_int(c->node, "transA", 0) != 0;
    bool trans_b = ox_node_int(c->node, "transB", 0) != 0;
    double alpha = ox_node_float(c->node, "alpha", 1);
    bool varies_a = ox_varies(c, 0), varies_b = ox_varies(c, 1);
    if (varies_a) {
        ox_val b = scaled(mid_of(ox_operand_of(c, 1)), alpha);
        ox_send(c, 0,
                trans_a ? ox_times_left(c, swapped(b, trans_b), ox_swap_last(c->m), !varies_b)
                        : ox_times_right(c, c->m, swapped(b, !trans_b), !varies_b));
    }
    if (varies_b) {
        ox_val a = scaled(mid_of(ox_operand_of(c, 0)), alpha);
        ox_send(c, 1,
                trans_b ? ox_times_right(c, ox_swap_last(c->m), swapped(a, trans_a), !varies_a)
                        : ox_times_left(c, swapped(a, !trans_a), c->m, !varies_a));
    }
    double beta = ox_node_float(c->node, "beta", 1);
    ox_send(c, 2, scaled(c->m, c->squared ? beta * beta : beta));
}

ox_val ox_variance_of_gemm(ox_ctx *c)
{
    ox_ctx of = ox_over_variances(c);
    bool trans_a = ox_node_int(c->node, "transA", 0) != 0;
    bool trans_b = ox_node_int(c->node, "transB", 0) != 0;
    double alpha = ox_node_float(c->node, "alpha", 1), beta = ox_node_float(c->node, "beta", 1);
    ox_val v[3];
    for (size_t i = 0; i < 3; i++) {
        v[i] = ox_variance_of(c, i);
    }
    ox_val sum = v[2] == NULL ? NULL : scaled(v[2], beta * beta);
    if (v[0] != NULL) {
        ox_val b = swapped(scaled(mid_of(ox_operand_in(c, 1)), alpha), trans_b);
        sum = plus(ox_times_right(&of, swapped(v[0], trans_a), b, !ox_varies(c, 1)), sum);
    }
    if (v[1] != NULL) {
        ox_val a = swapped(scaled(mid_of(ox_operand_in(c, 0)), alpha), trans_a);
        sum = plus(ox_times_left(&of, a, swapped(v[1], trans_b), !ox_varies(c, 0)), sum);
    }
    return sum;
}

/* V through a product, a quotient and a Scaler. */
ox_val ox_variance_of_product(ox_ctx *c)
{
    ox_val sum = NULL;
    bool two = c->node->input_count > 1;
    for (size_t i = 0; i < c->node->input_count; i++) {
        ox_val v = ox_variance_of(c, i);
        if (v == NULL) {
            continue;
        }
        if (strcmp(c->node->op, "Mul") == 0) {
            sum = plus(sum, times_mid_square(v, ox_operand_in(c, 1 - i)));
            continue;
        }
        ox_val scale = two ? NULL : ox_scaler_scale(c->node, c->g, c->type);
        ox_val square = two ? squared_factor(c, i) : scale == NULL ? NULL : ox_square(scale);
        sum = plus(sum, square == NULL ? v : ox_times_thin(v, square));
    }
    return sum;
}

/* ---- choice ------------------------------------------------------------------------------ */

static ox_operand opposite(ox_operand c)
{
    ox_val one = ox_number(c.x, 1);
    return (ox_operand){ox_sub(one, c.x), c.varies ? ox_sub(one, c.x0) : NULL, c.varies};
}

/* Operand i of a choice, and in *m its multiplier: where it is beyond numbers on the side that does
 * not choose it, it is what it is on the other side, and gets nothing. `chosen` holds both sides
 * of a bool. */
static ox_operand settled(ox_ctx *c, size_t i, ox_operand chosen, ox_val *m)
{
    ox_operand a = ox_operand_of(c, i);
    if (!a.varies || !ox_stands_in(c, i)) {
        return a;
    }
    ox_val idle = ox_binary("And", ox_is_standin(a.x), ox_unary("Not", chosen.x));
    ox_val idle0 = ox_binary("And", ox_is_standin(a.x0), ox_unary("Not", chosen.x0));
    *m = ox_where(ox_binary("Or", idle, idle0), ox_number(*m, 0), *m);
    return (ox_operand){ox_where(idle, a.x0, a.x), ox_where(idle0, a.x, a.x0), true};
}

/* y = c a + (1 - c) b for a condition c of zeros and ones: products of two operands each. */
/* Of text, of which a change counts as 1: m goes to the condition where that differs, else to what
 * is chosen. */
static void where_of_text(ox_ctx *c)
{
    ox_operand chosen = ox_operand_raw(c, 0);
    ox_val both = ox_binary("And", chosen.x, chosen.x0), none = ox_number(c->m, 0);
    ox_val neither = ox_unary("Not", ox_binary("Or", chosen.x, chosen.x0));
    ox_send(c, 1, ox_where(both, c->m, none));
    ox_send(c, 2, ox_where(neither, c->m, none));
    if (chosen.varies) {
        ox_operand d = ox_operand_of(c, 0);
        ox_send(c, 0, ox_mul(c->m, ox_sub(d.x, d.x0)));
    }
}

void flow_where(ox_ctx *c)
{
    if (c->node->outputs[0]->type == OX_STRING) {
        where_of_text(c);
        return;
    }
    ox_operand condition = ox_operand_of(c, 0), chosen = ox_operand_raw(c, 0);
    ox_operand a = {0}, b = {0};
    ox_val m1 = ox_varies(c, 1) ? times_mid(c, c->m, condition) : NULL;
    ox_val m2 = ox_varies(c, 2) ? times_mid(c, c->m, opposite(condition)) : NULL;
    if (condition.varies) {
        ox_operand rest = {ox_unary("Not", chosen.x), ox_unary("Not", chosen.x0), true};
        a = settled(c, 1, chosen, &m1);
        b = settled(c, 2, rest, &m2);
    }
    if (m1 != NULL) {
        ox_send(c, 1, m1);
    }
    if (m2 != NULL) {
        ox_send(c, 2, m2);
    }
    if (condition.varies) {
        ox_val in[] = {c->m, condition.x, condition.x0, a.x, a.x0, b.x, b.x0};
        ox_send(c, 0, ox_flow("Condition", in));
    }
}
