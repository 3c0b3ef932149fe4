/* onnxexplainer check: tells whether the values of an explained model can be trusted. */
#include "faults.h"
#include "remake.h"
#include "samples.h"
#include "trust.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    const char *model;
    ox_samples samples;
    ox_texts references, groups;
    const char *original, *target;
    const char *tolerance_text;
    double tolerance;
    int64_t pairs, steps, seed;
    bool json, strict;
} arguments;

static int check_arguments(arguments *a)
{
    int code = ox_samples_check("check", &a->samples);
    if (code >= 0) {
        return code;
    }
    if (a->steps > OX_CURVE_MAX) {
        return ox_cli_usage("check", "--steps: at most %d", OX_CURVE_MAX);
    }
    a->tolerance = -1;
    if (a->tolerance_text) {
        char *end;
        a->tolerance = strtod(a->tolerance_text, &end);
        if (end == a->tolerance_text || *end || !(a->tolerance >= 0)) {
            return ox_cli_usage("check", "--tolerance: \"%s\" is no number from 0 on",
                                a->tolerance_text);
        }
    }
    a->samples.batch.no_progress = true;
    return -1;
}

static int parse(arguments *a, int argc, char **argv)
{
    const ox_option options[] = {
        OX_SAMPLES_INPUT(&a->samples),
        {"model", 0, OX_OPTION_TEXT, &a->original, "MODEL",
         "the original (default: taken out of the explained model)"},
        {"references", 'r', OX_OPTION_LIST, &a->references, "[NAME=]FILE",
         "where they are not in the explained model any more"},
        {"groups", 0, OX_OPTION_LIST, &a->groups, "GROUPS",
         "where it was explained with maps of labels: the same"},
        {"target", 0, OX_OPTION_TEXT, &a->target, "TARGET",
         "where it was explained with a mask or a vector: the same"},
        {"tolerance", 0, OX_OPTION_TEXT, &a->tolerance_text, "E",
         "fail where values differ by more than E from Shapley values, relatively"},
        {"samples", 0, OX_OPTION_COUNT, &a->pairs, "S",
         "pairs of permutations (default: enumeration on as many of the samples as a million runs "
         "of the model allow, where they allow one; else 2 to 10 pairs within 100,000)"},
        {"steps", 0, OX_OPTION_COUNT, &a->steps, "K", "points of the curves (default: 16)"},
        OX_ROW_SEED(&a->seed),
        OX_ROW_PIXELS(&a->samples.pixel_text),
        OX_SAMPLES_RUN(&a->samples),
        {"json", 0, OX_OPTION_FLAG, &a->json, NULL, "print JSON, with the numbers of each sample"},
        {"strict", 0, OX_OPTION_FLAG, &a->strict, NULL, "fail also where there are doubts"},
        OX_ROW_QUIET(&a->samples.quiet),
    };
    const ox_command command = {
        .name = "check",
        .usage = "EXPLAINED --input X.npy [OPTION]...",
        .summary = "Tells whether the values of an explained model can be trusted on these "
                   "samples: whether\nthey add up, what enumeration or permutations give in their "
                   "place, and how the output\nchanges while values leave in their order. Fails "
                   "where they are wrong.",
        .operand = "EXPLAINED",
        .options = options,
        .option_count = sizeof options / sizeof *options,
    };
    int code = ox_options_parse(&command, argc, argv, &a->model);
    return code >= 0 ? code : check_arguments(a);
}

/* ---- the explained model --------------------------------------------------------------- */

typedef struct explained {
    ox_model *model;
    ox_signature signature;
    ox_arrays inputs, outputs;
    bool *stacked;
    ox_values values;
} explained;

static bool read_explained(const arguments *a, explained *e, ox_error *err)
{
    e->model = ox_cli_read_model(a->model, a->samples.limit, err);
    if (!e->model) {
        return false;
    }
    if (!ox_metadata(e->model, "onnxexplainer.version")) {
        return ox_cli_error(err, OX_ARGUMENT, "%s: not an explained model", a->model);
    }
    return ox_signature_read(&e->signature, e->model, err) &&
           ox_samples_load(&a->samples, e->model, &e->signature, &e->inputs, err);
}

/* The first thing that is said of the sums. */
static void keep_first(void *user, const char *message)
{
    ox_trust *t = user;
    if (!t->worst[0]) {
        snprintf(t->worst, sizeof t->worst, "%s", message);
    }
}

