/* Sequences and optional values, followed to the tensors that they hold. A sequence whose contents
 * are known is the output of a SequenceConstruct or SequenceEmpty; other operators on sequences
 * are written out as one of these. */
#include <string.h>

#include "lift/control.h"
#include "shape/shape.h"

typedef struct items {
    const ox_val *values;
    size_t count;
} items;

ox_val ox_control_origin(const ox_control *c, ox_val v)
{
    while (v != NULL && v->node != NULL) {
        const ox_node *n = v->node;
        if (n->no_parts != NULL) {
            ox_fail(n->graph->arena, OX_UNSUPPORTED, "%s", n->no_parts);
        }
        if (n->parts == NULL && !ox_node_is(n, "Identity")) {
            break;
        }
        v = n->parts != NULL ? n->parts[v->output] : ox_node_input(n, 0);
    }
    if (v == NULL) {
        ox_control_fail(c, "an input is missing");
    }
    return v;
}

bool ox_control_is_sequence(ox_val v)
{
    return ox_node_is(v->node, "SequenceConstruct") || ox_node_is(v->node, "SequenceEmpty");
}

static items items_of(const ox_control *c, size_t i)
{
    ox_val v = ox_control_origin(c, ox_node_input(c->node, i));
    if (!ox_control_is_sequence(v)) {
        ox_control_fail(c, "what its sequence holds is not known");
    }
    bool empty = ox_node_is(v->node, "SequenceEmpty");
    items s = {v->node->inputs, empty ? 0 : v->node->input_count};
    for (size_t k = 0; k < s.count; k++) {
        if (s.values[k] == NULL) {
            ox_control_fail(c, "its sequence lacks a tensor");
        }
    }
    return s;
}

/* Long sequences count as nodes: a loop may write one anew each step. */
static ox_val sequence_of(const ox_control *c, size_t count, const ox_val *values)
{
    ox_control_spend(c, count / 16);
    return count == 0 ? ox_graph_emit(c->node->graph, "SequenceEmpty", 0, NULL, 0, NULL)
                      : ox_graph_emit(c->node->graph, "SequenceConstruct", count, values, 0, NULL);
}

/* Input i as a position among `count`, negative ones from the end. */
static size_t position(const ox_control *c, size_t i, int64_t otherwise, size_t count)
{
    int64_t at = otherwise;
    if (ox_node_input(c->node, i) != NULL && !ox_shape_number(c->node, i, &at)) {
        ox_control_fail(c, "its position is known at run time only");
    }
    int64_t whole = (int64_t)count;
    if (at < -whole || at >= whole) {
        ox_control_fail(c, "its position is beyond its sequence");
    }
    return (size_t)(at < 0 ? at + whole : at);
}

static void expand_at(const ox_control *c, ox_val *outputs)
{
    items s = items_of(c, 0);
    outputs[0] = s.values[position(c, 1, 0, s.count)];
}

static void expand_length(const ox_control *c, ox_val *outputs)
{
    outputs[0] = ox_int_scalar(c->node->graph, (int64_t)items_of(c, 0).count);
}

static void expand_insert(const ox_control *c, ox_val *outputs)
{
    items s = items_of(c, 0);
    bool last = ox_node_input(c->node, 2) == NULL;
    size_t at = last ? s.count : 0;
    int64_t given = 0;
    if (!last && ox_shape_number(c->node, 2, &given) && given == (int64_t)s.count) {
        at = s.count;
    } else if (!last) {
        at = position(c, 2, 0, s.count);
    }
    ox_val *values = ox_arena_alloc(c->node->graph->arena, s.count + 1, sizeof *values);
    for (size_t i = 0; i < s.count; i++) {
        values[i < at ? i : i + 1] = s.values[i];
    }
    values[at] = ox_control_origin(c, ox_node_input(c->node, 1));
    outputs[0] = sequence_of(c, s.count + 1, values);
}

static void expand_erase(const ox_control *c, ox_val *outputs)
{
    items s = items_of(c, 0);
    size_t at = position(c, 1, -1, s.count), kept = 0;
    ox_val *values = ox_arena_alloc(c->node->graph->arena, s.count, sizeof *values);
    for (size_t i = 0; i < s.count; i++) {
        if (i != at) {
            values[kept++] = s.values[i];
        }
    }
    outputs[0] = sequence_of(c, kept, values);
}

static void expand_concat(const ox_control *c, ox_val *outputs)
{
    items s = items_of(c, 0);
    ox_graph *g = c->node->graph;
    int64_t axis = ox_node_int(c->node, "axis", 0);
    bool new_axis = ox_node_int(c->node, "new_axis", 0) != 0;
    ox_val *values = ox_arena_alloc(g->arena, s.count, sizeof *values);
    if (s.count == 0) {
        ox_control_fail(c, "its sequence is empty");
    }
    for (size_t i = 0; i < s.count; i++) {
        values[i] = new_axis ? ox_unsqueeze(s.values[i], axis) : s.values[i];
    }
    outputs[0] = ox_concat(g, s.count, values, axis);
}

