/* Slopes of elementwise operators y = f(x), found through base/flows.inc: the divided
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

#include "base/ours.h"
#include "rules/product.h"

/* rules/slopes.c: slope_<id> of every flow */
#define KERNEL_FLOW(id, ...) ox_val slope_##id(const ox_pair *p);
#define PLAIN_FLOW KERNEL_FLOW
#include "base/flows.inc"

/* 1 - a; 1 where a condition holds, else 0, in the type of `like`; a cut to [least, greatest]. */
ox_val ox_one_minus(ox_val a);
ox_val ox_indicator(ox_val condition, ox_val like);
ox_val ox_clip(ox_val a, double least, double greatest);

/* rules/unary.c: `<name>Flow` of base/flows.inc, of its operands, m first. */
ox_val ox_flow(const char *name, const ox_val *operands);

/* The same of both sides, of which it takes what it uses. */
ox_val ox_flow_of(const char *name, ox_val m, const ox_pair *p);

/* rules/unary.c: y = x^b with a constant b. */
void flow_power(ox_ctx *c);

/* The value of a constant with one element, NAN for others. */
double ox_known_scalar(ox_val v);

/* rules/activation.c: the rule of the node at hand where it ends an activation that is spelled out,
 * like x sigmoid(x); false where it does not. */
bool ox_activation(ox_ctx *c);

/* Whether it does. */
bool ox_is_activation(ox_ctx *c);

#endif
