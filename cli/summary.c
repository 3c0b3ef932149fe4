/* The closing table of `run`. */
#include "summary.h"

#include "columns.h"

#include <math.h>
#include <stdio.h>

enum { ROWS_SHOWN = 20 };

/* Our outputs of an explained model, [N, K] each. */
typedef struct explained {
    const ox_signature *signature;
    const ox_arrays *outputs;
    const ox_array *target;
    const ox_array *base;
    const ox_array *gap;   /* NULL without --gap */
    const ox_array *value; /* the explained output; NULL where it is an inner tensor */
    size_t samples;
    size_t targets;
} explained;

typedef struct row {
    size_t sample;
    long long target;
    bool known;   /* is f(x) among the outputs? */
    double value; /* f(x) */
    double base;
    double sum;
    double size; /* sum of magnitudes */
    double gap;  /* as the model reports it, before rounding went to the largest value; else f(x) -
                    base - sum */
} row;

static const ox_array *find(const explained *e, const char *name)
{
    return ox_arrays_find_joined(e->outputs, e->signature->prefix, name, "");
}

static bool recognise(explained *e)
{
    e->target = find(e, "shap_target");
    e->base = find(e, "base_value");
    e->gap = find(e, "completeness_gap");
    e->value = ox_arrays_find(e->outputs, e->signature->output);
    if (!e->signature->explained || !e->target || !e->base || e->target->type != OX_INT64) {
        return false;
    }
    size_t count = ox_array_elements(e->target, 0), k = 0;
    for (size_t i = 0; i < e->signature->input_count && !k; i++) {
        ox_shap_of(e->outputs, e->signature, i, &k);
    }
    if (e->signature->output_axis > 0) { /* behind other axes */
        k = e->target->rank == 2 ? (size_t)e->target->dims[1] : 1;
    }
    e->targets = k ? k : 1;
    e->samples = count / e->targets;
    return e->samples && e->samples * e->targets == count &&
           ox_array_elements(e->base, 0) == count &&
           (!e->gap || ox_array_elements(e->gap, 0) == count);
}

/* In whose numbers f(x) is rounded. */
static ox_type type_of_value(const explained *e)
{
    return e->value ? e->value->type : e->base->type;
}

/* Adds up SHAP values [outer, samples, targets, width]. */
static void add_shap(const explained *e, const ox_array *shap, long axis, size_t at, row *r)
{
    double references = e->signature->references ? (double)e->signature->references : 1;
    size_t outer = ox_array_outer(shap, axis, e->samples), rows = e->samples * e->targets;
    size_t width = ox_array_elements(shap, 0) / (outer * rows);
    for (size_t o = 0; o < outer; o++) {
        for (size_t j = (o * rows + at) * width; j < (o * rows + at + 1) * width; j++) {
            double phi = ox_array_at(shap, j) / references;
            r->sum += phi;
            r->size += fabs(phi);
        }
    }
}

static row row_at(const explained *e, size_t n, size_t k)
{
    size_t at = n * e->targets + k, ignored;
    const char *axes = e->signature->axes;
    row r = {.sample = n, .known = true};
    r.target = (long long)((const int64_t *)e->target->data)[at];
    r.base = ox_array_at(e->base, at);
    for (size_t i = 0; i < e->signature->input_count; i++) {
        const ox_array *shap = ox_shap_of(e->outputs, e->signature, i, &ignored);
        if (shap) {
            add_shap(e, shap, ox_axis_next(&axes), at, &r);
        }
    }
    size_t width = e->value ? ox_array_elements(e->value, 0) / e->samples : 0;
    if (r.target >= 0 && (uint64_t)r.target < width) {
        r.value = ox_array_of_sample(e->value, e->signature->output_axis, e->samples, n,
                                     (size_t)r.target);
    } else if (e->gap) {
        r.value = r.base + r.sum + ox_array_at(e->gap, at);
    } else {
        r.known = false;
    }
    r.gap = e->gap ? ox_array_at(e->gap, at) : r.value - r.base - r.sum;
    return r;
}

static double relative(const row *r, double gap)
{
    double change = fabs(r->value - r->base);
    double scale = fmax(change, 1e-3 * r->size);
    return gap == 0 ? 0 : gap / scale;
}