/* The lengths of the parts of `length` that input 1 asks for: a list, or one for all. */
static const int64_t *part_lengths(const ox_control *c, int64_t length, size_t *count)
{
    const ox_node *n = c->node;
    ox_shape_list list = ox_shape_input_list(n, 1);
    bool one = list.items != NULL && n->inputs[1]->rank == 0;
    if (list.items == NULL || !list.fixed) {
        ox_control_fail(c, "the lengths of its parts are known at run time only");
    }
    int64_t each = one ? list.items[0].size : 1;
    if (each < 1) {
        ox_control_fail(c, "its parts have no length");
    }
    *count = one ? (size_t)(length / each + (length % each != 0)) : list.count;
    int64_t *lengths = ox_arena_alloc(n->graph->arena, *count, sizeof *lengths);
    for (size_t i = 0; i < *count; i++) {
        int64_t asked = list.items[one ? 0 : i].size;
        lengths[i] = one && length < asked ? length : asked;
        if (lengths[i] < 0 || lengths[i] > length) {
            ox_control_fail(c, "its parts do not fit");
        }
        length -= lengths[i];
    }
    if (length > 0) {
        ox_control_fail(c, "its parts do not fit");
    }
    return lengths;
}

static void expand_split(const ox_control *c, ox_val *outputs)
{
    const ox_node *n = c->node;
    ox_val v = ox_control_origin(c, ox_node_input(n, 0));
    if (v->rank < 1) {
        ox_control_fail(c, "the shape of what it splits is not known");
    }
    int axis = ox_shape_axis(n, ox_node_int(n, "axis", 0), v->rank);
    if (!ox_dim_is_static(v->dims[axis]) || v->dims[axis].size > OX_SHAPE_ELEMENTS) {
        ox_control_fail(c, "the length of what it splits is not known, or too large");
    }
    size_t count = (size_t)v->dims[axis].size;
    bool slices = ox_node_input(n, 1) == NULL;
    if (slices && ox_node_int(n, "keepdims", 1) == 0) {
        const ox_val *values = count == 0 ? NULL : ox_control_slices(c, v, axis, count);
        outputs[0] = sequence_of(c, count, values);
        return;
    }
    int64_t *ones = ox_arena_alloc(n->graph->arena, count, sizeof *ones);
    for (size_t i = 0; i < count; i++) {
        ones[i] = 1;
    }
    const int64_t *lengths = slices ? ones : part_lengths(c, v->dims[axis].size, &count);
    ox_attr attr = ox_attr_int("axis", axis);
    ox_val in[] = {v, ox_ints(n->graph, count, lengths)};
    const ox_val *parts =
        count <= 1 ? &v
                   : ox_graph_emit_node(n->graph, "", "Split", 2, in, count, 1, &attr)->outputs;
    outputs[0] = sequence_of(c, count, parts);
}

/* The body for each item of the first sequence, with the same item of other sequences and with
 * tensors as they are. */
static void expand_map(const ox_control *c, ox_val *outputs)
{
    const ox_node *n = c->node;
    ox_arena *a = n->graph->arena;
    items s = items_of(c, 0);
    ox_val **results = ox_arena_alloc(a, s.count, sizeof *results);
    ox_val *in = ox_arena_alloc(a, n->input_count, sizeof *in);
    size_t count = 0;
    for (size_t t = 0; t < s.count; t++) {
        for (size_t i = 0; i < n->input_count; i++) {
            in[i] = ox_control_origin(c, n->inputs[i]);
            if (ox_control_is_sequence(in[i])) {
                items other = items_of(c, i);
                if (other.count != s.count) {
                    ox_control_fail(c, "its sequences differ in length");
                }
                in[i] = other.values[t];
            }
        }
        results[t] = ox_control_body(c, "body", n->input_count, in, n->output_count, &count);
    }
    for (size_t i = 0; i < n->output_count; i++) {
        ox_val *values = ox_arena_alloc(a, s.count, sizeof *values);
        for (size_t t = 0; t < s.count; t++) {
            values[t] = results[t][i];
        }
        outputs[i] = sequence_of(c, s.count, values);
    }
}

/* ---- optional values ------------------------------------------------------------------------- */

/* What it holds stands for it; one that holds nothing stays as it is. */
static void expand_optional(const ox_control *c, ox_val *outputs)
{
    const ox_node *n = c->node;
    outputs[0] = ox_node_input(n, 0);
    if (outputs[0] == NULL) {
        outputs[0] = ox_graph_emit(n->graph, "Optional", 0, NULL, n->attr_count, n->attrs);
    }
}

static bool holds_nothing(ox_val v)
{
    return ox_node_is(v->node, "Optional");
}

static void expand_get_element(const ox_control *c, ox_val *outputs)
{
    outputs[0] = ox_control_origin(c, ox_node_input(c->node, 0));
    if (holds_nothing(outputs[0])) {
        ox_control_fail(c, "its value is missing");
    }
}

static void expand_has_element(const ox_control *c, ox_val *outputs)
{
    ox_val v = ox_node_input(c->node, 0);
    v = v == NULL ? NULL : ox_control_origin(c, v);
    if (v != NULL && v->type == OX_NONE && v->node == NULL) {
        ox_control_fail(c, "whether its input has a value is known at run time only");
    }
    uint8_t has = v != NULL && !holds_nothing(v);
    ox_const k = {.type = OX_BOOL, .data = &has, .size = 1};
    outputs[0] = ox_graph_constant(c->node->graph, NULL, &k);
}

ox_control_rule ox_sequence_rule(const char *op)
{
    static const struct {
        const char *op;
        ox_control_rule rule;
    } rows[] = {
        {"ConcatFromSequence", expand_concat},
        {"Optional", expand_optional},
        {"OptionalGetElement", expand_get_element},
        {"OptionalHasElement", expand_has_element},
        {"SequenceAt", expand_at},
        {"SequenceErase", expand_erase},
        {"SequenceInsert", expand_insert},
        {"SequenceLength", expand_length},
        {"SequenceMap", expand_map},
        {"SplitToSequence", expand_split},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].op, op) == 0) {
            return rows[i].rule;
        }
    }
    return NULL;
}
