/* Quantised models. Integers stand for real numbers: operators on them are explained as what they
 * do with these, cut to the range of the integers; what rounding makes of that is given to the
 * explained inputs (flow_rounded), so that the sum holds for the integers themselves. */
#include "rules/decompose.h"
#include "rules/second.h"
#include "rules/unary.h"

#include <string.h>

/* ---- integers as numbers --------------------------------------------------------------------- */

static ox_val real(ox_val v, ox_type type)
{
    return v == NULL ? NULL : ox_cast(v, type);
}

/* A scale or zero point as it meets x: one number; one for each index along `axis`; or one for each
 * block of them. */
static ox_val spread(const ox_node *n, ox_val v, ox_val x, int axis, int64_t block)
{
    if (v == NULL || v->rank == 0) {
        return v;
    }
    if (v->rank < 0 || x->rank < 0) {
        ox_shape_fail(n);
    }
    if (block > 0 && v->rank == x->rank) {
        ox_dim dims[32];
        int at = axis + 1;
        memcpy(dims, v->dims, (size_t)at * sizeof *dims);
        dims[at] = ox_dim_of(block);
        memcpy(dims + at + 1, v->dims + at, (size_t)(v->rank - at) * sizeof *dims);
        ox_val wide = ox_expand(ox_unsqueeze(v, at), v->rank + 1, dims);
        memmove(dims + at, dims + at + 1, (size_t)(v->rank - at) * sizeof *dims);
        dims[axis] = ox_dim_mul(v->graph, v->dims[axis], ox_dim_of(block));
        wide = ox_reshape(wide, v->rank, dims);
        return ox_slice(wide, axis, 0, ox_made_size(n, x, axis), 1);
    }
    if (v->rank == x->rank && v->rank > 1) {
        return v;
    }
    if (v->rank != 1) {
        ox_made_fail(n, "no rule for the shape of its scale");
    }
    return ox_dim_is(v->dims[0], 1) ? v : ox_made_column(v, x->rank - axis - 1);
}

/* (x - zero) scale; scale may be NULL. */
static ox_val dequantized(const ox_node *n, size_t x, size_t scale, size_t zero, int axis,
                          int64_t block)
{
    ox_val s = scale == 0 ? NULL : ox_made_ranked(n, scale);
    ox_type type = s == NULL ? OX_FLOAT : s->type;
    ox_val v = ox_node_input(n, x), z = real(ox_node_input(n, zero), type), y = real(v, type);
    y = z == NULL ? y : ox_sub(y, spread(n, z, v, axis, block));
    return s == NULL ? y : ox_mul(y, spread(n, s, v, axis, block));
}

void decompose_dequantize(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    int axis = x->rank < 2 ? 0 : ox_shape_axis(n, ox_node_int(n, "axis", 1), x->rank);
    outputs[0] = dequantized(n, 0, 1, 2, axis, ox_node_int(n, "block_size", 0));
}

/* ---- numbers as integers --------------------------------------------------------------------- */

/* A node that is never computed: its input 1 is the output that it stands for. */
ox_val ox_made_rounded(const ox_node *n, size_t i, ox_val exact)
{
    ox_val y = n->outputs[i];
    ox_val in[] = {exact, y};
    ox_val out =
        ox_graph_emit_node(n->graph, "onnxexplainer", "Rounded", 2, in, 1, 0, NULL)->outputs[0];
    out->type = y->type;
    out->rank = y->rank;
    out->dims = y->dims;
    return out;
}

/* Output 0 of n: x/scale + zero, rounded. */
static ox_val quantized(const ox_node *n, ox_val x, size_t scale, size_t zero, int axis,
                        int64_t block)
{
    ox_val s = ox_cast(ox_made_ranked(n, scale), x->type);
    ox_val z = real(ox_node_input(n, zero), x->type);
    ox_val exact = ox_div(x, spread(n, s, x, axis, block));
    return ox_made_rounded(n, 0, z == NULL ? exact : ox_add(exact, spread(n, z, x, axis, block)));
}

