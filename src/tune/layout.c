/* Values in the two layouts, and the way from one to the other. */
#include <string.h>

#include "tune/tune.h"

ox_form *ox_form_of(ox_val v)
{
    if (v->form == NULL) {
        ox_form *f = ox_arena_alloc(v->graph->arena, 1, sizeof *f);
        *f = (ox_form){.rank = v->rank, .dims = v->dims, .plain = v};
        v->form = f;
    }
    return v->form;
}

ox_form *ox_form_in(const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    return v == NULL ? NULL : ox_form_of(v);
}

int64_t ox_form_size(const ox_form *f, int from)
{
    return f->dims[f->rank - from].size;
}

int64_t ox_tune_padded(const ox_tuner *t, int64_t channels)
{
    return (channels + t->block - 1) / t->block * t->block;
}

static ox_type type_of(const ox_form *f)
{
    return f->plain != NULL ? f->plain->type : OX_FLOAT; /* what is in blocks or put off */
}

bool ox_form_fits(const ox_tuner *t, const ox_form *f)
{
    if (f->rank < 4 || f->rank >= OX_TUNE_RANK || type_of(f) != OX_FLOAT ||
        !ox_dims_static(3, f->dims + f->rank - 3)) {
        return false;
    }
    int64_t channels = ox_form_size(f, 3);
    return channels > 0 && ox_form_size(f, 2) > 0 && ox_form_size(f, 1) > 0 &&
           4 * channels >= 3 * ox_tune_padded(t, channels);
}

bool ox_form_ready(const ox_tuner *t, const ox_form *f)
{
    return f->blocked != NULL || f->put_off || (f->constant && ox_form_fits(t, f));
}

/* ---- shapes ----------------------------------------------------------------------------- */

/* The shape of a view; returns its rank. */
static int view_dims(ox_tuner *t, const ox_form *f, ox_view view, ox_dim *out)
{
    int64_t padded = ox_tune_padded(t, ox_form_size(f, 3));
    if (view == OX_FOLDED) {
        out[0] = f->dims[0];
        for (int i = 1; i < f->rank - 3; i++) {
            out[0] = ox_dim_mul(t->g, out[0], f->dims[i]);
        }
        out[1] = ox_dim_of(padded);
        out[2] = f->dims[f->rank - 2];
        out[3] = f->dims[f->rank - 1];
        return 4;
    }
    memcpy(out, f->dims, (size_t)f->rank * sizeof *out);
    out[f->rank - 3] = ox_dim_of(view == OX_SPLIT ? padded / t->block : padded);
    out[f->rank] = ox_dim_of(t->block);
    return view == OX_SPLIT ? f->rank + 1 : f->rank;
}

ox_val ox_form_view(ox_tuner *t, ox_form *f, ox_view view)
{
    ox_dim dims[OX_TUNE_RANK + 1];
    int rank = view_dims(t, f, view, dims);
    return ox_reshape(ox_form_blocked(t, f), rank, dims);
}

void ox_form_set(ox_tuner *t, ox_form *f, ox_val out, ox_view view, int rank, const ox_dim *dims)
{
    f->rank = rank;
    f->dims = ox_arena_copy(t->arena, dims, (size_t)rank, sizeof *dims);
    f->plain = NULL;
    ox_dim seen[OX_TUNE_RANK + 1];
    int seen_rank = view_dims(t, f, view, seen);
    if (out->rank < 0) {
        out->type = OX_FLOAT;
        out->rank = seen_rank;
        out->dims = ox_arena_copy(t->arena, seen, (size_t)seen_rank, sizeof *seen);
    }
    ox_dim folded[OX_TUNE_RANK + 1];
    f->blocked = ox_reshape(out, view_dims(t, f, OX_FOLDED, folded), folded);
    t->blocked++;
}

/* ---- changing the layout ---------------------------------------------------------------- */

ox_val ox_tune_emit(ox_tuner *t, const char *op, size_t input_count, const ox_val *inputs,
                    size_t attr_count, const ox_attr *attrs, const ox_dim dims[4])
{
    ox_node *n = ox_graph_emit_node(t->g, "com.microsoft.nchwc", op, input_count, inputs, 1,
                                    attr_count, attrs);
    ox_val out = n->outputs[0];
    if (out->rank < 0) {
        out->type = OX_FLOAT;
        out->rank = 4;
        out->dims = ox_arena_copy(t->arena, dims, 4, sizeof *dims);
    }
    return out;
}

ox_form *ox_form_new(ox_tuner *t, ox_val plain)
{
    ox_form *f = ox_arena_alloc(t->arena, 1, sizeof *f);
    *f = (ox_form){.rank = plain->rank, .dims = plain->dims, .plain = plain};
    return f;
}

