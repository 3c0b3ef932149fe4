/* onnxexplainer explain: makes a model that predicts and explains. */
#include "fix.h"
#include "groups.h"
#include "npy.h"
#include "options.h"
#include "os.h"
#include "output.h"
#include "references.h"
#include "signature.h"
#include "stack.h"
#include "target.h"
#include "wrote.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    const char *model;
    ox_texts next; /* models behind it */
    ox_texts connect;
    ox_texts references;
    const char *output;
    const char *cache;
    const char *cache_dtype;
    const char *feature_file;
    const char *integrate;
    ox_texts integrate_ops;
    ox_texts hold;
    ox_texts fix;
    ox_texts groups;
    ox_texts at;
    const char *pixel_text, *weight_file;
    ox_pixels pixels;
    ox_options options; /* what goes to the library */
    bool split;         /* weights in a second file */
    bool quiet;
} arguments;

static bool parse_cache(const char *text, ox_cache *cache)
{
    static const char *const names[] = {[OX_CACHE_AUTO] = "auto",
                                        [OX_CACHE_LOAD] = "load",
                                        [OX_CACHE_FILE] = "file",
                                        [OX_CACHE_NONE] = "none"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strcmp(text, names[i])) {
            *cache = (ox_cache)i;
            return true;
        }
    }
    return false;
}

/* "K" or "K:Op,Op". The text is argv's, which is ours to cut. */
static bool parse_integrate(arguments *a)
{
    char *end;
    long points = strtol(a->integrate, &end, 10);
    bool good = end != a->integrate && points > 0 && points <= INT_MAX;
    a->options.integrate = good ? (int)points : 0;
    while (good && *end) {
        good = *end == (a->integrate_ops.count ? ',' : ':') && end[1] != '\0' &&
               a->integrate_ops.count < OX_TEXTS_MAX;
        *end = '\0';
        if (good) {
            a->integrate_ops.items[a->integrate_ops.count++] = end + 1;
        }
        end += good ? 1 + strcspn(end + 1, ",") : 0;
    }
    return good;
}

static int check(arguments *a)
{
    if (!a->references.count) {
        return ox_cli_usage("explain", "no --references given");
    }
    for (size_t i = 0; i < a->references.count; i++) {
        const char *spec = a->references.items[i];
        bool fill = !strncmp(spec, "fill:", 5);
        bool paired = !strcmp(spec, "paired");
        if (!fill && !paired && strcmp(spec, "input") != 0) {
            continue;
        }
        if (a->references.count > 1) {
            return ox_cli_usage("explain", "--references=%s goes with no other references", spec);
        }
        char *end = NULL;
        a->options.fill = fill ? strtod(spec + 5, &end) : 0;
        if (fill && (end == spec + 5 || *end != '\0' || !isfinite(a->options.fill))) {
            return ox_cli_usage("explain", "--references=%s: not a number", spec);
        }
        a->options.reference_source = fill     ? OX_REFERENCES_FILL
                                      : paired ? OX_REFERENCES_PAIRED
                                               : OX_REFERENCES_INPUT;
    }
    if (a->cache && !parse_cache(a->cache, &a->options.cache)) {
        return ox_cli_usage("explain", "--cache: \"%s\" is none of auto, load, file, none",
                            a->cache);
    }
    if (a->cache_dtype && strcmp(a->cache_dtype, "float32") != 0) {
        if (strcmp(a->cache_dtype, "float16") != 0) {
            return ox_cli_usage("explain", "--cache-dtype: \"%s\" is neither float32 nor float16",
                                a->cache_dtype);
        }
        a->options.cache_dtype = OX_FLOAT16;
    }
    if (a->integrate && !parse_integrate(a)) {
        return ox_cli_usage("explain", "--integrate is not of the form K or K:Op,Op");
    }
    int code = ox_pixels_option("explain", a->pixel_text, &a->pixels);
    if (code >= 0) {
        return code;
    }
    bool to_stdout = a->output ? !strcmp(a->output, "-") : ox_cli_is_stream(a->model);
    if (to_stdout && ox_os_is_terminal(OX_OS_OUTPUT)) {
        return ox_cli_usage("explain", "no model is written to a terminal: use -o FILE");
    }
    a->options.integrate_ops = a->integrate_ops.items;
    a->options.integrate_op_count = a->integrate_ops.count;
    a->options.hold = a->hold.items;
    a->options.hold_count = a->hold.count;
    a->options.at = a->at.items;
    a->options.at_count = a->at.count;
    ox_error err;
    if (!ox_cli_find_runtime(&a->options, &err)) {
        return ox_cli_fail(&err);
    }
    a->options.note = a->quiet ? NULL : ox_cli_note;
    a->options.warn = ox_cli_warn;
    return -1;
}

