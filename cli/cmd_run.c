/* onnxexplainer run: runs a model on samples and writes its outputs. */
#include "csv.h"
#include "faults.h"
#include "json.h"
#include "npz.h"
#include "os.h"
#include "output.h"
#include "samples.h"
#include "stream.h"
#include "summary.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    const char *model;
    ox_samples samples;
    const char *output;
    const char *batch_text;
    bool compress;
    bool no_kernels;
    bool tune, no_tune;
    const char *provider;
    bool stats;
    bool strict;
    bool json;
    const char *shard_text;
    ox_stream stream;
} arguments;

/* What a run was like, besides its outputs. */
typedef struct outcome {
    ox_findings found;
    bool checked;
    bool streamed; /* written already, of `reached` */
    ox_reached reached;
    int signal;         /* which ended it early; 0: none */
    double opened, ran; /* seconds */
} outcome;

/* What is read and written; -1 where all is well, else the exit code. */
static int check_files(arguments *a)
{
    if (a->output && !ox_sheet_is_direct(a->output) && !ox_part_can(a->output) &&
        !ox_cli_has_suffix(a->output, ".npz") && !ox_cli_has_suffix(a->output, ".json")) {
        return ox_cli_usage("run", "%s: results are written as .npz, .csv, .json or FOLDER/",
                            *a->output ? a->output : "\"\"");
    }
    if (a->json && a->output && (!strcmp(a->output, "-") || !strcmp(a->output, "/dev/stdout"))) {
        return ox_cli_usage("run", "--json and -o %s both write to standard output", a->output);
    }
    int code = ox_sheet_refuse("run", a->output, "model", &a->model, 1);
    if (code < 0) {
        code = ox_sheet_refuse("run", a->output, "input", a->samples.inputs.items,
                               a->samples.inputs.count);
    }
    return code;
}

static int check_batch(arguments *a)
{
    if (a->batch_text && !strcmp(a->batch_text, "all")) {
        a->samples.batch.all = true;
    } else if (a->batch_text) {
        char *end;
        a->samples.batch.size = strtol(a->batch_text, &end, 10);
        if (end == a->batch_text || *end || a->samples.batch.size < 1) {
            return ox_cli_usage("run", "--batch: \"%s\" is neither a number nor \"all\"",
                                a->batch_text);
        }
    }
    return -1;
}

/* --shard and --resume, and whether what is read and written is larger than memory may be. */
static int check_stream(arguments *a)
{
    ox_stream *s = &a->stream;
    uint64_t size = ox_source_size(&a->samples.inputs);
    s->shard = s->shards = 1;
    if (a->shard_text && !ox_stream_shard(a->shard_text, s)) {
        return ox_cli_usage("run", "--shard: \"%s\" is not I/N, with I from 1 to N", a->shard_text);
    }
    bool folder = a->output && ox_cli_has_suffix(a->output, "/");
    bool written =
        folder || (a->output && !ox_sheet_is_direct(a->output) && ox_part_can(a->output));
    const char *asked = a->shard_text ? "--shard"
                        : s->resume   ? "--resume"
                        : folder      ? "-o FOLDER/"
                                      : NULL;
    s->streamed = asked || (size >= OX_STREAM_FROM && (written || !a->output) && !a->json &&
                            !a->samples.batch.all);
    if (asked && !written) {
        return ox_cli_usage("run", "%s: results go to -o FILE.csv or -o FOLDER/", asked);
    }
    if (asked && !size) {
        return ox_cli_usage("run", "%s: samples come from .npy files or one .csv", asked);
    }
    if (asked && (a->json || a->samples.batch.all || ox_cli_is_stream(a->model))) {
        return ox_cli_usage("run", "%s does not go with %s", asked,
                            a->json                ? "--json"
                            : a->samples.batch.all ? "--batch=all"
                                                   : "a model from a pipe");
    }
    return -1;
}

