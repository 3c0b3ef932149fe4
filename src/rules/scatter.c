/* Rules of Gather and Scatter operators in the cases that rules/index.c leaves: batch axes of
 * GatherND, and reductions of ScatterElements and ScatterND. */
#include <string.h>

#include "rules/decompose.h"
#include "rules/move.h"
#include "rules/unary.h"

/* ---- GatherND ------------------------------------------------------------------------------ */

/* The tuples of the index as one number each, in the data's axes between the batch and the rest:
 * [batch, picks]. */
static ox_val flat_index(ox_ctx *c, int batch, int depth, const ox_dim *dims)
{
    const ox_val data = c->node->inputs[0];
    ox_val index = ox_x(c, 1), sum = NULL;
    for (int k = 0; k < depth; k++) {
        int64_t size = ox_static_dim(c, 0, batch + k - data->rank);
        ox_val at = ox_squeeze(ox_slice(index, -1, k, k + 1, 1), -1);
        ox_val wrapped = ox_cast(ox_less(at, ox_number(at, 0)), at->type);
        at = ox_add(at, ox_scale(wrapped, (double)size));
        sum = sum == NULL ? at : ox_add(ox_scale(sum, (double)size), at);
    }
    return ox_reshape(sum, batch + 1, dims);
}

/* With batch axes: what the tuples picked is added up along one axis, which the picked axes of the
 * data become. Without, as rules/index.c has it. */
void flow_gather_nd_batched(ox_ctx *c)
{
    const ox_val data = c->node->inputs[0], index = ox_node_input(c->node, 1);
    int64_t given = ox_node_int(c->node, "batch_dims", 0);
    if (given == 0) {
        flow_gather_nd(c);
        return;
    }
    ox_need_fixed(c, 1);
    int batch = (int)given, depth = (int)ox_static_dim(c, 1, -1), rest = data->rank - batch - depth;
    if (given < 0 || given >= index->rank || rest < 0 || depth < 1 ||
        c->lead + data->rank + 1 > OX_MAX_RANK) {
        ox_rule_fail(c, "its shapes do not fit");
    }
    ox_dim dims[OX_MAX_RANK], picks = ox_dim_of(1), size = ox_dim_of(1);
    memcpy(dims, data->dims, (size_t)batch * sizeof *dims);
    for (int k = batch; k < index->rank - 1; k++) {
        picks = ox_dim_mul(c->g, picks, index->dims[k]);
    }
    for (int k = 0; k < depth; k++) {
        size = ox_dim_mul(c->g, size, data->dims[batch + k]);
    }
    dims[batch] = picks;
    ox_val at = ox_made_column(flat_index(c, batch, depth, dims), rest);
    memcpy(dims + batch + 1, data->dims + batch + depth, (size_t)rest * sizeof *dims);
    ox_val m = ox_with_lead(c, c->m, batch + 1 + rest, dims);
    ox_dim all[OX_MAX_RANK];
    memcpy(all, m->dims, (size_t)m->rank * sizeof *all);
    all[c->lead + batch] = size;
    ox_val zeros = ox_zeros(c->g, m->type, m->rank, all);
    ox_val flow = ox_scatter_add(zeros, ox_expand(at, m->rank, m->dims), m, -rest - 1);
    ox_send(c, 0, ox_with_lead(c, flow, data->rank, data->dims));
}

/* ---- picking and adding up at the places that a Scatter writes to --------------------------- */

static bool is_nd(ox_ctx *c)
{
    return strcmp(c->node->op, "ScatterND") == 0;
}

/* What v, of the data's shape, has at the places: of the updates' shape. */
static ox_val take(ox_ctx *c, ox_val v)
{
    int lead = v->rank - c->node->inputs[0]->rank;
    if (!is_nd(c)) {
        return ox_gather_elements(v, ox_index_like(c, v, lead), ox_axis(c, 0));
    }
    ox_val in[] = {ox_lead_last(c, v, lead, false), ox_x(c, 1)};
    return ox_lead_last(c, ox_graph_emit(c->g, "GatherND", 2, in, 0, NULL), lead, true);
}

