/* Multipliers of max pools and of strided convolutions in the blocked layout. */
#include <stdio.h>
#include <string.h>

#include "tune/tune.h"

/* The value that v, [.., C, places], is a Reshape of, as [.., C, H, W]; NULL for other ones. */
static ox_form *with_places(ox_tuner *t, ox_val v)
{
    const ox_node *n = v->node;
    ox_form *f = n != NULL && strcmp(n->op, "Reshape") == 0 ? ox_form_in(n, 0) : NULL;
    int rank = v->rank + 1;
    if (f == NULL || f->rank < 4 || rank < 4 || rank > OX_TUNE_RANK) {
        return NULL;
    }
    ox_dim *dims = ox_arena_alloc(t->arena, (size_t)rank, sizeof *dims);
    memcpy(dims, v->dims, (size_t)(v->rank - 1) * sizeof *dims);
    memcpy(dims + rank - 2, f->dims + f->rank - 2, 2 * sizeof *dims);
    if (f->rank == rank && ox_dims_equal(rank, f->dims, dims)) {
        return f;
    }
    if (!ox_dim_equal(dims[rank - 3], f->dims[f->rank - 3]) || !ox_form_fits(t, f) ||
        !ox_form_ready(t, f)) {
        return NULL;
    }
    ox_form *seen = ox_arena_alloc(t->arena, 1, sizeof *seen); /* blocks know no axes before C */
    *seen = (ox_form){.rank = rank, .dims = dims, .constant = f->constant};
    seen->blocked = ox_form_blocked(t, f);
    return seen;
}

static ox_form *as_line(ox_tuner *t, ox_val v)
{
    ox_form *f = ox_form_of(v);
    return f->rank < 3 || f->rank + 1 >= OX_TUNE_RANK ? NULL : ox_form_with_row(t, f);
}

/* The pool whose indices, taken modulo the plane, are `at`, of a plane or a line; NULL where it is
 * made in another way. */
static const ox_node *pool_of(ox_val at)
{
    static const char *const steps[] = {"Mod", "MaxPool"};
    const ox_node *n = at == NULL ? NULL : at->node;
    at = n != NULL && strcmp(n->op, "Reshape") == 0 ? n->inputs[0] : at;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        n = at == NULL ? NULL : at->node;
        if (n == NULL || strcmp(n->op, steps[i]) != 0) {
            return NULL;
        }
        at = n->inputs[0];
    }
    return n;
}

static bool has_one_axis(const ox_node *pool)
{
    const ox_attr *kernel = ox_node_attr(pool, "kernel_shape");
    return kernel != NULL && kernel->count == 1;
}

/* Attributes for BlockedMaxPoolFlow, which wants all of them, of a line for planes of one row;
 * false for pools of more than two axes. */
static bool pool_attrs(ox_tuner *t, const ox_node *pool, ox_attr *attrs, size_t *count)
{
    static const struct {
        const char *name;
        size_t sides;
        int64_t otherwise;
    } known[] = {{"kernel_shape", 1, 1}, {"strides", 1, 1}, {"pads", 2, 0}, {"dilations", 1, 1}};
    size_t axes = has_one_axis(pool) ? 1 : 2;
    *count = sizeof known / sizeof known[0];
    for (size_t i = 0; i < *count; i++) {
        const ox_attr *a = ox_node_attr(pool, known[i].name);
        size_t sides = known[i].sides;
        if (a != NULL && (a->kind != OX_ATTR_INTS || a->count != axes * sides)) {
            return false;
        }
        int64_t *ints = ox_arena_alloc(t->arena, 2 * sides, sizeof *ints);
        for (size_t k = 0; k < 2 * sides; k++) {
            size_t axis = k % 2, at = k / 2 * axes + (axes == 2 ? axis : 0);
            bool given = a != NULL && (axes == 2 || axis == 1);
            ints[k] = given ? a->ints[at] : known[i].otherwise;
        }
        attrs[i] = ox_attr_ints(known[i].name, 2 * sides, ints);
    }
    return strcmp(ox_node_string(pool, "auto_pad", "NOTSET"), "NOTSET") == 0;
}

