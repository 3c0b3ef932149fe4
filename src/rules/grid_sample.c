/* Operators that read an image between its pixels: GridSample, AffineGrid, RoiAlign, DeformConv.
 *
 * Positions that do not vary pick pixels by index, with weights. Where positions vary, no index
 * may: every pixel then gets a weight, the kernel of its distance to the position, so that y is
 * made of products of what varies. Axis by axis that takes as many numbers as a row of the image
 * times the positions. */
#include "rules/decompose.h"

#include <math.h>
#include <string.h>

#include "rules/unary.h"
#include "shape/shape.h"

enum { MAX_AXES = 3 };

static const int64_t LARGEST = INT64_C(1) << 26; /* numbers per sample while positions vary */

typedef struct sampling {
    const ox_node *n;
    ox_val x;           /* [B, C, in...] */
    ox_val p[MAX_AXES]; /* positions in pixels along each axis, [B, P] */
    int axes;
    bool nearest, cubic, border, reflect, corners;
    bool varies; /* the positions do */
} sampling;

/* ---- positions ------------------------------------------------------------------------------- */

/* Folds positions beyond [least, least + range] back, as between two mirrors. */
static ox_val reflected(ox_val p, double least, double range)
{
    if (range <= 0) {
        return ox_scale(p, 0);
    }
    ox_val q = ox_abs(ox_shift(p, -least));
    ox_val turns = ox_unary("Floor", ox_scale(q, 0.5 / range));
    q = ox_sub(q, ox_scale(turns, 2 * range));
    return ox_shift(ox_neg(ox_abs(ox_shift(q, -range))), least + range);
}

/* How many pixels are put around an image, so that no tap lies outside. */
static int64_t margin(const sampling *s)
{
    return s->cubic ? 3 : 2;
}

/* Positions in the image with its margins. */
static ox_val placed(const sampling *s, int axis, int64_t size)
{
    ox_val p = s->nearest ? ox_unary("Round", s->p[axis]) : s->p[axis];
    double least = s->corners ? 0 : -0.5, last = (double)size - 1;
    if (s->border && !s->cubic) { /* cubic kernels see the margins instead */
        p = ox_clip(p, 0, last);
    } else if (s->reflect) {
        p = reflected(p, least, last - 2 * least);
    }
    double room = (double)margin(s) - 1;
    return ox_shift(ox_clip(p, -room, last + room), room + 1);
}

/* Where pixel i of an axis with margins comes from; -1: nowhere. */
static int64_t source(const sampling *s, int64_t i, int64_t size)
{
    i -= margin(s);
    if (s->border) {
        return i < 0 ? 0 : i >= size ? size - 1 : i;
    }
    if (!s->reflect) {
        return i < 0 || i >= size ? -1 : i;
    }
    int64_t period = s->corners ? 2 * (size - 1) : 2 * size;
    if (period == 0) {
        return 0;
    }
    i = (i % period + period) % period;
    return i < size ? i : period - i - (s->corners ? 0 : 1);
}

/* The image with margins along every axis. */
static ox_val surrounded(const sampling *s)
{
    ox_val x = s->x;
    int64_t around[MAX_AXES] = {margin(s), margin(s), margin(s)};
    if (!s->border && !s->reflect) {
        return ox_pad(x, s->axes, around, around);
    }
    for (int k = 0; k < s->axes; k++) {
        int64_t size = ox_made_size(s->n, x, k - s->axes);
        size_t count = (size_t)(size + 2 * margin(s));
        int64_t *from = ox_arena_alloc(x->graph->arena, count, sizeof *from);
        for (size_t i = 0; i < count; i++) {
            from[i] = source(s, (int64_t)i, size);
        }
        x = ox_gather(x, ox_ints(x->graph, count, from), k - s->axes);
    }
    return x;
}

/* ---- kernels --------------------------------------------------------------------------------- */