/* Cuts u to the numbers that a type has; where they are not known, by rounding alone. */
static bool range_of(ox_type type, double *least, double *most)
{
    static const struct {
        ox_type type;
        double least, most;
    } ranges[] = {
        {OX_UINT8, 0, UINT8_MAX},         {OX_INT8, INT8_MIN, INT8_MAX},
        {OX_UINT16, 0, UINT16_MAX},       {OX_INT16, INT16_MIN, INT16_MAX},
        {OX_INT32, INT32_MIN, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (ranges[i].type == type) {
            *least = ranges[i].least;
            *most = ranges[i].most;
            return true;
        }
    }
    return false;
}

/* What one side of a rounding is: u, what it is cut to, and the integer. */
typedef struct rounding {
    ox_val u, cut, y;
} rounding;

/* Infinities become the ends of the range, and NaN what the runtime makes of it: u is what stands
 * for them there, and the effect passes to what made it so. */
static ox_val pass_beyond(ox_val arrived, ox_val m, rounding *a, rounding *b)
{
    ox_val far = ox_is_standin(a->u), far0 = ox_is_standin(b->u), d = ox_sub(a->u, b->u);
    a->cut = ox_where(far, a->y, a->cut);
    b->cut = ox_where(far0, b->y, b->cut);
    ox_val still = ox_indicator(ox_equal(d, ox_number(d, 0)), d);
    ox_val slope = ox_div(ox_sub(a->cut, b->cut), ox_add(d, still));
    return ox_where(ox_binary("Or", far, far0), ox_mul(arrived, slope), m);
}

/* The slope of the cut to the range of the integers, NULL: 1. */
static ox_val cut_slope(ox_ctx *c, ox_type type)
{
    double least, most;
    if (!range_of(c->node->outputs[0]->type, &least, &most)) {
        return NULL;
    }
    ox_val u = ox_cast(ox_x(c, 0), type), u0 = ox_cast(ox_x0(c, 0), type);
    return ox_flow("Clip",
                   (ox_val[]){ox_number(u, 1), u, u0, ox_number(u, least), ox_number(u, most)});
}

ox_val ox_variance_of_rounded(ox_ctx *c)
{
    ox_val v = ox_variance_of(c, 0), slope = v == NULL ? NULL : cut_slope(c, v->type);
    return slope == NULL ? v : ox_mul(v, ox_square(slope));
}

/* y = c + e, where c is u cut to the range of the integers and e what rounding adds. The multiplier
 * passes the cut, whose slope is at most 1. de/du is as large as 1/du: sum(m de) goes to the
 * explained inputs. */
void flow_rounded(ox_ctx *c)
{
    if (c->squared) {
        ox_val slope = cut_slope(c, c->m->type);
        ox_send(c, 0, slope == NULL ? c->m : ox_mul(c->m, ox_square(slope)));
        return;
    }
    ox_type type = c->m->type;
    ox_val u = ox_cast(ox_x(c, 0), type), u0 = ox_cast(ox_x0(c, 0), type), m = c->m;
    rounding a = {u, u, ox_cast(ox_x(c, 1), type)}, b = {u0, u0, ox_cast(ox_x0(c, 1), type)};
    double least, most;
    if (range_of(c->node->outputs[0]->type, &least, &most)) {
        a.cut = ox_clip(u, least, most);
        b.cut = ox_clip(u0, least, most);
        m = ox_flow("Clip", (ox_val[]){m, u, u0, ox_number(m, least), ox_number(m, most)});
    }
    if (ox_stands_in(c, 0)) {
        m = pass_beyond(c->m, m, &a, &b);
    }
    ox_send(c, 0, m);
    ox_rest(c, ox_mul(c->m, ox_sub(ox_sub(a.y, a.cut), ox_sub(b.y, b.cut))));
}

void decompose_quantize(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    int axis = x->rank < 2 ? 0 : ox_shape_axis(n, ox_node_int(n, "axis", 1), x->rank);
    outputs[0] = quantized(n, x, 1, 2, axis, ox_node_int(n, "block_size", 0));
}

/* Of integers: what it is of numbers, rounded. */
void decompose_resize(const ox_node *n, ox_val *outputs)
{
    double least, most;
    if (!range_of(n->outputs[0]->type, &least, &most) ||
        strcmp(ox_node_string(n, "mode", "nearest"), "nearest") == 0) {
        return;
    }
    ox_val *in = ox_arena_copy(n->graph->arena, n->inputs, n->input_count, sizeof *in);
    in[0] = ox_cast(ox_made_ranked(n, 0), OX_FLOAT);
    ox_val y = ox_graph_emit(n->graph, "Resize", n->input_count, in, n->attr_count, n->attrs);
    y->rank = n->outputs[0]->rank;
    y->dims = n->outputs[0]->dims;
    outputs[0] = ox_made_rounded(n, 0, y);
}

/* Whether NaN of an input may come as far as v. */
static bool may_be_missing(ox_val v)
{
    static const char *const passing[] = {
        "Add", "Cast", "Clip",    "Concat", "Div",     "Flatten", "Gather",    "Identity",
        "Mul", "Relu", "Reshape", "Slice",  "Squeeze", "Sub",     "Transpose", "Unsqueeze"};
    bool passes = true;
    while (v != NULL && v->node != NULL && passes) {
        passes = false;
        for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
            passes = passes || ox_node_is(v->node, passing[i]);
        }
        v = v->node->inputs[0];
    }
    return passes;
}

