/* The adjoint of a convolution, spelled as convolutions, because no other operator runs near the
 * speed of Conv in ONNX Runtime.
 *
 * With y[p] = sum_t W[t] x[p s + t d - b], for stride s, dilation d and padding b, x[i] gets the
 * flow of every (p, t) with p s = i + b - t d. Those i that leave the same remainder f of division
 * by s, i = q s + f, form a phase: they share their taps, every (s / gcd(s, d))-th one, and p goes
 * along with q. So each phase is a convolution of stride 1 with its own taps in reverse order, and
 * the phases are interleaved. */
#include "rules/spatial.h"

#include <string.h>

enum {
    MAX_AXES = OX_SPATIAL_AXES,
    MAX_PHASES = OX_INTERLEAVE_MOST, /* beyond, ConvTranspose takes over */
    BLOCK_CHANNELS = 16              /* that Conv computes at once: so many cost as much as one */
};

/* What one phase does along one axis: a convolution of stride 1 with `taps` taps of the filters,
 * from `last` down in steps of `step`. `begin` and `end` pad the multiplier, or cut it off. */
typedef struct phase {
    int64_t taps, last, step, dilation, begin, end;
} phase;

typedef struct adjoint {
    ox_graph *g;
    ox_val m;       /* [B, M, out...] */
    ox_val filters; /* [C, M / group, ...] */
    int64_t group;
    int axes;
    const ox_window *w;
    phase phases[MAX_AXES]; /* the ones at work */
    ox_val all;             /* results of all phases side by side in the channels, or NULL */
    int64_t taken;          /* of these */
} adjoint;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    return b == 0 ? a : common_divisor(b, a % b);
}

