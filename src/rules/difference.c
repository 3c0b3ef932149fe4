/* Differences, looked for where they are exact. */
#include "rules/difference.h"

#include <string.h>

#include "rules/product.h"

/* How far back: what is made of many steps has one rounding more for each in any case. */
enum { DEPTH = 32 };

static ox_val difference(ox_ctx *c, ox_val v, int depth);

/* Of the two sides as they are, with stand-ins. */
static ox_val plain(ox_ctx *c, ox_val v)
{
    ox_val x = ox_side_view(c, v, (ox_seen){false, true});
    ox_val x0 = ox_side_view(c, v, (ox_seen){true, true});
    if (x->type != OX_FLOAT && x->type != OX_DOUBLE) {
        x = ox_cast(x, c->type);
        x0 = ox_cast(x0, c->type);
    }
    return ox_sub(x, x0);
}

static bool is_real(ox_val v)
{
    return v->type == OX_FLOAT || v->type == OX_DOUBLE;
}

/* Whether input i alone varies, and has the shape of the result. */
static bool is_alone(const ox_node *n, size_t i)
{
    ox_val u = ox_node_input(n, i), y = n->outputs[0];
    bool same = u != NULL && is_real(u) && is_real(y) && u->rank >= 0 && u->rank == y->rank &&
                ox_dims_equal(u->rank, u->dims, y->dims);
    for (size_t k = 0; same && k < n->input_count; k++) {
        same = ox_input_varies(n, k) == (k == i);
    }
    return same;
}

/* A factor or divisor that does not vary, as the rule takes it. */
static ox_val factor(ox_ctx *c, ox_val v, ox_type type)
{
    return ox_cast(ox_side_view(c, v, (ox_seen){false, false}), type);
}

/* Where u is a stand-in on a side, the multiplier meets what that makes of v. */
static ox_val unless_beyond(ox_ctx *c, const ox_node *n, ox_val u, ox_val d_of_u, ox_val passed)
{
    if (!c->sides->stands_in(c, u) && !c->sides->stands_in(c, n->outputs[0])) {
        return passed;
    }
    ox_val size = ox_abs(d_of_u), least = ox_number(size, OX_STANDIN_LEAST / 2);
    ox_val far = ox_binary("GreaterOrEqual", size, least);
    return ox_where(far, ox_cast(plain(c, n->outputs[0]), passed->type), passed);
}

/* y = u a + b and the like, u being input i. */
static ox_val of_linear(ox_ctx *c, const ox_node *n, size_t i, int depth)
{
    ox_val d = difference(c, n->inputs[i], depth), passed = d;
    if (ox_node_is(n, "Mul")) {
        passed = ox_mul(d, factor(c, n->inputs[1 - i], d->type));
    } else if (ox_node_is(n, "Div")) {
        passed = ox_div(d, factor(c, n->inputs[1], d->type));
    } else if (ox_node_is(n, "Sub") && i == 1) {
        passed = ox_neg(d);
    } else if (strcmp(n->op, "Scaler") == 0) {
        ox_val scale = ox_scaler_scale(n, c->g, d->type);
        passed = scale == NULL ? d : ox_mul(d, scale);
    }
    passed = ox_cast(passed, n->outputs[0]->type);
    return unless_beyond(c, n, n->inputs[i], d, passed);
}

static bool is_linear(const ox_node *n, size_t *i)
{
    bool scaler = strcmp(n->domain, "ai.onnx.ml") == 0 && strcmp(n->op, "Scaler") == 0;
    bool either = ox_node_is(n, "Add") || ox_node_is(n, "Mul") || ox_node_is(n, "Sub");
    *i = either && n->input_count == 2 && !ox_input_varies(n, 0) ? 1 : 0;
    return (scaler || either || ox_node_is(n, "Div")) && is_alone(n, *i);
}

/* The parts that vary, in the type of the result. */
static ox_val of_concat(ox_ctx *c, const ox_node *n, int depth)
{
    ox_val y = n->outputs[0], whole = plain(c, y);
    ox_val *parts = ox_arena_alloc(c->g->arena, n->input_count, sizeof *parts);
    int lead = whole->rank - y->rank;
    for (size_t i = 0; i < n->input_count; i++) {
        ox_val d = difference(c, n->inputs[i], depth);
        ox_dim dims[OX_MAX_RANK];
        memcpy(dims, whole->dims, (size_t)lead * sizeof *dims);
        memcpy(dims + lead, n->inputs[i]->dims, (size_t)y->rank * sizeof *dims);
        parts[i] = ox_expand(ox_cast(d, whole->type), whole->rank, dims);
    }
    int axis = ox_axis_front(ox_node_int(n, "axis", 0), y->rank);
    return ox_concat(c->g, n->input_count, parts, axis - y->rank);
}

static bool is_concat(const ox_node *n)
{
    bool known = ox_node_is(n, "Concat") && n->outputs[0]->rank > 0;
    for (size_t i = 0; known && i < n->input_count; i++) {
        known = is_real(n->inputs[i]) && n->inputs[i]->rank == n->outputs[0]->rank;
    }
    return known;
}

static ox_val difference(ox_ctx *c, ox_val v, int depth)
{
    const ox_node *n = ox_maker_of(v);
    size_t i;
    if (n == NULL || depth == 0 || ox_is_point(v) || !is_real(v)) {
        return plain(c, v);
    }
    if (is_linear(n, &i)) {
        return of_linear(c, n, i, depth - 1);
    }
    if (is_concat(n)) {
        return of_concat(c, n, depth - 1);
    }
    bool same = ox_node_is(n, "Identity") || (ox_node_is(n, "Cast") && is_real(n->inputs[0]));
    return same ? difference(c, n->inputs[0], depth - 1) : plain(c, v);
}

ox_val ox_difference(ox_ctx *c, ox_val v)
{
    return difference(c, v, DEPTH);
}