/* The shape of the result with H and W: that of m with those of x; R where m has 1. */
static void whole_dims(const ox_form *m, const ox_form *x, const ox_form *x0, ox_dim *dims)
{
    memcpy(dims, m->dims, (size_t)m->rank * sizeof *dims);
    memcpy(dims + m->rank - 2, x->dims + 2, 2 * sizeof *dims);
    if (x0->rank == 5 && m->rank >= 5) {
        dims[m->rank - 5] = x0->dims[0];
    }
}

/* WinnerFlow(m, x, x0, at, at0) over places in a row. */
bool layout_winner_flow(ox_tuner *t, ox_node *n)
{
    const ox_node *pool = pool_of(n->inputs[3]);
    ox_form *(*seen)(ox_tuner * t, ox_val v) =
        pool != NULL && has_one_axis(pool) ? as_line : with_places;
    ox_form *m = seen(t, n->inputs[0]), *x = seen(t, n->inputs[1]), *x0 = seen(t, n->inputs[2]);
    const ox_val y = n->outputs[0];
    ox_attr attrs[8];
    size_t count;
    if (!t->kernels || m == NULL || x == NULL || x0 == NULL || pool == NULL ||
        !pool_attrs(t, pool, attrs, &count) || !ox_form_fits(t, m) || !ox_form_fits(t, x) ||
        !ox_form_fits(t, x0) || !ox_form_ready(t, m) || !ox_form_ready(t, x) || x->rank != 4) {
        return false;
    }
    ox_dim dims[OX_TUNE_RANK];
    whole_dims(m, x, x0, dims);
    if (y->rank != m->rank - 1 || !ox_tune_plays(x, x0, m->rank, dims)) {
        return false;
    }
    ox_val in[] = {ox_form_blocked(t, m), ox_form_blocked(t, x), ox_form_blocked(t, x0)};
    int64_t targets = ox_tune_targets(x0, m->rank, dims);
    ox_val out = ox_tune_flow(t, "BlockedMaxPoolFlow", 3, in, targets, count, attrs);
    ox_form *whole = ox_arena_alloc(t->arena, 1, sizeof *whole), *f = ox_form_of(y);
    ox_form_set(t, whole, out, OX_FOLDED, m->rank, dims);
    *f = (ox_form){.rank = y->rank, .dims = y->dims, .whole = whole, .uses = f->uses};
    whole->uses = f->uses;
    return true;
}

/* Interleave<rows>x<columns>(parts.., shape), or Spread<rows>x<columns>At<row>x<column>(part,
 * shape). */
bool layout_phases(ox_tuner *t, ox_node *n)
{
    enum { MOST = 9 };
    long long steps[2] = {0}, at[2] = {0};
    const ox_val y = n->outputs[0];
    bool spread =
        sscanf(n->op, "Spread%lldx%lldAt%lldx%lld", &steps[0], &steps[1], &at[0], &at[1]) == 4;
    bool known = spread || sscanf(n->op, "Interleave%lldx%lld", &steps[0], &steps[1]) == 2;
    if (!known || !t->kernels || steps[0] < 1 || steps[1] < 1 || steps[0] > MOST ||
        steps[1] > MOST || steps[0] * steps[1] > MOST || at[0] >= steps[0] || at[1] >= steps[1] ||
        y->rank != 4 || !ox_dims_static(3, y->dims + 1)) {
        return false;
    }
    size_t count = n->input_count - 1;
    ox_val in[MOST] = {NULL};
    if (count != (spread ? 1 : (size_t)(steps[0] * steps[1]))) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        ox_form *f = ox_form_in(n, i);
        if (f == NULL || f->rank != 4 || !ox_form_fits(t, f) || !ox_form_ready(t, f)) {
            return false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        in[spread ? (size_t)(at[0] * steps[1] + at[1]) : i] = ox_form_blocked(t, ox_form_in(n, i));
    }
    int64_t size[2] = {y->dims[2].size, y->dims[3].size};
    int64_t every[2] = {(int64_t)steps[0], (int64_t)steps[1]};
    ox_attr attrs[] = {ox_attr_ints("size", 2, size), ox_attr_ints("steps", 2, every)};
    ox_val out = ox_tune_flow(t, "BlockedInterleave", MOST, in, 1, 2, attrs);
    ox_form_set(t, ox_form_of(y), out, OX_FOLDED, 4, y->dims);
    return true;
}
