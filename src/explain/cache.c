/* What is kept of the references (OX_CACHE_FILE): constants of the model's graph, filled by running
 * the reference graph, some references at a time. With options.cache_dtype they are rounded to
 * float16 and widened again inside of a Scan, where ONNX Runtime does not fold the Cast. */
#include "explain/cache.h"

#include <math.h>
#include <string.h>

#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/note.h"
#include "explain/original.h"
#include "explain/plan.h"
#include "explain/references.h"
#include "explain/target.h"
#include "rules/side.h"
#include "shape/shape.h"

/* Inputs and the explained output are kept as they are: base value and x - x0 lose nothing; and
 * what trees compare. */
static ox_type kept_type(const ox_explain_state *s, ox_val v, ox_val computed)
{
    bool exact = computed->type != OX_FLOAT || v == s->bind->output || ox_side_of(v)->exact;
    for (size_t i = 0; i < s->bind->input_count; i++) {
        exact = exact || s->bind->inputs[i].x == v;
    }
    return s->options->cache_dtype == OX_FLOAT16 && !exact ? OX_FLOAT16 : computed->type;
}

/* [R, own shape], where a Scan takes chunks of it [R / chunk, chunk, own shape]. */
static int kept_dims(const ox_explain_state *s, ox_val computed, int64_t *dims)
{
    int own = s->plan->one_at_a_time ? 0 : 1; /* batched, computed starts with an axis R = 1 */
    int rank = 0;
    bool chunks = own == 1 && s->plan->chunk > 0;
    dims[rank++] = chunks ? s->plan->padded / s->plan->chunk : s->plan->padded;
    if (chunks) {
        dims[rank++] = s->plan->chunk;
    }
    for (int i = own; i < computed->rank; i++) {
        dims[rank++] = computed->dims[i].size;
    }
    return rank;
}

/* That of an input are its references, which ox_references finds by name: one behind the other. */
static const char *kept_scope(const ox_explain_state *s, ox_val v)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        if (s->bind->inputs[i].x == v && s->bind->inputs[i].batch_axis <= 0) {
            return ox_references_scope(s->arena, v->name);
        }
    }
    return s->g->scope;
}

ox_val ox_keep(ox_explain_state *s, ox_val v, ox_val computed)
{
    ox_type type = kept_type(s, v, computed);
    const char *key = ox_arena_format(s->arena, "%d %s", (int)type, computed->name);
    size_t known = ox_index_find(&s->branch->cached_index, key);
    if (known != SIZE_MAX) {
        return s->branch->cached[known].kept;
    }
    int64_t dims[OX_MAX_RANK];
    size_t size = ox_type_size(type);
    if (computed->rank < 0 || !ox_dims_static(computed->rank, computed->dims) || size == 0) {
        ox_fail(
            s->arena, OX_UNSUPPORTED,
            "%s: the shape of its result is not known, so that it cannot be kept; use cache none",
            v->node != NULL ? ox_node_label(v->node) : v->name);
    }
    int rank = kept_dims(s, computed, dims);
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0 || !ox_size_mul(size, (size_t)dims[i], &size)) {
            ox_fail(s->arena, OX_UNSUPPORTED, "\"%s\" is too large to keep", computed->name);
        }
    }
    ox_const c = {.type = type, .rank = rank, .dims = dims, .size = size};
    const char *former = ox_graph_scope(s->g, kept_scope(s, v));
    ox_val kept = ox_graph_constant(s->g, NULL, &c);
    ox_graph_scope(s->g, former);
    s->branch->cached_index.arena = s->arena;
    ox_index_add(&s->branch->cached_index, key, s->branch->cached_count);
    s->branch->cached = ox_arena_grow(s->arena, s->branch->cached, s->branch->cached_count,
                                      sizeof *s->branch->cached);
    s->branch->cached[s->branch->cached_count++] =
        (ox_cached){.value = v, .computed = computed, .kept = kept};
    return kept;
}

/* ---- contents --------------------------------------------------------------------------- */

static ox_const *contents(const ox_cached *c)
{
    return (ox_const *)(uintptr_t)c->kept->constant;
}

static void make_room(ox_explain_state *s, const ox_cached *cached)
{
    ox_const *c = contents(cached);
    ox_budget_bring(s->arena, c->size); /* as many as the references want */
    c->data = ox_model_spill(s->model, c->size);
}

