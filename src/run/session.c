/* Sessions: models from files and from memory loaded into ONNX Runtime, as they are. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/output.h"
#include "base/scratch.h"
#include "run/plan.h"
#include "run/run.h"
#include "run/steady.h"

/* What a session is opened on: a file or, where path is NULL, bytes. */
typedef struct source {
    const char *path;
    const void *data;
    size_t size;
    bool large;               /* memory is worth more than time */
    bool optimised;           /* by ONNX Runtime itself, before */
    const char *optimised_to; /* a file that it writes then, or NULL */
} source;

typedef struct opening {
    ox_session *session;
    const ox_session_options *options;
    source from;
    ox_tail end; /* of the model */
} opening;

static void check(const ox_session *s, OrtStatus *status)
{
    ox_runtime_check(s->arena, s->api, status);
}

/* ONNX Runtime would run, and write its profile nowhere. */
static void check_profile(ox_session *s, const char *prefix)
{
    const char *slash = ox_os_last_separator(prefix);
    size_t length = slash == NULL ? 0 : slash == prefix ? 1 : (size_t)(slash - prefix);
    char *folder = ox_arena_format(s->arena, "%.*s", (int)length, prefix);
    if (!ox_os_can_write(length > 0 ? folder : ".")) {
        char reason[128];
        ox_fail(s->arena, OX_IO, "profile: %s: %s", prefix,
                ox_os_reason(errno, reason, sizeof reason));
    }
}

static void set_level(ox_session *s, const ox_session_options *options, const source *from)
{
    const OrtApi *api = s->api;
    bool none = options->no_optimization || from->optimised;
    GraphOptimizationLevel level = none ? ORT_DISABLE_ALL : ORT_ENABLE_ALL;
    check(s, api->SetSessionGraphOptimizationLevel(s->options, level));
    if (from->optimised_to != NULL) {
        ox_os_char room[OX_OS_PATH];
        check(s,
              api->SetOptimizedModelFilePath(s->options, ox_os_native(from->optimised_to, room)));
    }
}

/* Passes that change what is explained and gain nothing there: after each that changes something
 * ONNX Runtime resolves the whole graph once more. Equal nodes are one already, but for max pools
 * with and without places, which it merges ten times over; slices of weights are folded. */
static void leave_out(const ox_session *s)
{
    static const char key[] = "optimization.disable_specified_optimizers";
    static const char passes[] =
        "CommonSubexpressionElimination;ConstantSharing;GatherSliceToSplitFusion";
    check(s, s->api->AddSessionConfigEntry(s->options, key, passes));
}

static void set_options(const opening *opened)
{
    ox_session *s = opened->session;
    const ox_session_options *options = opened->options;
    const OrtApi *api = s->api;
    check(s, api->CreateSessionOptions(&s->options));
    OrtSessionOptions *o = s->options;
    check(s, api->SetSessionLogSeverityLevel(o, ORT_LOGGING_LEVEL_FATAL));
    check(s, api->SetIntraOpNumThreads(o, options->threads));
    check(s, api->SetInterOpNumThreads(o, 1));
    if (opened->from.large) { /* a pattern is one block beside those of the run that found it */
        check(s, api->DisableMemPattern(o));
    }
    check(s, api->SetSessionExecutionMode(o, ORT_SEQUENTIAL));
    /* threads that wait leave the cores to other sessions */
    check(s, api->AddSessionConfigEntry(o, "session.intra_op.allow_spinning", "0"));
    set_level(s, options, &opened->from);
    if (options->profile != NULL) {
        check_profile(s, options->profile);
        ox_os_char room[OX_OS_PATH];
        check(s, api->EnableProfiling(o, ox_os_native(options->profile, room)));
    }
    if (options->provider != NULL) {
        ox_provider_append(s, options->provider);
    }
    if (!options->no_kernels && ox_kernels_register(s, &opened->end)) {
        leave_out(s);
    }
}

/* Copies a name that ONNX Runtime allocated. */
static const char *take_name(ox_session *s, OrtAllocator *allocator, char *name)
{
    char *copy = ox_arena_try_alloc(s->arena, strlen(name) + 1);
    if (copy != NULL) {
        strcpy(copy, name);
    }
    allocator->Free(allocator, name);
    if (copy == NULL) {
        ox_fail(s->arena, OX_MEMORY, "out of memory");
    }
    return copy;
}