/* Runs it, and looks whether values are finite and add up. */
static bool run_explained(explained *e, const ox_trust_runner *r, ox_trust *t, ox_error *err)
{
    ox_session *session = ox_session_open_model(e->model, r->session, err);
    bool good =
        session &&
        ox_batch_run(session, &e->signature, &e->inputs, r->batch, &e->outputs, &e->stacked, err) &&
        ox_faults_find(session, &e->outputs, e->stacked, &t->found, keep_first, t, err);
    ox_session_free(session);
    return good && ox_values_read(&e->values, &e->signature,
                                  ox_metadata(e->model, "onnxexplainer.input_axes"), &e->outputs,
                                  e->stacked, t->found.samples, err);
}

static void free_explained(explained *e)
{
    ox_values_free(&e->values);
    free(e->stacked);
    ox_arrays_free(&e->outputs);
    ox_arrays_free(&e->inputs);
    ox_signature_free(&e->signature);
    ox_free(e->model);
}

/* ---- all of it ------------------------------------------------------------------------- */

static bool find_gaps(const ox_values *v, ox_trust *t, ox_error *err)
{
    t->samples = v->samples;
    t->targets = v->targets;
    t->players = v->players;
    t->gaps = ox_cli_alloc(v->samples * v->targets, sizeof *t->gaps, err);
    for (size_t i = 0; t->gaps && i < v->samples * v->targets; i++) {
        t->gaps[i] = v->value[i] - v->base[i];
        for (size_t k = 0; k < v->players; k++) {
            t->gaps[i] -= v->phi[i * v->players + k];
        }
    }
    return t->gaps != NULL;
}

/* What another order of additions makes of a prediction, another place for casts where values have
 * 16 bits. */
static double rounding_of(const ox_model *m)
{
    const char *type = ox_metadata(m, "onnxexplainer.precision");
    if (type && !strcmp(type, "bfloat16")) {
        return 0x1p-5;
    }
    return type && !strcmp(type, "float16") ? 0x1p-8 : 1e-4;
}

static bool measure(const arguments *a, explained *e, const ox_trust_runner *r, ox_trust *t,
                    ox_error *err)
{
    ox_remake made;
    const ox_remake_from from = {a->original,        &a->references, &a->groups,      a->target,
                                 &a->samples.pixels, &e->inputs,     a->samples.limit};
    bool good = ox_remake_read(e->model, &from, &made, err);
    const char *sum = ox_metadata(e->model, "onnxexplainer.sum");
    const char *method = ox_metadata(e->model, "onnxexplainer.method");
    t->method = method ? method : "a method that is not told";
    t->whole = e->signature.whole;
    t->adds_up = !sum || strcmp(sum, "none") != 0;
    t->cannot = made.cannot;
    t->prediction.taken_out = !a->original;
    t->prediction.most = rounding_of(e->model);
    good = good && ox_cli_find_runtime(&made.options, err) && run_explained(e, r, t, err) &&
           find_gaps(&e->values, t, err) && ox_trust_predict(t, r, &made, &e->outputs, err);
    if (good && !made.cannot) {
        good = ox_trust_agree(t, r, &made, &e->values, err) &&
               ox_trust_curve(t, r, &made, &e->values, err);
    }
    good = good && ox_trust_jitter(t, r, e->model, &e->values, err);
    ox_remake_free(&made);
    return good;
}

static int tell(const arguments *a, ox_trust *t)
{
    ox_trust_judge(t, a->tolerance);
    if (a->json) {
        ox_trust_json(t, stdout);
    } else if (!a->samples.quiet) {
        ox_trust_print(t);
    }
    bool wrong = t->failed_count || (a->strict && t->doubt_count);
    return wrong ? OX_EXIT_FAILURE : OX_EXIT_OK;
}

int ox_cmd_check(int argc, char **argv)
{
    arguments a = {.model = NULL};
    int code = parse(&a, argc, argv);
    if (code >= 0) {
        return code;
    }
    ox_error err;
    explained e = {.model = NULL};
    ox_trust trust = {.method = NULL};
    ox_session_options session = ox_samples_session(&a.samples);
    session.no_tune = true;
    ox_trust_runner runner = {&session, &a.samples.batch, &e.inputs,   a.seed,
                              a.pairs,  a.steps,          &e.signature};
    bool good = read_explained(&a, &e, &err) && measure(&a, &e, &runner, &trust, &err);
    code = good ? tell(&a, &trust) : ox_cli_fail(&err);
    ox_trust_free(&trust);
    free_explained(&e);
    return code;
}