/* scale = (max(x, 0) - min(x, 0))/255, zero = round(-min/scale), y = round(x/scale) + zero. The
 * maximum and minimum are over all samples, as in the operator, and over what is a number. */
void decompose_dynamic_quantize(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), nothing = ox_number(x, 0), all = x;
    ox_attr keep = ox_attr_int("keepdims", 0);
    if (may_be_missing(x)) {
        all = ox_where(ox_unary("IsNaN", x), nothing, x);
    }
    ox_val top = ox_max(ox_graph_emit(x->graph, "ReduceMax", 1, &all, 1, &keep), nothing);
    ox_val low = ox_min(ox_graph_emit(x->graph, "ReduceMin", 1, &all, 1, &keep), nothing);
    ox_val range = ox_shift(ox_sub(top, low), 1e-30); /* of zeros alone it is 0 */
    ox_val scale = ox_scale(range, 1.0 / 255), zero = ox_div(ox_neg(low), scale);
    outputs[0] = ox_made_rounded(n, 0, ox_add(ox_div(x, scale), zero));
    if (n->output_count > 1) {
        outputs[1] = scale;
    }
    if (n->output_count > 2) {
        outputs[2] = ox_made_rounded(n, 2, zero);
    }
}

/* ---- products -------------------------------------------------------------------------------- */

/* Conv with the attributes of n; the channels of x and of the result may be last. */
static ox_val convolved(const ox_node *n, ox_val x, ox_val w, ox_val bias)
{
    static const int front[] = {0, 3, 1, 2}, back[] = {0, 2, 3, 1};
    bool last = ox_node_int(n, "channels_last", 0) != 0;
    ox_attr *attrs = ox_arena_alloc(n->graph->arena, n->attr_count + 1, sizeof *attrs);
    size_t count = 0;
    for (size_t i = 0; i < n->attr_count; i++) {
        if (strcmp(n->attrs[i].name, "channels_last") != 0) {
            attrs[count++] = n->attrs[i];
        }
    }
    if (last && x->rank != 4) {
        ox_made_fail(n, "no rule for its number of axes");
    }
    ox_val in[] = {last ? ox_transpose(x, front) : x, w, bias};
    ox_val y = ox_graph_emit(x->graph, "Conv", bias == NULL ? 2 : 3, in, count, attrs);
    return last ? ox_transpose(y, back) : y;
}

/* x, its scale and zero, w, scale, zero, scale and zero of y, bias in units of both scales. */
void decompose_qlinear_conv(const ox_node *n, ox_val *outputs)
{
    ox_val x = dequantized(n, 0, 1, 2, 1, 0), w = dequantized(n, 3, 4, 5, 0, 0);
    ox_val bias = ox_node_input(n, 8);
    if (bias != NULL) {
        ox_val unit = ox_mul(ox_made_input(n, 1), ox_made_input(n, 4));
        bias = ox_mul(real(bias, x->type), unit);
    }
    outputs[0] = quantized(n, convolved(n, x, w, bias), 6, 7, 1, 0);
}

