/* The walk inside a Scan over the references, `chunk` of them a step. The body captures nothing:
 * samples and the first multiplier come in as state, references as scanned values, weights are its
 * own initializers. SHAP values and the base value are added up in state. */
#include <string.h>

#include "explain.h"

enum { MAX_RANK = 32 };

static ox_val body_input(ox_explain_state *s, ox_val outside, int rank, const ox_dim *dims)
{
    ox_val v = ox_graph_value(s->flow, NULL, outside->type, rank, dims);
    v->is_input = true;
    v->elements = ox_shape_elements(outside);
    return v;
}

ox_val ox_scan_state(ox_explain_state *s, ox_val outside)
{
    for (size_t i = 0; i < s->state_count; i++) {
        if (s->states[i].outside == outside) {
            return s->states[i].inside;
        }
    }
    ox_val inside = body_input(s, outside, outside->rank, outside->dims);
    s->states = ox_arena_grow(s->arena, s->states, s->state_count, sizeof *s->states);
    s->states[s->state_count++] = (ox_entry){.outside = outside, .inside = inside};
    return inside;
}

ox_val ox_scan_slice(ox_explain_state *s, ox_val outside)
{
    ox_dim dims[MAX_RANK];
    ox_val scanned = outside;
    if (!s->one_at_a_time) { /* [R, ...] as [R / chunk, chunk, ...] */
        ox_dim steps = outside->dims[0];
        ox_dim_div(outside->dims[0], ox_dim_of(s->chunk), &steps);
        dims[0] = steps;
        dims[1] = ox_dim_of(s->chunk);
        memcpy(dims + 2, outside->dims + 1, (size_t)(outside->rank - 1) * sizeof *dims);
        scanned = ox_reshape(outside, outside->rank + 1, dims);
    }
    ox_val inside = body_input(s, scanned, scanned->rank - 1, scanned->dims + 1);
    s->scanned = ox_arena_grow(s->arena, s->scanned, s->scanned_count, sizeof *s->scanned);
    s->scanned[s->scanned_count++] = (ox_entry){.outside = scanned, .inside = inside};
    return inside;
}

/* Adds `step` up over the steps. */
static void sum_over_steps(ox_explain_state *s, ox_val step)
{
    ox_val zero = ox_zeros(s->g, step->type, step->rank, step->dims);
    ox_val before = body_input(s, zero, step->rank, step->dims);
    ox_entry e = {.outside = zero, .inside = before, .next = ox_add(before, step)};
    s->states = ox_arena_grow(s->arena, s->states, s->state_count, sizeof *s->states);
    s->states[s->state_count++] = e;
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

static void close_body(ox_explain_state *s)
{
    ox_graph *body = s->flow;
    for (size_t i = 0; i < s->state_count; i++) {
        if (s->states[i].next != NULL) {
            ox_graph_output(body, s->states[i].next, s->states[i].next->name);
        }
    }
    ox_graph_prune(body);
    s->state_count = keep_needed(s->states, s->state_count);
    s->scanned_count = keep_needed(s->scanned, s->scanned_count);
    body->output_count = 0;
    for (size_t i = 0; i < s->state_count; i++) {
        ox_entry *e = &s->states[i];
        ox_val next = e->next != NULL ? e->next : ox_unary("Identity", e->inside);
        ox_graph_output(body, next, next->name);
    }
    for (size_t i = 0; i < s->state_count + s->scanned_count; i++) {
        ox_entry *e = i < s->state_count ? &s->states[i] : &s->scanned[i - s->state_count];
        body->inputs = ox_arena_grow(s->arena, body->inputs, body->input_count, sizeof(ox_val));
        body->inputs[body->input_count++] = e->inside;
    }
}

void ox_scan_emit(ox_explain_state *s, ox_val *totals[], size_t total_count)
{
    for (size_t i = 0; i < total_count; i++) {
        sum_over_steps(s, *totals[i]);
    }
    close_body(s);
    size_t count = s->state_count + s->scanned_count;
    ox_val *in = ox_arena_alloc(s->arena, count, sizeof *in);
    for (size_t i = 0; i < count; i++) {
        in[i] = i < s->state_count ? s->states[i].outside : s->scanned[i - s->state_count].outside;
    }
    ox_attr attrs[] = {
        {.name = "body", .kind = OX_ATTR_GRAPH, .graph = s->flow},
        ox_attr_int("num_scan_inputs", (int64_t)s->scanned_count),
    };
    ox_node *scan = ox_graph_emit_node(s->g, "", "Scan", count, in, s->state_count, 2, attrs);
    size_t next = 0;
    for (size_t i = 0; i < s->state_count; i++) {
        ox_val out = scan->outputs[i];
        out->type = s->states[i].inside->type;
        out->rank = s->states[i].inside->rank;
        out->dims = s->states[i].inside->dims;
        if (s->states[i].next != NULL) {
            *totals[next++] = out;
        }
    }
}