/* Rounds to nearest, ties to even. What is too large becomes infinite. */
static uint16_t to_half(float value)
{
    uint32_t sign = signbit(value) ? 0x8000 : 0;
    float size = fabsf(value);
    if (!(size < 65520.0F)) {
        return (uint16_t)(sign | (isnan(value) ? 0x7e00 : 0x7c00));
    }
    int exponent;
    frexpf(size, &exponent);
    exponent = exponent < -13 || size == 0 ? -13 : exponent; /* subnormal below 2^-14 */
    float units = nearbyintf(ldexpf(size, 11 - exponent));
    /* 1024 units are the implicit bit; 2048 of them carry into the exponent */
    return (uint16_t)(sign | (((uint32_t)(exponent + 13) << 10) + (uint32_t)units));
}

/* False where a value is finite and does not fit. */
static bool store_halves(uint16_t *to, const float *from, size_t count)
{
    bool fits = true;
    for (size_t i = 0; i < count; i++) {
        to[i] = to_half(from[i]);
        fits = fits && ((to[i] & 0x7fff) != 0x7c00 || isinf(from[i]));
    }
    return fits;
}

/* Text goes with the results. */
static const void *elements_of(const ox_explain_state *s, const ox_tensor *result, size_t bytes)
{
    return result->type == OX_STRING ? ox_elements_copy(s->arena, OX_STRING, result->data, bytes)
                                     : result->data;
}

/* Stores what was computed of references from `first` on; false where float16 cannot hold it. */
static bool store(const ox_explain_state *s, const ox_cached *cached, const ox_tensor *result,
                  int64_t first, int64_t count)
{
    const ox_const *c = contents(cached);
    size_t each = c->size / (size_t)s->plan->padded, bytes = each * (size_t)count;
    unsigned char *to = (unsigned char *)(uintptr_t)c->data + each * (size_t)first;
    bool fits = true;
    if (c->type != cached->computed->type) {
        fits = store_halves((uint16_t *)(void *)to, result->data, bytes / sizeof(uint16_t));
    } else {
        memcpy(to, elements_of(s, result, bytes), bytes);
    }
    ox_model_drop(s->model, to, bytes);
    return fits;
}

/* Keeps the value as it is computed, after all. */
static void keep_wide(ox_explain_state *s, ox_cached *cached)
{
    ox_const *c = contents(cached);
    c->size *= ox_type_size(cached->computed->type) / ox_type_size(c->type);
    c->type = cached->kept->type = cached->computed->type;
    for (size_t i = 0; i < s->branch->state_count; i++) {
        if (s->branch->states[i].outside == cached->kept) {
            s->branch->states[i].inside->type = s->branch->flow->outputs[i]->type = c->type;
        }
    }
    for (size_t i = 0; i < s->branch->scanned_count; i++) {
        if (s->branch->scanned[i].outside == cached->kept) {
            s->branch->scanned[i].inside->type = c->type;
        }
    }
    make_room(s, cached);
    ox_note_to(s->options, "\"%s\" has values beyond float16 and is kept in float32",
               cached->value->name);
}

/* ---- running the reference graph -------------------------------------------------------- */

/* A model that scans `count` references from `first` on through the reference graph; its outputs
 * are the kept values, one slice a reference. */
static ox_model *model_of_references(ox_explain_state *s, int64_t first, int64_t count)
{
    ox_graph *top = ox_graph_new(s->arena, ox_shape_infer, "references");
    ox_val *in = ox_arena_alloc(s->arena, s->bind->input_count, sizeof *in);
    for (size_t i = 0; i < s->bind->input_count; i++) {
        in[i] = ox_feed_slices(&s->bind->inputs[i], ox_feed_rows(s, top, i, first, count));
    }
    ox_attr attrs[] = {
        {.name = "body", .kind = OX_ATTR_GRAPH, .graph = s->branch->refs},
        ox_attr_int("num_scan_inputs", (int64_t)s->bind->input_count),
    };
    ox_node *scan = ox_graph_emit_node(top, "", "Scan", s->bind->input_count, in,
                                       s->branch->cached_count, 2, attrs);
    for (size_t i = 0; i < s->branch->cached_count; i++) {
        const ox_val computed = s->branch->cached[i].computed;
        ox_dim *dims = ox_arena_alloc(s->arena, (size_t)computed->rank + 1, sizeof *dims);
        dims[0] = ox_dim_of(count);
        memcpy(dims + 1, computed->dims, (size_t)computed->rank * sizeof *dims);
        ox_val out = scan->outputs[i];
        out->type = computed->type;
        out->rank = computed->rank + 1;
        out->dims = dims;
        ox_graph_output(top, out, out->name);
    }
    ox_model *m = ox_arena_copy(s->arena, s->model, 1, sizeof *m);
    m->graph = top;
    ox_model_publish(m);
    return m;
}

/* Whether value i of the explained output, flat over [R, own shape], is one that is explained.
 * Where the data choose, infinities may be masks, which are not chosen. */
