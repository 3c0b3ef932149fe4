/* Whether the results of an explained model can be trusted: whether they are finite, and whether
 * the SHAP values of each sample and target add up to f(x) - base value, but for rounding. */
#include "explain/check.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "explain/places.h"
#include "graph/graph.h"

/* What rounding may leave of the sum, in units of the arithmetic's rounding times the numbers
 * involved: sum |phi|, |f(x)|, |base value|, and the largest value of the output, whose layer
 * rounds f(x) as well. Roundings of many layers cancel like a random walk: the trained models that
 * we test with, of up to 860 nodes, stay below 4 of these units, so that 256 leave room for deeper
 * ones, and in float32 a sum that misses a part in 10^4 of the numbers involved is told. 16-bit
 * arithmetic cannot afford the room: networks of 24 layers stay below 1 of its units. */
#define ROUNDINGS 256.0
#define ROUNDINGS_OF_16_BITS 8.0

/* Values that are much larger than what they explain cancel, and rounding them is no excuse for
 * missing this part of |f(x)|, |base value| and the output's largest value. */
static const double CANCELLED = 0.01;

/* The part of these numbers that an integral may miss. */
static const double QUADRATURE = 0.01;

/* A tensor with the sample axis in between: element (o, n, i) of [outer, samples, inner]. */
typedef struct layout {
    const ox_tensor *tensor;
    size_t outer, samples, inner;
    int after; /* the first axis of inner */
} layout;

typedef struct check {
    ox_arena *arena;
    ox_lookup property;
    void *user;
    const ox_tensor *outputs;
    size_t output_count;
    const ox_tensor *target, *base, *gap; /* gap: NULL without */
    layout value;                         /* the explained output; no tensor: not among them */
    layout *shap;                         /* inner counts the targets in, which come first there */
    size_t shap_count;
    size_t samples, targets;
    bool many;          /* there is a target axis */
    bool adds_up;       /* the method's values do, */
    bool quadrature;    /* within its error */
    bool kept;          /* there are values for each reference, whose mean is meant */
    double unit;        /* of rounding, times how many are allowed */
    const double *rows; /* [K, D] of sums and differences, else NULL */
} check;

/* What was found of one sample and target. */
typedef struct finding {
    const char *where; /* the output that is not finite; NULL: all are */
    bool known;        /* is f(x)? */
    double gap, bound;
} finding;

/* ---- reading what is there --------------------------------------------------------------- */

static size_t elements(const ox_tensor *t, int from, int to)
{
    size_t count = 1;
    for (int i = from; i < to; i++) {
        count *= (size_t)t->dims[i];
    }
    return count;
}

static double number_at(const ox_tensor *t, size_t i)
{
    if (t->type == OX_FLOAT) {
        return (double)((const float *)t->data)[i];
    }
    return ox_const_double(&(ox_const){.type = t->type, .data = t->data}, i);
}

static const ox_tensor *find(const check *c, const char *name)
{
    for (size_t i = 0; i < c->output_count; i++) {
        const ox_tensor *t = &c->outputs[i];
        bool numbers = ox_type_size(t->type) > 0 && t->type != OX_STRING;
        if (t->name != NULL && strcmp(t->name, name) == 0 && numbers) {
            return t;
        }
    }
    return NULL;
}

static const char *property_or(const check *c, const char *key, const char *otherwise)
{
    const char *value = c->property(c->arena, c->user, key);
    return value != NULL ? value : otherwise;
}

static const ox_tensor *find_ours(const check *c, const char *name)
{
    const char *prefix = property_or(c, "onnxexplainer.prefix", "");
    return find(c, ox_arena_format(c->arena, "%s%s", prefix, name));
}

static _Noreturn void bad_shape(const check *c, const ox_tensor *t)
{
    ox_fail(c->arena, OX_INVALID, "output \"%s\" has another shape than explained models give",
            t->name);
}

/* `axis` < 0: one value for all samples. */
static layout lay_out(const check *c, const ox_tensor *t, int axis)
{
    if (axis >= t->rank) {
        bad_shape(c, t);
    }
    int after = axis < 0 ? 0 : axis + 1;
    layout l = {.tensor = t, .outer = 1, .samples = 1, .inner = elements(t, after, t->rank)};
    l.after = after;
    if (axis >= 0) {
        l.outer = elements(t, 0, axis);
        l.samples = (size_t)t->dims[axis];
        if (l.samples != c->samples) {
            bad_shape(c, t);
        }
    }
    return l;
}