/* Along which axis the scales of a matrix lie: of a the rows, of b the columns. */
void decompose_qlinear_matmul(const ox_node *n, ox_val *outputs)
{
    ox_val a = ox_made_ranked(n, 0), b = ox_made_ranked(n, 3);
    ox_val left = dequantized(n, 0, 1, 2, a->rank > 1 ? a->rank - 2 : 0, 0);
    ox_val right = dequantized(n, 3, 4, 5, b->rank - 1, 0);
    outputs[0] = quantized(n, ox_matmul(left, right), 6, 7, 0, 0);
}

void decompose_conv_integer(const ox_node *n, ox_val *outputs)
{
    outputs[0] = convolved(n, dequantized(n, 0, 0, 2, 1, 0), dequantized(n, 1, 0, 3, 0, 0), NULL);
}

static ox_val integer_product(const ox_node *n, size_t zero_a, size_t zero_b)
{
    ox_val a = ox_made_ranked(n, 0), b = ox_made_ranked(n, 1);
    int row = a->rank > 1 ? a->rank - 2 : 0, column = b->rank - 1;
    return ox_matmul(dequantized(n, 0, 0, zero_a, row, 0), dequantized(n, 1, 0, zero_b, column, 0));
}

void decompose_matmul_integer(const ox_node *n, ox_val *outputs)
{
    outputs[0] = integer_product(n, 2, 3);
}

/* ---- com.microsoft --------------------------------------------------------------------------- */

/* "QLinearAdd" is Add, and so on. */
static const char *plain_name(const ox_node *n)
{
    return n->op + strlen("QLinear");
}

/* QLinearAdd, QLinearMul: a, scale, zero, b, scale, zero, scale and zero of y. */
void decompose_qlinear_binary(const ox_node *n, ox_val *outputs)
{
    ox_val a = dequantized(n, 0, 1, 2, 0, 0), b = dequantized(n, 3, 4, 5, 0, 0);
    outputs[0] = quantized(n, ox_binary(plain_name(n), a, b), 6, 7, 0, 0);
}

/* QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax, QLinearAveragePool, QLinearGlobalAveragePool,
 * QLinearReduceMean: x, scale, zero, scale and zero of y. */
void decompose_qlinear_unary(const ox_node *n, ox_val *outputs)
{
    if (ox_node_int(n, "channels_last", 0) != 0) {
        ox_made_fail(n, "no rule for channels_last");
    }
    ox_attr *attrs = ox_arena_alloc(n->graph->arena, n->attr_count + 1, sizeof *attrs);
    size_t count = 0;
    for (size_t i = 0; i < n->attr_count; i++) {
        if (strcmp(n->attrs[i].name, "channels_last") != 0 &&
            strcmp(n->attrs[i].name, "opset") != 0) {
            attrs[count++] = n->attrs[i];
        }
    }
    ox_val x = dequantized(n, 0, 1, 2, 0, 0);
    ox_val y = ox_graph_emit(x->graph, plain_name(n), 1, &x, count, attrs);
    outputs[0] = quantized(n, y, 3, 4, 0, 0);
}

/* Condition, x, scale, zero, y, scale, zero, scale and zero of z. */
void decompose_qlinear_where(const ox_node *n, ox_val *outputs)
{
    ox_val x = dequantized(n, 1, 2, 3, 0, 0), y = dequantized(n, 4, 5, 6, 0, 0);
    outputs[0] = quantized(n, ox_where(ox_made_ranked(n, 0), x, y), 7, 8, 0, 0);
}

/* MaxPool of integers, channels last. */
void decompose_nhwc_max_pool(const ox_node *n, ox_val *outputs)
{
    static const int front[] = {0, 3, 1, 2}, back[] = {0, 2, 3, 1};
    ox_val x = ox_transpose(real(ox_made_of_rank(n, 0, 4, 4), OX_FLOAT), front);
    ox_val y = ox_graph_emit(n->graph, "MaxPool", 1, &x, n->attr_count, n->attrs);
    outputs[0] = ox_made_rounded(n, 0, ox_transpose(y, back));
}

/* Scale and zero of y, then x, scale, zero for each part. */
void decompose_qlinear_concat(const ox_node *n, ox_val *outputs)
{
    size_t count = (n->input_count - 2) / 3;
    ox_val *parts = ox_arena_alloc(n->graph->arena, count + 1, sizeof *parts);
    for (size_t i = 0; i < count; i++) {
        parts[i] = dequantized(n, 2 + 3 * i, 3 + 3 * i, 4 + 3 * i, 0, 0);
    }
    ox_val y = ox_concat(n->graph, count, parts, ox_node_int(n, "axis", 0));
    outputs[0] = quantized(n, y, 0, 1, 0, 0);
}

