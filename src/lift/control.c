/* If, Loop and Scan: their bodies written out, step by step, as nodes of the graph around them. The
 * number of steps must be known; a condition may be known at run time only, and then chooses
 * between both branches by Where. */
#include "lift/control.h"

#include <string.h>

#include "lift/batched.h"
#include "lift/lift.h"
#include "shape/shape.h"

_Noreturn void ox_control_fail(const ox_control *c, const char *message)
{
    ox_fail(c->node->graph->arena, OX_UNSUPPORTED, "%s: %s", ox_node_label(c->node), message);
}

void ox_control_spend(const ox_control *c, size_t count)
{
    if (c->budget->left < count) {
        ox_fail(c->node->graph->arena, OX_UNSUPPORTED,
                "%s: its steps, written out, are more than %llu nodes; limit allows more",
                ox_node_label(c->node), (unsigned long long)c->budget->most);
    }
    c->budget->left -= count;
}

/* ---- bodies --------------------------------------------------------------------------------- */

static void expand_if(const ox_control *c, ox_val *outputs);
static void expand_loop(const ox_control *c, ox_val *outputs);
static void expand_scan(const ox_control *c, ox_val *outputs);

static ox_control_rule rule_of(const ox_node *n)
{
    if (n->domain[0] != '\0') {
        return NULL;
    }
    return strcmp(n->op, "If") == 0     ? expand_if
           : strcmp(n->op, "Loop") == 0 ? expand_loop
           : strcmp(n->op, "Scan") == 0 ? expand_scan
                                        : ox_sequence_rule(n->op);
}

/* Fills all outputs. */
static void apply(const ox_control *c, ox_val *outputs)
{
    const ox_node *n = c->node;
    if (n->output_count > 0) {
        rule_of(n)(c, outputs);
    }
    for (size_t i = 0; i < n->output_count; i++) {
        if (outputs[i] == NULL) {
            ox_control_fail(c, "has an output too many, or an input is missing");
        }
    }
}

static void visit(void *user, ox_node *n, const ox_map *around)
{
    const ox_control *outer = user;
    const ox_control c = {n, around, outer->budget};
    ox_control_spend(outer, 1);
    if (rule_of(n) != NULL) {
        apply(&c, n->outputs);
    } else if (n->output_count == 1 && n->domain[0] == '\0') {
        n->outputs[0] =
            ox_graph_emit(n->graph, n->op, n->input_count, n->inputs, n->attr_count, n->attrs);
    } else if (n->output_count > 0) {
        const ox_node *made =
            ox_graph_emit_node(n->graph, n->domain, n->op, n->input_count, n->inputs,
                               n->output_count, n->attr_count, n->attrs);
        memcpy(n->outputs, made->outputs, n->output_count * sizeof(ox_val));
    }
}

ox_val *ox_control_body(const ox_control *c, const char *body, size_t input_count,
                        const ox_val *inputs, size_t least, size_t *output_count)
{
    ox_val *outputs =
        ox_control_put(c, body, visit, (void *)(uintptr_t)c, input_count, inputs, output_count);
    if (*output_count < least) {
        ox_control_fail(c, "its subgraph has too few outputs");
    }
    return outputs;
}

/* ---- steps ---------------------------------------------------------------------------------- */

const ox_val *ox_control_slices(const ox_control *c, ox_val v, int64_t axis, size_t count)
{
    ox_graph *g = v->graph;
    ox_val *slices = ox_arena_alloc(g->arena, count, sizeof *slices);
    int64_t *sizes = ox_arena_alloc(g->arena, count, sizeof *sizes);
    ox_control_spend(c, count);
    for (size_t i = 0; i < count; i++) {
        sizes[i] = 1;
    }
    ox_attr attr = ox_attr_int("axis", axis);
    ox_val in[] = {v, ox_ints(g, count, sizes)};
    const ox_val *parts =
        count == 1 ? &v : ox_graph_emit_node(g, "", "Split", 2, in, count, 1, &attr)->outputs;
    for (size_t i = 0; i < count; i++) {
        slices[i] = ox_squeeze(parts[i], axis);
    }
    return slices;
}

/* The outputs of a body, by step. */
typedef struct steps {
    ox_val **outputs;
    size_t count;
} steps;

static void add_step(const ox_control *c, steps *s, ox_val *outputs)
{
    s->outputs = ox_arena_grow(c->node->graph->arena, s->outputs, s->count, sizeof *s->outputs);
    s->outputs[s->count++] = outputs;
}

