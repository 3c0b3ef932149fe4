/* Multipliers in the blocked layout, several steps in one node: factors and terms of one number a
 * channel are put off until a flow takes them in, sums are added by the flow that comes before.
 *
 * The nodes of domain onnxexplainer that are written here have kernels only (ops/blocked.c). They
 * take blocked values [B, C', H, W]: multipliers for every (target, reference, sample), samples for
 * every sample, references for every reference, and find out by these roles how they meet. */
#include <string.h>

#include "tune/tune.h"

static const char ours[] = "onnxexplainer";

/* One number a channel, of the values of `full`. */
static bool is_channels(const ox_tuner *t, const ox_form *f, const ox_form *full)
{
    return f->rank >= 4 && ox_form_fits(t, f) && ox_form_size(f, 1) == 1 &&
           ox_form_size(f, 2) == 1 && ox_form_size(f, 3) == ox_form_size(full, 3);
}

/* Multipliers in blocks, or put off. */
static bool is_flow(const ox_tuner *t, const ox_form *f)
{
    return f->rank >= 4 && !f->constant && ox_form_fits(t, f) && ox_form_ready(t, f);
}

/* More than one number a channel. */
static bool is_wide(const ox_form *f)
{
    return ox_form_size(f, 1) > 1 || ox_form_size(f, 2) > 1;
}

static ox_form *times(ox_tuner *t, ox_form *a, ox_form *b)
{
    return a == NULL || b == NULL
               ? a
               : ox_form_new(t, ox_mul(ox_form_plain(t, a), ox_form_plain(t, b)));
}

static ox_form *plus(ox_tuner *t, ox_form *a, ox_form *b)
{
    return a == NULL   ? b
           : b == NULL ? a
                       : ox_form_new(t, ox_add(ox_form_plain(t, a), ox_form_plain(t, b)));
}

/* m times one number a channel: put off. A scale must not be larger in its leading axes. */
static bool put_off_scale(ox_tuner *t, ox_node *n, ox_form *m, ox_form *scale)
{
    const ox_val y = n->outputs[0];
    if (!t->kernels || y->rank != m->rank || !ox_dims_equal(m->rank, y->dims, m->dims)) {
        return false;
    }
    if (!m->put_off) {
        ox_form_put_off(t, ox_form_of(n->outputs[0]), m, scale, NULL);
        return true;
    }
    ox_form *factor = m->scale == NULL ? scale : times(t, m->scale, scale);
    ox_form_put_off(t, ox_form_of(n->outputs[0]), m->base, factor, times(t, m->add, scale));
    return true;
}

/* Constants of one number a channel may have no axes before: [C, 1, 1]. */
static ox_form *with_axes(ox_tuner *t, ox_form *f)
{
    if (f->rank != 3 || !ox_dims_static(3, f->dims) || f->plain == NULL) {
        return f;
    }
    ox_dim dims[] = {ox_dim_of(1), f->dims[0], f->dims[1], f->dims[2]};
    return ox_form_new(t, ox_reshape(f->plain, 4, dims));
}

bool layout_mul(ox_tuner *t, ox_node *n)
{
    if (ox_tune_fold_into_conv(t, n)) {
        return true;
    }
    for (size_t i = 0; i < 2; i++) {
        ox_form *m = ox_form_in(n, i), *scale = with_axes(t, ox_form_in(n, 1 - i));
        bool wide = is_flow(t, m) && is_wide(m);
        if (wide && is_channels(t, scale, m) && put_off_scale(t, n, m, scale)) {
            return true;
        }
    }
    return layout_elementwise(t, n);
}

/* m (g + g0)/2 */
bool layout_mul_flow(ox_tuner *t, ox_node *n)
{
    ox_form *m = ox_form_in(n, 0), *g = ox_form_in(n, 1), *g0 = ox_form_in(n, 2);
    bool wide = is_flow(t, m) && is_wide(m);
    if (wide && is_channels(t, g, m) && is_channels(t, g0, m)) {
        ox_val sum = ox_add(ox_form_plain(t, g), ox_form_plain(t, g0));
        if (put_off_scale(t, n, m, ox_form_new(t, ox_scale(sum, 0.5)))) {
            return true;
        }
    }
    return layout_elementwise(t, n);
}

/* ---- flows ------------------------------------------------------------------------------ */

/* The kernel that takes scale, add and acc, for a function of ours with `count` inputs of which the
 * last one may be added to m; NULL where there is none. */
static const char *tuned_name(const ox_node *n, bool *summed)
{
    static const struct {
        const char *op, *kernel;
        bool summed;
    } known[] = {
        {"ReluFlow", "BlockedReluFlow", false},
        {"ReluSumFlow", "BlockedReluFlow", true},
        {"SwishFlow", "BlockedSwishFlow", false},
        {"SwishSumFlow", "BlockedSwishFlow", true},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(n->op, known[i].op) == 0) {
            *summed = known[i].summed;
            return known[i].kernel;
        }
    }
    return NULL;
}

