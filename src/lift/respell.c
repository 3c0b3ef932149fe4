/* The older spellings of operators, from opset 7 on: one row and one function each. A node keeps
 * its name and its outputs; attributes that became inputs turn into constants. Every respelling
 * computes the same bits as the original does in ONNX Runtime. */
#include "lift/respell.h"

#include <string.h>

#include "graph/build.h"
#include "shape/shape.h"

/* ---- editing a node --------------------------------------------------------------------- */

static ox_arena *arena_of(const ox_node *n)
{
    return n->graph->arena;
}

_Noreturn static void refuse(const ox_node *n, int64_t opset, const char *what)
{
    ox_fail(arena_of(n), OX_UNSUPPORTED, "%s: %s of opset %lld has no later spelling",
            ox_node_label(n), what, (long long)opset);
}

static void drop_attr(ox_node *n, const char *name)
{
    ox_attr *kept = ox_arena_alloc(arena_of(n), n->attr_count, sizeof *kept);
    size_t count = 0;
    for (size_t i = 0; i < n->attr_count; i++) {
        if (strcmp(n->attrs[i].name, name) != 0) {
            kept[count++] = n->attrs[i];
        }
    }
    n->attrs = kept;
    n->attr_count = count;
}

static void set_attr(ox_node *n, ox_attr attr)
{
    drop_attr(n, attr.name);
    ox_attr *more = ox_arena_alloc(arena_of(n), n->attr_count + 1, sizeof *more);
    memcpy(more, n->attrs, n->attr_count * sizeof *more);
    more[n->attr_count++] = attr;
    n->attrs = more;
}

/* Sets input i; NULL leaves it out. */
static void set_input(ox_node *n, size_t i, ox_val v)
{
    size_t count = n->input_count > i ? n->input_count : i + 1;
    ox_val *inputs = ox_arena_alloc(arena_of(n), count, sizeof *inputs);
    if (n->input_count > 0) {
        memcpy(inputs, n->inputs, n->input_count * sizeof *inputs);
    }
    inputs[i] = v;
    while (count > 0 && inputs[count - 1] == NULL) {
        count--;
    }
    n->inputs = inputs;
    n->input_count = count;
}

/* The attribute `name`, a list of integers, becomes input i. */
static void ints_to_input(ox_node *n, const char *name, size_t i)
{
    size_t count = 0;
    const int64_t *ints = ox_node_ints(n, name, &count);
    if (ints != NULL) {
        set_input(n, i, ox_ints(n->graph, count, ints));
        drop_attr(n, name);
    }
}

/* A helper that the respelled node needs counts as original, too. */
static ox_val own(const ox_node *n, ox_val v)
{
    if (v->node != NULL) {
        v->node->original = true;
        v->node->index = n->index;
    }
    return v;
}

/* The attribute `name`, a number, becomes input i: a scalar of `type`. */
static void float_to_input(ox_node *n, const char *name, size_t i, ox_type type)
{
    if (ox_node_attr(n, name) == NULL) {
        return;
    }
    if (type == OX_NONE) {
        ox_fail(arena_of(n), OX_UNSUPPORTED, "%s: the type of its input is not known",
                ox_node_label(n));
    }
    double number = ox_node_float(n, name, 0);
    ox_type nearest = type == OX_DOUBLE ? OX_DOUBLE : OX_FLOAT;
    ox_val scalar = ox_floats(n->graph, nearest, 0, NULL, &number);
    set_input(n, i, own(n, ox_cast(scalar, type)));
    drop_attr(n, name);
}

/* Outputs after the first that nothing uses go; `what` names them where something does. */
static void keep_first_output(ox_node *n, int64_t opset, const char *what)
{
    for (size_t i = 1; i < n->output_count; i++) {
        if (n->outputs[i]->needed) {
            refuse(n, opset, what);
        }
    }
    n->output_count = 1;
}

static void put(ox_node *n)
{
    ox_shape_infer(ox_graph_append(n->graph, n));
}

/* ---- attributes that became inputs ------------------------------------------------------- */

static void respell_axes(ox_node *n, int64_t opset)
{
    (void)opset;
    ints_to_input(n, "axes", 1);
    put(n);
}

