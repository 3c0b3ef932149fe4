/* libonnxexplainer_ops: kernels of domain "onnxexplainer" for ONNX Runtime, optional at run time.
 *
 * An explained model carries each fused operation as a model-local function of that domain: ONNX
 * Runtime inlines the body where no kernel is registered and runs the kernel where one is. Kernels
 * take float32; functions of doubles have names of their own, and stay functions. */
#include "kernel.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(_WIN32)
#define OPS_API __declspec(dllexport)
#else
#define OPS_API __attribute__((visibility("default")))
#endif

/* What ONNX Runtime looks up by name when the library is registered with session options. */
OPS_API OrtStatus *ORT_API_CALL RegisterCustomOps(OrtSessionOptions *options,
                                                  const OrtApiBase *base);

/* ---- registration -------------------------------------------------------------------------- */

/* The operators as one ONNX Runtime sees them. Sessions point to them: they are never released, and
 * made once for each ONNX Runtime in the process. */
typedef struct library {
    const OrtApi *api;
    OrtCustomOpDomain *domain;
    struct library *next;
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

static OrtStatus *make_library(const OrtApi *api, unsigned version, library **made)
{
    size_t count = list_operators(NULL);
    library *l = calloc(1, sizeof *l + count * sizeof *l->ops);
    if (l == NULL) {
        return api->CreateStatus(ORT_FAIL, "onnxexplainer: out of memory");
    }
    l->api = api;
    list_operators(l->ops);
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
    l->next = atomic_load(&libraries);
    while (!atomic_compare_exchange_weak(&libraries, &l->next, l)) {
    }
    *made = l;
    return NULL;
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
    library *l = atomic_load(&libraries);
    while (l != NULL && l->api != api) {
        l = l->next;
    }
    OrtStatus *status = l == NULL ? make_library(api, version, &l) : NULL;
    return status != NULL ? status : api->AddCustomOpDomain(options, l->domain);
}
