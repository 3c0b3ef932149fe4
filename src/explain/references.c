/* The references in the graph: as constants or inputs, hidden from folding, filled at run time, and
 * slice by slice for a Scan. */
#include "explain/references.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/original.h"
#include "explain/ours.h"
#include "explain/plan.h"
#include "explain/steps.h"
#include "rules/side.h"

/* Bytes of references that are copied before they are dropped from memory. */
enum { PIECE = 4 << 20 };

/* How references lie in memory: `outer` times R rows of `inner` bytes. */
typedef struct layout {
    size_t outer, inner;
} layout;

static layout layout_of(const ox_explained *e, ox_type type, int rank, const int64_t *dims)
{
    int axis = e->batch_axis < 0 ? 0 : e->batch_axis;
    layout l = {1, ox_type_size(type)};
    for (int i = 0; i < rank; i++) {
        l.inner *= i > axis ? (size_t)dims[i] : 1;
        l.outer *= i < axis ? (size_t)dims[i] : 1;
    }
    return l;
}

/* Rows repeated, so that R is a multiple of the chunk. */
static const void *padded_rows(ox_explain_state *s, const ox_tensor *t, layout l)
{
    size_t rows = (size_t)s->bind->refs_count, padded = (size_t)s->plan->padded;
    ox_budget_bring(s->arena, l.outer * rows * l.inner);
    unsigned char *data = ox_model_spill(s->model, l.outer * padded * l.inner), *to = data;
    const unsigned char *from = t->data;
    if (t->type == OX_STRING) {
        from = ox_elements_copy(s->arena, t->type, t->data, l.outer * rows * l.inner);
    }
    size_t held = 0; /* of what was copied and is still in memory */
    for (size_t o = 0; o < l.outer; o++) {
        for (size_t r = 0; r < padded; r++, to += l.inner) {
            memcpy(to, from + (o * rows + r % rows) * l.inner, l.inner);
            held += l.inner;
            if (held >= PIECE || to + l.inner == data + l.outer * padded * l.inner) {
                ox_model_drop(s->model, to + l.inner - held, held);
                held = 0;
            }
        }
    }
    return data;
}

ox_val ox_feed_rows(ox_explain_state *s, ox_graph *g, size_t i, int64_t first, int64_t count)
{
    const ox_explained *e = &s->bind->inputs[i];
    const ox_const *all = s->branch->fed[i].all->constant;
    layout l = layout_of(e, all->type, all->rank, all->dims);
    size_t rows = (size_t)s->plan->padded, size = (size_t)count * l.inner;
    const unsigned char *from = (const unsigned char *)all->data + (size_t)first * l.inner;
    int64_t *dims = ox_arena_copy(s->arena, all->dims, (size_t)all->rank, sizeof *dims);
    dims[e->batch_axis < 0 ? 0 : e->batch_axis] = count;
    ox_const c = {.type = all->type, .rank = all->rank, .dims = dims, .data = from};
    c.size = l.outer * size;
    if (l.outer > 1 && count < s->plan->padded) {
        unsigned char *to = ox_arena_alloc(s->arena, c.size, 1);
        for (size_t o = 0; o < l.outer; o++) {
            memcpy(to + o * size, from + o * rows * l.inner, size);
        }
        c.data = to;
    }
    return ox_graph_constant(g, NULL, &c);
}

/* The references as they were given; R lies along the batch axis. */
static ox_val constant_references(ox_explain_state *s, const ox_explained *e)
{
    const ox_tensor *t = e->given;
    int axis = e->batch_axis < 0 ? 0 : e->batch_axis;
    int64_t *dims = ox_arena_copy(s->arena, t->dims, (size_t)t->rank, sizeof *dims);
    layout l = layout_of(e, t->type, t->rank, dims);
    dims[axis] = s->plan->padded;
    ox_const c = {.type = t->type, .rank = t->rank, .dims = dims};
    c.size = l.outer * (size_t)s->plan->padded * l.inner;
    c.data = s->blank ? NULL : padded_rows(s, t, l);
    bool kept = s->branch->refs != s->branch->flow && s->branch->refs != s->g;
    const char *scope = ox_references_scope(s->arena, e->x->name);
    const char *former = ox_graph_scope(s->g, kept ? "onnxexplainer" : scope);
    ox_val v = ox_graph_constant(s->g, NULL, &c);
    ox_graph_scope(s->g, former);
    return v;
}

