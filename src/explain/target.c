/* Targets: which values of the output are explained, and the multiplier that the walk starts with.
 *
 * The output, [N, D] after flattening all axes but the batch, is explained at K flat indices per
 * sample: constant ones, the largest, the smallest, or one that comes in as an input. The first
 * multiplier is 1 there and 0 elsewhere; for sums and differences it is 1 and -1 at several. */
#include "explain/target.h"

#include <string.h>

#include "base/names.h"
#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/objective.h"
#include "explain/ours.h"
#include "explain/places.h"
#include "lift/lift.h"
#include "rules/side.h"

enum { MAX_TARGETS = 1 << 16 };

static _Noreturn void bad_target(ox_explain_state *s, const char *why)
{
    ox_fail(s->arena, OX_ARGUMENT, "target \"%s\": %s", s->options->target, why);
}

/* ---- the output
 * ---------------------------------------------------------------------------------- */

/* Converters of classical models make maps of their scores, which are explained instead. */
static ox_val before_maps(ox_val output)
{
    const ox_node *n = output->node;
    bool map = n != NULL && strcmp(n->domain, "ai.onnx.ml") == 0 && strcmp(n->op, "ZipMap") == 0;
    return map && n->input_count > 0 && n->inputs[0] != NULL ? n->inputs[0] : output;
}

/* The first floating-point tensor on the way back from an output: the scores before an ArgMax. */
static ox_val before_choice(const ox_graph *g)
{
    for (size_t i = 0; i < g->output_count; i++) {
        ox_val v = g->outputs[i];
        for (size_t steps = 0; v != NULL && v->node != NULL && steps < g->node_count; steps++) {
            if (ox_type_is_float(v->type)) {
                return v;
            }
            v = ox_node_input(v->node, 0);
        }
    }
    return NULL;
}

ox_val ox_target_output(ox_explain_state *s)
{
    const char *name = s->options->output_name;
    ox_graph *g = s->model->graph;
    if (name != NULL) {
        ox_val named = ox_graph_find(g, name);
        if (named == NULL || named->is_input || named->constant != NULL) {
            ox_fail(s->arena, OX_ARGUMENT,
                    "the model has no output or tensor \"%s\" to explain, its outputs are %s", name,
                    ox_names_of(s->arena, s->model->outputs, g->output_count));
        }
        return named;
    }
    for (size_t i = 0; i < g->output_count; i++) {
        ox_val output = before_maps(g->outputs[i]);
        if (ox_type_is_float(output->type) || output != g->outputs[i]) {
            return output;
        }
    }
    s->no_output = true;
    ox_lift(s->model); /* which finds types */
    ox_val before = before_choice(g);
    ox_fail(s->arena, OX_UNSUPPORTED, "the model has no floating-point output%s%s%s",
            before == NULL ? "" : "; output-name=", before == NULL ? "" : before->name,
            before == NULL ? "" : " explains what it is chosen by");
}

/* Shape of the output without its batch axis, the explained values' own coordinates. */
static int own_dims(ox_explain_state *s, int64_t *dims, int64_t *total)
{
    int rank = 0;
    *total = 1;
    for (int i = 0; i < s->bind->output->rank; i++) {
        if (i == s->bind->output_batch_axis) {
            continue;
        }
        if (!ox_dim_is_static(s->bind->output->dims[i]) || rank == OX_MAX_RANK) {
            ox_bind_no_shape(s, "output ", s->bind->output->name);
        }
        dims[rank++] = s->bind->output->dims[i].size;
        if (!ox_int_mul(*total, s->bind->output->dims[i].size, total)) {
            ox_fail(s->arena, OX_UNSUPPORTED, "output \"%s\" is too large", s->bind->output->name);
        }
    }
    if (*total == 0) {
        ox_fail(s->arena, OX_UNSUPPORTED, "output \"%s\" is empty", s->bind->output->name);
    }
    return rank;
}

/* ---- [N, D] and back
 * -------------------------------------------------------------------------------- */

ox_dim ox_target_batch(const ox_explain_state *s)
{
    return s->bind->output_batch_axis < 0 ? ox_dim_of(1)
                                          : s->bind->output->dims[s->bind->output_batch_axis];
}

/* `v` of the output's own shape, batch first and the rest flattened. */
static ox_val flatten(ox_explain_state *s, ox_val v, int64_t total)
{
    int order[OX_MAX_RANK];
    int at = 0;
    if (s->bind->output_batch_axis >= 0) {
        order[at++] = s->bind->output_batch_axis;
    }
    for (int i = 0; i < s->bind->output->rank; i++) {
        if (i != s->bind->output_batch_axis) {
            order[at++] = i;
        }
    }
    ox_dim dims[2] = {ox_target_batch(s), ox_dim_of(total)};
    return ox_reshape(ox_transpose(v, order), 2, dims);
}

