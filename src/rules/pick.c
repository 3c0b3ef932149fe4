/* Picking by an index that varies, from data that vary: two players. The index becomes a weight of
 * 1 at the position that it names and 0 at others, and what is picked the product of both, so that
 * the rules of a step and of a product make the split: each player gets the mean of its effects
 * with the other one on either side. Indices that ArgMax makes of whole numbers are such steps. */
#include <math.h>
#include <string.h>

#include "rules/cut.h"
#include "rules/decompose.h"
#include "rules/own.h"
#include "rules/pick.h"
#include "rules/side.h"
#include "shape/shape.h"

ox_val ox_pick_reals(ox_val x)
{
    return ox_type_is_float(x->type) ? x : ox_cast(x, OX_DOUBLE);
}

ox_val ox_pick_weights(ox_val index, int64_t size, ox_type type)
{
    ox_val at = ox_unsqueeze(ox_cast(index, OX_INT64), -1);
    ox_val front = ox_made_range(at, size, 0), behind = ox_shift(front, -(double)size);
    return ox_add(ox_cast(ox_equal(at, front), type), ox_cast(ox_equal(at, behind), type));
}

static void product(ox_dim *dims, const ox_node *n, ox_val v, int first, int end)
{
    int64_t count = 1;
    for (int d = first; d < end; d++) {
        if (!ox_int_mul(count, ox_made_size(n, v, d), &count)) {
            ox_made_fail(n, "its size is too large");
        }
    }
    *dims = ox_dim_of(count);
}

ox_val ox_pick_move_axis(ox_val v, int axis, int to)
{
    int order[OX_MAX_RANK], at = 0;
    for (int d = 0; d < v->rank; d++) {
        if (at == to) {
            order[at++] = axis;
        }
        if (d != axis) {
            order[at++] = d;
        }
    }
    if (at == to) {
        order[at] = axis;
    }
    return ox_transpose(v, order);
}

ox_val ox_pick_reached(const ox_node *n, ox_val x, ox_val index, int axis)
{
    for (int d = 0; d < x->rank; d++) {
        if (d != axis && !ox_dim_equal(x->dims[d], index->dims[d])) {
            x = ox_slice(x, d, 0, ox_made_size(n, index, d), 1);
        }
    }
    return x;
}

ox_val ox_pick_tuples(const ox_node *n, ox_val x, ox_val index, int batch, int count)
{
    ox_val all = NULL;
    int rank = index->rank; /* of the weights: index axes but the last, and positions */
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, index->dims, (size_t)rank * sizeof *dims);
    for (int k = 0; k < count; k++) {
        ox_val one = ox_squeeze(ox_slice(index, -1, k, k + 1, 1), -1);
        ox_val w = ox_pick_weights(one, ox_made_size(n, x, batch + k), x->type);
        product(&dims[rank - 1], n, x, batch, batch + k + 1);
        all = all == NULL
                  ? w
                  : ox_reshape(ox_mul(ox_unsqueeze(all, -1), ox_unsqueeze(w, -2)), rank, dims);
    }
    if (rank == batch + 2) {
        return all;
    }
    ox_dim between = ox_dim_of(1); /* whatever the index has there becomes one axis */
    for (int d = batch; d < rank - 1; d++) {
        between = ox_dim_mul(x->graph, between, index->dims[d]);
    }
    dims[batch + 1] = dims[rank - 1];
    dims[batch] = between;
    return ox_reshape(all, batch + 2, dims);
}

ox_val ox_pick_flat(const ox_node *n, ox_val x, int batch, int count)
{
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, x->dims, (size_t)batch * sizeof *dims);
    product(&dims[batch], n, x, batch, batch + count);
    product(&dims[batch + 1], n, x, batch + count, x->rank);
    return ox_reshape(x, batch + 2, dims);
}

/* ---- picking for each sample from all of them ------------------------------------------------ */

bool ox_pick_is_held(const ox_node *n)
{
    const ox_side *side = ox_side_of(n->inputs[1]);
    return side->of_held && !side->varies;
}

/* A sample picks from its own part: x [N*T, ..] by T*n + position, index [N, ..]. The same by
 * position, x [N, T, ..], in batches; `tuples` of one number where the index ends in an axis of
 * these. NULL where it is not so. */