static ox_val input_references(ox_explain_state *s, const ox_explained *e)
{
    ox_dim refs = {.size = 1, .refs = 1};
    ox_dim dims[OX_MAX_RANK];
    int lead = e->batch_axis < 0 ? 1 : 0;
    dims[0] = refs;
    for (int i = 0; i < e->x->rank; i++) {
        dims[i + lead] = i == e->batch_axis ? refs : e->x->dims[i];
    }
    const char *name = ox_ours_name(s, ox_arena_format(s->arena, "%s_references", e->x->name));
    ox_val v = ox_graph_input(s->g, name, e->x->type, e->x->rank + lead, dims);
    if (s->g->refs_size == NULL) {
        ox_attr range[] = {ox_attr_int("start", lead == 1 ? 0 : e->batch_axis),
                           ox_attr_int("end", (lead == 1 ? 0 : e->batch_axis) + 1)};
        s->g->refs_size = ox_graph_emit(s->g, "Shape", 1, &v, 2, range);
    }
    return v;
}

/* The first explained input of numbers; NULL where all are text. */
static ox_val first_of_numbers(const ox_explain_state *s)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        if (s->bind->inputs[i].x->type != OX_STRING) {
            return s->bind->inputs[i].x;
        }
    }
    return NULL;
}

/* The same constant, but so that ONNX Runtime does not see that it is one: its shape is added to a
 * zero that is computed from the sample (the index of the largest of a single value). Through what
 * takes text it does not fold in any case. */
static ox_val hidden_from_folding(ox_explain_state *s, ox_val refs)
{
    ox_val x = first_of_numbers(s);
    if (x == NULL) {
        return refs;
    }
    ox_dim flat[1] = {ox_val_size(x)};
    ox_val first = ox_slice(ox_reshape(x, 1, flat), 0, 0, 1, 1);
    ox_attr axis = ox_attr_int("axis", 0);
    ox_val zero = ox_graph_emit(s->g, "ArgMax", 1, &first, 1, &axis);
    ox_val shape = ox_add(ox_dims(s->g, refs->rank, refs->dims), zero);
    ox_val v = ox_binary("Reshape", refs, shape);
    v->rank = refs->rank;
    v->dims = refs->dims;
    return v;
}

bool ox_feed_is_own(const ox_explain_state *s)
{
    return s->options->reference_source == OX_REFERENCES_FILL ||
           s->options->reference_source == OX_REFERENCES_PAIRED;
}

ox_val ox_feed_slices(const ox_explained *e, ox_val v)
{
    int order[OX_MAX_RANK];
    ox_dim dims[OX_MAX_RANK];
    if (e->batch_axis < 0) {
        return v;
    }
    order[0] = e->batch_axis;
    dims[0] = v->dims[e->batch_axis];
    for (int i = 0, at = 1; i < v->rank; i++) {
        dims[i + 1] = i == e->batch_axis ? ox_dim_of(1) : v->dims[i];
        if (i != e->batch_axis) {
            order[at++] = i;
        }
    }
    return ox_reshape_constant(ox_transpose(v, order), v->rank + 1, dims);
}

/* One slice, in the reference graph, as the reference branch takes it. */
static ox_val raw_of_slice(ox_explain_state *s, const ox_explained *e, ox_val slice)
{
    if (s->plan->one_at_a_time) { /* repeated to the sample's batch */
        return ox_expand(slice, e->x->rank, e->x->dims);
    }
    /* [chunk, own shape with 1 in place of N]: the chunk takes the place of N */
    int order[OX_MAX_RANK];
    ox_dim dims[OX_MAX_RANK];
    for (int i = 0, at = 1; i < e->x->rank; i++) {
        order[i] = i == e->batch_axis ? 0 : at++;
        dims[0] = slice->dims[0];
    }
    for (int i = 0, at = 1; i < e->x->rank; i++) {
        if (i != e->batch_axis) {
            dims[at++] = e->x->dims[i];
        }
    }
    return ox_transpose(ox_reshape(slice, e->x->rank, dims), order);
}

