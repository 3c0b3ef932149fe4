/* The backward walk: an order of the nodes that multipliers reach, then every rule in turn; and
 * the functions through which rules see samples, references and multipliers. */
#include <assert.h>
#include <string.h>

#include "explain.h"

enum { MAX_RANK = 32 };

/* ---- what is known of values -------------------------------------------------------------- */

/* Shape and Size say the same for sample and reference, whatever the data. */
static bool only_shape(const ox_node *n)
{
    return n->domain[0] == '\0' && (strcmp(n->op, "Shape") == 0 || strcmp(n->op, "Size") == 0);
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
    for (size_t i = 0; i < v->node->input_count; i++) {
        if (v->node->inputs[i] != NULL) {
            inherit(&h, v->node->inputs[i]);
        }
    }
    ox_model_visit_captured(v->node, inherit, &h);
    side->varies = side->varies && !only_shape(v->node);
    return side;
}

/* ---- order ---------------------------------------------------------------------------------- */

typedef struct frame {
    ox_node *node;
    size_t next; /* input to visit */
} frame;

typedef struct stack {
    frame *frames;
    size_t count, room;
} stack;

static void push(ox_explain_state *s, stack *st, ox_val v)
{
    ox_side *side = ox_side_of(s, v);
    if (v->node == NULL || !side->varies) {
        return;
    }
    ox_side *first = ox_side_of(s, v->node->outputs[0]);
    if (first->order_seen) {
        return;
    }
    first->order_seen = true;
    if (st->count == st->room) {
        size_t room = st->room == 0 ? 64 : 2 * st->room;
        frame *larger = ox_arena_alloc(s->arena, room, sizeof *larger);
        if (st->count > 0) {
            memcpy(larger, st->frames, st->count * sizeof *larger);
        }
        st->frames = larger;
        st->room = room;
    }
    st->frames[st->count++] = (frame){.node = v->node};
}

/* Decomposes a composite node, once. The result is `alias`, or NULL for other nodes. */
static ox_val decomposition(ox_explain_state *s, ox_node *n)
{
    ox_side *side = ox_side_of(s, n->outputs[0]);
    const ox_row *row = ox_rule_find(n->domain, n->op);
    if (side->alias == NULL && row != NULL && row->decompose != NULL) {
        const char *scope = ox_arena_format(s->arena, "onnxexplainer/%s", n->name);
        const char *former = ox_graph_scope(n->graph, scope);
        side->alias = row->decompose(n);
        ox_graph_scope(n->graph, former);
    }
    return side->alias;
}

/* Depth first from the explained output, producers before consumers; then reversed. */
void ox_walk_order(ox_explain_state *s)
{
    stack st = {0};
    push(s, &st, s->output);
    while (st.count > 0) {
        frame *top = &st.frames[st.count - 1];
        ox_node *n = top->node;
        ox_val alias = decomposition(s, n);
        size_t inputs = alias != NULL ? 1 : n->input_count;
        if (top->next < inputs) {
            ox_val in = alias != NULL ? alias : n->inputs[top->next];
            top->next++;
            if (in != NULL) {
                push(s, &st, in);
            }
            continue;
        }
        st.count--;
        s->order = ox_arena_grow(s->arena, s->order, s->order_count, sizeof *s->order);
        s->order[s->order_count++] = n;
    }
    for (size_t i = 0; i < s->order_count / 2; i++) {
        ox_node *n = s->order[i];
        s->order[i] = s->order[s->order_count - 1 - i];
        s->order[s->order_count - 1 - i] = n;
    }
}

const char *ox_walk_missing(ox_explain_state *s, const ox_node **which)
{
    for (size_t i = 0; i < s->order_count; i++) {
        const ox_node *n = s->order[i];
        const ox_row *row = ox_rule_find(n->domain, n->op);
        *which = n;
        if (row == NULL || row->state == OX_NO_RULE) {
            return ox_arena_format(s->arena, "no rule for %s%s%s at opset %lld", n->domain,
                                   n->domain[0] == '\0' ? "" : ".", n->op,
                                   (long long)ox_model_opset(s->model, n->domain));
        }
        if (row->state == OX_CARRIES_NOTHING) {
            return "its result varies, but no multiplier passes: completeness would be lost";
        }
    }
    return NULL;
}

/* ---- the walk ------------------------------------------------------------------------------- */

static void visit(ox_explain_state *s, ox_node *n)
{
    ox_side *side = ox_side_of(s, n->outputs[0]);
    if (side->alias != NULL) {
        ox_side *to = ox_side_of(s, side->alias);
        to->m = to->m == NULL ? side->m : ox_add(to->m, side->m);
        return;
    }
    bool reached = false;
    for (size_t i = 0; i < n->output_count; i++) {
        reached = reached || ox_side_of(s, n->outputs[i])->m != NULL;
    }
    if (!reached) {
        return;
    }
    const ox_row *row = ox_rule_find(n->domain, n->op);
    ox_ctx c = {.g = s->flow, .node = n, .m = side->m, .lead = s->lead, .walk = s};
    const char *scope = ox_arena_format(s->arena, "onnxexplainer/flow/%s", n->name);
    const char *former = ox_graph_scope(s->flow, scope);
    row->rule(&c);
    ox_graph_scope(s->flow, former);
}

