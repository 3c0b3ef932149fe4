/* libonnxexplainer_ops: kernels of domain "onnxexplainer" for ONNX Runtime, optional at run time.
 *
 * An explained model carries each fused operation as a model-local function of that domain: ONNX
 * Runtime inlines the body where no kernel is registered and runs the kernel where one is. Kernels
 * take float32; functions of doubles have names of their own, and stay functions. */
#include "kernel.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define OPS_API __declspec(dllexport)
#else
#define OPS_API __attribute__((visibility("default")))
#endif

/* What ONNX Runtime looks up by name when the library is registered with session options. */
OPS_API OrtStatus *ORT_API_CALL RegisterCustomOps(OrtSessionOptions *options,
                                                  const OrtApiBase *base);

/* ---- registration -------------------------------------------------------------------------- */

/* An entry of session options: the names of the operators that the session's model has, "A,B".
 * ONNX Runtime takes some 35 us for each operator that is registered. */
static const char WANTED[] = "onnxexplainer.kernels";

/* The operators as one ONNX Runtime sees them, all or those wanted. Sessions point to them: they
 * are never released, and made once for each ONNX Runtime in the process and what is wanted. */
typedef struct library {
    const OrtApi *api;
    OrtCustomOpDomain *domain;
    struct library *next;
    char *wanted; /* NULL: all */
    ops_op ops[];
} library;

static _Atomic(library *) libraries;

static size_t list_operators(ops_op *to)
{
    size_t (*const lists[])(ops_op *) = {ops_attentions, ops_elementwise, ops_sums, ops_winners,
                                         ops_phases,     ops_blocks,      ops_trees};
    size_t count = 0;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        count += lists[i](to == NULL ? NULL : to + count);
    }
    return count;
}

/* Whether it is among the names of "A,B". */
static bool is_wanted(const char *name, const char *wanted)
{
    size_t length = strlen(name);
    for (const char *at = wanted; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return wanted == NULL;
}

/* Takes those wanted to the front; gives their number. */
static size_t take_wanted(ops_op *ops, size_t count, const char *wanted)
{
    size_t taken = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_wanted(ops[i].name, wanted)) {
            ops[taken++] = ops[i];
        }
    }
    return taken;
}

static OrtStatus *out_of_memory(const OrtApi *api)
{
    return api->CreateStatus(ORT_FAIL, "onnxexplainer: out of memory");
}

/* Takes `wanted`, as far as it is made. */
static OrtStatus *make_library(const OrtApi *api, unsigned version, char *wanted, library **made)
{
    size_t count = list_operators(NULL);
    library *l = calloc(1, sizeof *l + count * sizeof *l->ops);
    if (l == NULL) {
        return out_of_memory(api);
    }
    l->api = api;
    list_operators(l->ops);
    count = take_wanted(l->ops, count, wanted);
    OrtStatus *status = api->CreateCustomOpDomain("onnxexplainer", &l->domain);
    for (size_t i = 0; status == NULL && i < count; i++) {
        l->ops[i].api = api;
        l->ops[i].base.version = version < OPS_NEWEST ? version : OPS_NEWEST;
        ops_op_init(&l->ops[i]);
        status = api->CustomOpDomain_Add(l->domain, &l->ops[i].base);
    }
    if (status != NULL) {
        if (l->domain != NULL) {
            api->ReleaseCustomOpDomain(l->domain);
        }
        free(l);
        return status;
    }
    l->wanted = wanted;
    l->next = atomic_load(&libraries);
    while (!atomic_compare_exchange_weak(&libraries, &l->next, l)) {
    }
    *made = l;
    return NULL;
}

/* What the options say, NULL where they say nothing. */
static OrtStatus *read_wanted(const OrtApi *api, const OrtSessionOptions *options, char **wanted)
{
    int there = 0;
    size_t size = 0;
    *wanted = NULL;
    OrtStatus *status = api->HasSessionConfigEntry(options, WANTED, &there);
    if (status != NULL || !there) {
        return status;
    }
    status = api->GetSessionConfigEntry(options, WANTED, NULL, &size);
    if (status != NULL) {
        return status;
    }
    *wanted = calloc(size + 1, 1);
    return *wanted == NULL ? out_of_memory(api)
                           : api->GetSessionConfigEntry(options, WANTED, *wanted, &size);
}

/* One that was made, NULL where there is none yet. */
static library *find_library(const OrtApi *api, const char *wanted)
{
    library *l = atomic_load(&libraries);
    while (l != NULL && !(l->api == api &&
                          (wanted == NULL ? l->wanted == NULL
                                          : l->wanted != NULL && strcmp(l->wanted, wanted) == 0))) {
        l = l->next;
    }
    return l;
}

OrtStatus *ORT_API_CALL RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base)
{
    /* The newest version that both the header and the running library know. */
    unsigned version = 0;
    if (sscanf(base->GetVersionString(), "%*u.%u", &version) != 1) {
        return NULL; /* the functions are run instead */
    }
    version = version < ORT_API_VERSION ? version : ORT_API_VERSION;
    const OrtApi *api = version < OPS_OLDEST ? NULL : base->GetApi(version);
    if (api == NULL) {
        return NULL;
    }
    char *wanted = NULL;
    OrtStatus *status = read_wanted(api, options, &wanted);
    library *l = status == NULL ? find_library(api, wanted) : NULL;
    if (status == NULL && l == NULL) {
        status = make_library(api, version, wanted, &l);
    }
    if (l == NULL || l->wanted != wanted) {
        free(wanted);
    }
    return status != NULL ? status : api->AddCustomOpDomain(options, l->domain);
}