static ox_val pick_of_own(const ox_node *n, ox_val x, ox_val index, bool tuples)
{
    const ox_place *rows = &ox_side_of(n->inputs[0])->place, *samples = &ox_side_of(index)->place;
    ox_dim dims[OX_MAX_RANK];
    if (!rows->known || rows->axis != 0 || rows->before != 1 || !samples->known ||
        samples->axis != 0 || index->dims[0].size != 1 || x->rank >= OX_RANK_LIMIT) {
        return NULL;
    }
    if (!ox_own_numbers(index, rows->after)) {
        return NULL;
    }
    dims[0] = index->dims[0];
    dims[1] = ox_dim_of(rows->after);
    memcpy(dims + 2, x->dims + 1, (size_t)(x->rank - 1) * sizeof *dims);
    x = ox_reshape(x, x->rank + 1, dims);
    ox_val first = ox_made_column(ox_made_counted(index, 0), index->rank - 1);
    ox_val position = ox_sub(ox_cast(index, OX_INT64), ox_scale(first, (double)rows->after));
    ox_val in[] = {x, tuples ? position : ox_unsqueeze(position, -1)};
    ox_attr batch = ox_attr_int("batch_dims", 1);
    return ox_made_result(n, 0, ox_graph_emit(x->graph, "GatherND", 2, in, 1, &batch));
}

/* The first of a tuple is the sample's own number: the others pick within it. */
ox_val ox_pick_in_own(ox_val x, ox_val index)
{
    const ox_node *join = index->node;
    const ox_place *samples = &ox_side_of(index)->place;
    bool tuple = index->rank >= 2 && samples->known && samples->axis == 0 &&
                 index->dims[0].size == 1 && ox_node_is(join, "Concat") && join->input_count > 1;
    ox_val first = tuple ? ox_own_part(index, 0) : NULL;
    if (first == NULL || !ox_dim_equal(x->dims[0], index->dims[0]) || !ox_own_number(first)) {
        return NULL;
    }
    ox_attr along = ox_attr_int("axis", -1);
    return ox_graph_emit(x->graph, "Concat", join->input_count - 1, join->inputs + 1, 1, &along);
}

static ox_val pick_in_own(const ox_node *n, ox_val x, ox_val index)
{
    ox_val others = ox_pick_in_own(x, index);
    if (others == NULL) {
        return NULL;
    }
    ox_attr batch = ox_attr_int("batch_dims", 1);
    ox_val in[] = {x, others};
    return ox_made_result(n, 0, ox_graph_emit(x->graph, "GatherND", 2, in, 1, &batch));
}

/* ---- the operators --------------------------------------------------------------------------- */

/* weights [index, L] times x [L, others] is [index, others], whose first axes then go to where the
 * axis was. */
void decompose_gather(const ox_node *n, ox_val *outputs)
{
    bool varies = ox_input_varies(n, 1);
    if (!ox_input_varies(n, 0) || !(varies || ox_pick_is_held(n))) {
        outputs[0] = varies ? NULL : ox_cut_part(n);
        return; /* else its rule */
    }
    ox_val x = ox_pick_reals(ox_made_ranked(n, 0)), index = ox_made_ranked(n, 1), y = n->outputs[0];
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", 0), x->rank);
    outputs[0] = axis == 0 ? pick_of_own(n, x, index, false) : NULL;
    if (outputs[0] != NULL || !varies) {
        return;
    }
    ox_val moved = ox_pick_move_axis(x, axis, 0);
    ox_dim flat[2] = {moved->dims[0]}, dims[OX_MAX_RANK];
    product(&flat[1], n, moved, 1, moved->rank);
    ox_val w = ox_pick_weights(index, ox_made_size(n, x, axis), x->type);
    ox_val picked = ox_matmul(w, ox_reshape(moved, 2, flat));
    memcpy(dims, index->dims, (size_t)index->rank * sizeof *dims);
    memcpy(dims + index->rank, moved->dims + 1, (size_t)(moved->rank - 1) * sizeof *dims);
    picked = ox_reshape(picked, index->rank + moved->rank - 1, dims);
    int order[OX_MAX_RANK];
    for (int d = 0; d < picked->rank; d++) {
        order[d] = d < axis ? index->rank + d : d < axis + index->rank ? d - axis : d;
    }
    outputs[0] = ox_made_result(n, 0, ox_reshape(ox_transpose(picked, order), y->rank, y->dims));
}

/* Along the axis, which is put last: weights [.., J, L] times x [.., L, 1]. */
void decompose_gather_elements(const ox_node *n, ox_val *outputs)
{
    if (!ox_input_varies(n, 1) || !ox_input_varies(n, 0)) {
        return;
    }
    ox_val x = ox_pick_reals(ox_made_ranked(n, 0)), index = ox_made_of_rank(n, 1, x->rank, x->rank);
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", 0), x->rank), last = x->rank - 1;
    x = ox_pick_reached(n, x, index, axis);
    ox_val w =
        ox_pick_weights(ox_pick_move_axis(index, axis, last), ox_made_size(n, x, axis), x->type);
    ox_val picked = ox_matmul(w, ox_unsqueeze(ox_pick_move_axis(x, axis, last), -1));
    outputs[0] = ox_made_result(n, 0, ox_pick_move_axis(ox_squeeze(picked, -1), last, axis));
}