static bool is_wrong(const ox_explain_state *s, double x, size_t i)
{
    if (s->target->picked == NULL) {
        return isnan(x);
    }
    size_t width = (size_t)s->target->size;
    bool picked = false;
    for (size_t k = 0; k < (size_t)s->target->count && !isfinite(x); k++) {
        picked = picked || s->target->picked[k * width + i % width] != 0;
    }
    return picked;
}

/* f of the references that are not finite make the base value so, and all SHAP values. */
static void check_output(const ox_explain_state *s)
{
    const ox_const *c = NULL;
    for (size_t i = 0; i < s->branch->cached_count; i++) {
        c = s->branch->cached[i].value == s->bind->output ? contents(&s->branch->cached[i]) : c;
    }
    size_t count = c == NULL ? 0 : ox_const_count(c), each = count / (size_t)s->plan->padded;
    for (size_t i = 0; i < count; i++) {
        double x = ox_const_double(c, i);
        if (is_wrong(s, x, i)) {
            ox_warn(s, "\"%s\" is %s for reference %zu, so that SHAP values are not finite",
                    s->bind->output->name, isnan(x) ? "NaN" : "infinite",
                    i / each % (size_t)s->bind->refs_count);
            return;
        }
    }
}

/* Whether options.evaluate gave what the model says of its output. */
static bool is_result(const ox_value_info *info, const ox_tensor *t)
{
    bool same =
        t->type == info->type && t->rank == info->rank && t->dims != NULL && t->data != NULL;
    for (int i = 0; same && i < info->rank; i++) {
        same = t->dims[i] == info->dims[i];
    }
    return same;
}

/* Runs some references; `wide` gets the values that float16 cannot hold. */
static void run_part(ox_explain_state *s, int64_t first, int64_t count, bool *wide)
{
    ox_tensor *results = ox_arena_alloc(s->arena, s->branch->cached_count, sizeof *results);
    ox_model *m = model_of_references(s, first, count);
    ox_error err = {OX_RUNTIME, "the references cannot be run"};
    if (!s->options->evaluate(s->options->evaluate_user, m, NULL, 0, results,
                              s->branch->cached_count, &err)) {
        ox_fail(s->arena, err.code, "%s", err.message);
    }
    const ox_value_info *infos = ox_outputs(m, NULL);
    const char *misfit = NULL;
    for (size_t i = 0; i < s->branch->cached_count; i++) {
        if (is_result(&infos[i], &results[i])) {
            wide[i] = !store(s, &s->branch->cached[i], &results[i], first, count) || wide[i];
        } else {
            misfit = s->branch->cached[i].value->name;
        }
        ox_tensor_free(&results[i]);
    }
    if (misfit != NULL) {
        ox_fail(s->arena, OX_RUNTIME,
                "evaluate: what it gives for \"%s\" is not of the type and shape that it has",
                misfit);
    }
}

/* Runs all references. True when some values have to be kept in another type: once more, then. */
static bool run_all(ox_explain_state *s, int64_t part)
{
    bool *wide = ox_arena_alloc(s->arena, s->branch->cached_count, sizeof *wide), any = false;
    for (int64_t first = 0; first < s->plan->padded; first += part) {
        int64_t rest = s->plan->padded - first;
        run_part(s, first, rest < part ? rest : part, wide);
    }
    for (size_t i = 0; i < s->branch->cached_count; i++) {
        any = any || wide[i];
        if (wide[i]) {
            keep_wide(s, &s->branch->cached[i]);
        }
    }
    return any;
}

void ox_keep_run(ox_explain_state *s)
{
    size_t kept = 0, each = 1;
    for (size_t i = 0; i < s->branch->cached_count; i++) {
        if (s->branch->cached[i].kept->needed) {
            s->branch->cached[kept++] = s->branch->cached[i];
        }
    }
    s->branch->cached_count = kept;
    if (kept == 0) {
        return;
    }
    for (size_t i = 0; i < kept; i++) {
        make_room(s, &s->branch->cached[i]);
        each += contents(&s->branch->cached[i])->size / (size_t)s->plan->padded;
        const char *name = ox_arena_format(s->arena, "onnxexplainer/kept/%zu", i);
        ox_graph_output(s->branch->refs, s->branch->cached[i].computed, name);
    }
    ox_graph_prune(s->branch->refs);
    uint64_t fit =
        ox_plan_memory(s) / 8 / each; /* results are there twice, besides the constants */
    int64_t part = fit < 1 ? 1 : fit < (uint64_t)s->plan->padded ? (int64_t)fit : s->plan->padded;
    while (run_all(s, part)) {
    }
    check_output(s);
}