/* Output k of all steps, stacked along a new axis. */
static ox_val stack(const ox_control *c, const steps *s, size_t k, int64_t axis, bool backward)
{
    ox_graph *g = c->node->graph;
    ox_val *parts = ox_arena_alloc(g->arena, s->count, sizeof *parts);
    for (size_t i = 0; i < s->count; i++) {
        size_t at = backward ? s->count - 1 - i : i;
        parts[i] = ox_unsqueeze(s->outputs[at][k], axis);
    }
    return ox_concat(g, s->count, parts, axis);
}

/* Nothing, in the shape of what a step would give. */
static ox_val empty_stack(ox_val step)
{
    static const int64_t one[1] = {1}, none[1] = {0};
    static const unsigned char zero[16] = {0};
    ox_graph *g = step->graph;
    ox_const *c = ox_arena_alloc(g->arena, 1, sizeof *c);
    *c = (ox_const){.type = step->type, .rank = 1, .dims = one, .data = zero};
    c->size = ox_type_size(step->type);
    ox_val parts[] = {ox_ints(g, 1, none), ox_unary("Shape", step)};
    ox_val shape = ox_concat(g, 2, parts, 0);
    ox_attr value = {.name = "value", .kind = OX_ATTR_TENSOR, .tensor = c};
    return ox_graph_emit(g, "ConstantOfShape", 1, &shape, 1, &value);
}

/* ---- If ------------------------------------------------------------------------------------- */

static ox_val choose(const ox_control *c, ox_val condition, ox_val a, ox_val b)
{
    if (a == b) {
        return a;
    }
    bool same = a->type == b->type && a->type != OX_NONE && a->rank >= 0 && a->rank == b->rank &&
                ox_dims_equal(a->rank, a->dims, b->dims);
    if (!same) {
        ox_control_fail(c, "its condition is known at run time only, and the shapes of its "
                           "branches differ or are not known");
    }
    return ox_where(condition, a, b);
}

static void expand_if(const ox_control *c, ox_val *outputs)
{
    const ox_node *n = c->node;
    ox_val condition = ox_node_input(n, 0);
    size_t count = n->output_count;
    int64_t known = 0;
    if (condition == NULL) {
        ox_control_fail(c, "its condition is missing");
    }
    if (ox_shape_number(n, 0, &known)) {
        const char *body = known != 0 ? "then_branch" : "else_branch";
        const ox_val *taken = ox_control_body(c, body, 0, NULL, n->output_count, &count);
        memcpy(outputs, taken, n->output_count * sizeof *outputs);
        return;
    }
    const ox_val *a = ox_control_body(c, "then_branch", 0, NULL, n->output_count, &count);
    const ox_val *b = ox_control_body(c, "else_branch", 0, NULL, n->output_count, &count);
    condition = ox_reshape(condition, 0, NULL);
    for (size_t i = 0; i < n->output_count; i++) {
        outputs[i] = choose(c, condition, a[i], b[i]);
    }
}

/* ---- Loop ----------------------------------------------------------------------------------- */

/* The number of a step or a condition, as the body wants it: a scalar or a vector of one. */
static ox_val counter(const ox_control *c, size_t input, ox_type type, int64_t number)
{
    static const int64_t one[1] = {1};
    uint8_t truth = number != 0;
    ox_const k = {.type = type, .rank = ox_control_rank(c, "body", input), .dims = one};
    k.data = type == OX_BOOL ? (const void *)&truth : (const void *)&number;
    k.size = ox_type_size(type);
    return ox_graph_constant(c->node->graph, NULL, &k);
}

static bool known_condition(const ox_control *c, ox_val condition)
{
    size_t count = 0;
    const ox_dim *known = ox_shape_elements(condition);
    if (known == NULL || !ox_shape_count(condition->rank, condition->dims, &count) || count != 1 ||
        !ox_dim_is_static(known[0])) {
        ox_control_fail(c, "whether it goes on is known at run time only; where an input says it, "
                           "--fix=NAME=VALUE makes it known");
    }
    return known[0].size != 0;
}

/* At most how often; without a number of steps, the condition alone ends it. */
static int64_t trip_count(const ox_control *c)
{
    int64_t trips = INT64_MAX;
    if (ox_node_input(c->node, 0) != NULL && !ox_shape_number(c->node, 0, &trips)) {
        ox_control_fail(c, "its number of steps is known at run time only; where an input says it, "
                           "--fix=NAME=VALUE makes it known");
    }
    return trips;
}

