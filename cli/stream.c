/* Samples that need not fit into memory, some rows at a time. */
#include "stream.h"

#include "faults.h"
#include "os.h"
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows are read and written for about so long at a time, and so many bytes. */
#define STEP_SECONDS 0.25
enum { STEP_BYTES = 8 << 20, BATCH_MAX = 64, WARNINGS_MAX = 10 };

typedef struct run {
    const ox_stream *stream;
    ox_source *source;
    ox_session *session;
    const ox_signature *signature;
    bool *cut;           /* of the inputs: are their rows samples? */
    size_t fixed, batch; /* the model's own; rows of a call */
    size_t first, rows;  /* those of the shard */
    size_t warnings;
    size_t at; /* the row that is run, for warnings */
    bool unchecked;
} run;

bool ox_stream_shard(const char *text, ox_stream *stream)
{
    char *end, *last;
    stream->shard = strtoll(text, &end, 10);
    if (end == text || *end != '/' || !end[1]) {
        return false;
    }
    stream->shards = strtoll(end + 1, &last, 10);
    return !*last && last != end + 1 && stream->shard >= 1 && stream->shard <= stream->shards;
}

uint64_t ox_stream_bytes(const ox_model *model)
{
    const char *memory = ox_metadata(model, "onnxexplainer.memory");
    uint64_t loading, kept, bytes;
    return memory &&
                   sscanf(memory, "%" SCNu64 " %" SCNu64 " %" SCNu64, &loading, &kept, &bytes) == 3
               ? bytes
               : 0;
}

/* ---- what is run ----------------------------------------------------------------------- */

/* Values of one sample, as far as shapes are known. */
static uint64_t count_values(const run *r)
{
    uint64_t values = 0;
    const ox_arrays *heads = ox_source_heads(r->source);
    for (size_t i = 0; i < heads->count; i++) {
        values += r->cut[i] ? ox_array_elements(&heads->items[i], 1) : 0;
    }
    for (size_t i = 0; i < r->signature->output_count; i++) {
        const ox_value_info *info = &r->signature->outputs[i];
        size_t count = 0;
        values +=
            info->rank > 0 && ox_array_count(info->dims + 1, info->rank - 1, 1, &count) ? count : 0;
    }
    return values;
}

/* As many as fit, by what the model says: unlike what a process grows by this is the same in every
 * run. */
static size_t choose_batch(const run *r)
{
    const ox_batch *options = &r->stream->samples->batch;
    if (r->fixed || r->signature->alone) {
        return r->fixed ? r->fixed : 1;
    }
    if (options->size > 0) {
        return (size_t)options->size;
    }
    uint64_t memory = options->memory ? options->memory : (uint64_t)64 << 20;
    uint64_t least = 64 * count_values(r), one = r->stream->run_bytes;
    one = one > least ? one : least;
    size_t batch = 1;
    while (batch < BATCH_MAX && 2 * batch * one <= memory) {
        batch *= 2;
    }
    return batch;
}

/* Shards end where batches do, so that they are cut as without. */
static bool choose_rows(run *r, size_t all, ox_error *err)
{
    uint64_t batches = (all + r->batch - 1) / r->batch, i = (uint64_t)r->stream->shard,
             n = (uint64_t)r->stream->shards;
    size_t begin = (size_t)(batches / n * (i - 1) + batches % n * (i - 1) / n) * r->batch;
    size_t end = (size_t)(batches / n * i + batches % n * i / n) * r->batch;
    r->first = begin;
    r->rows = (end < all ? end : all) - begin;
    return r->rows ||
           ox_cli_error(err, OX_ARGUMENT,
                        "--shard=%" PRIu64 "/%" PRIu64 ": no rows, as %zu are %" PRIu64 " batches",
                        i, n, all, batches);
}

static bool find_rows(run *r, ox_error *err)
{
    size_t all;
    if (!ox_batch_cut(r->signature, ox_source_heads(r->source), r->cut, &all, &r->fixed, err)) {
        return false;
    }
    if (!all) {
        return ox_cli_error(
            err, OX_ARGUMENT,
            r->signature->whole
                ? "samples of this model depend on the others of their batch: all have to be read "
                  "at once, without --shard and --resume"
                : "the samples have no axis that can be cut: run without --shard and --resume");
    }
    r->batch = choose_batch(r);
    return choose_rows(r, all, err);
}

/* ---- what results depend on ------------------------------------------------------------ */

