/* How it is done: all references in one run or one at a time, what is kept of them, how many a
 * step, and in which graphs. */
#include <string.h>

#include "explain/explain.h"

static const uint64_t DEFAULT_MEMORY = UINT64_C(2) << 30;

/* What keeps ONNX Runtime from folding; NULL: nothing. */
static const char *unfoldable(const ox_explain_state *s)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        if (s->bind->inputs[i].x->type == OX_STRING) {
            return "text";
        }
    }
    for (size_t i = 0; i < s->order->count; i++) {
        if (strstr(s->order->nodes[i]->op, "QuantizeLinear") != NULL) {
            return "quantisation";
        }
    }
    return NULL;
}

/* Bytes of all activations of one reference, and of the largest. */
static void activation_bytes(ox_explain_state *s, uint64_t *sum, uint64_t *largest)
{
    *sum = *largest = 0;
    for (size_t i = 0; i < s->order->count; i++) {
        for (size_t k = 0; k < s->order->nodes[i]->output_count; k++) {
            ox_val v = s->order->nodes[i]->outputs[k];
            ox_dim size = v->rank < 0 ? ox_dim_of(0) : ox_val_size(v);
            if (size.unknown != 0 || size.size < 0) {
                continue;
            }
            uint64_t bytes = (uint64_t)size.size * ox_type_size(v->type);
            *sum += bytes;
            *largest = bytes > *largest ? bytes : *largest;
        }
    }
}

uint64_t ox_plan_memory(const ox_explain_state *s)
{
    return s->options->memory > 0 ? s->options->memory : DEFAULT_MEMORY;
}

/* While ONNX Runtime folds the reference branch, all of its values are in memory. */
static bool is_large(ox_explain_state *s)
{
    uint64_t sum, largest, most = 2 * ox_plan_memory(s);
    activation_bytes(s, &sum, &largest);
    if (s->bind->refs_count == 0 || sum <= most / (uint64_t)s->bind->refs_count) {
        return false;
    }
    ox_note_to(s->options,
               "the activations of %lld references are large to fold, so cache file is used",
               (long long)s->bind->refs_count);
    return true;
}

static void choose_cache(ox_explain_state *s, ox_plan *plan)
{
    const ox_options *o = s->options;
    bool file = o->evaluate != NULL && !(s->bind->batch_free && plan->one_at_a_time);
    bool held = s->bind->held_count > 0 || s->bind->draws || s->bind->sample_shapes;
    plan->cache = o->cache;
    if (o->reference_source != OX_REFERENCES_GIVEN || held) {
        if (o->cache == OX_CACHE_LOAD || o->cache == OX_CACHE_FILE) {
            ox_fail(s->arena, OX_ARGUMENT,
                    "nothing of the references can be kept with %s: use cache none",
                    s->bind->held_count > 0                      ? "held values"
                    : s->bind->draws                             ? "random numbers"
                    : s->bind->sample_shapes                     ? "an input used for its shape"
                    : o->reference_source != OX_REFERENCES_FILL  ? "references as input"
                                                                 : "filled references");
        }
        plan->cache = OX_CACHE_NONE;
        return;
    }
    if (o->cache == OX_CACHE_FILE && !file) {
        ox_fail(s->arena, OX_ARGUMENT,
                o->evaluate == NULL ? "cache file needs ONNX Runtime to run the references"
                                    : "cache file: references' activations depend on the batch");
    }
    if (o->cache == OX_CACHE_NONE || o->cache == OX_CACHE_FILE) {
        return;
    }
    if (o->cache == OX_CACHE_AUTO && file && (is_large(s) || o->cache_dtype == OX_FLOAT16)) {
        plan->cache = OX_CACHE_FILE;
        return;
    }
    const char *why = plan->one_at_a_time ? "references enter one at a time" : unfoldable(s);
    bool can_load = why == NULL;
    plan->cache = can_load ? OX_CACHE_LOAD : file ? OX_CACHE_FILE : OX_CACHE_NONE;
    if (!can_load) {
        ox_note_to(o, "the reference branch does not fold at load (%s), so cache %s is used", why,
                   plan->cache == OX_CACHE_FILE ? "file" : "none");
    }
}

/* Bytes that a run takes per reference and target, about: ten tensors of the largest size are alive
 * at a time. */
static uint64_t working_bytes(ox_explain_state *s)
{
    uint64_t sum = 0, largest = 0;
    activation_bytes(s, &sum, &largest);
    return 10 * largest +
           (s->options->cache == OX_CACHE_NONE ? sum / (uint64_t)s->target->count : 0);
}

uint64_t ox_plan_pair_bytes(ox_explain_state *s, bool backwards)
{
    uint64_t sum, largest;
    activation_bytes(s, &sum, &largest);
    return 10 * largest + (backwards ? sum : 0);
}