/* Whether a kernel tells from the number of rows which multipliers [K, R, N, ..] f belongs to: all,
 * those of a target and sample, those of a sample; or it is one for all. */
static bool has_role(const ox_form *f, const ox_form *m)
{
    int lead = m->rank - 3, own = f->rank - 3;
    bool all = own == lead, sample = true, none = true;
    for (int i = 1; i <= own; i++) { /* from the right: N, R, K */
        ox_dim d = f->dims[own - i], whole = i <= lead ? m->dims[lead - i] : ox_dim_of(1);
        bool one = ox_dim_is(d, 1), same = ox_dim_equal(d, whole);
        all = all && same;
        none = none && one;
        sample = sample && (i == 1 || i == 3 ? same : one);
    }
    bool target = lead == 3 && own == 3; /* else f has no axis K, or all of one length */
    return all || none || (sample && (target || own <= 2 || ox_dim_is(f->dims[0], 1)));
}

/* A scale or a term of one number a channel for the multipliers of m, in blocks; NULL for none. */
static ox_val blocked_channels(ox_tuner *t, const ox_form *m, ox_form *f)
{
    if (f == NULL || has_role(f, m)) {
        return f == NULL ? NULL : ox_form_blocked(t, f);
    }
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, m->dims, (size_t)(m->rank - 3) * sizeof *dims);
    memcpy(dims + m->rank - 3, f->dims + f->rank - 3, 3 * sizeof *dims);
    return ox_form_blocked(t, ox_form_new(t, ox_expand(ox_form_plain(t, f), m->rank, dims)));
}

int64_t ox_tune_targets(const ox_form *x0, int rank, const ox_dim *dims)
{
    return rank > x0->rank ? dims[0].size : 1;
}

ox_val ox_tune_flow(ox_tuner *t, const char *op, size_t input_count, const ox_val *inputs,
                    int64_t targets, size_t attr_count, const ox_attr *attrs)
{
    ox_attr all[8];
    for (size_t i = 0; i < attr_count; i++) {
        all[i] = attrs[i];
    }
    all[attr_count] = ox_attr_int("block", t->block);
    all[attr_count + 1] = ox_attr_int("targets", targets);
    ox_val out =
        ox_graph_emit_node(t->g, ours, op, input_count, inputs, 1, attr_count + 2, all)->outputs[0];
    out->rank = -1;
    return out;
}

/* x is [N, C, H, W] beside m [.., N, C, H, W], x0 [R, 1, C, H, W], or [1, C, H, W] where there is
 * one reference for all. */
bool ox_tune_plays(const ox_form *x, const ox_form *x0, int rank, const ox_dim *dims)
{
    int own = x0->rank - 4, lead = rank - 4 - own;
    bool places = ox_dims_equal(3, x0->dims + x0->rank - 3, dims + rank - 3);
    return x->rank == 4 && ox_dims_equal(4, x->dims, dims + rank - 4) && places &&
           (own == 0 || own == 1) && ox_dim_is(x0->dims[own], 1) &&
           (lead == 0 || (lead == 1 && ox_dim_is_static(dims[0]))) &&
           (own == 0 || ox_dim_equal(x0->dims[0], dims[rank - 5]));
}

static void put_off_channels(ox_tuner *t, ox_form *out, ox_form *m, ox_form *add)
{
    ox_form *base = m->put_off ? m->base : m, *scale = m->put_off ? m->scale : NULL;
    ox_form_put_off(t, out, base, scale, plus(t, m->put_off ? m->add : NULL, add));
}

/* m + m2 as a form; NULL where nothing takes it in. */
static ox_form *sum_of(ox_tuner *t, ox_form *m, ox_form *m2)
{
    ox_form *sum = ox_arena_alloc(t->arena, 1, sizeof *sum);
    *sum = (ox_form){.rank = m->rank, .dims = m->dims, .uses = 1};
    if (!is_flow(t, m)) {
        return NULL;
    }
    if (m->rank == m2->rank && is_channels(t, m2, m) && is_wide(m)) {
        put_off_channels(t, sum, m, m2);
        return sum;
    }
    if (!is_flow(t, m2)) {
        return NULL;
    }
    if (ox_tune_fuse_sum(t, sum, m, m2)) {
        return sum;
    }
    if (m->rank != m2->rank || !ox_dims_equal(m->rank, m->dims, m2->dims)) {
        return NULL;
    }
    ox_val both = ox_add(ox_form_blocked(t, m), ox_form_blocked(t, m2));
    ox_form_set(t, sum, both, OX_FOLDED, m->rank, m->dims);
    return sum;
}