/* Whether a number is one of the type, but for rounding. */
static bool holds(ox_type type, double number)
{
    bool is_signed = type == OX_INT8 || type == OX_INT16 || type == OX_INT32 || type == OX_INT64;
    int bits = type == OX_BOOL ? 1 : 8 * (int)ox_type_size(type) - is_signed;
    switch (type) {
    case OX_DOUBLE: return true;
    case OX_FLOAT:
    case OX_BFLOAT16: return fabs(number) <= (double)FLT_MAX;
    case OX_FLOAT16: return fabs(number) < 65520; /* what rounds to infinity */
    default:
        return number == floor(number) && number < ldexp(1, bits) &&
               number >= (is_signed ? -ldexp(1, bits) : 0);
    }
}

/* One reference a sample: its shape, filled. */
static ox_val filled(ox_explain_state *s, const ox_explained *e)
{
    ox_val x = e->x;
    ox_val shape =
        ox_dims_static(x->rank, x->dims) ? ox_dims(s->g, x->rank, x->dims) : ox_unary("Shape", x);
    if (x->type == OX_STRING) {
        ox_fail(s->arena, OX_ARGUMENT,
                "fill: input \"%s\" holds text: give references, or hold=%s keeps it", x->name,
                x->name);
    }
    if (!holds(x->type, s->options->fill)) {
        ox_fail(s->arena, OX_ARGUMENT, "fill: input \"%s\" of type %s cannot hold %g", x->name,
                ox_type_name(x->type), s->options->fill);
    }
    ox_val number = ox_number(x, s->options->fill);
    ox_val refs = ox_binary("Expand", number, shape);
    refs->rank = x->rank;
    refs->dims = x->dims;
    return refs;
}

/* One a sample that comes in beside it. */
static ox_val paired(ox_explain_state *s, const ox_explained *e)
{
    const char *name = ox_ours_name(s, ox_arena_format(s->arena, "%s_references", e->x->name));
    return ox_graph_input(s->g, name, e->x->type, e->x->rank, e->x->dims);
}

static void bind_own(ox_explain_state *s)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        const ox_explained *e = &s->bind->inputs[i];
        bool fill = s->options->reference_source == OX_REFERENCES_FILL;
        s->branch->fed[i].all = fill ? filled(s, e) : paired(s, e);
        ox_side_of(e->x)->raw = s->branch->fed[i].all;
    }
}

void ox_feed_references(ox_explain_state *s)
{
    if (ox_feed_is_own(s)) {
        bind_own(s);
        return;
    }
    bool hide = s->plan->cache == OX_CACHE_NONE && s->branch->refs == s->g;
    for (size_t i = 0; i < s->bind->input_count; i++) {
        const ox_explained *e = &s->bind->inputs[i];
        ox_fed *fed = &s->branch->fed[i];
        bool given = s->options->reference_source == OX_REFERENCES_GIVEN;
        fed->all = given ? constant_references(s, e) : input_references(s, e);
        fed->slices = ox_feed_slices(e, fed->all);
        ox_side *side = ox_side_of(e->x);
        if (s->branch->refs == s->g) {
            side->raw = given && hide ? hidden_from_folding(s, fed->all) : fed->all;
        } else if (s->branch->refs == s->branch->flow) {
            side->raw = raw_of_slice(
                s, e, ox_scan_slice(s, fed->slices, s->plan->one_at_a_time ? 0 : s->plan->chunk));
        } else {
            ox_val slice = ox_graph_input(s->branch->refs, NULL, e->x->type, fed->slices->rank - 1,
                                          fed->slices->dims + 1);
            if (s->plan->one_at_a_time) {
                side->raw = ox_expand(slice, e->x->rank, e->x->dims);
            } else { /* an axis for R = 1 in place of N: the slice has it already */
                side->raw = slice;
            }
        }
    }
}
