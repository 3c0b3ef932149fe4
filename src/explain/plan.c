/* How it is done: all references in one run or one at a time, what is kept of them, how many a
 * step, and in which graphs. */
#include "explain/plan.h"

#include <math.h>
#include <string.h>

#include "explain/apart.h"
#include "explain/bind.h"
#include "explain/note.h"
#include "explain/order.h"
#include "explain/place.h"
#include "explain/references.h"
#include "explain/target.h"
#include "rules/side.h"

static const uint64_t DEFAULT_MEMORY = UINT64_C(2) << 30;

/* So many tensors of the largest size are there at a time. */
enum { ALIVE = 10 };

/* What keeps ONNX Runtime from folding; NULL: nothing. */
static const char *unfoldable(const ox_explain_state *s)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        if (s->bind->inputs[i].x->type == OX_STRING) {
            return "text";
        }
    }
    for (size_t i = 0; i < s->order->count; i++) {
        const ox_node *n = s->order->nodes[i];
        if (strstr(n->op, "QuantizeLinear") != NULL || ox_side_packed(n)) {
            return "quantisation";
        }
    }
    return NULL;
}

/* Bytes of all activations of one reference, of those that depend on held values, and of the
 * largest. */
static void activation_bytes(ox_explain_state *s, uint64_t *sum, uint64_t *of_held,
                             uint64_t *largest)
{
    *sum = *of_held = *largest = 0;
    for (size_t i = 0; i < s->order->count; i++) {
        for (size_t k = 0; k < s->order->nodes[i]->output_count; k++) {
            ox_val v = s->order->nodes[i]->outputs[k];
            ox_dim size = v->rank < 0 ? ox_dim_of(0) : ox_val_size(v);
            if (size.unknown != 0 || size.size < 0) {
                continue;
            }
            uint64_t bytes = (uint64_t)size.size * ox_type_size(v->type);
            *sum += bytes;
            *of_held += ox_side_of(v)->of_held ? bytes : 0;
            *largest = bytes > *largest ? bytes : *largest;
        }
    }
}

uint64_t ox_plan_memory(const ox_explain_state *s)
{
    return s->options->memory > 0 ? s->options->memory : DEFAULT_MEMORY;
}

uint64_t ox_plan_given(const ox_explain_state *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->bind->input_count; i++) {
        const ox_tensor *t = s->bind->inputs[i].given;
        uint64_t size = t == NULL ? 0 : ox_type_size(t->type);
        for (int d = 0; t != NULL && d < t->rank; d++) {
            size *= (uint64_t)t->dims[d];
        }
        sum += size;
    }
    return sum;
}

