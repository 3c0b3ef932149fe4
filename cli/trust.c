/* Measuring: the model once more, explained by enumeration or permutations, and on the way from
 * samples to references. */
#include "trust.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Players that are enumerated, targets that curves are drawn of, mixtures of a sample and a
 * reference that the original is run on: by enumeration, and by permutations unless more pairs of
 * them are asked for. */
enum { MOST_EXACT = 16, MOST_CURVES = 8, MOST_EXACT_RUNS = 1000000, MOST_RUNS = 100000 };

/* Pairs of permutations: one leaves no error to estimate. */
enum { LEAST_PAIRS = 2, MOST_PAIRS = 10 };

/* ---- running --------------------------------------------------------------------------- */

/* The arrays of the model's own inputs; they stay the caller's. */
static bool own_inputs(const ox_trust_runner *r, const ox_signature *s, ox_array *more,
                       ox_arrays *own, ox_error *err)
{
    *own = (ox_arrays){ox_cli_alloc(s->input_count, sizeof *own->items, err), 0};
    for (size_t i = 0; own->items && i < s->input_count; i++) {
        bool ours = more && !strcmp(s->inputs[i].name, more->name);
        const ox_array *a = ours ? more : ox_arrays_find(r->inputs, s->inputs[i].name);
        if (!a) {
            free(own->items);
            return ox_cli_error(err, OX_ARGUMENT,
                                "the original takes \"%s\", which the explained model does not: "
                                "without --model the original is taken out of that",
                                s->inputs[i].name);
        }
        own->items[own->count++] = *a;
    }
    return own->items != NULL;
}

/* Whether samples stand behind another axis somewhere, which the original may not tell from theirs.
 */
static bool is_behind(const ox_signature *explained)
{
    bool behind = explained->output_axis > 0;
    for (const char *axes = explained->axes; *axes;) {
        const char *at = axes;
        behind = ox_axis_next(&axes) > 0 || behind;
        if (axes == at) {
            break;
        }
    }
    return behind;
}

bool ox_trust_run(const ox_trust_runner *r, const ox_model *model, ox_array *more,
                  ox_signature *signature, ox_arrays *outputs, bool **stacked, ox_error *err)
{
    ox_arrays own;
    ox_session_options options = *r->session;
    options.no_kernels = options.no_kernels || !ox_opset(model, "onnxexplainer");
    if (!ox_signature_read(signature, model, err)) {
        return false;
    }
    signature->whole = signature->whole || r->explained->whole || is_behind(r->explained);
    signature->alone = signature->alone || r->explained->alone;
    if (!own_inputs(r, signature, more, &own, err)) {
        return false;
    }
    ox_session *session = ox_session_open_model(model, &options, err);
    bool good = session && ox_batch_run(session, signature, &own, r->batch, outputs, stacked, err);
    ox_session_free(session);
    free(own.items);
    return good;
}

/* ---- the prediction -------------------------------------------------------------------- */

static void compare(ox_prediction *p, const ox_array *a, const ox_array *b)
{
    size_t count = ox_array_elements(a, 0);
    bool same = count == ox_array_elements(b, 0);
    double difference = same ? 0 : INFINITY, largest = 0;
    for (size_t i = 0; same && i < count; i++) {
        double x = ox_array_at(a, i), y = ox_array_at(b, i);
        bool equal = x == y || (isnan(x) && isnan(y));
        double d = equal ? 0 : fabs(x - y);
        difference = d > difference || isnan(d) ? d : difference;
        largest = isfinite(y) && fabs(y) > largest ? fabs(y) : largest;
    }
    double relative = difference == 0 ? 0 : difference / (largest > 0 ? largest : 1);
    if (!p->output[0] || !(relative <= p->relative)) {
        snprintf(p->output, sizeof p->output, "%s", a->name);
        p->difference = difference;
        p->relative = relative;
    }
}

bool ox_trust_predict(ox_trust *t, const ox_trust_runner *r, const ox_remake *made,
                      const ox_arrays *outputs, ox_error *err)
{
    ox_signature signature = {.inputs = NULL};
    ox_arrays plain = {NULL, 0};
    bool *stacked = NULL;
    bool good = ox_trust_run(r, made->original, NULL, &signature, &plain, &stacked, err);
    for (size_t i = 0; good && i < plain.count; i++) {
        const ox_array *explained = ox_arrays_find(outputs, plain.items[i].name);
        if (!explained) {
            good = ox_cli_error(err, OX_ARGUMENT,
                                "the original gives \"%s\", which the explained model does not",
                                plain.items[i].name);
            break;
        }
        compare(&t->prediction, explained, &plain.items[i]);
    }
    free(stacked);
    ox_arrays_free(&plain);
    ox_signature_free(&signature);
    return good;
}