void ox_form_put_off(ox_tuner *t, ox_form *f, ox_form *base, ox_form *scale, ox_form *add)
{
    f->plain = NULL;
    f->base = base;
    f->scale = scale;
    f->add = add;
    f->put_off = true;
    t->blocked++;
}

/* base * scale + add, after all. */
static void catch_up(ox_tuner *t, ox_form *f)
{
    ox_dim dims[OX_TUNE_RANK + 1];
    bool scaled = f->base != NULL && f->scale != NULL && f->add == NULL;
    ox_val v = scaled ? ox_tune_scale_flow(t, f->base, f->scale) : NULL;
    if (v != NULL) {
        v->type = OX_FLOAT;
        v->rank = view_dims(t, f, OX_FOLDED, dims);
        v->dims = ox_arena_copy(t->arena, dims, 4, sizeof *dims);
        f->blocked = v;
        f->put_off = false;
        return;
    }
    v = f->base == NULL ? NULL : ox_form_view(t, f->base, OX_SPLIT);
    if (v != NULL && f->scale != NULL) {
        v = ox_mul(v, ox_form_view(t, f->scale, OX_SPLIT));
    }
    if (v != NULL && f->add != NULL) {
        v = ox_add(v, ox_form_view(t, f->add, OX_SPLIT));
    }
    if (v == NULL) {
        v = ox_form_view(t, f->add, OX_SPLIT);
        memcpy(dims, v->dims, (size_t)v->rank * sizeof *dims);
        dims[v->rank - 3] = f->dims[f->rank - 2];
        dims[v->rank - 2] = f->dims[f->rank - 1];
        v = ox_expand(v, v->rank, dims);
    }
    f->blocked = ox_reshape(v, view_dims(t, f, OX_FOLDED, dims), dims);
    f->put_off = false;
}

ox_val ox_form_blocked(ox_tuner *t, ox_form *f)
{
    if (f->put_off) {
        catch_up(t, f);
    }
    if (f->blocked != NULL) {
        return f->blocked;
    }
    ox_dim dims[OX_TUNE_RANK + 1];
    view_dims(t, f, OX_FOLDED, dims);
    int64_t channels = ox_form_size(f, 3), more = dims[1].size - channels;
    dims[1] = ox_dim_of(channels);
    ox_val v = ox_reshape(ox_form_plain(t, f), 4, dims);
    if (more > 0) {
        int64_t none[3] = {0}, after[3] = {more, 0, 0};
        v = ox_pad(v, 3, none, after);
    }
    dims[1] = ox_dim_of(channels + more);
    bool same = ox_dim_is(dims[2], 1) && ox_dim_is(dims[3], 1);
    f->blocked = same ? v : ox_tune_emit(t, "ReorderInput", 1, &v, 0, NULL, dims);
    return f->blocked;
}

ox_val ox_form_plain(ox_tuner *t, ox_form *f)
{
    if (f->plain != NULL) {
        return f->plain;
    }
    if (f->whole != NULL) {
        return f->plain = ox_reshape(ox_form_plain(t, f->whole), f->rank, f->dims);
    }
    ox_val v = ox_form_blocked(t, f);
    ox_dim dims[4];
    memcpy(dims, v->dims, sizeof dims);
    int64_t channels = ox_form_size(f, 3);
    dims[1] = ox_dim_of(channels);
    if (!ox_dim_is(dims[2], 1) || !ox_dim_is(dims[3], 1)) {
        ox_attr attr = ox_attr_int("channels", channels);
        v = ox_tune_emit(t, "ReorderOutput", 1, &v, 1, &attr, dims);
    } else if (v->dims[1].size > channels) {
        v = ox_slice(v, 1, 0, channels, 1);
    }
    f->plain = ox_reshape(v, f->rank, f->dims);
    return f->plain;
}

/* ---- lines --------------------------------------------------------------------------------- */

const ox_dim *ox_tune_add_row(ox_tuner *t, int rank, const ox_dim *dims)
{
    ox_dim *out = ox_arena_alloc(t->arena, (size_t)rank + 1, sizeof *out);
    memcpy(out, dims, (size_t)(rank - 1) * sizeof *out);
    out[rank - 1] = ox_dim_of(1);
    out[rank] = dims[rank - 1];
    return out;
}

ox_form *ox_form_with_row(ox_tuner *t, ox_form *f)
{
    if (f->whole == NULL || f->whole->rank != f->rank + 1 ||
        !ox_dim_is(f->whole->dims[f->rank - 1], 1)) {
        const ox_dim *dims = ox_tune_add_row(t, f->rank, f->dims);
        ox_form *w = ox_form_new(t, ox_reshape(ox_form_plain(t, f), f->rank + 1, dims));
        w->constant = f->constant;
        w->uses = f->uses;
        f->whole = w;
    }
    return f->whole;
}
