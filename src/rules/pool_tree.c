/* A maximum as a tree of maxima of two, each by the rule of Max: axis by axis, neighbours first.
 * The rule of two operands is their game solved exactly, and a tree of k leaves makes k - 1 such
 * games, where one winner a window stands for all of them at once. */
#include "rules/pool_tree.h"

#include <string.h>

#include "rules/second.h"
#include "rules/side.h"

/* Both sides of what the maximum is taken of, V where there is a second order, and what it is on
 * the mean path where there is a third. */
typedef struct sides {
    ox_val x, x0, v, mean;
} sides;

/* What goes back: multipliers, those of V NULL where there are none. */
typedef struct flows {
    ox_val m, q;
} flows;

typedef struct tree {
    ox_ctx *c;
    bool max;
    int axes;
    const ox_window *w; /* [axes] */
    bool second;
    ox_val q;   /* of the maxima, NULL: 0 */
    sides *top; /* takes V and the mean of the maxima, and nothing goes back then */
} tree;

/* ---- shapes ------------------------------------------------------------------------------- */

/* [.., n, part, rest] as [.., n part, rest]; axis counts from the end, and is that of `part`. */
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

/* Whether the axis is one window. */
static bool is_whole(const ox_window *w)
{
    return w->out == 1 && w->kernel == w->in && w->begin == 0 && w->dilation == 1;
}

/* Moves axis `from` to where `to` is, both counted from the end. */
static ox_val move_axis(ox_val v, int from, int to)
{
    int order[OX_MAX_RANK + 1], count = 0, at = v->rank + from, place = v->rank + to;
    for (int d = 0; d < v->rank; d++) {
        if (d == place && place < at) {
            order[count++] = at;
        }
        if (d != at) {
            order[count++] = d;
        }
        if (d == place && place >= at) {
            order[count++] = at;
        }
    }
    return ox_transpose(v, order);
}

/* [.., in, rest] as [kernel, .., out, rest], with `outside` around: windows' places stand before
 * all `axes` axes, so that what is made of them works on whole planes. */
static ox_val take_windows(ox_val v, int axis, int axes, const ox_window *w, double outside)
{
    int64_t span = (w->out - 1) * w->stride + w->extent;
    if (is_whole(w)) {
        return ox_unsqueeze(move_axis(v, axis, -axes), axis);
    }
    v = pad_axis(v, axis, w->begin, span - w->in - w->begin, outside);
    ox_val *taps = ox_arena_alloc(v->graph->arena, (size_t)w->kernel, sizeof *taps);
    for (int64_t t = 0; t < w->kernel; t++) {
        int64_t first = t * w->dilation, last = first + (w->out - 1) * w->stride;
        taps[t] = ox_unsqueeze(ox_slice(v, axis, first, last + 1, w->stride), -1 - axes);
    }
    return ox_concat(v->graph, (size_t)w->kernel, taps, -1 - axes);
}

/* What the positions that leave the remainder `phase` of the stride get, `length` of them; NULL
 * where no window reaches them. */
static ox_val phase_of_windows(ox_val m, int axis, int axes, const ox_window *w, int64_t phase,
                               int64_t length)
{
    ox_val sum = NULL;
    for (int64_t t = 0; t < w->kernel; t++) {
        int64_t first = t * w->dilation - w->begin - phase, shift = first / w->stride;
        if (first % w->stride == 0 && shift < length && shift + w->out > 0) {
            ox_val tap = ox_squeeze(ox_slice(m, -1 - axes, t, t + 1, 1), -1 - axes);
            tap = pad_axis(tap, axis, shift, length - w->out - shift, 0);
            sum = sum == NULL ? tap : ox_add(sum, tap);
        }
    }
    return sum;
}

/* Planes in one node, all axes before the channels being one. */
static ox_val interleave_planes(ox_val *phases, int axis, int64_t steps, int64_t size)
{
    ox_val like = phases[0], parts[OX_INTERLEAVE_MOST + 1];
    ox_dim dims[OX_MAX_RANK], own[4];
    int rank = like->rank, at = axis == -1;
    memcpy(dims, like->dims, (size_t)rank * sizeof *dims);
    memcpy(own, dims + rank - 4, sizeof own);
    for (int d = 0; d < rank - 4; d++) {
        own[0] = ox_dim_mul(like->graph, own[0], dims[d]);
    }
    for (int64_t f = 0; f < steps; f++) {
        parts[f] = ox_reshape(phases[f], 4, own);
    }
    const int64_t counts[2] = {at ? 1 : steps, at ? steps : 1};
    const int64_t sizes[2] = {at ? own[2].size : size, at ? size : own[3].size};
    dims[rank + axis] = ox_dim_of(size);
    return ox_reshape(ox_interleave(counts, parts, sizes), rank, dims);
}

/* Phases element by element along the axis, of which `size` are there. */
static ox_val interleave(ox_val *phases, int axis, int axes, int64_t steps, int64_t size)
{
    ox_val like = phases[0];
    if (steps == 1) {
        return like;
    }
    if (axes == 2 && steps <= 3 && like->rank >= 4) {
        return interleave_planes(phases, axis, steps, size);
    }
    for (int64_t f = 0; f < steps; f++) {
        phases[f] = ox_unsqueeze(phases[f], axis);
    }
    ox_val all = merge_axis(ox_concat(like->graph, (size_t)steps, phases, axis), axis);
    return ox_slice(all, axis, 0, size, 1);
}