/* u^2 (b u - b - 1) + 1 up to 1, a (u - 1) (u - 2)^2 up to 2, with a = -0.75 and b = a + 2. */
static ox_val cubic(ox_val u)
{
    ox_val near = ox_clip(u, 0, 1), far = ox_clip(u, 1, 2);
    ox_val inner = ox_mul(ox_square(near), ox_shift(ox_scale(near, 1.25), -2.25));
    ox_val outer = ox_mul(ox_shift(far, -1), ox_square(ox_shift(far, -2)));
    return ox_add(ox_shift(inner, 1), ox_scale(outer, -0.75));
}

/* The weight of a pixel at the distance d. */
static ox_val kernel(const sampling *s, ox_val d)
{
    ox_val u = ox_abs(d);
    return s->cubic ? cubic(u) : ox_unary("Relu", ox_shift(ox_neg(u), 1));
}

/* ---- both ways ------------------------------------------------------------------------------- */

/* The sum over the taps around each position: what a tap picks, times its weight. */
static ox_val by_index(const sampling *s, ox_val x)
{
    int axes = s->axes, taps = s->cubic ? 4 : 2, first = s->cubic ? -1 : 0, combinations = 1;
    ox_val base[MAX_AXES], place[MAX_AXES], sum = NULL;
    int64_t stride[MAX_AXES], size = 1;
    for (int k = axes; k-- > 0;) {
        place[k] = placed(s, k, ox_made_size(s->n, s->x, k - axes));
        base[k] = ox_unary("Floor", place[k]);
        stride[k] = size;
        size *= ox_made_size(s->n, x, k - axes);
        combinations *= taps;
    }
    const ox_dim flat[] = {x->dims[0], x->dims[1], ox_dim_of(size)};
    ox_val pixels = ox_reshape(x, 3, flat);
    const ox_dim index_dims[] = {x->dims[0], x->dims[1], s->p[0]->dims[1]};
    for (int i = 0; i < combinations; i++) {
        ox_val index = NULL, weight = NULL;
        for (int k = 0, rest = i; k < axes; k++, rest /= taps) {
            ox_val at = ox_shift(base[k], first + rest % taps);
            ox_val own = kernel(s, ox_sub(place[k], at));
            ox_val step = ox_mul(ox_cast(at, OX_INT64), ox_int_scalar(x->graph, stride[k]));
            index = ox_made_plus(index, step);
            weight = weight == NULL ? own : ox_mul(weight, own);
        }
        index = ox_expand(ox_unsqueeze(index, -2), 3, index_dims);
        ox_val taken = ox_gather_elements(pixels, index, -1);
        sum = ox_made_plus(sum, ox_mul(taken, ox_unsqueeze(weight, -2)));
    }
    return sum;
}

/* The last axis by a product of matrices, [B, C.., W] [B, W, P], the others by sums. */
static ox_val by_weights(const sampling *s, ox_val x)
{
    int axes = s->axes;
    int64_t positions = ox_made_size(s->n, s->p[0], 1), rows = ox_made_count(s->n, x, 1);
    int64_t width = ox_made_size(s->n, x, -1), numbers = 0;
    if (!ox_int_mul(rows / (width > 0 ? width : 1), positions, &numbers) || numbers > LARGEST) {
        ox_made_fail(s->n, "its positions depend on the input, for too large an image");
    }
    ox_val y = NULL;
    for (int k = axes; k-- > 0;) {
        int64_t size = ox_made_size(s->n, x, k - axes);
        ox_val place = ox_unsqueeze(placed(s, k, ox_made_size(s->n, s->x, k - axes)), -2);
        ox_val pixel = ox_unsqueeze(ox_iota(x->graph, place->type, size), -1);
        ox_val weight = kernel(s, ox_sub(place, pixel)); /* [B, size, P] */
        if (y == NULL) {
            const ox_dim flat[] = {x->dims[0], ox_dim_of(rows / size), ox_dim_of(size)};
            y = ox_matmul(ox_reshape(x, 3, flat), weight);
        } else {
            const ox_dim apart[] = {x->dims[0], ox_dim_of(rows / width / size), ox_dim_of(size),
                                    ox_dim_of(positions)};
            y = ox_mul(ox_reshape(y, 4, apart), ox_unsqueeze(weight, -3));
            y = ox_sum(y, -2, false);
            width *= size;
        }
    }
    return y;
}