/* ---- Shapley values -------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    int order = isnan(x) - isnan(y);
    return order != 0 ? order : (x > y) - (x < y);
}

/* NaN counts as larger than all; 0 without numbers. */
static double median(const double *numbers, size_t count)
{
    ox_error err;
    double *sorted = ox_cli_alloc(count, sizeof *sorted, &err), middle = NAN;
    if (sorted && count) {
        memcpy(sorted, numbers, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, compare_doubles);
        middle = sorted[(count - 1) / 2];
    }
    free(sorted);
    return middle;
}

static double norm(const double *numbers, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += numbers[i] * numbers[i];
    }
    return sqrt(sum);
}

/* Relative L2 of a row; where all Shapley values are 0, whether these are. */
static double distance(const double *phi, const double *exact, size_t count)
{
    double sum = 0, size = norm(exact, count);
    for (size_t i = 0; i < count; i++) {
        sum += (phi[i] - exact[i]) * (phi[i] - exact[i]);
    }
    return sum == 0 ? 0 : size == 0 ? INFINITY : sqrt(sum) / size;
}

static bool agree(ox_agreement *a, const ox_values *v, const ox_values *shapley, ox_error *err)
{
    size_t rows = shapley->samples * v->targets, p = v->players;
    double *noise = ox_cli_alloc(rows, sizeof *noise, err);
    a->each = noise ? ox_cli_alloc(rows, sizeof *a->each, err) : NULL;
    for (size_t i = 0; a->each && i < rows; i++) {
        const double *exact = shapley->phi + i * p;
        double size = norm(exact, p);
        a->each[i] = distance(v->phi + i * p, exact, p);
        noise[i] = shapley->error && size > 0 ? norm(shapley->error + i * p, p) / size : 0;
        if (!i || !(a->each[i] <= a->worst)) {
            a->worst = a->each[i];
            a->worst_sample = i / v->targets;
        }
    }
    if (a->each) {
        a->count = rows;
        a->median = median(a->each, rows);
        a->noise = median(noise, rows);
    }
    free(noise);
    return a->each != NULL;
}

/* What the values of row i miss, by what Shapley values add up to: f(x) - base value of the
 * original alone. Whether that is more than rounding. */
static bool misses(ox_trust *t, const ox_values *v, const ox_values *shapley, size_t i)
{
    double given = v->base[i], right = shapley->base[i], size = fabs(given);
    for (size_t k = i * v->players; k < (i + 1) * v->players; k++) {
        given += v->phi[k];
        right += shapley->phi[k];
        size += fabs(v->phi[k]);
    }
    t->gaps[i] = right - given;
    return fabs(t->gaps[i]) > t->prediction.most * (size + fabs(right));
}

/* Where f(x) is not among the outputs, as a difference of two is not. */
static void sum_up(ox_trust *t, const ox_values *v, const ox_values *shapley)
{
    for (size_t n = 0; n < shapley->samples; n++) {
        bool summed = false, missed = false;
        for (size_t i = n * v->targets; i < (n + 1) * v->targets; i++) {
            bool unknown = isnan(v->value[i]);
            summed = summed || unknown;
            missed = (unknown && misses(t, v, shapley, i)) || missed;
        }
        t->summed += summed;
        t->missed += missed && t->adds_up;
    }
}

/* At least one; all where they are not apart. */
static size_t samples_within(const ox_trust *t, double most)
{
    return t->whole || most >= (double)t->samples ? t->samples : most < 1 ? 1 : (size_t)most;
}

/* The method, and how many of the samples are explained by it. */
static size_t choose_effort(const ox_trust *t, const ox_trust_runner *r, ox_options *options)
{
    const ox_tensor *given = options->references;
    double references = given && given->rank > 0 ? (double)given->dims[0] : 1;
    double whole = references * (t->whole ? (double)t->samples : 1);
    double coalitions = t->players <= MOST_EXACT ? (double)(1 << t->players) : INFINITY;
    options->samples = 0;
    if (r->samples == 0 && coalitions * whole <= MOST_EXACT_RUNS) {
        options->method = "exact";
        return samples_within(t, MOST_EXACT_RUNS / (coalitions * references));
    }
    options->method = "permutation";
    options->samples = r->samples;
    if (r->samples > 0) {
        return t->samples;
    }
    const double least = LEAST_PAIRS, highest = MOST_PAIRS;
    double pair = 2 * references * (double)t->players;
    size_t samples = samples_within(t, MOST_RUNS / (least * pair));
    double fit = MOST_RUNS / (pair * (double)samples);
    options->samples = (int64_t)(fit < least ? least : fit > highest ? highest : fit);
    return samples;
}