static void expand_loop(const ox_control *c, ox_val *outputs)
{
    const ox_node *n = c->node;
    size_t carried = n->input_count > 2 ? n->input_count - 2 : 0, count = 0;
    ox_val *in = ox_arena_alloc(n->graph->arena, carried + 2, sizeof *in);
    if (ox_batched_loop(c, counter(c, 1, OX_BOOL, 1), outputs)) {
        return;
    }
    int64_t trips = trip_count(c);
    bool on = ox_node_input(n, 1) == NULL || known_condition(c, n->inputs[1]);
    in[1] = counter(c, 1, OX_BOOL, 1);
    for (size_t i = 2; i < carried + 2; i++) {
        in[i] = n->inputs[i];
    }
    size_t least = n->output_count > carried ? n->output_count + 1 : carried + 1;
    steps s = {0};
    for (int64_t t = 0; on && t < trips; t++) {
        ox_control_spend(c, 1); /* for the body may be empty */
        in[0] = counter(c, 0, OX_INT64, t);
        ox_val *out = ox_control_body(c, "body", carried + 2, in, least, &count);
        on = t + 1 < trips && known_condition(c, out[0]);
        memcpy(in + 1, out, (carried + 1) * sizeof *in);
        add_step(c, &s, out);
    }
    const ox_val *shape = NULL;
    if (s.count == 0 && n->output_count > carried) {
        in[0] = counter(c, 0, OX_INT64, 0);
        shape = ox_control_body(c, "body", carried + 2, in, least, &count);
    }
    for (size_t i = 0; i < n->output_count; i++) {
        outputs[i] = i < carried     ? in[i + 2]
                     : shape != NULL ? empty_stack(shape[i + 1])
                                     : stack(c, &s, i + 1, 0, false);
    }
}

/* ---- Scan ----------------------------------------------------------------------------------- */

/* Entry k of a list that may be left out. */
static int64_t entry(const ox_control *c, const char *name, size_t k)
{
    size_t count = 0;
    const int64_t *list = ox_node_ints(c->node, name, &count);
    return k < count ? list[k] : 0;
}

/* Both lists for `count` values, as ox_scan has them. */
static void read_list(const ox_control *c, const char *axes, const char *directions, size_t count,
                      const int64_t **axis, const bool **backward)
{
    ox_arena *a = c->node->graph->arena;
    int64_t *all = ox_arena_alloc(a, count, sizeof *all);
    bool *back = ox_arena_alloc(a, count, sizeof *back);
    for (size_t k = 0; k < count; k++) {
        all[k] = entry(c, axes, k);
        back[k] = entry(c, directions, k) != 0;
    }
    *axis = all;
    *backward = back;
}

static ox_scan read_scan(const ox_control *c, size_t states)
{
    const ox_node *n = c->node;
    size_t outputs = n->output_count > states ? n->output_count - states : 0;
    ox_scan scan = {.states = states};
    read_list(c, "scan_input_axes", "scan_input_directions", n->input_count - states,
              &scan.input_axes, &scan.input_backward);
    read_list(c, "scan_output_axes", "scan_output_directions", outputs, &scan.output_axes,
              &scan.output_backward);
    return scan;
}

/* The number of steps, which all scanned inputs share. */
static size_t scan_length(const ox_control *c, size_t states)
{
    const ox_node *n = c->node;
    int64_t length = -1;
    for (size_t i = states; i < n->input_count; i++) {
        ox_val v = n->inputs[i];
        if (v == NULL || v->rank < 1) {
            ox_control_fail(c, "the shape of what it scans is not known");
        }
        ox_dim d = v->dims[ox_shape_axis(n, entry(c, "scan_input_axes", i - states), v->rank)];
        if (!ox_dim_is_static(d)) {
            ox_control_fail(c, "its number of steps is known at run time only");
        }
        if (d.size < 1 || (length >= 0 && d.size != length)) {
            ox_control_fail(c, d.size < 1 ? "it takes no step" : "what it scans differs in length");
        }
        length = d.size;
    }
    return (size_t)length;
}