/* [B, C, P] */
static ox_val sampled(const sampling *s)
{
    ox_val x = surrounded(s);
    return s->varies ? by_weights(s, x) : by_index(s, x);
}

/* ---- GridSample ------------------------------------------------------------------------------ */

static bool has(const ox_node *n, const char *name, const char *otherwise, const char *value)
{
    return strcmp(ox_node_string(n, name, otherwise), value) == 0;
}

void decompose_grid_sample(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), grid = ox_cast(ox_made_ranked(n, 1), x->type);
    int axes = x->rank - 2;
    if (axes < 1 || axes > MAX_AXES || grid->rank != x->rank) {
        ox_made_fail(n, "no rule for its number of axes");
    }
    sampling s = {.n = n, .x = x, .axes = axes, .varies = ox_input_varies(n, 1)};
    s.nearest = has(n, "mode", "linear", "nearest");
    s.cubic = has(n, "mode", "linear", "cubic") || has(n, "mode", "linear", "bicubic");
    s.border = has(n, "padding_mode", "zeros", "border");
    s.reflect = has(n, "padding_mode", "zeros", "reflection");
    s.corners = ox_node_int(n, "align_corners", 0) != 0;
    ox_val y = n->outputs[0];
    int64_t positions = ox_made_count(n, y, 2);
    const ox_dim rows[] = {x->dims[0], ox_dim_of(positions)};
    for (int k = 0; k < axes; k++) {
        double size = (double)ox_made_size(n, x, k + 2), span = s.corners ? size - 1 : size;
        ox_val g = ox_slice(grid, -1, axes - 1 - k, axes - k, 1);
        s.p[k] = ox_shift(ox_scale(ox_reshape(g, 2, rows), span / 2), (size - 1) / 2);
    }
    outputs[0] = ox_reshape(sampled(&s), y->rank, y->dims);
}

/* ---- AffineGrid ------------------------------------------------------------------------------ */

/* y[n, p] = theta[n] (position of p in [-1, 1], 1): linear in theta. */
void decompose_affine_grid(const ox_node *n, ox_val *outputs)
{
    ox_val theta = ox_made_ranked(n, 0), y = n->outputs[0];
    int axes = y->rank - 2;
    if (axes < 2 || axes > MAX_AXES) {
        ox_made_fail(n, "its size is not constant");
    }
    bool corners = ox_node_int(n, "align_corners", 0) != 0;
    int64_t count = ox_made_count(n, y, 1) / axes, dims[] = {count, axes + 1};
    size_t room = 0;
    if (!ox_size_mul((size_t)count, (size_t)axes + 1, &room)) {
        ox_made_fail(n, "its size is too large");
    }
    double *numbers = ox_arena_alloc(y->graph->arena, room, sizeof *numbers);
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i;
        double *row = numbers + i * (axes + 1);
        row[axes] = 1;
        for (int k = axes; k-- > 0;) {
            int64_t size = y->dims[k + 1].size, at = rest % size;
            rest /= size;
            double span = corners ? (double)size - 1 : (double)size;
            double shift = corners ? 0 : 0.5;
            row[axes - 1 - k] = span > 0 ? 2 * ((double)at + shift) / span - 1 : 0;
        }
    }
    ox_val base = ox_floats(y->graph, theta->type, 2, dims, numbers);
    outputs[0] = ox_reshape(ox_matmul(base, ox_swap_last(theta)), y->rank, y->dims);
}

/* ---- RoiAlign -------------------------------------------------------------------------------- */

/* Regions, and how each axis of them is sampled. */
typedef struct regions {
    const ox_node *n;
    ox_val rois; /* [K, 4] */
    int64_t count, samples;
    const int64_t *taken[2]; /* of `samples`, how many each region takes along y and x; or NULL */
    double scale, shift;     /* shift: half a pixel */
    bool half;
} regions;

/* Without a sampling_ratio a region takes a sample per pixel that it covers: so it has to be
 * known. */
