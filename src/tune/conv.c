/* Convolutions in the blocked layout. Filters are reordered by nodes that ONNX Runtime folds when
 * the model is loaded. */
#include <math.h>
#include <string.h>

#include "tune/tune.h"

/* Filters [O, I, kh, kw] with O and I padded, as [O/b, I/b, kh, kw, b of I, b of O]; with `whole`
 * as [O/b, I, kh, kw, b of O]. */
static ox_val reorder_filters(ox_tuner *t, ox_val w, bool whole)
{
    int64_t out = ox_tune_padded(t, w->dims[0].size);
    int64_t in = whole ? w->dims[1].size : ox_tune_padded(t, w->dims[1].size);
    int64_t none[4] = {0}, after[4] = {out - w->dims[0].size, in - w->dims[1].size, 0, 0};
    w = ox_pad(w, 4, none, after);
    ox_dim shape[4];
    memcpy(shape, w->dims, sizeof shape);
    int64_t b = t->block;
    ox_dim kh = shape[2], kw = shape[3];
    if (whole) {
        ox_dim split[] = {ox_dim_of(out / b), ox_dim_of(b), shape[1], kh, kw};
        w = ox_transpose(ox_reshape(w, 5, split), (int[]){0, 2, 3, 4, 1});
    } else {
        ox_dim split[] = {ox_dim_of(out / b), ox_dim_of(b), ox_dim_of(in / b),
                          ox_dim_of(b),       kh,           kw};
        w = ox_transpose(ox_reshape(w, 6, split), (int[]){0, 2, 4, 5, 3, 1});
    }
    return ox_reshape(w, 4, shape);
}

/* A vector of one number a channel, padded. */
static ox_val pad_vector(ox_tuner *t, ox_val v)
{
    int64_t none = 0, after = ox_tune_padded(t, v->dims[0].size) - v->dims[0].size;
    return ox_pad(v, 1, &none, &after);
}

typedef struct plan {
    int64_t group; /* in blocks */
    bool rows;     /* the input stays plain: it has less channels than a block */
    bool whole;
} plan;

/* How ONNX Runtime's blocked kernels could do it. */
static bool find_plan(const ox_tuner *t, const ox_node *n, const ox_form *x, const ox_form *w,
                      plan *p)
{
    if (x->rank != 4 || w->rank != 4 || !ox_dims_static(4, w->dims) || !w->constant ||
        !ox_dims_static(3, x->dims + 1)) {
        return false;
    }
    int64_t group = ox_node_int(n, "group", 1), b = t->block;
    int64_t out = w->dims[0].size, in = w->dims[1].size;
    if (group == 1) {
        *p = (plan){.group = 1, .rows = in < b, .whole = in < b};
        return p->rows || ox_form_fits(t, x);
    }
    if (in == 1 && out == group) {
        *p = (plan){.group = ox_tune_padded(t, out), .whole = true};
        return ox_form_fits(t, x);
    }
    *p = (plan){.group = group};
    return in % b == 0 && group > 0 && out % group == 0 && out / group % b == 0;
}

/* f becomes the convolution of n, of this shape, with plain filters and bias. */
static void emit_conv(ox_tuner *t, const ox_node *n, ox_form *f, ox_val filters, ox_val bias,
                      int rank, const ox_dim *dims)
{
    ox_form *x = ox_form_in(n, 0), *w = ox_form_in(n, 1);
    plan p;
    find_plan(t, n, x, w, &p);
    ox_val reordered = reorder_filters(t, filters, p.whole);
    ox_val in[] = {p.rows ? ox_form_plain(t, x) : ox_form_blocked(t, x), reordered,
                   bias == NULL ? NULL : pad_vector(t, bias)};
    ox_attr *attrs = ox_arena_alloc(t->arena, n->attr_count + 1, sizeof *attrs);
    size_t count = 0;
    for (size_t i = 0; i < n->attr_count; i++) {
        if (strcmp(n->attrs[i].name, "group") != 0) {
            attrs[count] = n->attrs[i];
            attrs[count++].proto = NULL;
        }
    }
    attrs[count++] = ox_attr_int("group", p.group);
    const ox_dim *y = n->outputs[0]->dims;
    ox_dim folded[4] = {x->dims[0], reordered->dims[0], y[2], y[3]};
    ox_form_set(t, f, ox_tune_emit(t, "Conv", 3, in, count, attrs, folded), OX_FOLDED, rank, dims);
    f->conv = n;
    f->filters = filters;
    f->bias = bias;
}

