/* What an explained model takes of memory for its references, read off the graph that was built.
 * With it, options.memory bounds what a run takes beyond the model and its results: a cache that
 * does not fit is not chosen, and one that was asked for is refused.
 *
 * The weights of a file are there twice while ONNX Runtime reads it. What it folds is there as well
 * until all is folded, as is what it is folded from, and once more as what is used. With the
 * kernels, as `run` has them: portable, functions are more nodes, of which more folds. */
#include "explain/footprint.h"

#include <inttypes.h>
#include <string.h>

#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/note.h"
#include "explain/plan.h"
#include "explain/target.h"
#include "rules/side.h"

/* What a process may take more without anybody noticing. */
static const uint64_t SLACK = UINT64_C(16) << 20;
static const uint64_t DEFAULT_CACHE_LIMIT = UINT64_C(1) << 30;

static uint64_t bytes_of(ox_val v)
{
    ox_dim size = v->rank < 0 ? ox_dim_of(0) : ox_val_size(v);
    return size.unknown != 0 || size.size < 0 ? 0 : (uint64_t)size.size * ox_type_size(v->type);
}

/* ---- cache load -------------------------------------------------------------------------- */

/* Whether ONNX Runtime computes the node's results when it loads; of references, as well? */
static bool folds(const ox_node *n, bool *of_references)
{
    *of_references = false;
    for (size_t i = 0; i < n->input_count; i++) {
        ox_val v = n->inputs[i];
        if (v == NULL) {
            continue;
        }
        if (v->constant == NULL && !ox_side_of(v)->folds) {
            return false;
        }
        *of_references = *of_references || ox_side_of(v)->of_references;
    }
    return !ox_draws(n);
}

/* Nodes are in no order yet. True while more of them fold than before. */
static bool mark_folded(ox_explain_state *s, uint64_t *folded)
{
    bool more = false, of_references;
    for (size_t i = 0; i < s->g->node_count; i++) {
        const ox_node *n = s->g->nodes[i];
        if (n->output_count == 0 || ox_side_of(n->outputs[0])->folds || !folds(n, &of_references)) {
            continue;
        }
        bool views = strcmp(n->op, "Reshape") == 0;
        for (size_t k = 0; k < n->output_count; k++) {
            ox_side_of(n->outputs[k])->folds = true;
            ox_side_of(n->outputs[k])->of_references = of_references;
            *folded += of_references && !views ? bytes_of(n->outputs[k]) : 0;
        }
        more = true;
    }
    return more;
}

/* Bytes of what n, which does not fold, reads of references. */
static void add_kept(const ox_node *n, uint64_t *kept)
{
    for (size_t i = 0; i < n->input_count; i++) {
        ox_side *side = n->inputs[i] == NULL ? NULL : ox_side_of(n->inputs[i]);
        if (side == NULL || !side->of_references) {
            continue;
        }
        *kept += side->kept || n->inputs[i]->constant != NULL ? 0 : bytes_of(n->inputs[i]);
        side->kept = true;
    }
}

static void find_folded(ox_explain_state *s, uint64_t *folded, uint64_t *kept)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        ox_side_of(s->branch->fed[i].all)->of_references = true;
    }
    while (mark_folded(s, folded)) {
    }
    for (size_t i = 0; i < s->g->node_count; i++) {
        const ox_node *n = s->g->nodes[i];
        if (n->output_count > 0 && !ox_side_of(n->outputs[0])->folds) {
            add_kept(n, kept);
        }
    }
}

/* ---- all caches -------------------------------------------------------------------------- */

/* Bytes of the references and of what is kept of them in a file. */
static uint64_t written(const ox_explain_state *s)
{
    uint64_t sum = ox_plan_given(s);
    for (size_t i = 0; i < s->branch->cached_count; i++) {
        const ox_value *kept = s->branch->cached[i].kept;
        sum += kept->needed ? kept->constant->size : 0;
    }
    return sum;
}

static uint64_t cache_limit(const ox_explain_state *s)
{
    return s->options->cache_limit > 0 ? s->options->cache_limit : DEFAULT_CACHE_LIMIT;
}

/* Half of the memory is left for the run. */
static bool fits(const ox_explain_state *s)
{
    const ox_plan *plan = s->plan;
    uint64_t memory = ox_plan_memory(s);
    bool file = plan->cache == OX_CACHE_FILE;
    return plan->loads <= memory && plan->holds <= memory / 2 &&
           (!file || written(s) <= cache_limit(s));
}