static void count_samples(regions *r)
{
    const ox_node *n = r->n;
    r->samples = ox_node_int(n, "sampling_ratio", 0);
    if (r->samples > 0) {
        return;
    }
    size_t count = 0;
    const double *rois = ox_shape_doubles(n, 1, &count);
    if (rois == NULL || count != (size_t)r->count * 4) {
        ox_made_fail(n, "its regions are not constant, and it has no sampling_ratio");
    }
    for (int axis = 0; axis < 2; axis++) {
        int64_t out = ox_made_size(n, n->outputs[0], axis + 2);
        int64_t *taken = ox_arena_alloc(n->graph->arena, (size_t)r->count, sizeof *taken);
        for (int64_t k = 0; k < r->count; k++) {
            double extent = (rois[4 * k + 3 - axis] - rois[4 * k + 1 - axis]) * r->scale;
            extent = !r->half && extent < 1 ? 1 : extent;
            double pixels = ceil(extent / (double)out);
            if (!(pixels >= 0 && pixels < 1e4)) {
                ox_made_fail(n, "a region of it is too large");
            }
            taken[k] = pixels < 1 ? 1 : (int64_t)pixels;
            r->samples = taken[k] > r->samples ? taken[k] : r->samples;
        }
        r->taken[axis] = taken;
    }
}

/* [K, 1, 1] of numbers for each region: of taken[] by `number`. */
static ox_val per_region(const regions *r, int axis, double (*number)(const regions *, int64_t))
{
    const int64_t dims[] = {r->count, 1, 1};
    double *numbers = ox_arena_alloc(r->rois->graph->arena, (size_t)r->count, sizeof *numbers);
    for (int64_t k = 0; k < r->count; k++) {
        numbers[k] = number(r, r->taken[axis] == NULL ? r->samples : r->taken[axis][k]);
    }
    return ox_floats(r->rois->graph, r->rois->type, 3, dims, numbers);
}

static double one_over(const regions *r, int64_t taken)
{
    (void)r;
    return 1 / (double)taken;
}

static double as_it_is(const regions *r, int64_t taken)
{
    (void)r;
    return (double)taken;
}

/* The two weights of each sample along an axis, [K, out * samples, size]: of the pixel before and
 * of the pixel behind. `share`: divided by the number of samples, for their mean. */
static void region_weights(const regions *r, int axis, int64_t out, int64_t size, bool share,
                           ox_val weights[2])
{
    ox_graph *g = r->rois->graph;
    ox_val start = ox_slice(r->rois, -1, 1 - axis, 2 - axis, 1);
    ox_val end = ox_slice(r->rois, -1, 3 - axis, 4 - axis, 1);
    start = ox_unsqueeze(ox_shift(ox_scale(start, r->scale), -r->shift), -1); /* [K, 1, 1] */
    end = ox_unsqueeze(ox_shift(ox_scale(end, r->scale), -r->shift), -1);
    ox_val extent = ox_sub(end, start);
    extent = r->half ? extent : ox_max(extent, ox_number(extent, 1));
    ox_val bin = ox_scale(extent, 1 / (double)out);
    ox_val part = ox_mul(bin, per_region(r, axis, one_over));
    ox_val bins = ox_unsqueeze(ox_iota(g, start->type, out), -1);      /* [out, 1] */
    ox_val steps = ox_shift(ox_iota(g, start->type, r->samples), 0.5); /* [samples] */
    ox_val at = ox_add(ox_add(start, ox_mul(bin, bins)), ox_mul(part, steps));
    /* Samples more than a pixel outside count nothing, others are moved inside. */
    ox_val inside = ox_unary("Not", ox_greater(ox_abs(ox_shift(at, -((double)size - 1) / 2)),
                                               ox_number(at, ((double)size + 1) / 2)));
    ox_val valid = ox_cast(inside, at->type);
    if (r->taken[axis] != NULL) {
        ox_val used = ox_less(steps, per_region(r, axis, as_it_is));
        valid = ox_mul(valid, ox_cast(used, at->type));
    }
    valid = share ? ox_mul(valid, per_region(r, axis, one_over)) : valid;
    const ox_dim flat[] = {ox_dim_of(r->count), ox_dim_of(out * r->samples), ox_dim_of(1)};
    ox_val p = ox_reshape(ox_clip(at, 0, (double)size - 1), 3, flat);
    ox_val low = ox_unary("Floor", p), behind = ox_sub(p, low);
    valid = ox_reshape(valid, 3, flat);
    ox_val distance = ox_sub(ox_iota(g, p->type, size), low);
    ox_val before = ox_unary("Relu", ox_shift(ox_neg(ox_abs(distance)), 1));
    ox_val after = ox_unary("Relu", ox_shift(ox_neg(ox_abs(ox_shift(distance, -1))), 1));
    weights[0] = ox_mul(before, ox_mul(ox_shift(ox_neg(behind), 1), valid));
    weights[1] = ox_mul(after, ox_mul(behind, valid));
}

