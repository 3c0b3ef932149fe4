/* Streams samples through a session. */
#include "batch.h"

#include "os.h"
#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Larger batches leave the caches: 256 rows of an MLP take 1.4 times as long as 8 times 32. */
enum { BATCH_MAX = 64 };

/* One input of every call. */
typedef struct feed {
    const ox_array *array;
    bool batched;
    char *padded; /* room for a last batch that is filled up; NULL until needed */
    int64_t dims[OX_RANK_MAX];
} feed;

typedef struct plan {
    const ox_signature *signature;
    const ox_arrays *inputs;
    feed *feeds;
    ox_tensor *tensors; /* what goes into a call, one per feed */
    ox_tensor *results; /* what comes out, one per output of the session */
    size_t result_count;
    const char **names; /* of those outputs */
    bool *joined;       /* of each output: has it a sample axis? */
    bool *stacked;      /* has it got one, as the model is for one sample? */
    bool again;         /* an output differs from batch to batch: all have to run at once */
    ox_arrays *outputs;
    bool whole;   /* nothing is cut into batches */
    size_t rows;  /* samples; 0 where no input has a sample axis */
    size_t fixed; /* the model's own batch; 0 where it is free */
} plan;

/* ---- what is batched ------------------------------------------------------------------- */

static bool has_symbol(const ox_value_info *info, int axis, const char *symbol)
{
    return axis < info->rank && info->dims[axis] < 0 && !strcmp(info->symbols[axis], symbol);
}

/* The symbol that an input and an output share as their axis 0. */
static const char *batch_symbol(const ox_signature *s)
{
    for (size_t i = 0; i < s->input_count; i++) {
        const ox_value_info *in = &s->inputs[i];
        if (in->rank < 1 || in->dims[0] >= 0 || !in->symbols[0][0]) {
            continue;
        }
        for (size_t o = 0; o < s->output_count; o++) {
            if (has_symbol(&s->outputs[o], 0, in->symbols[0])) {
                return in->symbols[0];
            }
        }
    }
    return NULL;
}

/* A batch that is another axis of some input or output (recurrent states, or what is named so by
 * convention) cannot be cut here. */
static bool stands_elsewhere(const ox_signature *s, const char *symbol)
{
    for (size_t i = 0; i < s->input_count + s->output_count; i++) {
        const ox_value_info *info =
            i < s->input_count ? &s->inputs[i] : &s->outputs[i - s->input_count];
        for (int axis = 1; axis < info->rank; axis++) {
            if (info->dims[axis] < 0 && !strncmp(info->symbols[axis], "batch", 5)) {
                return true;
            }
            if (symbol && has_symbol(info, axis, symbol)) {
                return true;
            }
        }
    }
    return false;
}

static bool refuse_shape(const ox_array *array, const ox_value_info *info, ox_error *err)
{
    char has[256], wants[256];
    ox_dims_text(has, sizeof has, array->dims, array->rank, NULL);
    ox_dims_text(wants, sizeof wants, info->dims, info->rank, info->symbols);
    return ox_cli_error(err, OX_ARGUMENT, "%s: shape %s where input \"%s\" takes %s%s", array->file,
                        has, info->name, wants, ox_shape_hint(array, info));
}

/* Decides whether `f` has a sample axis, and checks its shape. */
static bool plan_feed(plan *p, feed *f, const ox_value_info *info, const char *symbol,
                      ox_error *err)
{
    const ox_array *array = f->array;
    if (info->rank < 0) {
        f->batched = !p->whole && array->rank > 0;
        return true;
    }
    if (array->rank != info->rank) {
        return refuse_shape(array, info, err);
    }
    for (int axis = 1; axis < info->rank; axis++) {
        if (info->dims[axis] >= 0 && info->dims[axis] != array->dims[axis]) {
            return refuse_shape(array, info, err);
        }
    }
    if (info->rank == 0 || info->dims[0] == array->dims[0]) {
        return true;
    }
    if (info->dims[0] < 0) {
        const char *own = info->symbols[0];
        f->batched = !p->whole && (!symbol || !own[0] || !strcmp(own, symbol));
        return true;
    }
    size_t fixed = (size_t)info->dims[0];
    if (!fixed || (p->fixed && p->fixed != fixed)) {
        return refuse_shape(array, info, err);
    }
    p->fixed = fixed;
    f->batched = true;
    return true;
}

