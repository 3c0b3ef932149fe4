/* ox_session_check: ox_check by the metadata that ONNX Runtime has of the session's model. */
#include <string.h>

#include "base/check.h"
#include "explain/check.h"
#include "run/run.h"

typedef struct job {
    const ox_session *session;
    ox_arena *arena;
    OrtModelMetadata *metadata;
    OrtAllocator *allocator;
    const ox_tensor *outputs;
    size_t output_count;
    ox_findings *findings;
    ox_note note;
    void *note_user;
} job;

static const char *property_of_session(void *user, const char *key)
{
    job *j = user;
    const OrtApi *api = j->session->api;
    char *value = NULL;
    ox_runtime_check(
        j->arena, api,
        api->ModelMetadataLookupCustomMetadataMap(j->metadata, j->allocator, key, &value));
    if (value == NULL) {
        return NULL;
    }
    size_t size = strlen(value) + 1;
    char *copy = ox_arena_try_alloc(j->arena, size);
    if (copy != NULL) {
        memcpy(copy, value, size);
    }
    j->allocator->Free(j->allocator, value);
    if (copy == NULL) {
        ox_fail(j->arena, OX_MEMORY, "out of memory");
    }
    return copy;
}

static void run_job(void *user)
{
    job *j = user;
    const ox_session *s = j->session;
    ox_runtime_check(j->arena, s->api, s->api->GetAllocatorWithDefaultOptions(&j->allocator));
    ox_runtime_check(j->arena, s->api, s->api->SessionGetModelMetadata(s->session, &j->metadata));
    ox_check_outputs(j->arena, property_of_session, j, j->outputs, j->output_count, j->findings,
                     j->note, j->note_user);
}

bool ox_session_check(const ox_session *session, const ox_tensor *outputs, size_t output_count,
                      ox_findings *findings, ox_note note, void *note_user, ox_error *err)
{
    ox_findings ignored;
    if (!ox_check_given("session", session, err) ||
        !ox_check_tensors("output", outputs, output_count, false, err)) {
        return false;
    }
    job j = {.session = session, .arena = ox_arena_new(), .outputs = outputs};
    j.output_count = output_count;
    j.findings = findings != NULL ? findings : &ignored;
    j.note = note;
    j.note_user = note_user;
    if (j.arena == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    bool good = ox_arena_try(j.arena, run_job, &j, err);
    if (j.metadata != NULL) {
        session->api->ReleaseModelMetadata(j.metadata);
    }
    ox_arena_free(j.arena);
    return good;
}
