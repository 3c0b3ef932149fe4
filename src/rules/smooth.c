/* Units of the second order: A is the slope of the function smoothed by what players make of its
 * operand on the way from reference to sample, a normal distribution of variance V/6, and B = (dy -
 * A dx)/V takes what A leaves, so that dy = A dx + B V whatever A is.
 *
 * A is the rescale rule of a smoothed function: of pieces by a box in place of the normal
 * distribution, of tanh and the like by the function of k x, k < 1, else by three points. Those
 * that have a kernel stand in units.inc, the others here. */
#include "rules/second.h"

#include <assert.h>
#include <string.h>

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

/* ---- those that are no kernels -------------------------------------------------------------- */

static ox_val gain(const ox_pair *p)
{
    return ox_sub(p->y, p->y0);
}

/* 1/sqrt(1 + spread V) */
static ox_val shrinkage(ox_val v, double spread)
{
    return ox_unary("Reciprocal", ox_sqrt(ox_shift(ox_scale(v, spread), 1)));
}

/* Of pi/2 and pi/8 of V/6, and exactly. */
#define SPREAD_TANH 0.2617993877991494
#define SPREAD_SIGMOID 0.06544984694978735
#define SPREAD_ERF (1.0 / 3)

/* E f(x) is f(k x), exactly. */
static ox_smoothed unit_erf(const ox_pair *p, ox_val v)
{
    ox_val k = shrinkage(v, SPREAD_ERF), x = ox_mul(k, p->x), x0 = ox_mul(k, p->x0);
    ox_pair at = {.x = x, .x0 = x0, .y = ox_unary("Erf", x), .y0 = ox_unary("Erf", x0)};
    return ox_unit_by_slope(p, v, ox_mul(k, slope_erf(&at)), gain(p));
}

/* As its derivative, a sigmoid: f(k x)/k. */
static ox_smoothed unit_softplus(const ox_pair *p, ox_val v)
{
    ox_val k = shrinkage(v, SPREAD_SIGMOID), x = ox_mul(k, p->x), x0 = ox_mul(k, p->x0);
    ox_pair at = {.x = x, .x0 = x0};
    at.y = ox_unary("Softplus", x);
    at.y0 = ox_unary("Softplus", x0);
    return ox_unit_by_slope(p, v, slope_softplus(&at), gain(p));
}

/* The mean over x - d, x, x + d, d^2 = V/2, of the slope of the function of this name. */
static ox_smoothed by_points(const ox_pair *p, ox_val v, const char *name, ox_slope slope)
{
    ox_val d = ox_sqrt(ox_shift(ox_scale(v, 0.5), 1e-30)), at[3];
    for (int i = 0; i < 3; i++) {
        ox_pair q = {.x = p->x, .x0 = p->x0};
        if (i != 0) {
            q.x = i == 1 ? ox_sub(p->x, d) : ox_add(p->x, d);
            q.x0 = i == 1 ? ox_sub(p->x0, d) : ox_add(p->x0, d);
        }
        q.y = value_of(name, q.x, NULL);
        q.y0 = value_of(name, q.x0, NULL);
        at[i] = slope(&q);
    }
    ox_val ends = ox_scale(ox_add(at[1], at[2]), 1.0 / 6);
    return ox_unit_by_slope(p, v, ox_add(ox_scale(at[0], 2.0 / 3), ends), gain(p));
}

