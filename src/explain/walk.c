/* The backward walk: every rule in turn, and what rules see of samples and references. */
#include "explain/walk.h"

#include <string.h>

#include "explain/beyond.h"
#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/method.h"
#include "explain/note.h"
#include "explain/order.h"
#include "explain/rest.h"
#include "explain/result.h"
#include "explain/standin.h"
#include "rules/second.h"
#include "rules/side.h"

/* ---- what rules see of it ---------------------------------------------------------------------
 */

/* v on a side, in its own type. */
static ox_val own_side(ox_explain_state *s, ox_val v, bool reference)
{
    if (s->branch->legs) {
        return ox_leg(s, v, reference);
    }
    if (s->branch->points) {
        return ox_point(s, v);
    }
    return reference ? ox_reference(s, v) : ox_sample(s, v);
}

/* A sample or reference of v in the type of the multipliers, with stand-ins where v needs them. */
static ox_val typed(ox_ctx *c, ox_val v, ox_val seen)
{
    seen = ox_type_is_float(seen->type) ? ox_cast(seen, c->type) : seen;
    return ox_standin(c->sides->state, v, seen, c->stands_in);
}

static ox_val sample_of(ox_ctx *c, ox_val v)
{
    ox_explain_state *s = c->sides->state;
    return typed(c, v, own_side(s, v, false));
}

static ox_val reference_of(ox_ctx *c, ox_val v)
{
    ox_explain_state *s = c->sides->state;
    return typed(c, v, own_side(s, v, true));
}

static ox_val side(ox_ctx *c, ox_val v, ox_seen seen)
{
    ox_explain_state *s = c->sides->state;
    ox_val own = own_side(s, v, seen.reference);
    return seen.stands_in ? ox_standin(s, v, own, false) : own;
}

static ox_val pairs(ox_ctx *c, ox_val v, ox_val variance)
{
    return c->sides->pairs_lead == 0 ? variance : ox_pairs(c->sides->state, v, variance);
}

static ox_val unpairs(ox_ctx *c, ox_val v, ox_val of_pairs)
{
    return c->sides->pairs_lead == 0 ? of_pairs : ox_unpairs(c->sides->state, v, of_pairs);
}

static bool stands_in(ox_ctx *c, ox_val v)
{
    return ox_beyond(c->sides->state, v);
}

static bool own_rule(ox_ctx *c, const ox_node *n)
{
    ox_explain_state *s = c->sides->state;
    bool replaced = s->method->replaces != NULL && s->method->replaces(s, n);
    return !replaced && s->options->order < 2 && !ox_standin_wants(s, n);
}

static bool hole(ox_ctx *c, const char *message)
{
    ox_explain_state *s = c->sides->state;
    if (s->options->force) {
        s->found->holes++;
        ox_note_to(s->options, "completeness is lost at %s: %s", ox_node_label(c->node), message);
    }
    return s->options->force;
}

static void rest(ox_ctx *c, ox_val terms)
{
    ox_rest_add(c->sides->state, c->lead, c->node->outputs[0], terms);
}

/* ---- the walk ------------------------------------------------------------------------------- */

/* The multipliers of a composite node's outputs become those of their aliases. */
static void visit_composite(ox_explain_state *s, const ox_node *n)
{
    for (size_t i = 0; i < n->output_count; i++) {
        const ox_side *from = ox_side_of(n->outputs[i]);
        if (from->m != NULL && from->alias == NULL) {
            ox_fail(s->arena, OX_UNSUPPORTED, "%s: no rule for its output %zu" OX_RUNS_ANY,
                    ox_node_label(n), i);
        }
        if (from->m != NULL) {
            ox_side_add(from->alias, from->m);
        }
        if (from->q != NULL) {
            ox_side_add_second(from->alias, from->q);
        }
    }
}

/* The type that a rule works in: that of the multipliers that arrive. What comes out of a step, as
 * of a comparison, may have a narrower one than what goes in, where differences are taken. */
static ox_type working_type(const ox_node *n)
{
    bool wide = false;
    for (size_t i = 0; i < n->output_count; i++) {
        const ox_side *side = ox_side_of(n->outputs[i]);
        wide = wide || (side->m != NULL && side->m->type == OX_DOUBLE);
    }
    bool step = !ox_type_is_float(n->outputs[0]->type);
    for (size_t i = 0; step && i < n->input_count; i++) {
        ox_val v = n->inputs[i];
        wide = wide || (v != NULL && v->type == OX_DOUBLE && ox_side_of(v)->varies);
    }
    return wide ? OX_DOUBLE : OX_FLOAT;
}