/* v, of the updates' shape, added up at the places: of the shape of `like`. */
static ox_val put(ox_ctx *c, ox_val v, ox_val like)
{
    int lead = like->rank - c->node->inputs[0]->rank;
    ox_val zeros = ox_zeros(c->g, v->type, like->rank, like->dims);
    if (!is_nd(c)) {
        return ox_scatter_add(zeros, ox_index_like(c, like, lead), v, ox_axis(c, 0));
    }
    ox_attr add = ox_attr_string("reduction", "add");
    ox_val in[] = {ox_lead_last(c, zeros, lead, false), ox_x(c, 1),
                   ox_lead_last(c, v, lead, false)};
    return ox_lead_last(c, ox_graph_emit(c->g, "ScatterND", 3, in, 1, &add), lead, true);
}

/* ---- Scatter with a reduction -------------------------------------------------------------- */

/* Both sides of an operand, for every pair. */
typedef struct sides {
    ox_val x, x0, d;
} sides;

/* Input i of the reference as [R, own shape]: without the axes of length 1 that were put in for
 * inputs of a smaller rank than the output. */
static ox_val reference_of(ox_ctx *c, size_t i)
{
    ox_val x0 = ox_x0(c, i);
    int own = c->node->inputs[i]->rank, rank = c->node->outputs[0]->rank;
    if (own >= rank || x0->rank <= rank) {
        return x0;
    }
    ox_dim dims[OX_MAX_RANK];
    int lead = x0->rank - rank;
    memcpy(dims, x0->dims, (size_t)lead * sizeof *dims);
    memcpy(dims + lead, x0->dims + (x0->rank - own), (size_t)own * sizeof *dims);
    return ox_reshape(x0, lead + own, dims);
}

static sides sides_of(ox_ctx *c, ox_val x, ox_val x0)
{
    x = ox_cast(x, c->m->type);
    x0 = ox_cast(x0, c->m->type);
    ox_val d = ox_sub(x, x0);
    return (sides){ox_expand(x, d->rank, d->dims), ox_expand(x0, d->rank, d->dims), d};
}

/* 1 where the operand is the winner: of the sample where that is the more extreme, else of the
 * reference. */
static ox_val wins(sides o, ox_val y, ox_val y0, ox_val sample)
{
    ox_val first = ox_mul(sample, ox_indicator(ox_equal(o.x, y), y));
    ox_val other = ox_sub(ox_number(sample, 1), sample);
    return ox_add(first, ox_mul(other, ox_indicator(ox_equal(o.x0, y0), y)));
}

/* dy/d of winners, which lies in [0, 1]; 1 where d = 0. */
static ox_val winner_share(sides o, ox_val won, ox_val dy)
{
    ox_val still = ox_indicator(ox_equal(o.d, ox_number(o.d, 0)), o.d);
    return ox_div(ox_mul(won, ox_add(dy, still)), ox_add(o.d, still));
}

/* Brings v to the pairs' shape: what does not vary has the sample's only. */
static ox_val to_pairs(ox_val v, ox_val like)
{
    return ox_expand(v, like->rank, like->dims);
}

/* max or min: as MaxPool; those that tie share. */
static void scatter_extreme(ox_ctx *c, bool max)
{
    sides y = sides_of(c, ox_y(c, 0), ox_y0(c, 0));
    sides data = sides_of(c, ox_x(c, 0), ox_x0(c, 0));
    sides update = sides_of(c, ox_x(c, 2), reference_of(c, 2));
    data = (sides){to_pairs(data.x, y.d), to_pairs(data.x0, y.d), to_pairs(data.d, y.d)};
    ox_val sample = ox_indicator(max ? ox_greater(y.x, y.x0) : ox_less(y.x, y.x0), y.d);
    ox_val there = take(c, sample), dy = take(c, y.d);
    update = (sides){to_pairs(update.x, dy), to_pairs(update.x0, dy), to_pairs(update.d, dy)};
    ox_val data_wins = wins(data, y.x, y.x0, sample);
    ox_val update_wins = wins(update, take(c, y.x), take(c, y.x0), there);
    ox_val winners = ox_add(data_wins, put(c, update_wins, y.d));
    ox_val m = ox_mul(c->m, ox_unary("Reciprocal", winners));
    ox_send(c, 0, ox_mul(m, winner_share(data, data_wins, y.d)));
    ox_send(c, 2, ox_mul(take(c, m), winner_share(update, update_wins, dy)));
}