/* [K, N, D] as [K, 1, own shape] (without K for a single target, without 1 where references come
 * one at a time). */
static ox_val unflatten(ox_explain_state *s, ox_val v)
{
    ox_dim dims[OX_MAX_RANK];
    int order[OX_MAX_RANK];
    int many = s->target->many, lead = many + (s->branch->lead > many), rank = lead;
    for (int i = 0; i < lead; i++) {
        dims[i] = i < many ? v->dims[0] : ox_dim_of(1);
        order[i] = i;
    }
    if (s->bind->output_batch_axis >= 0) {
        dims[rank++] = ox_target_batch(s);
    }
    for (int i = 0; i < s->bind->output->rank; i++) {
        if (i != s->bind->output_batch_axis) {
            dims[rank++] = s->bind->output->dims[i];
        }
    }
    v = ox_reshape(v, rank, dims);
    for (int i = 0, next = 1; i < s->bind->output->rank;
         i++) { /* the batch axis where it belongs */
        bool batch = i == s->bind->output_batch_axis;
        order[lead + i] = lead + (batch ? 0 : s->bind->output_batch_axis < 0 ? i : next++);
    }
    return ox_transpose(v, order);
}

/* Places, differences and lists: returns their flat indices [K]; for sums and differences also the
 * constant rows [K, 1, D] that pick them. */
static ox_val constant_targets(ox_explain_state *s, ox_target *t, const char *text)
{
    int64_t own[OX_MAX_RANK], total, *indices;
    double *rows;
    int rank = own_dims(s, own, &total);
    size_t count =
        ox_target_places(s->arena, text, s->bind->output->name, rank, own, &indices, &rows);
    bool sums = false;
    for (size_t k = 0; k < count; k++) {
        sums = sums || indices[k] < 0;
    }
    int64_t dims[3] = {(int64_t)count, 1, t->size};
    t->count = (int64_t)count;
    t->many = count > 1;
    t->picked = rows;
    t->rows = sums ? ox_floats(s->g, s->bind->type, 3, dims, rows) : NULL;
    return ox_ints(s->g, count, indices);
}

/* The sum over the output, each value times that of the array. */
static ox_val mask_target(ox_explain_state *s, ox_target *t)
{
    int64_t own[OX_MAX_RANK], total, nowhere = -1;
    int rank = own_dims(s, own, &total);
    const ox_tensor *mask = s->options->target_array;
    const double *row = ox_objective_array(s, total);
    int lead = mask->rank == rank + 1 && mask->dims[0] == 1;
    bool same = mask->rank - lead == rank;
    for (int d = 0; same && d < rank; d++) {
        same = mask->dims[d + lead] == own[d];
    }
    if (!same) {
        bad_target(s, "the mask has not the shape of one sample's output");
    }
    int64_t dims[3] = {1, 1, total};
    t->count = 1;
    t->picked = row;
    t->rows = ox_floats(s->g, s->bind->type, 3, dims, row);
    return ox_ints(s->g, 1, &nowhere);
}

/* For each slice of a list the place of its largest value, [N, K]. A comma at the end makes a list
 * of one, such as "top:3,". */
static ox_val best_of_slices(ox_explain_state *s, ox_target *t, const char *text)
{
    int64_t own[OX_MAX_RANK];
    ox_place_reader r = {.arena = s->arena, .target = s->options->target, .dims = own};
    r.rank = own_dims(s, own, &r.total);
    ox_val y = flatten(s, ox_predicted(s), r.total), *each = NULL;
    size_t count = 0;
    int64_t *flat = ox_arena_alloc(s->arena, (size_t)r.total, sizeof *flat);
    ox_attr axis = ox_attr_int("axis", 1);
    for (bool more = true; more; count++) {
        size_t places = ox_place_slice(&r, &text, flat);
        if (*text != ',' && *text != '\0') {
            ox_place_refuse(&r, "unexpected characters after an index");
        }
        ox_val where = ox_ints(s->g, places, flat), part = ox_gather(y, where, 1);
        each = ox_arena_grow(s->arena, each, count, sizeof *each);
        each[count] = ox_gather(where, ox_graph_emit(s->g, "ArgMax", 1, &part, 1, &axis), 0);
        text += *text == ',';
        more = *text != '\0';
    }
    t->count = (int64_t)count;
    t->many = count > 1;
    return count > 1 ? ox_concat(s->g, count, each, 1) : each[0];
}

