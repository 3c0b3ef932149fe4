/* Shape inference through the builder: symbols, contents of integer tensors, and what is refused.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/operators.h"
#include "shape/shape.h"

static const ox_dim N = {.size = 1, .batch = 1};

static ox_dim d(int64_t size)
{
    return ox_dim_of(size);
}

/* ---- building --------------------------------------------------------------------------- */

static ox_val input(ox_graph *g, int rank, const ox_dim *dims)
{
    return ox_graph_input(g, NULL, OX_FLOAT, rank, dims);
}

static ox_val list(ox_graph *g, size_t count, const int64_t *items)
{
    int64_t length = (int64_t)count;
    ox_const c = {.type = OX_INT64, .rank = 1, .dims = &length, .data = items, .size = count * 8};
    return ox_graph_constant(g, NULL, &c);
}

static ox_val number(ox_graph *g, int64_t item)
{
    ox_const c = {.type = OX_INT64, .rank = 0, .data = &item, .size = 8};
    return ox_graph_constant(g, NULL, &c);
}

#define LIST(g, ...)                                                                               \
    list(g, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})
#define INPUT(g, ...)                                                                              \
    input(g, (int)(sizeof((ox_dim[]){__VA_ARGS__}) / sizeof(ox_dim)), (ox_dim[]){__VA_ARGS__})
#define INTS(key, ...)                                                                             \
    {                                                                                              \
        .name = (key), .kind = OX_ATTR_INTS, .ints = (const int64_t[]){__VA_ARGS__},               \
        .count = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)                                \
    }
#define INT(key, value)                                                                            \
    {                                                                                              \
        .name = (key), .kind = OX_ATTR_INT, .i = (value)                                           \
    }
#define TEXT(key, value)                                                                           \
    {                                                                                              \
        .name = (key), .kind = OX_ATTR_STRING, .s = (value), .count = sizeof(value) - 1            \
    }

static ox_val emit(ox_graph *g, const char *op, size_t input_count, const ox_val *inputs,
                   size_t attr_count, const ox_attr *attrs)
{
    return ox_graph_emit_node(g, "", op, input_count, inputs, 1, attr_count, attrs)->outputs[0];
}

#define EMIT(g, op, ...)                                                                           \
    emit(g, op, sizeof((ox_val[]){__VA_ARGS__}) / sizeof(ox_val), (ox_val[]){__VA_ARGS__}, 0, NULL)
#define EMIT_WITH(g, op, attrs, ...)                                                               \
    emit(g, op, sizeof((ox_val[]){__VA_ARGS__}) / sizeof(ox_val), (ox_val[]){__VA_ARGS__},         \
         sizeof(attrs) / sizeof(attrs)[0], attrs)

/* ---- checking --------------------------------------------------------------------------- */

static int failures;

static void expect(ox_val v, const char *shape, int line)
{
    const char *text = v->rank < 0 ? "?" : ox_shape_text(v->graph->arena, v->rank, v->dims);
    if (strcmp(text, shape) != 0) {
        fprintf(stderr, "line %d: %s: shape %s instead of %s\n", line, v->name, text, shape);
        failures++;
    }
}

static void expect_elements(ox_val v, const char *elements, int line)
{
    size_t count = 0;
    const ox_dim *items = ox_shape_elements(v);
    const char *text = "none";
    if (items != NULL && ox_shape_count(v->rank, v->dims, &count)) {
        text = ox_shape_text(v->graph->arena, (int)count, items);
    }
    if (strcmp(text, elements) != 0) {
        fprintf(stderr, "line %d: %s: elements %s instead of %s\n", line, v->name, text, elements);
        failures++;
    }
}

#define EXPECT(v, shape) expect(v, shape, __LINE__)
#define ELEMENTS(v, elements) expect_elements(v, elements, __LINE__)

/* ---- what follows ----------------------------------------------------------------------- */

static void operators_are_found(ox_graph *g)
{
    (void)g;
    static const char *const names[][2] = {
#define OP(domain, op, shape, how, layout, ...) {domain, op},
#define LIFTED(op, shape) {"", op},
#include "base/operators.inc"
    };
    for (int i = 0; i < OX_OPERATORS; i++) {
        assert(ox_operator_find(names[i][0], names[i][1]) == i);
    }
    assert(ox_operator_find("", "Zebra") == -1 && ox_operator_find("ai.onnx.ml", "Add") == -1);
}

