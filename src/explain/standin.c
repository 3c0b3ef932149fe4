/* Numbers in place of what is infinite, NaN or as low as the masks of attention.
 *
 * Let S(v) be v where abs v is below L = 1e15. Beyond that, in rising order: a finite number
 * between L and 2L, an infinity 5L, NaN 8L. Rules, and the last product m (x - x0), see S(v) in
 * place of v, on both sides and at both ends of each value, so that differences are finite and
 * what an operator sends meets the same difference at its producer. L is far above what it is
 * added to or compared with, so that rounding S(a + b) - S(a) is within that of the sum, and far
 * enough below the largest number for multipliers, effects divided by L, not to vanish.
 *
 * Operators that move or choose values, and maxima, do to S(x) what they do to x. For elementwise
 * ones y~ = S(f(x)) is not f(S(x)), and their slopes may not exist: where an operand or the result
 * is beyond numbers on a side, each operand gets m dy~ sign(d)/sum(abs d), the rescale rule. Rows
 * of softmax that are masked as a whole on a side give sum(m dy~) to their logits in the same way:
 * the rule would give shares of the shift by L, which cancel. */
#include "explain/standin.h"

#include <float.h>
#include <math.h>

#include "explain/beyond.h"
#include "explain/bind.h"
#include "rules/product.h"
#include "rules/unary.h"

static const double infinite = 4, missing = 8; /* in units of OX_STANDIN_LEAST */

/* ---- values ---------------------------------------------------------------------------------- */

static ox_val number_for(ox_val v, bool nan)
{
    const double least = OX_STANDIN_LEAST;
    ox_val small = ox_clip(v, -least, least), scaled = ox_scale(v, least / (double)FLT_MAX);
    ox_val number = ox_add(small, ox_clip(scaled, -infinite * least, infinite * least));
    ox_val gone = nan ? ox_unary("IsNaN", v) : NULL;
    return nan ? ox_where(gone, ox_number(v, missing * least), number) : number;
}

ox_val ox_standin(ox_explain_state *s, ox_val v, ox_val seen, bool always)
{
    bool real = seen->type == OX_FLOAT || seen->type == OX_DOUBLE;
    bool needed = real && (ox_beyond(s, v) || (always && ox_beyond_at_all(s, v)));
    return needed ? number_for(seen, ox_beyond_nan(s, v)) : seen;
}

/* Where v is `level` times OX_STANDIN_LEAST or more. */
static ox_val at_least(ox_val v, double level)
{
    return ox_binary("GreaterOrEqual", v, ox_number(v, level * OX_STANDIN_LEAST));
}

/* ---- references ------------------------------------------------------------------------------ */

/* "[3,2]" */
static const char *place(ox_arena *a, const ox_tensor *t, size_t at)
{
    const char *text = "]";
    for (int d = t->rank; d-- > 0;) {
        size_t size = (size_t)t->dims[d];
        text = ox_arena_format(a, "%s%zu%s", d > 0 ? "," : "[", at % size, text);
        at /= size;
    }
    return text;
}

static void check_finite(ox_explain_state *s, const ox_explained *e)
{
    const ox_tensor *t = e->given;
    ox_const c = {.type = t->type, .data = t->data};
    size_t count = 1; /* known to fit */
    for (int d = 0; d < t->rank; d++) {
        count *= (size_t)t->dims[d];
    }
    for (size_t i = 0; i < count; i++) {
        double number = ox_const_double(&c, i);
        if (!isfinite(number)) {
            ox_fail(s->arena, OX_ARGUMENT,
                    "references for \"%s\" hold %s at %s, and the model computes with it",
                    e->x->name, isnan(number) ? "NaN" : "an infinity", place(s->arena, t, i));
        }
    }
}

void ox_standin_check(ox_explain_state *s)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        const ox_explained *e = &s->bind->inputs[i];
        bool real = e->given != NULL && e->given->data != NULL && /* NULL: inspecting */
                    ox_type_is_float(e->given->type);
        if (real && !ox_beyond(s, e->x)) {
            check_finite(s, e);
        }
    }
}

/* ---- rules ----------------------------------------------------------------------------------- */

