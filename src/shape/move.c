/* Shapes of operators that move data and keep its order: Reshape, Transpose, Concat, Slice, ... */
#include "shape/shape.h"

#include <string.h>

/* Contents of input i, or NULL. */
static const ox_dim *contents(const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    return v == NULL ? NULL : ox_shape_elements(v);
}

/* Sets type of input 0, these dimensions, and the elements in the order they have. */
static void set_reshaped(ox_node *n, int rank, const ox_dim *dims)
{
    size_t before = 0;
    size_t after = 0;
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
    if (rank >= 0 && ox_shape_count(ox_shape_rank(n, 0), ox_shape_dims(n, 0), &before) &&
        ox_shape_count(rank, n->outputs[0]->dims, &after) && before == after) {
        ox_shape_fill(n, 0, contents(n, 0));
    }
}

/* ---- Reshape ---------------------------------------------------------------------------- */

/* Multiplies the known dimensions and keeps the unknown ones apart, in rest[*count]. */
static bool factor(const ox_node *n, int rank, const ox_dim *dims, int skip, ox_dim *product,
                   ox_dim *rest, int *count)
{
    *product = ox_dim_of(1);
    *count = 0;
    for (int k = 0; k < rank; k++) {
        if (k == skip) {
            continue;
        }
        if (dims[k].unknown != 0) {
            rest[(*count)++] = dims[k];
            continue;
        }
        *product = ox_shape_dim_times(n, *product, dims[k]);
        if (product->unknown != 0) {
            return false;
        }
    }
    return true;
}

/* Takes the unknown dimensions of `den` out of `num`; false where one is not there. */
static bool cancel(ox_dim *num, int *num_count, const ox_dim *den, int den_count)
{
    for (int i = 0; i < den_count; i++) {
        int at = 0;
        while (at < *num_count && num[at].unknown != den[i].unknown) {
            at++;
        }
        if (at == *num_count) {
            return false;
        }
        num[at] = num[--*num_count];
    }
    return true;
}

/* What dimension `at` of the target has to be for the sizes to match. */
static ox_dim solve(const ox_node *n, int rank, const ox_dim *target, int at)
{
    int in_rank = ox_shape_rank(n, 0);
    ox_dim *num = ox_shape_room(n, in_rank);
    ox_dim *den = ox_shape_room(n, rank);
    int num_count = 0;
    int den_count = 0;
    ox_dim in;
    ox_dim out;
    ox_dim quotient;
    if (!factor(n, in_rank, ox_shape_dims(n, 0), -1, &in, num, &num_count) ||
        !factor(n, rank, target, at, &out, den, &den_count) ||
        !cancel(num, &num_count, den, den_count) || ox_dim_is(out, 0)) {
        return ox_shape_any(n);
    }
    if (num_count == 0 && ox_dim_is_static(in) && ox_dim_is_static(out) && in.size % out.size) {
        ox_arena *a = n->graph->arena;
        ox_fail(a, OX_INVALID, "%s: shape %s does not fit into %s", ox_node_label(n),
                ox_shape_text(a, in_rank, ox_shape_dims(n, 0)), ox_shape_text(a, rank, target));
    }
    if (num_count == 1 && ox_dim_equal(in, out)) {
        return num[0];
    }
    return num_count == 0 && ox_dim_div(in, out, &quotient) ? quotient : ox_shape_any(n);
}

static void check_sizes(const ox_node *n, int rank, const ox_dim *dims)
{
    ox_dim size = ox_dim_of(1);
    for (int k = 0; k < rank; k++) {
        size = ox_shape_dim_times(n, size, dims[k]);
    }
    ox_dim in = ox_dim_of(1);
    for (int k = 0; k < ox_shape_rank(n, 0); k++) {
        in = ox_shape_dim_times(n, in, ox_shape_dims(n, 0)[k]);
    }
    if (ox_dim_is_static(size) && ox_dim_is_static(in) && size.size != in.size) {
        ox_arena *a = n->graph->arena;
        ox_fail(a, OX_INVALID, "%s: shape %s does not fit into %s", ox_node_label(n),
                ox_shape_text(a, ox_shape_rank(n, 0), ox_shape_dims(n, 0)),
                ox_shape_text(a, rank, dims));
    }
}