static void broadcasting(ox_graph *g)
{
    ox_dim any = ox_dim_unknown(g);
    ox_val x = INPUT(g, N, d(3), d(1), d(5));
    EXPECT(EMIT(g, "Add", x, INPUT(g, d(4), d(1))), "[N,3,4,5]");
    EXPECT(EMIT(g, "Mul", x, INPUT(g, any, d(3), d(1), any)), "[N,3,1,5]");
    EXPECT(EMIT(g, "Sub", INPUT(g, any), INPUT(g, any)), "[?]");
    EXPECT(EMIT(g, "Where", INPUT(g, d(1)), INPUT(g, N, d(1)), INPUT(g, d(7))), "[N,7]");
    ox_val same = EMIT(g, "Sub", INPUT(g, any, d(2)), INPUT(g, d(1), d(2)));
    assert(ox_dim_equal(same->dims[0], any));
    assert(EMIT(g, "Less", x, x)->type == OX_BOOL);
    EXPECT(EMIT(g, "Relu", x), "[N,3,1,5]");
}

static void windows(ox_graph *g)
{
    ox_val x = INPUT(g, N, d(3), d(32), d(17));
    ox_val w = INPUT(g, d(8), d(3), d(3), d(3));
    EXPECT(EMIT(g, "Conv", x, w), "[N,8,30,15]");
    ox_attr strided[] = {INTS("strides", 2, 2), INTS("pads", 1, 0, 1, 1), INTS("dilations", 1, 2)};
    EXPECT(EMIT_WITH(g, "Conv", strided, x, w), "[N,8,16,7]");
    ox_attr same[] = {TEXT("auto_pad", "SAME_UPPER"), INTS("strides", 2, 3)};
    EXPECT(EMIT_WITH(g, "Conv", same, x, w), "[N,8,16,6]");
    ox_attr pool[] = {INTS("kernel_shape", 3, 3), INTS("strides", 2, 2), INT("ceil_mode", 1)};
    EXPECT(EMIT_WITH(g, "MaxPool", pool, x), "[N,3,16,8]");
    /* The last window would start in the padding at the end. */
    ox_attr edge[] = {INTS("kernel_shape", 2, 2), INTS("strides", 4, 4), INTS("pads", 0, 0, 2, 1),
                      INT("ceil_mode", 1)};
    EXPECT(EMIT_WITH(g, "AveragePool", edge, x), "[N,3,8,5]");
    ox_attr up[] = {INTS("strides", 2, 2), INTS("output_padding", 1, 0)};
    EXPECT(EMIT_WITH(g, "ConvTranspose", up, x, INPUT(g, d(3), d(6), d(2), d(2))), "[N,6,65,34]");
    EXPECT(EMIT(g, "GlobalAveragePool", x), "[N,3,1,1]");
    ox_dim any = ox_dim_unknown(g);
    ox_attr kept[] = {INTS("pads", 1, 1, 1, 1)};
    ox_val free_size = EMIT_WITH(g, "Conv", kept, INPUT(g, N, d(3), any, any), w);
    assert(ox_dim_equal(free_size->dims[2], any));
}

