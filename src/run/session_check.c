/* ox_session_check: ox_check by the metadata that ONNX Runtime has of the session's model. */
#include <string.h>

#include "base/check.h"
#include "explain/check.h"
#include "run/run.h"

typedef struct properties {
    const ox_session *session;
    OrtModelMetadata *metadata; /* NULL: not asked for yet */
    OrtAllocator *allocator;
} properties;

static void open_properties(ox_arena *a, properties *p)
{
    const ox_session *s = p->session;
    ox_runtime_check(a, s->api, s->api->GetAllocatorWithDefaultOptions(&p->allocator));
    ox_runtime_check(a, s->api, s->api->SessionGetModelMetadata(s->session, &p->metadata));
}

static const char *property_of_session(ox_arena *a, void *user, const char *key)
{
    properties *p = user;
    if (p->metadata == NULL) {
        open_properties(a, p);
    }
    const OrtApi *api = p->session->api;
    char *value = NULL;
    ox_runtime_check(
        a, api, api->ModelMetadataLookupCustomMetadataMap(p->metadata, p->allocator, key, &value));
    if (value == NULL) {
        return NULL;
    }
    size_t size = strlen(value) + 1;
    char *copy = ox_arena_try_alloc(a, size);
    if (copy != NULL) {
        memcpy(copy, value, size);
    }
    p->allocator->Free(p->allocator, value);
    if (copy == NULL) {
        ox_fail(a, OX_MEMORY, "out of memory");
    }
    return copy;
}

bool ox_session_check(const ox_session *session, const ox_tensor *outputs, size_t output_count,
                      ox_findings *findings, ox_note note, void *note_user, ox_error *err)
{
    properties p = {.session = session};
    bool good = ox_check_given("session", session, err) &&
                ox_check_outputs(property_of_session, &p, outputs, output_count, findings, note,
                                 note_user, err);
    if (p.metadata != NULL) {
        session->api->ReleaseModelMetadata(p.metadata);
    }
    return good;
}
