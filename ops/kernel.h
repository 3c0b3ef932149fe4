/* What ONNX Runtime calls of an operator, for all operators alike. */
#ifndef OPS_KERNEL_H
#define OPS_KERNEL_H

#include "ops.h"

#include <onnxruntime_c_api.h>
#include <stdbool.h>

/* The newest version of the custom operator interface that is used here: 16 brought errors, 17
 * shapes and threads, 18 outputs in the place of inputs. */
#define OPS_NEWEST 18

typedef struct ops_op {
    OrtCustomOp base; /* first: ONNX Runtime hands it back */
    const OrtApi *api;
    const char *name;
    ops_id flow;
    bool along_axis; /* one of OPS_AXES */
    int operands;    /* of the flow */
    int needed;      /* inputs: those of the flow, and m2 */
    int inputs;      /* also the optional ones: scale, acc */
} ops_op;

/* Fills in `base`, of which the version is set. */
void ops_op_init(ops_op *op);

#if ORT_API_VERSION >= 17
/* shape.c */
OrtStatus *ORT_API_CALL ops_infer_shape(const OrtCustomOp *op, OrtShapeInferContext *context);
#endif

#endif
