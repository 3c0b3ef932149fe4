/* Whether what a session gave is finite and adds up, sample by sample where the model takes one. */
#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A remark on one of the samples of a model for one. */
typedef struct remark {
    size_t sample;
    bool said;
    ox_note note;
    void *user;
} remark;

static void warn_of_sample(void *user, const char *message)
{
    remark *r = user;
    char text[640];
    snprintf(text, sizeof text, "sample %zu: %s", r->sample, message);
    if (!r->said && r->note) {
        r->note(r->user, text);
    }
    r->said = true;
}

/* Row `sample` as the model gave it, which puts no axis before those that were stacked. */
static ox_tensor row_of(const ox_array *array, bool stacked, size_t sample, int64_t *dims)
{
    ox_tensor t = ox_array_tensor(array);
    size_t bytes = ox_array_elements(array, 1) * ox_type_size(array->type);
    memcpy(dims, array->dims, sizeof array->dims);
    dims[0] = 1;
    t.rank -= stacked;
    t.dims = dims + stacked;
    t.data = (const char *)array->data + sample * bytes;
    return t;
}

/* Checks what a model for one sample gave for each; `found` is the sum. */
static bool check_each(const ox_session *session, const ox_arrays *outputs, const bool *stacked,
                       ox_tensor *tensors, ox_findings *found, ox_note note, void *user,
                       ox_error *err)
{
    size_t rows = (size_t)outputs->items[0].dims[0];
    remark r = {0, false, note, user};
    int64_t(*dims)[OX_RANK_MAX] = ox_cli_alloc(outputs->count, sizeof *dims, err);
    bool good = dims != NULL;
    *found = (ox_findings){.samples = 0};
    for (; good && r.sample < rows; r.sample++) {
        ox_findings one;
        for (size_t i = 0; i < outputs->count; i++) {
            tensors[i] = row_of(&outputs->items[i], stacked[i], r.sample, dims[i]);
        }
        good = ox_session_check(session, tensors, outputs->count, &one, warn_of_sample, &r, err);
        found->samples += good ? one.samples : 0;
        found->not_finite += good ? one.not_finite : 0;
        found->incomplete += good ? one.incomplete : 0;
        found->unknown += good ? one.unknown : 0;
    }
    free(dims);
    return good;
}

static bool any(const bool *flags, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        found = found || flags[i];
    }
    return found;
}

bool ox_faults_find(const ox_session *session, const ox_arrays *outputs, const bool *stacked,
                    ox_findings *found, ox_note note, void *user, ox_error *err)
{
    ox_tensor *tensors = ox_cli_alloc(outputs->count, sizeof *tensors, err);
    bool good = tensors != NULL;
    if (good && any(stacked, outputs->count)) {
        good = check_each(session, outputs, stacked, tensors, found, note, user, err);
    } else if (good) {
        for (size_t i = 0; i < outputs->count; i++) {
            tensors[i] = ox_array_tensor(&outputs->items[i]);
        }
        good = ox_session_check(session, tensors, outputs->count, found, note, user, err);
    }
    free(tensors);
    return good;
}