/* The first `samples` of `all`, in `own`: views of what has as many rows as there are samples. */
static bool take_first(const ox_arrays *all, size_t of, size_t samples, ox_arrays *own,
                       ox_error *err)
{
    own->items = ox_cli_alloc(all->count, sizeof *own->items, err);
    for (size_t i = 0; own->items && i < all->count; i++) {
        ox_array *a = &own->items[own->count++];
        *a = all->items[i];
        if (a->rank > 0 && a->dims[0] == (int64_t)of) {
            a->dims[0] = (int64_t)samples;
        }
    }
    return own->items != NULL;
}

bool ox_trust_agree(ox_trust *t, const ox_trust_runner *given, const ox_remake *made,
                    const ox_values *v, ox_error *err)
{
    ox_options options = made->options;
    ox_trust_runner some = *given, *r = &some;
    ox_arrays first = {NULL, 0};
    size_t samples = choose_effort(t, r, &options);
    ox_signature signature = {.inputs = NULL};
    ox_arrays outputs = {NULL, 0};
    ox_values shapley = {.samples = 0};
    bool *stacked = NULL;
    options.seed = r->seed;
    some.inputs = &first;
    ox_model *model = take_first(given->inputs, v->samples, samples, &first, err)
                          ? ox_explain(made->original, &options, err)
                          : NULL;
    bool good = model && ox_trust_run(r, model, NULL, &signature, &outputs, &stacked, err) &&
                ox_values_read(&shapley, &signature, ox_metadata(model, "onnxexplainer.input_axes"),
                               &outputs, stacked, samples, err);
    if (good && (shapley.players != v->players || shapley.targets != v->targets)) {
        good = ox_cli_error(err, OX_ARGUMENT,
                            "the original has %zu values and %zu targets a sample, the explained "
                            "model %zu and %zu",
                            shapley.players, shapley.targets, v->players, v->targets);
    }
    if (good) {
        t->agreement.method = options.method;
        sum_up(t, v, &shapley);
        good = agree(&t->agreement, v, &shapley, err);
    }
    ox_values_free(&shapley);
    free(stacked);
    free(first.items);
    ox_arrays_free(&outputs);
    ox_signature_free(&signature);
    ox_free(model);
    return good;
}

/* ---- curves ---------------------------------------------------------------------------- */

typedef struct rank {
    double key;
    size_t player;
} rank;

static int by_key(const void *a, const void *b)
{
    const rank *x = a, *y = b;
    int order = (x->key < y->key) - (x->key > y->key); /* falling */
    return order ? order : (x->player > y->player) - (x->player < y->player);
}

static double draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11);
}

/* In which order values leave. */
typedef enum order { LARGEST_FIRST, SMALLEST_FIRST, DRAWN } order;

typedef struct curves {
    ox_trust *trust;
    const ox_trust_runner *runner;
    const ox_values *values;
    const ox_model *model;
    const char *prefix;
    size_t target;
    ox_array step; /* [samples, players] */
    rank *ranks;
} curves;

/* The steps of one sample. What moves f(x) away from the base value is large, whatever its sign. */
static void rank_sample(curves *c, size_t n, order by)
{
    const ox_values *v = c->values;
    size_t row = n * v->targets + c->target, p = v->players;
    double sum = 0;
    uint64_t state = (uint64_t)c->runner->seed + n;
    for (size_t i = 0; i < p; i++) {
        sum += v->phi[row * p + i];
    }
    double moved = isnan(v->value[row]) ? sum : v->value[row] - v->base[row];
    double sign = (moved < 0 ? -1 : 1) * (by == SMALLEST_FIRST ? -1 : 1);
    for (size_t i = 0; i < p; i++) {
        double key = by == DRAWN ? draw(&state) : sign * v->phi[row * p + i];
        c->ranks[i] = (rank){isnan(key) ? 0 : key, i};
    }
    qsort(c->ranks, p, sizeof *c->ranks, by_key);
    int64_t *step = (int64_t *)c->step.data + n * p;
    for (size_t i = 0; i < p; i++) {
        step[c->ranks[i].player] = 1 + (int64_t)i * c->trust->steps / (int64_t)p;
    }
}

/* Adds the curves of one target up, each by how far f(x) is from the base value. */
static void add_curves(const curves *c, const ox_array *all, bool insert, ox_curve *curve)
{
    const ox_values *v = c->values;
    size_t steps = (size_t)c->trust->steps, width = steps + 1;
    for (size_t n = 0; n < v->samples; n++) {
        size_t row = n * v->targets + c->target;
        double whole = ox_array_at(all, row * width), none = ox_array_at(all, row * width + steps);
        double moved = whole - none, area = 0;
        for (size_t s = 0; s < width; s++) {
            double g = ox_array_at(all, row * width + s) - none;
            area += g * (s == 0 || s == steps ? 0.5 : 1) / (double)steps;
            curve->points[insert ? steps - s : s] += moved < 0 ? -g : g;
        }
        bool moves = fabs(moved) > 1e-6 * (fabs(whole) + fabs(none));
        curve->areas[row] = moves ? area / moved : NAN;
    }
}

