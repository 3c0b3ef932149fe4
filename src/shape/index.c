/* Shapes of operators that pick or place elements by index: Slice, Gather, Scatter, OneHot, ... */
#include "shape/shape.h"

static const ox_dim *contents(const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    return v == NULL ? NULL : ox_shape_elements(v);
}

static void set_unknown_rank(ox_node *n)
{
    ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
}

/* ---- Slice ------------------------------------------------------------------------------ */

/* Numbers from here on mean "to the end" for symbols, too: converters from TensorFlow write 10^9.
 */
enum { FAR = 1000000000 };

typedef struct cut {
    int64_t first, step; /* where elements start, when `known` */
    bool known;
    ox_dim size;
} cut;

/* Of a symbol: all of it, in either direction, or one element at an end. */
static cut cut_symbol(const ox_node *n, ox_dim size, ox_dim start, ox_dim end, int64_t step)
{
    cut c = {.size = ox_shape_any(n)};
    bool to_end = ox_dim_equal(end, size) || (ox_dim_is_static(end) && end.size >= FAR);
    if (!ox_dim_is_static(start)) {
        return c;
    }
    if (step == 1 && to_end && (start.size == 0 || start.size <= -FAR)) {
        c.size = size;
    } else if (step == -1 && (start.size == -1 || start.size >= FAR) && ox_dim_is_static(end) &&
               end.size <= -FAR) {
        c.size = size;
    } else if (step > 0 &&
               ((start.size == 0 && ox_dim_is(end, 1)) || (start.size == -1 && to_end))) {
        c.size = ox_dim_of(1);
    }
    return c;
}

static cut cut_axis(const ox_node *n, ox_dim size, ox_dim start, ox_dim end, ox_dim step)
{
    if (ox_dim_is(step, 0)) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: a step is 0", ox_node_label(n));
    }
    if (!ox_dim_is_static(step)) {
        return (cut){.size = ox_shape_any(n)};
    }
    /* Taken from the end, -size is far enough. */
    int64_t stride = step.size == INT64_MIN ? -INT64_MAX : step.size;
    if (ox_dim_is_static(size) && ox_dim_is_static(start) && ox_dim_is_static(end)) {
        ox_run run = ox_run_of(size.size, start.size, end.size, stride);
        return (cut){run.first, run.step, true, ox_dim_of(run.count)};
    }
    return cut_symbol(n, size, start, end, stride);
}

static void slice_elements(ox_node *n, int rank, const cut *cuts)
{
    ox_arena *a = n->graph->arena;
    if (contents(n, 0) == NULL) {
        return;
    }
    int64_t *strides = ox_shape_strides(a, rank, ox_shape_dims(n, 0));
    int64_t offset = 0;
    for (int k = 0; k < rank; k++) {
        if (!cuts[k].known) {
            return;
        }
        if (ox_dim_is(cuts[k].size, 0)) {
            break; /* nothing is read */
        }
        offset += cuts[k].first * strides[k];
        strides[k] = ox_dim_is(cuts[k].size, 1) ? 0 : strides[k] * cuts[k].step;
    }
    ox_shape_view(n, 0, contents(n, 0), offset, strides);
}

typedef struct slice {
    ox_shape_list starts, ends, axes, steps;
} slice;

/* Whether it can be told which axes are cut. */
static bool read_slice(const ox_node *n, int rank, slice *s)
{
    s->starts = ox_shape_list_of(n, 1, "starts");
    s->ends = ox_shape_list_of(n, 2, "ends");
    s->axes = ox_shape_list_of(n, 3, "axes");
    s->steps = ox_shape_input_list(n, 4);
    if (s->starts.items == NULL || s->ends.items == NULL || (s->axes.given && !s->axes.fixed) ||
        (s->steps.given && s->steps.items == NULL)) {
        return false;
    }
    size_t count = s->starts.count;
    if (s->ends.count != count || (s->axes.given ? s->axes.count != count : count > (size_t)rank) ||
        (s->steps.given && s->steps.count != count)) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: starts, ends, axes and steps differ in length",
                ox_node_label(n));
    }
    ox_shape_axes(n, &s->axes, rank);
    return true;
}