/* The adjoint: what each position gets of its windows, added up, one remainder of the stride beside
 * the other. */
static ox_val give_windows(ox_val m, int axis, int axes, const ox_window *w)
{
    if (is_whole(w)) {
        return move_axis(ox_squeeze(m, axis), -axes, axis);
    }
    int64_t steps = w->stride < w->in ? w->stride : w->in;
    int64_t length = (w->in + w->stride - 1) / w->stride;
    ox_val *phases = ox_arena_alloc(m->graph->arena, (size_t)steps, sizeof *phases);
    for (int64_t f = 0; f < steps; f++) {
        phases[f] = phase_of_windows(m, axis, axes, w, f, length);
    }
    ox_val tap = ox_squeeze(ox_slice(m, -1 - axes, 0, 1, 1), -1 - axes);
    ox_val none = pad_axis(ox_scale(tap, 0), axis, 0, length - w->out, 0);
    for (int64_t f = 0; f < steps; f++) {
        phases[f] = phases[f] != NULL ? phases[f] : none;
    }
    return interleave(phases, axis, axes, steps, w->in);
}

/* ---- the tree ----------------------------------------------------------------------------- */

static flows through_axis(const tree *t, sides v, int done);

static ox_val each_second(ox_val v, int axis, int64_t first, int64_t n)
{
    return ox_slice(v, axis, first, n - n % 2, 2);
}

/* One of each pair of v, all of its sides. */
static sides one_of_pairs(const tree *t, sides v, int axis, int64_t first, int64_t n)
{
    sides one = {.x = each_second(v.x, axis, first, n), .x0 = each_second(v.x0, axis, first, n)};
    one.v = t->second ? each_second(v.v, axis, first, n) : NULL;
    one.mean = v.mean != NULL ? each_second(v.mean, axis, first, n) : NULL;
    return one;
}

/* `pairs`, and of an odd number the last one of v as it is. */
static ox_val and_last(ox_val pairs, ox_val v, int axis, int64_t n)
{
    ox_val parts[] = {pairs, n % 2 == 1 ? ox_slice(v, axis, n - 1, n, 1) : NULL};
    return ox_concat(pairs->graph, n % 2 == 1 ? 2 : 1, parts, axis);
}

/* Of y = b + relu(t), t = a - b (a minimum: a - relu(t)): with dy = A dt + B V_t, V_t = V_a + V_b,
 * shares A and 1 - A of a and b, or the other way round. */
static ox_second bend_of_pair(sides a, sides b)
{
    ox_val off = NULL;
    if (a.mean != NULL) { /* each for itself: what is outside is as far as can be */
        off = ox_sub(ox_off_middle(a.mean, a.x, a.x0), ox_off_middle(b.mean, b.x, b.x0));
    }
    return ox_bend_of_ramp(ox_sub(a.x, b.x), ox_sub(a.x0, b.x0), ox_add(a.v, b.v), off);
}

static ox_val winners_variance(const tree *t, sides a, sides b)
{
    ox_val share = bend_of_pair(a, b).m, other = ox_one_minus(share);
    ox_val of_a = ox_square(t->max ? share : other), of_b = ox_square(t->max ? other : share);
    return ox_add(ox_mul(of_a, a.v), ox_mul(of_b, b.v));
}

static sides winners(const tree *t, sides v, sides a, sides b, int axis, int64_t n)
{
    sides up = {.x = t->max ? ox_max(a.x, b.x) : ox_min(a.x, b.x),
                .x0 = t->max ? ox_max(a.x0, b.x0) : ox_min(a.x0, b.x0)};
    up.x = and_last(up.x, v.x, axis, n);
    up.x0 = and_last(up.x0, v.x0, axis, n);
    up.v = t->second ? and_last(winners_variance(t, a, b), v.v, axis, n) : NULL;
    if (v.mean != NULL) {
        ox_val mean = ox_smooth_extreme(t->max, a.mean, b.mean, ox_add(a.v, b.v));
        up.mean = and_last(mean, v.mean, axis, n);
    }
    return up;
}

/* Multipliers of a pair side by side again, and that of the last one of an odd number. */
static ox_val together(ox_val a, ox_val b, ox_val m, int axis, int64_t n)
{
    ox_graph *g = a->graph;
    ox_val both[] = {ox_unsqueeze(a, axis), ox_unsqueeze(b, axis)};
    ox_val parts[] = {merge_axis(ox_concat(g, 2, both, axis), axis), NULL};
    if (n % 2 == 0) {
        return parts[0];
    }
    int rank = parts[0]->rank; /* as many references as the others */
    ox_dim *dims = ox_arena_copy(g->arena, parts[0]->dims, (size_t)rank, sizeof *dims);
    dims[rank + axis] = ox_dim_of(1);
    parts[1] = ox_expand(ox_slice(m, axis, n / 2, n / 2 + 1, 1), rank, dims);
    return ox_concat(g, 2, parts, axis);
}

