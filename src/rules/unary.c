/* The rule of elementwise operators y = f(x): the multiplier times the slope of f, in one node. */
#include "rules/second.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* ---- the table ------------------------------------------------------------------------------ */

typedef struct parameter {
    const char *name; /* of an attribute, or NULL for an input */
    double otherwise;
} parameter;

typedef struct entry {
    const char *op;
    ox_slope slope;
    bool uses_y;
    int count;
    parameter parameters[2];
} entry;

static const entry entries[] = {
#define KERNEL_FLOW(id, name, y, count, finite, ...) {name, slope_##id, y, count, {__VA_ARGS__}},
#define PLAIN_FLOW KERNEL_FLOW
#include "base/flows.inc"
};

static const entry *entry_of(const char *op)
{
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        if (strcmp(entries[i].op, op) == 0) {
            return &entries[i];
        }
    }
    return NULL;
}

static const entry *find(ox_ctx *c)
{
    const char *op = c->node->op;
    if (strcmp(op, "Gelu") == 0 &&
        strcmp(ox_node_string(c->node, "approximate", "none"), "tanh") == 0) {
        op = "GeluTanh";
    }
    const entry *e = entry_of(op);
    if (e == NULL) {
        ox_rule_fail(c, "it has no slope");
    }
    return e;
}

/* A finite number, as runtimes that compile models trip over infinities. */
static ox_val bounded(ox_val like, double number)
{
    double most = like->type == OX_DOUBLE ? DBL_MAX : (double)FLT_MAX;
    return ox_number(like, fmax(-most, fmin(number, most)));
}

/* The parameter, in the type of `like`: input i where the node has it, else an attribute; a scalar
 * where it has a name. */
static ox_val parameter_value(ox_ctx *c, ox_val like, const parameter *p, size_t i)
{
    if (p->name != NULL && ox_node_input(c->node, i) == NULL) {
        return ox_number(like, ox_node_float(c->node, p->name, p->otherwise));
    }
    if (ox_varies(c, i)) {
        ox_rule_fail(c, "its parameters depend on the explained inputs");
    }
    ox_val given = ox_x(c, i);
    if (given == NULL) {
        return bounded(like, p->otherwise);
    }
    given = ox_cast(given, like->type);
    return p->name == NULL ? given : ox_reshape(given, 0, NULL);
}

/* m * slope; takes m, x, x0[, y, y0][, a][, b]. */
static ox_val unary_body(const ox_val *in, const void *user)
{
    const entry *e = user;
    ox_pair p = {.x = in[1], .x0 = in[2]};
    const ox_val *next = in + 3;
    if (e->uses_y) {
        p.y = *next++;
        p.y0 = *next++;
    }
    p.a = e->count > 0 ? *next++ : NULL;
    p.b = e->count > 1 ? *next++ : NULL;
    return ox_mul(in[0], e->slope(&p));
}

/* How many operands the function of an entry takes. */
static size_t operands(const entry *e)
{
    return (size_t)OX_OPERANDS(e->uses_y, e->count);
}

ox_val ox_flow(const char *name, const ox_val *in)
{
    const entry *e = entry_of(name);
    assert(e != NULL);
    return ox_call(ox_arena_format(in[0]->graph->arena, "%sFlow", name), unary_body, e, operands(e),
                   in);
}

ox_val ox_flow_of(const char *name, ox_val m, const ox_pair *p)
{
    const entry *e = entry_of(name);
    assert(e != NULL);
    ox_val in[7] = {m, p->x, p->x0};
    size_t count = 3;
    if (e->uses_y) {
        in[count++] = p->y;
        in[count++] = p->y0;
    }
    in[count] = p->a;
    in[count + 1] = p->b;
    return ox_flow(name, in);
}

/* (m + m2) * slope; m2 comes last. */
static ox_val unary_sum_body(const ox_val *in, const void *user)
{
    const entry *e = user;
    size_t count = operands(e);
    ox_val summed[7];
    memcpy(summed, in, count * sizeof *summed);
    summed[0] = ox_add(in[0], in[count]);
    return unary_body(summed, e);
}

/* The two terms of the multiplier at hand, where the walk has added up two of its shape. */
static bool split_sum(ox_ctx *c, ox_val terms[2])
{
    const ox_node *n = c->m->node;
    if (c->spot != NULL || n == NULL || n->original || strcmp(n->op, "Add") != 0) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        terms[i] = n->inputs[i];
        if (terms[i]->rank != c->m->rank ||
            !ox_dims_equal(c->m->rank, terms[i]->dims, c->m->dims)) {
            return false;
        }
    }
    return true;
}

