/* SHAP values of a run in one order, wherever the axis of samples is. */
#include "values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_stacked(const ox_arrays *outputs, const bool *stacked, const ox_array *array)
{
    return stacked && stacked[array - outputs->items];
}

/* Copies [outer, samples, targets, inner] of an output to [samples, targets, ..] at `column`. */
static void copy_values(const ox_values *v, const ox_array *array, size_t outer, size_t inner,
                        double *to, size_t column)
{
    for (size_t o = 0; o < outer; o++) {
        for (size_t n = 0; n < v->samples; n++) {
            for (size_t k = 0; k < v->targets; k++) {
                size_t each = inner * v->references;
                size_t from = ((o * v->samples + n) * v->targets + k) * each;
                double *row = to + (n * v->targets + k) * v->players + column + o * inner;
                for (size_t i = 0; i < each; i++) {
                    row[i % inner] += ox_array_at(array, from + i) / (double)v->references;
                }
            }
        }
    }
}

static bool refuse(const ox_array *array, ox_error *err)
{
    return ox_cli_error(err, OX_INVALID,
                        "output \"%s\" has another shape than explained models give", array->name);
}

static const ox_array *error_of(const ox_arrays *outputs, const ox_signature *s, size_t i)
{
    return ox_arrays_find_joined(outputs, s->prefix, s->inputs[i].name, "_shap_error");
}

/* One input after the other; with `v->phi` NULL only counts. */
static bool read_inputs(ox_values *v, const ox_signature *s, const char *axes,
                        const ox_arrays *outputs, const bool *stacked, ox_error *err)
{
    size_t column = 0, each = v->samples * v->targets * v->references, ignored;
    for (size_t i = 0; i < s->input_count; i++) {
        const ox_array *shap = ox_shap_of(outputs, s, i, &ignored), *error = NULL;
        if (!shap) {
            continue;
        }
        long axis = ox_axis_next(&axes);
        size_t all = ox_array_elements(shap, 0), outer = 1;
        if (!each || all % each || axis >= shap->rank) {
            return refuse(shap, err);
        }
        for (int d = 0; !is_stacked(outputs, stacked, shap) && d < (int)axis; d++) {
            outer *= (size_t)shap->dims[d];
        }
        if (v->phi) {
            copy_values(v, shap, outer, all / each / outer, v->phi, column);
            error = error_of(outputs, s, i);
        }
        if (error && v->error) {
            copy_values(v, error, outer, all / each / outer, v->error, column);
        }
        column += all / each;
    }
    v->players = column;
    return true;
}

static bool has_errors(const ox_arrays *outputs, const ox_signature *s)
{
    bool any = false;
    for (size_t i = 0; i < s->input_count; i++) {
        any = any || error_of(outputs, s, i);
    }
    return any;
}

/* f(x) of what `target` says, and NaN for sums. */
static void read_outputs(ox_values *v, const ox_signature *s, const ox_arrays *outputs,
                         const ox_array *target, const ox_array *base)
{
    const ox_array *output = ox_arrays_find(outputs, s->output);
    size_t width = output ? ox_array_elements(output, 0) / v->samples : 0;
    for (size_t i = 0; i < v->samples * v->targets; i++) {
        double at = ox_array_at(target, i);
        bool there = at >= 0 && at < (double)width;
        v->base[i] = ox_array_at(base, i);
        v->value[i] = there ? ox_array_of_sample(output, s->output_axis, v->samples, i / v->targets,
                                                 (size_t)at)
                            : (double)NAN;
    }
}

bool ox_values_read(ox_values *v, const ox_signature *s, const char *axes, const ox_arrays *outputs,
                    const bool *stacked, size_t samples, ox_error *err)
{
    *v = (ox_values){.samples = samples, .references = s->references ? s->references : 1};
    const ox_array *target = ox_arrays_find_joined(outputs, s->prefix, "shap_target", "");
    const ox_array *base = ox_arrays_find_joined(outputs, s->prefix, "base_value", "");
    size_t count = target ? ox_array_elements(target, 0) : 0;
    if (!target || !base || !samples || !count || count % samples ||
        ox_array_elements(base, 0) != count) {
        return ox_cli_error(err, OX_INVALID, "no shap_target and base_value that fit the samples");
    }
    v->targets = count / samples;
    axes = axes ? axes : ""; /* a model that was not explained by us may lack it */
    if (!read_inputs(v, s, axes, outputs, stacked, err)) {
        return false;
    }
    v->phi = ox_cli_alloc(count * v->players, sizeof *v->phi, err);
    v->base = ox_cli_alloc(count, sizeof *v->base, err);
    v->value = ox_cli_alloc(count, sizeof *v->value, err);
    if (v->phi && has_errors(outputs, s)) {
        v->error = ox_cli_alloc(count * v->players, sizeof *v->error, err);
    }
    if (!v->phi || !v->base || !v->value || (has_errors(outputs, s) && !v->error)) {
        return false;
    }
    read_outputs(v, s, outputs, target, base);
    return read_inputs(v, s, axes, outputs, stacked, err);
}

void ox_values_free(ox_values *v)
{
    free(v->phi);
    free(v->error);
    free(v->base);
    free(v->value);
    *v = (ox_values){.samples = 0};
}
