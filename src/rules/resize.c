/* Rule of Resize. It is linear and separable: along every resized axis y = A x (plus a constant
 * where it extrapolates), with a matrix A [out, in] that is made here. The adjoint multiplies by A
 * from the other side, one axis after another; where A repeats every input a whole number of times,
 * it is the sum over the repetitions.
 *
 * Coordinates are rounded where ONNX Runtime rounds them, because they decide between
 * neighbours. */
#include "rules/rules.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Of a matrix: 64 MB in float32. */
static const int64_t MAX_ENTRIES = INT64_C(1) << 24;

/* What is the same for all axes, and the axis at work. */
typedef struct resize {
    ox_ctx *c;
    const char *mode, *coordinates, *nearest_mode;
    bool antialias, exclude_outside, crop;
    float a; /* of the cubic kernel */

    int64_t in, out;
    float scale, roi_start, roi_end;
} resize;

static bool is(const char *text, const char *word)
{
    return strcmp(text, word) == 0;
}

/* ---- where output p lies in the input ---------------------------------------------------- */

static float transform(const resize *r, int64_t p)
{
    float x = (float)p, in = (float)r->in, out = (float)r->out;
    if (is(r->coordinates, "asymmetric")) {
        return x / r->scale;
    }
    if (is(r->coordinates, "align_corners")) {
        return r->out == 1 ? 0 : x * (in - 1) / (out - 1);
    }
    if (is(r->coordinates, "pytorch_half_pixel") && r->out == 1) {
        return 0;
    }
    if (r->crop) {
        float range = r->roi_end - r->roi_start;
        return r->out == 1 ? 0.5f * (r->roi_start + r->roi_end) * (in - 1)
                           : r->roi_start * (in - 1) + x * range * (in - 1) / (out - 1);
    }
    if (is(r->coordinates, "half_pixel_symmetric")) {
        float offset = in / 2 * (1 - out / (r->scale * in));
        return (float)((double)offset + ((double)x + 0.5) / (double)r->scale - 0.5);
    }
    return (x + 0.5f) / r->scale - 0.5f;
}

/* Far beyond an end there is nothing new. */
static float coordinate(const resize *r, int64_t p)
{
    return fmaxf(fminf(transform(r, p), (float)r->in + 4), -4);
}

static int64_t nearest(const resize *r, float x)
{
    float down = floorf(x), near = floorf(x + 0.5f);
    if (is(r->nearest_mode, "floor")) {
        near = down;
    } else if (is(r->nearest_mode, "ceil")) {
        near = ceilf(x);
    } else if (x - down == 0.5f) {
        near = is(r->nearest_mode, "round_prefer_ceil") ? down + 1 : down;
    }
    return ox_clamp((int64_t)near, 0, r->in - 1);
}

/* ---- one row of A ------------------------------------------------------------------------ */

static double linear_kernel(double x)
{
    return fabs(x) < 1 ? 1 - fabs(x) : 0;
}