/* a [K, C, H, W] by rows and columns: [K, C, rows, columns]. */
static ox_val both_sides(ox_val rows, ox_val a, ox_val columns)
{
    return ox_matmul(ox_matmul(ox_unsqueeze(rows, 1), a), ox_swap_last(ox_unsqueeze(columns, 1)));
}

/* [K, out * samples, size] summed over the samples. */
static ox_val added_up(const regions *r, ox_val w, int64_t out)
{
    const ox_dim apart[] = {w->dims[0], ox_dim_of(out), ox_dim_of(r->samples), w->dims[2]};
    return ox_sum(ox_reshape(w, 4, apart), -2, false);
}

void decompose_roi_align(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), y = n->outputs[0];
    regions r = {.n = n, .rois = ox_cast(ox_made_ranked(n, 1), x->type)};
    r.count = ox_made_size(n, r.rois, 0);
    r.scale = ox_node_float(n, "spatial_scale", 1);
    r.half = has(n, "coordinate_transformation_mode", "half_pixel", "half_pixel");
    r.shift = r.half ? 0.5 : 0;
    if (ox_input_varies(n, 1)) {
        ox_made_fail(n, "its regions depend on the input");
    }
    bool max = has(n, "mode", "avg", "max");
    int64_t out[2] = {ox_made_size(n, y, 2), ox_made_size(n, y, 3)};
    int64_t size[2] = {ox_made_size(n, x, 2), ox_made_size(n, x, 3)}, room = 0;
    count_samples(&r);
    if (!ox_int_mul(out[0] > out[1] ? out[0] : out[1], r.samples, &room) || room > LARGEST) {
        ox_made_fail(n, "it has too many samples");
    }
    ox_val picked = ox_gather(x, ox_node_input(n, 2), 0), rows[2], columns[2];
    region_weights(&r, 0, out[0], size[0], !max, rows);
    region_weights(&r, 1, out[1], size[1], !max, columns);
    if (!max) {
        outputs[0] = both_sides(added_up(&r, ox_add(rows[0], rows[1]), out[0]), picked,
                                added_up(&r, ox_add(columns[0], columns[1]), out[1]));
        return;
    }
    for (int64_t k = 0; r.taken[0] != NULL && k < r.count; k++) {
        if (r.taken[0][k] != r.samples || r.taken[1][k] != r.samples) {
            ox_made_fail(n, "no rule for mode max where regions take unequal numbers of samples");
        }
    }
    ox_val most[4];
    for (int i = 0; i < 4; i++) {
        most[i] = both_sides(rows[i / 2], picked, columns[i % 2]);
    }
    ox_val top = ox_graph_emit(x->graph, "Max", 4, most, 0, NULL);
    const ox_dim apart[] = {y->dims[0],           y->dims[1],        ox_dim_of(out[0]),
                            ox_dim_of(r.samples), ox_dim_of(out[1]), ox_dim_of(r.samples)};
    top = ox_reduce("ReduceMax", ox_reshape(top, 6, apart), 2, (const int64_t[]){-3, -1}, false);
    outputs[0] = top;
}

/* ---- DeformConv ------------------------------------------------------------------------------ */

/* The attribute, or `otherwise` for both axes. */
static void pair_of(const ox_node *n, const char *name, int64_t otherwise, int64_t out[2])
{
    size_t count = 0;
    const int64_t *ints = ox_node_ints(n, name, &count);
    for (int k = 0; k < 2; k++) {
        out[k] = ints != NULL && count >= 2 ? ints[k] : otherwise;
    }
}