static bool plan_rows(plan *p, ox_error *err)
{
    const feed *first = NULL;
    for (size_t i = 0; i < p->inputs->count; i++) {
        const feed *f = &p->feeds[i];
        if (!f->batched) {
            continue;
        }
        const ox_array *a = f->array;
        if (a->dims[0] == 0) {
            return ox_cli_error(err, OX_ARGUMENT, "%s: no samples in it", a->file);
        }
        if (first && first->array->dims[0] != a->dims[0]) {
            return ox_cli_error(err, OX_ARGUMENT, "%s has %lld samples, %s has %lld",
                                first->array->file, (long long)first->array->dims[0], a->file,
                                (long long)a->dims[0]);
        }
        first = f;
        p->rows = (size_t)a->dims[0];
    }
    return true;
}

static bool plan_inputs(plan *p, bool all, ox_error *err)
{
    const ox_signature *s = p->signature;
    const char *symbol = batch_symbol(s);
    p->whole = all || s->whole || stands_elsewhere(s, symbol);
    for (size_t i = 0; i < s->input_count; i++) {
        const ox_array *array = ox_arrays_find(p->inputs, s->inputs[i].name);
        if (!array) {
            return ox_cli_error(err, OX_ARGUMENT, "no array for input \"%s\": give --input %s=FILE",
                                s->inputs[i].name, s->inputs[i].name);
        }
        feed *f = &p->feeds[array - p->inputs->items];
        f->array = array;
        if (!plan_feed(p, f, &s->inputs[i], symbol, err)) {
            return false;
        }
    }
    return plan_rows(p, err);
}

/* ---- one call -------------------------------------------------------------------------- */

/* Points the tensors at `count` samples from `first` on, filled up to `step`. */
static bool aim(plan *p, size_t first, size_t count, size_t step, ox_error *err)
{
    for (size_t i = 0; i < p->inputs->count; i++) {
        feed *f = &p->feeds[i];
        p->tensors[i] = ox_array_tensor(f->array);
        if (!f->batched) {
            continue;
        }
        size_t bytes = ox_array_elements(f->array, 1) * ox_type_size(f->array->type);
        const char *data = (const char *)f->array->data + first * bytes;
        if (count < step) {
            f->padded = f->padded ? f->padded : ox_cli_alloc(step, bytes, err);
            if (!f->padded) {
                return false;
            }
            for (size_t row = 0; row < step; row++) {
                size_t from = row < count ? row : count - 1;
                memcpy(f->padded + row * bytes, data + from * bytes, bytes);
            }
            data = f->padded;
        }
        memcpy(f->dims, f->array->dims, sizeof f->dims);
        f->dims[0] = (int64_t)step;
        p->tensors[i].dims = f->dims;
        p->tensors[i].data = data;
    }
    return true;
}

/* Whether an output has one row per sample, as its declared and its actual shape say. */
static bool is_joined(const plan *p, const ox_tensor *t, size_t step)
{
    if (!p->rows || t->rank < 1 || t->dims[0] != (int64_t)step) {
        return false;
    }
    for (size_t i = 0; i < p->signature->output_count; i++) {
        const ox_value_info *info = &p->signature->outputs[i];
        if (t->name && !strcmp(info->name, t->name)) {
            return p->fixed || info->rank < 1 || info->dims[0] < 0;
        }
    }
    return true;
}

static bool begin_output(plan *p, size_t i, const ox_tensor *t, size_t step, ox_error *err)
{
    p->joined[i] = is_joined(p, t, step);
    p->stacked[i] = !p->joined[i] && p->fixed == 1 && p->rows > 1 && t->rank < OX_RANK_MAX;
    int64_t dims[OX_RANK_MAX];
    ox_tensor joined = *t;
    if (p->stacked[i]) {
        memcpy(dims + 1, t->dims, (size_t)t->rank * sizeof *dims);
        joined.rank++;
    } else if (!p->joined[i] || step == p->rows || t->rank > OX_RANK_MAX) {
        ox_array array;
        return ox_array_from_tensor(&array, t, err) && ox_arrays_add(p->outputs, &array, err);
    } else {
        memcpy(dims, t->dims, (size_t)t->rank * sizeof *dims);
    }
    dims[0] = 0;
    joined.dims = dims;
    ox_array array;
    if (!ox_array_from_tensor(&array, &joined, err)) {
        return false;
    }
    free(array.data);
    array.data = NULL;
    array.dims[0] = (int64_t)p->rows;
    if (!ox_array_allocate(&array, err)) {
        ox_array_free(&array);
        return false;
    }
    return ox_arrays_add(p->outputs, &array, err);
}

static bool is_same_shape(const ox_array *array, const ox_tensor *t, int from)
{
    if (array->type != t->type || array->rank != t->rank) {
        return false;
    }
    size_t axes = (size_t)(array->rank - from);
    return !memcmp(array->dims + from, t->dims + from, axes * sizeof *t->dims);
}