/* Gigabytes of SHAP values of one sample, for as many targets. */
static double result_size(const ox_explain_state *s, size_t targets)
{
    double values = 0;
    for (size_t i = 0; i < s->bind->input_count; i++) {
        ox_dim size = ox_val_size(s->bind->inputs[i].x);
        double width = (double)ox_type_size(ox_side_type(s->bind->inputs[i].x->type));
        values += size.unknown == 0 ? (double)size.size * width : 0;
    }
    return values * (double)targets / 1e9;
}

static ox_val all_targets(ox_explain_state *s, ox_target *t)
{
    size_t n = (size_t)t->size;
    if (n > MAX_TARGETS) {
        bad_target(s, ox_arena_format(s->arena,
                                      "the output has %zu values, %d can be explained at most; "
                                      "SHAP values of one sample would take %.3g GB",
                                      n, MAX_TARGETS, result_size(s, n)));
    }
    int64_t *indices = ox_arena_alloc(s->arena, n, sizeof *indices);
    for (size_t i = 0; i < n; i++) {
        indices[i] = (int64_t)i;
    }
    t->count = t->size;
    t->many = true;
    return ox_ints(s->g, n, indices);
}

/* [K, N, D] with 1 at the flat indices [K, N], and none for an index beyond D. */
static ox_val one_hot(ox_explain_state *s, ox_val indices)
{
    double off_on[2] = {0, 1};
    ox_graph *g = indices->graph;
    ox_val in[] = {indices, ox_int_scalar(g, s->target->size),
                   ox_floats(g, OX_FLOAT, 1, (int64_t[]){2}, off_on)};
    return ox_cast(ox_graph_emit(g, "OneHot", 3, in, 0, NULL),
                   s->bind->type); /* no double kernel */
}

/* The K best of each sample, [N, K]: by TopK, or ArgMax for a single one. */
static ox_val best(ox_explain_state *s, const char *order, int64_t count, int64_t total)
{
    ox_val y = flatten(s, ox_predicted(s), total);
    if (count < 1 || count > total) {
        bad_target(s, ox_arena_format(s->arena, "the output has %lld values", (long long)total));
    }
    if (strcmp(order, "absolute") == 0) {
        y = ox_abs(y);
    }
    bool largest = strcmp(order, "bottom") != 0;
    if (count == 1) {
        ox_attr axis = ox_attr_int("axis", 1);
        return ox_graph_emit(s->g, largest ? "ArgMax" : "ArgMin", 1, &y, 1, &axis);
    }
    ox_attr attrs[] = {ox_attr_int("axis", 1), ox_attr_int("largest", largest)};
    ox_val in[] = {ox_cast(y, y->type == OX_DOUBLE ? OX_DOUBLE : OX_FLOAT),
                   ox_ints(s->g, 1, &count)};
    return ox_graph_emit_node(s->g, "", "TopK", 2, in, 2, 2, attrs)->outputs[1];
}

/* The flat indices as given, negative ones counted from the end. A Gather from 0, 1, .. stops the
 * run by an index beyond the output, where OneHot would explain nothing. */
static ox_val checked(ox_explain_state *s, ox_val given, int64_t size)
{
    const char *former = ox_graph_scope(s->g, "onnxexplainer/target/shap_target_input");
    ox_val indices = ox_gather(ox_iota_of(ox_int_scalar(s->g, size)), given, 0);
    ox_graph_scope(s->g, former);
    return indices;
}

static ox_val target_input(ox_explain_state *s, int64_t size)
{
    ox_dim dims[2] = {ox_target_batch(s), ox_dim_of(1)};
    int rank = s->bind->output_batch_axis < 0 ? 0 : 1;
    ox_val given = ox_ours_input(s, "shap_target_input", rank, dims);
    return ox_reshape(checked(s, given, size), 2, dims);
}

/* "top:3,top:0" and "top:top" are places. */
static bool is_list(const char *text)
{
    return strchr(text, ',') != NULL || strcmp(text, "top:top") == 0 ||
           strchr(strchr(text, ':') + 1, ':') != NULL;
}

/* "top:3" and the like: the order and K. */
static bool parse_best(ox_explain_state *s, const char *text, const char **order, int64_t *count)
{
    static const char *const orders[] = {"top", "bottom", "absolute"};
    for (size_t i = 0; i < 3; i++) {
        size_t length = strlen(orders[i]);
        if (strncmp(text, orders[i], length) == 0 && text[length] == ':' && !is_list(text)) {
            text += length + 1;
            *order = orders[i];
            *count = ox_place_number(
                &(ox_place_reader){.arena = s->arena, .target = s->options->target}, &text);
            if (*text != '\0') {
                bad_target(s, "unexpected characters after the number");
            }
            return true;
        }
    }
    *order = "top";
    *count = 1;
    return strcmp(text, "top") == 0;
}

