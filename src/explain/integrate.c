/* --integrate: the multipliers of an operator as the mean of its Jacobian along the straight line
 * from reference to sample, at the points and with the weights of Gauss and Legendre.
 *
 * Where both sides are equal every rule is the gradient, so that the Jacobian at a point is the
 * operator's rule with the point as both sides. What the quadrature leaves of m_y dy - sum(m dx) is
 * spread over the inputs; where they cannot take it, the rule stays. */
#include "explain/integrate.h"

#include <assert.h>
#include <float.h>
#include <string.h>

#include "base/names.h"
#include "explain/gauss.h"
#include "explain/standin.h"

/* ---- what can be integrated ---------------------------------------------------------------- */

/* The axes over which the operator is a function of its own, and is made complete. */
typedef enum extent {
    ONE_AXIS,  /* `axis` */
    FROM_AXIS, /* `axis` and those after it */
    SPATIAL    /* all after the channels */
} extent;

typedef struct integrable {
    const char *op;
    extent extent;
    ox_rule gradient; /* NULL: the operator's rule */
} integrable;

/* y = z scale + bias, z = (x - mean)/deviation. m/deviation (g - mean(g) - z mean(g z)), g = m
 * scale. The deviation is y's and x's. */
static void gradient_layer_normalization(ox_ctx *c)
{
    if (ox_varies(c, 1) || ox_varies(c, 2)) {
        ox_rule_fail(c, "its scale or bias depends on the input and cannot be integrated");
    }
    ox_val x = ox_x(c, 0), scale = ox_x(c, 1);
    int64_t axes[OX_MAX_RANK];
    size_t count = 0;
    for (int64_t d = ox_axis(c, -1); d < 0; d++) {
        axes[count++] = d;
    }
    ox_val centred = ox_sub(x, ox_reduce("ReduceMean", x, count, axes, true));
    ox_val variance = ox_reduce("ReduceMean", ox_square(centred), count, axes, true);
    ox_val deviation = ox_sqrt(ox_shift(variance, ox_node_float(c->node, "epsilon", 1e-5F)));
    ox_val z = ox_div(centred, deviation), g = ox_mul(c->m, scale);
    ox_val along = ox_mul(z, ox_reduce("ReduceMean", ox_mul(g, z), count, axes, true));
    g = ox_sub(ox_sub(g, ox_reduce("ReduceMean", g, count, axes, true)), along);
    ox_send(c, 0, ox_div(g, deviation));
}

static const integrable table[] = {
    {"GlobalMaxPool", SPATIAL, NULL},
    {"LayerNormalization", FROM_AXIS, gradient_layer_normalization},
    {"LogSoftmax", ONE_AXIS, NULL},
    {"MaxPool", SPATIAL, NULL},
    {"Softmax", ONE_AXIS, NULL},
};

static const integrable *find(const char *op)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].op, op) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

static const char *table_name(const void *of, size_t index)
{
    (void)of;
    return table[index].op;
}

void ox_integrate_check(const ox_explain_state *s)
{
    const ox_options *o = s->options;
    for (size_t i = 0; i < o->integrate_op_count; i++) {
        if (find(o->integrate_ops[i]) == NULL) {
            ox_fail(s->arena, OX_ARGUMENT,
                    "integrate: operator \"%s\" cannot be integrated, these can: %s",
                    o->integrate_ops[i],
                    ox_names_list(s->arena, table_name, NULL, sizeof table / sizeof *table));
        }
    }
}

bool ox_integrate_wants(const ox_explain_state *s, const ox_node *n)
{
    const ox_options *o = s->options;
    if (n->domain[0] != '\0' || find(n->op) == NULL) {
        return false;
    }
    bool named = o->integrate_op_count == 0;
    for (size_t i = 0; i < o->integrate_op_count; i++) {
        named = named || strcmp(o->integrate_ops[i], n->op) == 0;
    }
    return named;
}

/* ---- points ---------------------------------------------------------------------------------- */

/* The operator at x, [..., own shape], with the axes before its own folded into the batch. */
static ox_val forward(ox_ctx *c, ox_val x)
{
    int own = c->node->inputs[0]->rank, lead = x->rank - own;
    ox_dim *dims = ox_arena_copy(c->g->arena, x->dims + lead, (size_t)own, sizeof *dims);
    for (int d = 0; d < lead; d++) {
        dims[0] = ox_dim_mul(c->g, dims[0], x->dims[d]);
    }
    ox_val folded = ox_reshape(x, own, dims);
    ox_val y = ox_graph_emit(c->g, c->node->op, 1, &folded, c->node->attr_count, c->node->attrs);
    dims = ox_arena_copy(c->g->arena, x->dims, (size_t)x->rank, sizeof *dims);
    memcpy(dims + lead + 1, y->dims + 1, (size_t)(own - 1) * sizeof *dims);
    return ox_reshape(y, x->rank, dims);
}

/* `op`, a reduction, over the axes of the extent, kept. */
static ox_val over(ox_ctx *c, const integrable *how, const char *op, ox_val v)
{
    int own = c->node->inputs[0]->rank;
    int64_t axis = how->extent == SPATIAL ? 2 - own : ox_axis(c, -1);
    int64_t axes[OX_MAX_RANK];
    size_t count = 0;
    for (int64_t d = axis; d < (how->extent == ONE_AXIS ? axis + 1 : 0); d++) {
        axes[count++] = d;
    }
    return ox_reduce(op, v, count, axes, true);
}

