/* Units of the second order: A is the slope of the function smoothed by what players make of its
 * operand on the way from reference to sample, a normal distribution of variance V/6, and B = (dy -
 * A dx)/V takes what A leaves, so that dy = A dx + B V whatever A is.
 *
 * A is the rescale rule of a smoothed function: of pieces by a box in place of the normal
 * distribution, of tanh and the like by the function of k x, k < 1, else by three points. */
#include "rules/second.h"

#include <string.h>

typedef enum kind { RAMP, LEAKY, ABSOLUTE, CLIPPED, HARD, SCALED, ERROR, NORMAL, POINTS } bend_kind;

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

/* Gelu: F(z) = z P(z/t) + (w/t) p(z/t), t^2 = 1 + w, w = V/6. */
static ox_val by_normal(const ox_pair *p, ox_val v)
{
    ox_val w = ox_scale(v, 1.0 / 6), t = ox_sqrt(ox_shift(w, 1)), z[2] = {p->x, p->x0};
    ox_val f[2], slope[2], cube = ox_mul(t, ox_square(t));
    for (int i = 0; i < 2; i++) {
        ox_val u = ox_div(z[i], t), half = ox_unary("Erf", ox_scale(u, 0.70710678118654752));
        ox_val below = ox_scale(ox_shift(half, 1), 0.5);
        ox_val density = ox_scale(ox_exp(ox_scale(ox_square(u), -0.5)), 0.3989422804014327);
        f[i] = ox_add(ox_mul(z[i], below), ox_mul(ox_div(w, t), density));
        slope[i] = ox_add(below, ox_div(ox_mul(z[i], density), cube));
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

ox_bend ox_bend_of(const char *name, ox_slope slope, ox_val m, const ox_pair *p, ox_val y,
                   ox_val y0, ox_val v)
{
    const struct smoothed *s = find(name);
    bool erf = p->x->type != OX_DOUBLE; /* ONNX Runtime has none of doubles */
    if (s->kind == RAMP) {
        return bend_of_relu(m, p, v);
    }
    if (strcmp(name, "Swish") == 0) {
        return bend_of_swish(m, p, y, y0, v);
    }
    ox_val a = s->kind == SCALED                        ? by_scale(s, slope, p, v)
               : s->kind == NORMAL && erf               ? by_normal(p, v)
               : s->kind == NORMAL || s->kind == POINTS ? by_points(s, slope, p, v)
                                                        : by_pieces(s->kind, p, v);
    return (ox_bend){ox_mul(m, ox_settled(p, v, a, slope(p))),
                     ox_mul(m, ox_curve(p, v, a, ox_sub(y, y0)))};
}

ox_bend ox_bend_of_ramp(ox_val t, ox_val t0, ox_val v)
{
    const ox_pair p = {.x = t, .x0 = t0};
    return bend_of_relu(one_like(t), &p, v);
}
