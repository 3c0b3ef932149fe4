/* Units of the second order: A is the slope of the function smoothed by what players make of its
 * operand on the way from reference to sample, a normal distribution of variance V/6, and B = (dy -
 * A dx)/V takes what A leaves, so that dy = A dx + B V whatever A is.
 *
 * A is the rescale rule of a smoothed function: of pieces by a box in place of the normal
 * distribution, of tanh and the like by the function of k x, k < 1, else by three points. */
#include "rules/second.h"

#include <string.h>

typedef enum kind { RAMP, LEAKY, ABSOLUTE, CLIPPED, HARD, SCALED, NORMAL, POINTS } bend_kind;

static const struct smoothed {
    const char *name;
    bend_kind kind;
    double spread; /* SCALED: k = 1/sqrt(1 + spread V) */
} table[] = {
    {"Relu", RAMP, 0},
    {"LeakyRelu", LEAKY, 0},
    {"PRelu", LEAKY, 0},
    {"Abs", ABSOLUTE, 0},
    {"Clip", CLIPPED, 0},
    {"HardSigmoid", HARD, 0},
    {"Tanh", SCALED, 0.2617993877991494},     /* pi/2 of V/6 */
    {"Sigmoid", SCALED, 0.06544984694978735}, /* pi/8 */
    {"Softplus", SCALED, 0.06544984694978735},
    {"Erf", SCALED, 1.0 / 3},
    {"Gelu", NORMAL, 0},
    {"GeluTanh", NORMAL, 0},
    {"Swish", POINTS, 0},
    {"Mish", POINTS, 0},
    {"Elu", POINTS, 0},
    {"Selu", POINTS, 0},
    {"Celu", POINTS, 0},
    {"HardSwish", POINTS, 0},
    {"Softsign", POINTS, 0},
};

static const struct smoothed *find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

bool ox_bends(const char *name)
{
    return find(name) != NULL;
}

/* ---- pieces --------------------------------------------------------------------------------- */

/* Of relu(x - least) under a box, `v` with what is rounding. */
static ox_val ramp(const ox_pair *p, ox_val least, ox_val v)
{
    ox_pair above = {.x = p->x, .x0 = p->x0};
    if (least != NULL) {
        above.x = ox_sub(p->x, least);
        above.x0 = ox_sub(p->x0, least);
    }
    return ox_boxed_slope(&above, v);
}

/* Between two bounds. */
static ox_val between(const ox_pair *p, ox_val low, ox_val high, ox_val v)
{
    return ox_sub(ramp(p, low, v), ramp(p, high, v));
}

static ox_val by_pieces(bend_kind kind, const ox_pair *p, ox_val v)
{
    v = ox_and_rounding(p, v);
    if (kind == RAMP) {
        return ramp(p, NULL, v);
    }
    if (kind == CLIPPED) {
        return between(p, p->a, p->b, v);
    }
    if (kind == HARD) { /* clip(a x + b, 0, 1) */
        ox_val low = ox_div(ox_neg(p->b), p->a), high = ox_div(ox_one_minus(p->b), p->a);
        return ox_mul(p->a, between(p, low, high, v));
    }
    ox_val a = ramp(p, NULL, v);
    return kind == ABSOLUTE ? ox_shift(ox_scale(a, 2), -1)
                            : ox_add(p->a, ox_mul(ox_one_minus(p->a), a));
}

/* ---- curves --------------------------------------------------------------------------------- */

/* f of the name at x. */
static ox_val value_of(const char *name, ox_val x, ox_val a)
{
    if (strcmp(name, "Swish") == 0) {
        return ox_mul(x, ox_unary("Sigmoid", a == NULL ? x : ox_mul(a, x)));
    }
    if (strcmp(name, "GeluTanh") == 0) {
        ox_val inner = ox_add(x, ox_scale(ox_mul(x, ox_square(x)), 0.044715));
        ox_val t = ox_tanh(ox_scale(inner, 0.79788456080286536));
        return ox_mul(x, ox_scale(ox_shift(t, 1), 0.5));
    }
    if (strcmp(name, "Mish") == 0) {
        return ox_mul(x, ox_tanh(ox_unary("Softplus", x)));
    }
    if (strcmp(name, "HardSwish") == 0) {
        return ox_mul(x, ox_clip(ox_shift(ox_scale(x, 1.0 / 6), 0.5), 0, 1));
    }
    return ox_unary(name, x);
}

static ox_val slope_at(const char *name, ox_slope slope, const ox_pair *p, ox_val x, ox_val x0)
{
    ox_pair at = {.x = x, .x0 = x0, .a = p->a, .b = p->b};
    if (p->y != NULL) {
        at.y = value_of(name, x, p->a);
        at.y0 = value_of(name, x0, p->a);
    }
    return slope(&at);
}

