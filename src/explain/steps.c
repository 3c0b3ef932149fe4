/* The walk inside a Scan, over the references, `chunk` of them a step, or over the targets. The
 * body captures nothing: what it needs whole comes in as state, what it needs step by step as
 * scanned values, and weights are its own initializers. Over references, results are added up in
 * state; over targets, they are stacked. */
#include "explain/steps.h"

#include <stdlib.h>
#include <string.h>

#include "explain/branch.h"
#include "shape/shape.h"

static ox_val body_input(ox_explain_state *s, ox_val outside, int rank, const ox_dim *dims)
{
    ox_val v = ox_graph_value(s->branch->flow, NULL, outside->type, rank, dims);
    v->is_input = true;
    return v;
}

ox_val ox_scan_state(ox_explain_state *s, ox_val outside)
{
    return ox_scan_state_of(s, outside, outside->dims);
}

ox_val ox_scan_state_of(ox_explain_state *s, ox_val outside, const ox_dim *dims)
{
    size_t i = ox_index_find(&s->branch->state_index, outside->name);
    if (i != SIZE_MAX) {
        return s->branch->states[i].inside;
    }
    ox_val known = ox_graph_known(s->branch->flow, outside);
    if (known != NULL) {
        return known;
    }
    ox_val inside = body_input(s, outside, outside->rank, dims);
    inside->elements = ox_shape_elements(outside);
    s->branch->state_index.arena = s->arena;
    ox_index_add(&s->branch->state_index, outside->name, s->branch->state_count);
    s->branch->states = ox_arena_grow(s->arena, s->branch->states, s->branch->state_count,
                                      sizeof *s->branch->states);
    s->branch->states[s->branch->state_count++] = (ox_entry){.outside = outside, .inside = inside};
    return inside;
}

ox_val ox_scan_slice(ox_explain_state *s, ox_val outside, int64_t part)
{
    ox_dim dims[OX_MAX_RANK];
    ox_val scanned = outside;
    if (part > 0) { /* [n, ...] as [n / part, part, ...] */
        dims[0] = outside->dims[0];
        ox_dim_div(outside->dims[0], ox_dim_of(part), &dims[0]);
        dims[1] = ox_dim_of(part);
        memcpy(dims + 2, outside->dims + 1, (size_t)(outside->rank - 1) * sizeof *dims);
        scanned = ox_reshape_constant(outside, outside->rank + 1, dims);
    }
    ox_val inside = body_input(s, scanned, scanned->rank - 1, scanned->dims + 1);
    s->branch->scanned = ox_arena_grow(s->arena, s->branch->scanned, s->branch->scanned_count,
                                       sizeof *s->branch->scanned);
    s->branch->scanned[s->branch->scanned_count++] =
        (ox_entry){.outside = scanned, .inside = inside};
    return inside;
}

/* Adds `step` up over the steps; `dims` is its shape in the model's graph. */
static void sum_over_steps(ox_explain_state *s, ox_val step, const ox_dim *dims)
{
    ox_val zero = ox_zeros(s->g, step->type, step->rank, dims);
    ox_val before = body_input(s, zero, step->rank, step->dims);
    ox_entry e = {.outside = zero, .inside = before, .next = ox_add(before, step)};
    s->branch->states = ox_arena_grow(s->arena, s->branch->states, s->branch->state_count,
                                      sizeof *s->branch->states);
    s->branch->states[s->branch->state_count++] = e;
}

/* Drops the entries that the pruned body does not use. */
static size_t keep_needed(ox_entry *entries, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].next != NULL || entries[i].inside->needed) {
            entries[kept++] = entries[i];
        }
    }
    return kept;
}

/* Sums last, the others as the body meets them. */
static int by_use(const void *left, const void *right)
{
    const ox_entry *a = left, *b = right;
    int sums = (a->next != NULL) - (b->next != NULL);
    size_t at = a->inside->position, bt = b->inside->position;
    return sums != 0 ? sums : (at > bt) - (at < bt);
}

static void add_output(ox_explain_state *s, ox_val v)
{
    ox_graph_output(s->branch->flow, v, v->name);
}

