/* The backward walk: every rule in turn; and the functions through which rules see samples,
 * references and multipliers. */
#include <string.h>

#include "explain/explain.h"

/* ---- what is known of values -------------------------------------------------------------- */

/* Shape, Size and EyeLike say the same for sample and reference, whatever the data; and no data go
 * into random numbers. */
bool ox_walk_only_shape(const ox_node *n)
{
    bool shape = n->domain[0] == '\0' && (strcmp(n->op, "Shape") == 0 ||
                                          strcmp(n->op, "Size") == 0 ||
                                          strcmp(n->op, "EyeLike") == 0);
    return shape || ox_hold_draws(n);
}

typedef struct inheritance {
    ox_explain_state *s;
    ox_side *heir;
} inheritance;

static void inherit(void *user, ox_val from)
{
    const inheritance *h = user;
    const ox_side *side = ox_side_of(h->s, from);
    h->heir->depends = h->heir->depends || side->depends;
    h->heir->varies = h->heir->varies || side->varies;
}

/* Values are asked for in topological order or shortly after, so this does not nest deeply. */
ox_side *ox_side_of(ox_explain_state *s, ox_val v)
{
    if (v->mark != NULL) {
        return v->mark;
    }
    ox_side *side = ox_arena_alloc(s->arena, 1, sizeof *side);
    v->mark = side;
    if (v->node == NULL) {
        return side;
    }
    inheritance h = {s, side};
    if (ox_hold_is(s, v)) {
        side->depends = side->held = true;
        return side;
    }
    if (v->node->parts != NULL) {
        inherit(&h, v->node->parts[v->output]);
        side->fusible = ox_is_fusible(s, v);
        return side;
    }
    for (size_t i = 0; i < v->node->input_count; i++) {
        if (v->node->inputs[i] != NULL) {
            inherit(&h, v->node->inputs[i]);
        }
    }
    ox_model_visit_captured(v->node, inherit, &h);
    side->varies = side->varies && !ox_walk_only_shape(v->node);
    if (ox_hold_draws(v->node)) { /* in a body that was written out: not what the body drew */
        side->depends = side->varies = true;
    }
    side->fusible = ox_is_fusible(s, v);
    return side;
}

/* ---- the walk ------------------------------------------------------------------------------- */

ox_type ox_walk_type(ox_type own)
{
    return own == OX_DOUBLE ? OX_DOUBLE : OX_FLOAT;
}

/* A multiplier changes its type where the value does, at a Cast or where a double meets floats as
 * an exponent or a scale: in front of it stands the network's own type, for which ONNX Runtime has
 * kernels. Integers take what comes, the wider of two. */
static void add_to(ox_explain_state *s, ox_val v, ox_val m)
{
    ox_side *to = ox_side_of(s, v);
    bool wide = m->type == OX_DOUBLE || (to->m != NULL && to->m->type == OX_DOUBLE);
    ox_type type = ox_type_is_float(v->type) ? ox_walk_type(v->type) : wide ? OX_DOUBLE : OX_FLOAT;
    m = ox_cast(m, type);
    to->m = to->m == NULL ? m : ox_add(ox_cast(to->m, type), m);
}

/* The multipliers of a composite node's outputs become those of their aliases. */
static void visit_composite(ox_explain_state *s, const ox_node *n)
{
    for (size_t i = 0; i < n->output_count; i++) {
        const ox_side *from = ox_side_of(s, n->outputs[i]);
        if (from->m != NULL && from->alias == NULL) {
            ox_fail(s->arena, OX_UNSUPPORTED, "%s: no rule for its output %zu", ox_node_label(n),
                    i);
        }
        if (from->m != NULL) {
            add_to(s, from->alias, from->m);
        }
    }
}

/* The type that a rule works in: that of the multipliers that arrive. What comes out of a step, as
 * of a comparison, may have a narrower one than what goes in, where differences are taken. */