/* weights [batch, Q, P] times x [batch, P, S]. */
void decompose_gather_nd(const ox_node *n, ox_val *outputs)
{
    bool varies = ox_input_varies(n, 1);
    if (!varies && !(ox_input_varies(n, 0) && ox_pick_is_held(n))) {
        return;
    }
    ox_val x = ox_pick_reals(ox_made_of_rank(n, 0, 1, OX_MAX_RANK - 4));
    ox_val index = ox_made_of_rank(n, 1, 1, OX_MAX_RANK - 4), y = n->outputs[0];
    int64_t batch = ox_node_int(n, "batch_dims", 0),
            count = ox_made_size(n, index, index->rank - 1);
    if (batch < 0 || batch >= index->rank || count < 1 || count > x->rank - batch || y->rank < 0) {
        ox_made_fail(n, "its shapes do not fit");
    }
    if (batch == 0) {
        outputs[0] = count == 1 ? pick_of_own(n, x, index, true) : pick_in_own(n, x, index);
    }
    if (outputs[0] != NULL || !varies) {
        return;
    }
    ox_val w = ox_pick_tuples(n, x, index, (int)batch, (int)count);
    x = ox_pick_flat(n, x, (int)batch, (int)count);
    outputs[0] = ox_made_result(n, 0, ox_reshape(ox_matmul(w, x), y->rank, y->dims));
}

enum { WHOLE_VISITS = 1000 };

static bool is_whole_number(double a)
{
    return a == floor(a);
}

static bool is_zero(double a)
{
    return a == 0;
}

/* Whether v is a constant of such numbers. */
static bool are_all(ox_val v, bool (*holds)(double))
{
    size_t count = 0;
    const double *numbers = ox_numbers(v, &count);
    bool all = numbers != NULL;
    for (size_t i = 0; all && i < count; i++) {
        all = holds(numbers[i]);
    }
    return all;
}

/* Whether v holds whole numbers, whatever the inputs are: by its type, or as the floats that are
 * made of such, as the indicators of bins that sklearn's export takes the ArgMax of. `visits`
 * counts down: what is not found out by then is not. */
static bool is_whole(ox_val v, int *visits)
{
    static const struct {
        const char *op;
        bool one; /* by its first input alone */
    } keeps[] = {{"Abs", true},      {"Add", false},     {"Cast", true},      {"Concat", false},
                 {"Flatten", true},  {"Identity", true}, {"Mul", false},      {"Neg", true},
                 {"Reshape", true},  {"Squeeze", true},  {"Transpose", true}, {"Sub", false},
                 {"Unsqueeze", true}};
    const ox_node *n = v->node;
    if (!ox_type_is_float(v->type) || are_all(v, is_whole_number)) {
        return true;
    }
    if (n == NULL || n->domain[0] != '\0' || --*visits < 0) {
        return false;
    }
    if (strcmp(n->op, "Mul") == 0 &&
        (are_all(n->inputs[0], is_zero) || are_all(n->inputs[1], is_zero))) {
        return true;
    }
    for (size_t k = 0; k < sizeof keeps / sizeof *keeps; k++) {
        if (strcmp(n->op, keeps[k].op) == 0) {
            bool whole = true;
            for (size_t i = 0; whole && i < (keeps[k].one ? 1 : n->input_count); i++) {
                whole = is_whole(n->inputs[i], visits);
            }
            return whole;
        }
    }
    return false;
}

/* sum(p Hardmax(x)_p): the first of the largest, exact up to 2^24, beyond which ids do not go. Of
 * floats its multipliers would have no bound: these stay without one. */
void decompose_arg_max(const ox_node *n, ox_val *outputs)
{
    int visits = WHOLE_VISITS;
    ox_val given = ox_made_ranked(n, 0);
    if (!is_whole(n->inputs[0], &visits) || ox_node_int(n, "select_last_index", 0) != 0) {
        return;
    }
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", 0), given->rank);
    int64_t from_end = axis - given->rank;
    ox_val x = ox_cast(given, OX_FLOAT);
    x = strcmp(n->op, "ArgMin") == 0 ? ox_neg(x) : x;
    ox_attr attr = ox_attr_int("axis", from_end);
    ox_val hit = ox_graph_emit(x->graph, "Hardmax", 1, &x, 1, &attr);
    ox_val places = ox_made_range(hit, ox_made_size(n, given, axis), (int)-from_end - 1);
    bool keep = ox_node_int(n, "keepdims", 1) != 0;
    outputs[0] = ox_made_result(n, 0, ox_sum(ox_mul(hit, places), from_end, keep));
}