static int parse(arguments *a, int argc, char **argv)
{
    const ox_option options[] = {
        OX_SAMPLES_INPUT(&a->samples),
        OX_ROW_PIXELS(&a->samples.pixel_text),
        {"output", 'o', OX_OPTION_TEXT, &a->output, "FILE",
         "write the outputs: .npz, .csv, .json, FOLDER/ of .npy, or - for CSV"},
        {"batch", 0, OX_OPTION_TEXT, &a->batch_text, "B",
         "samples at a time, or \"all\" (default: decided from memory)"},
        OX_SAMPLES_RUN(&a->samples),
        {"tune", 0, OX_OPTION_FLAG, &a->tune, NULL,
         "rewrite an explained model for this machine first, even for few samples"},
        {"no-tune", 0, OX_OPTION_FLAG, &a->no_tune, NULL,
         "run an explained model as it is (default: rewritten for 16 samples or more)"},
        {"no-kernels", 0, OX_OPTION_FLAG, &a->no_kernels, NULL,
         "leave libonnxexplainer_ops unregistered"},
        {"provider", 0, OX_OPTION_TEXT, &a->provider, "NAME[,KEY=VALUE]...",
         "ONNX Runtime's execution provider to run on (default: the CPU's), such as OpenVINO, "
         "CUDA"},
        {"compress", 0, OX_OPTION_FLAG, &a->compress, NULL, "deflate the arrays of an .npz"},
        {"progress", 0, OX_OPTION_FLAG, &a->samples.batch.progress, NULL,
         "show progress even without a terminal"},
        {"no-progress", 0, OX_OPTION_FLAG, &a->samples.batch.no_progress, NULL, "show no progress"},
        {"stats", 0, OX_OPTION_FLAG, &a->stats, NULL,
         "say how long it took, and the peak of memory"},
        {"strict", 0, OX_OPTION_FLAG, &a->strict, NULL,
         "fail where SHAP values are not finite or do not add up"},
        {"json", 0, OX_OPTION_FLAG, &a->json, NULL, "print what it printed as JSON, all samples"},
        {"shard", 0, OX_OPTION_TEXT, &a->shard_text, "I/N",
         "only part I of N of the rows of .npy or .csv, to .csv or FOLDER/"},
        {"resume", 0, OX_OPTION_FLAG, &a->stream.resume, NULL,
         "go on where a run for this .csv or FOLDER/ has ended"},
        OX_ROW_QUIET(&a->samples.quiet),
    };
    const ox_command command = {
        .name = "run",
        .usage = "MODEL --input X.npy [-o OUT.npz|OUT.csv|OUT.json] [OPTION]...",
        .summary =
            "Runs an ONNX model on samples. For explained models it prints how well the SHAP "
            "values\nadd up to the prediction; without -o nothing is written.",
        .operand = "MODEL",
        .options = options,
        .option_count = sizeof options / sizeof *options,
    };
    int code = ox_options_parse(&command, argc, argv, &a->model);
    code = code >= 0 ? code : ox_samples_check("run", &a->samples);
    code = code >= 0 ? code : check_files(a);
    if (code >= 0) {
        return code;
    }
    if (a->provider && a->tune) {
        return ox_cli_usage("run", "--tune rewrites for the CPU, not for --provider");
    }
    a->samples.batch.no_progress = a->samples.batch.no_progress || a->samples.quiet;
    a->samples.batch.note = a->samples.quiet ? NULL : ox_cli_note;
    code = check_batch(a);
    return code >= 0 ? code : check_stream(a);
}

static void print_note(void *user, const char *message)
{
    (void)user;
    fprintf(stderr, "onnxexplainer: %s\n", message);
}

/* Says what is wrong with the results of an explained model; false where --strict fails by it. */
static bool check_outputs(const arguments *a, const ox_session *session,
                          const ox_signature *signature, const ox_arrays *outputs,
                          const bool *stacked, outcome *o, ox_error *err)
{
    ox_findings found;
    bool good = ox_faults_find(session, outputs, stacked, &found, ox_cli_warn, NULL, err);
    o->checked = good;
    o->found = found;
    if (!good && !a->strict && err->code != OX_MEMORY) { /* outputs that others have changed */
        ox_cli_say("warning: not checked: %s", err->message);
        return true;
    }
    if (good && found.unknown && !a->samples.quiet) {
        ox_cli_say("note: \"%s\" is no output, so that the sum of SHAP values is not checked: "
                   "explain with --gap",
                   signature->output);
    }
    if (good && a->strict && (found.not_finite || found.incomplete || found.unknown)) {
        return ox_cli_error(err, OX_INVALID,
                            "%zu of %zu samples are not finite, %zu do not add up, %zu are not "
                            "checked: with --strict nothing is written",
                            found.not_finite, found.samples, found.incomplete, found.unknown);
    }
    return good;
}

