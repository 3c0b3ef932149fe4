/* A maximum as a tree of maxima of two, each by the rule of Max: axis by axis, neighbours first.
 * The rule of two operands is their game solved exactly, and a tree of k leaves makes k - 1 such
 * games, where one winner a window stands for all of them at once. */
#include "rules/pool_tree.h"

#include "rules/unary.h"

/* Both sides of what the maximum is taken of. */
typedef struct sides {
    ox_val x, x0;
} sides;

typedef struct tree {
    ox_ctx *c;
    bool max;
    int axes;
    const ox_window *w; /* [axes] */
} tree;

/* ---- shapes ------------------------------------------------------------------------------- */

/* [.., n, rest] as [.., n / part, part, rest], and back; axis counts from the end, and is that of n
 * and of `part`. */
static ox_val split_axis(ox_val v, int axis, int64_t part)
{
    ox_dim dims[OX_MAX_RANK + 1];
    int at = v->rank + axis;
    for (int d = 0; d <= v->rank; d++) {
        dims[d] = d <= at ? v->dims[d] : v->dims[d - 1];
    }
    dims[at] = ox_dim_of(v->dims[at].size / part);
    dims[at + 1] = ox_dim_of(part);
    return ox_reshape(v, v->rank + 1, dims);
}

static ox_val merge_axis(ox_val v, int axis)
{
    ox_dim dims[OX_MAX_RANK + 1];
    int at = v->rank + axis;
    for (int d = 0; d < v->rank - 1; d++) {
        dims[d] = d < at ? v->dims[d] : v->dims[d + 1];
    }
    dims[at - 1] = ox_dim_of(v->dims[at - 1].size * v->dims[at].size);
    return ox_reshape(v, v->rank - 1, dims);
}

/* Along one axis, counted from the end; numbers below 0 cut off. */
static ox_val pad_axis(ox_val v, int axis, int64_t before, int64_t after, double with)
{
    int64_t pads[2 * OX_MAX_RANK] = {0};
    pads[v->rank + axis] = before;
    pads[2 * v->rank + axis] = after;
    ox_val in[] = {v, ox_ints(v->graph, 2 * (size_t)v->rank, pads), ox_number(v, with)};
    return before == 0 && after == 0 ? v : ox_graph_emit(v->graph, "Pad", 3, in, 0, NULL);
}

/* ---- windows ------------------------------------------------------------------------------ */

ox_window ox_whole_window(int64_t size)
{
    return (ox_window){
        .in = size, .out = 1, .kernel = size, .extent = size, .stride = 1, .dilation = 1};
}

static bool side_by_side(const ox_window *w)
{
    return w->kernel == w->stride && (w->dilation == 1 || w->kernel == 1);
}

/* [.., in, rest] as [.., out, kernel, rest]; outside is what loses against all that is inside. */
static ox_val take_windows(ox_val v, int axis, const ox_window *w)
{
    int64_t span = (w->out - 1) * w->stride + w->extent;
    v = pad_axis(v, axis, w->begin, span - w->in - w->begin, -ox_huge(v->type));
    if (side_by_side(w)) {
        return split_axis(v, axis, w->kernel);
    }
    ox_val *taps = ox_arena_alloc(v->graph->arena, (size_t)w->kernel, sizeof *taps);
    for (int64_t t = 0; t < w->kernel; t++) {
        int64_t first = t * w->dilation, last = first + (w->out - 1) * w->stride;
        taps[t] = ox_unsqueeze(ox_slice(v, axis, first, last + 1, w->stride), axis);
    }
    return ox_concat(v->graph, (size_t)w->kernel, taps, axis);
}

/* How many taps from t on lie one behind the other in one stride. */
static int64_t run_of_taps(const ox_window *w, int64_t t)
{
    int64_t left = w->stride - t * w->dilation % w->stride, rest = w->kernel - t;
    return w->dilation > 1 ? 1 : left < rest ? left : rest;
}

/* The adjoint: what each position gets of its windows, added up. Taps within a stride are put
 * between zeros together. */
