/* Multipliers of max pools in the blocked layout. */
#include <string.h>

#include "tune.h"

/* What v is a Reshape of. */
static ox_form *before_reshape(ox_val v)
{
    const ox_node *n = v == NULL ? NULL : v->node;
    return n != NULL && strcmp(n->op, "Reshape") == 0 ? ox_form_in(n, 0) : NULL;
}

/* The pool whose indices, taken modulo the plane, are `at`; NULL where it is made in another way.
 */
static const ox_node *pool_of(ox_val at)
{
    static const char *const steps[] = {"Reshape", "Mod", "MaxPool"};
    const ox_node *n = NULL;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        n = at == NULL ? NULL : at->node;
        if (n == NULL || strcmp(n->op, steps[i]) != 0) {
            return NULL;
        }
        at = n->inputs[0];
    }
    return n;
}

/* Attributes for BlockedMaxPoolFlow; false for pools of other than two axes. */
static bool pool_attrs(const ox_node *pool, ox_attr *attrs, size_t *count)
{
    static const char *const names[] = {"kernel_shape", "strides", "pads", "dilations"};
    *count = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const ox_attr *a = ox_node_attr(pool, names[i]);
        size_t wanted = strcmp(names[i], "pads") == 0 ? 4 : 2;
        if (a != NULL && (a->kind != OX_ATTR_INTS || a->count != wanted)) {
            return false;
        }
        if (a != NULL) {
            attrs[(*count)++] = ox_attr_ints(names[i], wanted, a->ints);
        }
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
    ox_form *m = before_reshape(n->inputs[0]), *x = before_reshape(n->inputs[1]);
    ox_form *x0 = before_reshape(n->inputs[2]);
    const ox_node *pool = pool_of(n->inputs[3]);
    const ox_val y = n->outputs[0];
    ox_attr attrs[8];
    size_t count;
    if (!t->kernels || m == NULL || x == NULL || x0 == NULL || pool == NULL ||
        !pool_attrs(pool, attrs, &count) || !ox_form_fits(t, m) || !ox_form_fits(t, x) ||
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