/* A 0 in the new shape. */
static ox_dim copied_dim(const ox_node *n, int axis)
{
    int rank = ox_shape_rank(n, 0);
    if (rank >= 0 && axis >= rank) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: axis %d copies no axis of rank %d",
                ox_node_label(n), axis, rank);
    }
    return rank < 0 ? ox_shape_any(n) : ox_shape_dims(n, 0)[axis];
}

void infer_reshape(ox_node *n)
{
    ox_shape_list target = ox_shape_list_of(n, 1, "shape");
    int in_rank = ox_shape_rank(n, 0);
    if (target.items == NULL) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    bool zeros = ox_node_int(n, "allowzero", 0) != 0;
    int rank = (int)target.count;
    ox_dim *dims = ox_shape_room(n, rank);
    int minus = -1; /* where the -1 is, and the last element that is not known */
    int open = -1;
    int open_count = 0;
    for (int k = 0; k < rank; k++) {
        dims[k] = target.items[k];
        if (ox_dim_is(dims[k], 0) && !zeros) {
            dims[k] = copied_dim(n, k);
        } else if (ox_dim_is(dims[k], -1) && minus < 0) {
            dims[k] = ox_shape_any(n);
            minus = k;
        } else if (dims[k].unknown != 0) {
            open = k;
            open_count++;
        } else if (dims[k].size < 0) {
            ox_fail(n->graph->arena, OX_INVALID, "%s: the new shape has %lld%s", ox_node_label(n),
                    (long long)dims[k].size, minus < 0 ? "" : " again");
        }
    }
    if (in_rank >= 0 && minus >= 0) {
        dims[minus] = solve(n, rank, dims, minus);
    } else if (in_rank >= 0 && open_count == 1) {
        ox_dim solved = solve(n, rank, dims, open);
        dims[open] = solved.unknown == 0 ? solved : dims[open];
    } else if (in_rank >= 0) {
        check_sizes(n, rank, dims);
    }
    set_reshaped(n, rank, dims);
}

void infer_flatten(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_dim dims[2] = {ox_shape_any(n), ox_shape_any(n)};
    if (rank >= 0) {
        int64_t axis = ox_node_int(n, "axis", 1);
        int split = axis == rank ? rank : ox_shape_axis(n, axis, rank);
        dims[0] = dims[1] = ox_dim_of(1);
        for (int k = 0; k < rank; k++) {
            ox_dim *side = &dims[k >= split];
            *side = ox_shape_dim_times(n, *side, ox_shape_dims(n, 0)[k]);
        }
    }
    set_reshaped(n, 2, dims);
}

void infer_squeeze(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_shape_list axes = ox_shape_list_of(n, 1, "axes");
    if (rank < 0 || (axes.given && !axes.fixed)) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    const ox_dim *in = ox_shape_dims(n, 0);
    const bool *out_of = ox_shape_axes(n, &axes, rank);
    ox_dim *dims = ox_shape_room(n, rank);
    int kept = 0;
    for (int k = 0; k < rank; k++) {
        if (axes.given && out_of[k] && ox_dim_is_static(in[k]) && in[k].size != 1) {
            ox_fail(n->graph->arena, OX_INVALID, "%s: axis %d of %s is not 1", ox_node_label(n), k,
                    ox_shape_text(n->graph->arena, rank, in));
        }
        if (!axes.given && in[k].unknown != 0) {
            ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
            return;
        }
        if (axes.given ? !out_of[k] : !ox_dim_is(in[k], 1)) {
            dims[kept++] = in[k];
        }
    }
    set_reshaped(n, kept, dims);
}

void infer_unsqueeze(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_shape_list axes = ox_shape_list_of(n, 1, "axes");
    if (rank < 0 || axes.items == NULL || (int64_t)axes.count > INT32_MAX - (int64_t)rank) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    int out_rank = rank + (int)axes.count;
    ox_dim *dims = ox_shape_room(n, out_rank);
    const bool *added = axes.fixed ? ox_shape_axes(n, &axes, out_rank) : NULL;
    for (int k = 0, from = 0; k < out_rank; k++) {
        dims[k] = added == NULL ? ox_shape_any(n)
                  : added[k]    ? ox_dim_of(1)
                                : ox_shape_dims(n, 0)[from++];
    }
    set_reshaped(n, out_rank, dims);
}

