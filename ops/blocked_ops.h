/* Registration of the operators on the blocked layout. */
#ifndef OPS_BLOCKED_OPS_H
#define OPS_BLOCKED_OPS_H

#include <limits.h>
#include <onnxruntime_c_api.h>

#include "blocked.h"

/* Adds them to a domain, for the negotiated version of the API. */
OrtStatus *ops_blocked_add(const OrtApi *api, unsigned version, OrtCustomOpDomain *domain);

#endif