static void reshaping(ox_graph *g)
{
    ox_dim t = ox_dim_unknown(g);
    ox_val x = INPUT(g, N, d(16), d(4), d(4));
    EXPECT(EMIT(g, "Reshape", x, LIST(g, 0, -1)), "[N,256]");
    EXPECT(EMIT(g, "Reshape", x, LIST(g, -1, 256)), "[N,256]");
    EXPECT(EMIT(g, "Reshape", x, LIST(g, 0, 4, -1, 0)), "[N,4,16,4]");
    EXPECT(EMIT(g, "Reshape", x, LIST(g, -1)), "[256N]");
    ox_val sequence = INPUT(g, N, t, d(8));
    EXPECT(EMIT(g, "Reshape", sequence, LIST(g, -1, 8)), "[?,8]");
    ox_val split = EMIT(g, "Reshape", sequence, LIST(g, 0, 0, 2, -1));
    EXPECT(split, "[N,?,2,4]");
    assert(ox_dim_equal(split->dims[1], t));
    EXPECT(EMIT(g, "Reshape", INPUT(g, N, d(5), d(8)), LIST(g, -1, 8)), "[5N,8]");
    EXPECT(EMIT(g, "Flatten", x), "[N,256]");
    EXPECT(EMIT(g, "Squeeze", INPUT(g, N, d(1), d(3), d(1)), LIST(g, 1, -1)), "[N,3]");
    EXPECT(EMIT(g, "Unsqueeze", x, LIST(g, 0, -1)), "[1,N,16,4,4,1]");
    ox_attr nhwc[] = {INTS("perm", 0, 2, 3, 1)};
    EXPECT(EMIT_WITH(g, "Transpose", nhwc, x), "[N,4,4,16]");
    EXPECT(EMIT(g, "Tile", x, LIST(g, 3, 1, 2, 1)), "[3N,16,8,4]");
    EXPECT(EMIT(g, "Expand", x, LIST(g, 5, 1, 1, 4, 1)), "[5,N,16,4,4]");
    EXPECT(EMIT(g, "Pad", x, LIST(g, 0, 0, 1, 2, 0, 0, 0, -1)), "[N,16,5,5]");
}

static void slicing(ox_graph *g)
{
    ox_val x = INPUT(g, N, d(10), d(7));
    EXPECT(EMIT(g, "Slice", x, LIST(g, 1, -3), LIST(g, 9, INT64_MAX), LIST(g, 1, 2), LIST(g, 3, 1)),
           "[N,3,3]");
    EXPECT(EMIT(g, "Slice", x, LIST(g, -1), LIST(g, INT64_MIN), LIST(g, 1), LIST(g, -4)),
           "[N,3,7]");
    EXPECT(EMIT(g, "Slice", x, LIST(g, 0), LIST(g, INT64_MAX), LIST(g, 0)), "[N,10,7]");
    EXPECT(EMIT(g, "Slice", x, LIST(g, 0), LIST(g, 1), LIST(g, 0)), "[1,10,7]");
    EXPECT(EMIT(g, "Slice", x, LIST(g, 2), LIST(g, 5), LIST(g, 0)), "[?,10,7]");
    EXPECT(EMIT(g, "Slice", x, LIST(g, 5), LIST(g, 2), LIST(g, 1)), "[N,0,7]");
    ox_attr axis[] = {INT("axis", 1)};
    ox_node *split = ox_graph_emit_node(g, "", "Split", 1, &x, 3, 1, axis);
    EXPECT(split->outputs[0], "[N,4,7]");
    EXPECT(split->outputs[2], "[N,2,7]");
    EXPECT(EMIT_WITH(g, "Concat", axis, x, INPUT(g, N, d(2), d(7))), "[N,12,7]");
    EXPECT(EMIT_WITH(g, "Gather", axis, x, LIST(g, 1, 2)), "[N,2,7]");
    EXPECT(EMIT_WITH(g, "Gather", axis, x, number(g, 1)), "[N,7]");
}

static void products(ox_graph *g)
{
    ox_val x = INPUT(g, N, d(4), d(6));
    EXPECT(EMIT(g, "MatMul", x, INPUT(g, d(6), d(5))), "[N,4,5]");
    EXPECT(EMIT(g, "MatMul", x, INPUT(g, d(6))), "[N,4]");
    EXPECT(EMIT(g, "MatMul", INPUT(g, d(4)), x), "[N,6]");
    EXPECT(EMIT(g, "MatMul", INPUT(g, d(6)), INPUT(g, d(6))), "[]");
    EXPECT(EMIT(g, "MatMul", INPUT(g, d(3), d(1), d(2), d(6)), INPUT(g, N, d(6), d(9))),
           "[3,N,2,9]");
    ox_attr flip[] = {INT("transA", 1), INT("transB", 1)};
    EXPECT(EMIT_WITH(g, "Gemm", flip, INPUT(g, d(6), N), INPUT(g, d(5), d(6))), "[N,5]");
    ox_attr einsum[] = {TEXT("equation", "...ij, jk -> k...i")};
    EXPECT(EMIT_WITH(g, "Einsum", einsum, x, INPUT(g, d(6), d(5))), "[5,N,4]");
    ox_attr implicit[] = {TEXT("equation", "bij,bj")};
    EXPECT(EMIT_WITH(g, "Einsum", implicit, x, INPUT(g, d(1), d(6))), "[4]");
}