bool layout_conv(ox_tuner *t, ox_node *n)
{
    ox_form *x = ox_form_in(n, 0), *w = ox_form_in(n, 1), *bias = ox_form_in(n, 2);
    const ox_val y = n->outputs[0];
    plan p;
    if (x == NULL || w == NULL || (bias != NULL && !bias->constant) || !find_plan(t, n, x, w, &p) ||
        y->rank != 4 || !ox_dims_static(3, y->dims + 1)) {
        return false;
    }
    ox_dim dims[4] = {x->dims[0], y->dims[1], y->dims[2], y->dims[3]};
    emit_conv(t, n, ox_form_of(y), ox_form_plain(t, w),
              bias == NULL ? NULL : ox_form_plain(t, bias), 4, dims);
    return true;
}

/* ---- factors and terms of a channel ------------------------------------------------------- */

/* A constant of one number a channel as a vector of C numbers; NULL where it is something else. */
static ox_val channel_vector(ox_tuner *t, ox_form *f, int64_t channels)
{
    if (!f->constant || f->rank < 0 || f->rank > 4 || !ox_dims_static(f->rank, f->dims)) {
        return NULL;
    }
    for (int k = 1; k <= f->rank; k++) {
        int64_t size = f->dims[f->rank - k].size;
        if (size != 1 && (k != 3 || size != channels)) {
            return NULL;
        }
    }
    ox_dim all = ox_dim_of(channels), one = ox_dim_of(1);
    bool whole = f->rank >= 3 && f->dims[f->rank - 3].size == channels;
    ox_val v = ox_reshape(ox_form_plain(t, f), 1, whole ? &all : &one);
    return whole ? v : ox_expand(v, 1, &all);
}

static bool is_conv_alone(const ox_form *f)
{
    return f->conv != NULL && f->uses == 1;
}

/* y times scale, plus term (either may be NULL), inside the convolution. */
static void fold(ox_tuner *t, ox_form *out, const ox_form *y, ox_val scale, ox_val term)
{
    ox_val filters = y->filters, bias = y->bias;
    if (scale != NULL) {
        ox_dim one = ox_dim_of(1);
        ox_dim dims[4] = {scale->dims[0], one, one, one};
        filters = ox_mul(filters, ox_reshape(scale, 4, dims));
        bias = bias == NULL ? NULL : ox_mul(bias, scale);
    }
    if (term != NULL) {
        bias = bias == NULL ? term : ox_add(bias, term);
    }
    emit_conv(t, y->conv, out, filters, bias, y->rank, y->dims);
}

bool ox_tune_fold_into_conv(ox_tuner *t, ox_node *n)
{
    for (size_t i = 0; n->input_count == 2 && i < 2; i++) {
        const ox_form *y = ox_form_in(n, i);
        ox_form *c = ox_form_in(n, 1 - i);
        if (!is_conv_alone(y) || y->rank < c->rank) {
            continue;
        }
        ox_val v = channel_vector(t, c, y->filters->dims[0].size);
        if (v != NULL) {
            bool mul = strcmp(n->op, "Mul") == 0;
            fold(t, ox_form_of(n->outputs[0]), y, mul ? v : NULL, mul ? NULL : v);
            return true;
        }
    }
    return false;
}

/* y = x s + (b - mean s), s = scale / sqrt(var + epsilon): in the convolution before, else one of
 * each channel with one number. */
bool layout_batch_normalization(ox_tuner *t, ox_node *n)
{
    ox_form *x = ox_form_in(n, 0);
    ox_val v[4];
    for (size_t i = 0; i < 4; i++) {
        ox_form *f = ox_form_in(n, i + 1);
        if (f == NULL || !f->constant || f->rank != 1 || !ox_dims_static(1, f->dims)) {
            return false;
        }
        v[i] = ox_form_plain(t, f);
    }
    if (x == NULL || x->rank != 4 || !ox_form_fits(t, x) || !ox_form_ready(t, x) ||
        ox_node_int(n, "training_mode", 0) != 0) {
        return false;
    }
    double epsilon = ox_node_float(n, "epsilon", (double)1e-5F);
    ox_val scale = ox_div(v[0], ox_sqrt(ox_shift(v[3], epsilon)));
    ox_val bias = ox_sub(v[1], ox_mul(v[2], scale));
    if (is_conv_alone(x)) {
        fold(t, ox_form_of(n->outputs[0]), x, scale, bias);
        return true;
    }
    ox_dim one = ox_dim_of(1);
    ox_val padded = pad_vector(t, scale);
    ox_val in[] = {ox_form_blocked(t, x),
                   ox_reshape(padded, 4, (ox_dim[]){padded->dims[0], one, one, one}),
                   pad_vector(t, bias)};
    ox_attr group = ox_attr_int("group", padded->dims[0].size);
    ox_dim dims[4] = {x->dims[0], padded->dims[0], x->dims[2], x->dims[3]};
    ox_form_set(t, ox_form_of(n->outputs[0]), ox_tune_emit(t, "Conv", 3, in, 1, &group, dims),
                OX_FOLDED, 4, x->dims);
    return true;
}