static int parse(arguments *a, int argc, char **argv)
{
    ox_options *o = &a->options;
    const ox_option options[] = {
        {"references", 'r', OX_OPTION_LIST, &a->references, "[NAME=]FILE",
         ".npy, .npz, .png, .jpg, a folder; \"input\", \"paired\"; fill:VALUE"},
        {"weights", 0, OX_OPTION_TEXT, &a->weight_file, "W.npy",
         "how much each reference counts (default: all the same)"},
        OX_ROW_PIXELS(&a->pixel_text),
        {"output", 'o', OX_OPTION_TEXT, &a->output, "FILE",
         "the explained model (default: MODEL.explained.onnx)"},
        {"connect", 0, OX_OPTION_LIST, &a->connect, "OUTPUT:INPUT",
         "of several models: what feeds what (default: by name)"},
        {"target", 0, OX_OPTION_TEXT, &o->target, "TARGET",
         "top (default), 3,7,11, i:j:k, a-b, all, logit:..: docs/methods.md"},
        {"output-name", 0, OX_OPTION_TEXT, &o->output_name, "NAME",
         "the tensor to explain (default: the first floating-point output)"},
        {"hold", 0, OX_OPTION_LIST, &a->hold, "NAME",
         "an input or tensor that keeps the sample's value"},
        {"fix", 0, OX_OPTION_LIST, &a->fix, "NAME=VALUE",
         "make an input a constant: a number, several (1,2,3), or a .npy"},
        {"at", 0, OX_OPTION_LIST, &a->at, "TENSOR", "explain this tensor in place of the inputs"},
        {"prefix", 0, OX_OPTION_TEXT, &o->prefix, "TEXT", "put before the names of new outputs"},
        {"gap", 0, OX_OPTION_FLAG, &o->gap, NULL, "add the output completeness_gap"},
        {"multipliers", 0, OX_OPTION_FLAG, &o->multipliers, NULL,
         "add the mean multipliers, <input>_multipliers"},
        {"hypothetical", 0, OX_OPTION_FLAG, &o->hypothetical, NULL,
         "add what each category of one-hot inputs would get"},
        {"keep-references", 0, OX_OPTION_FLAG, &o->keep_references, NULL,
         "give values for each reference, not their mean"},
        {"cache", 0, OX_OPTION_TEXT, &a->cache, "MODE",
         "what is kept of the references: auto, load, file, none"},
        {"cache-dtype", 0, OX_OPTION_TEXT, &a->cache_dtype, "TYPE",
         "float16 halves the cache of mode file (default: float32)"},
        {"chunk", 0, OX_OPTION_COUNT, &o->chunk, "C",
         "references per step (default: decided from memory)"},
        {"memory", 0, OX_OPTION_BYTES, &o->memory, "BYTES",
         "what a run may take, such as 800M (default: 2G)"},
        {"cache-limit", 0, OX_OPTION_BYTES, &o->cache_limit, "BYTES",
         "what may be written of references (default: 1G)"},
        OX_ROW_LIMIT(&o->limit),
        {"method", 0, OX_OPTION_TEXT, &o->method, "METHOD",
         "deepshap (default), gradient, kernel, ...: docs/methods.md"},
        {"steps", 0, OX_OPTION_COUNT, &o->steps, "K",
         "points on the way from a reference to the sample"},
        {"samples", 0, OX_OPTION_COUNT, &o->samples, "S", "draws, coalitions or permutations"},
        OX_ROW_SEED(&o->seed),
        {"noise", 0, OX_OPTION_COUNT, &o->noise, "PERCENT",
         "deviation of smoothgrad's noise (default: 15 % of the range)"},
        {"groups", 0, OX_OPTION_LIST, &a->groups, "GROUPS",
         "one value for each: patch:HxW, tokens, [NAME=]LABELS.npy, FILE"},
        {"integrate", 0, OX_OPTION_TEXT, &a->integrate, "K[:OP,...]",
         "integrate softmaxes, poolings, normalisations: K points"},
        {"pool", 0, OX_OPTION_TEXT, &o->pool, "RULE",
         "of max pooling: cross (default), or tree, nearer to Shapley values"},
        {"order", 0, OX_OPTION_COUNT, &o->order, "ORDER",
         "of the rules: 1 (default), 2 or 3, each nearer to Shapley values"},
        {"splits", 0, OX_OPTION_COUNT, &o->splits, "K",
         "nearer to Shapley values over mixtures: K halves of the players"},
        {"external-data", 0, OX_OPTION_FLAG, &a->split, NULL,
         "weights in a second file, FILE.HASH.data"},
        {"no-functions", 0, OX_OPTION_FLAG, &o->no_functions, NULL,
         "for runtimes without model-local functions"},
        {"no-batch", 0, OX_OPTION_FLAG, &o->no_batch, NULL,
         "the model has no batch axis, the references have one"},
        {"feature-names", 0, OX_OPTION_TEXT, &a->feature_file, "FILE",
         "names of the features, one a line, kept in the model"},
        {"force", 0, OX_OPTION_FLAG, &o->force, NULL,
         "explain although completeness is lost on the way"},
        {"strict", 0, OX_OPTION_FLAG, &o->strict, NULL,
         "fail where references give values that are not finite"},
        OX_ROW_QUIET(&a->quiet),
    };
    const ox_command command = {
        .name = "explain",
        .usage = "MODEL [MODEL]... --references R.npy [-o OUT.onnx] [OPTION]...",
        .summary = "Makes a model that gives, in one call, the prediction and the SHAP values of "
                   "each input\nagainst the references. It is one file up to 2 GB; beyond, "
                   "weights go to\na second one, OUT.onnx.HASH.data. Several models are one: "
                   "outputs of each feed inputs\nof those after it.",
        .operand = "MODEL",
        .more = &a->next,
        .options = options,
        .option_count = sizeof options / sizeof *options,
    };
    int code = ox_options_parse(&command, argc, argv, &a->model);
    return code >= 0 ? code : check(a);
}

