/* Slopes of elementwise operators that are made of straight pieces, and what all slopes share.
 * Where both sides lie in the same piece they are exact. */
#include "rules/unary.h"

/* ---- parts ------------------------------------------------------------------------------- */

ox_val ox_one_minus(ox_val a)
{
    return ox_sub(ox_number(a, 1), a);
}

ox_val ox_clip(ox_val x, double least, double greatest)
{
    ox_val in[] = {x, ox_number(x, least), ox_number(x, greatest)};
    return ox_graph_emit(x->graph, "Clip", 3, in, 0, NULL);
}

/* 1 where the condition holds, else 0. */
static ox_val indicator(ox_val condition, ox_val like)
{
    return ox_cast(condition, like->type);
}

/* Of a nondecreasing f that is constant, or itself, in pieces, so that dy has no error but its
 * rounding: |dy|/|dx|, `still` where x == x0. */
static ox_val ratio(ox_val x, ox_val x0, ox_val y, ox_val y0, ox_val still)
{
    ox_val dy = ox_abs(ox_sub(y, y0)), dx = ox_abs(ox_sub(x, x0));
    return ox_div(still == NULL ? dy : ox_add(dy, ox_scale(still, OX_TINY)), ox_shift(dx, OX_TINY));
}

/* ---- straight pieces --------------------------------------------------------------------- */

/* P/(P - M): P is the part above 0 of the two sides and M the part below, of which the tiny number
 * keeps something where both are above. Takes no tensor of the reference but x0. */
ox_val slope_relu(const ox_pair *p)
{
    ox_val above = ox_max(ox_unary("Relu", p->x), p->x0);
    ox_val below = ox_min(ox_min(p->x, ox_number(p->x, -OX_TINY)), p->x0);
    return ox_div(above, ox_sub(above, below));
}

/* The weights of the piece below, abs min(x, 0), and of the piece above, max(x, 0), added up over
 * both sides: where the sides lie in the same piece the other has no weight. */
ox_val slope_leaky_relu(const ox_pair *p)
{
    ox_val up = ox_unary("Relu", p->x), down = ox_unary("Relu", ox_neg(p->x));
    ox_val up0 = ox_unary("Relu", p->x0);
    ox_val down0 = ox_shift(ox_unary("Relu", ox_neg(p->x0)), OX_TINY);
    ox_val weighted = ox_add(ox_add(up, ox_mul(p->a, down)), ox_add(up0, ox_mul(p->a, down0)));
    return ox_div(weighted, ox_add(ox_add(up, down), ox_add(up0, down0)));
}

ox_val slope_abs(const ox_pair *p)
{
    ox_val size0 = ox_shift(ox_abs(p->x0), OX_TINY);
    return ox_div(ox_add(p->x, p->x0), ox_add(ox_abs(p->x), size0));
}

ox_val slope_clip(const ox_pair *p)
{
    ox_val x = p->x;
    ox_val above = indicator(ox_greater(x, p->a), x), below = indicator(ox_less(x, p->b), x);
    return ratio(x, p->x0, p->y, p->y0, ox_mul(above, below));
}

/* alpha times the slope of the cut to [0, 1] of z = alpha x + beta. */
ox_val slope_hard_sigmoid(const ox_pair *p)
{
    ox_val z = ox_add(ox_mul(p->x, p->a), p->b), z0 = ox_add(ox_mul(p->x0, p->a), p->b);
    ox_val y = ox_clip(z, 0, 1), inside = indicator(ox_equal(y, z), z);
    return ox_mul(ratio(z, z0, y, ox_clip(z0, 0, 1), inside), p->a);
}

/* y = x (c + 3)/6, c being x cut to [-3, 3]: (c + 3 + x0 dc/d)/6. */
ox_val slope_hard_swish(const ox_pair *p)
{
    ox_val c = ox_clip(p->x, -3, 3), inside = indicator(ox_equal(c, p->x), p->x);
    ox_val cut = ratio(p->x, p->x0, c, ox_clip(p->x0, -3, 3), inside);
    ox_val height = ox_scale(ox_shift(c, 3), 1.0 / 6);
    return ox_add(height, ox_mul(cut, ox_scale(p->x0, 1.0 / 6)));
}

ox_val slope_step(const ox_pair *p)
{
    return ratio(p->x, p->x0, p->y, p->y0, NULL);
}

/* y = x s with the step s = (x > alpha): s + x0 ds/d. */
ox_val slope_thresholded_relu(const ox_pair *p)
{
    ox_val s = indicator(ox_greater(p->x, p->a), p->x);
    ox_val s0 = indicator(ox_greater(p->x0, p->a), p->x0);
    return ox_add(s, ox_mul(p->x0, ratio(p->x, p->x0, s, s0, NULL)));
}

/* The side of [-lambd, lambd] on which x lies: -1, 0 or 1. */
static ox_val side(ox_val x, ox_val lambd)
{
    return ox_sub(indicator(ox_greater(x, lambd), x), indicator(ox_less(x, ox_neg(lambd)), x));
}

/* y = x s^2 - bias s with the steps s, the side of x: s^2 + (x0 (s + s0) - bias) ds/d. */
ox_val slope_shrink(const ox_pair *p)
{
    ox_val s = side(p->x, p->b), s0 = side(p->x0, p->b);
    ox_val jump = ox_sub(ox_mul(p->x0, ox_add(s, s0)), p->a);
    return ox_add(ox_abs(s), ox_mul(jump, ratio(p->x, p->x0, s, s0, NULL)));
}