static ox_type working_type(ox_explain_state *s, const ox_node *n)
{
    bool wide = false;
    for (size_t i = 0; i < n->output_count; i++) {
        const ox_side *side = ox_side_of(s, n->outputs[i]);
        wide = wide || (side->m != NULL && side->m->type == OX_DOUBLE);
    }
    bool step = !ox_type_is_float(n->outputs[0]->type);
    for (size_t i = 0; step && i < n->input_count; i++) {
        ox_val v = n->inputs[i];
        wide = wide || (v != NULL && v->type == OX_DOUBLE && ox_side_of(s, v)->varies);
    }
    return wide ? OX_DOUBLE : OX_FLOAT;
}

static void visit(ox_explain_state *s, ox_node *n)
{
    ox_side *side = ox_side_of(s, n->outputs[0]);
    if (side->decomposed) {
        visit_composite(s, n);
        return;
    }
    ox_ctx c = {.g = s->flow, .node = n, .lead = s->lead, .walk = s};
    c.type = working_type(s, n);
    bool reached = false;
    for (size_t i = 0; i < n->output_count; i++) {
        reached = reached || ox_m(&c, i) != NULL;
    }
    if (!reached || ox_walk_missing(s, n) != NULL) { /* the latter with force */
        return;
    }
    c.m = ox_m(&c, 0);
    const ox_row *row = ox_rule_find(n->domain, n->op);
    const char *scope = ox_arena_format(s->arena, "onnxexplainer/flow/%s", ox_node_base(n));
    const char *former = ox_graph_scope(s->flow, scope);
    if (ox_integrate_wants(s, n)) {
        ox_integrate(s, &c);
    } else if (ox_standin_wants(s, n)) {
        ox_standin_visit(s, &c, row->rule);
    } else {
        row->rule(&c);
    }
    ox_graph_scope(s->flow, former);
}

void ox_walk(ox_explain_state *s, ox_val seed)
{
    ox_side_of(s, s->output)->m = seed;
    for (size_t i = 0; i < s->order_count; i++) {
        s->order_at = i;
        visit(s, s->order[i]);
    }
}

/* ---- what rules see ---------------------------------------------------------------------------
 */

static ox_explain_state *state_of(ox_ctx *c)
{
    return c->walk;
}

void ox_rule_fail(ox_ctx *c, const char *message)
{
    ox_fail(c->g->arena, OX_UNSUPPORTED, "%s: %s", ox_node_label(c->node), message);
}

void ox_rule_hole(ox_ctx *c, const char *message)
{
    ox_explain_state *s = state_of(c);
    if (!s->options->force) {
        ox_rule_fail(c, message);
    }
    s->holes++;
    ox_note_to(s->options, "completeness is lost at %s: %s", ox_node_label(c->node), message);
}

/* A sample or reference of v in the type of the multipliers, with stand-ins where v needs them. */
static ox_val typed(ox_ctx *c, ox_val v, ox_val seen)
{
    seen = ox_type_is_float(seen->type) ? ox_cast(seen, c->type) : seen;
    return ox_standin(state_of(c), v, seen, c->stands_in);
}

/* Integers that vary, as in quantised models, are numbers like others. */
static ox_val as_number(ox_ctx *c, size_t i, ox_val v)
{
    bool number = v != NULL && v->type != OX_BOOL && ox_varies(c, i);
    return number ? ox_cast(v, c->type) : v;
}

ox_val ox_x_raw(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    if (c->spot != NULL && i == 0) {
        return c->spot->x;
    }
    return v == NULL ? NULL : typed(c, v, ox_sample(state_of(c), v));
}

ox_val ox_x(ox_ctx *c, size_t i)
{
    return as_number(c, i, ox_x_raw(c, i));
}

ox_val ox_y(ox_ctx *c, size_t i)
{
    if (c->spot != NULL && i == 0) {
        return c->spot->y;
    }
    ox_val y = c->node->outputs[i];
    return typed(c, y, ox_sample(state_of(c), y));
}