static void respell_clip(ox_node *n, int64_t opset)
{
    (void)opset;
    float_to_input(n, "min", 1, n->inputs[0]->type);
    float_to_input(n, "max", 2, n->inputs[0]->type);
    put(n);
}

static void respell_pad(ox_node *n, int64_t opset)
{
    (void)opset;
    ints_to_input(n, "pads", 1);
    float_to_input(n, "value", 2, n->inputs[0]->type);
    put(n);
}

static void respell_slice(ox_node *n, int64_t opset)
{
    (void)opset;
    ints_to_input(n, "starts", 1);
    ints_to_input(n, "ends", 2);
    ints_to_input(n, "axes", 3);
    put(n);
}

static void respell_topk(ox_node *n, int64_t opset)
{
    (void)opset;
    int64_t k = ox_node_int(n, "k", 0);
    set_input(n, 1, ox_ints(n->graph, 1, &k));
    drop_attr(n, "k");
    put(n);
}

static void respell_split(ox_node *n, int64_t opset)
{
    (void)opset;
    ints_to_input(n, "split", 1);
    if (ox_node_input(n, 1) == NULL) {
        set_attr(n, ox_attr_int("num_outputs", (int64_t)n->output_count));
    }
    put(n);
}

/* The mask was of another type, or not filled. */
static void respell_dropout(ox_node *n, int64_t opset)
{
    keep_first_output(n, opset, "the mask of Dropout");
    float_to_input(n, "ratio", 1, OX_FLOAT);
    put(n);
}

/* ---- other changes ----------------------------------------------------------------------- */

/* ONNX Runtime (1.32) has no Softplus of float16, and casts. At opset 18 it takes the schema's body
 * instead, log(exp(x) + 1), which is infinite beyond 88. */
static void respell_softplus(ox_node *n, int64_t opset)
{
    (void)opset;
    if (n->inputs[0]->type == OX_FLOAT16) {
        ox_val x = own(n, ox_cast(n->inputs[0], OX_FLOAT));
        set_input(n, 0, own(n, ox_graph_emit(n->graph, "Softplus", 1, &x, 0, NULL)));
        set_attr(n, (ox_attr){.name = "to", .kind = OX_ATTR_INT, .i = OX_FLOAT16});
        n->op = "Cast";
    }
    put(n);
}

/* Up to opset 13 a further output, used or not, says that the node trains: it normalises by the
 * batch at hand then, so that samples depend on each other. Later an attribute says so; without it
 * there are no further outputs. NULL where it does not train. */
static const char *trains_by(const ox_node *n, int64_t opset)
{
    if (opset >= 14 && ox_node_int(n, "training_mode", 0) != 0) {
        return "training_mode=1";
    }
    for (size_t i = 1; i < n->output_count; i++) {
        if (opset < 14 ? n->outputs[i]->name[0] != '\0' : n->outputs[i]->needed) {
            return "its further outputs";
        }
    }
    return NULL;
}

static void respell_batch_normalization(ox_node *n, int64_t opset)
{
    const char *by = trains_by(n, opset);
    if (by != NULL) {
        ox_fail(arena_of(n), OX_UNSUPPORTED,
                "%s: is in training mode, by %s; export the model for inference, in PyTorch after "
                "model.eval()",
                ox_node_label(n), by);
    }
    if (ox_node_int(n, "spatial", 1) == 0) {
        refuse(n, opset, "spatial=0");
    }
    n->output_count = 1;
    drop_attr(n, "spatial");
    put(n);
}

/* The only one of the axes from `axis` on that may be longer than 1; false where there are more
 * or it is not known. */
static bool find_single_axis(ox_val x, int64_t axis, int64_t *single)
{
    int front = ox_axis_front(axis, x->rank);
    if (front < 0) {
        return false;
    }
    int longer = 0;
    *single = x->rank - 1;
    for (int i = front; i < x->rank; i++) {
        if (!ox_dim_is(x->dims[i], 1)) {
            longer++;
            *single = i;
        }
    }
    return longer <= 1;
}

/* Softmax and its kin took everything from `axis` on as one axis. Where more than one of these is
 * longer than 1, x is flattened, and the result shaped like x again. */
