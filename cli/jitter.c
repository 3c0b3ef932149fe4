/* How far rounding alone moves f(x): what inputs do to it that change in their last bit. */
#include "trust.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWS = 4 };

/* Up or down, another draw for each number. */
static double sign_of(uint64_t draw, size_t i)
{
    uint64_t bits = (draw + 1) * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)i;
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (bits >> 63) != 0 ? 1 : -1;
}

static void jitter(ox_array *a, uint64_t draw)
{
    size_t count = ox_array_elements(a, 0);
    for (size_t i = 0; i < count; i++) {
        double sign = sign_of(draw, i);
        if (a->type == OX_FLOAT) {
            ((float *)a->data)[i] *= 1 + (float)sign * FLT_EPSILON;
        } else {
            ((double *)a->data)[i] *= 1 + sign * DBL_EPSILON;
        }
    }
}

/* Copies of float32 and float64 inputs, jittered; others are borrowed. */
static bool copy_inputs(const ox_arrays *from, uint64_t draw, ox_arrays *to, ox_error *err)
{
    *to = (ox_arrays){ox_cli_alloc(from->count, sizeof *to->items, err), 0};
    for (; to->items && to->count < from->count; to->count++) {
        ox_array *a = &to->items[to->count];
        *a = from->items[to->count];
        if (a->type == OX_FLOAT || a->type == OX_DOUBLE) {
            size_t bytes = ox_array_elements(a, 0) * ox_type_size(a->type);
            const void *data = a->data;
            a->data = ox_cli_alloc(bytes, 1, err);
            if (!a->data) {
                return false;
            }
            memcpy(a->data, data, bytes);
            jitter(a, draw);
        }
    }
    return to->items != NULL;
}

static void free_inputs(const ox_arrays *from, ox_arrays *to)
{
    for (size_t i = 0; i < to->count; i++) {
        if (to->items[i].data != from->items[i].data) {
            free(to->items[i].data);
        }
    }
    free(to->items);
}

/* f(x) of a sample and target; where it is not among the outputs, what it is explained to be. */
static double result_of(const ox_values *v, size_t i)
{
    double sum = v->base[i];
    for (size_t k = i * v->players; isnan(v->value[i]) && k < (i + 1) * v->players; k++) {
        sum += v->phi[k];
    }
    return isnan(v->value[i]) ? sum : v->value[i];
}

/* The largest change of f(x) in one draw. */
static bool look(ox_trust *t, const ox_trust_runner *r, const ox_model *explained,
                 const ox_values *values, uint64_t draw, ox_error *err)
{
    ox_arrays inputs, outputs = {NULL, 0};
    ox_signature signature = {.inputs = NULL};
    ox_values moved = {.samples = 0};
    bool *stacked = NULL;
    ox_trust_runner other = *r;
    other.inputs = &inputs;
    bool good =
        copy_inputs(r->inputs, draw, &inputs, err) &&
        ox_trust_run(&other, explained, NULL, &signature, &outputs, &stacked, err) &&
        ox_values_read(&moved, &signature, ox_metadata(explained, "onnxexplainer.input_axes"),
                       &outputs, stacked, values->samples, err);
    for (size_t i = 0; good && i < values->samples * values->targets; i++) {
        double d = fabs(result_of(&moved, i) - result_of(values, i));
        t->moved = d > t->moved ? d : t->moved;
    }
    ox_values_free(&moved);
    free(stacked);
    ox_arrays_free(&outputs);
    ox_signature_free(&signature);
    free_inputs(r->inputs, &inputs);
    return good;
}

bool ox_trust_jitter(ox_trust *t, const ox_trust_runner *r, const ox_model *explained,
                     const ox_values *values, ox_error *err)
{
    bool good = true, wanted = t->found.incomplete || t->missed;
    for (uint64_t draw = 0; good && wanted && draw < DRAWS; draw++) {
        good = look(t, r, explained, values, draw, err);
    }
    return good;
}