const ox_target *ox_target_find(ox_explain_state *s)
{
    const char *text = s->aim;
    int64_t dims[OX_MAX_RANK], count = 1;
    const char *order = NULL;
    ox_target *t = ox_arena_alloc(s->arena, 1, sizeof *t);
    own_dims(s, dims, &t->size);
    t->count = 1;
    const char *former = ox_graph_scope(s->g, "onnxexplainer/target");
    if (parse_best(s, text, &order, &count)) {
        t->flat = best(s, order, count, t->size);
        t->count = count;
        t->many = strchr(text, ':') != NULL;
    } else if (strcmp(text, "input") == 0) {
        t->flat = target_input(s, t->size);
    } else if (ox_place_has_top(text)) {
        t->flat = best_of_slices(s, t, text);
    } else {
        ox_val flat = strcmp(text, "all") == 0    ? all_targets(s, t)
                      : strcmp(text, "mask") == 0 ? mask_target(s, t)
                                                  : constant_targets(s, t, text);
        ox_dim each[2] = {ox_target_batch(s), ox_dim_of(t->count)};
        t->flat = ox_expand(ox_unsqueeze(flat, 0), 2, each);
    }
    ox_graph_scope(s->g, former);
    return t;
}

ox_val ox_target_seed(ox_explain_state *s, ox_val indices)
{
    const char *former = ox_graph_scope(indices->graph, "onnxexplainer/target");
    ox_dim each[3] = {ox_dim_of(s->target->count), ox_target_batch(s), ox_dim_of(s->target->size)};
    ox_val given = s->target->rows;
    if (given != NULL && given->graph != indices->graph) {
        given = ox_graph_constant(indices->graph, NULL, given->constant);
    }
    ox_val rows = given != NULL ? ox_expand(given, 3, each) : one_hot(s, indices);
    ox_val seed = unflatten(s, rows);
    ox_graph_scope(indices->graph, former);
    return seed;
}

ox_val ox_target_pick(ox_explain_state *s, ox_val seed, ox_val values)
{
    int64_t axes[OX_MAX_RANK];
    size_t count = 0;
    int rank = s->bind->output->rank;
    for (int i = 0; i < rank; i++) {
        if (i != s->bind->output_batch_axis) {
            axes[count++] = i - rank;
        }
    }
    /* where the seed is 0, so is the term, be the value infinite */
    ox_val zero = ox_number(seed, 0);
    ox_val terms = ox_where(ox_equal(seed, zero), zero, ox_mul(seed, values));
    return ox_reduce("ReduceSum", terms, count, axes, false);
}

bool ox_target_is_picked(const ox_explain_state *s, ox_val values)
{
    int batch = s->bind->output_batch_axis;
    return s->target->rows == NULL && s->branch->flow == s->g &&
           values->rank == s->bind->output->rank + 1 && ox_dim_is(values->dims[0], 1) &&
           (batch < 0 || ox_dim_is(values->dims[1 + batch], 1));
}

ox_val ox_target_picked(ox_explain_state *s, ox_val values)
{
    const ox_dim all[] = {ox_dim_of(s->target->size)};
    const ox_dim dims[] = {ox_dim_of(s->target->count), ox_target_batch(s)};
    ox_val v = ox_gather(ox_reshape(values, 1, all), s->target->flat, 0);
    return s->target->count == 1 ? ox_reshape(v, 2, dims) : ox_transpose(v, (int[]){1, 0});
}

ox_val ox_target_read(ox_explain_state *s, ox_val y, ox_val flat)
{
    ox_graph *g = y->graph;
    y = flatten(s, ox_cast(y, s->bind->type), s->target->size);
    if (s->target->rows == NULL) {
        return ox_gather_elements(y, flat, 1);
    }
    ox_val rows = ox_graph_constant(g, NULL, s->target->rows->constant); /* [K, 1, D] */
    ox_val zero = ox_number(rows, 0), y1 = ox_unsqueeze(y, 0);
    ox_val terms = ox_where(ox_equal(rows, zero), zero, ox_mul(rows, y1));
    return ox_transpose(ox_sum(terms, -1, false), (int[]){1, 0});
}

ox_val ox_target_value(ox_explain_state *s)
{
    ox_val y = ox_cast(ox_predicted(s), s->bind->type);
    ox_val by_target = ox_transpose(s->target->flat, (int[]){1, 0});
    if (s->target->rows == NULL) {
        ox_val values = ox_gather_elements(flatten(s, y, s->target->size), s->target->flat, 1);
        return ox_transpose(values, (int[]){1, 0});
    }
    ox_dim dims[2] = {ox_dim_of(s->target->count), ox_target_batch(s)};
    return ox_reshape(ox_target_pick(s, ox_target_seed(s, by_target), y), 2, dims);
}