static char *default_output(const char *model, ox_error *err)
{
    if (ox_cli_is_stream(model)) {
        return ox_cli_copy("-", err);
    }
    size_t length = strlen(model);
    if (ox_cli_has_suffix(model, ".onnx")) {
        length -= strlen(".onnx");
    }
    return ox_cli_format(err, "%.*s.explained.onnx", (int)length, model);
}

/* No input file may be what the output replaces. */
static int check_output(const arguments *a, const char *output)
{
    int code = ox_sheet_refuse("explain", output, "model", &a->model, 1);
    if (code < 0) {
        code = ox_sheet_refuse("explain", output, "model", a->next.items, a->next.count);
    }
    if (code < 0) {
        code = ox_sheet_refuse("explain", output, "references", a->references.items,
                               a->references.count);
    }
    if (code < 0 && a->feature_file) {
        code = ox_sheet_refuse("explain", output, "feature names", &a->feature_file, 1);
    }
    return code;
}

/* ---- explaining ------------------------------------------------------------------------ */

static ox_model *explain(const arguments *a, const ox_model *model, const ox_arrays *references,
                         ox_error *err)
{
    ox_options options = a->options;
    ox_tensor *tensors = ox_references_tensors(references, err);
    char *text = NULL, **features = NULL;
    size_t size;
    bool good = tensors != NULL;
    if (good && a->feature_file) {
        text = ox_cli_read_file(a->feature_file, &size, err);
        features = text ? ox_lines(text, &options.feature_count, err) : NULL;
        options.feature_names = (const char *const *)features;
        good = features != NULL;
    }
    options.references = tensors;
    options.reference_count = references->count;
    ox_model *explained = good ? ox_explain(model, &options, err) : NULL;
    if (good && !explained) {
        ox_references_hint(model, references, err);
    }
    free(features);
    free(text);
    free(tensors);
    return explained;
}