/* At least so many axes, and no more than an array of OX_MAX_RANK holds: a file decides on them. */
static void need_axes(ox_ctx *c, int rank, int least)
{
    if (rank < least || rank > OX_MAX_RANK) {
        ox_rule_fail(c, rank < least ? "it has too few axes" : "it has too many axes");
    }
}

/* [R, d...] with axes of length 1 after R, as many as bring the own rank to that of output 0. */
static ox_val align(ox_ctx *c, ox_val view, int own)
{
    int rank = c->node->outputs[0]->rank;
    int lead = view->rank - own;
    if (lead == 0 || own >= rank) {
        return view;
    }
    ox_dim dims[OX_MAX_RANK];
    need_axes(c, rank + lead, 0);
    for (int d = 0; d < rank + lead; d++) {
        bool added = d >= lead && d < lead + rank - own;
        dims[d] = d < lead ? view->dims[d] : added ? ox_dim_of(1) : view->dims[d - (rank - own)];
    }
    return ox_reshape(view, rank + lead, dims);
}

ox_val ox_x0_raw(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    if (v == NULL) {
        return NULL;
    }
    if (c->spot != NULL && i == 0) {
        return c->spot->x;
    }
    return align(c, typed(c, v, ox_reference(state_of(c), v)), v->rank);
}

ox_val ox_x0(ox_ctx *c, size_t i)
{
    return as_number(c, i, ox_x0_raw(c, i));
}

ox_val ox_y0(ox_ctx *c, size_t i)
{
    if (c->spot != NULL && i == 0) {
        return c->spot->y;
    }
    ox_val y = c->node->outputs[i];
    return typed(c, y, ox_reference(state_of(c), y));
}

bool ox_varies(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    bool frozen = (c->frozen >> i & 1) != 0;
    return v != NULL && !frozen && ox_side_of(state_of(c), v)->varies;
}

const ox_node *ox_maker_of(ox_val v)
{
    const ox_side *side = v->mark;
    return side != NULL && side->alias != NULL ? side->alias->node : v->node;
}

bool ox_input_varies(const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    return v != NULL && ((const ox_side *)v->mark)->varies;
}

bool ox_is_point(ox_val v)
{
    const ox_side *side = v->mark;
    return side != NULL && side->is_point;
}

ox_val ox_m(ox_ctx *c, size_t i)
{
    if (i >= c->node->output_count) {
        return NULL;
    }
    const ox_side *side = ox_side_of(state_of(c), c->node->outputs[i]);
    return side->is_point || side->m == NULL ? NULL : ox_cast(side->m, c->type);
}

/* Sums `m` over the own axes along which an input of shape `dims` was broadcast. */
static ox_val undo_broadcast(ox_ctx *c, ox_val m, int rank, const ox_dim *dims)
{
    int own = m->rank - c->lead;
    int extra = own - rank;
    int64_t axes[OX_MAX_RANK];
    size_t count = 0;
    for (int d = 0; d < extra; d++) {
        axes[count++] = d - own;
    }
    m = ox_reduce("ReduceSum", m, count, axes, false);
    count = 0;
    for (int d = 0; d < rank; d++) {
        ox_dim have = m->dims[c->lead + d];
        if (ox_dim_is(dims[d], 1) && !ox_dim_is(have, 1)) {
            axes[count++] = d - rank;
        }
    }
    return ox_reduce("ReduceSum", m, count, axes, true);
}

void ox_send(ox_ctx *c, size_t i, ox_val m)
{
    ox_val v = ox_node_input(c->node, i);
    if (v == NULL || !ox_side_of(state_of(c), v)->varies) {
        return;
    }
    if (m->rank < 0 || v->rank < 0 || m->rank - c->lead < v->rank) {
        ox_rule_fail(c, "its shape is not known");
    }
    if (c->sent != NULL) {
        c->sent[i] = c->sent[i] == NULL ? m : ox_add(c->sent[i], m);
        return;
    }
    m = undo_broadcast(c, m, v->rank, v->dims);
    if (c->spot != NULL && i == 0) {
        c->spot->m = m;
        return;
    }
    add_to(state_of(c), v, m);
}