static void choose_cache(ox_explain_state *s, ox_plan *plan)
{
    const ox_options *o = s->options;
    bool file = o->evaluate != NULL && !(s->bind->batch_free && plan->one_at_a_time);
    bool held = (s->bind->needs_held && !plan->pairs) || s->bind->draws || s->bind->sample_shapes;
    plan->cache = o->cache;
    if (o->reference_source != OX_REFERENCES_GIVEN || held) {
        if (o->cache == OX_CACHE_LOAD || o->cache == OX_CACHE_FILE) {
            ox_fail(s->arena, OX_ARGUMENT,
                    "nothing of the references can be kept with %s: use cache none",
                    s->bind->needs_held && !plan->pairs         ? "held values"
                    : s->bind->draws                            ? "random numbers"
                    : s->bind->sample_shapes                    ? "an input used for its shape"
                    : o->reference_source != OX_REFERENCES_FILL ? "references as input"
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
    if (o->cache == OX_CACHE_AUTO && file && o->cache_dtype == OX_FLOAT16) {
        plan->cache = OX_CACHE_FILE;
        return;
    }
    const char *why = plan->one_at_a_time ? "references enter one at a time" : unfoldable(s);
    bool can_load = why == NULL;
    plan->chosen = o->cache == OX_CACHE_AUTO;
    bool load = can_load && s->too_large[OX_CACHE_LOAD] == 0;
    file = file && s->too_large[OX_CACHE_FILE] == 0;
    plan->cache = load ? OX_CACHE_LOAD : file ? OX_CACHE_FILE : OX_CACHE_NONE;
    if (!can_load) {
        ox_note_to(o, "the reference branch does not fold at load (%s), so cache %s is used", why,
                   plan->cache == OX_CACHE_FILE ? "file" : "none");
    }
}

uint64_t ox_plan_pair_bytes(ox_explain_state *s, bool backwards)
{
    uint64_t sum, of_held, largest;
    activation_bytes(s, &sum, &of_held, &largest);
    return ALIVE * largest + (backwards ? sum : 0);
}

/* What fills up the last of steps of `each` is lost, and would be kept of references. */
static int64_t lost(int64_t count, int64_t each)
{
    return (each - count % each) % each;
}

/* How far from `good` a step is: a ratio of at least 1. */
static double distance(int64_t each, int64_t good)
{
    double ratio = (double)each / (double)good;
    return ratio < 1 ? 1 / ratio : ratio;
}

int64_t ox_plan_even_steps(int64_t count, int64_t good, int64_t most)
{
    most = most < 1 ? 1 : most < count ? most : count;
    good = good < 1 ? 1 : good < most ? good : most;
    int64_t best = good;
    for (int64_t each = (good + 1) / 2; each <= most && each <= 2 * good; each++) {
        int64_t gains = lost(count, best) - lost(count, each);
        bool nearer = distance(each, good) <= distance(best, good);
        best = gains > 0 || (gains == 0 && nearer) ? each : best;
    }
    return best;
}

static int64_t even_steps(int64_t count, double good, double most)
{
    return ox_plan_even_steps(count, (int64_t)fmax(1, fmin(good, (double)count)),
                              (int64_t)fmax(1, fmin(most, (double)count)));
}

/* In the body of a Scan, ONNX Runtime does not fold what is kept in float16 back to float32; and
 * small steps hold little of it in both. */
static void choose_narrow_chunk(ox_explain_state *s, ox_plan *plan)
{
    uint64_t sum, of_held, largest;
    activation_bytes(s, &sum, &of_held, &largest);
    double most = sum == 0 ? HUGE_VAL : (double)ox_plan_memory(s) / 4 / (double)sum;
    int64_t chunk = even_steps(s->bind->refs_count, most, most);
    plan->chunk = plan->chunk == 0 || chunk < plan->chunk ? chunk : plan->chunk;
}

/* Bytes of a run, about: ten tensors of the largest size are alive at a time for each reference and
 * target; where nothing is kept, all activations of each reference besides, and in the second order
 * variances of them, in the third means. */
typedef struct need {
    double room; /* for them */
    double pair, reference;
} need;

/* What a process takes for the kernels themselves and for ONNX Runtime's record of them; of less
 * memory than sixteen times that, a part. */
static double kernels_take(double memory)
{
    return fmin(4 << 20, memory / 16);
}

/* What is kept may take all of the memory while it is loaded, and half of it then, as
 * explain/footprint.c looks at. The references are there in any case, and the sample's activations.
 */
static need find_need(ox_explain_state *s, const ox_plan *plan)
{
    uint64_t sum, of_held, largest;
    double memory = (double)ox_plan_memory(s);
    activation_bytes(s, &sum, &of_held, &largest);
    need n = {.room = memory / 2, .pair = (double)ALIVE * (double)largest};
    n.reference = plan->pairs ? (double)of_held : 0;
    if (plan->cache == OX_CACHE_NONE) {
        n.reference = (double)sum;
        n.room = memory - n.reference - (double)ox_plan_given(s) - kernels_take(memory);
    }
    n.reference += s->options->order > 1 ? (double)(s->options->order - 1) * (double)sum : 0;
    return n;
}

/* References of a step whose largest tensors stay in the processor's caches between passes; but a
 * few of them read a weight once for all. */
static double cached_together(const need *n, int64_t targets)
{
    const double caches = 16 << 20, few = 4;
    return fmax(few, caches / (n->pair / (double)ALIVE * (double)targets));
}

/* Where a run is expected to exceed the memory: some targets at a time, with all references; or,
 * with a single target or sums, or where all references are too many for one target, some
 * references at a time. The default does not look at the machine: the same input gives the same
 * model everywhere. */
static void choose_steps(ox_explain_state *s, ox_plan *plan)
{
    const need n = find_need(s, plan);
    int64_t targets = s->target->count;
    double refs = (double)s->bind->refs_count, each = n.reference + (double)targets * n.pair;
    if (refs * each <= n.room) {
        return;
    }
    bool can_target = targets > 1 && s->target->rows == NULL;
    bool one_target = refs * (n.reference + n.pair) <= n.room;
    if (can_target && (one_target || each > n.room)) {
        double most = (n.room / refs - n.reference) / n.pair;
        plan->target_chunk = even_steps(targets, most, most);
    } else {
        double most = n.room / each;
        plan->chunk = even_steps(s->bind->refs_count, cached_together(&n, targets), most);
    }
}

/* The same of the plan as it is. */
static uint64_t working_bytes(ox_explain_state *s, const ox_plan *plan)
{
    const need n = find_need(s, plan);
    int64_t refs = plan->chunk > 0 ? plan->chunk : plan->padded;
    int64_t targets = plan->target_chunk > 0 ? plan->target_chunk : s->target->count;
    double bytes = n.reference + (double)refs * (n.reference + (double)targets * n.pair);
    return bytes < 1e18 ? (uint64_t)bytes : (uint64_t)1e18;
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

/* Whether what is held can be repeated for every reference, and what nodes of the model compute of
 * references and of it for all pairs at once. */
static bool can_pair(ox_explain_state *s)
{
    bool found = s->bind->batch_free;
    for (size_t i = 0; i < s->bind->held_count; i++) {
        ox_val v = s->bind->held[i];
        found = found && (ox_place_repeats(v) || (v->rank >= 0 && ox_place_absent(v)));
    }
    for (size_t i = 0; i < s->order->count; i++) {
        const ox_node *n = s->order->nodes[i];
        for (size_t k = 0; k < n->output_count; k++) {
            const ox_side *side = ox_side_of(n->outputs[k]);
            bool enters = side->of_held && side->varies;
            found = found && !(enters && (side->fusible || !ox_place_repeats(n->outputs[k])));
        }
    }
    return found;
}

ox_plan *ox_plan_batch(ox_explain_state *s)
{
    ox_plan *plan = ox_arena_alloc(s->arena, 1, sizeof *plan);
    ox_place_find(s, true);
    const char *missing = s->bind->one_at_a_time ? NULL : ox_place_missing(s);
    if (s->bind->batch_taken &&
        (missing != NULL || s->bind->one_at_a_time || s->bind->counts_batch ||
         ox_place_cut(s) == OX_CUT_WHOLE || !ox_keeps_apart(s))) {
        ox_fail(s->arena, OX_UNSUPPORTED, "the batch does not stay free");
    }
    if (missing != NULL) {
        ox_note_to(s->options, "references enter one at a time: %s", missing);
    }
    bool held = s->bind->needs_held && !s->bind->one_at_a_time && missing == NULL;
    plan->pairs = held && can_pair(s);
    plan->one_at_a_time = s->bind->one_at_a_time || missing != NULL || (held && !plan->pairs);
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
    plan->works = working_bytes(s, plan);
}