static int64_t round_up(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

static int64_t phase_count(const ox_window *w)
{
    return smaller(w->stride, w->in);
}

/* Finds the taps of phase f; false where it has none, or where they meet only padding. With the
 * first tap t0, e = (f + b - t0 d) / s is an integer, and tap t0 + u s / gcd reads
 * p = q + e - u d / gcd. */
static bool find_phase(const ox_window *w, int64_t f, phase *out)
{
    int64_t divisor = common_divisor(w->stride, w->dilation);
    int64_t step = w->stride / divisor;
    int64_t first = 0;
    while (first < smaller(step, w->kernel) &&
           (f + w->begin - first * w->dilation) % w->stride != 0) {
        first++;
    }
    if (first >= smaller(step, w->kernel)) {
        return false;
    }
    int64_t e = (f + w->begin - first * w->dilation) / w->stride;
    int64_t dilation = w->dilation / divisor;
    int64_t more = (w->kernel - 1 - first) / step;
    *out = (phase){
        .taps = more + 1,
        .last = first + more * step,
        .step = step,
        .dilation = dilation,
        .begin = more * dilation - e,
        .end = round_up(w->in, w->stride) - w->out + e,
    };
    return w->out + smaller(out->begin, 0) > 0 && w->out + smaller(out->end, 0) > 0;
}

/* The taps of the phases at work, the last one first. */
static ox_val phase_filters(const adjoint *v)
{
    int64_t axes[MAX_AXES], from[MAX_AXES], to[MAX_AXES], steps[MAX_AXES];
    size_t count = (size_t)v->axes;
    bool one = true;
    for (size_t k = 0; k < count; k++) {
        const phase *p = &v->phases[k];
        int64_t before = p->last - p->taps * p->step;
        axes[k] = 2 + (int64_t)k;
        from[k] = p->last;
        to[k] = before < 0 ? INT64_MIN : before;
        steps[k] = -p->step;
        one = one && p->taps == 1 && v->w[k].kernel == 1;
    }
    if (one) {
        return v->filters;
    }
    ox_graph *g = v->g;
    ox_val in[] = {v->filters, ox_ints(g, count, from), ox_ints(g, count, to),
                   ox_ints(g, count, axes), ox_ints(g, count, steps)};
    return ox_graph_emit(g, "Slice", 5, in, 0, NULL);
}

/* [B, C, ceil(in / stride)...], with the paddings of the phases at work. */
static ox_val convolve(const adjoint *v, ox_val filters)
{
    int64_t cut_before[MAX_AXES], cut_after[MAX_AXES], pads[2 * MAX_AXES], dilations[MAX_AXES];
    for (int k = 0; k < v->axes; k++) {
        const phase *p = &v->phases[k];
        cut_before[k] = smaller(p->begin, 0);
        cut_after[k] = smaller(p->end, 0);
        pads[k] = larger(p->begin, 0);
        pads[v->axes + k] = larger(p->end, 0);
        dilations[k] = p->dilation;
    }
    size_t axes = (size_t)v->axes;
    ox_val in[] = {ox_pad(v->m, v->axes, cut_before, cut_after), filters};
    const ox_attr attrs[] = {
        ox_attr_ints("pads", 2 * axes, pads),
        ox_attr_ints("dilations", axes, dilations),
        ox_attr_int("group", v->group),
    };
    return ox_graph_emit(v->g, "Conv", 2, in, 3, attrs);
}

static ox_val convolve_phase(adjoint *v)
{
    if (v->all == NULL) {
        return convolve(v, phase_filters(v));
    }
    int64_t channels = v->filters->dims[0].size, from = channels * v->taken++;
    return ox_slice(v->all, 1, from, from + channels, 1);
}

/* Puts the parts beside each other element by element along `axis`, zeros for those that are
 * missing (NULL), and cuts off at `size`. */
static ox_val interleave(int64_t count, ox_val *parts, int axis, int64_t size)
{
    ox_val like = NULL;
    for (int64_t i = 0; i < count; i++) {
        like = parts[i] != NULL ? parts[i] = ox_unsqueeze(parts[i], axis + 1) : like;
    }
    if (like == NULL) {
        return NULL;
    }
    for (int64_t i = 0; i < count; i++) {
        bool missing = parts[i] == NULL;
        parts[i] = missing ? ox_zeros(like->graph, like->type, like->rank, like->dims) : parts[i];
    }
    ox_val all = ox_concat(like->graph, (size_t)count, parts, axis + 1);
    ox_dim dims[MAX_AXES + 2];
    for (int k = 0; k < all->rank - 1; k++) {
        dims[k] = all->dims[k <= axis ? k : k + 1];
    }
    int64_t full = dims[axis].size * count;
    dims[axis] = ox_dim_of(full);
    all = ox_reshape(all, all->rank - 1, dims);
    return full > size ? ox_slice(all, axis, 0, size, 1) : all;
}

/* All phases of the spatial axes from `k` on, interleaved; NULL where none has taps. */
static ox_val convolve_from(adjoint *v, int k)
{
    if (k == v->axes) {
        return convolve_phase(v);
    }
    ox_val parts[MAX_PHASES];
    int64_t count = phase_count(&v->w[k]);
    for (int64_t f = 0; f < count; f++) {
        parts[f] = find_phase(&v->w[k], f, &v->phases[k]) ? convolve_from(v, k + 1) : NULL;
    }
    return count == 1 ? parts[0] : interleave(count, parts, 2 + k, v->w[k].in);
}

/* Where both of two spatial axes have strides and every phase has taps: all phases, interleaved in
 * one node; else NULL. */
static ox_val convolve_planes(adjoint *v)
{
    ox_val parts[MAX_PHASES + 1];
    int64_t counts[2] = {0};
    if (v->axes != 2) {
        return NULL;
    }
    for (int k = 0; k < 2; k++) {
        counts[k] = phase_count(&v->w[k]);
        bool all = counts[k] > 1;
        for (int64_t f = 0; f < counts[k] && all; f++) {
            all = find_phase(&v->w[k], f, &v->phases[k]);
        }
        if (!all) {
            return NULL;
        }
    }
    for (int64_t i = 0; i < counts[0] * counts[1]; i++) {
        find_phase(&v->w[0], i / counts[1], &v->phases[0]);
        find_phase(&v->w[1], i % counts[1], &v->phases[1]);
        parts[i] = convolve_phase(v);
    }
    return ox_interleave(counts, parts, (int64_t[]){v->w[0].in, v->w[1].in});
}

/* ---- few channels: one convolution for all phases ---------------------------------------- */

/* Appends the filters of all phases from axis `k` on in the order of convolve_from, filled up with
 * zeros to the paddings in `widest`. */
static size_t collect_filters(adjoint *v, int k, const phase *widest, ox_val *list, size_t count)
{
    if (k == v->axes) {
        int64_t before[MAX_AXES], after[MAX_AXES];
        for (int i = 0; i < k; i++) {
            before[i] = widest[i].begin - v->phases[i].begin;
            after[i] = widest[i].end - v->phases[i].end;
        }
        list[count] = ox_pad(phase_filters(v), k, before, after);
        return count + 1;
    }
    for (int64_t f = 0; f < phase_count(&v->w[k]); f++) {
        if (find_phase(&v->w[k], f, &v->phases[k])) {
            count = collect_filters(v, k + 1, widest, list, count);
        }
    }
    return count;
}

static void convolve_together(adjoint *v)
{
    phase widest[MAX_AXES];
    for (int k = 0; k < v->axes; k++) {
        bool first = true;
        for (int64_t f = 0; f < phase_count(&v->w[k]); f++) {
            phase p;
            if (find_phase(&v->w[k], f, &p)) {
                widest[k] = first ? p : widest[k];
                widest[k].begin = larger(widest[k].begin, p.begin);
                widest[k].end = larger(widest[k].end, p.end);
                first = false;
            }
        }
        if (first || widest[k].dilation != 1) {
            return;
        }
    }
    ox_val list[MAX_PHASES];
    size_t count = collect_filters(v, 0, widest, list, 0);
    for (int k = 0; k < v->axes; k++) {
        v->phases[k] = widest[k];
    }
    v->all = convolve(v, ox_concat(v->g, count, list, 0));
}

/* ---- one phase: spread by ConvTranspose -------------------------------------------------- */

/* Where only one phase per axis has taps: a single convolution, and a depthwise ConvTranspose that
 * puts its results `stride` apart, at the phase. Gives NULL where it is not so. */
static ox_val convolve_sparse(adjoint *v)
{
    int64_t strides[MAX_AXES], extra[MAX_AXES], pads[2 * MAX_AXES] = {0};
    int64_t none[MAX_AXES] = {0}, at[MAX_AXES];
    for (int k = 0; k < v->axes; k++) {
        const ox_window *w = &v->w[k];
        phase p;
        int found = 0;
        for (int64_t f = 0; f < phase_count(w); f++) {
            if (find_phase(w, f, &p)) {
                v->phases[k] = p;
                at[k] = f;
                found++;
            }
        }
        if (found != 1) {
            return NULL;
        }
        strides[k] = phase_count(w);
        int64_t behind = w->in - (round_up(w->in, w->stride) - 1) * w->stride - at[k] - 1;
        extra[k] = larger(behind, 0);
        pads[v->axes + k] = larger(-behind, 0);
    }
    ox_val folded = convolve(v, phase_filters(v));
    if (v->axes == 2 && strides[0] > 1 && strides[1] > 1) {
        return ox_put_apart(folded, strides, at, (int64_t[]){v->w[0].in, v->w[1].in});
    }
    ox_dim dims[MAX_AXES + 2];
    for (int k = 0; k < v->axes + 2; k++) {
        dims[k] = k == 0 ? v->filters->dims[0] : ox_dim_of(1);
    }
    ox_val one = ox_expand(ox_number(folded, 1), v->axes + 2, dims);
    size_t axes = (size_t)v->axes;
    const ox_attr attrs[] = {
        ox_attr_ints("strides", axes, strides),
        ox_attr_ints("output_padding", axes, extra),
        ox_attr_ints("pads", 2 * axes, pads),
        ox_attr_int("group", dims[0].size),
    };
    ox_val in[] = {folded, ox_pad(one, v->axes, at, none)};
    return ox_graph_emit(v->g, "ConvTranspose", 2, in, 4, attrs);
}

/* ---- one tap: before a repetition or an interleaving ----------------------------------------- */

static bool is_one_tap(adjoint *v)
{
    for (int k = 0; k < v->axes; k++) {
        const ox_window *w = &v->w[k];
        if (w->kernel != 1 || w->stride != 1 || w->begin != 0 || w->end != 0 ||
            !find_phase(w, 0, &v->phases[k])) {
            return false;
        }
    }
    return true;
}

/* The multiplier of an AveragePool is repeated over the windows; a convolution of one tap commutes
 * with that, and is cheaper before. Gives NULL where it is not so. */
static ox_val convolve_before_repeat(adjoint *v)
{
    const ox_node *n = v->m->node;
    if (n == NULL || n->original || strcmp(n->op, "Resize") != 0) {
        return NULL;
    }
    if (!is_one_tap(v)) {
        return NULL;
    }
    ox_val repeated = v->m;
    v->m = n->inputs[0];
    ox_val in[] = {convolve(v, phase_filters(v)), NULL, n->inputs[2]};
    v->m = repeated;
    return ox_graph_emit(v->g, "Resize", 3, in, n->attr_count, n->attrs);
}

/* The same before phases are put together, of which less channels are quicker, where no reference is
 * taken apart for it in a run. */
static ox_val convolve_before_interleave(ox_ctx *c, adjoint *v, ox_val m)
{
    ox_val parts[MAX_PHASES + 1];
    int64_t steps[2];
    bool fewer =
        v->axes == 2 && v->group == 1 && 2 * v->filters->dims[0].size <= v->filters->dims[1].size;
    if (!fewer || !c->sides->kept || !is_one_tap(v) || !ox_flow_of_phases(c, m, parts, steps)) {
        return NULL;
    }
    for (int64_t p = 0; p < steps[0] * steps[1]; p++) {
        v->m = ox_fold(c, parts[p]);
        parts[p] = convolve(v, phase_filters(v));
    }
    return ox_interleave(steps, parts, (int64_t[]){v->w[0].in, v->w[1].in});
}

/* ---- the adjoint ------------------------------------------------------------------------- */

/* Filters [M, C / group, ...] as [C, M / group, ...]: channels swapped within each group. */
static ox_val swap_channels(ox_val filters, int64_t group)
{
    int rank = filters->rank;
    ox_dim dims[MAX_AXES + 3];
    int permutation[MAX_AXES + 3];
    int64_t outputs = filters->dims[0].size / group, inputs = filters->dims[1].size;
    if (outputs == 1 && inputs == 1) {
        return filters;
    }
    if (group == 1) {
        for (int i = 0; i < rank; i++) {
            permutation[i] = i < 2 ? 1 - i : i;
        }
        return ox_transpose(filters, permutation);
    }
    dims[0] = ox_dim_of(group);
    dims[1] = ox_dim_of(outputs);
    for (int i = 1; i < rank; i++) {
        dims[i + 1] = filters->dims[i];
    }
    for (int i = 0; i <= rank; i++) {
        permutation[i] = i == 1 ? 2 : i == 2 ? 1 : i;
    }
    ox_val swapped = ox_transpose(ox_reshape(filters, rank + 1, dims), permutation);
    dims[1] = ox_dim_of(group * inputs);
    dims[2] = ox_dim_of(outputs);
    return ox_reshape(swapped, rank, dims + 1);
}

/* By ConvTranspose, for large strides. Windows may leave inputs at the end unread. */
static ox_val convolve_transposed(const adjoint *v)
{
    int64_t pads[2 * MAX_AXES], strides[MAX_AXES], dilations[MAX_AXES];
    int64_t none[MAX_AXES] = {0}, unread[MAX_AXES];
    for (int k = 0; k < v->axes; k++) {
        const ox_window *w = &v->w[k];
        int64_t full = (w->out - 1) * w->stride + w->extent;
        if (full <= w->begin) {
            return NULL;
        }
        int64_t end = full - w->begin - w->in;
        pads[k] = w->begin;
        pads[v->axes + k] = larger(end, 0);
        unread[k] = larger(-end, 0);
        strides[k] = w->stride;
        dilations[k] = w->dilation;
    }
    size_t axes = (size_t)v->axes;
    const ox_attr attrs[] = {
        ox_attr_ints("pads", 2 * axes, pads),
        ox_attr_ints("strides", axes, strides),
        ox_attr_ints("dilations", axes, dilations),
        ox_attr_int("group", v->group),
    };
    ox_val in[] = {v->m, v->filters};
    return ox_pad(ox_graph_emit(v->g, "ConvTranspose", 2, in, 4, attrs), v->axes, none, unread);
}

ox_val ox_unconvolve(ox_ctx *c, ox_val m, ox_val filters, int64_t group, const ox_window *w)
{
    adjoint v = {
        .g = c->g,
        .m = ox_fold(c, m),
        .filters = filters,
        .group = group,
        .axes = filters->rank - 2,
        .w = w,
    };
    int64_t phases = 1;
    for (int k = 0; k < v.axes && phases <= MAX_PHASES; k++) {
        phases *= phase_count(&w[k]);
    }
    ox_val folded;
    if (phases > MAX_PHASES) {
        folded = convolve_transposed(&v);
    } else {
        v.filters = swap_channels(filters, group);
        folded = phases > 1 ? convolve_sparse(&v) : convolve_before_repeat(&v);
        folded = folded == NULL ? convolve_before_interleave(c, &v, m) : folded;
        bool few = phases > 1 && group == 1 && v.filters->dims[0].size * phases <= BLOCK_CHANNELS;
        if (folded == NULL && few) {
            convolve_together(&v);
        }
        folded = folded == NULL ? convolve_planes(&v) : folded;
        folded = folded == NULL ? convolve_from(&v, 0) : folded;
    }
    return folded == NULL ? NULL : ox_unfold(c, folded, m);
}