/* What rounding to 16 bits takes from a number at most; float16 is even below 2^-14. */
static double rounding_of(ox_type type, double value)
{
    double size = fabs(value);
    return type == OX_FLOAT16    ? 0x1p-11 * fmax(size, 0x1p-14)
           : type == OX_BFLOAT16 ? 0x1p-8 * size
                                 : 0;
}

static void print_row(const row *r)
{
    char target[24] = "-", value[24] = "-", gap[24] = "-";
    if (r->target >= 0) {
        snprintf(target, sizeof target, "%lld", r->target);
    }
    if (r->known) {
        snprintf(value, sizeof value, "%.6g", r->value);
        snprintf(gap, sizeof gap, "%.1e", r->gap);
    }
    printf("%6zu %7s %12s %12.6g %12.6g %9s\n", r->sample, target, value, r->base, r->sum, gap);
}

static void take(ox_worst *w, const row *r, ox_type type)
{
    if (!r->known) {
        return;
    }
    double gap = relative(r, fabs(r->gap));
    bool first = w->known++ == 0;
    if (first || (!isnan(w->gap) && !(gap <= w->gap))) { /* NaN, once seen, stays */
        w->gap = gap;
        w->rounding = relative(r, rounding_of(type, r->value) + rounding_of(type, r->base));
        w->sample = r->sample;
    }
}

void ox_summary_take(ox_worst *worst, const ox_signature *signature, const ox_arrays *outputs,
                     size_t first)
{
    explained e = {.signature = signature, .outputs = outputs};
    size_t count = recognise(&e) ? e.samples * e.targets : 0;
    for (size_t i = 0; i < count; i++) {
        row r = row_at(&e, i / e.targets, i % e.targets);
        r.sample += first;
        take(worst, &r, type_of_value(&e));
    }
}

void ox_summary_print_worst(const ox_worst *worst)
{
    if (worst->known) {
        printf("largest relative gap %.1e (sample %zu)", worst->gap, worst->sample);
        if (worst->rounding > 0) {
            printf("; 16 bits of f(x) and base value explain up to %.1e", worst->rounding);
        }
        printf("\n");
    }
}

void ox_summary_print(const ox_signature *signature, const ox_arrays *outputs)
{
    explained e = {.signature = signature, .outputs = outputs};
    if (!recognise(&e)) {
        return;
    }
    printf("%6s %7s %12s %12s %12s %9s\n", "sample", "target", "f(x)", "base value", "sum of SHAP",
           "gap");
    size_t count = e.samples * e.targets;
    ox_worst w = {.known = 0};
    for (size_t i = 0; i < count; i++) {
        row r = row_at(&e, i / e.targets, i % e.targets);
        if (i < ROWS_SHOWN) {
            print_row(&r);
        }
        take(&w, &r, type_of_value(&e));
    }
    if (count > ROWS_SHOWN) {
        printf("... %zu more\n", count - ROWS_SHOWN);
    }
    ox_summary_print_worst(&w);
}

/* What is not known is null, as what is no number. */
static void write_row(ox_json *json, const row *r)
{
    ox_json_begin(json, NULL, '{');
    ox_json_integer(json, "sample", (long long)r->sample);
    ox_json_integer(json, "target", r->target);
    ox_json_number(json, "value", r->known ? r->value : (double)NAN);
    ox_json_number(json, "base_value", r->base);
    ox_json_number(json, "sum", r->sum);
    ox_json_number(json, "gap", r->known ? r->gap : (double)NAN);
    ox_json_end(json, '}');
}

void ox_summary_json(ox_json *json, const ox_signature *signature, const ox_arrays *outputs)
{
    explained e = {.signature = signature, .outputs = outputs};
    size_t count = recognise(&e) ? e.samples * e.targets : 0;
    ox_worst w = {.known = 0};
    ox_json_begin(json, "samples", '[');
    for (size_t i = 0; i < count; i++) {
        row r = row_at(&e, i / e.targets, i % e.targets);
        write_row(json, &r);
        take(&w, &r, type_of_value(&e));
    }
    ox_json_end(json, ']');
    ox_json_number(json, "largest_relative_gap", w.known ? w.gap : (double)NAN);
}
