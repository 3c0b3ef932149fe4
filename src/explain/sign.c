/* Whether a value is known to be above 0, or at least 0: then its logarithm, its root or what is
 * divided by it is finite, and costs no guard (explain/beyond.c). */
#include "explain/sign.h"

#include <string.h>

#include "rules/move.h"
#include "rules/product.h"
#include "rules/side.h"
#include "rules/unary.h"

enum { MAX_COUNTED = 65536, MAX_DEPTH = 64 };

static ox_sign least(ox_sign a, ox_sign b)
{
    return a < b ? a : b;
}

static ox_sign greatest(ox_sign a, ox_sign b)
{
    return a > b ? a : b;
}

static ox_sign of_constant(const ox_const *c)
{
    size_t count = c->data == NULL ? 0 : ox_const_count(c);
    ox_sign sign = OX_SIGN_POSITIVE;
    if (count == 0 || count > MAX_COUNTED) {
        return OX_SIGN_ANY;
    }
    for (size_t i = 0; i < count && sign != OX_SIGN_ANY; i++) {
        double number = ox_const_double(c, i);
        ox_sign own = number > 0    ? OX_SIGN_POSITIVE
                      : number == 0 ? OX_SIGN_NOT_NEGATIVE
                                    : OX_SIGN_ANY;
        sign = least(sign, own);
    }
    return sign;
}

static ox_sign sign_of(ox_explain_state *s, ox_val v, int depth);

static ox_sign of_input(ox_explain_state *s, const ox_node *n, size_t i, int depth)
{
    ox_val v = ox_node_input(n, i);
    return v == NULL ? OX_SIGN_ANY : sign_of(s, v, depth + 1);
}

/* Of all inputs from `first` on, the least known or the most. */
static ox_sign of_inputs(ox_explain_state *s, const ox_node *n, size_t first, bool least_known,
                         int depth)
{
    ox_sign sign = least_known ? OX_SIGN_POSITIVE : OX_SIGN_ANY;
    for (size_t i = first; i < n->input_count; i++) {
        ox_sign own = of_input(s, n, i, depth);
        sign = least_known ? least(sign, own) : greatest(sign, own);
    }
    return sign;
}

static ox_sign of_power(ox_explain_state *s, const ox_node *n, int depth)
{
    ox_val exponent = ox_node_input(n, 1);
    double e = exponent == NULL ? 0 : ox_known_scalar(exponent);
    ox_sign base = of_input(s, n, 0, depth);
    if (base == OX_SIGN_POSITIVE) {
        return base;
    }
    bool even = e > 0 && e < 1e6 && e / 2 == (double)(int)(e / 2);
    return even || base == OX_SIGN_NOT_NEGATIVE ? OX_SIGN_NOT_NEGATIVE : OX_SIGN_ANY;
}

/* Of operators that give, add up, multiply or pick what goes in. */
static ox_sign of_node(ox_explain_state *s, const ox_node *n, int depth)
{
    const ox_row *row = ox_rule_find(n->domain, n->op);
    ox_rule rule = row == NULL ? NULL : row->rule;
    bool product = rule == flow_mul || rule == flow_div, sum = rule == flow_add;
    if (ox_node_has(n, OX_NOT_NEGATIVE)) {
        ox_sign root = strcmp(n->op, "Sqrt") == 0 ? of_input(s, n, 0, depth) : OX_SIGN_ANY;
        return greatest(root, OX_SIGN_NOT_NEGATIVE);
    }
    if (strcmp(n->op, "ConstantOfShape") == 0) {
        const ox_attr *value = ox_node_attr(n, "value");
        return value == NULL || value->tensor == NULL ? OX_SIGN_NOT_NEGATIVE
                                                      : of_constant(value->tensor);
    }
    if (rule == flow_mul && ox_node_input(n, 0) == ox_node_input(n, 1)) {
        return OX_SIGN_NOT_NEGATIVE;
    }
    if (sum && of_inputs(s, n, 0, true, depth) != OX_SIGN_ANY) {
        return of_inputs(s, n, 0, false, depth);
    }
    if (product || rule == flow_mean || strcmp(n->op, "Min") == 0 || rule == flow_concat) {
        return of_inputs(s, n, 0, true, depth);
    }
    if (strcmp(n->op, "Max") == 0) {
        return of_inputs(s, n, 0, false, depth);
    }
    if (rule == flow_clip) {
        return greatest(of_input(s, n, 0, depth), of_input(s, n, 1, depth));
    }
    if (rule == flow_where) {
        return of_inputs(s, n, 1, true, depth);
    }
    if (rule == flow_pow) {
        return of_power(s, n, depth);
    }
    bool same = rule == flow_reduce_sum || rule == flow_reduce_mean ||
                rule == flow_reduce_extreme || rule == flow_identity || rule == flow_cast ||
                rule == flow_reshape || rule == flow_transpose || rule == flow_slice ||
                rule == flow_split || rule == flow_gather || rule == flow_expand ||
                rule == flow_average_pool || rule == flow_global_average_pool ||
                strcmp(n->op, "Reciprocal") == 0;
    return same ? of_input(s, n, 0, depth) : OX_SIGN_ANY;
}

static ox_sign sign_of(ox_explain_state *s, ox_val v, int depth)
{
    ox_side *side = ox_side_of(v);
    if (side->sign != OX_SIGN_UNKNOWN) {
        return side->sign;
    }
    const ox_const *contents = ox_contents(v);
    if (contents != NULL) {
        side->sign = of_constant(contents);
    } else if (v->node == NULL || side->is_point || depth > MAX_DEPTH) {
        side->sign = v->type == OX_BOOL ? OX_SIGN_NOT_NEGATIVE : OX_SIGN_ANY;
    } else if (side->alias != NULL) {
        side->sign = sign_of(s, side->alias, depth + 1);
    } else {
        side->sign = v->type == OX_BOOL ? OX_SIGN_NOT_NEGATIVE : of_node(s, v->node, depth);
    }
    return side->sign;
}

ox_sign ox_sign_of(ox_explain_state *s, ox_val v)
{
    return sign_of(s, v, 0);
}