static void reductions(ox_graph *g)
{
    ox_val x = INPUT(g, N, d(4), d(6));
    ox_attr drop[] = {INT("keepdims", 0)};
    EXPECT(EMIT(g, "ReduceMean", x, LIST(g, -1)), "[N,4,1]");
    EXPECT(EMIT_WITH(g, "ReduceSum", drop, x, LIST(g, 1, 2)), "[N]");
    EXPECT(EMIT_WITH(g, "ReduceMax", drop, x), "[]");
    EXPECT(EMIT(g, "ReduceMax", x), "[1,1,1]");
    ox_attr empty[] = {INT("noop_with_empty_axes", 1)};
    EXPECT(EMIT_WITH(g, "ReduceSum", empty, x), "[N,4,6]");
    ox_attr older[] = {INTS("axes", 1), INT("keepdims", 0)};
    EXPECT(EMIT_WITH(g, "ReduceL2", older, x), "[N,6]");
    ox_attr arg[] = {INT("axis", 1)};
    ox_val winner = EMIT_WITH(g, "ArgMax", arg, x);
    EXPECT(winner, "[N,1,6]");
    assert(winner->type == OX_INT64);
    ox_val top[] = {x, LIST(g, 3)};
    EXPECT(ox_graph_emit_node(g, "", "TopK", 2, top, 2, 0, NULL)->outputs[1], "[N,4,3]");
}

/* The chains that exporters write. */
static void contents(ox_graph *g)
{
    ox_attr first[] = {INT("axis", 0)};
    ox_val x = INPUT(g, N, d(3), d(8), d(8));
    ox_val shape = EMIT(g, "Shape", x);
    ELEMENTS(shape, "[N,3,8,8]");
    ox_val batch = EMIT(g, "Gather", shape, number(g, 0));
    ELEMENTS(batch, "[N]");
    EXPECT(batch, "[]");
    ox_val row = EMIT(g, "Unsqueeze", batch, LIST(g, 0));
    ox_val target = EMIT_WITH(g, "Concat", first, row, LIST(g, -1));
    ELEMENTS(target, "[N,-1]");
    EXPECT(EMIT(g, "Reshape", x, target), "[N,192]");
    ox_val image = EMIT(g, "Slice", shape, LIST(g, 2), LIST(g, INT64_MAX), LIST(g, 0));
    ELEMENTS(image, "[8,8]");
    ELEMENTS(EMIT(g, "Mul", image, LIST(g, 2)), "[16,16]");
    ELEMENTS(EMIT(g, "Mul", batch, LIST(g, 2, 3)), "[2N,3N]");
    ELEMENTS(EMIT(g, "Div", EMIT(g, "Mul", batch, number(g, 6)), number(g, 2)), "[3N]");
    ELEMENTS(EMIT(g, "Div", number(g, -7), number(g, 2)), "[-3]");
    ELEMENTS(EMIT(g, "Mod", number(g, -7), number(g, 3)), "[2]");
    ELEMENTS(EMIT(g, "Add", batch, number(g, 1)), "[?]");
    ELEMENTS(EMIT(g, "Sub", batch, batch), "[0]");
    ELEMENTS(EMIT(g, "Add", number(g, INT64_MAX), number(g, 1)), "[?]");
    ox_val open = EMIT(g, "Equal", target, LIST(g, -1));
    ELEMENTS(open, "[0,1]");
    ELEMENTS(EMIT(g, "Where", open, LIST(g, 1), target), "[N,1]");
    ox_val size = EMIT(g, "Size", x);
    ELEMENTS(size, "[192N]");
    ELEMENTS(EMIT(g, "ReduceProd", image), "[64]");
    ELEMENTS(EMIT(g, "Range", number(g, 7), number(g, 0), number(g, -3)), "[7,4,1]");
    EXPECT(EMIT(g, "Range", number(g, 0), batch, number(g, 1)), "[N]");
    EXPECT(EMIT(g, "ConstantOfShape", target = EMIT_WITH(g, "Concat", first, row, LIST(g, 5))),
           "[N,5]");
    EXPECT(EMIT(g, "Expand", INPUT(g, d(1), d(5)), target), "[N,5]");
}