static bool refuse_change(const ox_array *array, ox_error *err)
{
    return ox_cli_error(err, OX_ARGUMENT,
                        "output \"%s\" changes its shape from batch to batch: use --batch=1 on "
                        "single samples or --batch=all",
                        array->name);
}

static bool join_output(plan *p, size_t i, const ox_tensor *t, size_t first, size_t count,
                        size_t step, ox_error *err)
{
    ox_array *array = &p->outputs->items[i];
    size_t size = ox_type_size(array->type);
    if (p->stacked[i]) {
        size_t bytes = ox_array_elements(array, 1) * size;
        if (array->type != t->type || array->rank != t->rank + 1 ||
            memcmp(array->dims + 1, t->dims, (size_t)t->rank * sizeof *t->dims) != 0) {
            return refuse_change(array, err);
        }
        memcpy((char *)array->data + first * bytes, t->data, bytes);
        return true;
    }
    if (!p->joined[i]) {
        size_t bytes = ox_array_elements(array, 0) * size;
        if (is_same_shape(array, t, 0) && !memcmp(array->data, t->data, bytes)) {
            return true;
        }
        p->again = true;
        return ox_cli_error(err, OX_ARGUMENT,
                            "output \"%s\" has no sample axis and differs from batch to batch: "
                            "use --batch=all",
                            array->name);
    }
    if (!is_same_shape(array, t, 1) || t->dims[0] != (int64_t)step) {
        return refuse_change(array, err);
    }
    size_t bytes = ox_array_elements(array, 1) * size;
    memcpy((char *)array->data + first * bytes, t->data, count * bytes);
    return true;
}

/* Runs samples first to first + count as a batch of `step`. */
static bool call(plan *p, ox_session *session, size_t first, size_t count, size_t step,
                 ox_error *err)
{
    if (!aim(p, first, count, step, err) ||
        !ox_session_run(session, p->tensors, p->inputs->count, p->names, p->results,
                        p->result_count, err)) {
        return false;
    }
    bool good = true;
    for (size_t i = 0; i < p->result_count; i++) {
        const ox_tensor *t = &p->results[i];
        if (good && first == 0) {
            good = begin_output(p, i, t, step, err);
        }
        if (good && (first > 0 || p->stacked[i] || (p->joined[i] && step != p->rows))) {
            good = join_output(p, i, t, first, count, step, err);
        }
        ox_tensor_free(&p->results[i]);
    }
    return good;
}

/* ---- how many at a time ---------------------------------------------------------------- */

/* Half of what is free, and not more than pays: what exceeds the caches by much takes longer. */
static uint64_t default_memory(void)
{
    const uint64_t enough = (uint64_t)64 << 20;
    uint64_t half = ox_os_memory_free() / 2;
    return half && half < enough ? half : enough;
}

/* Batch size after a batch of `step`, for which the process has grown by `growth` bytes: twice as
 * many while that stays within the memory, else the same. Powers of two, so that small differences
 * in what was measured do not change results by rounding. */
static size_t choose_step(const plan *p, size_t step, uint64_t growth, uint64_t memory)
{
    uint64_t values = 0;
    for (size_t i = 0; i < p->inputs->count; i++) {
        values += ox_array_elements(p->feeds[i].array, p->feeds[i].batched ? 1 : 0);
    }
    for (size_t i = 0; i < p->result_count; i++) {
        values += ox_array_elements(&p->outputs->items[i], p->joined[i] ? 1 : 0);
    }
    /* Memory that was free within the process is reused and does not show as growth. */
    uint64_t least = 64 * values * step;
    uint64_t taken = growth > least ? growth : least;
    return step < BATCH_MAX && taken <= (memory ? memory : default_memory()) / 2 ? 2 * step : step;
}

static bool stream(plan *p, ox_session *session, const ox_batch *options, ox_progress *progress,
                   ox_error *err)
{
    if (!p->rows) {
        return call(p, session, 0, 0, 0, err);
    }
    size_t step = p->fixed ? p->fixed : options->size > 0 ? (size_t)options->size : 1;
    bool probe = !p->fixed && options->size == 0 && !p->signature->alone;
    uint64_t before = ox_os_memory_now();
    for (size_t first = 0; first < p->rows;) {
        size_t count = step < p->rows - first ? step : p->rows - first;
        if (!call(p, session, first, count, p->fixed ? p->fixed : count, err)) {
            return false;
        }
        if (probe) {
            uint64_t after = ox_os_memory_now();
            size_t next =
                choose_step(p, step, after > before ? after - before : 0, options->memory);
            probe = next > step;
            step = next;
        }
        first += count;
        ox_progress_step(progress, first);
    }
    return true;
}