static bool run_order(curves *c, order by, ox_curve *curve, ox_error *err)
{
    ox_signature signature = {.inputs = NULL};
    ox_arrays outputs = {NULL, 0};
    bool *stacked = NULL;
    const ox_values *v = c->values;
    for (size_t n = 0; n < v->samples; n++) {
        rank_sample(c, n, by);
    }
    bool good = ox_trust_run(c->runner, c->model, &c->step, &signature, &outputs, &stacked, err);
    const ox_array *all =
        good ? ox_arrays_find_joined(&outputs, c->prefix, "shap_curve", "") : NULL;
    if (good && (!all || ox_array_elements(all, 0) !=
                             v->samples * v->targets * (size_t)(c->trust->steps + 1))) {
        good = ox_cli_error(err, OX_INVALID, "curves of another shape than the values");
    }
    if (good) {
        add_curves(c, all, by == SMALLEST_FIRST, curve);
    }
    free(stacked);
    ox_arrays_free(&outputs);
    ox_signature_free(&signature);
    return good;
}

/* Sums as parts of that from which all begin, and the area of that. */
static void take_means(ox_curve *curve, int64_t steps, bool insert)
{
    double whole = curve->points[insert ? steps : 0];
    for (int64_t s = 0; s <= steps; s++) {
        curve->points[s] /= whole;
        curve->area += curve->points[s] * (s == 0 || s == steps ? 0.5 : 1) / (double)steps;
    }
}

/* Areas that are not there yet. */
static bool begin_curve(ox_curve *curve, size_t rows, ox_error *err)
{
    curve->areas = ox_cli_alloc(rows, sizeof *curve->areas, err);
    for (size_t i = 0; curve->areas && i < rows; i++) {
        curve->areas[i] = NAN;
    }
    return curve->areas != NULL;
}

static bool run_curves(curves *c, ox_error *err)
{
    ox_trust *t = c->trust;
    const ox_values *v = c->values;
    size_t rows = v->samples * v->targets;
    ox_curve *each[] = {&t->deletion, &t->insertion, &t->drawn};
    bool good = true;
    for (size_t i = 0; good && i < 3; i++) {
        good = begin_curve(each[i], rows, err);
        for (c->target = 0; good && c->target < v->targets && c->target < MOST_CURVES;
             c->target++) {
            good = run_order(c, (order)i, each[i], err);
        }
        if (good) {
            take_means(each[i], t->steps, i == SMALLEST_FIRST);
        }
    }
    t->curved = good;
    return good;
}

/* The input of the steps, in the shape that the model takes. */
static bool make_steps(curves *c, ox_error *err)
{
    size_t inputs;
    const ox_value_info *last = ox_inputs(c->model, &inputs);
    bool batched = last[inputs - 1].rank == 2;
    c->step = (ox_array){.type = OX_INT64, .rank = 2, .file = (char *)"the steps"};
    c->step.name = ox_cli_format(err, "%sshap_step", c->prefix);
    c->step.dims[0] = (int64_t)c->values->samples;
    c->step.dims[1] = (int64_t)c->values->players;
    if (!batched) {
        c->step.rank = 1;
        c->step.dims[0] = c->step.dims[1];
    }
    c->ranks = ox_cli_alloc(c->values->players, sizeof *c->ranks, err);
    c->step.data = ox_cli_alloc(c->values->samples * c->values->players, sizeof(int64_t), err);
    return c->step.name && c->ranks && c->step.data;
}

bool ox_trust_curve(ox_trust *t, const ox_trust_runner *r, const ox_remake *made,
                    const ox_values *v, ox_error *err)
{
    ox_options options = made->options;
    int64_t most = (int64_t)v->players < OX_CURVE_MAX ? (int64_t)v->players : OX_CURVE_MAX;
    int64_t asked = r->steps > 0 ? r->steps : 16;
    options.steps = t->steps = asked < most ? asked : most;
    options.method = NULL;
    options.cache = OX_CACHE_AUTO;
    ox_model *model = ox_curves(made->original, &options, err);
    curves c = {.trust = t, .runner = r, .values = v, .model = model};
    c.prefix = options.prefix ? options.prefix : "";
    bool good = model && make_steps(&c, err);
    if (good && c.step.rank == 1 && v->samples > 1) {
        t->cannot = "curves of a model without batch are those of one sample at a time";
    } else if (good) {
        good = run_curves(&c, err);
    }
    free(c.step.name);
    free(c.step.data);
    free(c.ranks);
    ox_free(model);
    return good;
}