/* As doubles. */
static bool load_weights(arguments *a, ox_array *weights, ox_error *err)
{
    if (!a->weight_file) {
        return true;
    }
    if (!ox_npy_read_file(a->weight_file, weights, err) ||
        !ox_array_convert(weights, OX_DOUBLE, false, err)) {
        return false;
    }
    a->options.weights = weights->data;
    a->options.weight_count = ox_array_elements(weights, 0);
    return true;
}

/* Reads what the options name, and explains. */
static ox_model *explain_model(arguments *a, const ox_model *model, ox_error *err)
{
    ox_arrays references = {NULL, 0}, fixed = {NULL, 0};
    ox_model *explained = NULL;
    ox_tensor *fix = NULL;
    ox_groups groups = {.text = NULL};
    ox_aim aim = {.array = {.name = NULL}};
    ox_array weights = {.name = NULL};
    bool given = a->options.reference_source == OX_REFERENCES_GIVEN;
    bool good = ox_fix_load(model, &a->fix, &fixed, err) &&
                (fix = ox_references_tensors(&fixed, err)) != NULL &&
                ox_groups_load(&a->groups, &groups, err) && ox_aim_load(&aim, &a->options, err) &&
                load_weights(a, &weights, err);
    a->options.fix = fix;
    a->options.fix_count = fixed.count;
    a->options.groups = groups.groups;
    a->options.group_count = groups.group_count;
    a->options.labels = groups.tensors;
    a->options.label_count = groups.maps.count;
    if (good && (!given || ox_references_load(model, &a->options, &a->references, &a->pixels,
                                              &references, err))) {
        explained = explain(a, model, &references, err);
    }
    free(fix);
    ox_groups_free(&groups);
    ox_aim_free(&aim);
    ox_array_free(&weights);
    ox_arrays_free(&fixed);
    ox_arrays_free(&references);
    return explained;
}

static bool explain_to(arguments *a, const char *path, ox_error *err)
{
    ox_model *model = ox_stack_read(a->model, &a->next, &a->connect, a->options.limit, err);
    bool free_to_write = model && ox_sheet_keeps(model, path, err);
    ox_model *explained = free_to_write ? explain_model(a, model, err) : NULL;
    ox_free(model);
    ox_wrote wrote = {.folder = NULL};
    bool good = explained && (a->quiet || ox_wrote_begin(&wrote, path, err)) &&
                ox_sheet_model(explained, path, a->split, err);
    ox_wrote_end(&wrote, good, explained, path);
    ox_free(explained);
    return good;
}

int ox_cmd_explain(int argc, char **argv)
{
    arguments a = {.model = NULL, .options = OX_OPTIONS_INIT};
    int code = parse(&a, argc, argv);
    if (code >= 0) {
        return code;
    }
    ox_error err;
    char *named = a.output ? NULL : default_output(a.model, &err);
    const char *path = a.output ? a.output : named;
    if (!path) {
        return ox_cli_fail(&err);
    }
    code = check_output(&a, path);
    if (code < 0) {
        bool good = explain_to(&a, path, &err);
        code = good ? OX_EXIT_OK : ox_cli_fail(&err);
    }
    free(named);
    return code;
}
