/* Operators that work element by element, ours among them: they take blocks as they take anything
 * else, as long as their inputs broadcast in the same way. */
#include <string.h>

#include "base/ours.h"
#include "tune/tune.h"

enum { MOST = 14 }; /* inputs */

/* How an input [.., C, H, W] broadcasts to the result. */
typedef enum kind {
    KIND_FULL,    /* as large in C, H and W */
    KIND_SCALAR,  /* one number */
    KIND_CHANNEL, /* one number a channel: [.., C, 1, 1] */
    KIND_PLANE,   /* one a place: [.., 1, H, W], [H, W], [.., 1, 1, 1] */
    KIND_OTHER
} kind;

static int64_t size_at(const ox_form *f, int from)
{
    if (f->rank < from) {
        return 1;
    }
    ox_dim d = f->dims[f->rank - from];
    return ox_dim_is_static(d) ? d.size : -1;
}

static kind kind_of(const ox_form *f, const int64_t sizes[4])
{
    if (f->rank < 0) {
        return KIND_OTHER;
    }
    int64_t c = size_at(f, 3), h = size_at(f, 2), w = size_at(f, 1);
    bool alone = c == 1 && h == 1 && w == 1;
    for (int i = 0; alone && i < f->rank; i++) {
        alone = ox_dim_is(f->dims[i], 1);
    }
    if (alone) {
        return KIND_SCALAR;
    }
    if (c == sizes[3] && h == sizes[2] && w == sizes[1] && f->rank >= 4) {
        return KIND_FULL;
    }
    if (c == sizes[3] && h == 1 && w == 1 && f->rank >= 3) {
        return KIND_CHANNEL;
    }
    bool fits = (h == 1 || h == sizes[2]) && (w == 1 || w == sizes[1]);
    return c == 1 && fits ? KIND_PLANE : KIND_OTHER;
}

/* [.., C'/b, 1, 1, b] */
static ox_val split_channels(ox_tuner *t, ox_form *f, int64_t channels)
{
    int64_t more = ox_tune_padded(t, channels) - channels;
    int64_t none[3] = {0}, after[3] = {more, 0, 0};
    ox_val v = ox_pad(ox_form_plain(t, f), 3, none, after);
    ox_dim dims[OX_TUNE_RANK];
    memcpy(dims, v->dims, (size_t)v->rank * sizeof *dims);
    dims[v->rank - 3] = ox_dim_of((channels + more) / t->block);
    dims[v->rank] = ox_dim_of(t->block);
    return ox_reshape(v, v->rank + 1, dims);
}

/* [.., 1, H, W, 1] */
static ox_val split_plane(ox_tuner *t, ox_form *f)
{
    return ox_unsqueeze(ox_form_plain(t, f), -1);
}

/* `finite`: of small operands of any value, zeros among them, the result is finite. What is not may
 * not see padded channels, where a filter's 0 would not make it vanish. */
static bool elementwise(ox_tuner *t, ox_node *n, bool finite)
{
    int rank = n->outputs[0]->rank;
    const ox_dim *dims = n->outputs[0]->dims;
    if (n->input_count > MOST || rank < 4 || rank >= OX_TUNE_RANK ||
        !ox_dims_static(3, dims + rank - 3)) {
        return false;
    }
    const int64_t sizes[] = {0, dims[rank - 1].size, dims[rank - 2].size, dims[rank - 3].size};
    bool padded = sizes[3] % t->block != 0, split = false, some = false;
    kind kinds[MOST];
    for (size_t i = 0; i < n->input_count; i++) {
        const ox_form *f = ox_form_in(n, i);
        kinds[i] = f == NULL ? KIND_SCALAR : kind_of(f, sizes); /* left out: a bound of Clip */
        if (f == NULL) {
            continue;
        }
        some = some || (kinds[i] == KIND_FULL && !f->constant && ox_form_ready(t, f));
        split = split || kinds[i] == KIND_CHANNEL || kinds[i] == KIND_PLANE;
        bool blocks = kinds[i] != KIND_FULL || ox_form_fits(t, f);
        if (kinds[i] == KIND_OTHER || !blocks) {
            return false;
        }
    }
    if (!some || (padded && !finite)) {
        return false;
    }
    ox_view view = split ? OX_SPLIT : OX_FOLDED;
    for (size_t i = 0; i < n->input_count && view == OX_FOLDED; i++) {
        const ox_form *f = ox_form_in(n, i);
        bool same =
            kinds[i] == KIND_SCALAR || (f->rank == rank && ox_dims_equal(rank, f->dims, dims));
        view = same ? OX_FOLDED : OX_AXES;
    }
    ox_val in[MOST];
    for (size_t i = 0; i < n->input_count; i++) {
        ox_form *f = ox_form_in(n, i);
        in[i] = f == NULL                  ? NULL
                : kinds[i] == KIND_SCALAR  ? ox_form_plain(t, f)
                : kinds[i] == KIND_CHANNEL ? split_channels(t, f, sizes[3])
                : kinds[i] == KIND_PLANE   ? split_plane(t, f)
                                           : ox_form_view(t, f, view);
    }
    ox_node *copy = ox_graph_emit_node(t->g, n->domain, n->op, n->input_count, in, n->output_count,
                                       n->attr_count, n->attrs);
    for (size_t k = 0; k < n->output_count; k++) {
        ox_form_set(t, ox_form_of(n->outputs[k]), copy->outputs[k], view, rank, dims);
    }
    return true;
}

bool layout_elementwise(ox_tuner *t, ox_node *n)
{
    const ox_ours *f = strcmp(n->domain, "onnxexplainer") == 0 ? ox_ours_find(n->op) : NULL;
    return elementwise(t, n, f == NULL || f->finite);
}

bool layout_whole_blocks(ox_tuner *t, ox_node *n)
{
    return elementwise(t, n, false);
}

bool layout_add(ox_tuner *t, ox_node *n)
{
    bool two = n->input_count == 2;
    return ox_tune_fold_into_conv(t, n) ||
           (two &&
            ox_tune_fuse_sum(t, ox_form_of(n->outputs[0]), ox_form_in(n, 0), ox_form_in(n, 1))) ||
           layout_elementwise(t, n);
}