static void expand_scan(const ox_control *c, ox_val *outputs)
{
    const ox_node *n = c->node;
    ox_arena *a = n->graph->arena;
    int64_t scanned = ox_node_int(n, "num_scan_inputs", 0);
    if (scanned < 1 || (uint64_t)scanned > n->input_count) {
        ox_fail(a, OX_INVALID, "%s: num_scan_inputs is %lld", ox_node_label(n), (long long)scanned);
    }
    size_t states = n->input_count - (size_t)scanned, count = 0;
    const ox_scan scan = read_scan(c, states);
    if (ox_batched_scan(c, &scan, outputs)) {
        return;
    }
    size_t length = scan_length(c, states);
    ox_val *in = ox_arena_copy(a, n->inputs, n->input_count, sizeof *in);
    const ox_val **slices = ox_arena_alloc(a, (size_t)scanned, sizeof *slices);
    for (size_t k = 0; k < (size_t)scanned; k++) {
        slices[k] = ox_control_slices(c, in[states + k], scan.input_axes[k], length);
    }
    size_t least = n->output_count > states ? n->output_count : states;
    steps s = {0};
    for (size_t t = 0; t < length; t++) {
        for (size_t k = 0; k < (size_t)scanned; k++) {
            in[states + k] = slices[k][scan.input_backward[k] ? length - 1 - t : t];
        }
        ox_control_spend(c, 1);
        ox_val *out = ox_control_body(c, "body", n->input_count, in, least, &count);
        memcpy(in, out, states * sizeof *in);
        add_step(c, &s, out);
    }
    for (size_t i = 0; i < n->output_count; i++) {
        size_t k = i - states;
        outputs[i] =
            i < states ? in[i] : stack(c, &s, i, scan.output_axes[k], scan.output_backward[k]);
    }
}

/* ---- the graph ------------------------------------------------------------------------------ */

typedef struct job {
    ox_control control;
    ox_val *parts;
} job;

static void expand(void *user)
{
    job *j = user;
    apply(&j->control, j->parts);
}

/* Writes a node out, or notes why that cannot be done. */
static void try_to_expand(ox_node *n, ox_control_budget *budget)
{
    ox_graph *g = n->graph;
    job j = {{n, NULL, budget}, ox_arena_alloc(g->arena, n->output_count, sizeof(ox_val))};
    ox_error err;
    ox_purpose former = ox_graph_enter(g, "onnxexplainer", ox_node_base(n), n);
    bool done = ox_arena_try(g->arena, expand, &j, &err);
    ox_graph_leave(g, former);
    if (done) {
        n->parts = j.parts;
    } else if (err.code == OX_MEMORY || err.code == OX_LIMIT) {
        ox_fail(g->arena, err.code, "%s", err.message);
    } else {
        n->no_parts = ox_arena_string(g->arena, err.message);
    }
}

/* What inference has not found of an output follows from its part. */
static void take_shapes(const ox_node *n)
{
    for (size_t i = 0; n->parts != NULL && i < n->output_count; i++) {
        ox_val v = n->outputs[i], part = n->parts[i];
        if (part->rank >= 0) {
            v->type = part->type;
            v->rank = part->rank;
            v->dims = part->dims;
            v->elements = ox_shape_elements(part);
        }
    }
}

static bool is_needed(const ox_node *n)
{
    bool needed = false;
    for (size_t i = 0; i < n->output_count; i++) {
        needed = needed || n->outputs[i]->needed;
    }
    return needed;
}

void ox_control_expand(ox_graph *g)
{
    uint64_t most = ox_budget_nodes(g->arena);
    ox_control_budget budget = {.left = most, .most = most, .constants.values.arena = g->arena};
    ox_node **nodes = g->nodes;
    size_t count = g->node_count;
    bool any = false;
    g->nodes = NULL;
    g->node_count = 0;
    for (size_t i = 0; i < count; i++) {
        ox_node *n = nodes[i];
        if (any) {
            ox_shape_infer(n);
        }
        if (rule_of(n) != NULL && is_needed(n)) {
            any = true;
            ox_node_at(n);
            try_to_expand(n, &budget);
            take_shapes(n);
        }
        g->nodes = ox_arena_grow(g->arena, g->nodes, g->node_count, sizeof(ox_node *));
        g->nodes[g->node_count++] = n;
    }
}

void decompose_control(const ox_node *n, ox_val *outputs)
{
    if (n->parts == NULL) {
        ox_fail(n->graph->arena, OX_UNSUPPORTED, "%s",
                n->no_parts != NULL
                    ? n->no_parts
                    : ox_arena_format(n->graph->arena, "%s: a sequence cannot be explained",
                                      ox_node_label(n)));
    }
    for (size_t i = 0; i < n->output_count; i++) {
        bool asked = n->outputs[i]->needed && !ox_control_is_sequence(n->parts[i]);
        outputs[i] = asked ? n->parts[i] : NULL;
    }
}