static bool append(char **text, char *more, ox_error *err)
{
    char *joined = more && *text ? ox_cli_format(err, "%s %s", *text, more) : NULL;
    free(more);
    free(*text);
    *text = joined;
    return joined != NULL;
}

static bool append_file(char **text, const char *path, ox_error *err)
{
    ox_os_info info;
    if (!ox_os_stat(path, &info)) {
        return ox_cli_system_error(err, path, "read");
    }
    return append(text,
                  ox_cli_format(err, "%lld:%lld.%09ld", (long long)info.size,
                                (long long)info.seconds, (long)info.nanoseconds),
                  err);
}

/* A line: files by size and time, runtime and options. NULL and err on failure. */
static char *describe(const run *r, ox_error *err)
{
    const ox_stream *s = r->stream;
    const ox_samples *samples = s->samples;
    char version[64], *text = ox_cli_copy("1", err);
    bool good = text && ox_runtime_version(samples->runtime, version, sizeof version, err) &&
                append_file(&text, s->model, err);
    for (size_t i = 0; good && i < samples->inputs.count; i++) {
        good = append_file(&text, ox_spec_of(samples->inputs.items[i]).path, err);
    }
    good = good && append(&text,
                          ox_cli_format(err, "shard %lld/%lld batch %zu threads %lld %u %s",
                                        (long long)s->shard, (long long)s->shards, r->batch,
                                        (long long)samples->threads, s->settings, version),
                          err);
    if (!good) {
        free(text);
    }
    return good ? text : NULL;
}

static bool is_newer(const char *path, const ox_os_info *than)
{
    ox_os_info info;
    return ox_os_stat(path, &info) &&
           (info.seconds > than->seconds ||
            (info.seconds == than->seconds && info.nanoseconds > than->nanoseconds));
}

/* With --resume nothing is done where the result is there, if it is not older than what it is of.
 */
static bool is_done(const run *r, ox_error *err)
{
    const ox_stream *s = r->stream;
    ox_os_info there;
    bool stale = !ox_os_stat(s->output, &there) || is_newer(s->model, &there);
    for (size_t i = 0; i < s->samples->inputs.count; i++) {
        stale = stale || is_newer(ox_spec_of(s->samples->inputs.items[i]).path, &there);
    }
    if (stale) {
        return ox_cli_error(err, OX_ARGUMENT,
                            "%s: is older than the model or the samples: remove it first",
                            s->output);
    }
    if (!s->samples->quiet) {
        ox_cli_say("note: %s is there already", s->output);
    }
    return true;
}

/* ---- some rows ------------------------------------------------------------------------- */

static void warn_of_rows(void *user, const char *message)
{
    run *r = user;
    if (r->warnings++ < WARNINGS_MAX) {
        ox_cli_say("warning: of the rows from %zu on: %s", r->at, message);
    }
}

static bool check(run *r, const ox_arrays *outputs, const bool *stacked, ox_reached *reached,
                  ox_error *err)
{
    ox_findings found;
    if (!r->signature->explained || r->unchecked) {
        return true;
    }
    if (!ox_faults_find(r->session, outputs, stacked, &found, warn_of_rows, r, err)) {
        r->unchecked = !r->stream->strict && err->code != OX_MEMORY;
        if (r->unchecked) {
            ox_cli_say("warning: not checked: %s", err->message);
        }
        return r->unchecked;
    }
    reached->found.samples += found.samples;
    reached->found.not_finite += found.not_finite;
    reached->found.incomplete += found.incomplete;
    reached->found.unknown += found.unknown;
    ox_summary_take(&reached->worst, r->signature, outputs, r->at);
    return !r->stream->strict || !(found.not_finite || found.incomplete || found.unknown) ||
           ox_cli_error(err, OX_INVALID,
                        "of the rows from %zu on %zu are not finite, %zu do not add up, %zu are "
                        "not checked: with --strict they are not written",
                        r->at, found.not_finite, found.incomplete, found.unknown);
}

/* Every output has a row for each of `count` samples. */
static bool have_rows(const run *r, const ox_arrays *outputs, const bool *stacked, size_t count,
                      ox_error *err)
{
    for (size_t i = 0; i < outputs->count; i++) {
        const ox_array *array = &outputs->items[i];
        bool good = !stacked[i] && array->rank > 0 && array->dims[0] == (int64_t)count;
        for (size_t k = 0; good && !r->fixed && k < r->signature->output_count; k++) {
            const ox_value_info *info = &r->signature->outputs[k];
            good = strcmp(info->name, array->name) != 0 || info->rank < 1 || info->dims[0] < 0;
        }
        if (!good) {
            return ox_cli_error(err, OX_ARGUMENT,
                                "output \"%s\" has no sample axis, so that rows cannot be written "
                                "one after another: write .npz",
                                array->name);
        }
    }
    return true;
}