/* ---- order of axes ---------------------------------------------------------------------- */

void infer_transpose(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    if (rank < 0) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    const int *perm = ox_node_perm(n, rank);
    ox_dim *dims = ox_shape_room(n, rank);
    if (perm == NULL) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: perm does not fit rank %d", ox_node_label(n),
                rank);
    }
    for (int k = 0; k < rank; k++) {
        dims[k] = ox_shape_dims(n, 0)[perm[k]];
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
    size_t elements = 0;
    if (contents(n, 0) != NULL && ox_shape_count(rank, dims, &elements)) {
        ox_arena *a = n->graph->arena;
        const int64_t *own = ox_shape_strides(a, rank, ox_shape_dims(n, 0));
        int64_t *strides = ox_arena_alloc(a, (size_t)rank + 1, sizeof *strides);
        for (int k = 0; k < rank; k++) {
            strides[k] = own[perm[k]];
        }
        ox_shape_view(n, 0, contents(n, 0), 0, strides);
    }
}

/* ---- putting together and taking apart -------------------------------------------------- */

static void concat_elements(ox_node *n, int axis)
{
    size_t total = 0;
    ox_val out = n->outputs[0];
    bool any = false;
    for (size_t i = 0; i < n->input_count; i++) {
        any = any || contents(n, i) != NULL;
    }
    if (!any || !ox_shape_count(out->rank, out->dims, &total)) {
        return;
    }
    size_t outer = 1;
    for (int k = 0; k < axis; k++) {
        outer *= (size_t)out->dims[k].size;
    }
    ox_dim *elements = ox_arena_alloc(n->graph->arena, total, sizeof *elements);
    size_t start = 0;
    for (size_t i = 0; i < n->input_count && total > 0; i++) {
        ox_val v = n->inputs[i];
        size_t count = 0;
        const ox_dim *part = ox_shape_contents(v);
        if (part == NULL || !ox_shape_count(v->rank, v->dims, &count)) {
            return;
        }
        size_t run = count / outer;
        if (run > total / outer - start) {
            return;
        }
        for (size_t o = 0; o < outer; o++) {
            memcpy(elements + o * (total / outer) + start, part + o * run, run * sizeof *part);
        }
        start += run;
    }
    ox_shape_fill(n, 0, elements);
}