void ox_walk(ox_explain_state *s, ox_val seed)
{
    ox_side_of(s, s->output)->m = seed;
    for (size_t i = 0; i < s->order_count; i++) {
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

static bool is_float(ox_type type)
{
    return type == OX_FLOAT || type == OX_DOUBLE || type == OX_FLOAT16 || type == OX_BFLOAT16;
}

/* In the type of the multipliers. */
static ox_val typed(ox_explain_state *s, ox_val v)
{
    return is_float(v->type) ? ox_cast(v, s->type) : v;
}

ox_val ox_x(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    return v == NULL ? NULL : typed(state_of(c), ox_sample(state_of(c), v));
}

ox_val ox_y(ox_ctx *c, size_t i)
{
    return typed(state_of(c), ox_sample(state_of(c), c->node->outputs[i]));
}

/* [R, d...] with axes of length 1 after R, as many as bring the own rank to that of output 0. */
static ox_val align(ox_ctx *c, ox_val view, int own)
{
    int rank = c->node->outputs[0]->rank;
    int lead = view->rank - own;
    if (lead == 0 || own >= rank) {
        return view;
    }
    ox_dim dims[MAX_RANK];
    assert(rank + lead <= MAX_RANK);
    for (int d = 0; d < rank + lead; d++) {
        bool added = d >= lead && d < lead + rank - own;
        dims[d] = d < lead ? view->dims[d] : added ? ox_dim_of(1) : view->dims[d - (rank - own)];
    }
    return ox_reshape(view, rank + lead, dims);
}

ox_val ox_x0(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    if (v == NULL) {
        return NULL;
    }
    return align(c, typed(state_of(c), ox_reference(state_of(c), v)), v->rank);
}

ox_val ox_y0(ox_ctx *c, size_t i)
{
    return typed(state_of(c), ox_reference(state_of(c), c->node->outputs[i]));
}

bool ox_varies(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    return v != NULL && ox_side_of(state_of(c), v)->varies;
}

ox_val ox_mid(ox_ctx *c, size_t i)
{
    ox_val x = ox_x(c, i);
    return ox_varies(c, i) ? ox_scale(ox_add(x, ox_x0(c, i)), 0.5) : x;
}

ox_val ox_m(ox_ctx *c, size_t i)
{
    return i < c->node->output_count ? ox_side_of(state_of(c), c->node->outputs[i])->m : NULL;
}

/* Sums `m` over the own axes along which an input of shape `dims` was broadcast. */
static ox_val undo_broadcast(ox_ctx *c, ox_val m, int rank, const ox_dim *dims)
{
    int own = m->rank - c->lead;
    int extra = own - rank;
    int64_t axes[MAX_RANK];
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
    ox_side *side = ox_side_of(state_of(c), v);
    m = undo_broadcast(c, m, v->rank, v->dims);
    side->m = side->m == NULL ? m : ox_add(side->m, m);
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
    ox_val v = ox_node_input(c->node, i);
    const ox_const *k = v == NULL ? NULL : v->constant;
    if (k == NULL && v != NULL && v->node != NULL && strcmp(v->node->op, "Constant") == 0) {
        const ox_attr *value = ox_node_attr(v->node, "value");
        k = value == NULL ? NULL : value->tensor;
    }
    const double *doubles = k == NULL ? NULL : ox_const_doubles(c->g->arena, k);
    if (doubles == NULL) {
        ox_fail(c->g->arena, OX_UNSUPPORTED, "%s: input %zu must be constant",
                ox_node_label(c->node), i);
    }
    *count = ox_const_count(k);
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
    ox_dim all[MAX_RANK];
    assert(c->lead + rank <= MAX_RANK);
    memcpy(all, m->dims, (size_t)c->lead * sizeof *all);
    memcpy(all + c->lead, dims, (size_t)rank * sizeof *all);
    return ox_reshape(m, c->lead + rank, all);
}

ox_val ox_fold(ox_ctx *c, ox_val m)
{
    ox_dim dims[MAX_RANK];
    int rank = m->rank - c->lead;
    assert(rank >= 1 && rank <= MAX_RANK);
    memcpy(dims, m->dims + c->lead, (size_t)rank * sizeof *dims);
    for (int d = 0; d < c->lead; d++) {
        dims[0] = ox_dim_mul(c->g, m->dims[d], dims[0]);
    }
    return ox_reshape(m, rank, dims);
}

ox_val ox_unfold(ox_ctx *c, ox_val folded, ox_val like)
{
    ox_dim dims[MAX_RANK];
    assert(c->lead + folded->rank <= MAX_RANK);
    memcpy(dims, like->dims, (size_t)(c->lead + 1) * sizeof *dims);
    memcpy(dims + c->lead + 1, folded->dims + 1, (size_t)(folded->rank - 1) * sizeof *dims);
    return ox_reshape(folded, c->lead + folded->rank, dims);
}

ox_val ox_transpose_own(ox_val m, int own_rank, const int *permutation)
{
    int all[MAX_RANK];
    int lead = m->rank - own_rank;
    assert(m->rank <= MAX_RANK && lead >= 0);
    for (int i = 0; i < m->rank; i++) {
        all[i] = i < lead ? i : lead + permutation[i - lead];
    }
    return ox_transpose(m, all);
}