/* f(k x), k = 1/sqrt(1 + spread V): the probit approximation, exact for Erf. */
static ox_val by_scale(const struct smoothed *s, ox_slope slope, const ox_pair *p, ox_val v)
{
    ox_val k = ox_unary("Reciprocal", ox_sqrt(ox_shift(ox_scale(v, s->spread), 1)));
    ox_val a = slope_at(s->name, slope, p, ox_mul(k, p->x), ox_mul(k, p->x0));
    return strcmp(s->name, "Softplus") == 0 ? a : ox_mul(k, a);
}

/* The mean over x - d, x, x + d, d^2 = V/2. */
static ox_val by_points(const struct smoothed *s, ox_slope slope, const ox_pair *p, ox_val v)
{
    ox_val d = ox_sqrt(ox_shift(ox_scale(v, 0.5), 1e-30));
    ox_val low = slope_at(s->name, slope, p, ox_sub(p->x, d), ox_sub(p->x0, d));
    ox_val high = slope_at(s->name, slope, p, ox_add(p->x, d), ox_add(p->x0, d));
    ox_val middle = slope_at(s->name, slope, p, p->x, p->x0);
    return ox_add(ox_scale(middle, 2.0 / 3), ox_scale(ox_add(low, high), 1.0 / 6));
}

/* Gelu: F(z) = z P(z/t) + (w/t) p(z/t), t^2 = 1 + w, of a normal z with the variance w; its slope
 * in *slope. */
static ox_val smooth_gelu(ox_val z, ox_val w, ox_val *slope)
{
    ox_val t = ox_sqrt(ox_shift(w, 1)), cube = ox_mul(t, ox_square(t));
    ox_val u = ox_div(z, t), half = ox_unary("Erf", ox_scale(u, 0.70710678118654752));
    ox_val below = ox_scale(ox_shift(half, 1), 0.5);
    ox_val density = ox_scale(ox_exp(ox_scale(ox_square(u), -0.5)), 0.3989422804014327);
    *slope = ox_add(below, ox_div(ox_mul(z, density), cube));
    return ox_add(ox_mul(z, below), ox_mul(ox_div(w, t), density));
}

static ox_val by_normal(const ox_pair *p, ox_val v)
{
    ox_val w = ox_scale(v, 1.0 / 6), z[2] = {p->x, p->x0}, f[2], slope[2];
    for (int i = 0; i < 2; i++) {
        f[i] = smooth_gelu(z[i], w, &slope[i]);
    }
    ox_val dz = ox_sub(z[0], z[1]), df = ox_sub(f[0], f[1]);
    ox_val ends = ox_scale(ox_add(slope[0], slope[1]), OX_NEAR / 2);
    return ox_div(ox_add(ox_mul(df, dz), ends), ox_shift(ox_square(dz), OX_NEAR));
}

/* ---- both ----------------------------------------------------------------------------------- */

static ox_val one_like(ox_val v)
{
    return ox_floats(v->graph, v->type, 0, NULL, (const double[]){1});
}

/* The factors of V where it is a product that has been made for it, else V and 1. */
static void factors_of(ox_val v, ox_val factors[2])
{
    const ox_node *n = v->node;
    bool product = n != NULL && !n->original && strcmp(n->op, "Mul") == 0;
    bool thin = product && n->inputs[1]->rank >= 0 && n->inputs[1]->rank < n->inputs[0]->rank;
    factors[0] = thin ? n->inputs[0] : v;
    factors[1] = thin ? n->inputs[1] : one_like(v);
}

/* Both sides moved to where the mean path is, which A is taken of. */
static ox_pair moved(const ox_unit *u)
{
    ox_pair at = u->p;
    if (u->off == NULL) {
        return at;
    }
    at.x = ox_add(at.x, u->off);
    at.x0 = ox_add(at.x0, u->off);
    if (at.y != NULL) {
        at.y = value_of(u->name, at.x, at.a);
        at.y0 = value_of(u->name, at.x0, at.a);
    }
    return at;
}

static ox_bend bend_of_relu(ox_val m, const ox_pair *p, ox_val v)
{
    ox_val of[2];
    factors_of(v, of);
    const ox_val in[] = {m, p->x, p->x0, of[0], of[1]};
    return (ox_bend){ox_flow("ReluSmooth", in), ox_flow("ReluCurve", in)};
}

static ox_bend bend_of_swish(ox_val m, const ox_pair *p, ox_val y, ox_val y0, ox_val v)
{
    const ox_val smooth[] = {one_like(m), p->x, p->x0, p->a, v};
    ox_val a = ox_flow("SwishSmooth", smooth);
    const ox_val curve[] = {m, p->x, p->x0, y, y0, a, v};
    return (ox_bend){ox_mul(m, a), ox_flow("Curve", curve)};
}