/* Position p of tap t without its offset, [taps, P] for axis k. */
static ox_val tap_places(const ox_node *n, ox_val w, int k)
{
    ox_val y = n->outputs[0];
    int64_t stride[2], dilation[2], pad[2], kernel[2], out[2];
    pair_of(n, "strides", 1, stride);
    pair_of(n, "dilations", 1, dilation);
    pair_of(n, "pads", 0, pad);
    for (int i = 0; i < 2; i++) {
        kernel[i] = ox_made_size(n, w, i + 2);
        out[i] = ox_made_size(n, y, i + 2);
    }
    int64_t taps = kernel[0] * kernel[1], places = out[0] * out[1], dims[] = {taps, places};
    double *numbers = ox_arena_alloc(y->graph->arena, (size_t)(taps * places), sizeof *numbers);
    for (int64_t i = 0; i < taps * places; i++) {
        int64_t tap = k == 0 ? i / places / kernel[1] : i / places % kernel[1];
        int64_t place = k == 0 ? i % places / out[1] : i % places % out[1];
        numbers[i] = (double)(place * stride[k] + tap * dilation[k] - pad[k]);
    }
    return ox_floats(y->graph, w->type, 2, dims, numbers);
}

/* Every tap samples the image at its place, and the filters weigh the taps. */
void decompose_deform_conv(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), w = ox_made_ranked(n, 1), offset = ox_made_ranked(n, 2);
    ox_val bias = ox_made_input(n, 3), mask = ox_made_input(n, 4), y = n->outputs[0];
    if (x->rank != 4 || w->rank != 4 || y->rank != 4) {
        ox_made_fail(n, "no rule for its number of axes");
    }
    int64_t groups = ox_node_int(n, "group", 1), parts = ox_node_int(n, "offset_group", 1);
    int64_t channels = ox_made_size(n, x, 1), filters = ox_made_size(n, w, 0);
    int64_t taps = ox_made_count(n, w, 2), places = ox_made_count(n, y, 2), room = 0;
    if (groups < 1 || parts < 1 || channels % groups != 0 || channels % parts != 0 ||
        filters % groups != 0 || !ox_int_mul(taps, places, &room) || room > LARGEST) {
        ox_made_fail(n, "its shapes do not fit");
    }
    sampling s = {.n = n, .axes = 2, .varies = ox_input_varies(n, 2)};
    ox_dim batch = x->dims[0], all = ox_dim_mul(x->graph, batch, ox_dim_of(parts));
    s.x = ox_reshape(x, 4,
                     (const ox_dim[]){all, ox_dim_of(channels / parts), x->dims[2], x->dims[3]});
    const ox_dim apart[] = {all, ox_dim_of(taps), ox_dim_of(2), ox_dim_of(places)};
    offset = ox_reshape(ox_cast(offset, x->type), 4, apart);
    for (int k = 0; k < 2; k++) {
        ox_val own = ox_squeeze(ox_slice(offset, -2, k, k + 1, 1), -2); /* [.., taps, P] */
        const ox_dim rows[] = {all, ox_dim_of(room)};
        s.p[k] = ox_reshape(ox_add(own, ox_cast(tap_places(n, w, k), x->type)), 2, rows);
    }
    ox_val taken = sampled(&s);
    if (mask != NULL) {
        taken = ox_mul(taken,
                       ox_reshape(mask, 3, (const ox_dim[]){all, ox_dim_of(1), ox_dim_of(room)}));
    }
    const ox_dim grouped[] = {batch, ox_dim_of(groups), ox_dim_of(channels / groups * taps),
                              ox_dim_of(places)};
    const ox_dim matrix[] = {ox_dim_of(groups), ox_dim_of(filters / groups),
                             ox_dim_of(channels / groups * taps)};
    ox_val sum = ox_matmul(ox_reshape(w, 3, matrix), ox_reshape(taken, 4, grouped));
    sum = ox_reshape(sum, 4, y->dims);
    outputs[0] = ox_made_plus(sum, bias == NULL ? NULL : ox_made_column(bias, 2));
}