/* Results of all samples at once. */
static bool run_whole(const arguments *a, ox_session *session, const ox_signature *signature,
                      const ox_arrays *inputs, ox_arrays *outputs, outcome *o, ox_error *err)
{
    bool *stacked = NULL;
    double opened = ox_os_seconds();
    bool good = ox_batch_run(session, signature, inputs, &a->samples.batch, outputs, &stacked, err);
    o->ran = ox_os_seconds() - opened;
    good = good && (!signature->explained ||
                    check_outputs(a, session, signature, outputs, stacked, o, err));
    free(stacked);
    return good;
}

static bool run_streamed(const arguments *a, ox_session *session, const ox_signature *signature,
                         ox_source *source, outcome *o, ox_error *err)
{
    ox_stream stream = a->stream;
    stream.model = a->model;
    stream.samples = &a->samples;
    stream.output = a->output;
    stream.strict = a->strict;
    stream.settings = (a->no_tune ? 1u : 0u) | (a->no_kernels ? 2u : 0u);
    for (const char *c = a->provider ? a->provider : ""; *c; c++) {
        stream.settings = 31 * stream.settings + (unsigned char)*c;
    }
    double opened = ox_os_seconds();
    bool good = ox_stream_run(&stream, source, session, signature, &o->reached, &o->signal, err);
    o->ran = ox_os_seconds() - opened;
    return good;
}

/* Reads the model and the samples, and runs. The model is gone before it runs: ONNX Runtime has
 * its own copy of the weights. */
static bool run(arguments *a, ox_signature *signature, ox_arrays *outputs, outcome *o,
                ox_error *err)
{
    double start = ox_os_seconds();
    ox_model *model = ox_cli_read_model(a->model, a->samples.limit, err);
    if (!model) {
        return false;
    }
    ox_session_options options = ox_samples_session(&a->samples);
    options.note = a->samples.quiet ? NULL : print_note;
    options.provider = a->provider;
    options.no_kernels = a->no_kernels || !ox_opset(model, "onnxexplainer");
    ox_session *session = NULL;
    ox_source *source = NULL;
    ox_arrays inputs = {NULL, 0};
    o->streamed = a->stream.streamed;
    bool good = ox_sheet_keeps(model, a->output, err) && ox_signature_read(signature, model, err);
    ox_loader loader = ox_samples_loader(&a->samples, model, signature);
    if (good && o->streamed) {
        source = ox_source_open(&loader, &a->samples.inputs, err);
        good = source != NULL;
        a->stream.run_bytes = ox_stream_bytes(model);
    } else if (good) {
        good = ox_load(&loader, &a->samples.inputs, &inputs, err);
    }
    loader.model = NULL; /* what was read of it is known */
    loader.note = NULL;
    bool from_memory = ox_cli_is_stream(a->model); /* which is read only once */
    const ox_arrays *heads = source ? ox_source_heads(source) : &inputs;
    bool many = good && heads->count > 0 && heads->items[0].rank > 0 &&
                heads->items[0].dims[0] >= OX_TUNE_FROM;
    options.no_tune = a->no_tune || !(many || a->tune);
    if (good && from_memory) {
        session = ox_session_open_model(model, &options, err);
    }
    ox_free(model);
    if (good && !from_memory) {
        session = ox_session_open(a->model, &options, err);
    }
    o->opened = ox_os_seconds() - start;
    good = good && session &&
           (source ? run_streamed(a, session, signature, source, o, err)
                   : run_whole(a, session, signature, &inputs, outputs, o, err));
    if ((good || o->signal) && a->stats) {
        ox_cli_say("opened in %.3f s, run in %.3f s, peak memory %.0f MiB", o->opened, o->ran,
                   (double)ox_os_memory_most() / (1 << 20));
    }
    ox_session_free(session);
    ox_source_free(source);
    ox_arrays_free(&inputs);
    return good;
}

static bool write_table(const char *path, const ox_arrays *outputs, const ox_signature *signature,
                        ox_error *err)
{
    ox_columns columns;
    ox_sheet out;
    if (!ox_columns_make(&columns, outputs, signature, err)) {
        return false;
    }
    bool good = ox_sheet_begin(&out, path, err);
    if (good) {
        if (ox_cli_has_suffix(path, ".json")) {
            ox_json_write(out.file, &columns);
        } else {
            ox_csv_write_header(out.file, &columns);
            ox_csv_write_rows(out.file, &columns);
        }
        good = ox_sheet_end(&out, true, err);
    }
    ox_columns_free(&columns);
    return good;
}

