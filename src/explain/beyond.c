/* Which values may be beyond numbers: infinities, NaN, and the lowest numbers that masks are made
 * of. Where such a value has an effect on what is finite, rules see numbers in its place
 * (explain/standin.c). Elsewhere it either cannot occur, or the model's own result is not finite,
 * and rules see values as they are: a network without masks and choices costs nothing.
 *
 * A value is marked forwards with where it may come from, and backwards with what of this the
 * operators behind it make finite again: both must meet. */
#include "explain/beyond.h"

#include <math.h>
#include <string.h>

#include "explain/order.h"
#include "explain/sign.h"
#include "rules/decompose.h"
#include "rules/move.h"
#include "rules/product.h"
#include "rules/side.h"
#include "rules/unary.h"

enum { MAX_COUNTED = 65536, MAX_DEPTH = 64 };

/* Where it comes from. */
enum {
    FIXED = 1,      /* a mask or an input of the sample's, the same on both sides */
    MASK = 2,       /* a mask that may differ between both sides */
    DOMAIN = 4,     /* outside of where an operator has a value: log(-1), 1/0 */
    FAR = 8,        /* the same, with sums or products of matrices behind */
    OVERFLOWS = 16, /* e^x of a large x */
    INPUT = 32,     /* an explained input: a missing value */
    ROW = 64,       /* softmax over a row that is masked as a whole */
    KNOWN = 128,    /* with FIXED: a mask that the model makes of a constant */
    ALL = 255 & ~FIXED
};

/* ---- kinds of operators ---------------------------------------------------------------------- */

static ox_beyond_kind kind_of(const ox_node *n)
{
    const ox_row *row = ox_rule_find(n->domain, n->op);
    bool to_integer =
        row != NULL && row->rule == flow_cast && !ox_type_is_float(n->outputs[0]->type);
    return row == NULL ? OX_SPREADS : to_integer ? OX_TESTS : row->beyond;
}

bool ox_beyond_is_elementwise(const ox_node *n)
{
    ox_beyond_kind k = kind_of(n);
    return k == OX_STRAIGHT || k == OX_BENDS || k == OX_TESTS;
}

bool ox_beyond_is_rows(const ox_node *n)
{
    return kind_of(n) == OX_ROWS;
}

/* What the operator makes finite again. */
static unsigned absorbed(const ox_node *n)
{
    switch (kind_of(n)) {
    case OX_TESTS:
    case OX_SPLITS:
    case OX_CHOOSES: return ALL;
    case OX_ROUNDS: return MASK | DOMAIN | INPUT | OVERFLOWS | KNOWN;
    case OX_BENDS:
    case OX_PICKS: return MASK | DOMAIN | KNOWN;
    case OX_ROWS: return MASK | DOMAIN;
    default: return 0;
    }
}

/* ---- forwards -------------------------------------------------------------------------------- */

static unsigned beyond_of(ox_explain_state *s, ox_val v, int depth);

/* Half precision has no room above its masks: two of them are an infinity. */
static unsigned of_constant(const ox_const *c)
{
    size_t count = c->data == NULL ? 0 : ox_const_count(c);
    double most = c->type == OX_FLOAT16 ? 3e4 : OX_STANDIN_LEAST;
    if (count == 0 || count > MAX_COUNTED) {
        return FIXED;
    }
    for (size_t i = 0; i < count; i++) {
        if (!(fabs(ox_const_double(c, i)) < most)) {
            return FIXED | KNOWN;
        }
    }
    return 0;
}

/* Of the inputs from `first` to before `end` that vary, or of those that do not. */
static unsigned of_inputs(ox_explain_state *s, const ox_node *n, size_t first, size_t end,
                          bool vary, int depth)
{
    unsigned beyond = 0;
    for (size_t i = first; i < end && i < n->input_count; i++) {
        ox_val v = n->inputs[i];
        if (v != NULL && ox_side_of(v)->varies == vary) {
            beyond |= beyond_of(s, v, depth + 1);
        }
    }
    return beyond;
}

static ox_sign input_sign(ox_explain_state *s, const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    return v == NULL ? OX_SIGN_ANY : ox_sign_of(s, v);
}