/* As torch.nn.functional.pad is exported: pads in pairs, reversed. */
static void moved_contents(ox_graph *g)
{
    ox_val pairs = EMIT(g, "Reshape", LIST(g, 1, 2, 3, 4, 0, 0), LIST(g, -1, 2));
    ox_val back =
        EMIT(g, "Slice", pairs, LIST(g, -1), LIST(g, -INT64_MAX), LIST(g, 0), LIST(g, -1));
    ELEMENTS(back, "[0,0,3,4,1,2]");
    ox_val turned = EMIT(g, "Transpose", back);
    EXPECT(turned, "[2,3]");
    ELEMENTS(turned, "[0,3,1,0,4,2]");
    ox_val pads = EMIT(g, "Reshape", turned, LIST(g, -1));
    EXPECT(EMIT(g, "Pad", INPUT(g, N, d(5), d(5)), pads), "[N,12,8]");
    ELEMENTS(EMIT(g, "Gather", back, LIST(g, -1, 0)), "[1,2,0,0]");
    ELEMENTS(EMIT(g, "Expand", LIST(g, 4, 5), LIST(g, 2, 1)), "[4,5,4,5]");
    ELEMENTS(EMIT(g, "Tile", LIST(g, 4, 5), LIST(g, 2)), "[4,5,4,5]");
    ox_attr axis[] = {INT("axis", 1)};
    ELEMENTS(EMIT_WITH(g, "Concat", axis, back, EMIT(g, "Neg", back)),
             "[0,0,0,0,3,4,-3,-4,1,2,-1,-2]");
}

/* Nodes of a body may read what is around it. */
static void seen_from_inside(ox_graph *g)
{
    ox_val outside = INPUT(g, d(6), d(5));
    ox_graph *body = ox_graph_inside(ox_graph_inside(g, "outer"), "inner");
    ox_val product = EMIT(body, "MatMul", INPUT(body, d(2), d(6)), outside);
    EXPECT(product, "[2,5]");
    assert(product->graph == body && product->node->inputs[1] == outside);
}

/* Nothing is known of a result where nothing is known of what it is made of. */
static void unknown_ranks(ox_graph *g)
{
    static const struct {
        const char *domain, *op;
        size_t inputs;
    } of[] = {
        {"", "AffineGrid", 2},
        {"", "CenterCropPad", 2},
        {"", "Col2Im", 3},
        {"", "GridSample", 2},
        {"", "Pad", 2},
        {"", "Resize", 3},
        {"com.microsoft", "Attention", 3},
        {"com.microsoft", "GatherBlockQuantized", 3},
        {"com.microsoft", "QAttention", 5},
        {"com.microsoft", "QLinearAdd", 8},
        {"com.microsoft", "QLinearConcat", 8},
        {"com.microsoft", "QLinearMul", 8},
        {"com.microsoft", "QLinearWhere", 9},
        {"com.microsoft", "UnfoldTensor", 1},
        {"com.microsoft", "MultiHeadAttention", 3},
    };
    ox_val in[9];
    for (size_t i = 0; i < 9; i++) {
        in[i] = ox_graph_input(g, NULL, OX_FLOAT, -1, NULL);
    }
    ox_attr axis[] = {INT("axis", 1)};
    EXPECT(EMIT(g, "Compress", in[0], in[1]), "[?]");
    EXPECT(EMIT_WITH(g, "Compress", axis, in[0], in[1]), "?");
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        EXPECT(
            ox_graph_emit_node(g, of[i].domain, of[i].op, of[i].inputs, in, 1, 0, NULL)->outputs[0],
            "?");
    }
}

