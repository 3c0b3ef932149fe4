/* libonnxexplainer_ops: kernels of domain "onnxexplainer" for ONNX Runtime, optional at run time.
 *
 * An explained model carries each fused operation as a model-local function of that domain: ONNX
 * Runtime inlines the body where no kernel is registered and runs the kernel where one is. There
 * are no kernels yet, so the domain registered here is empty and every function is inlined. */
#include <onnxruntime_c_api.h>

#include <stdio.h>

#if defined(_WIN32)
#define OPS_API __declspec(dllexport)
#else
#define OPS_API __attribute__((visibility("default")))
#endif

/* What ONNX Runtime looks up by name when the library is registered with session options. */
OPS_API OrtStatus *ORT_API_CALL RegisterCustomOps(OrtSessionOptions *options,
                                                  const OrtApiBase *base);

/* The API of the newest version that both the header and the running library know. */
static const OrtApi *newest_api(const OrtApiBase *base)
{
    unsigned minor = 0;
    if (sscanf(base->GetVersionString(), "%*u.%u", &minor) != 1)
        return NULL;
    return base->GetApi(minor < ORT_API_VERSION ? minor : ORT_API_VERSION);
}

OrtStatus *ORT_API_CALL RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base)
{
    const OrtApi *api = newest_api(base);
    if (!api)
        return NULL; /* nothing to register, so nothing is lost */

    /* The options, and every session made from them, point to the domain: it is never released. */
    OrtCustomOpDomain *domain = NULL;
    OrtStatus *status = api->CreateCustomOpDomain("onnxexplainer", &domain);
    if (status)
        return status;
    return api->AddCustomOpDomain(options, domain);
}