static double cubic_kernel(double a, double x)
{
    x = fabs(x);
    if (x <= 1) {
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    }
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Weights of the inputs around x by a kernel that reaches over `reach` inputs on either side, wider
 * where antialias shrinks. Weights beyond an end go to the input there, or are left out. */
static void fill_by_kernel(const resize *r, float x, double reach, double *row)
{
    bool cubic = is(r->mode, "cubic");
    double stretch = r->antialias && r->scale < 1 ? 1 / (double)r->scale : 1;
    int64_t first = (int64_t)ceil((double)x - reach * stretch);
    int64_t last = (int64_t)floor((double)x + reach * stretch);
    double total = 0;
    for (int64_t i = first; i <= last; i++) {
        double at = ((double)i - (double)x) / stretch;
        double weight = cubic ? cubic_kernel((double)r->a, at) : linear_kernel(at);
        if (!r->exclude_outside || (i >= 0 && i < r->in)) {
            row[ox_clamp(i, 0, r->in - 1)] += weight;
            total += weight;
        }
    }
    for (int64_t i = 0; i < r->in && total != 0; i++) {
        row[i] /= total;
    }
}

static void fill_row(const resize *r, int64_t p, double *row)
{
    float x = coordinate(r, p), end = (float)(r->in - 1);
    if (r->crop && !(x >= 0 && x <= end)) {
        return; /* extrapolation_value */
    }
    bool cubic = is(r->mode, "cubic");
    if (is(r->mode, "nearest")) {
        row[nearest(r, x)] = 1;
    } else if (cubic || r->antialias) {
        fill_by_kernel(r, x, cubic ? 2 : 1, row);
    } else {
        fill_by_kernel(r, fmaxf(fminf(x, end), 0), 1, row);
    }
}

/* A [out, in]. */
static const double *make_matrix(const resize *r)
{
    double *matrix = ox_arena_alloc(r->c->g->arena, (size_t)(r->out * r->in), sizeof *matrix);
    for (int64_t p = 0; p < r->out; p++) {
        fill_row(r, p, matrix + p * r->in);
    }
    return matrix;
}

/* ---- the adjoint ------------------------------------------------------------------------- */

/* m with `count` sizes in place of its axis `axis` (negative). */
static ox_val split_axis(ox_val m, int axis, int count, const int64_t *sizes)
{
    int rank = m->rank - 1 + count, at = m->rank + axis;
    ox_dim *dims = ox_arena_alloc(m->graph->arena, (size_t)rank, sizeof *dims);
    for (int i = 0; i < rank; i++) {
        bool new = i >= at &&i < at + count;
        dims[i] = new ? ox_dim_of(sizes[i - at]) : m->dims[i < at ? i : i - count + 1];
    }
    return ox_reshape(m, rank, dims);
}

/* The factor by which nearest neighbours repeat every input; 0 where they do not. */
static int64_t repetition(const resize *r)
{
    if (!is(r->mode, "nearest") || r->crop || r->out % r->in != 0) {
        return 0;
    }
    int64_t factor = r->out / r->in;
    for (int64_t p = 0; p < r->out; p++) {
        if (nearest(r, coordinate(r, p)) != p / factor) {
            return 0;
        }
    }
    return factor;
}

/* A^T m along the axis: [..., out, rest] to [..., in, rest], the rest flattened. */
static ox_val multiply(const resize *r, ox_val m, int axis)
{
    int64_t dims[] = {r->out, r->in};
    if (r->in > MAX_ENTRIES / r->out) {
        ox_rule_fail(r->c, ox_arena_format(m->graph->arena,
                                           "an axis from %" PRId64 " to %" PRId64 " is too large",
                                           r->in, r->out));
    }
    ox_val matrix = ox_floats(m->graph, m->type, 2, dims, make_matrix(r));
    if (axis == -1) {
        return ox_matmul(m, matrix);
    }
    int rank = m->rank + axis + 2;
    ox_dim *flat = ox_arena_copy(m->graph->arena, m->dims, (size_t)rank, sizeof *flat);
    for (int i = rank; i < m->rank; i++) {
        flat[rank - 1] = ox_dim_mul(m->graph, flat[rank - 1], m->dims[i]);
    }
    ox_dim *back = ox_arena_copy(m->graph->arena, m->dims, (size_t)m->rank, sizeof *back);
    back[m->rank + axis] = ox_dim_of(r->in);
    return ox_reshape(ox_matmul(ox_swap_last(matrix), ox_reshape(m, rank, flat)), m->rank, back);
}

static ox_val resize_back(const resize *r, ox_val m, int axis)
{
    int64_t factor = repetition(r);
    if (factor > 0) {
        m = split_axis(m, axis, 2, (int64_t[]){r->in, factor});
        return ox_sum(m, axis, false);
    }
    return multiply(r, m, axis);
}

/* ---- reading the node -------------------------------------------------------------------- */

/* Inputs that are left out are empty tensors in older models. */
static bool is_given(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    return v != NULL && !(v->rank == 1 && ox_dim_is(v->dims[0], 0));
}

/* The `count` numbers of input i. */
static const double *numbers(ox_ctx *c, size_t i, size_t count)
{
    size_t found = 0;
    const double *known = ox_known_doubles(c, i, &found);
    if (found != count) {
        ox_rule_fail(c, ox_arena_format(c->g->arena, "input %zu has %zu numbers", i, found));
    }
    return known;
}

/* The axes that roi, scales and sizes are about; all where the attribute is missing. */
static const int64_t *read_axes(ox_ctx *c, size_t *count)
{
    int rank = c->node->inputs[0]->rank;
    const int64_t *given = ox_node_ints(c->node, "axes", count);
    *count = given == NULL ? (size_t)rank : *count;
    int64_t *axes = ox_arena_alloc(c->g->arena, *count + 1, sizeof *axes);
    for (size_t i = 0; i < *count; i++) {
        axes[i] = given == NULL ? (int64_t)i : given[i] < 0 ? given[i] + rank : given[i];
        if (axes[i] < 0 || axes[i] >= rank) {
            ox_rule_fail(c, "its axes are wrong");
        }
    }
    return axes;
}

/* The scale that all axes share where the aspect ratio is kept: of all size / in the smallest, or
 * the largest. 0 where sizes stretch. */
static float kept_ratio(ox_ctx *c, size_t count, const int64_t *axes)
{
    const char *policy = ox_node_string(c->node, "keep_aspect_ratio_policy", "stretch");
    if (is(policy, "stretch")) {
        return 0;
    }
    size_t found = 0;
    const int64_t *sizes = ox_known_ints(c, 3, &found);
    int rank = c->node->inputs[0]->rank;
    float ratio = 0;
    for (size_t i = 0; i < count && i < found; i++) {
        float own = (float)sizes[i] / (float)ox_static_dim(c, 0, (int)axes[i] - rank);
        bool better = is(policy, "not_larger") ? own < ratio : own > ratio;
        ratio = i == 0 || better ? own : ratio;
    }
    return ratio;
}

/* What inputs say of the axes in the order of the attribute axes; NULL where they are not given. */
typedef struct extents {
    const int64_t *axes;
    size_t count;
    const double *scales, *roi;
    float ratio;
} extents;

static extents read_extents(ox_ctx *c, bool crop)
{
    extents e = {0};
    e.axes = read_axes(c, &e.count);
    e.scales = is_given(c, 2) ? numbers(c, 2, e.count) : NULL;
    e.roi = crop ? numbers(c, 1, 2 * e.count) : NULL;
    e.ratio = e.scales == NULL ? kept_ratio(c, e.count, e.axes) : 0;
    return e;
}

/* Sets r to the i-th axis; false where that stays as it is. */
static bool set_axis(ox_ctx *c, const extents *e, size_t i, resize *r)
{
    const ox_node *n = c->node;
    bool scaled = e->scales != NULL ? e->scales[i] != 1 : e->ratio != 0 && e->ratio != 1;
    if (!scaled && ox_dim_equal(n->inputs[0]->dims[e->axes[i]], n->outputs[0]->dims[e->axes[i]])) {
        return false; /* in ONNX Runtime even where roi asks for a part */
    }
    int axis = (int)e->axes[i] - n->inputs[0]->rank;
    r->in = ox_static_dim(c, 0, axis);
    r->out = ox_static_dim(c, -1, axis);
    if (r->in < 1 || r->out < 1 || r->in > MAX_ENTRIES || r->out > MAX_ENTRIES) {
        ox_rule_fail(c, "its shape is empty or too large");
    }
    r->scale = e->scales != NULL ? (float)e->scales[i]
               : e->ratio != 0   ? e->ratio
                                 : (float)r->out / (float)r->in;
    if (!(r->scale * (float)r->in > 0.4f)) {
        ox_rule_fail(c, "its scales do not fit its shape");
    }
    r->roi_start = e->roi != NULL ? (float)e->roi[i] : 0;
    r->roi_end = e->roi != NULL ? (float)e->roi[e->count + i] : 1;
    return true;
}

/* Sizes that are a model's batch and more, while its inputs leave the batch free: with one sample
 * they would interpolate samples, for which ONNX Runtime has no kernel. */
static void refuse_batch(ox_ctx *c)
{
    ox_dim from = c->node->inputs[0]->dims[0], to = c->node->outputs[0]->dims[0];
    bool linear = !is(ox_node_string(c->node, "mode", "nearest"), "nearest");
    if (linear && c->node->inputs[0]->rank > 3 && ox_dim_is(from, 1) && ox_dim_is_static(to) &&
        to.size > 1) {
        ox_rule_fail(c, ox_arena_format(c->g->arena,
                                        "its sizes are for a batch of %lld: declare that of the "
                                        "inputs as %lld, or let the sizes leave it free",
                                        (long long)to.size, (long long)to.size));
    }
}

void flow_resize(ox_ctx *c)
{
    const ox_node *n = c->node;
    if (n->inputs[0]->rank < 0 || n->outputs[0]->rank != n->inputs[0]->rank) {
        ox_shape_fail(c->node);
    }
    refuse_batch(c);
    const char *coordinates = ox_node_string(n, "coordinate_transformation_mode", "half_pixel");
    resize r = {
        .c = c,
        .mode = ox_node_string(n, "mode", "nearest"),
        .coordinates = coordinates,
        .nearest_mode = ox_node_string(n, "nearest_mode", "round_prefer_floor"),
        .antialias = ox_node_int(n, "antialias", 0) != 0,
        .exclude_outside = ox_node_int(n, "exclude_outside", 0) != 0,
        .crop = is(coordinates, "tf_crop_and_resize"),
        .a = (float)ox_node_float(n, "cubic_coeff_a", -0.75),
    };
    extents e = read_extents(c, r.crop);
    ox_val m = c->m;
    for (size_t i = e.count; i-- > 0;) {
        m = set_axis(c, &e, i, &r) ? resize_back(&r, m, (int)e.axes[i] - n->inputs[0]->rank) : m;
    }
    ox_send(c, 0, m);
}