/* Maps, sequences and strings, such as the labels of a classifier, are no arrays to write. */
static bool is_numbers(const plan *p, const char *name)
{
    for (size_t i = 0; i < p->signature->output_count; i++) {
        const ox_value_info *info = &p->signature->outputs[i];
        if (!strcmp(info->name, name)) {
            return ox_type_size(info->type) > 0 && info->type != OX_STRING;
        }
    }
    return true;
}

/* Chooses the outputs; there has to be one. */
static bool plan_outputs(plan *p, const ox_session *session, const ox_batch *options, ox_error *err)
{
    size_t all;
    const char *const *names = ox_session_outputs(session, &all);
    p->names = ox_cli_alloc(all, sizeof *p->names, err);
    for (size_t i = 0; p->names && i < all; i++) {
        char text[512];
        if (is_numbers(p, names[i])) {
            p->names[p->result_count++] = names[i];
        } else if (options->note) {
            snprintf(text, sizeof text, "output \"%s\" is left out: it holds no numbers", names[i]);
            options->note(NULL, text);
        }
    }
    if (p->names && !p->result_count) {
        return ox_cli_error(err, OX_UNSUPPORTED, "the model has no output of numbers");
    }
    p->results = ox_cli_alloc(p->result_count, sizeof *p->results, err);
    p->joined = ox_cli_alloc(p->result_count, sizeof *p->joined, err);
    p->stacked = ox_cli_alloc(p->result_count, sizeof *p->stacked, err);
    return p->names && p->results && p->joined && p->stacked;
}

/* All samples at once, where batches of our choice have shown that they depend on each other. */
static bool run_whole(plan *p, ox_session *session, const ox_batch *options, ox_error *err)
{
    if (options->note) {
        options->note(NULL, "outputs without sample axis differ from batch to batch: all samples "
                            "run at once");
    }
    ox_arrays_free(p->outputs);
    for (size_t i = 0; i < p->inputs->count; i++) {
        free(p->feeds[i].padded);
        p->feeds[i] = (feed){.array = NULL};
    }
    p->rows = 0;
    return plan_inputs(p, true, err) && call(p, session, 0, 0, 0, err);
}

/* Where samples depend on the others of their batch, results would be those of the cut. */
static bool refuse_cut(const plan *p, const ox_batch *options, ox_error *err)
{
    for (size_t i = 0; i < p->inputs->count; i++) {
        const ox_array *a = p->feeds[i].array;
        if (p->signature->whole && options->size > 0 && a->rank > 0 &&
            a->dims[0] > (int64_t)options->size) {
            return ox_cli_error(
                err, OX_ARGUMENT,
                "samples of this model depend on the others of their batch, so that "
                "batches of %lld would change the results: use --batch=all",
                (long long)options->size);
        }
    }
    return true;
}

bool ox_batch_run(ox_session *session, const ox_signature *signature, const ox_arrays *inputs,
                  const ox_batch *options, ox_arrays *outputs, bool **stacked, ox_error *err)
{
    *outputs = (ox_arrays){NULL, 0};
    plan p = {.signature = signature, .inputs = inputs, .outputs = outputs};
    p.feeds = ox_cli_alloc(inputs->count, sizeof *p.feeds, err);
    p.tensors = ox_cli_alloc(inputs->count, sizeof *p.tensors, err);
    bool good = p.feeds && p.tensors && plan_outputs(&p, session, options, err) &&
                plan_inputs(&p, options->all, err) && refuse_cut(&p, options, err);
    if (good) {
        ox_progress progress = ox_progress_begin(p.rows, options->progress, options->no_progress);
        good = stream(&p, session, options, &progress, err);
        ox_progress_end(&progress);
    }
    if (!good && p.again && !p.fixed && !options->size) {
        good = run_whole(&p, session, options, err);
    }
    for (size_t i = 0; p.feeds && i < inputs->count; i++) {
        free(p.feeds[i].padded);
    }
    free(p.feeds);
    free(p.tensors);
    free(p.results);
    free(p.joined);
    free(p.names);
    *stacked = p.stacked;
    if (!good) {
        ox_arrays_free(outputs);
    }
    return good;
}

bool ox_batch_cut(const ox_signature *signature, const ox_arrays *inputs, bool *cut, size_t *rows,
                  size_t *fixed, ox_error *err)
{
    plan p = {.signature = signature, .inputs = inputs};
    p.feeds = ox_cli_alloc(inputs->count, sizeof *p.feeds, err);
    bool good = p.feeds && plan_inputs(&p, false, err);
    for (size_t i = 0; good && i < inputs->count; i++) {
        cut[i] = p.feeds[i].batched;
    }
    *rows = p.rows;
    *fixed = p.fixed;
    free(p.feeds);
    return good;
}
