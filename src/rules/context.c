/* What rules see of the walk: samples, references, multipliers. Where samples and references come
 * from is the business of whoever fills in ox_sides. */
#include <string.h>

#include "rules/rules.h"
#include "rules/side.h"
#include "shape/shape.h"

void ox_rule_fail(ox_ctx *c, const char *message)
{
    ox_fail(c->g->arena, OX_UNSUPPORTED, "%s: %s", ox_node_label(c->node), message);
}

void ox_rule_hole(ox_ctx *c, const char *message)
{
    if (!c->sides->hole(c, message)) {
        ox_rule_fail(c, ox_arena_format(c->g->arena, "%s%s", message,
                                        ox_node_has_body(c->node) ? "" : OX_RUNS_ANY));
    }
}

bool ox_stands_in(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    return v != NULL && c->sides->stands_in(c, v);
}

ox_val ox_side_view(ox_ctx *c, ox_val v, ox_seen seen)
{
    return c->sides->side(c, v, seen);
}

ox_val ox_is_standin(ox_val v)
{
    ox_val size = ox_abs(v);
    return ox_binary("GreaterOrEqual", size, ox_number(size, OX_STANDIN_LEAST));
}

void ox_rest(ox_ctx *c, ox_val terms)
{
    c->sides->rest(c, terms);
}

/* Integers that vary, as in quantised models, are numbers like others. */
static ox_val as_number(ox_ctx *c, size_t i, ox_val v)
{
    bool number = v != NULL && v->type != OX_BOOL && v->type != OX_STRING && ox_varies(c, i);
    return number ? ox_cast(v, c->type) : v;
}

ox_val ox_x_raw(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    if (c->spot != NULL && i == 0) {
        return c->spot->x;
    }
    return v == NULL ? NULL : c->sides->sample(c, v);
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
    return c->sides->sample(c, c->node->outputs[i]);
}

/* At least so many axes, and no more than an array of OX_MAX_RANK holds: a file decides on them. */
static void need_axes(ox_ctx *c, int rank, int least)
{
    if (rank < least || rank > OX_MAX_RANK) {
        ox_rule_fail(c, rank < least ? "it has too few axes" : "it has too many axes");
    }
}

ox_val ox_align(ox_ctx *c, ox_val view, int own)
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
    return ox_align(c, c->sides->reference(c, v), v->rank);
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
    return c->sides->reference(c, c->node->outputs[i]);
}

bool ox_varies(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i);
    bool frozen = i < 32 && (c->frozen >> i & 1) != 0; /* those that are frozen are the first few */
    return v != NULL && !frozen && ox_side_of(v)->varies;
}

const ox_node *ox_maker_of(ox_val v)
{
    const ox_side *side = v->side;
    return side != NULL && side->alias != NULL ? side->alias->node : v->node;
}

bool ox_input_varies(const ox_node *n, size_t i)
{
    ox_val v = ox_node_input(n, i);
    return v != NULL && ox_side_of(v)->varies;
}

bool ox_is_point(ox_val v)
{
    const ox_side *side = v->side;
    return side != NULL && side->is_point;
}

ox_val ox_m(ox_ctx *c, size_t i)
{
    if (i >= c->node->output_count) {
        return NULL;
    }
    const ox_side *side = ox_side_of(c->node->outputs[i]);
    ox_val m = c->squared ? side->q : side->m;
    return side->is_point || m == NULL ? NULL : ox_cast(m, c->type);
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
    if (v == NULL || !ox_side_of(v)->varies) {
        return;
    }
    if (m->rank < 0 || v->rank < 0 || m->rank - c->lead < v->rank) {
        ox_shape_fail(c->node);
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
    if (c->squared) {
        ox_side_add_second(v, m);
        return;
    }
    ox_side_add(v, m);
}

const int64_t *ox_known_ints(ox_ctx *c, size_t i, size_t *count)
{
    ox_val v = ox_node_input(c->node, i);
    const ox_dim *e = v == NULL ? NULL : ox_shape_elements(v);
    size_t n = e == NULL || !ox_dims_static(v->rank, v->dims) ? 0 : (size_t)ox_val_size(v).size;
    if (e == NULL || !ox_dims_static((int)n, e)) {
        ox_fail(c->g->arena, OX_UNSUPPORTED, "%s: input %zu must be constant" OX_RUNS_ANY,
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
        ox_fail(c->g->arena, OX_UNSUPPORTED, "%s: input %zu must be constant" OX_RUNS_ANY,
                ox_node_label(c->node), i);
    }
    return doubles;
}

int64_t ox_static_dim(ox_ctx *c, int i, int axis)
{
    ox_val v = i < 0 ? c->node->outputs[0] : ox_node_input(c->node, (size_t)i);
    int at = v->rank + axis;
    if (v->rank < 0 || at < 0 || !ox_dim_is_static(v->dims[at])) {
        bool batch = v->rank >= 0 && at >= 0 && v->dims[at].batch > 0;
        ox_fail(c->g->arena, OX_UNSUPPORTED, "%s: dimension %d of \"%s\" is not known%s",
                ox_node_label(c->node), at, v->name,
                batch ? ", samples lie along it; --no-batch explains a whole batch as one sample"
                      : OX_RUNS_ANY);
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