static bool is_swish_of_one(const ox_node *n)
{
    const ox_form *alpha = ox_form_in(n, 3);
    const double *value = alpha == NULL || alpha->plain == NULL || alpha->plain->constant == NULL
                              ? NULL
                              : ox_const_doubles(n->graph->arena, alpha->plain->constant);
    return strncmp(n->op, "Swish", 5) != 0 ||
           (value != NULL && ox_const_count(alpha->plain->constant) == 1 && value[0] == 1);
}

bool layout_flow(ox_tuner *t, ox_node *n)
{
    bool summed = false;
    const char *op = t->kernels && is_swish_of_one(n) ? tuned_name(n, &summed) : NULL;
    if (op == NULL) {
        return layout_elementwise(t, n);
    }
    ox_form *m = ox_form_in(n, 0), *x = ox_form_in(n, 1), *x0 = ox_form_in(n, 2);
    const ox_val y = n->outputs[0];
    if (!is_flow(t, m) || !ox_form_fits(t, x) || !ox_form_fits(t, x0) || !ox_form_ready(t, x) ||
        y->rank < 4 || !ox_tune_plays(x, x0, y->rank, y->dims)) {
        return layout_elementwise(t, n);
    }
    m = summed ? sum_of(t, m, ox_form_in(n, n->input_count - 1)) : m;
    if (m == NULL) {
        return layout_elementwise(t, n);
    }
    ox_val in[6] = {NULL, ox_form_blocked(t, x), ox_form_blocked(t, x0)};
    if (m->put_off) {
        in[0] = m->base == NULL ? NULL : ox_form_blocked(t, m->base);
        in[3] = m->base == NULL ? NULL : blocked_channels(t, m, m->scale);
        in[4] = blocked_channels(t, m, m->add);
        if (in[0] == NULL) {
            in[0] = in[4];
            in[4] = NULL;
        }
    } else {
        in[0] = ox_form_blocked(t, m);
    }
    ox_val out = ox_tune_flow(t, op, 6, in, ox_tune_targets(x0, y->rank, y->dims), 0, NULL);
    ox_form_set(t, ox_form_of(n->outputs[0]), out, OX_FOLDED, y->rank, y->dims);
    return true;
}

/* ---- sums ------------------------------------------------------------------------------- */

/* The flow of ours that makes `f` for this use alone, and adds nothing yet; or NULL. */
static const ox_node *open_flow(const ox_form *f)
{
    const ox_node *n = f == NULL || f->blocked == NULL ? NULL : f->blocked->node;
    bool flow = n != NULL && strcmp(n->domain, ours) == 0 && n->input_count < 6 &&
                (strcmp(n->op, "BlockedReluFlow") == 0 || strcmp(n->op, "BlockedSwishFlow") == 0);
    return flow && f->uses == 1 ? n : NULL;
}

/* The first channels of a larger value need no copy: the flow reads as many as it has. */
static ox_val without_slice(ox_val v)
{
    const ox_node *n = v->node;
    bool first = n != NULL && strcmp(n->op, "Slice") == 0 && n->domain[0] == '\0' &&
                 n->inputs[1]->elements != NULL && n->inputs[1]->elements[0].size == 0 &&
                 n->inputs[3]->elements != NULL && n->inputs[3]->elements[0].size == 1;
    return first ? n->inputs[0] : v;
}

ox_val ox_tune_scale_flow(ox_tuner *t, const ox_form *base, ox_form *scale)
{
    const ox_node *flow = open_flow(base);
    ox_val in[6] = {NULL};
    if (flow == NULL || flow->input_count > 3) {
        return NULL;
    }
    memcpy(in, flow->inputs, flow->input_count * sizeof *in);
    in[3] = blocked_channels(t, base, scale);
    return ox_tune_flow(t, flow->op, 6, in, ox_node_int(flow, "targets", 1), 0, NULL);
}

/* flow * scale + acc, in the flow. */
static bool add_to_flow(ox_tuner *t, ox_form *out, ox_form *f, ox_form *acc)
{
    bool scaled = f->put_off && f->add == NULL;
    const ox_node *flow = open_flow(scaled ? f->base : f);
    if (flow == NULL || !ox_form_ready(t, acc) || acc->put_off) {
        return false;
    }
    ox_val in[6] = {NULL};
    memcpy(in, flow->inputs, flow->input_count * sizeof *in);
    if (scaled && f->scale != NULL) {
        if (in[4] != NULL || in[3] != NULL) {
            return false;
        }
        in[3] = blocked_channels(t, f, f->scale);
    }
    in[5] = without_slice(ox_form_blocked(t, acc));
    ox_val sum = ox_tune_flow(t, flow->op, 6, in, ox_node_int(flow, "targets", 1), 0, NULL);
    ox_form_set(t, out, sum, OX_FOLDED, acc->rank, acc->dims);
    return true;
}