static bool write_outputs(const arguments *a, ox_arrays *outputs, const ox_signature *signature,
                          ox_error *err)
{
    bool table = ox_cli_has_suffix(a->output, ".csv") || ox_cli_has_suffix(a->output, ".json") ||
                 !strcmp(a->output, "-");
    if (table) {
        return write_table(a->output, outputs, signature, err);
    }
    return ox_arrays_widen(outputs, err) && ox_npz_write(a->output, outputs, a->compress, err);
}

static void print_outputs(const ox_arrays *outputs)
{
    for (size_t i = 0; i < outputs->count; i++) {
        const ox_array *array = &outputs->items[i];
        char dims[256];
        printf("%s: %s %s\n", array->name, ox_type_name(array->type),
               ox_dims_text(dims, sizeof dims, array->dims, array->rank, NULL));
    }
}

static void write_findings(ox_json *json, const outcome *o)
{
    if (!o->checked) {
        ox_json_text(json, "findings", NULL);
        return;
    }
    ox_json_begin(json, "findings", '{');
    ox_json_integer(json, "samples", (long long)o->found.samples);
    ox_json_integer(json, "not_finite", (long long)o->found.not_finite);
    ox_json_integer(json, "incomplete", (long long)o->found.incomplete);
    ox_json_integer(json, "unknown", (long long)o->found.unknown);
    ox_json_end(json, '}');
}

/* docs/json.md has its members. */
static void print_json(const ox_signature *signature, const ox_arrays *outputs, const outcome *o)
{
    ox_json json = {.file = stdout};
    ox_json_begin(&json, NULL, '{');
    ox_json_begin(&json, "outputs", '[');
    for (size_t i = 0; i < outputs->count; i++) {
        const ox_array *array = &outputs->items[i];
        ox_json_begin(&json, NULL, '{');
        ox_json_text(&json, "name", array->name);
        ox_json_text(&json, "type", ox_type_name(array->type));
        ox_json_begin(&json, "dims", '[');
        for (int k = 0; k < array->rank; k++) {
            ox_json_integer(&json, NULL, (long long)array->dims[k]);
        }
        ox_json_end(&json, ']');
        ox_json_end(&json, '}');
    }
    ox_json_end(&json, ']');
    ox_summary_json(&json, signature, outputs);
    write_findings(&json, o);
    ox_json_begin(&json, "seconds", '{');
    ox_json_number(&json, "open", o->opened);
    ox_json_number(&json, "run", o->ran);
    ox_json_end(&json, '}');
    ox_json_number(&json, "peak_mib", (double)ox_os_memory_most() / (1 << 20));
    ox_json_end(&json, '}');
    printf("\n");
}

static void print(const arguments *a, const ox_signature *signature, const ox_arrays *outputs,
                  const outcome *o)
{
    if (a->json) {
        print_json(signature, outputs, o);
    } else if (o->streamed && !a->samples.quiet) {
        printf("%zu samples\n", o->reached.rows);
        ox_summary_print_worst(&o->reached.worst);
    } else if (a->samples.quiet || (a->output && !strcmp(a->output, "-"))) {
        return;
    } else if (signature->explained) {
        ox_summary_print(signature, outputs);
    } else if (!a->output) {
        print_outputs(outputs);
    }
}

int ox_cmd_run(int argc, char **argv)
{
    arguments a = {.model = NULL};
    int code = parse(&a, argc, argv);
    if (code >= 0) {
        return code;
    }
    ox_error err;
    ox_signature signature = {.inputs = NULL};
    ox_arrays outputs = {NULL, 0};
    outcome o = {.checked = false};
    bool good = run(&a, &signature, &outputs, &o, &err);
    if (good && a.output && !o.streamed) {
        good = write_outputs(&a, &outputs, &signature, &err);
    }
    if (good) {
        print(&a, &signature, &outputs, &o);
    }
    ox_arrays_free(&outputs);
    ox_signature_free(&signature);
    if (o.signal) {
        fflush(stdout);
        raise(o.signal);
    }
    return good ? OX_EXIT_OK : ox_cli_fail(&err);
}