static flows second_back(const tree *t, flows up, sides a, sides b, int axis, int64_t n)
{
    ox_second bend = bend_of_pair(a, b);
    ox_val other = ox_one_minus(bend.m), of_a = t->max ? bend.m : other;
    ox_val of_b = t->max ? other : bend.m;
    ox_val m = n % 2 == 1 ? ox_slice(up.m, axis, 0, n / 2, 1) : up.m;
    ox_val q = n % 2 == 1 ? ox_slice(up.q, axis, 0, n / 2, 1) : up.q;
    ox_val bent = ox_mul(m, t->max ? bend.q : ox_neg(bend.q));
    ox_val q_a = ox_add(bent, ox_mul(q, ox_square(of_a)));
    ox_val q_b = ox_add(bent, ox_mul(q, ox_square(of_b)));
    return (flows){together(ox_mul(m, of_a), ox_mul(m, of_b), up.m, axis, n),
                   together(q_a, q_b, up.q, axis, n)};
}

static flows first_back(const tree *t, flows up, sides a, sides b, int axis, int64_t n)
{
    ox_val m = n % 2 == 1 ? ox_slice(up.m, axis, 0, n / 2, 1) : up.m;
    const char *name = t->max ? "Max" : "Min";
    ox_val to_a = ox_flow(name, (ox_val[]){m, a.x, a.x0, b.x, b.x0});
    ox_val to_b = ox_flow(name, (ox_val[]){m, b.x, b.x0, a.x, a.x0});
    return (flows){together(to_a, to_b, up.m, axis, n), NULL};
}

/* Multipliers of v, of which n along the axis become one: up to the winner, whose multipliers the
 * axes that are left say, and back down. */
static flows through_pairs(const tree *t, sides v, int axis, int64_t n, int done)
{
    if (n == 1) {
        sides top = {.x = ox_squeeze(v.x, axis), .x0 = ox_squeeze(v.x0, axis)};
        top.v = t->second ? ox_squeeze(v.v, axis) : NULL;
        top.mean = v.mean != NULL ? ox_squeeze(v.mean, axis) : NULL;
        flows up = through_axis(t, top, done + 1);
        up.m = up.m == NULL ? NULL : ox_unsqueeze(up.m, axis);
        up.q = up.q == NULL ? NULL : ox_unsqueeze(up.q, axis);
        return up;
    }
    sides a = one_of_pairs(t, v, axis, 0, n), b = one_of_pairs(t, v, axis, 1, n);
    flows up = through_pairs(t, winners(t, v, a, b, axis, n), axis, n - n / 2, done);
    return up.m == NULL ? up
           : t->second  ? second_back(t, up, a, b, axis, n)
                        : first_back(t, up, a, b, axis, n);
}

/* What arrived at the maxima. */
static flows at_top(const tree *t, sides top)
{
    if (t->top != NULL) {
        *t->top = top;
        return (flows){NULL, NULL};
    }
    bool none = t->second && t->q == NULL;
    return (flows){t->c->m, none ? ox_scale(t->c->m, 0) : t->q};
}

/* The last axes are `done`: multipliers of v. */
static flows through_axis(const tree *t, sides v, int done)
{
    if (done == t->axes) {
        return at_top(t, v);
    }
    int axis = -1 - done;
    const ox_window *w = &t->w[t->axes - 1 - done];
    double least = t->max ? -ox_huge(v.x->type) : ox_huge(v.x->type);
    sides taps = {take_windows(v.x, axis, t->axes, w, least),
                  take_windows(v.x0, axis, t->axes, w, least), NULL, NULL};
    taps.v = t->second ? take_windows(v.v, axis, t->axes, w, 0) : NULL;
    taps.mean = v.mean != NULL ? take_windows(v.mean, axis, t->axes, w, least) : NULL;
    flows back = through_pairs(t, taps, -1 - t->axes, w->kernel, done);
    back.m = back.m == NULL ? NULL : give_windows(back.m, axis, t->axes, w);
    back.q = back.q == NULL ? NULL : give_windows(back.q, axis, t->axes, w);
    return back;
}

/* Both sides of the operand. */
static sides operand(const ox_pool *p, bool second)
{
    return (sides){ox_finite(ox_cast(p->x, p->c->type)), ox_finite(ox_cast(p->x0, p->c->type)),
                   p->v, second && p->mean != NULL ? ox_finite(p->mean) : NULL};
}

ox_val ox_pool_tree(const ox_pool *p, ox_val q, ox_val *second)
{
    const tree t = {p->c, p->max, p->axes, p->w, p->v != NULL && p->c->second, q, NULL};
    flows back = through_axis(&t, operand(p, t.second), 0);
    *second = back.q;
    return back.m;
}

ox_val ox_pool_tree_variance(const ox_pool *p, ox_val *mean)
{
    sides top = {0};
    const tree t = {p->c, p->max, p->axes, p->w, true, NULL, &top};
    through_axis(&t, operand(p, true), 0);
    *mean = top.mean;
    return top.v;
}