/* a^b is finite for a above 0, and for whole b that are not negative. */
static bool power_is_finite(ox_explain_state *s, const ox_node *n)
{
    ox_sign base = input_sign(s, n, 0);
    ox_val exponent = ox_node_input(n, 1);
    double b = exponent == NULL ? (double)NAN : ox_known_scalar(exponent);
    return base == OX_SIGN_POSITIVE || (b >= 0 && base == OX_SIGN_NOT_NEGATIVE) ||
           (b >= 0 && b < 100 && b == floor(b));
}

/* What the operator itself takes beyond numbers. */
static unsigned of_operator(ox_explain_state *s, const ox_node *n)
{
    ox_sign first = input_sign(s, n, 0);
    if (ox_node_has(n, OX_OVERFLOWS)) {
        return OVERFLOWS;
    }
    if (ox_node_is(n, "Log") || ox_node_is(n, "Reciprocal")) {
        return first == OX_SIGN_POSITIVE ? 0 : DOMAIN;
    }
    if (ox_node_is(n, "Sqrt")) {
        return first == OX_SIGN_ANY ? DOMAIN : 0;
    }
    if (ox_node_is(n, "Pow")) {
        return power_is_finite(s, n) ? 0 : DOMAIN;
    }
    if (ox_node_is(n, "Div") || ox_node_is(n, "Mod")) {
        return ox_input_varies(n, 1) && input_sign(s, n, 1) != OX_SIGN_POSITIVE ? DOMAIN : 0;
    }
    return ox_node_has(n, OX_PARTIAL) ? DOMAIN : 0;
}

/* A mask times what varies, or picked by it, is one that varies. */
static unsigned elementwise(ox_explain_state *s, const ox_node *n, ox_beyond_kind k, int depth)
{
    unsigned beyond = of_inputs(s, n, 0, SIZE_MAX, true, depth) | of_operator(s, n);
    unsigned fixed = k == OX_STRAIGHT ? of_inputs(s, n, 0, SIZE_MAX, false, depth) : 0;
    bool product = ox_node_is(n, "Mul") || ox_node_is(n, "Div");
    return beyond | (fixed == 0 ? 0 : product ? MASK : fixed & (FIXED | KNOWN));
}

static unsigned moved(ox_explain_state *s, const ox_node *n, int depth)
{
    bool gathers = strncmp(n->op, "Gather", strlen("Gather")) == 0;
    bool scatters = strncmp(n->op, "Scatter", strlen("Scatter")) == 0;
    unsigned beyond = of_inputs(s, n, 0, SIZE_MAX, true, depth);
    unsigned fixed = of_inputs(s, n, 0, gathers ? 1 : SIZE_MAX, false, depth);
    bool by_data = (gathers || scatters) && ox_input_varies(n, 1);
    if (ox_node_is(n, "Pad")) { /* around what varies, which windows reach into */
        fixed &= ~(unsigned)KNOWN;
    }
    return beyond | (fixed == 0 ? 0 : by_data ? MASK : fixed & (FIXED | KNOWN));
}

static unsigned of_varying(ox_explain_state *s, const ox_node *n, int depth)
{
    ox_beyond_kind k = kind_of(n);
    unsigned beyond = 0;
    switch (k) {
    case OX_STRAIGHT:
    case OX_BENDS:
    case OX_TESTS: return elementwise(s, n, k, depth);
    case OX_MOVES: return moved(s, n, depth);
    case OX_CHOOSES:
        beyond = of_inputs(s, n, 1, 3, true, depth) | of_inputs(s, n, 1, 3, false, depth);
        return beyond | ((beyond & FIXED) != 0 && ox_input_varies(n, 0) ? MASK : 0);
    case OX_PICKS: return of_inputs(s, n, 0, 1, true, depth);
    case OX_SPLITS:
    case OX_ROUNDS: return 0;
    case OX_ROWS:
        beyond = of_inputs(s, n, 0, 1, true, depth);
        return beyond == 0                ? 0
               : ox_node_is(n, "Softmax") ? ROW
                                          : ROW | (beyond & (MASK | FIXED | KNOWN));
    default: break;
    }
    beyond = of_inputs(s, n, 0, SIZE_MAX, true, depth);
    return (beyond & (DOMAIN | FAR)) != 0 ? FAR : 0;
}