/* a, scale, zero, b, scale, zero, c in units of both scales, scale and zero of y, which is real
 * without them. */
void decompose_qgemm(const ox_node *n, ox_val *outputs)
{
    bool across = ox_node_int(n, "transB", 0) != 0;
    ox_val a = dequantized(n, 0, 1, 2, 0, 0), b = dequantized(n, 3, 4, 5, across ? 0 : 1, 0);
    ox_val c = ox_node_input(n, 6);
    double alpha = ox_node_float(n, "alpha", 1);
    if (c != NULL) {
        ox_val unit = ox_mul(ox_made_input(n, 1), ox_made_input(n, 4));
        c = ox_mul(real(c, a->type), ox_scale(unit, alpha));
    }
    ox_attr attrs[] = {ox_attr_int("transA", ox_node_int(n, "transA", 0)),
                       ox_attr_int("transB", across), ox_attr_float("alpha", (float)alpha)};
    ox_val y = ox_graph_emit(a->graph, "Gemm", c == NULL ? 2 : 3, (ox_val[]){a, b, c}, 3, attrs);
    outputs[0] = ox_node_input(n, 7) == NULL ? y : quantized(n, y, 7, 8, 0, 0);
}

/* a, b, their scales, their zeros, bias. */
void decompose_matmul_integer_to_float(const ox_node *n, ox_val *outputs)
{
    ox_val scale = ox_mul(ox_made_input(n, 2), ox_made_input(n, 3));
    outputs[0] = ox_made_plus(ox_mul(integer_product(n, 4, 5), scale), ox_made_input(n, 6));
}

/* a, b, scale and zero of b, bias: a is quantised as by DynamicQuantizeLinear. */
void decompose_dynamic_quantize_matmul(const ox_node *n, ox_val *outputs)
{
    ox_val a = ox_made_ranked(n, 0), b = ox_made_ranked(n, 1);
    ox_node *quantize =
        ox_graph_emit_node(n->graph, "", "DynamicQuantizeLinear", 1, &a, 3, 0, NULL);
    ox_val scale = quantize->outputs[1];
    ox_val left = ox_sub(real(quantize->outputs[0], a->type), real(quantize->outputs[2], a->type));
    ox_val right = dequantized(n, 1, 2, 3, b->rank - 1, 0);
    ox_val y = ox_mul(ox_matmul(left, right), scale);
    outputs[0] = ox_made_plus(y, ox_made_input(n, 4));
}

/* Weights [D, C, 4 H], their scale and zero [D] or [D, 4 H], as LSTM wants them: [D, 4 H, C]. */
static ox_val gate_weights(const ox_node *n, size_t i, size_t scale, size_t zero)
{
    ox_val w = ox_made_of_rank(n, i, 3, 3), s = ox_made_of_rank(n, scale, 1, 2);
    ox_val z = ox_node_input(n, zero);
    w = real(w, s->type);
    if (z != NULL) {
        z = real(z, s->type);
        w = ox_sub(w, z->rank == 2 ? ox_unsqueeze(z, 1) : ox_made_column(z, 2));
    }
    return ox_swap_last(ox_mul(w, s->rank == 2 ? ox_unsqueeze(s, 1) : ox_made_column(s, 2)));
}

/* LSTM, of which inputs and states are rounded to eight bits before each product. */
void decompose_dynamic_quantize_lstm(const ox_node *n, ox_val *outputs)
{
    ox_val in[8];
    for (size_t i = 0; i < 8; i++) {
        in[i] = ox_node_input(n, i);
    }
    in[1] = gate_weights(n, 1, 8, 9);
    in[2] = gate_weights(n, 2, 10, 11);
    size_t count = n->output_count;
    ox_node *exact =
        ox_graph_emit_node(n->graph, "", "LSTM", 8, in, count, n->attr_count, n->attrs);
    for (size_t i = 0; i < count; i++) {
        outputs[i] = ox_made_has_output(n, i) ? ox_made_rounded(n, i, exact->outputs[i]) : NULL;
    }
}
