/* The second order: beside a multiplier m of its difference, a value has a multiplier Q of its
 * players' variance V, the sum of the squares of what each player upstream adds to the difference.
 * Rules keep, for each pair of sample and reference,
 *
 *     sum over inputs (m_x dx + Q_x V_x) == m_y dy + Q_y V_y
 *
 * for any V, which goes forward by a linear map whose adjoint Q goes back by. docs/rules.md. */
#ifndef OX_RULES_SECOND_H
#define OX_RULES_SECOND_H

#include "rules/unary.h"

/* How a node takes part. */
typedef enum ox_role {
    OX_ROLE_NEW_PLAYER, /* its results are players, V = dy^2, m += Q dy; then the rule */
    OX_ROLE_UNIT,       /* the same, and the rule sends m B to Q, by the V of its input */
    OX_ROLE_LINEAR      /* V goes on, and the rule is run again with Q and squared coefficients */
} ox_role;

ox_role ox_second_role(ox_ctx *c, ox_rule rule);

/* V of all results of the node, whose form is OX_ROLE_LINEAR. */
void ox_second_forward(ox_ctx *c, ox_rule rule);

/* V of v, [R, own shape] or own shape where references come one at a time; NULL: 0. */
ox_val ox_variance(ox_val v);

/* The same of input i of the node at hand, as it meets its result; NULL where it does not vary. */
ox_val ox_variance_of(ox_ctx *c, size_t i);

/* The node at hand once more, of a batch of pairs. */
const ox_node *ox_run_on_pairs(ox_ctx *c, const ox_val *in);

/* c over variances, which have no axis of targets. */
ox_ctx ox_over_variances(const ox_ctx *c);

/* Q of output 0 of the node at hand, NULL: 0. */
ox_val ox_arrived_second(ox_ctx *c);

/* Sends Q to input i. */
void ox_send_second(ox_ctx *c, size_t i, ox_val q);

/* ---- units: dy = A dx + B V -------------------------------------------------------------------
 */

/* Multipliers of a value and of its V. */
typedef struct ox_second {
    ox_val m, q;
} ox_second;

/* Whether the slope of this name (base/flows.inc) has a smooth form. */
bool ox_bends(const char *name);

/* What a unit is made of: its function by name and slope, both sides of operand and result, V of
 * the operand, and by how much the mean path leaves the straight line there (NULL: it does not). */
typedef struct ox_unit {
    const char *name;
    ox_pair p;
    ox_val y, y0, v, off;
} ox_unit;

/* What the unit sends, given the multipliers of its result, q NULL for 0. */
ox_second ox_through_unit(const ox_unit *u, ox_val m, ox_val q);

/* A and B of relu(t), as .m and .q. */
ox_second ox_bend_of_ramp(ox_val t, ox_val t0, ox_val v, ox_val off);

/* Of the node at hand, whose rule is that of a unit: where there is no smooth form, its results are
 * players nevertheless, m += Q dy. */
void ox_take_in(ox_ctx *c);

/* A unit smoothed: A, what the function gains, and one over V and its rounding. unit_<id>: those of
 * rules/units.inc, and what they have in common with others. */
typedef struct ox_smoothed {
    ox_val a, dy, inverse;
} ox_smoothed;

#define OX_UNIT_OF(id, ...) ox_smoothed unit_##id(const ox_pair *p, ox_val v);
OX_UNITS(OX_UNIT_OF)
#undef OX_UNIT_OF
ox_smoothed ox_unit_by_slope(const ox_pair *p, ox_val v, ox_val slope, ox_val dy);
ox_second ox_unit_flows(const ox_pair *p, ox_val m, ox_val q, ox_smoothed u);
ox_val ox_sure_off(const ox_pair *p, ox_val v, ox_val off);

/* ---- probabilities ----------------------------------------------------------------------------
 */

/* Rows of a Softmax: multipliers of its results, both sides of its operand, and V of that. */
typedef struct ox_rows {
    ox_val m, x, x0, v;
} ox_rows;

/* The multipliers of its operand, those of V in *second. */
ox_val ox_probabilities(const ox_rows *r, ox_val *second);

/* ---- the mean path, of the third order --------------------------------------------------------
 */

/* The mean of input i over halves of the players, as it meets its result. */
ox_val ox_mean_of_input(ox_ctx *c, size_t i);

/* By how much that is off the middle of both sides, in the mean over the path: ox_unit.off of input
 * 0; NULL at the second order, and where it is not. */
ox_val ox_off_path(ox_ctx *c);

/* The same of any value: `mean` (NULL: none) beside both sides of it. */
ox_val ox_off_middle(ox_val mean, ox_val x, ox_val x0);

/* Finds the means of the node's results, whose variances are known. */
void ox_mean_forward(ox_ctx *c, ox_rule rule);

/* rules/smooth.c: the mean of the unit's function, which ends at node n, where its operand is
 * normal about `mean` with the variance V/4. And that of the larger of two, or of the smaller. */
ox_val ox_smooth_value(const ox_unit *u, const ox_node *n, ox_val mean);
ox_val ox_smooth_extreme(bool max, ox_val a, ox_val b, ox_val v);

/* rules/unary.c, activation.c, two_operands.c: the mean of a unit's result, NULL where it has no
 * such form. */
ox_val ox_mean_of_unary(ox_ctx *c);
ox_val ox_mean_of_activation(ox_ctx *c);
ox_val ox_mean_of_prelu(ox_ctx *c);

/* ---- squares ----------------------------------------------------------------------------------
 */

/* m W and W m; of a squared rule with a large constant W its squares are of rank one, the product
 * of the sums of rows and of columns over that of all. */
ox_val ox_times_right(ox_ctx *c, ox_val m, ox_val w, bool constant);
ox_val ox_times_left(ox_ctx *c, ox_val w, ox_val m, bool constant);

/* A factor of a rule, squared where the rule is. */
ox_val ox_factor(ox_ctx *c, ox_val factor);

/* Whether v is a product made for it, of planes and of one number for each. */
bool ox_is_thin_product(ox_val v);

/* The product of both, which is such a one where v is, and factor has one number for a plane. */
ox_val ox_times_thin(ox_val v, ox_val factor);

/* Whether v is a sum, made for it, of a whole value and of one number for each plane. */
bool ox_split_thin(ox_val v, ox_val *whole, ox_val *thin);

/* The sum over the channels of v times their weights, [C, 1, ..]. */
ox_val ox_channel_sum(ox_val v, ox_val weights);

/* The forward maps of V that know more than this file: of a linear rule's own. */
ox_val ox_variance_of_matmul(ox_ctx *c);
ox_val ox_variance_of_gemm(ox_ctx *c);
ox_val ox_variance_of_product(ox_ctx *c);
ox_val ox_variance_of_conv(ox_ctx *c);
ox_val ox_variance_of_normalization(ox_ctx *c);
ox_val ox_variance_of_average(ox_ctx *c);
ox_val ox_variance_of_mean(ox_ctx *c);
ox_val ox_variance_of_pool(ox_ctx *c);
ox_val ox_variance_of_extremes(ox_ctx *c);
ox_val ox_variance_of_rounded(ox_ctx *c);

/* Whether a reduction knows how many elements become one. */
bool ox_reduces_known_rows(ox_ctx *c);

#endif