/* ---- the second order ------------------------------------------------------------------------ */

static bool has_own_rule(ox_explain_state *s, const ox_ctx *c, const ox_row *row)
{
    bool replaced = s->method->replaces != NULL && s->method->replaces(s, c->node);
    return !replaced && row != NULL && row->rule != NULL && !ox_standin_wants(s, c->node);
}

/* How the node takes part in it. What has another rule than its own makes new players. */
static ox_role role_of(ox_explain_state *s, ox_ctx *c, const ox_row *row)
{
    return has_own_rule(s, c, row) ? ox_second_role(c, row->rule) : OX_ROLE_NEW_PLAYER;
}

/* What holds the value of v: Rounded stands beside that. */
static ox_val holder_of(ox_val v)
{
    const ox_node *n = v->node;
    bool beside = n != NULL && !n->original && strcmp(n->op, "Rounded") == 0;
    return beside ? n->inputs[1] : v;
}

/* V of a player, (v - v0)^2. As the stand-ins of values beyond numbers are, it stays finite. */
static ox_val square_of_gain(ox_ctx *c, ox_val v)
{
    const ox_node *n = v->node;
    bool relu = n != NULL && strcmp(n->op, "Relu") == 0 && ox_varies(c, 0);
    v = relu ? n->inputs[0] : holder_of(v);
    const ox_val in[] = {ox_floats(c->g, c->type, 0, NULL, (const double[]){1}),
                         ox_cast(sample_of(c, v), c->type), ox_cast(reference_of(c, v), c->type)};
    return ox_flow(relu ? "ReluGainSquare" : "GainSquare", in);
}

/* V of the results of a node. */
static void find_variance(ox_explain_state *s, const ox_sides *sides, ox_node *n)
{
    ox_ctx c = {.g = s->branch->flow, .node = n, .lead = s->branch->lead, .sides = sides};
    bool whole = ox_side_of(n->outputs[0])->decomposed;
    c.type = ox_side_type(n->outputs[0]->type);
    const ox_row *row = ox_rule_find(n->domain, n->op);
    bool linear = !whole && role_of(s, &c, row) == OX_ROLE_LINEAR;
    if (linear) {
        ox_second_forward(&c, row->rule);
    }
    for (size_t k = 0; k < n->output_count; k++) {
        ox_side *side = ox_side_of(n->outputs[k]);
        bool player = !whole && side->variance == NULL && side->varies && n->outputs[k]->rank >= 0;
        if (whole && side->alias != NULL) {
            side->variance = ox_variance(side->alias);
        } else if (player || side->is_point) {
            side->variance = square_of_gain(&c, n->outputs[k]);
        }
        side->mean = whole && side->alias != NULL ? ox_side_of(side->alias)->mean : side->mean;
    }
    if (s->options->order > 2 && !whole && has_own_rule(s, &c, row)) {
        ox_mean_forward(&c, row->rule);
    }
}

/* V of all values that multipliers reach, and of what is explained. */
static void find_variances(ox_explain_state *s, const ox_sides *sides)
{
    for (size_t i = 0; i < s->g->value_count; i++) {
        ox_side *side = s->g->values[i]->side;
        if (side != NULL) {
            side->variance = side->q = side->mean = NULL;
        }
    }
    for (size_t i = 0; i < s->bind->input_count; i++) {
        ox_val x = s->bind->inputs[i].x;
        ox_ctx c = {.g = s->branch->flow, .lead = s->branch->lead, .sides = sides};
        c.type = ox_side_type(x->type);
        ox_val v = square_of_gain(&c, x);
        ox_side_of(x)->variance = v;
        s->branch->pairs = sides->pairs_lead > 0 ? v->dims[0] : ox_dim_of(1);
    }
    for (size_t i = s->order->count; i-- > 0;) {
        find_variance(s, sides, s->order->nodes[i]);
    }
}

/* Makes players of the results: m += Q dy. */
static void take_in(ox_ctx *c)
{
    for (size_t k = 0; k < c->node->output_count; k++) {
        ox_val v = c->node->outputs[k];
        ox_side *side = ox_side_of(v);
        if (side->q != NULL && !side->is_point) {
            ox_type type = side->q->type;
            ox_val held = holder_of(v);
            const ox_val in[] = {side->q, ox_cast(sample_of(c, held), type),
                                 ox_cast(reference_of(c, held), type)};
            ox_side_add(v, ox_flow("Gain", in));
            side->q = NULL;
        }
    }
}