static ox_smoothed unit_mish(const ox_pair *p, ox_val v)
{
    return by_points(p, v, "Mish", slope_mish);
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

static ox_val slope_by_normal(const ox_pair *p, ox_val v)
{
    ox_val w = ox_scale(v, 1.0 / 6), z[2] = {p->x, p->x0}, f[2], slope[2];
    for (int i = 0; i < 2; i++) {
        f[i] = smooth_gelu(z[i], w, &slope[i]);
    }
    ox_val dz = ox_sub(z[0], z[1]), df = ox_sub(f[0], f[1]);
    ox_val ends = ox_scale(ox_add(slope[0], slope[1]), OX_NEAR / 2);
    return ox_div(ox_add(ox_mul(df, dz), ends), ox_shift(ox_square(dz), OX_NEAR));
}

/* ONNX Runtime has no Erf of doubles. */
static ox_smoothed unit_gelu(const ox_pair *p, ox_val v)
{
    return p->x->type == OX_DOUBLE ? by_points(p, v, "Gelu", slope_gelu)
                                   : ox_unit_by_slope(p, v, slope_by_normal(p, v), gain(p));
}

static ox_smoothed unit_gelu_tanh(const ox_pair *p, ox_val v)
{
    return p->x->type == OX_DOUBLE ? by_points(p, v, "GeluTanh", slope_gelu_tanh)
                                   : ox_unit_by_slope(p, v, slope_by_normal(p, v), gain(p));
}

/* ---- all --------------------------------------------------------------------------------------
 */

typedef struct smoothed {
    const char *name;
    ox_smoothed (*unit)(const ox_pair *p, ox_val v);
    bool uses_y;
    int count;
} smoothed;

static const smoothed table[] = {
#define ROW(id, name, y, count) {name, unit_##id, y, count},
    OX_UNITS(ROW) OX_PLAIN_UNITS(ROW)};

static const smoothed *find(const char *name)
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

/* Takes m, Q as two factors, x, x0[, y, y0], V as two factors[, a][, b]; `more` NULL, or what is
 * added to m and to Q. */
static void through(const smoothed *s, const ox_val *in, const ox_val *more, ox_val *out)
{
    ox_pair p = {.x = in[3], .x0 = in[4]};
    const ox_val *next = in + 5;
    if (s->uses_y) {
        p.y = *next++;
        p.y0 = *next++;
    }
    ox_val v = ox_mul(next[0], next[1]);
    p.a = s->count > 0 ? next[2] : NULL;
    p.b = s->count > 1 ? next[3] : NULL;
    ox_val m = in[0], q = ox_mul(in[1], in[2]);
    if (more != NULL) {
        m = ox_add(m, more[0]);
        q = ox_add(q, more[1]);
    }
    ox_second sent = ox_unit_flows(&p, m, q, s->unit(&p, v));
    out[0] = sent.m;
    out[1] = sent.q;
}

static void unit_body(const ox_val *in, ox_val *out, const void *user)
{
    through(user, in, NULL, out);
}

static void sum_unit_body(const ox_val *in, ox_val *out, const void *user)
{
    const smoothed *s = user;
    through(s, in, in + OX_UNIT_OPERANDS(s->uses_y, s->count), out);
}

static ox_val scalar_like(ox_val v, double number)
{
    return ox_floats(v->graph, v->type, 0, NULL, &number);
}

/* The factors of v where it is a product that has been made for it, else v and 1. */
static void factors_of(ox_val v, ox_val factors[2])
{
    bool thin = ox_is_thin_product(v);
    factors[0] = thin ? v->node->inputs[0] : v;
    factors[1] = thin ? v->node->inputs[1] : scalar_like(v, 1);
}

/* Of the third order both sides are moved to where the mean path is, of which A is taken; a unit
 * that finds dy by x and x0 has another there that does not, or none. */
static const smoothed *find_off(const ox_unit *u)
{
    const smoothed *s = find(u->name);
    return u->off == NULL || s->uses_y ? s : strcmp(u->name, "Relu") == 0 ? find("ReluOff") : NULL;
}

/* Node by node. */
static ox_second written_out(const ox_unit *u, const ox_pair *at, ox_val m, ox_val q)
{
    ox_smoothed s = find(u->name)->unit(at, u->v);
    s.dy = ox_sub(u->y, u->y0);
    return ox_unit_flows(at, m, q, s);
}

ox_second ox_through_unit(const ox_unit *u, ox_val m, ox_val q)
{
    const smoothed *s = find_off(u);
    ox_pair at = u->p;
    if (u->off != NULL) {
        ox_val off = ox_sure_off(&u->p, u->v, u->off);
        at.x = ox_add(at.x, off);
        at.x0 = ox_add(at.x0, off);
    }
    q = q == NULL ? scalar_like(m, 0) : q;
    if (s == NULL) {
        return written_out(u, &at, m, q);
    }
    ox_val in[13] = {m}, more[2] = {NULL, NULL}, out[2];
    bool sum = ox_split_thin(m, &in[0], &more[0]), sum2 = ox_split_thin(q, &q, &more[1]);
    size_t count = 3;
    factors_of(q, in + 1);
    in[count++] = at.x;
    in[count++] = at.x0;
    if (s->uses_y) {
        in[count++] = u->y;
        in[count++] = u->y0;
    }
    factors_of(u->v, in + count);
    count += 2;
    if (s->count > 0) {
        in[count++] = at.a;
    }
    if (s->count > 1) {
        in[count++] = at.b;
    }
    for (int i = 0; i < 2 && (sum || sum2); i++) {
        in[count++] = more[i] != NULL ? more[i] : scalar_like(m, 0);
    }
    const char *end = sum || sum2 ? "SumUnit" : "Unit";
    ox_call_pair(ox_arena_format(m->graph->arena, "%s%s", s->name, end),
                 sum || sum2 ? sum_unit_body : unit_body, s, count, in, out);
    return (ox_second){out[0], out[1]};
}

ox_second ox_bend_of_ramp(ox_val t, ox_val t0, ox_val v, ox_val off)
{
    ox_unit u = {.name = "Relu", .p = {.x = t, .x0 = t0}, .v = v, .off = off};
    if (off != NULL) {
        u.y = ox_unary("Relu", t);
        u.y0 = ox_unary("Relu", t0);
    }
    return ox_through_unit(&u, scalar_like(t, 1), NULL);
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

/* f(k x)/k or f(k x) with V/4, where `spread` is that of V/6. */
static ox_val scaled_value(const char *name, double spread, ox_val mean, ox_val v)
{
    ox_val k = shrinkage(ox_unary("Relu", v), 1.5 * spread), y = ox_unary(name, ox_mul(k, mean));
    return strcmp(name, "Softplus") == 0 ? ox_div(y, k) : y;
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

/* a (x + b) cut to [0, 1], b being what alpha and beta make of it. */
static ox_val smooth_step(const ox_unit *u, ox_val mean)
{
    ox_val a = u->p.a, low = ox_add(mean, ox_div(u->p.b, a));
    ox_val high = ox_add(mean, ox_div(ox_shift(u->p.b, -1), a));
    return ox_mul(a, ox_sub(smooth_ramp(low, u->v), smooth_ramp(high, u->v)));
}

ox_val ox_smooth_value(const ox_unit *u, const ox_node *n, ox_val mean)
{
    static const struct {
        const char *name;
        double spread;
    } scaled[] = {{"Tanh", SPREAD_TANH},
                  {"Sigmoid", SPREAD_SIGMOID},
                  {"Softplus", SPREAD_SIGMOID},
                  {"Erf", SPREAD_ERF}};
    ox_val v = u->v, a = u->p.a, slope;
    for (size_t i = 0; i < sizeof scaled / sizeof *scaled; i++) {
        if (strcmp(u->name, scaled[i].name) == 0) {
            return scaled_value(u->name, scaled[i].spread, mean, v);
        }
    }
    if (strcmp(u->name, "Relu") == 0) {
        return smooth_ramp(mean, v);
    }
    if (strcmp(u->name, "LeakyRelu") == 0 || strcmp(u->name, "PRelu") == 0) {
        return ox_add(ox_mul(a, mean), ox_mul(ox_one_minus(a), smooth_ramp(mean, v)));
    }
    if (strcmp(u->name, "Abs") == 0) {
        return ox_sub(ox_scale(smooth_ramp(mean, v), 2), mean);
    }
    if (strcmp(u->name, "HardSigmoid") == 0) {
        return smooth_step(u, mean);
    }
    bool gelu = strncmp(u->name, "Gelu", 4) == 0 && mean->type != OX_DOUBLE;
    return gelu ? smooth_gelu(mean, ox_scale(ox_unary("Relu", v), 0.25), &slope)
                : value_by_points(u, n, mean);
}