ox_bend ox_bend_of(const ox_unit *u, ox_val m)
{
    const struct smoothed *s = find(u->name);
    const ox_pair *p = &u->p, at = moved(u);
    bool erf = p->x->type != OX_DOUBLE; /* ONNX Runtime has none of doubles */
    ox_val v = u->v;
    if (s->kind == RAMP && u->off == NULL) {
        return bend_of_relu(m, p, v);
    }
    if (strcmp(u->name, "Swish") == 0 && u->off == NULL) {
        return bend_of_swish(m, p, u->y, u->y0, v);
    }
    ox_val a = s->kind == SCALED                        ? by_scale(s, u->slope, &at, v)
               : s->kind == NORMAL && erf               ? by_normal(&at, v)
               : s->kind == NORMAL || s->kind == POINTS ? by_points(s, u->slope, &at, v)
                                                        : by_pieces(s->kind, &at, v);
    return (ox_bend){ox_mul(m, ox_settled(p, v, a, u->slope(p))),
                     ox_mul(m, ox_curve(p, v, a, ox_sub(u->y, u->y0)))};
}

ox_bend ox_bend_of_ramp(ox_val t, ox_val t0, ox_val v, ox_val off)
{
    ox_unit u = {.name = "Relu", .slope = slope_relu, .p = {.x = t, .x0 = t0}, .v = v, .off = off};
    if (off != NULL) {
        u.y = ox_unary("Relu", t);
        u.y0 = ox_unary("Relu", t0);
    }
    return ox_bend_of(&u, one_like(t));
}

/* ---- values on the mean path ------------------------------------------------------------------
 */

/* Half the width of a box with the variance V/4. */
static ox_val half_width(ox_val v)
{
    return ox_sqrt(ox_scale(ox_unary("Relu", v), 0.75));
}

/* What a kink at t = 0 of slope 1 adds in the mean: relu(h - abs t)^2/(4h). */
static ox_val rounded_kink(ox_val t, ox_val v)
{
    ox_val h = half_width(v), within = ox_unary("Relu", ox_sub(h, ox_abs(t)));
    return ox_div(ox_square(within), ox_shift(ox_scale(h, 4), 1e-30));
}

static ox_val smooth_ramp(ox_val t, ox_val v)
{
    return ox_add(ox_unary("Relu", t), rounded_kink(t, v));
}

ox_val ox_smooth_extreme(bool max, ox_val a, ox_val b, ox_val v)
{
    ox_val kink = rounded_kink(ox_sub(a, b), v);
    return max ? ox_add(ox_max(a, b), kink) : ox_sub(ox_min(a, b), kink);
}

/* f(k x)/k or f(k x) with V/4. */
static ox_val scaled_value(const struct smoothed *s, ox_val mean, ox_val v)
{
    ox_val k2 =
        ox_shift(ox_scale(ox_unary("Relu", v), 1.5 * s->spread), 1); /* spread is that of V/6 */
    ox_val k = ox_unary("Reciprocal", ox_sqrt(k2)), y = ox_unary(s->name, ox_mul(k, mean));
    return strcmp(s->name, "Softplus") == 0 ? ox_div(y, k) : y;
}

/* f of the unit at x: of its operator, or as others are spelled. */
static ox_val value_at(const ox_unit *u, const ox_node *n, ox_val x)
{
    if (strcmp(u->name, "Clip") == 0) {
        return ox_min(ox_max(x, u->p.a), u->p.b);
    }
    bool own = strcmp(n->op, u->name) == 0 && n->input_count == 1 && n->attr_count > 0;
    return own ? ox_graph_emit(x->graph, n->op, 1, &x, n->attr_count, n->attrs)
               : value_of(strcmp(u->name, "Gelu") == 0 ? "GeluTanh" : u->name, x, u->p.a);
}

/* By three points, d^2 = 3 V/4. */
static ox_val value_by_points(const ox_unit *u, const ox_node *n, ox_val mean)
{
    ox_val d = half_width(u->v), at[] = {ox_sub(mean, d), mean, ox_add(mean, d)}, y[3];
    for (int i = 0; i < 3; i++) {
        y[i] = value_at(u, n, at[i]);
    }
    return ox_add(ox_scale(y[1], 2.0 / 3), ox_scale(ox_add(y[0], y[2]), 1.0 / 6));
}

ox_val ox_smooth_value(const ox_unit *u, const ox_node *n, ox_val mean)
{
    const struct smoothed *s = find(u->name);
    ox_val a = u->p.a, b = u->p.b, v = u->v, low, high;
    switch (s->kind) {
    case RAMP: return smooth_ramp(mean, v);
    case LEAKY: return ox_add(ox_mul(a, mean), ox_mul(ox_one_minus(a), smooth_ramp(mean, v)));
    case ABSOLUTE: return ox_sub(ox_scale(smooth_ramp(mean, v), 2), mean);
    case HARD:
        low = ox_add(mean, ox_div(b, a));
        high = ox_add(mean, ox_div(ox_shift(b, -1), a));
        return ox_mul(a, ox_sub(smooth_ramp(low, v), smooth_ramp(high, v)));
    case SCALED: return scaled_value(s, mean, v);
    case NORMAL:
        return mean->type == OX_DOUBLE
                   ? value_by_points(u, n, mean)
                   : smooth_gelu(mean, ox_scale(ox_unary("Relu", v), 0.25), &low);
    default: return value_by_points(u, n, mean);
    }
}