static void hints(ox_graph *g)
{
    ox_dim any = ox_dim_unknown(g);
    ox_dim hint[] = {d(2), d(9)};
    ox_val x = ox_graph_value(g, NULL, OX_FLOAT, 2, (ox_dim[]){any, d(9)});
    ox_val y = ox_graph_value(g, NULL, OX_NONE, 2, hint);
    ox_node copy = {.op = "Relu",
                    .domain = "",
                    .name = "",
                    .input_count = 1,
                    .inputs = &x,
                    .output_count = 1,
                    .outputs = &y};
    ox_shape_infer(ox_graph_append(g, &copy));
    EXPECT(y, "[2,9]");
    /* One dimension of the hint is of another time, so all of it is. */
    ox_val z = ox_graph_value(g, NULL, OX_NONE, 2, (ox_dim[]){d(2), d(8)});
    copy.outputs = &z;
    ox_shape_infer(ox_graph_append(g, &copy));
    EXPECT(z, "[?,9]");
    /* What an input leaves free stays free. */
    ox_val given = INPUT(g, ox_dim_unknown(g), d(9));
    ox_val free = ox_graph_value(g, NULL, OX_NONE, 2, hint);
    copy.inputs = &given;
    copy.outputs = &free;
    ox_shape_infer(ox_graph_append(g, &copy));
    EXPECT(free, "[?,9]");
    copy.inputs = &x;
    ox_val w = ox_graph_value(g, NULL, OX_FLOAT, 1, (ox_dim[]){d(4)});
    copy.op = "NoSuchOperator";
    copy.outputs = &w;
    ox_shape_infer(ox_graph_append(g, &copy));
    EXPECT(w, "[4]");
}

/* ---- what is refused -------------------------------------------------------------------- */

static void bad_broadcast(ox_graph *g)
{
    EMIT(g, "Add", INPUT(g, d(3), d(2)), INPUT(g, d(4), d(2)));
}

static void bad_reshape(ox_graph *g)
{
    EMIT(g, "Reshape", INPUT(g, d(3), d(2)), LIST(g, 4, -1));
}

static void bad_reshape_sizes(ox_graph *g)
{
    EMIT(g, "Reshape", INPUT(g, d(3), d(2)), LIST(g, 4, 2));
}

static void bad_reshape_number(ox_graph *g)
{
    EMIT(g, "Reshape", INPUT(g, d(3), d(2)), LIST(g, 4, INT64_MIN));
}

static void bad_axis(ox_graph *g)
{
    ox_attr attrs[] = {INT("axis", 3)};
    EMIT_WITH(g, "Flatten", attrs, INPUT(g, d(3), d(2)));
}

static void bad_perm(ox_graph *g)
{
    ox_attr attrs[] = {INTS("perm", 0, 0)};
    EMIT_WITH(g, "Transpose", attrs, INPUT(g, d(3), d(2)));
}

static void bad_kernel(ox_graph *g)
{
    ox_attr attrs[] = {INTS("kernel_shape", -1, 2)};
    EMIT_WITH(g, "MaxPool", attrs, INPUT(g, d(1), d(1), d(5), d(5)));
}

static void bad_dilation(ox_graph *g)
{
    ox_attr attrs[] = {INTS("kernel_shape", INT64_MAX), INTS("dilations", INT64_MAX)};
    EMIT_WITH(g, "MaxPool", attrs, INPUT(g, d(1), d(1), d(5)));
}

static void bad_pads(ox_graph *g)
{
    ox_attr attrs[] = {INTS("pads", INT64_MAX, INT64_MAX), INTS("strides", INT64_MAX)};
    EMIT_WITH(g, "ConvTranspose", attrs, INPUT(g, d(1), d(1), d(5)), INPUT(g, d(1), d(1), d(3)));
}

static void bad_channels(ox_graph *g)
{
    EMIT(g, "Conv", INPUT(g, d(1), d(3), d(5)), INPUT(g, d(1), d(4), d(3)));
}

static void bad_window(ox_graph *g)
{
    EMIT(g, "Conv", INPUT(g, d(1), d(3), d(2)), INPUT(g, d(1), d(3), d(3)));
}

static void bad_matmul(ox_graph *g)
{
    EMIT(g, "MatMul", INPUT(g, d(2), d(3)), INPUT(g, d(4), d(2)));
}

static void bad_einsum(ox_graph *g)
{
    ox_attr attrs[] = {TEXT("equation", "ij->ijk")};
    EMIT_WITH(g, "Einsum", attrs, INPUT(g, d(2), d(3)));
}

static void bad_step(ox_graph *g)
{
    EMIT(g, "Slice", INPUT(g, d(2)), LIST(g, 0), LIST(g, 1), LIST(g, 0), LIST(g, 0));
}