static int64_t wrapped(ox_ctx *c, int64_t index, int axis)
{
    int64_t size = ox_static_dim(c, 0, axis);
    if (size < 1) {
        ox_rule_fail(c, "it scatters into nothing");
    }
    int64_t rest = index % size;
    return rest < 0 ? rest + size : rest;
}

/* A number for the place that element i of the index of ScatterElements means. */
static int64_t element_place(ox_ctx *c, const int64_t *index, size_t i)
{
    const ox_val v = c->node->inputs[1];
    int axis = (int)ox_axis(c, 0);
    size_t inner = 1, length = (size_t)v->dims[v->rank + axis].size;
    for (int d = v->rank + axis + 1; d < v->rank; d++) {
        inner *= (size_t)v->dims[d].size;
    }
    int64_t size = ox_static_dim(c, 0, axis), outer = (int64_t)(i / (inner * length));
    return (outer * size + wrapped(c, index[i], axis)) * (int64_t)inner + (int64_t)(i % inner);
}

/* The same of tuple i of `width` of ScatterND. */
static int64_t tuple_place(ox_ctx *c, const int64_t *index, size_t i, size_t width)
{
    int64_t place = 0;
    for (size_t w = 0; w < width; w++) {
        int axis = (int)w - c->node->inputs[0]->rank;
        place = place * ox_static_dim(c, 0, axis) + wrapped(c, index[i * width + w], axis);
    }
    return place;
}

/* Gives up where a place may be written to twice. */
static void need_different_places(ox_ctx *c)
{
    const ox_val v = c->node->inputs[1];
    size_t count = 0;
    const int64_t *index = ox_known_ints(c, 1, &count);
    size_t width = is_nd(c) ? (size_t)v->dims[v->rank - 1].size : 1;
    count = width == 0 ? 0 : count / width;
    int64_t *places = ox_arena_alloc(c->g->arena, count, sizeof *places);
    ox_table seen = {.arena = c->g->arena};
    for (size_t i = 0; i < count; i++) {
        places[i] = is_nd(c) ? tuple_place(c, index, i, width) : element_place(c, index, i);
        uint64_t hash = ox_hash(0, &places[i], sizeof places[i]);
        size_t at = OX_TABLE_START;
        for (const int64_t *p; (p = ox_table_next(&seen, hash, &at)) != NULL;) {
            if (*p == places[i]) {
                ox_rule_fail(c, "no rule for reduction mul where a place is written to twice");
            }
        }
        ox_table_add(&seen, hash, &places[i]);
    }
}

static ox_val mid(sides o)
{
    return ox_add(ox_scale(o.x, 0.5), ox_scale(o.x0, 0.5));
}

/* mul: a product of two where no place is written to twice. */
static void scatter_product(ox_ctx *c)
{
    need_different_places(c);
    sides update = sides_of(c, ox_x(c, 2), reference_of(c, 2));
    sides data = sides_of(c, ox_x(c, 0), ox_x0(c, 0));
    ox_val y = sides_of(c, ox_y(c, 0), ox_y0(c, 0)).d;
    ox_val pairs = take(c, y), factor = to_pairs(mid(update), pairs);
    ox_val change = put(c, ox_sub(factor, ox_number(factor, 1)), y);
    ox_send(c, 0, ox_mul(c->m, ox_add(change, ox_number(change, 1))));
    ox_send(c, 2, ox_mul(take(c, c->m), take(c, to_pairs(mid(data), y))));
}

void flow_scatter_reduced(ox_ctx *c)
{
    const char *reduction = ox_node_string(c->node, "reduction", "none");
    bool max = strcmp(reduction, "max") == 0, mul = strcmp(reduction, "mul") == 0;
    if (!max && !mul && strcmp(reduction, "min") != 0) {
        if (is_nd(c)) {
            flow_scatter_nd(c);
        } else {
            flow_scatter_elements(c);
        }
        return;
    }
    ox_need_fixed(c, 1);
    int rank = c->node->inputs[0]->rank;
    if (rank < 1 || rank + c->lead > OX_MAX_RANK || c->node->outputs[0]->rank != rank) {
        ox_rule_fail(c, "its shape cannot be used");
    }
    if (mul) {
        scatter_product(c);
    } else {
        scatter_extreme(c, max);
    }
}