static ox_val sum_over(ox_ctx *c, const integrable *how, ox_val v)
{
    return over(c, how, "ReduceSum", v);
}

/* 1 in place of 0. */
static ox_val not_zero(ox_val v)
{
    return ox_add(v, ox_cast(ox_equal(v, ox_number(v, 0)), v->type));
}

/* m_y dy; integers, as in quantised models, are numbers like others. */
static ox_val gained_of(ox_ctx *c)
{
    ox_val y = ox_cast(ox_y(c, 0), c->m->type), y0 = ox_cast(ox_y0(c, 0), c->m->type);
    return ox_mul(c->m, ox_sub(y, y0));
}

/* m + c missing/sum(c dx), missing = m_y dy - sum(m dx), c = abs(m) dx. Softmax and normalisations
 * do not see a constant added to all inputs: there the mean of dx, weighted by abs(m), is taken
 * off, so that c sums to 0, and m + c does not see it either. Where nothing but rounding remains of
 * dx, nothing is added. */
static ox_val completed(ox_ctx *c, const integrable *how, ox_val m, ox_val dx)
{
    double epsilon = m->type == OX_DOUBLE ? DBL_EPSILON : (double)FLT_EPSILON;
    ox_val gained = gained_of(c);
    ox_val missing = ox_sub(sum_over(c, how, gained), sum_over(c, how, ox_mul(m, dx)));
    ox_val size = ox_abs(m), part = ox_mul(size, dx);
    ox_val mean = ox_div(sum_over(c, how, part), not_zero(sum_over(c, how, size)));
    ox_val centred = how->extent == SPATIAL ? dx : ox_sub(dx, mean);
    ox_val change = ox_mul(size, centred), moved = sum_over(c, how, ox_mul(change, centred));
    ox_val rounding = ox_scale(sum_over(c, how, ox_mul(part, dx)), 64 * epsilon * epsilon);
    ox_val share = ox_div(missing, not_zero(ox_add(moved, rounding)));
    return ox_add(m, ox_mul(change, share));
}

/* Masks of -inf would leave nothing of a difference, and its square has to be finite. Below all
 * stand-ins. */
static ox_val finite(ox_val x)
{
    return ox_max(x, ox_number(x, -10 * OX_STANDIN_LEAST));
}

/* What the operator's own rule sends. */
static ox_val by_rule(ox_explain_state *s, ox_ctx *c)
{
    const ox_node *n = c->node;
    ox_rule rule = ox_rule_find(n->domain, n->op)->rule;
    c->sent = ox_arena_alloc(s->arena, n->input_count, sizeof(ox_val));
    if (ox_standin_wants(s, n)) {
        ox_standin_visit(s, c, rule);
    } else {
        rule(c);
    }
    ox_val m = c->sent[0];
    c->sent = NULL;
    return m;
}

/* m, or `rule` where sum(m dx) misses m_y dy by more than rounding: no point has met a step between
 * them, such as that of a mask, and what it amounts to had nowhere to go; or where one logit moves
 * so much farther than another that the others got it. */
static ox_val unless_lost(ox_ctx *c, const integrable *how, ox_val m, ox_val dx, ox_val rule)
{
    double epsilon = m->type == OX_DOUBLE ? DBL_EPSILON : (double)FLT_EPSILON;
    ox_val gained = gained_of(c), given = ox_mul(m, dx);
    ox_val left = ox_sub(sum_over(c, how, gained), sum_over(c, how, given));
    ox_val size = ox_add(sum_over(c, how, ox_abs(gained)), sum_over(c, how, ox_abs(given)));
    ox_val held = ox_binary("LessOrEqual", ox_abs(left), ox_scale(size, 128 * epsilon));
    if (how->extent == ONE_AXIS) {
        ox_val far = ox_sub(over(c, how, "ReduceMax", dx), over(c, how, "ReduceMin", dx));
        held = ox_binary("And", held, ox_binary("Less", far, ox_number(far, 100)));
    }
    return ox_where(held, m, rule); /* of NaN, too */
}

void ox_integrate(ox_explain_state *s, ox_ctx *c)
{
    const integrable *how = find(c->node->op);
    assert(how != NULL);
    ox_rule rule =
        how->gradient != NULL ? how->gradient : ox_rule_find(c->node->domain, c->node->op)->rule;
    int points = s->options->integrate;
    ox_val x = finite(ox_x(c, 0)), x0 = finite(ox_x0(c, 0)), dx = ox_sub(x, x0), m = NULL;
    int i = 0;
    do {
        double at, weight;
        ox_gauss_legendre(i, points, &at, &weight);
        ox_spot here = {.x = ox_add(x0, ox_scale(dx, at))};
        here.y = how->extent == SPATIAL ? forward(c, here.x) : NULL;
        ox_ctx there = *c;
        there.spot = &here;
        rule(&there);
        ox_val term = ox_scale(here.m, weight);
        m = m == NULL ? term : ox_add(m, term);
    } while (++i < points);
    m = completed(c, how, m, dx);
    bool has_rule = how->gradient == NULL;
    ox_send(c, 0, has_rule ? unless_lost(c, how, m, dx, by_rule(s, c)) : m);
}
