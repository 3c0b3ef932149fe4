/* Execution providers of ONNX Runtime, by name: NAME[,KEY=VALUE].. */
#include <string.h>
#include <strings.h>

#include "run/run.h"

static const char suffix[] = "ExecutionProvider";

/* The options of a provider, and its name as ONNX Runtime lists it, without the suffix. */
typedef struct wanted {
    const char *name;
    size_t count;
    const char **keys, **values;
} wanted;

static void check(const ox_session *s, OrtStatus *status)
{
    ox_runtime_check(s->arena, s->api, status);
}

/* Without the suffix, where it is there. */
static char *stem(ox_arena *a, const char *name)
{
    size_t length = strlen(name), end = sizeof suffix - 1;
    bool whole = length > end && strcmp(name + length - end, suffix) == 0;
    return ox_arena_format(a, "%.*s", (int)(whole ? length - end : length), name);
}

/* Those that this library has, as text; sets *found to the one of that name. */
static const char *list(ox_session *s, const char *name, const char **found)
{
    char **all = NULL;
    int count = 0;
    const char *text = "";
    check(s, s->api->GetAvailableProviders(&all, &count));
    for (int i = 0; i < count; i++) {
        const char *each = stem(s->arena, all[i]);
        text = ox_arena_format(s->arena, "%s%s%s", text, i > 0 ? ", " : "", each);
        if (strcasecmp(each, name) == 0) {
            *found = each;
        }
    }
    check(s, s->api->ReleaseAvailableProviders(all, count));
    return text;
}

static wanted parse(ox_session *s, const char *text)
{
    size_t most = 1;
    for (const char *at = text; *at != '\0'; at++) {
        most += *at == ',';
    }
    wanted w = {.count = 0};
    w.keys = ox_arena_alloc(s->arena, most, sizeof *w.keys);
    w.values = ox_arena_alloc(s->arena, most, sizeof *w.values);
    char *rest = ox_arena_format(s->arena, "%s", text), *comma = strchr(rest, ',');
    for (char *at = comma; at != NULL; at = comma) {
        *at++ = '\0';
        comma = strchr(at, ',');
        char *equals = strchr(at, '=');
        if (equals == NULL || equals == at || (comma != NULL && equals > comma)) {
            ox_fail(s->arena, OX_ARGUMENT, "provider: \"%.*s\" is not KEY=VALUE",
                    (int)(comma != NULL ? (size_t)(comma - at) : strlen(at)), at);
        }
        *equals = '\0';
        w.keys[w.count] = at;
        w.values[w.count++] = equals + 1;
    }
    const char *name = stem(s->arena, rest), *has = list(s, name, &w.name);
    if (w.name == NULL) {
        ox_fail(s->arena, OX_UNSUPPORTED, "provider: this ONNX Runtime has no \"%s\", it has %s",
                name, has);
    }
    return w;
}

static void append_cuda(ox_session *s, const wanted *w)
{
    OrtCUDAProviderOptionsV2 *options = NULL;
    check(s, s->api->CreateCUDAProviderOptions(&options));
    OrtStatus *status = s->api->UpdateCUDAProviderOptions(options, w->keys, w->values, w->count);
    if (status == NULL) {
        status = s->api->SessionOptionsAppendExecutionProvider_CUDA_V2(s->options, options);
    }
    s->api->ReleaseCUDAProviderOptions(options);
    check(s, status);
}

static void append_tensorrt(ox_session *s, const wanted *w)
{
    OrtTensorRTProviderOptionsV2 *options = NULL;
    check(s, s->api->CreateTensorRTProviderOptions(&options));
    OrtStatus *status =
        s->api->UpdateTensorRTProviderOptions(options, w->keys, w->values, w->count);
    if (status == NULL) {
        status = s->api->SessionOptionsAppendExecutionProvider_TensorRT_V2(s->options, options);
    }
    s->api->ReleaseTensorRTProviderOptions(options);
    check(s, status);
}

void ox_provider_append(ox_session *s, const char *text)
{
    /* lists them in one spelling and takes them in another */
    static const char *const spelled[][2] = {
        {"Xnnpack", "XNNPACK"}, {"Dml", "DML"}, {"WebGpu", "WebGPU"}};
    wanted w = parse(s, text);
    if (strcmp(w.name, "CPU") == 0) {
        if (w.count > 0) {
            ox_fail(s->arena, OX_ARGUMENT, "provider: CPU takes no options");
        }
    } else if (strcmp(w.name, "CUDA") == 0) {
        append_cuda(s, &w);
    } else if (strcmp(w.name, "Tensorrt") == 0) {
        append_tensorrt(s, &w);
    } else {
        for (size_t i = 0; i < sizeof spelled / sizeof *spelled; i++) {
            w.name = strcmp(w.name, spelled[i][0]) == 0 ? spelled[i][1] : w.name;
        }
        check(s, s->api->SessionOptionsAppendExecutionProvider(s->options, w.name, w.keys, w.values,
                                                               w.count));
    }
}