void infer_slice(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    slice s;
    if (rank < 0) {
        set_unknown_rank(n);
        return;
    }
    ox_dim *dims = ox_shape_copy(n, 0);
    if (!read_slice(n, rank, &s)) {
        for (int k = 0; k < rank; k++) {
            dims[k] = ox_shape_any(n);
        }
        ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
        return;
    }
    cut *cuts = ox_arena_alloc(n->graph->arena, (size_t)rank + 1, sizeof *cuts);
    for (int k = 0; k < rank; k++) {
        cuts[k] = (cut){.first = 0, .step = 1, .known = true, .size = dims[k]};
    }
    for (size_t i = 0; i < s.starts.count; i++) {
        int axis = s.axes.given ? ox_shape_axis(n, s.axes.items[i].size, rank) : (int)i;
        ox_dim step = s.steps.given ? s.steps.items[i] : ox_dim_of(1);
        cuts[axis] = cut_axis(n, dims[axis], s.starts.items[i], s.ends.items[i], step);
        dims[axis] = cuts[axis].size;
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
    slice_elements(n, rank, cuts);
}

/* ---- Pad -------------------------------------------------------------------------------- */

static ox_dim padded(const ox_node *n, ox_dim size, ox_dim begin, ox_dim end)
{
    if (!ox_dim_is_static(begin) || !ox_dim_is_static(end)) {
        return ox_shape_any(n);
    }
    int64_t pads = ox_shape_plus(n, begin.size, end.size);
    if (ox_dim_is_static(size)) {
        return ox_dim_of(ox_shape_plus(n, size.size, pads));
    }
    return pads == 0 ? size : ox_shape_any(n);
}

void infer_pad(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_shape_list pads = ox_shape_list_of(n, 1, "pads");
    ox_shape_list axes = ox_shape_input_list(n, 3);
    if (rank < 0) {
        set_unknown_rank(n);
        return;
    }
    ox_dim *dims = ox_shape_copy(n, 0);
    bool readable = pads.items != NULL && (!axes.given || (axes.items != NULL && axes.fixed));
    size_t count = axes.given ? axes.count : (size_t)rank;
    if (readable && pads.count != 2 * count) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: %zu pads for %zu axes", ox_node_label(n),
                pads.count, count);
    }
    if (readable) {
        ox_shape_axes(n, &axes, rank);
    }
    for (size_t i = 0; i < (readable ? count : (size_t)rank); i++) {
        int axis = readable && axes.given ? ox_shape_axis(n, axes.items[i].size, rank) : (int)i;
        dims[axis] = readable ? padded(n, dims[axis], pads.items[i], pads.items[count + i])
                              : ox_shape_any(n);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

/* ---- Gather ----------------------------------------------------------------------------- */

static void gather_elements(ox_node *n, int axis, int rank, const ox_dim *dims)
{
    const ox_dim *data = contents(n, 0);
    const ox_dim *indices = contents(n, 1);
    size_t total = 0;
    size_t picks = 0;
    const ox_dim *in = ox_shape_dims(n, 0);
    if (data == NULL || indices == NULL || !ox_shape_count(rank, dims, &total) || total == 0 ||
        !ox_shape_count(ox_shape_rank(n, 1), ox_shape_dims(n, 1), &picks)) {
        return;
    }
    size_t inner = (size_t)ox_shape_strides(n->graph->arena, ox_shape_rank(n, 0), in)[axis];
    int64_t size = in[axis].size;
    ox_dim *out = ox_arena_alloc(n->graph->arena, total, sizeof *out);
    for (size_t k = 0; k < total; k++) {
        ox_dim index = indices[k / inner % picks];
        int64_t at = index.size + (index.size < 0 ? size : 0);
        if (!ox_dim_is_static(index)) {
            out[k] = ox_shape_any(n);
        } else if (at < 0 || at >= size) {
            ox_fail(n->graph->arena, OX_INVALID, "%s: index %lld of %lld", ox_node_label(n),
                    (long long)index.size, (long long)size);
        } else {
            size_t outer = k / inner / picks;
            out[k] = data[(outer * (size_t)size + (size_t)at) * inner + k % inner];
        }
    }
    ox_shape_fill(n, 0, out);
}

void infer_gather(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 1, INT32_MAX);
    int picks = ox_shape_rank(n, 1);
    if (rank < 0 || picks < 0 || picks > INT32_MAX - rank) {
        set_unknown_rank(n);
        return;
    }
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", 0), rank);
    ox_dim *dims = ox_shape_room(n, rank + picks);
    const ox_dim *in = ox_shape_dims(n, 0);
    int out = 0;
    for (int k = 0; k < axis; k++) {
        dims[out++] = in[k];
    }
    for (int k = 0; k < picks; k++) {
        dims[out++] = ox_shape_dims(n, 1)[k];
    }
    for (int k = axis + 1; k < rank; k++) {
        dims[out++] = in[k];
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), out, dims);
    gather_elements(n, axis, out, dims);
}

void infer_gather_elements(ox_node *n)
{
    ox_shape_set(n, 0, ox_shape_type(n, 0), ox_shape_rank(n, 1), ox_shape_dims(n, 1));
}