static void bad_size(ox_graph *g)
{
    EMIT(g, "Tile", INPUT(g, d(INT64_MAX)), LIST(g, 2));
}

static void bad_negative(ox_graph *g)
{
    EMIT(g, "ConstantOfShape", LIST(g, 2, -2));
}

static void bad_index(ox_graph *g)
{
    EMIT(g, "Gather", LIST(g, 1, 2), number(g, 2));
}

/* Constants and nodes are shared with equal ones that are in the graph, not with those it lost. */
static void sharing_ends_with_pruning(ox_graph *g)
{
    ox_val x = INPUT(g, d(2)), three = LIST(g, 3);
    ox_val lost = emit(g, "Abs", 1, &x, 0, NULL), kept = emit(g, "Relu", 1, &x, 0, NULL);
    bool shared = LIST(g, 3) == three && emit(g, "Abs", 1, &x, 0, NULL) == lost;
    ox_graph_output(g, kept, "y");
    ox_graph_prune(g);
    bool apart = LIST(g, 3) != three && emit(g, "Abs", 1, &x, 0, NULL) != lost;
    if (!shared || !apart || emit(g, "Relu", 1, &x, 0, NULL) != kept) {
        fprintf(stderr, "%s\n", shared ? "what was pruned is shared" : "nothing is shared");
        failures++;
    }
}

typedef struct test {
    const char *name;
    void (*body)(ox_graph *g);
    const char *message; /* of the failure that must come; NULL: none */
} test;

static const test tests[] = {
    {"operators_are_found", operators_are_found, NULL},
    {"broadcasting", broadcasting, NULL},
    {"windows", windows, NULL},
    {"reshaping", reshaping, NULL},
    {"slicing", slicing, NULL},
    {"products", products, NULL},
    {"reductions", reductions, NULL},
    {"contents", contents, NULL},
    {"moved_contents", moved_contents, NULL},
    {"seen_from_inside", seen_from_inside, NULL},
    {"unknown_ranks", unknown_ranks, NULL},
    {"hints", hints, NULL},
    {"bad_broadcast", bad_broadcast, "shapes [3,2] and [4,2] do not fit"},
    {"bad_reshape", bad_reshape, "shape [3,2] does not fit into [4,?]"},
    {"bad_reshape_sizes", bad_reshape_sizes, "shape [3,2] does not fit into [4,2]"},
    {"bad_reshape_number", bad_reshape_number, "the new shape has -9223372036854775808"},
    {"bad_axis", bad_axis, "axis 3 with rank 2"},
    {"sharing_ends_with_pruning", sharing_ends_with_pruning, NULL},
    {"bad_perm", bad_perm, "perm does not fit rank 2"},
    {"bad_kernel", bad_kernel, "kernel_shape has -1"},
    {"bad_dilation", bad_dilation, "a size is too large"},
    {"bad_pads", bad_pads, "a size is too large"},
    {"bad_channels", bad_channels, "dimensions 3 and 4 do not fit"},
    {"bad_window", bad_window, "a window of 3 does not fit into 2"},
    {"bad_matmul", bad_matmul, "dimensions 3 and 4 do not fit"},
    {"bad_einsum", bad_einsum, "the equation does not fit the inputs"},
    {"bad_step", bad_step, "a step is 0"},
    {"bad_size", bad_size, "a size is too large"},
    {"bad_negative", bad_negative, "output 0 would have shape [2,-2]"},
    {"bad_index", bad_index, "index 2 of 2"},
};

typedef struct job {
    const test *test;
    ox_arena *arena;
} job;

static void run(void *user)
{
    const job *j = user;
    j->test->body(ox_graph_new(j->arena, ox_shape_infer, "test"));
}

int main(void)
{
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        const test *t = &tests[i];
        ox_error err = {0};
        job j = {.test = t, .arena = ox_arena_new()};
        bool done = ox_arena_try(j.arena, run, &j, &err);
        if (done != (t->message == NULL) || (!done && strstr(err.message, t->message) == NULL)) {
            fprintf(stderr, "%s: %s\n", t->name, done ? "no failure" : err.message);
            failures++;
        }
        ox_arena_free(j.arena);
    }
    return failures == 0 ? 0 : 1;
}
