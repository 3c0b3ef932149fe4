/* Writing by an index that varies: as rules/pick.c picks. Where a tuple of the index says so, a
 * place takes the update in place of what it had, by the rules of a step and of Where, so that
 * index, data and updates get the mean of their effects with the others on either side. */
#include <string.h>

#include "rules/decompose.h"
#include "rules/pick.h"

/* [.., Q, P], 1 where tuple q writes to place p: without those that a later one writes over. */
static ox_val last_ones(ox_val w)
{
    if (ox_dim_is(w->dims[w->rank - 2], 1)) {
        return w;
    }
    ox_attr attrs[] = {ox_attr_int("exclusive", 1), ox_attr_int("reverse", 1)};
    ox_val in[] = {w, ox_int_scalar(w->graph, -2)};
    ox_val later = ox_graph_emit(w->graph, "CumSum", 2, in, 2, attrs);
    return ox_where(ox_greater(later, ox_number(later, 0)), ox_number(w, 0), w);
}

static ox_val over_tuples(const char *reduce, ox_val v)
{
    return ox_reduce(reduce, v, 1, (int64_t[]){-3}, false);
}

/* data [.., P, S] with updates [.., Q, S] at the places that the weights [.., Q, P] name. */
static ox_val put(const ox_node *n, ox_val data, ox_val w, ox_val updates)
{
    const char *reduction = ox_node_string(n, "reduction", "none");
    bool none = strcmp(reduction, "none") == 0, add = strcmp(reduction, "add") == 0;
    w = none ? last_ones(w) : w;
    ox_val there = ox_greater(w, ox_number(w, 0)), u = ox_unsqueeze(updates, -2);
    there = ox_unsqueeze(there, -1);
    if (none || add) {
        ox_val sum = over_tuples("ReduceSum", ox_where(there, u, ox_number(u, 0)));
        if (add) {
            return ox_add(data, sum);
        }
        ox_val hits = ox_unsqueeze(ox_sum(w, -2, false), -1);
        data = ox_where(ox_greater(hits, ox_number(hits, 0)), ox_number(data, 0), data);
        return ox_add(data, sum);
    }
    if (strcmp(reduction, "mul") == 0) {
        ox_val factors = ox_where(there, u, ox_number(u, 1));
        return ox_mul(data, over_tuples("ReduceProd", factors));
    }
    bool max = strcmp(reduction, "max") == 0;
    if (!max && strcmp(reduction, "min") != 0) {
        ox_made_fail(n, "no rule for its reduction");
    }
    ox_val all = ox_where(there, u, ox_unsqueeze(data, -3));
    return ox_binary(max ? "Max" : "Min", data, over_tuples(max ? "ReduceMax" : "ReduceMin", all));
}

/* Where the index is shorter than the data along axes but the one that it names, what it does not
 * reach stays: y, of the part that it reaches, with the rest of x around. */
static ox_val with_rest(const ox_node *n, ox_val y, ox_val x, ox_val index, int axis)
{
    for (int d = x->rank - 1; d >= 0; d--) {
        if (d != axis && !ox_dim_equal(x->dims[d], index->dims[d])) {
            ox_val rest = x;
            for (int e = 0; e < d; e++) {
                bool whole = e == axis || ox_dim_equal(x->dims[e], index->dims[e]);
                rest = whole ? rest : ox_slice(rest, e, 0, ox_made_size(n, index, e), 1);
            }
            int64_t from = ox_made_size(n, index, d);
            rest = ox_slice(rest, d, from, ox_made_size(n, x, d), 1);
            y = ox_concat(x->graph, 2, (ox_val[]){y, rest}, d);
        }
    }
    return y;
}

/* Whether all dimensions are known, of samples, references, or static. */
static bool has_shape(ox_val v)
{
    bool known = v->rank >= 0;
    for (int d = 0; known && d < v->rank; d++) {
        known = v->dims[d].unknown == 0;
    }
    return known;
}

/* Along the axis, which is put last. */
void decompose_scatter_elements(const ox_node *n, ox_val *outputs)
{
    if (!ox_input_varies(n, 1) || !has_shape(n->inputs[1])) {
        return; /* its rule, which refuses an index that varies */
    }
    ox_val x = ox_pick_reals(ox_made_of_rank(n, 0, 1, OX_MAX_RANK - 4));
    ox_val index = ox_made_of_rank(n, 1, x->rank, x->rank);
    ox_val updates = ox_pick_reals(ox_made_of_rank(n, 2, x->rank, x->rank));
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", 0), x->rank), last = x->rank - 1;
    ox_val part = ox_pick_reached(n, x, index, axis);
    ox_val at = ox_pick_move_axis(index, axis, last);
    ox_val w = ox_pick_weights(at, ox_made_size(n, x, axis), x->type);
    ox_val data = ox_unsqueeze(ox_pick_move_axis(part, axis, last), -1);
    ox_val u = ox_unsqueeze(ox_pick_move_axis(updates, axis, last), -1);
    ox_val y = ox_squeeze(put(n, data, w, u), -1);
    outputs[0] =
        ox_made_result(n, 0, with_rest(n, ox_pick_move_axis(y, last, axis), x, index, axis));
}

/* Of the whole data, or of each sample's own where the first of a tuple is its number. */
void decompose_scatter_nd(const ox_node *n, ox_val *outputs)
{
    bool varies = ox_input_varies(n, 1);
    if (!(varies || ox_pick_is_held(n)) || !has_shape(n->inputs[1])) {
        return;
    }
    ox_val x = ox_pick_reals(ox_made_of_rank(n, 0, 1, OX_MAX_RANK - 4));
    ox_val index = ox_made_of_rank(n, 1, 1, OX_MAX_RANK - 4);
    ox_val updates = ox_pick_reals(ox_made_ranked(n, 2)), others = ox_pick_in_own(x, index);
    if (others == NULL && !varies) {
        return; /* its rule */
    }
    int batch = others == NULL ? 0 : 1;
    index = others == NULL ? index : others;
    int64_t count = ox_made_size(n, index, index->rank - 1);
    if (count < 1 || count > x->rank - batch || updates->rank < index->rank - 1) {
        ox_made_fail(n, "its shapes do not fit");
    }
    if (!ox_dim_is_static(x->dims[batch])) {
        ox_made_fail(n, "its index depends on the explained inputs, and does not begin with the "
                        "sample's number");
    }
    ox_val w = ox_pick_tuples(n, x, index, batch, (int)count);
    ox_val data = ox_pick_flat(n, x, batch, (int)count);
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, w->dims, (size_t)(batch + 1) * sizeof *dims);
    dims[batch + 1] = data->dims[batch + 1];
    ox_val y = put(n, data, w, ox_reshape(updates, batch + 2, dims));
    outputs[0] = ox_made_result(n, 0, ox_reshape(y, x->rank, x->dims));
}
