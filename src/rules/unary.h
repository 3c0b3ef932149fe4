/* Slopes of elementwise operators y = f(x), found through the table in rules/unary.c: the divided
 * difference (f(x) - f(x0)) / (x - x0), f' in the limit, in forms that neither cancel nor overflow
 * and stay between the least and the greatest f' from x0 to x.
 *
 * What counts is how often the pairs of samples and references are passed over: terms of the sample
 * alone are R times smaller, those of the reference alone are computed when the model is loaded. A
 * Where costs as much as ten sums (ONNX Runtime makes it in three parts, on one core), so that
 * nothing here selects: where something must not become 0/0, a number is added that is too small to
 * count elsewhere. Operators of which ONNX Runtime has a kernel for doubles have slopes of such. */
#ifndef OX_RULES_UNARY_H
#define OX_RULES_UNARY_H

#include "rules/product.h"

/* Added to what may be 0: a normal number that vanishes beside everything above 1e-30. */
#define OX_TINY 1e-37

/* rules/slopes_pieces.c */

/* 1 - a, and a cut to [least, greatest]. */
ox_val ox_one_minus(ox_val a);
ox_val ox_clip(ox_val a, double least, double greatest);

ox_val slope_relu(const ox_pair *p);
ox_val slope_leaky_relu(const ox_pair *p);
ox_val slope_abs(const ox_pair *p);
ox_val slope_clip(const ox_pair *p);
ox_val slope_hard_sigmoid(const ox_pair *p);
ox_val slope_hard_swish(const ox_pair *p);
ox_val slope_step(const ox_pair *p);
ox_val slope_thresholded_relu(const ox_pair *p);
ox_val slope_shrink(const ox_pair *p);

/* rules/slopes_curved.c */

ox_val slope_tanh(const ox_pair *p);
ox_val slope_sigmoid(const ox_pair *p);
ox_val slope_exp(const ox_pair *p);
ox_val slope_sinh(const ox_pair *p);
ox_val slope_cosh(const ox_pair *p);
ox_val slope_elu(const ox_pair *p);
ox_val slope_selu(const ox_pair *p);
ox_val slope_celu(const ox_pair *p);
ox_val slope_log(const ox_pair *p);
ox_val slope_atanh(const ox_pair *p);
ox_val slope_sqrt(const ox_pair *p);
ox_val slope_reciprocal(const ox_pair *p);
ox_val slope_softsign(const ox_pair *p);
ox_val slope_sin(const ox_pair *p);
ox_val slope_cos(const ox_pair *p);
ox_val slope_tan(const ox_pair *p);
ox_val slope_asin(const ox_pair *p);
ox_val slope_acos(const ox_pair *p);
ox_val slope_atan(const ox_pair *p);
ox_val slope_asinh(const ox_pair *p);
ox_val slope_acosh(const ox_pair *p);
ox_val slope_erf(const ox_pair *p);
ox_val slope_softplus(const ox_pair *p);
ox_val slope_gelu(const ox_pair *p);
ox_val slope_gelu_tanh(const ox_pair *p);
ox_val slope_mish(const ox_pair *p);
ox_val slope_swish(const ox_pair *p);
ox_val slope_square(const ox_pair *p);
ox_val slope_cube(const ox_pair *p);
ox_val slope_inverse_root(const ox_pair *p);
ox_val slope_power(const ox_pair *p);

/* rules/unary.c: m times the slope of y, x cut to [least, most]. */
ox_val ox_clip_flow(ox_val m, ox_val x, ox_val x0, ox_val y, ox_val y0, double least, double most);

/* rules/unary.c: y = x^b with a constant b. */
void flow_power(ox_ctx *c);

/* The value of a constant with one element, NAN for others. */
double ox_known_scalar(ox_val v);

/* rules/activation.c: the rule of the node at hand where it ends an activation that is spelled out,
 * like x sigmoid(x); false where it does not. */
bool ox_activation(ox_ctx *c);

#endif