/* Whether `item` is one of the comma-separated `list`; names may hold commas. */
static bool lists(const char *list, const char *item, size_t length)
{
    for (const char *at = list; *at != '\0'; at++) {
        bool begins = at == list || at[-1] == ',';
        if (begins && strncmp(at, item, length) == 0 && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

/* The SHAP values of all inputs, in the model's order. */
static void find_shap(check *c)
{
    static const char tail[] = "_shap";
    const char *prefix = property_or(c, "onnxexplainer.prefix", "");
    const char *names = property_or(c, "onnxexplainer.inputs", "");
    const char *axes = property_or(c, "onnxexplainer.input_axes", "");
    c->shap = ox_arena_alloc(c->arena, c->output_count, sizeof *c->shap);
    for (size_t i = 0; i < c->output_count; i++) {
        const ox_tensor *t = &c->outputs[i];
        size_t length = t->name == NULL ? 0 : strlen(t->name), head = strlen(prefix);
        if (length < head + strlen(tail) || strncmp(t->name, prefix, head) != 0 ||
            strcmp(t->name + length - strlen(tail), tail) != 0 ||
            !lists(names, t->name + head, length - head - strlen(tail)) ||
            !ox_type_is_float(t->type)) {
            continue;
        }
        char *end;
        long axis = strtol(axes, &end, 10);
        axis = end == axes ? 0 : axis;
        axes = *end == ',' ? end + 1 : end;
        layout l = lay_out(c, t, axis < 0 ? -1 : axis < OX_MAX_RANK ? (int)axis : OX_MAX_RANK);
        if (l.inner % c->targets != 0) {
            bad_shape(c, t);
        }
        c->shap[c->shap_count++] = l;
    }
}

/* Sums and differences have no index: what they are made of follows from the target's text. */
static void find_rows(check *c, int axis)
{
    const ox_tensor *t = c->value.tensor;
    bool sums = false;
    for (size_t i = 0; i < c->samples * c->targets; i++) {
        sums = sums || ((const int64_t *)c->target->data)[i] < 0;
    }
    const char *text = property_or(c, "onnxexplainer.target", "");
    if (sums && strcmp(text, "mask") == 0) {
        c->value.tensor = NULL; /* what the mask was is not known */
        return;
    }
    if (!sums || t == NULL) {
        return;
    }
    int64_t dims[OX_MAX_RANK], *indices;
    int rank = 0;
    if (t->rank > OX_MAX_RANK) {
        bad_shape(c, t);
    }
    for (int i = 0; i < t->rank; i++) {
        if (i != axis) {
            dims[rank++] = t->dims[i];
        }
    }
    size_t count = 1;
    for (const char *at = text; *at != '\0'; at++) {
        count += *at == ',';
    }
    double *rows;
    if (count != c->targets) {
        bad_shape(c, c->target);
    }
    ox_target_places(c->arena, text, t->name, rank, dims, &indices, &rows);
    c->rows = rows;
}

/* The rounding of the narrowest type that the explanation passes through. */
static double unit_of(const check *c)
{
    static const struct {
        const char *name;
        double unit;
    } types[] = {
        {"float16", ROUNDINGS_OF_16_BITS * 0x1p-11},
        {"bfloat16", ROUNDINGS_OF_16_BITS * 0x1p-8},
        {"float64", ROUNDINGS * 0x1p-53},
    };
    if (c->quadrature) {
        return QUADRATURE;
    }
    const char *name = property_or(c, "onnxexplainer.precision", "float32");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(name, types[i].name) == 0) {
            return types[i].unit;
        }
    }
    return ROUNDINGS * 0x1p-24;
}

static void recognise(check *c)
{
    const char *output = c->property(c->arena, c->user, "onnxexplainer.output");
    c->target = find_ours(c, "shap_target");
    c->base = find_ours(c, "base_value");
    c->gap = find_ours(c, "completeness_gap");
    if (output == NULL || c->target == NULL || c->base == NULL || c->target->type != OX_INT64) {
        ox_fail(c->arena, OX_ARGUMENT, "these are not all outputs of an explained model");
    }
    long given = strtol(property_or(c, "onnxexplainer.output_axis", "0"), NULL, 10);
    int axis = given < 0 ? -1 : given < OX_MAX_RANK ? (int)given : OX_MAX_RANK;
    const ox_tensor *t = c->target;
    c->samples = axis >= 0 && t->rank > 0 ? (size_t)t->dims[0] : 1;
    c->many = t->rank == (axis >= 0) + 1;
    c->targets = c->many ? (size_t)t->dims[t->rank - 1] : 1;
    size_t count = c->samples * c->targets;
    const ox_tensor *all[] = {c->target, c->base, c->gap};
    for (int i = 0; i < 3; i++) {
        if (all[i] != NULL && elements(all[i], 0, all[i]->rank) != count) {
            bad_shape(c, all[i]);
        }
    }
    if (count == 0) {
        return;
    }
    const ox_tensor *value = find(c, output);
    c->value.tensor = NULL;
    if (value != NULL && value->type != OX_BOOL) {
        c->value = lay_out(c, value, axis);
    }
    find_rows(c, axis);
    find_shap(c);
    const char *sum = property_or(c, "onnxexplainer.sum", "");
    c->adds_up = strcmp(sum, "none") != 0;
    c->quadrature = strcmp(sum, "quadrature") == 0;
    c->kept = c->property(c->arena, c->user, "onnxexplainer.kept_references") != NULL;
    c->unit = unit_of(c);
}

/* ---- one sample and target --------------------------------------------------------------- */

/* Value d of sample n of the explained output, d over all axes but the batch. */
static double value_at(const layout *l, size_t n, size_t d)
{
    return number_at(l->tensor, (d / l->inner * l->samples + n) * l->inner + d % l->inner);
}

static double largest_value(const check *c, size_t n)
{
    const layout *l = &c->value;
    double most = 0;
    for (size_t d = 0; l->tensor != NULL && d < l->outer * l->inner; d++) {
        double size = fabs(value_at(l, n, d));
        most = isfinite(size) && size > most ? size : most;
    }
    return most;
}

/* f(x) of target k, and the sum of the magnitudes it is made of. False where it is not known. */
static bool explained_value(const check *c, size_t n, size_t k, double *y, double *size)
{
    int64_t target = ((const int64_t *)c->target->data)[n * c->targets + k];
    size_t count = c->value.tensor == NULL ? 0 : c->value.outer * c->value.inner;
    *y = *size = 0;
    if (target >= 0 && (uint64_t)target < count) {
        *y = value_at(&c->value, n, (size_t)target);
        *size = fabs(*y);
        return true;
    }
    for (size_t d = 0; c->rows != NULL && d < count; d++) {
        double factor = c->rows[k * count + d];
        double term = factor == 0 ? 0 : factor * value_at(&c->value, n, d);
        *y += term;
        *size += fabs(term);
    }
    return c->rows != NULL;
}

/* Adds up the SHAP values of one input. */
static bool add_shap(const check *c, const layout *l, size_t n, size_t k, double *sum, double *size)
{
    size_t width = l->inner / c->targets;
    n = l->samples == 1 ? 0 : n;
    double total = 0, magnitude = 0;
    for (size_t o = 0; o < l->outer; o++) {
        size_t first = ((o * l->samples + n) * c->targets + k) * width;
        for (size_t i = first; i < first + width; i++) {
            double phi = number_at(l->tensor, i);
            total += phi;
            magnitude += fabs(phi);
        }
    }
    int axis = l->after + c->many; /* of the references */
    bool kept = c->kept && axis < l->tensor->rank && l->tensor->dims[axis] > 0;
    double references = kept ? (double)l->tensor->dims[axis] : 1;
    *sum += total / references;
    *size += magnitude / references;
    return isfinite(magnitude);
}

static finding look_at(const check *c, size_t n, size_t k, double most)
{
    size_t at = n * c->targets + k;
    finding f = {.where = NULL};
    double sum = 0, size = 0, y, terms, base = number_at(c->base, at);
    for (size_t i = 0; i < c->shap_count; i++) {
        if (!add_shap(c, &c->shap[i], n, k, &sum, &size)) {
            f.where = f.where == NULL ? c->shap[i].tensor->name : f.where;
        }
    }
    f.where = isfinite(base) ? f.where : c->base->name;
    f.known = explained_value(c, n, k, &y, &terms);
    if (f.known) {
        f.gap = y - base - sum;
        f.where = isfinite(y) ? f.where : c->value.tensor->name;
    } else if (c->gap != NULL) {
        f.known = true;
        f.gap = number_at(c->gap, at);
        terms = fabs(base + sum + f.gap);
    }
    double explained = terms + fabs(base) + most;
    f.bound = fmin(c->unit * (size + explained), fmax(c->unit, CANCELLED) * explained);
    return f;
}

/* ---- all of them ------------------------------------------------------------------------- */

enum { NAMED_SAMPLES = 8 };

/* Samples of one kind: how many, and the first of them as text. */
typedef struct listing {
    size_t count;
    char text[NAMED_SAMPLES * 24];
    size_t length;
} listing;

static void add_sample(listing *l, size_t n)
{
    if (l->count++ < NAMED_SAMPLES) {
        int added = snprintf(l->text + l->length, sizeof l->text - l->length, "%s%zu",
                             l->length > 0 ? ", " : "", n);
        l->length += added > 0 ? (size_t)added : 0;
    }
}

/* "sample 3", "samples 1, 4", "samples 1, 2, 3, ... (12 of 20)". */
static const char *name_samples(ox_arena *a, const listing *l, size_t all)
{
    const char *more = l->count > NAMED_SAMPLES ? ", ..." : "";
    return l->count == 1
               ? ox_arena_format(a, "sample %s", l->text)
               : ox_arena_format(a, "samples %s%s (%zu of %zu)", l->text, more, l->count, all);
}

/* What there is to say in the end. */
typedef struct tally {
    listing broken, lacking;
    size_t unknown;
    const char *where; /* the first output that is not finite */
    finding worst;     /* of those that do not add up */
    size_t worst_sample, worst_target;
} tally;

static void count_sample(const check *c, tally *t, size_t n)
{
    double most = largest_value(c, n);
    bool broken = false, lacking = false, unknown = false;
    for (size_t k = 0; k < c->targets; k++) {
        finding f = look_at(c, n, k, most);
        bool beyond = c->adds_up && f.where == NULL && f.known && !(fabs(f.gap) <= f.bound);
        bool first = t->lacking.count == 0 && !lacking;
        /* by multiples of the bound, which may be 0 */
        if (beyond && (first || fabs(f.gap) * t->worst.bound > fabs(t->worst.gap) * f.bound)) {
            t->worst = f;
            t->worst_sample = n;
            t->worst_target = k;
        }
        t->where = t->where == NULL ? f.where : t->where;
        broken = broken || f.where != NULL;
        lacking = lacking || beyond;
        unknown = unknown || (c->adds_up && !f.known);
    }
    if (broken) {
        add_sample(&t->broken, n);
    }
    if (lacking) {
        add_sample(&t->lacking, n);
    }
    t->unknown += unknown;
}

static void tell_broken(const check *c, const tally *t, ox_note note, void *user)
{
    if (t->broken.count > 0 && note != NULL) {
        note(user, ox_arena_format(c->arena,
                                   "the values of %s are not finite: \"%s\" holds NaN or infinity",
                                   name_samples(c->arena, &t->broken, c->samples), t->where));
    }
}

static void tell_lacking(const check *c, const tally *t, ox_note note, void *user)
{
    if (t->lacking.count == 0 || note == NULL) {
        return;
    }
    size_t at = t->worst_sample * c->targets + t->worst_target;
    long long target = (long long)((const int64_t *)c->target->data)[at];
    const char *of = target < 0 ? "" : ox_arena_format(c->arena, ", target %lld", target);
    note(user,
         ox_arena_format(c->arena,
                         "the SHAP values of %s do not add up to f(x) - base value: sample %zu%s "
                         "misses %.3g, where %s explains %.1e",
                         name_samples(c->arena, &t->lacking, c->samples), t->worst_sample, of,
                         t->worst.gap, c->quadrature ? "integration" : "rounding", t->worst.bound));
}

typedef struct job {
    check check;
    ox_findings *findings;
    ox_note note;
    void *note_user;
} job;

static void run_job(void *user)
{
    job *j = user;
    check *c = &j->check;
    tally t = {.unknown = 0};
    recognise(c);
    for (size_t n = 0; c->targets > 0 && n < c->samples; n++) {
        count_sample(c, &t, n);
    }
    *j->findings = (ox_findings){c->samples, t.broken.count, t.lacking.count, t.unknown};
    tell_broken(c, &t, j->note, j->note_user);
    tell_lacking(c, &t, j->note, j->note_user);
}

bool ox_check_outputs(ox_lookup property, void *user, const ox_tensor *outputs, size_t output_count,
                      ox_findings *findings, ox_note note, void *note_user, ox_error *err)
{
    if (!ox_check_tensors("output", outputs, output_count, false, err)) {
        return false;
    }
    ox_findings ignored = {0};
    ox_arena *a = ox_arena_new();
    if (a == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    job j = {.findings = findings != NULL ? findings : &ignored, .note = note};
    j.check = (check){.arena = a, .property = property, .user = user, .outputs = outputs};
    j.check.output_count = output_count;
    j.note_user = note_user;
    bool good = ox_arena_try(a, run_job, &j, err);
    ox_arena_free(a);
    return good;
}