static unsigned of_fixed(ox_explain_state *s, const ox_node *n, int depth)
{
    const ox_attr *value = ox_node_attr(n, "value");
    bool log = ox_node_is(n, "Log"), partial = ox_node_is(n, "Div") || ox_node_is(n, "Reciprocal");
    if (value != NULL && value->kind == OX_ATTR_TENSOR && value->tensor != NULL) {
        return of_constant(value->tensor);
    }
    unsigned fixed = of_inputs(s, n, 0, SIZE_MAX, false, depth);
    return log ? FIXED | KNOWN : partial || fixed != 0 ? FIXED | (fixed & KNOWN) : 0;
}

static unsigned beyond_of(ox_explain_state *s, ox_val v, int depth)
{
    ox_side *side = ox_side_of(v);
    if (side->beyond_known) {
        return side->beyond;
    }
    side->beyond_known = true;
    bool real = ox_type_is_float(v->type);
    const ox_const *contents = real ? ox_contents(v) : NULL;
    if (!real) {
        side->beyond = 0;
    } else if (contents != NULL) {
        side->beyond = of_constant(contents);
    } else if (v->node == NULL || side->held) {
        side->beyond = side->varies ? INPUT : FIXED;
    } else if (depth > MAX_DEPTH) {
        side->beyond = FIXED;
    } else if (side->alias != NULL) {
        side->beyond = beyond_of(s, side->alias, depth + 1);
    } else if (v->node->parts != NULL) {
        side->beyond = beyond_of(s, v->node->parts[v->output], depth + 1);
    } else {
        side->beyond = side->varies ? of_varying(s, v->node, depth) : of_fixed(s, v->node, depth);
    }
    side->beyond |= side->is_point && real ? INPUT : 0;
    return side->beyond;
}

/* ---- backwards ------------------------------------------------------------------------------- */

/* What of input i matters behind n, where `wanted` of its outputs does. */
static unsigned carried(const ox_node *n, unsigned wanted)
{
    switch (kind_of(n)) {
    case OX_ROWS: return ox_node_is(n, "LogSoftmax") ? wanted & (MASK | FIXED | KNOWN) : 0;
    case OX_SPREADS: return (wanted & FAR) != 0 ? DOMAIN | FAR : 0;
    default: return wanted;
    }
}

static void want(const ox_node *n)
{
    unsigned wanted = 0;
    for (size_t i = 0; i < n->output_count; i++) {
        ox_side *side = ox_side_of(n->outputs[i]);
        wanted |= side->wanted;
        if (side->alias != NULL) {
            ox_side_of(side->alias)->wanted |= side->wanted;
        }
    }
    if (ox_side_of(n->outputs[0])->decomposed) {
        return;
    }
    wanted = absorbed(n) | carried(n, wanted);
    for (size_t i = 0; wanted != 0 && i < n->input_count; i++) {
        if (n->inputs[i] != NULL) {
            ox_side_of(n->inputs[i])->wanted |= wanted;
        }
    }
}

void ox_beyond_find(ox_explain_state *s)
{
    for (size_t i = s->order->count; i-- > 0;) { /* producers first: nothing nests deeply */
        const ox_node *n = s->order->nodes[i];
        for (size_t k = 0; k < n->output_count; k++) {
            ox_sign_of(s, n->outputs[k]);
            beyond_of(s, n->outputs[k], 0);
        }
    }
    for (size_t i = 0; i < s->order->count; i++) {
        want(s->order->nodes[i]);
    }
}

bool ox_beyond(ox_explain_state *s, ox_val v)
{
    const ox_side *side = ox_side_of(v);
    return side->varies && (beyond_of(s, v, 0) & side->wanted & ALL) != 0;
}

bool ox_beyond_at_all(ox_explain_state *s, ox_val v)
{
    return beyond_of(s, v, 0) != 0;
}

bool ox_beyond_nan(ox_explain_state *s, ox_val v)
{
    return (beyond_of(s, v, 0) & ~(unsigned)(MASK | FIXED | KNOWN)) != 0;
}