/* The rule in both orders. */
static void visit_twice(ox_explain_state *s, ox_ctx *c, const ox_row *row)
{
    ox_role role = role_of(s, c, row);
    bool any = false;
    c->second = role != OX_ROLE_NEW_PLAYER;
    if (role != OX_ROLE_LINEAR) {
        if (role == OX_ROLE_NEW_PLAYER) {
            take_in(c);
        }
        c->m = ox_m(c, 0);
        return;
    }
    ox_ctx squared = *c;
    squared.squared = true;
    for (size_t k = 0; k < c->node->output_count; k++) {
        any = any || ox_m(&squared, k) != NULL;
    }
    if (any) {
        squared.m = ox_m(&squared, 0);
        row->rule(&squared);
    }
}

static void visit(ox_explain_state *s, const ox_sides *sides, ox_node *n)
{
    ox_side *side = ox_side_of(n->outputs[0]);
    if (side->decomposed) {
        visit_composite(s, n);
        return;
    }
    ox_ctx c = {.g = s->branch->flow, .node = n, .lead = s->branch->lead, .sides = sides};
    c.type = working_type(n);
    bool reached = false;
    for (size_t i = 0; i < n->output_count; i++) {
        reached = reached || ox_m(&c, i) != NULL;
    }
    if (!reached || ox_walk_missing(s, n) != NULL) { /* the latter with force */
        return;
    }
    c.m = ox_m(&c, 0);
    const ox_row *row = ox_rule_find(n->domain, n->op);
    ox_purpose former = ox_graph_enter(s->branch->flow, "onnxexplainer/flow", ox_node_base(n), n);
    if (s->options->order > 1) {
        visit_twice(s, &c, row);
    }
    if (s->method->replaces != NULL && s->method->replaces(s, n)) {
        s->method->replace(s, &c);
    } else if (ox_standin_wants(s, n)) {
        ox_standin_visit(s, &c, row->rule);
    } else {
        row->rule(&c);
    }
    ox_graph_leave(s->branch->flow, former);
}

/* The Softmax whose results are explained, as they are or moved; NULL for none. Behind it nothing
 * sees what one probability takes from the others. */
static const ox_node *softmax_of(ox_explain_state *s)
{
    static const ox_rule moves[] = {flow_identity, flow_reshape, flow_cast,     flow_slice,
                                    flow_gather,   flow_split,   flow_transpose};
    const ox_node *n = ox_maker_of(s->bind->output);
    for (size_t i = 0; n != NULL && i < sizeof moves / sizeof *moves;) {
        const ox_row *row = ox_rule_find(n->domain, n->op);
        ox_rule rule = row == NULL ? NULL : row->rule;
        if (rule == flow_softmax) {
            return ox_beyond(s, n->inputs[0]) ? NULL : n;
        }
        bool on = rule == moves[i];
        n = on ? ox_maker_of(n->inputs[0]) : n;
        i = on ? 0 : i + 1;
    }
    return NULL;
}

void ox_walk(ox_explain_state *s, ox_val seed)
{
    const char *pool = s->options->pool;
    bool second = s->options->order > 1;
    bool by_tree = second || (pool != NULL && strcmp(pool, "tree") == 0);
    bool steps = s->plan->chunk > 0 || s->plan->target_chunk > 0;
    ox_side_of(s->bind->output)->m = seed;
    ox_sides sides = {
        .state = s,
        .sample = sample_of,
        .reference = reference_of,
        .side = side,
        .stands_in = stands_in,
        .own = own_rule,
        .hole = hole,
        .rest = rest,
        .take_in = take_in,
        .pairs = pairs,
        .unpairs = unpairs,
        .pairs_lead = !s->plan->one_at_a_time && !s->branch->legs,
        .kept = !steps && s->plan->cache != OX_CACHE_NONE,
        .pool_tree = by_tree,
        .probabilities = second ? softmax_of(s) : NULL,
        .third = s->options->order > 2,
        .later = s->order->nodes,
        .later_count = s->order->count,
    };
    if (second) {
        find_variances(s, &sides);
    }
    while (sides.later_count > 0) {
        ox_node *n = *sides.later++;
        sides.later_count--;
        visit(s, &sides, n);
    }
}
