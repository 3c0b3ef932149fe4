/* The vocabulary for writing graphs: one function an operator, straight-line code over values.
 * Every function returns its first result and leaves by ox_fail. Axes may be negative, and should
 * be in rules: they then mean the same for a sample, a reference and a flow. */
#ifndef OX_BUILD_H
#define OX_BUILD_H

#include "graph/graph.h"

/* ---- attributes for ox_graph_emit -------------------------------------------------------- */

ox_attr ox_attr_int(const char *name, int64_t i);
ox_attr ox_attr_float(const char *name, float f);
ox_attr ox_attr_string(const char *name, const char *s);
ox_attr ox_attr_ints(const char *name, size_t count, const int64_t *ints);

/* ---- constants --------------------------------------------------------------------------- */

ox_val ox_ints(ox_graph *g, size_t count, const int64_t *ints);            /* int64 [count] */
ox_val ox_int_scalar(ox_graph *g, int64_t i);                              /* int64 [] */
ox_val ox_floats(ox_graph *g, ox_type type, int rank, const int64_t *dims, /* float or double */
                 const double *data);
ox_val ox_iota(ox_graph *g, ox_type type, int64_t count); /* 0, 1, .. [count] */
ox_val ox_iota_of(ox_val count);                          /* int64; count: int64 [] */
ox_val ox_number(ox_val like, double number); /* scalar of like's type, any number type */
ox_val ox_zeros(ox_graph *g, ox_type type, int rank, const ox_dim *dims);

/* An int64 vector of dimensions; free ones are read off the graph at run time. */
ox_val ox_dims(ox_graph *g, int rank, const ox_dim *dims);

/* ---- elementwise ------------------------------------------------------------------------- */

ox_val ox_unary(const char *op, ox_val a);
ox_val ox_binary(const char *op, ox_val a, ox_val b);

ox_val ox_add(ox_val a, ox_val b);
ox_val ox_sub(ox_val a, ox_val b);
ox_val ox_mul(ox_val a, ox_val b);
ox_val ox_div(ox_val a, ox_val b);
ox_val ox_max(ox_val a, ox_val b);
ox_val ox_min(ox_val a, ox_val b);
ox_val ox_scale(ox_val a, double factor);
ox_val ox_shift(ox_val a, double term);

/* d + a little number, or the larger of both magnitudes, for functions of d that are even. */
ox_val ox_apart_from_zero(ox_val d, double little);
ox_val ox_neg(ox_val a);
ox_val ox_abs(ox_val a);
ox_val ox_exp(ox_val a);
ox_val ox_log(ox_val a);
ox_val ox_sqrt(ox_val a);
ox_val ox_tanh(ox_val a);
ox_val ox_square(ox_val a);
ox_val ox_equal(ox_val a, ox_val b);
ox_val ox_greater(ox_val a, ox_val b);
ox_val ox_less(ox_val a, ox_val b);
ox_val ox_where(ox_val condition, ox_val a, ox_val b);
ox_val ox_cast(ox_val a, ox_type type); /* a itself where it has the type */

/* ---- portable.c: what is done for other runtimes, where the graph has no functions ---------- */

void ox_front_axes(ox_val v, size_t count, int64_t *axes); /* counts axes of v from the front */

bool ox_is_portable(ox_val v);

/* A square matrix of weights, or filters from as many channels to as many, apart from other uses.
 */
ox_val ox_own_factor(ox_val v);
ox_val ox_own_filters(ox_val v);

/* ---- products ---------------------------------------------------------------------------- */

ox_val ox_matmul(ox_val a, ox_val b);

/* ---- sums and extremes over axes; kept with length 1 where `keep` --------------------------- */

ox_val ox_reduce(const char *op, ox_val a, size_t axis_count, const int64_t *axes, bool keep);
ox_val ox_sum(ox_val a, int64_t axis, bool keep);

/* ---- moving ------------------------------------------------------------------------------ */

/* a, behind a sum of one operand where it is a DequantizeLinear of int8, for operators that only
 * move values: ONNX Runtime (to 1.32) quantises once more behind these, and rejects its own node
 * from opset 21 on. All functions here do it. */
ox_val ox_apart(ox_val a);

/* Reshapes; nothing where the shape is the same already, and two reshapes become one. */
ox_val ox_reshape(ox_val a, int rank, const ox_dim *dims);

/* The same, of which a constant stays one: ONNX Runtime need not have it twice to fold that. */
ox_val ox_reshape_constant(ox_val v, int rank, const ox_dim *dims);
ox_val ox_transpose(ox_val a, const int *permutation);
ox_val ox_swap_last(ox_val a); /* of matrices: transposes the last two axes */
ox_val ox_unsqueeze(ox_val a, int64_t axis);
ox_val ox_squeeze(ox_val a, int64_t axis);
ox_val ox_expand(ox_val a, int rank, const ox_dim *dims);
ox_val ox_concat(ox_graph *g, size_t count, const ox_val *parts, int64_t axis);
ox_val ox_slice(ox_val a, int64_t axis, int64_t start, int64_t end, int64_t step);
ox_val ox_reverse(ox_val a, int64_t axis);

/* Zeros before and after along each of the last `count` axes; negative numbers cut off. */
ox_val ox_pad(ox_val a, int count, const int64_t *before, const int64_t *after);
ox_val ox_gather(ox_val a, ox_val indices, int64_t axis);
ox_val ox_gather_elements(ox_val a, ox_val indices, int64_t axis);
ox_val ox_scatter_add(ox_val zeros, ox_val indices, ox_val updates, int64_t axis);

/* ---- functions --------------------------------------------------------------------------- */

/* Writes the body of a function over its formal parameters, whose shapes are not known; returns
 * its result. */
typedef ox_val (*ox_body)(const ox_val *inputs, const void *user);

/* The same of several results; ranks are known. */
typedef void (*ox_body_of_many)(const ox_val *inputs, ox_val *outputs, const void *user);

/* v, of the sample, but so that ONNX Runtime does not compute what is made of it before m is there:
 * a multiplier, of whose axes the last two may differ from v's as those of matrices do. v itself
 * where that cannot be said or is not worth it. */
ox_val ox_after(ox_val m, ox_val v);

/* What ox_after made v of, which waits for another multiplier from here on; else v itself. */
ox_val ox_not_after(ox_val v);

/* A node `onnxexplainer.<name>` with a model-local function as body, or the body itself where the
 * graph has no functions. Elementwise with broadcasting: the result has the shape of the inputs
 * broadcast together. */
ox_val ox_call(const char *name, ox_body body, const void *user, size_t count,
               const ox_val *inputs);

/* The same with two results. */
void ox_call_pair(const char *name, ox_body_of_many body, const void *user, size_t count,
                  const ox_val *inputs, ox_val made[2]);

/* The same with a result of the given shape. */
ox_val ox_call_shaped(const char *name, ox_body body, const void *user, size_t count,
                      const ox_val *inputs, int rank, const ox_dim *dims);

/* The same of several results, whose shapes follow where there is a rule (shape/ours.c). A name
 * stands for inputs of the same ranks. */
void ox_call_many(const char *name, ox_body_of_many body, const void *user, size_t count,
                  const ox_val *inputs, size_t outputs, ox_val *made);

#endif