static ox_val give_windows(ox_val m, int axis, const ox_window *w)
{
    ox_val sum = NULL;
    for (int64_t t = 0, count; t < w->kernel; t += count) {
        int64_t at = t * w->dilation % w->stride, first = t * w->dilation - at - w->begin;
        count = run_of_taps(w, t);
        ox_val run = count == w->kernel ? m : ox_slice(m, axis, t, t + count, 1);
        run = merge_axis(pad_axis(run, axis, at, w->stride - at - count, 0), axis);
        run = pad_axis(run, axis, first, w->in - first - w->out * w->stride, 0);
        sum = sum == NULL ? run : ox_add(sum, run);
    }
    return sum;
}

/* ---- the tree ----------------------------------------------------------------------------- */

static ox_val through_axis(const tree *t, sides v, int done);

static ox_val each_second(ox_val v, int axis, int64_t first, int64_t n)
{
    return ox_slice(v, axis, first, n - n % 2, 2);
}

/* Winners of pairs, and of an odd number the last one as it is. */
static ox_val winners(const tree *t, ox_val v, ox_val a, ox_val b, int axis, int64_t n)
{
    ox_val parts[] = {t->max ? ox_max(a, b) : ox_min(a, b), NULL};
    parts[1] = n % 2 == 1 ? ox_slice(v, axis, n - 1, n, 1) : NULL;
    return ox_concat(v->graph, n % 2 == 1 ? 2 : 1, parts, axis);
}

/* Multipliers of v, of which n along the axis become one: up to the winner, whose multiplier the
 * axes that are left say, and back down. */
static ox_val through_pairs(const tree *t, sides v, int axis, int64_t n, int done)
{
    if (n == 1) {
        sides top = {ox_squeeze(v.x, axis), ox_squeeze(v.x0, axis)};
        return ox_unsqueeze(through_axis(t, top, done + 1), axis);
    }
    sides a = {each_second(v.x, axis, 0, n), each_second(v.x0, axis, 0, n)};
    sides b = {each_second(v.x, axis, 1, n), each_second(v.x0, axis, 1, n)};
    sides up = {winners(t, v.x, a.x, b.x, axis, n), winners(t, v.x0, a.x0, b.x0, axis, n)};
    ox_val m = through_pairs(t, up, axis, n - n / 2, done);
    ox_val pairs = n % 2 == 1 ? ox_slice(m, axis, 0, n / 2, 1) : m;
    const char *name = t->max ? "Max" : "Min";
    ox_val to_a = ox_flow(name, (ox_val[]){pairs, a.x, a.x0, b.x, b.x0});
    ox_val to_b = ox_flow(name, (ox_val[]){pairs, b.x, b.x0, a.x, a.x0});
    ox_val both[] = {ox_unsqueeze(to_a, axis), ox_unsqueeze(to_b, axis)};
    ox_val parts[] = {merge_axis(ox_concat(m->graph, 2, both, axis), axis), NULL};
    parts[1] = n % 2 == 1 ? ox_slice(m, axis, n / 2, n / 2 + 1, 1) : NULL;
    if (parts[1] != NULL) { /* as many references as the others */
        ox_dim *dims = ox_arena_copy(m->graph->arena, parts[0]->dims, (size_t)parts[0]->rank,
                                     sizeof *dims);
        dims[parts[0]->rank + axis] = ox_dim_of(1);
        parts[1] = ox_expand(parts[1], parts[0]->rank, dims);
    }
    return ox_concat(m->graph, n % 2 == 1 ? 2 : 1, parts, axis);
}

/* The last axes are `done`: multipliers of v. */
static ox_val through_axis(const tree *t, sides v, int done)
{
    if (done == t->axes) {
        return t->c->m;
    }
    int axis = -1 - done;
    const ox_window *w = &t->w[t->axes - 1 - done];
    sides taps = {take_windows(v.x, axis, w), take_windows(v.x0, axis, w)};
    return give_windows(through_pairs(t, taps, axis, w->kernel, done), axis, w);
}

ox_val ox_pool_tree(ox_ctx *c, bool max, ox_val x, ox_val x0, int axes, const ox_window *w)
{
    const tree t = {c, max, axes, w};
    ox_type type = c->m->type;
    const sides v = {ox_finite(ox_cast(x, type)), ox_finite(ox_cast(x0, type))};
    return through_axis(&t, v, 0);
}