static void respell_softmax(ox_node *n, int64_t opset)
{
    keep_first_output(n, opset, "a second output");
    ox_graph *g = n->graph;
    ox_val x = n->inputs[0];
    int64_t axis = ox_node_int(n, "axis", 1);
    int64_t single = 0;
    if (find_single_axis(x, axis, &single)) {
        set_attr(n, ox_attr_int("axis", single));
        put(n);
        return;
    }
    ox_val result = n->outputs[0];
    ox_attr flat_axis = ox_attr_int("axis", axis);
    set_input(n, 0, own(n, ox_graph_emit(g, "Flatten", 1, &x, 1, &flat_axis)));
    set_attr(n, ox_attr_int("axis", -1));
    ox_val flat = ox_graph_value(g, NULL, result->type, -1, NULL);
    n->outputs = &flat;
    put(n);
    ox_node back = {
        .graph = g,
        .op = "Reshape",
        .domain = "",
        .name = ox_graph_fresh_name(g, ox_arena_format(g->arena, "%s/Reshape", g->scope)),
        .input_count = 2,
        .inputs = (ox_val[]){flat, own(n, ox_graph_emit(g, "Shape", 1, &x, 0, NULL))},
        .output_count = 1,
        .outputs = &result,
        .original = true,
        .index = n->index,
    };
    put(&back);
}

static void respell_scatter(ox_node *n, int64_t opset)
{
    (void)opset;
    n->op = "ScatterElements";
    put(n);
}

static void respell_roi_align(ox_node *n, int64_t opset)
{
    (void)opset;
    set_attr(n, ox_attr_string("coordinate_transformation_mode", "output_half_pixel"));
    put(n);
}

static void respell_scan(ox_node *n, int64_t opset)
{
    refuse(n, opset, "Scan");
}

/* ---- Resize ------------------------------------------------------------------------------ */

static void put_resize(ox_node *n, ox_val scales, const char *nearest_mode)
{
    n->op = "Resize";
    set_input(n, 1, NULL);
    set_input(n, 2, scales);
    set_attr(n, ox_attr_string("coordinate_transformation_mode", "asymmetric"));
    set_attr(n, ox_attr_string("nearest_mode", nearest_mode));
    put(n);
}

/* Upsample never shrinks. */
static void respell_upsample(ox_node *n, int64_t opset)
{
    (void)opset;
    ox_val scales = ox_node_input(n, 1);
    const ox_attr *a = ox_node_attr(n, "scales");
    if (a != NULL && a->kind == OX_ATTR_FLOATS) {
        int64_t dims[1] = {(int64_t)a->count};
        ox_const c = {.type = OX_FLOAT, .rank = 1, .dims = dims, .data = a->floats};
        c.size = a->count * sizeof *a->floats;
        scales = ox_graph_constant(n->graph, NULL, &c);
        drop_attr(n, "scales");
    }
    put_resize(n, scales, "floor");
}

/* The scales, none above 1 for Min, none below 1 for Max; `known` are their values or NULL. */
static ox_val limit_scales(const ox_node *n, ox_val scales, const char *op, const double *known,
                           size_t count)
{
    double one = 1;
    if (known == NULL) {
        ox_val unit = ox_floats(n->graph, OX_FLOAT, 0, NULL, &one);
        return own(n, ox_binary(op, scales, unit));
    }
    double *limited = ox_arena_alloc(arena_of(n), count, sizeof *limited);
    for (size_t i = 0; i < count; i++) {
        bool keep = strcmp(op, "Min") == 0 ? known[i] < one : known[i] > one;
        limited[i] = keep ? known[i] : one;
    }
    int64_t dims[1] = {(int64_t)count};
    return ox_floats(n->graph, OX_FLOAT, 1, dims, limited);
}

/* Opset 10 rounded indices up along axes that shrink and down along those that grow. Where both
 * are there, or the scales are not known, one Resize shrinks and a second one grows. */
