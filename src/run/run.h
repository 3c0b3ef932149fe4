/* ONNX Runtime, for the files that run models: runtime.c finds it, session*.c open sessions, run.c
 * runs them. It is opened at run time and never linked: the symbol of its library is versioned, so
 * a linked program would refuse every other version. */
#ifndef OX_RUN_H
#define OX_RUN_H

#include <onnxruntime_c_api.h>

#include "base/arena.h"
#include "os.h"
#include "run/tail.h"

/* The library, open for as long as the program runs. Of `api` only functions that the oldest
 * accepted version has may be called. */
typedef struct ox_runtime {
    const OrtApi *api;
    const char *version;
} ox_runtime;

/* Opens the library at `path`, or where the environment, the loader or the build found one when
 * `path` is NULL. A library that was asked for by path or environment is taken or an error. */
bool ox_runtime_find(const char *path, ox_runtime *runtime, ox_error *err);

/* The folder that this library lies in; false where it is not known or too long. */
bool ox_runtime_folder(char *path, size_t size);

/* What kernels of libonnxexplainer_ops say without memory; ONNX Runtime has no code for it. */
#define OX_NO_MEMORY "onnxexplainer: out of memory"

/* Releases `status` and, where it is a failure, gives up as ox_fail does. */
void ox_runtime_check(ox_arena *a, const OrtApi *api, OrtStatus *status);

struct ox_session;

/* Registers the kernels of libonnxexplainer_ops with the session's options: those that
 * ONNXEXPLAINER_OPS names, which are used or an error, else those beside this library, if any. Of
 * these the ones that the model has, as the end of it says; all where it has some and does not say
 * which. False where there are none. */
bool ox_kernels_register(struct ox_session *s, const ox_tail *end);

/* Whether a model, by its end, says that it has some. */
bool ox_kernels_listed(const ox_tail *end);

/* Their path; false where there are none. */
bool ox_kernels_path(char *path, size_t size);

/* Has the session's options run on the execution provider NAME[,KEY=VALUE].. */
void ox_provider_append(struct ox_session *s, const char *text);

/* An input or output of a session. */
typedef struct ox_port {
    const char *name;
    OrtTypeInfo *info; /* owns the symbols */
    ox_type type;      /* OX_NONE: not a tensor */
    size_t rank;       /* 0 also where the model gives no shape */
    int64_t *dims;     /* -1: free */
    const char **symbols;
} ox_port;

/* Nothing in it changes once it is open, so that threads may share it; but for `steady`, which has
 * a lock. */
struct ox_session {
    ox_arena *arena; /* names and shapes */
    const OrtApi *api;
    OrtEnv *env; /* ONNX Runtime counts references: all sessions share one */
    OrtSessionOptions *options;
    OrtSession *session;
    OrtMemoryInfo *memory;
    size_t input_count, output_count;
    ox_port *inputs, *outputs;
    const char **output_names;
    struct ox_steady *steady; /* of references that come in, or NULL */
};

#endif