/* At most `most` references, about the same number in every step: what fills up the last is lost.
 */
static int64_t even_chunk(const ox_explain_state *s, uint64_t most)
{
    uint64_t refs = (uint64_t)s->bind->refs_count, fit = most < 1 ? 1 : most < refs ? most : refs;
    uint64_t steps = (refs + fit - 1) / fit;
    return (int64_t)((refs + steps - 1) / steps);
}

/* In the body of a Scan, ONNX Runtime does not fold what is kept in float16 back to float32; and
 * small steps hold little of it in both. */
static void choose_narrow_chunk(ox_explain_state *s, ox_plan *plan)
{
    uint64_t sum, largest;
    activation_bytes(s, &sum, &largest);
    int64_t chunk = even_chunk(s, sum == 0 ? UINT64_MAX : ox_plan_memory(s) / 4 / sum);
    plan->chunk = plan->chunk == 0 || chunk < plan->chunk ? chunk : plan->chunk;
}

/* Where a run is expected to exceed the memory: some targets at a time, with all references; or,
 * with a single target or sums, some references at a time. The default does not look at the
 * machine: the same input gives the same model everywhere. */
static void choose_steps(ox_explain_state *s, ox_plan *plan)
{
    const ox_options *o = s->options;
    uint64_t each = working_bytes(s);
    uint64_t fit =
        each == 0 ? UINT64_MAX : ox_plan_memory(s) / each; /* pairs of reference and target */
    uint64_t refs = (uint64_t)s->bind->refs_count, targets = (uint64_t)s->target->count;
    if (fit / refs >= targets) {
        return;
    }
    if (targets > 1 && s->target->rows == NULL) {
        uint64_t most = fit < refs ? 1 : fit / refs;
        uint64_t steps = (targets + most - 1) / most;
        plan->target_chunk = (int64_t)((targets + steps - 1) / steps);
        ox_note_to(o, "the %llu targets are taken in %llu steps, to stay within the memory",
                   (unsigned long long)targets, (unsigned long long)steps);
    } else {
        plan->chunk = even_chunk(s, fit / targets);
        ox_note_to(o, "the references are taken in chunks of %lld, to stay within the memory",
                   (long long)plan->chunk);
    }
}

static void check_dtype(const ox_explain_state *s, const ox_plan *plan)
{
    ox_type type = s->options->cache_dtype;
    if (type == OX_FLOAT16 && plan->cache != OX_CACHE_FILE) {
        ox_fail(s->arena, OX_ARGUMENT, "cache dtype float16 needs cache file");
    }
}

static void choose_chunk(ox_explain_state *s, ox_plan *plan)
{
    const ox_options *o = s->options;
    if (ox_feed_is_own(s)) {
        plan->chunk = 0;
    } else if (plan->one_at_a_time) {
        if (o->chunk > 1) {
            ox_note_to(o, "references enter one at a time, so the chunk is 1");
        }
        plan->chunk = 1;
    } else if (o->chunk > 0) {
        plan->chunk = o->chunk;
    } else if (s->bind->refs_count > 0) {
        choose_steps(s, plan);
    }
    if (o->cache_dtype == OX_FLOAT16 && o->chunk == 0 && plan->target_chunk == 0) {
        choose_narrow_chunk(s, plan);
    }
    if (s->bind->refs_count > 0 && plan->chunk > s->bind->refs_count) {
        plan->chunk = s->bind->refs_count;
    }
    if (s->bind->refs_count == 0 && plan->chunk > 1) {
        ox_fail(s->arena, OX_ARGUMENT, "with references as input the chunk can only be 1");
    }
    int64_t step = plan->chunk > 0 ? plan->chunk : 1;
    plan->padded = (s->bind->refs_count + step - 1) / step * step;
}

ox_plan *ox_plan_batch(ox_explain_state *s)
{
    ox_plan *plan = ox_arena_alloc(s->arena, 1, sizeof *plan);
    ox_place_find(s);
    const char *missing = s->bind->one_at_a_time ? NULL : ox_place_missing(s);
    if (missing != NULL) {
        ox_note_to(s->options, "references enter one at a time: %s", missing);
    }
    plan->one_at_a_time = s->bind->one_at_a_time || missing != NULL;
    if (s->bind->batch_free) {
        plan->cut = s->bind->counts_batch ? OX_CUT_WHOLE : ox_place_cut(s);
    }
    if (plan->cut == OX_CUT_WHOLE) {
        ox_note_to(s->options, "samples of a batch may depend on each other: run takes all of them "
                               "at once; --no-batch explains a whole batch as one sample");
    }
    return plan;
}

void ox_plan_steps(ox_explain_state *s, ox_plan *plan)
{
    choose_cache(s, plan);
    check_dtype(s, plan);
    choose_chunk(s, plan);
}