const int64_t *ox_known_ints(ox_ctx *c, size_t i, size_t *count)
{
    ox_val v = ox_node_input(c->node, i);
    const ox_dim *e = v == NULL ? NULL : ox_shape_elements(v);
    size_t n = e == NULL || !ox_dims_static(v->rank, v->dims) ? 0 : (size_t)ox_val_size(v).size;
    if (e == NULL || !ox_dims_static((int)n, e)) {
        ox_fail(c->g->arena, OX_UNSUPPORTED, "%s: input %zu must be constant",
                ox_node_label(c->node), i);
    }
    int64_t *ints = ox_arena_alloc(c->g->arena, n + 1, sizeof *ints);
    for (size_t k = 0; k < n; k++) {
        ints[k] = e[k].size;
    }
    *count = n;
    return ints;
}

const double *ox_known_doubles(ox_ctx *c, size_t i, size_t *count)
{
    const double *doubles = ox_numbers(ox_node_input(c->node, i), count);
    if (doubles == NULL) {
        ox_fail(c->g->arena, OX_UNSUPPORTED, "%s: input %zu must be constant",
                ox_node_label(c->node), i);
    }
    return doubles;
}

int64_t ox_static_dim(ox_ctx *c, int i, int axis)
{
    ox_val v = i < 0 ? c->node->outputs[0] : ox_node_input(c->node, (size_t)i);
    int at = v->rank + axis;
    if (v->rank < 0 || at < 0 || !ox_dim_is_static(v->dims[at])) {
        ox_fail(c->g->arena, OX_UNSUPPORTED, "%s: dimension %d of \"%s\" is not known",
                ox_node_label(c->node), at, v->name);
    }
    return v->dims[at].size;
}

/* ---- shapes of multipliers --------------------------------------------------------------------
 */

ox_val ox_with_lead(ox_ctx *c, ox_val m, int rank, const ox_dim *dims)
{
    ox_dim all[OX_MAX_RANK];
    need_axes(c, c->lead + rank, c->lead);
    for (int d = 0; d < c->lead + rank; d++) {
        all[d] = d < c->lead ? m->dims[d] : dims[d - c->lead];
    }
    return ox_reshape(m, c->lead + rank, all);
}

ox_val ox_fold(ox_ctx *c, ox_val m)
{
    ox_dim dims[OX_MAX_RANK];
    int rank = m->rank - c->lead;
    need_axes(c, rank, 1);
    memcpy(dims, m->dims + c->lead, (size_t)rank * sizeof *dims);
    for (int d = 0; d < c->lead; d++) {
        dims[0] = ox_dim_mul(c->g, m->dims[d], dims[0]);
    }
    return ox_reshape(m, rank, dims);
}

ox_val ox_unfold(ox_ctx *c, ox_val folded, ox_val like)
{
    ox_dim dims[OX_MAX_RANK];
    need_axes(c, c->lead + folded->rank, c->lead + 1);
    memcpy(dims, like->dims, (size_t)(c->lead + 1) * sizeof *dims);
    memcpy(dims + c->lead + 1, folded->dims + 1, (size_t)(folded->rank - 1) * sizeof *dims);
    return ox_reshape(folded, c->lead + folded->rank, dims);
}

ox_val ox_transpose_own(ox_val m, int own_rank, const int *permutation)
{
    int all[OX_MAX_RANK];
    int lead = m->rank - own_rank;
    if (own_rank < 0 || lead < 0 || m->rank > OX_MAX_RANK) {
        ox_fail(m->graph->arena, OX_UNSUPPORTED, "the axes of \"%s\" are not known", m->name);
    }
    for (int i = 0; i < m->rank; i++) {
        all[i] = i < lead ? i : lead + permutation[i - lead];
    }
    return ox_transpose(m, all);
}