void infer_concat(ox_node *n)
{
    int rank = -1;
    bool whole = true;
    ox_dim *dims = NULL;
    int axis = 0;
    for (size_t i = 0; i < n->input_count; i++) {
        int own = ox_shape_rank(n, i);
        if (own < 0) {
            whole = false;
        } else if (rank < 0) {
            rank = own;
            axis = ox_shape_axis(n, ox_node_int(n, "axis", 1), rank);
            dims = ox_shape_copy(n, i);
        } else {
            ox_shape_need(n, i, rank, rank);
            for (int k = 0; k < rank; k++) {
                const ox_dim *more = ox_shape_dims(n, i);
                dims[k] = k == axis ? ox_shape_add(n->graph, dims[k], more[k])
                                    : ox_shape_agree(n, dims[k], more[k]);
            }
        }
    }
    if (rank >= 0 && !whole) {
        dims[axis] = ox_shape_any(n);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
    if (whole && rank > 0) {
        concat_elements(n, axis);
    }
}

/* The size of part i of `parts` along an axis of size `whole`: equal ones, the last may be less. */
static ox_dim part_size(const ox_node *n, ox_dim whole, size_t parts, size_t i)
{
    ox_dim part;
    if (ox_dim_is_static(whole)) {
        int64_t each = whole.size / (int64_t)parts + (whole.size % (int64_t)parts != 0);
        int64_t left = whole.size - each * (int64_t)i;
        return ox_dim_of(left < each ? left : each);
    }
    return ox_dim_div(whole, ox_dim_of((int64_t)parts), &part) ? part : ox_shape_any(n);
}

void infer_split(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 1, INT32_MAX);
    ox_shape_list sizes = ox_shape_list_of(n, 1, "split");
    if (rank < 0) {
        for (size_t i = 0; i < n->output_count; i++) {
            ox_shape_set(n, i, ox_shape_type(n, 0), -1, NULL);
        }
        return;
    }
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", 0), rank);
    if (sizes.items != NULL && sizes.count != n->output_count) {
        ox_fail(n->graph->arena, OX_INVALID, "%s: %zu sizes for %zu outputs", ox_node_label(n),
                sizes.count, n->output_count);
    }
    const ox_dim *in = ox_shape_dims(n, 0);
    size_t elements = 0;
    bool small = contents(n, 0) != NULL && ox_shape_count(rank, in, &elements);
    const int64_t *strides = small ? ox_shape_strides(n->graph->arena, rank, in) : NULL;
    int64_t start = 0;
    for (size_t i = 0; i < n->output_count; i++) {
        ox_dim *dims = ox_shape_copy(n, 0);
        dims[axis] = !sizes.given          ? part_size(n, in[axis], n->output_count, i)
                     : sizes.items == NULL ? ox_shape_any(n)
                                           : sizes.items[i];
        ox_shape_set(n, i, ox_shape_type(n, 0), rank, dims);
        if (ox_dim_is_static(dims[axis]) && ox_dim_is_static(in[axis])) {
            if (dims[axis].size > in[axis].size - start) {
                ox_fail(n->graph->arena, OX_INVALID, "%s: the parts exceed %lld", ox_node_label(n),
                        (long long)in[axis].size);
            }
            if (small) {
                ox_shape_view(n, i, contents(n, 0), start * strides[axis], strides);
            }
            start += dims[axis].size;
        } else {
            small = false;
        }
    }
}

/* ---- repeating -------------------------------------------------------------------------- */

void infer_expand(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_shape_list shape = ox_shape_input_list(n, 1);
    if (rank < 0 || shape.items == NULL) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    int out_rank = rank;
    ox_dim *dims = ox_shape_copy(n, 0);
    ox_shape_broadcast(n, &out_rank, &dims, (int)shape.count, shape.items);
    ox_shape_set(n, 0, ox_shape_type(n, 0), out_rank, dims);
    size_t elements = 0;
    if (contents(n, 0) != NULL && ox_shape_count(out_rank, dims, &elements)) {
        const ox_dim *in = ox_shape_dims(n, 0);
        const int64_t *own = ox_shape_strides(n->graph->arena, rank, in);
        int64_t *strides = ox_arena_alloc(n->graph->arena, (size_t)out_rank + 1, sizeof *strides);
        for (int k = 0; k < rank; k++) {
            strides[out_rank - rank + k] = ox_dim_is(in[k], 1) ? 0 : own[k];
        }
        ox_shape_view(n, 0, contents(n, 0), 0, strides);
    }
}

void infer_tile(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    ox_shape_list repeats = ox_shape_input_list(n, 1);
    ox_dim *dims = NULL;
    if (rank >= 0) {
        dims = ox_shape_copy(n, 0);
        if (repeats.items != NULL && repeats.count != (size_t)rank) {
            ox_fail(n->graph->arena, OX_INVALID, "%s: %zu repeats for rank %d", ox_node_label(n),
                    repeats.count, rank);
        }
        for (int k = 0; k < rank; k++) {
            dims[k] = repeats.items != NULL ? ox_shape_dim_times(n, dims[k], repeats.items[k])
                                            : ox_shape_any(n);
        }
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
    /* One element repeated, or a row of them: that is all that shape arithmetic does. */
    size_t before = 0;
    size_t after = 0;
    if (rank == 1 && contents(n, 0) != NULL && ox_shape_count(rank, dims, &after) &&
        ox_shape_count(1, ox_shape_dims(n, 0), &before)) {
        ox_dim *elements = ox_arena_alloc(n->graph->arena, after, sizeof *elements);
        for (size_t k = 0; k < after; k++) {
            elements[k] = contents(n, 0)[k % before];
        }
        ox_shape_fill(n, 0, elements);
    }
}