/* indices [..., k] into data after the batch axes: [..., rest of data]. */
void infer_gather_nd(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 1, INT32_MAX);
    int picks = ox_shape_need(n, 1, 1, INT32_MAX);
    const ox_dim *indices = ox_shape_dims(n, 1);
    if (rank < 0 || picks < 0 || !ox_dim_is_static(indices[picks - 1])) {
        set_unknown_rank(n);
        return;
    }
    int64_t batch = ox_node_int(n, "batch_dims", 0);
    int64_t depth = indices[picks - 1].size;
    if (batch < 0 || batch >= picks || batch > rank || depth < 1 || depth > rank - batch) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: indices %s do not fit rank %d", ox_node_label(n),
                ox_shape_text(n->graph->arena, picks, indices), rank);
    }
    ox_dim *dims = ox_shape_room(n, picks + rank);
    int out = 0;
    for (int k = 0; k < picks - 1; k++) {
        dims[out++] = indices[k];
    }
    for (int64_t k = batch + depth; k < rank; k++) {
        dims[out++] = ox_shape_dims(n, 0)[k];
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), out, dims);
}

void infer_scatter(ox_node *n)
{
    ox_shape_same(n, 0, 0);
}

/* ---- counts that depend on the data ----------------------------------------------------- */

void infer_one_hot(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_dim *dims = NULL;
    if (rank >= 0) {
        int axis = ox_shape_axis(n, ox_node_int(n, "axis", -1), rank + 1);
        int64_t whole = 0;
        size_t count = 0;
        ox_dim depth = ox_shape_any(n);
        const double *number = ox_shape_doubles(n, 1, &count);
        if (ox_shape_number(n, 1, &whole)) {
            depth = ox_dim_of(whole);
        } else if (number != NULL && count == 1 && number[0] >= 0 && number[0] < 1e15) {
            depth = ox_dim_of((int64_t)number[0]);
        }
        dims = ox_shape_room(n, rank + 1);
        for (int k = 0; k <= rank; k++) {
            dims[k] = k == axis ? depth : ox_shape_dims(n, 0)[k - (k > axis)];
        }
    }
    ox_shape_set(n, 0, ox_shape_type(n, 2), rank < 0 ? -1 : rank + 1, dims);
}

/* How many a constant condition keeps. */
static ox_dim kept_by(const ox_node *n)
{
    ox_val condition = ox_node_input(n, 1);
    const ox_dim *known = condition == NULL ? NULL : ox_shape_elements(condition);
    size_t count = 0;
    int64_t kept = 0;
    if (known == NULL || !ox_shape_count(condition->rank, condition->dims, &count) ||
        !ox_dims_static((int)count, known)) {
        return ox_shape_any(n);
    }
    for (size_t k = 0; k < count; k++) {
        kept += known[k].size != 0;
    }
    return ox_dim_of(kept);
}

void infer_compress(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_dim any = kept_by(n);
    if (ox_node_attr(n, "axis") == NULL) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), 1, &any);
    } else if (rank >= 0) {
        ox_dim *dims = ox_shape_copy(n, 0);
        dims[ox_shape_axis(n, ox_node_int(n, "axis", 0), rank)] = any;
        ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
    } else {
        set_unknown_rank(n);
    }
}

/* Y, indices, inverse_indices, counts. */
void infer_unique(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_dim found = ox_shape_any(n);
    ox_dim all = rank < 0 ? ox_shape_any(n) : ox_dim_of(1);
    if (ox_node_attr(n, "axis") == NULL) {
        for (int k = 0; k < rank; k++) {
            all = ox_shape_dim_times(n, all, ox_shape_dims(n, 0)[k]);
        }
        ox_shape_set(n, 0, ox_shape_type(n, 0), 1, &found);
    } else if (rank >= 0) {
        int axis = ox_shape_axis(n, ox_node_int(n, "axis", 0), rank);
        ox_dim *dims = ox_shape_copy(n, 0);
        all = dims[axis];
        dims[axis] = found;
        ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
    }
    ox_shape_set(n, 1, OX_INT64, 1, &found);
    ox_shape_set(n, 2, OX_INT64, 1, &all);
    ox_shape_set(n, 3, OX_INT64, 1, &found);
}

/* [rank, count], the coordinates of what is not 0. */
void infer_nonzero(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    size_t count = 0;
    const ox_dim *in = contents(n, 0);
    ox_dim dims[2] = {rank < 1 ? ox_shape_any(n) : ox_dim_of(rank), ox_shape_any(n)};
    bool known = rank == 1 && in != NULL && ox_shape_count(1, ox_shape_dims(n, 0), &count);
    ox_dim *where = ox_shape_room(n, (int)count);
    int64_t found = 0;
    for (size_t k = 0; k < count; k++) {
        known = known && in[k].unknown == 0;
        if (known && in[k].size != 0) {
            where[found++] = ox_dim_of((int64_t)k);
        }
    }
    if (known) {
        dims[1] = ox_dim_of(found);
    }
    ox_shape_set(n, 0, OX_INT64, 2, dims);
    if (known) {
        ox_shape_fill(n, 0, where);
    }
}

void infer_non_max_suppression(ox_node *n)
{
    ox_dim dims[2] = {ox_shape_any(n), ox_dim_of(3)};
    ox_shape_set(n, 0, OX_INT64, 2, dims);
}