/* What an Expand of ours repeats along axes that it has: the sum does so, too. */
static ox_val before_expand(ox_val v)
{
    const ox_node *n = v->node;
    bool ours = n != NULL && !n->original && strcmp(n->op, "Expand") == 0;
    return ours && n->inputs[0]->rank == v->rank ? n->inputs[0] : v;
}

/* The unit of an entry at the node at hand, in the type of V. */
static ox_unit unit_of(ox_ctx *c, const entry *e, ox_val v)
{
    ox_unit u = {.name = e->op, .v = v, .off = ox_off_path(c)};
    u.p = (ox_pair){.x = ox_cast(ox_x(c, 0), v->type), .x0 = ox_cast(ox_x0(c, 0), v->type)};
    u.y = ox_cast(ox_y(c, 0), v->type);
    u.y0 = ox_cast(ox_y0(c, 0), v->type);
    u.p.a = e->count > 0 ? parameter_value(c, v, &e->parameters[0], 1) : NULL;
    u.p.b = e->count > 1 ? parameter_value(c, v, &e->parameters[1], 2) : NULL;
    return u;
}

/* The second order of an entry's function; false where there is none, or no variance. */
static bool send_unit(ox_ctx *c, const entry *e)
{
    ox_val v = ox_variance(c->node->inputs[0]);
    if (v == NULL || !ox_bends(e->op)) {
        return false;
    }
    ox_unit u = unit_of(c, e, ox_cast(v, c->m->type));
    ox_second sent = ox_through_unit(&u, c->m, ox_arrived_second(c));
    ox_send(c, 0, sent.m);
    ox_send_second(c, 0, sent.q);
    return true;
}

ox_val ox_mean_of_unary(ox_ctx *c)
{
    const entry *e = find(c);
    ox_val v = ox_variance(c->node->inputs[0]);
    if (v == NULL || !ox_bends(e->op)) {
        return NULL;
    }
    ox_unit u = unit_of(c, e, v);
    return ox_smooth_value(&u, c->node, ox_cast(ox_mean_of_input(c, 0), v->type));
}

/* The fused node of an entry. */
static void send_slope(ox_ctx *c, const entry *e)
{
    if (c->second && send_unit(c, e)) {
        return;
    }
    ox_take_in(c);
    ox_type type = c->m->type;
    ox_val in[8] = {c->m, ox_cast(ox_x(c, 0), type), ox_cast(ox_x0(c, 0), type)}, terms[2];
    size_t count = 3;
    if (e->uses_y) {
        in[count++] = ox_cast(ox_y(c, 0), type);
        in[count++] = ox_cast(ox_y0(c, 0), type);
    }
    for (int i = 0; i < e->count; i++) {
        in[count++] = parameter_value(c, c->m, &e->parameters[i], (size_t)i + 1);
    }
    bool sum = split_sum(c, terms);
    if (sum) {
        bool first = before_expand(terms[0]) != terms[0];
        in[0] = terms[first];
        in[count++] = before_expand(terms[!first]);
    }
    const char *name = ox_arena_format(c->g->arena, sum ? "%sSumFlow" : "%sFlow", e->op);
    ox_send(c, 0, ox_call(name, sum ? unary_sum_body : unary_body, e, count, in));
}

void flow_unary(ox_ctx *c)
{
    send_slope(c, find(c));
}

/* ---- powers --------------------------------------------------------------------------------- */

static const struct {
    double exponent;
    const char *name; /* in base/flows.inc */
} powers[] = {
    {-1, "Reciprocal"}, {-0.5, "InverseRoot"}, {0.5, "Sqrt"}, {2, "Square"}, {3, "Cube"},
};

double ox_known_scalar(ox_val v)
{
    const ox_const *c = ox_contents(v);
    size_t count = c == NULL ? 0 : ox_const_count(c);
    const double *number = count == 1 ? ox_numbers(v, &count) : NULL;
    return number == NULL ? (double)NAN : *number;
}

void flow_power(ox_ctx *c)
{
    double exponent = ox_known_scalar(ox_node_input(c->node, 1));
    if (exponent == 1) {
        ox_send(c, 0, c->m);
        return;
    }
    const char *name = "Power";
    for (size_t i = 0; i < sizeof powers / sizeof powers[0]; i++) {
        name = powers[i].exponent == exponent ? powers[i].name : name;
    }
    send_slope(c, entry_of(name));
}