/* Fills type and shape from p->info. */
static void read_port(ox_session *s, ox_port *p)
{
    const OrtApi *api = s->api;
    enum ONNXType kind;
    check(s, api->GetOnnxTypeFromTypeInfo(p->info, &kind));
    if (kind != ONNX_TYPE_TENSOR) {
        return;
    }
    const OrtTensorTypeAndShapeInfo *shape;
    check(s, api->CastTypeInfoToTensorInfo(p->info, &shape));
    ONNXTensorElementDataType type;
    check(s, api->GetTensorElementType(shape, &type));
    p->type = (ox_type)type;
    check(s, api->GetDimensionsCount(shape, &p->rank));
    p->dims = ox_arena_alloc(s->arena, p->rank, sizeof *p->dims);
    p->symbols = ox_arena_alloc(s->arena, p->rank, sizeof *p->symbols);
    check(s, api->GetDimensions(shape, p->dims, p->rank));
    check(s, api->GetSymbolicDimensions(shape, p->symbols, p->rank));
}

static void read_ports(ox_session *s)
{
    const OrtApi *api = s->api;
    size_t inputs, outputs;
    OrtAllocator *allocator;
    check(s, api->GetAllocatorWithDefaultOptions(&allocator));
    check(s, api->SessionGetInputCount(s->session, &inputs));
    check(s, api->SessionGetOutputCount(s->session, &outputs));
    s->inputs = ox_arena_alloc(s->arena, inputs, sizeof *s->inputs);
    s->outputs = ox_arena_alloc(s->arena, outputs, sizeof *s->outputs);
    s->output_names = ox_arena_alloc(s->arena, outputs, sizeof *s->output_names);
    s->input_count = inputs;
    s->output_count = outputs;
    for (size_t i = 0; i < inputs; i++) {
        char *name;
        check(s, api->SessionGetInputName(s->session, i, allocator, &name));
        s->inputs[i].name = take_name(s, allocator, name);
        check(s, api->SessionGetInputTypeInfo(s->session, i, &s->inputs[i].info));
        read_port(s, &s->inputs[i]);
    }
    for (size_t i = 0; i < outputs; i++) {
        char *name;
        check(s, api->SessionGetOutputName(s->session, i, allocator, &name));
        s->outputs[i].name = s->output_names[i] = take_name(s, allocator, name);
        check(s, api->SessionGetOutputTypeInfo(s->session, i, &s->outputs[i].info));
        read_port(s, &s->outputs[i]);
    }
}

/* What ONNX Runtime finds wrong it returns as a status, too: nothing is left to be printed. */
static void open_body(void *user)
{
    opening *o = user;
    ox_session *s = o->session;
    const OrtApi *api = s->api;
    check(s, api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "onnxexplainer", &s->env));
    set_options(o);
    OrtStatus *status;
    if (o->from.path != NULL) {
        ox_os_char room[OX_OS_PATH];
        status =
            api->CreateSession(s->env, ox_os_native(o->from.path, room), s->options, &s->session);
    } else {
        status = api->CreateSessionFromArray(s->env, o->from.data, o->from.size, s->options,
                                             &s->session);
    }
    check(s, status);
    check(s, api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeCPU, &s->memory));
    read_ports(s);
}

static ox_session *open_source(source from, const ox_session_options *options, ox_error *err)
{
    ox_runtime runtime;
    if (!ox_runtime_find(options->runtime, &runtime, err)) {
        return NULL;
    }
    ox_session *s = calloc(1, sizeof *s);
    ox_arena *arena = ox_arena_new();
    if (s == NULL || arena == NULL) {
        free(s);
        ox_arena_free(arena);
        ox_error_set(err, OX_MEMORY, "out of memory");
        return NULL;
    }
    s->arena = arena;
    s->api = runtime.api;
    opening o = {.session = s, .options = options, .from = from};
    if (from.path == NULL) {
        o.end = ox_tail_of(from.data, from.size);
    } else if (!options->no_kernels) {
        ox_tail_read(&o.end, from.path);
    }
    bool good = ox_arena_try(arena, open_body, &o, err);
    if (from.path != NULL) {
        ox_tail_free(&o.end);
    }
    if (!good) {
        ox_session_free(s);
        return NULL;
    }
    return s;
}

