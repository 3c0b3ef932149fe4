/* Registering libonnxexplainer_ops with a session: kernels for the functions of explained models.
 * Without it ONNX Runtime inlines their bodies, so its absence is no error. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/run.h"

static const char LIBRARY[] = OX_OS_LIBRARY("onnxexplainer_ops");

/* The path of the kernels beside this library, as they lie in the build tree and where they are
 * installed. */
static bool find_beside(char *path, size_t size)
{
    char folder[4096];
    int length = ox_runtime_folder(folder, sizeof folder)
                     ? snprintf(path, size, "%s/%s", folder, LIBRARY)
                     : 0;
    return length > 0 && (size_t)length < size && ox_os_can_read(path);
}

static const char *find_named(void)
{
    const char *named = getenv("ONNXEXPLAINER_OPS");
    return named != NULL && named[0] != '\0' ? named : NULL;
}

bool ox_kernels_path(char *path, size_t size)
{
    const char *named = find_named();
    int length = named == NULL ? 0 : snprintf(path, size, "%s", named);
    return named == NULL ? find_beside(path, size) : (size_t)length < size;
}

/* ONNX Runtime refuses entries that are longer. */
enum { MOST_TEXT = 1024 };

static const char KEY[] = "onnxexplainer.kernels";

bool ox_kernels_listed(const ox_tail *end)
{
    size_t left;
    return ox_tail_find(end, KEY, &left) != NULL;
}

/* Says which kernels the model has; false where it has none. One that does not list them has a
 * domain of this name, of as many bytes as the byte before it says. */
static bool say_wanted(ox_session *s, const ox_tail *end)
{
    static const char domain[] = "\ronnxexplainer";
    char names[MOST_TEXT];
    size_t left;
    if (!ox_tail_text(end, KEY, names, sizeof names)) {
        return ox_tail_find(end, domain, &left) != NULL;
    }
    ox_runtime_check(s->arena, s->api, s->api->AddSessionConfigEntry(s->options, KEY, names));
    return true;
}

bool ox_kernels_register(ox_session *s, const ox_tail *end)
{
    const char *named = find_named();
    char path[4096];
    if ((named == NULL && !find_beside(path, sizeof path)) || !say_wanted(s, end)) {
        return false;
    }
    if (named != NULL && !ox_os_can_read(named)) {
        char reason[128];
        ox_fail(s->arena, OX_IO, "ONNXEXPLAINER_OPS: %s: %s", named,
                ox_os_reason(errno, reason, sizeof reason));
    }
    ox_os_char room[OX_OS_PATH];
    OrtStatus *status = s->api->RegisterCustomOpsLibrary_V2(
        s->options, ox_os_native(named != NULL ? named : path, room));
    if (status != NULL && strstr(s->api->GetErrorMessage(status), OX_NO_MEMORY) != NULL) {
        ox_runtime_check(s->arena, s->api, status);
    }
    if (status != NULL &&
        named == NULL) { /* made for another ONNX Runtime: as if it were missing */
        s->api->ReleaseStatus(status);
        return false;
    }
    if (status != NULL) {
        s->api->ReleaseStatus(status);
        ox_fail(s->arena, OX_RUNTIME, "ONNXEXPLAINER_OPS: %s: not a library of kernels", named);
    }
    return true;
}