static void respell_resize_10(ox_node *n)
{
    ox_graph *g = n->graph;
    ox_val scales = n->inputs[1];
    size_t count = 0;
    const double *known = ox_numbers(scales, &count);
    bool shrinks = known == NULL, grows = known == NULL;
    for (size_t i = 0; i < count; i++) {
        shrinks = shrinks || known[i] < 1;
        grows = grows || known[i] > 1;
    }
    bool nearest = strcmp(ox_node_string(n, "mode", "nearest"), "nearest") == 0;
    if (nearest && shrinks && grows) {
        ox_val inputs[3] = {n->inputs[0], NULL, limit_scales(n, scales, "Min", known, count)};
        ox_attr attrs[3] = {
            ox_attr_string("mode", "nearest"),
            ox_attr_string("coordinate_transformation_mode", "asymmetric"),
            ox_attr_string("nearest_mode", "ceil"),
        };
        set_input(n, 0, own(n, ox_graph_emit(g, "Resize", 3, inputs, 3, attrs)));
        scales = limit_scales(n, scales, "Max", known, count);
        shrinks = false;
    }
    put_resize(n, scales, shrinks ? "ceil" : "floor");
}

/* Opset 13 dropped tf_half_pixel_for_nn, (i + 0.5) / scale, which is half_pixel plus 0.5: rounding
 * that down is rounding half_pixel half up. Inputs that do not count were given empty. */
static void respell_resize(ox_node *n, int64_t opset)
{
    if (opset == 10) {
        respell_resize_10(n);
        return;
    }
    const char *mode = ox_node_string(n, "coordinate_transformation_mode", "half_pixel");
    if (strcmp(mode, "tf_half_pixel_for_nn") == 0) {
        if (strcmp(ox_node_string(n, "mode", "nearest"), "nearest") != 0 ||
            strcmp(ox_node_string(n, "nearest_mode", "round_prefer_floor"), "floor") != 0) {
            refuse(n, opset, "tf_half_pixel_for_nn without nearest_mode=floor");
        }
        set_attr(n, ox_attr_string("coordinate_transformation_mode", "half_pixel"));
        set_attr(n, ox_attr_string("nearest_mode", "round_prefer_ceil"));
    }
    if (strcmp(mode, "tf_crop_and_resize") != 0) {
        set_input(n, 1, NULL);
    }
    if (ox_node_input(n, 3) != NULL) {
        set_input(n, 2, NULL);
    }
    put(n);
}

/* ---- the table --------------------------------------------------------------------------- */

enum { NEVER = 1 << 30 }; /* in no opset: the operator was taken out, or is looked at always */

static const ox_respelling rows[] = {
    {"", "BatchNormalization", NEVER, respell_batch_normalization},
    {"", "Clip", 11, respell_clip},
    {"", "Dropout", 12, respell_dropout},
    {"", "Hardmax", 13, respell_softmax},
    {"", "LogSoftmax", 13, respell_softmax},
    {"", "Pad", 11, respell_pad},
    {"", "ReduceL1", 18, respell_axes},
    {"", "ReduceL2", 18, respell_axes},
    {"", "ReduceLogSum", 18, respell_axes},
    {"", "ReduceLogSumExp", 18, respell_axes},
    {"", "ReduceMax", 18, respell_axes},
    {"", "ReduceMean", 18, respell_axes},
    {"", "ReduceMin", 18, respell_axes},
    {"", "ReduceProd", 18, respell_axes},
    {"", "ReduceSum", 13, respell_axes},
    {"", "ReduceSumSquare", 18, respell_axes},
    {"", "Resize", 13, respell_resize},
    {"", "RoiAlign", 16, respell_roi_align},
    {"", "Scan", 9, respell_scan},
    {"", "Scatter", NEVER, respell_scatter},
    {"", "Slice", 10, respell_slice},
    {"", "Softmax", 13, respell_softmax},
    {"", "Softplus", 18, respell_softplus},
    {"", "Split", 18, respell_split},
    {"", "Squeeze", 13, respell_axes},
    {"", "TopK", 10, respell_topk},
    {"", "Unsqueeze", 13, respell_axes},
    {"", "Upsample", NEVER, respell_upsample},
};

const ox_respelling *ox_respell_find(const char *domain, const char *op, int64_t opset)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const ox_respelling *r = &rows[i];
        if (opset < r->since && strcmp(op, r->op) == 0 && strcmp(domain, r->domain) == 0) {
            return r;
        }
    }
    return NULL;
}