static size_t bytes_of(const ox_arrays *arrays)
{
    size_t bytes = 0;
    for (size_t i = 0; i < arrays->count; i++) {
        const ox_array *array = &arrays->items[i];
        bytes += ox_array_elements(array, 0) * ox_type_size(array->type);
    }
    return bytes;
}

/* Runs the next `count` rows. */
static bool step(run *r, size_t count, ox_part *part, ox_reached *reached, size_t *bytes,
                 ox_error *err)
{
    ox_arrays inputs, outputs = {NULL, 0};
    bool *stacked = NULL;
    ox_batch batch = r->stream->samples->batch;
    batch.size = (int64_t)r->batch;
    batch.no_progress = true;
    batch.progress = false;
    batch.note = reached->rows ? NULL : batch.note;
    r->at = r->first + reached->rows;
    if (!ox_source_read(r->source, r->cut, r->at, count, &inputs, err)) {
        return false;
    }
    bool good = ox_batch_run(r->session, r->signature, &inputs, &batch, &outputs, &stacked, err) &&
                have_rows(r, &outputs, stacked, count, err) &&
                check(r, &outputs, stacked, reached, err);
    *bytes = bytes_of(&inputs) + (good ? bytes_of(&outputs) : 0);
    if (good) {
        reached->rows += count;
        good = !part || ox_part_add(part, &outputs, r->signature, reached, err);
    }
    free(stacked);
    ox_arrays_free(&inputs);
    ox_arrays_free(&outputs);
    return good;
}

static bool all_steps(run *r, ox_part *part, ox_reached *reached, ox_error *err)
{
    const ox_batch *options = &r->stream->samples->batch;
    ox_progress progress = ox_progress_begin(r->rows, options->progress, options->no_progress);
    size_t size = r->batch, bytes = 0;
    bool good = true;
    ox_progress_step(&progress, reached->rows);
    while (good && reached->rows < r->rows && !ox_os_watched()) {
        double start = ox_os_seconds();
        size_t left = r->rows - reached->rows;
        good = step(r, size < left ? size : left, part, reached, &bytes, err);
        size *= ox_os_seconds() - start < STEP_SECONDS && 2 * bytes <= STEP_BYTES ? 2 : 1;
        ox_progress_step(&progress, reached->rows);
    }
    ox_progress_end(&progress);
    return good;
}

static bool run_rows(run *r, ox_part *part, ox_reached *reached, int *signal, ox_error *err)
{
    ox_os_held before;
    ox_os_watch(&before);
    bool good = all_steps(r, part, reached, err);
    bool whole = good && reached->rows == r->rows;
    *signal = good && !whole ? ox_os_watched() : 0;
    good = (part ? ox_part_end(part, whole, err) : whole) && good;
    ox_os_unwatch(&before);
    if (r->warnings > WARNINGS_MAX) {
        ox_cli_say("warning: and %zu more", r->warnings - WARNINGS_MAX);
    }
    return good;
}

bool ox_stream_run(const ox_stream *stream, ox_source *source, ox_session *session,
                   const ox_signature *signature, ox_reached *reached, int *signal, ox_error *err)
{
    run r = {.stream = stream, .source = source, .session = session, .signature = signature};
    r.cut = ox_cli_alloc(ox_source_heads(source)->count, sizeof *r.cut, err);
    char *of = NULL;
    ox_part *part = NULL;
    *reached = (ox_reached){.rows = 0};
    bool good = r.cut && find_rows(&r, err), done = false;
    if (good && stream->output) {
        of = describe(&r, err);
        part = of ? ox_part_begin(stream->output, stream->resume, of, r.rows, reached, err) : NULL;
        good = part != NULL;
        done = of && !part && err->code == OX_OK;
    }
    if (done) {
        reached->rows = r.rows;
        good = is_done(&r, err);
    } else if (good) {
        good = run_rows(&r, part, reached, signal, err);
    }
    if (*signal) {
        ox_cli_say("ended after %zu of %zu rows%s", reached->rows, r.rows,
                   stream->output ? ", which are kept: --resume goes on" : "");
    }
    free(r.cut);
    free(of);
    return good;
}