/* m + [.., C, 1, 1] repeated: put off. */
static bool put_off_term(ox_tuner *t, ox_form *out, ox_form *m, ox_form *thin)
{
    if (!t->kernels || !thin->put_off || thin->base != NULL || !is_flow(t, m)) {
        return false;
    }
    put_off_channels(t, out, m, thin->add);
    return true;
}

/* A convolution made for this alone adds to what it finds, in place. */
static bool add_to_conv(ox_tuner *t, ox_form *out, ox_form *f, ox_form *sum)
{
    const ox_node *n = f->blocked == NULL || f->uses != 1 ? NULL : f->blocked->node;
    bool conv = n != NULL && strcmp(n->op, "Conv") == 0 && n->domain[0] != '\0';
    if (!conv || n->input_count > 3 || !ox_form_ready(t, sum)) {
        return false;
    }
    ox_val in[4] = {n->inputs[0], n->inputs[1], n->input_count > 2 ? n->inputs[2] : NULL,
                    ox_form_blocked(t, sum)};
    ox_val all = ox_tune_emit(t, "Conv", 4, in, n->attr_count, n->attrs, n->outputs[0]->dims);
    ox_form_set(t, out, all, OX_FOLDED, f->rank, f->dims);
    return true;
}

bool ox_tune_fuse_sum(ox_tuner *t, ox_form *out, ox_form *a, ox_form *b)
{
    if (a->rank != b->rank || a->rank < 4 || !ox_dims_equal(a->rank, a->dims, b->dims)) {
        return false;
    }
    return put_off_term(t, out, a, b) || put_off_term(t, out, b, a) || add_to_conv(t, out, a, b) ||
           add_to_conv(t, out, b, a) || add_to_flow(t, out, a, b) || add_to_flow(t, out, b, a);
}

/* ---- sums over places ------------------------------------------------------------------- */

static bool over_places(const ox_node *n, const ox_form *x)
{
    const ox_form *axes = ox_form_in(n, 1);
    const ox_dim *e = axes == NULL || axes->plain == NULL ? NULL : axes->plain->elements;
    if (e == NULL || axes->plain->rank != 1 || !ox_dim_is(axes->plain->dims[0], 2) ||
        ox_node_int(n, "keepdims", 1) == 0) {
        return false;
    }
    int a = ox_axis_front(e[0].size, x->rank), b = ox_axis_front(e[1].size, x->rank);
    return a + b == 2 * x->rank - 3 && (a == x->rank - 1 || a == x->rank - 2);
}

/* The sum over H and W of m (a + a0)/2, of a gate [.., C, 1, 1]. */
static bool sum_product(ox_tuner *t, ox_node *n, const ox_node *product, int rank,
                        const ox_dim *dims)
{
    ox_form *m = ox_form_in(product, 0), *a = ox_form_in(product, 1), *a0 = ox_form_in(product, 2);
    const ox_val y = product->outputs[0];
    if (!is_flow(t, m) || !ox_form_fits(t, a) || !ox_form_fits(t, a0) || !ox_form_ready(t, a) ||
        !ox_tune_plays(a, a0, y->rank, y->dims)) {
        return false;
    }
    ox_val in[] = {ox_form_blocked(t, m), ox_form_blocked(t, a), ox_form_blocked(t, a0)};
    ox_val sum =
        ox_tune_flow(t, "BlockedSumFlow", 3, in, ox_tune_targets(a0, y->rank, y->dims), 0, NULL);
    ox_form_set(t, ox_form_of(n->outputs[0]), sum, OX_FOLDED, rank, dims);
    return true;
}

bool layout_reduce_sum(ox_tuner *t, ox_node *n)
{
    ox_form *x = ox_form_in(n, 0);
    if (!is_flow(t, x) || !over_places(n, x)) {
        return false;
    }
    ox_dim dims[OX_TUNE_RANK];
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    dims[x->rank - 1] = dims[x->rank - 2] = ox_dim_of(1);
    const ox_node *from = n->inputs[0]->node;
    bool product = t->kernels && from != NULL && strcmp(from->op, "MulFlow") == 0;
    if (product && sum_product(t, n, from, x->rank, dims)) {
        return true;
    }
    int64_t axes[] = {-3, -2};
    ox_val sum = ox_reduce("ReduceSum", ox_form_view(t, x, OX_SPLIT), 2, axes, true);
    ox_form_set(t, ox_form_of(n->outputs[0]), sum, OX_SPLIT, x->rank, dims);
    return true;
}