/* Outputs: states first, in the order of the inputs, then what is stacked. */
static void close_body(ox_explain_state *s, size_t stacked_count, ox_val *const stacked[])
{
    ox_graph *body = s->branch->flow;
    for (size_t i = 0; i < s->branch->state_count; i++) {
        if (s->branch->states[i].next != NULL) {
            add_output(s, s->branch->states[i].next);
        }
    }
    for (size_t i = 0; i < stacked_count; i++) {
        add_output(s, *stacked[i]);
    }
    ox_graph_prune(body);
    ox_graph_sort(body);
    s->branch->state_count = keep_needed(s->branch->states, s->branch->state_count);
    size_t used = keep_needed(s->branch->scanned, s->branch->scanned_count);
    s->branch->scanned_count = used > 0 ? used : 1; /* it says how many steps there are */
    if (s->branch->state_count > 0) {
        qsort(s->branch->states, s->branch->state_count, sizeof *s->branch->states, by_use);
    }
    qsort(s->branch->scanned, s->branch->scanned_count, sizeof *s->branch->scanned, by_use);
    body->output_count = 0;
    for (size_t i = 0; i < s->branch->state_count; i++) {
        const ox_entry *e = &s->branch->states[i];
        add_output(s, e->next != NULL ? e->next : ox_unary("Identity", e->inside));
    }
    for (size_t i = 0; i < stacked_count; i++) {
        add_output(s, *stacked[i]);
    }
    for (size_t i = 0; i < s->branch->state_count + s->branch->scanned_count; i++) {
        const ox_entry *e = i < s->branch->state_count
                                ? &s->branch->states[i]
                                : &s->branch->scanned[i - s->branch->state_count];
        body->inputs = ox_arena_grow(s->arena, body->inputs, body->input_count, sizeof(ox_val));
        body->inputs[body->input_count++] = e->inside;
    }
}

static ox_node *emit(ox_explain_state *s, size_t output_count)
{
    size_t count = s->branch->state_count + s->branch->scanned_count;
    ox_val *in = ox_arena_alloc(s->arena, count, sizeof *in);
    for (size_t i = 0; i < count; i++) {
        in[i] = i < s->branch->state_count ? s->branch->states[i].outside
                                           : s->branch->scanned[i - s->branch->state_count].outside;
    }
    ox_attr attrs[] = {
        {.name = "body", .kind = OX_ATTR_GRAPH, .graph = s->branch->flow},
        ox_attr_int("num_scan_inputs", (int64_t)s->branch->scanned_count),
    };
    return ox_graph_emit_node(s->g, "", "Scan", count, in, output_count, 2, attrs);
}

/* [steps, part, ...] as [steps * part, ...]. */
static ox_val unstack(ox_explain_state *s, ox_val out, ox_val step)
{
    ox_dim dims[OX_MAX_RANK];
    ox_dim steps = s->branch->scanned[0].outside->dims[0];
    dims[0] = steps;
    memcpy(dims + 1, step->dims, (size_t)step->rank * sizeof *dims);
    out->type = step->type;
    out->rank = step->rank + 1;
    out->dims = ox_arena_copy(s->arena, dims, (size_t)out->rank, sizeof *dims);
    dims[1] = ox_dim_mul(s->g, steps, step->dims[0]);
    return ox_reshape(out, step->rank, dims + 1);
}

void ox_scan_emit(ox_explain_state *s, ox_val *results[], size_t count, bool stack,
                  const ox_dim *const *dims)
{
    for (size_t i = 0; !stack && i < count; i++) {
        sum_over_steps(s, *results[i], dims != NULL ? dims[i] : (*results[i])->dims);
    }
    size_t stacked = stack ? count : 0;
    close_body(s, stacked, results);
    ox_node *scan = emit(s, s->branch->state_count + stacked);
    size_t next = 0;
    for (size_t i = 0; i < s->branch->state_count; i++) {
        ox_val out = scan->outputs[i];
        ox_val first = s->branch->states[i].outside;
        out->type = first->type;
        out->rank = first->rank;
        out->dims = first->dims;
        if (s->branch->states[i].next != NULL) {
            *results[next++] = out;
        }
    }
    for (size_t i = 0; i < stacked; i++) {
        *results[i] = unstack(s, scan->outputs[s->branch->state_count + i], *results[i]);
    }
}
