/* What ONNX Runtime calls of an operator, for all operators alike. */
#ifndef OPS_KERNEL_H
#define OPS_KERNEL_H

#include "broadcast.h"

#include <onnxruntime_c_api.h>
#include <stdbool.h>

/* The versions of the custom operator interface that are used here: 16 brought errors, without
 * which nothing can be refused, 17 shapes and threads, 18 outputs in the place of inputs. */
#define OPS_OLDEST 16
#define OPS_NEWEST 18
#if ORT_API_VERSION < OPS_OLDEST
#error "the kernels need the header of ONNX Runtime 1.16 or newer"
#endif

#define OPS_INPUTS 14 /* of a node, at most */

typedef struct ops_op ops_op;

/* One run of an operator. */
typedef struct ops_call {
    const OrtApi *api;
    const ops_op *op;
    const ops_isa *isa;
    const void *attributes;
    OrtKernelContext *context;
    ops_operand in[OPS_INPUTS]; /* rank 0 and no data where left out */
    float *out, *second;        /* the latter where there are two outputs */
} ops_call;

struct ops_op {
    OrtCustomOp base; /* first: ONNX Runtime hands it back */
    const OrtApi *api;
    char name[64];
    int needed, inputs; /* how many of the inputs must be there */
    int outputs;        /* 0: one */
    int integers;       /* so many at the end are int64, the others float */
    bool in_place;      /* the output may take the place of input 0 */
    enum {
        OPS_UNKNOWN,
        OPS_BROADCAST,
        OPS_MEAN,
        OPS_CHANNELS,
        OPS_WINNER,
        OPS_MATRICES
    } shape; /* of outputs */
    OrtStatus *(*run)(ops_call *c);

    /* What a kernel keeps of the node's attributes: its size, and how it is made of them. */
    size_t attributes;
    OrtStatus *(*read)(const ops_op *op, const OrtKernelInfo *info, void *attributes);

    ops_id flow;         /* of elementwise.c */
    ops_unit_id unit;    /* where there are two outputs */
    int operands;        /* of the flow, without a second multiplier */
    int steps[2], at[2]; /* of phases.c */
    bool cut;
};

/* Fills in `base`, of which the version is set. */
void ops_op_init(ops_op *op);

/* The operators of a file: writes them to `to`, or nothing where that is NULL, and gives their
 * number. */
size_t ops_attentions(ops_op *to);
size_t ops_elementwise(ops_op *to);
size_t ops_sums(ops_op *to);
size_t ops_winners(ops_op *to);
size_t ops_phases(ops_op *to);
size_t ops_blocks(ops_op *to);
size_t ops_trees(ops_op *to);

/* An error that names the operator. */
OrtStatus *ops_fail(const ops_op *op, const char *format, ...)
    __attribute__((format(__printf__, 2, 3)));

/* `shapes do not fit`, with the shape of input i, of this name or number, beside `wanted`. */
OrtStatus *ops_misfit(const ops_call *c, int i, const char *name, const char *wanted);

/* The dimensions that the first `count` inputs have together. */
OrtStatus *ops_meet(const ops_call *c, int count, int *rank, int64_t *dims);

/* Sets c->out to the output, made with these dimensions. */
OrtStatus *ops_output(ops_call *c, int rank, const int64_t *dims);

/* The same of c->out and c->second, the outputs of an operator that has two of one shape. */
OrtStatus *ops_two_outputs(ops_call *c, int rank, const int64_t *dims);
OrtStatus *ops_output_at(ops_call *c, int i, int rank,
                         const int64_t *dims); /* the same of output i */

/* Runs part(user, i) for all i < count, on ONNX Runtime's threads where it offers them. */
OrtStatus *ops_run(const ops_call *c, size_t count, void (*part)(void *user, size_t i), void *user);

#if ORT_API_VERSION >= 17
/* shape.c */
OrtStatus *ORT_API_CALL ops_infer_shape(const OrtCustomOp *op, OrtShapeInferContext *context);
#endif

#endif