void ox_session_free(ox_session *session)
{
    if (session == NULL) {
        return;
    }
    const OrtApi *api = session->api;
    ox_steady_free(session->steady);
    for (size_t i = 0; i < session->input_count; i++) {
        api->ReleaseTypeInfo(session->inputs[i].info);
    }
    for (size_t i = 0; i < session->output_count; i++) {
        api->ReleaseTypeInfo(session->outputs[i].info);
    }
    api->ReleaseMemoryInfo(session->memory);
    api->ReleaseSession(session->session);
    api->ReleaseSessionOptions(session->options);
    api->ReleaseEnv(session->env);
    ox_arena_free(session->arena);
    free(session);
}

const char *const *ox_session_outputs(const ox_session *session, size_t *count)
{
    if (count != NULL) {
        *count = session == NULL ? 0 : session->output_count;
    }
    return session == NULL ? NULL : session->output_names;
}

/* ---- models in memory ------------------------------------------------------------------ */

typedef struct buffer {
    char *data;
    size_t size, room;
    bool full; /* no memory for more */
} buffer;

static bool append(void *user, const void *data, size_t size)
{
    buffer *b = user;
    size_t needed = 0;
    if (!ox_size_add(b->size, size, &needed) || needed > SIZE_MAX / 2) {
        b->full = true;
        return false;
    }
    if (needed > b->room) {
        size_t room = needed < 2 * b->room ? 2 * b->room : needed;
        char *larger = realloc(b->data, room);
        if (larger == NULL) {
            b->full = true;
            return false;
        }
        b->data = larger;
        b->room = room;
    }
    if (size > 0) {
        memcpy(b->data + b->size, data, size);
    }
    b->size = needed;
    return true;
}

/* Through a file in a folder of its own. It goes as soon as the session is open: what ONNX Runtime
 * has mapped stays readable. */
static ox_session *open_through_file(const ox_model *model, const ox_session_options *options,
                                     ox_error *err)
{
    static const char file[] = "/model.onnx";
    ox_scratch scratch;
    if (!ox_scratch_open(&scratch, err)) {
        return NULL;
    }
    ox_session *session = NULL;
    char *path = malloc(strlen(scratch.path) + sizeof file);
    if (path == NULL) {
        ox_error_set(err, OX_MEMORY, "out of memory");
    } else {
        strcat(strcpy(path, scratch.path), file);
        if (ox_write_temporary(model, path, err)) {
            session = open_source((source){.path = path, .large = true}, options, err);
        }
        free(path);
    }
    ox_scratch_close(&scratch);
    return session;
}

ox_session *ox_session_optimised(const void *data, size_t size, bool large,
                                 const ox_session_options *options, ox_error *err)
{
    source from = {.data = data, .size = size, .large = large, .optimised = true};
    return open_source(from, options, err);
}

ox_session *ox_session_of(const ox_model *model, const char *optimised_to,
                          const ox_session_options *options, ox_error *err)
{
    buffer b = {.data = NULL};
    ox_error error = {.code = OX_OK};
    ox_session *session = NULL;
    ox_session_options own = *options;
    own.no_kernels = own.no_kernels || ox_opset(model, "onnxexplainer") == 0;
    if (ox_serialize(model, append, &b, &error)) {
        ox_tail end = ox_tail_of(b.data, b.size); /* as it is written, it says what it has */
        own.no_kernels = own.no_kernels || !ox_kernels_listed(&end);
        source from = {.data = b.data,
                       .size = b.size,
                       .large = ox_runs_large(NULL, model),
                       .optimised_to = optimised_to};
        session = open_source(from, &own, err);
    } else if (b.full) {
        ox_error_set(err, OX_MEMORY, "out of memory");
    } else if (error.code == OX_UNSUPPORTED) {
        session = open_through_file(model, &own, err);
    } else {
        ox_error_set(err, error.code, "%s", error.message);
    }
    free(b.data);
    return session;
}

ox_session *ox_session_plain(const char *path, const ox_model *model,
                             const ox_session_options *options, ox_error *err)
{
    if (path == NULL) {
        return ox_session_of(model, NULL, options, err);
    }
    return open_source((source){.path = path, .large = ox_runs_large(path, NULL)}, options, err);
}