bool ox_standin_wants(ox_explain_state *s, const ox_node *n)
{
    bool wants = ox_beyond(s, n->outputs[0]);
    for (size_t i = 0; i < n->input_count; i++) {
        wants = wants || (n->inputs[i] != NULL && ox_beyond(s, n->inputs[i]));
    }
    return wants;
}

/* The sum of v over the rows of a softmax, v itself of elementwise operators. */
static ox_val over_rows(ox_ctx *c, ox_val v)
{
    return ox_beyond_is_rows(c->node) ? ox_sum(v, ox_axis(c, -1), true) : v;
}

/* What one operator is made of: its differences, where it is beyond numbers, and m dy. */
typedef struct change {
    ox_val *d;    /* of each operand that varies, else NULL */
    ox_val total; /* sum(abs d) */
    ox_val beyond;
    ox_val gain;
} change;

/* The larger of abs x and abs x0, where v may be beyond numbers. */
static ox_val size_of(ox_explain_state *s, ox_val v, ox_val x, ox_val x0, ox_val before)
{
    if (!ox_beyond(s, v)) {
        return before;
    }
    ox_val size = ox_max(ox_abs(x), ox_abs(x0));
    return before == NULL ? size : ox_max(before, size);
}

/* Minus the largest logit of each row of both sides: what it is masked by where all are. */
static ox_val row_mask(ox_ctx *c, ox_val x, ox_val x0)
{
    int64_t axis = ox_axis(c, -1);
    return ox_neg(ox_min(ox_reduce("ReduceMax", x, 1, &axis, true),
                         ox_reduce("ReduceMax", x0, 1, &axis, true)));
}

/* Rows that are masked as a whole on a side, or NaN. */
static ox_val masked_rows(ox_explain_state *s, ox_ctx *c, ox_val mask, ox_val y, ox_val y0)
{
    ox_val size = size_of(s, c->node->outputs[0], y, y0, NULL), masked = at_least(mask, 1);
    return size == NULL ? masked : ox_binary("Or", masked, at_least(size, missing));
}

static change change_of(ox_explain_state *s, ox_ctx *c)
{
    const ox_node *n = c->node;
    ox_type type = c->m->type;
    bool rows = ox_beyond_is_rows(n);
    change is = {.d = ox_arena_alloc(s->arena, n->input_count, sizeof(ox_val))};
    ox_val size = NULL, y = ox_cast(ox_y(c, 0), type), y0 = ox_cast(ox_y0(c, 0), type);
    for (size_t i = 0; i < n->input_count; i++) {
        if (!ox_varies(c, i)) {
            continue;
        }
        ox_val x = ox_cast(ox_x(c, i), type), x0 = ox_cast(ox_x0(c, i), type);
        ox_val part = ox_abs(is.d[i] = ox_sub(x, x0));
        is.total = is.total == NULL ? part : ox_add(is.total, part);
        size = rows ? row_mask(c, x, x0) : size_of(s, n->inputs[i], x, x0, size);
    }
    is.beyond =
        rows ? masked_rows(s, c, size, y, y0) : at_least(size_of(s, n->outputs[0], y, y0, size), 1);
    is.total = ox_shift(over_rows(c, is.total), OX_TINY);
    is.gain = over_rows(c, ox_mul(c->m, ox_sub(y, y0)));
    return is;
}

void ox_standin_visit(ox_explain_state *s, ox_ctx *c, ox_rule rule)
{
    const ox_node *n = c->node;
    c->stands_in = true;
    if (!ox_beyond_is_rows(n) && !ox_beyond_is_elementwise(n)) {
        rule(c);
        return;
    }
    ox_val *taken = c->sent, *sent = ox_arena_alloc(s->arena, n->input_count, sizeof(ox_val));
    c->sent = sent;
    rule(c);
    c->sent = taken;
    change is = change_of(s, c);
    ox_val share = ox_div(is.gain, is.total);
    for (size_t i = 0; i < n->input_count; i++) {
        if (is.d[i] != NULL) {
            ox_val other = ox_mul(share, ox_unary("Sign", is.d[i]));
            ox_val own = sent[i] == NULL ? ox_number(other, 0) : sent[i];
            ox_send(c, i, ox_where(is.beyond, other, own));
        }
    }
}