void ox_footprint_find(ox_explain_state *s, ox_plan *plan)
{
    if (s->options->reference_source != OX_REFERENCES_GIVEN) {
        return;
    }
    uint64_t folded = 0, kept = 0;
    plan->holds = written(s);
    if (plan->cache == OX_CACHE_LOAD) {
        find_folded(s, &folded, &kept);
        plan->holds += kept;
    }
    plan->loads = 2 * written(s) + (folded + kept) / 8 * 9; /* and what it works with meanwhile */
    if (plan->chosen && plan->cache != OX_CACHE_NONE && !fits(s)) {
        s->too_large[plan->cache] = plan->loads;
        s->again = true;
    }
}

/* ---- what is said ------------------------------------------------------------------------- */

static const char *size_text(ox_explain_state *s, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double size = (double)bytes;
    size_t unit = 0;
    for (; size >= 999.5 && unit < 4; unit++) {
        size /= 1000;
    }
    return ox_arena_format(s->arena, "%.*f %s", unit > 0 && size < 99.5, size, units[unit]);
}

/* A size that an option takes, with room to spare. */
static const char *option_text(ox_explain_state *s, uint64_t bytes)
{
    uint64_t mega = bytes / 1000000 * 17 / 16 + 1;
    return ox_arena_format(s->arena, "%" PRIu64 "M", mega);
}

static const char *cache_name(ox_cache cache)
{
    return cache == OX_CACHE_LOAD ? "load" : cache == OX_CACHE_FILE ? "file" : "none";
}

static void refuse(ox_explain_state *s)
{
    const ox_plan *plan = s->plan;
    uint64_t memory = ox_plan_memory(s), out = written(s);
    uint64_t most = plan->loads > 2 * plan->holds ? plan->loads : 2 * plan->holds;
    bool kept = plan->cache != OX_CACHE_NONE;
    long long count = (long long)s->bind->refs_count;
    if (kept && (memory < SLACK ? SLACK : memory) < most) {
        ox_fail(
            s->arena, OX_LIMIT,
            "cache %s of %lld references takes %s while it is loaded and %s then, memory is %s: "
            "--memory=%s allows it, --cache=none keeps nothing",
            cache_name(plan->cache), count, size_text(s, plan->loads), size_text(s, plan->holds),
            size_text(s, memory), option_text(s, most));
    }
    if (out > cache_limit(s)) {
        ox_fail(s->arena, OX_LIMIT,
                "%lld references would write %s beside the model: --cache-limit=%s allows it%s",
                count, size_text(s, out), option_text(s, out),
                plan->cache == OX_CACHE_FILE ? ", --cache=none writes the references alone" : "");
    }
}

/* Why the cache is none of those that are faster. */
static const char *why_text(ox_explain_state *s)
{
    uint64_t load = s->too_large[OX_CACHE_LOAD], file = s->too_large[OX_CACHE_FILE];
    const char *text =
        load == 0 ? "" : ox_arena_format(s->arena, "load takes %s", size_text(s, load));
    return file == 0 ? text
                     : ox_arena_format(s->arena, "%s%sfile %s", text, load == 0 ? "" : ", ",
                                       size_text(s, file));
}

static void tell_steps(const ox_explain_state *s)
{
    const ox_plan *plan = s->plan;
    long long targets = (long long)s->target->count, step = (long long)plan->target_chunk;
    if (step > 0) {
        ox_note_to(s->options,
                   "the %lld targets are taken in %lld steps, to stay within the memory", targets,
                   (targets + step - 1) / step);
    }
    if (plan->chunk > 0 && s->options->chunk == 0 && !plan->one_at_a_time) {
        ox_note_to(s->options,
                   "the references are taken in chunks of %lld, to stay within the memory",
                   (long long)plan->chunk);
    }
}

void ox_footprint_check(ox_explain_state *s)
{
    const ox_plan *plan = s->plan;
    uint64_t run = plan->holds + plan->works, memory = ox_plan_memory(s);
    uint64_t most = run > plan->loads ? run : plan->loads;
    if (s->options->reference_source != OX_REFERENCES_GIVEN) {
        return;
    }
    refuse(s);
    tell_steps(s);
    if (s->too_large[OX_CACHE_LOAD] + s->too_large[OX_CACHE_FILE] > 0) {
        ox_note_to(s->options, "memory: cache %s, at most %s of %s in a run; %s",
                   cache_name(plan->cache), size_text(s, most), size_text(s, memory), why_text(s));
    }
    if (most > memory && most > SLACK) {
        ox_warn(s, "a run may take %s, more than the memory (%s): %s", size_text(s, most),
                size_text(s, memory),
                s->options->chunk > 1 ? "a smaller chunk takes less" : "fewer targets take less");
    }
}
