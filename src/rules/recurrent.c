/* LSTM, GRU and RNN as the operators they are made of, unrolled over the steps of the sequence; or,
 * where a layer is long, as one node for each direction, which a rule takes as a whole
 * (recurrent_flow.c).
 *
 * With G gates of H units, one direction is a product for all steps at once, x W^T [T, N, G H], and
 * then for each step t what the cell makes of its part and of the state before. States are
 * [1, N, H], so that neither steps nor directions need more than a Concat to become outputs. */
#include <string.h>

#include "rules/decompose.h"
#include "rules/recurrent.h"
#include "shape/shape.h"

enum { MAX_STEPS = 10000, MAX_DIRECTIONS = 2 };

/* Layers of fewer steps are unrolled: that takes less nodes than the rule. Without functions more
 * are, as other runtimes have trouble with a Scan whose body reads the graph around it. */
enum { LONG = 8, LONG_ELSEWHERE = 64 };

/* State after a step, [1, N, H]; NULL is zeros. c is the cell's of an LSTM, read what attention
 * found, [1, N, A]. */
typedef struct state {
    ox_val h, c, read;
} state;

/* One direction of a node. */
typedef struct cell {
    const ox_node *node;
    int64_t hidden;          /* H */
    const ox_gate *gates;    /* of gates, of what is new, of an LSTM's output */
    double clip;             /* 0: none */
    ox_val w;                /* [C, G H] */
    ox_val r;                /* [H, G H]; of a GRU [H, 2 H], that of the gates */
    ox_val bias;             /* [G H] or NULL */
    ox_val r_new;            /* of a GRU: [H, H], that of the new state */
    ox_val bias_new;         /* of a GRU that resets after its product: the bias of that, or NULL */
    ox_val peepholes[3];     /* of an LSTM: [H] to the input, output and forget gate, or NULL */
    ox_val w_read;           /* [A, G H]: of what attention found in the step before, or NULL */
    const ox_memory *memory; /* what attention reads, or NULL */
} cell;

/* The state after the one before and a step's part of x W^T + bias, [1, N, G H]. */
typedef state (*cell_step)(const cell *k, ox_val x, state before);

/* What the operators differ in. */
typedef struct kind {
    int gates;
    bool has_cell; /* a second state */
    cell_step step;
} kind;

/* ---- terms that may be zero: NULL ----------------------------------------------------------- */

static ox_val times(ox_val a, ox_val b)
{
    return a == NULL || b == NULL ? NULL : ox_mul(a, b);
}

static ox_val product(ox_val a, ox_val b)
{
    return a == NULL || b == NULL ? NULL : ox_matmul(a, b);
}

/* a where the condition holds, else b; a where the condition is NULL: always. */
static ox_val choose(ox_val condition, ox_val a, ox_val b)
{
    if (condition == NULL || a == NULL) {
        return a;
    }
    return ox_where(condition, a, b == NULL ? ox_number(a, 0) : b);
}

/* `count` equal parts along an axis. */
static const ox_val *split(ox_arena *arena, ox_val a, int64_t axis, size_t count, int64_t each)
{
    ox_val *parts = ox_arena_alloc(arena, count, sizeof(ox_val));
    if (a == NULL) {
        return parts;
    }
    int64_t *sizes = ox_arena_alloc(arena, count, sizeof *sizes);
    for (size_t i = 0; i < count; i++) {
        sizes[i] = each;
    }
    ox_attr attr = ox_attr_int("axis", axis);
    ox_val in[] = {a, ox_ints(a->graph, count, sizes)};
    return ox_graph_emit_node(a->graph, "", "Split", 2, in, count, 1, &attr)->outputs;
}

static const ox_val *gates_of(const cell *k, ox_val a, size_t count)
{
    return split(k->node->graph->arena, a, -1, count, k->hidden);
}

/* a [.., n H] as its last H and what is before them. */
static void split_last(const cell *k, ox_val a, ox_val *before, ox_val *last)
{
    int64_t width = a->dims[a->rank - 1].size, sizes[] = {width - k->hidden, k->hidden};
    ox_attr axis = ox_attr_int("axis", -1);
    ox_val in[] = {a, ox_ints(a->graph, 2, sizes)};
    const ox_node *n = ox_graph_emit_node(a->graph, "", "Split", 2, in, 2, 1, &axis);
    *before = n->outputs[0];
    *last = n->outputs[1];
}

/* The same of an input that is clipped before. */
static ox_val gate(const cell *k, int a, ox_val x)
{
    if (k->clip > 0) {
        ox_val in[] = {x, ox_number(x, -k->clip), ox_number(x, k->clip)};
        x = ox_graph_emit(x->graph, "Clip", 3, in, 0, NULL);
    }
    return ox_gate_value(&k->gates[a], x);
}

/* ---- cells ----------------------------------------------------------------------------------- */

/* h' = f(x + h R) */
static state step_rnn(const cell *k, ox_val x, state s)
{
    return (state){.h = gate(k, OX_GATE, ox_made_plus(x, product(s.h, k->r)))};
}

/* z, r = f(x + h R), n = g(x + (r h) R) or g(x + r (h R + bias)), h' = n + z (h - n) */
static state step_gru(const cell *k, ox_val x, state s)
{
    ox_val gates = NULL, rest = NULL;
    split_last(k, x, &gates, &rest);
    gates = gate(k, OX_GATE, ox_made_plus(gates, product(s.h, k->r)));
    const ox_val *both = gates_of(k, gates, 2);
    ox_val z = both[0], r = both[1];
    bool reset_after = ox_node_int(k->node, "linear_before_reset", 0) != 0;
    ox_val old = reset_after ? times(r, ox_made_plus(product(s.h, k->r_new), k->bias_new))
                             : product(times(r, s.h), k->r_new);
    ox_val n = gate(k, OX_GATE_NEW, ox_made_plus(rest, old));
    ox_val kept = s.h == NULL ? ox_neg(n) : ox_sub(s.h, n);
    return (state){.h = ox_add(n, ox_mul(z, kept))};
}

/* The same where nothing is between the gates: one activation for all three. */
static state step_plain_lstm(const cell *k, ox_val x, state s)
{
    ox_val gates = NULL, rest = NULL;
    split_last(k, ox_made_plus(x, product(s.h, k->r)), &gates, &rest);
    const ox_val *all = gates_of(k, gate(k, OX_GATE, gates), 3);
    ox_val c = ox_made_plus(times(all[2], s.c), ox_mul(all[0], gate(k, OX_GATE_NEW, rest)));
    return (state){.h = ox_mul(all[1], ox_gate_value(&k->gates[OX_GATE_OUT], c)), .c = c};
}

/* i, o, f = f(x + h R + p c), c' = f c + i g(x + h R), h' = o h(c'), where o sees c' */
static state step_lstm(const cell *k, ox_val x, state s)
{
    const ox_val *p = k->peepholes;
    bool coupled = ox_node_int(k->node, "input_forget", 0) != 0;
    if (!coupled && p[0] == NULL && p[1] == NULL && p[2] == NULL) {
        return step_plain_lstm(k, x, s);
    }
    const ox_val *in = gates_of(k, ox_made_plus(x, product(s.h, k->r)), 4);
    ox_val i = gate(k, OX_GATE, ox_made_plus(in[0], times(s.c, p[0])));
    ox_val f = coupled ? ox_sub(ox_number(i, 1), i)
                       : gate(k, OX_GATE, ox_made_plus(in[2], times(s.c, p[2])));
    ox_val c = ox_made_plus(times(f, s.c), ox_mul(i, gate(k, OX_GATE_NEW, in[3])));
    ox_val o = gate(k, OX_GATE, ox_made_plus(in[1], times(c, p[1])));
    return (state){.h = ox_mul(o, ox_gate_value(&k->gates[OX_GATE_OUT], c)), .c = c};
}

/* ---- inputs ---------------------------------------------------------------------------------- */

/* Input i of rank `rank`, at least float32; NULL where it is left out. */
static ox_val input(const ox_node *n, size_t i, int rank)
{
    ox_val v = ox_made_input(n, i);
    if (v != NULL && v->rank != rank) {
        ox_made_fail(n, "the shape of an input is not known");
    }
    return v;
}

/* Part d of weights [D, count, ...]. */
static ox_val weights(const ox_node *n, size_t i, int rank, int d, int64_t count)
{
    ox_val v = input(n, i, rank);
    if (v == NULL) {
        return NULL;
    }
    if (!ox_dim_is_static(v->dims[0]) || d >= v->dims[0].size || !ox_dim_is(v->dims[1], count)) {
        ox_made_fail(n, "its weights do not fit");
    }
    return ox_gather(v, ox_int_scalar(v->graph, d), 0);
}

/* Batch and steps change places where the layout has the batch in front. */
static ox_val layout(const ox_node *n, ox_val v)
{
    bool batch_first = ox_node_int(n, "layout", 0) != 0;
    return v == NULL || !batch_first ? v : ox_transpose(v, (const int[]){1, 0, 2});
}

/* W and R, and the biases of both as one, but for what a GRU keeps apart. */
static void read_weights(cell *k, const kind *what, int d)
{
    const ox_node *n = k->node;
    int64_t rows = what->gates * k->hidden;
    ox_val w = weights(n, 1, 3, d, rows), r = weights(n, 2, 3, d, rows);
    ox_val bias = weights(n, 3, 2, d, 2 * rows);
    k->w = ox_swap_last(w);
    k->r = ox_swap_last(r);
    if (k->memory != NULL) {
        int64_t own = ox_made_size(n, ox_made_ranked(n, 0), -1);
        k->w_read = ox_slice(k->w, -2, own, INT64_MAX, 1);
        k->w = ox_slice(k->w, -2, 0, own, 1);
    }
    ox_val bias_r = bias == NULL ? NULL : ox_slice(bias, -1, rows, 2 * rows, 1);
    if (what->gates == 3) {
        k->r_new = ox_slice(k->r, -1, 2 * k->hidden, rows, 1);
        k->r = ox_slice(k->r, -1, 0, 2 * k->hidden, 1);
    }
    if (bias_r != NULL && what->gates == 3 && ox_node_int(n, "linear_before_reset", 0) != 0) {
        k->bias_new = ox_slice(bias_r, -1, 2 * k->hidden, rows, 1);
        bias_r = ox_slice(bias_r, -1, 0, 2 * k->hidden, 1);
        bias_r = ox_pad(bias_r, 1, (const int64_t[]){0}, &k->hidden);
    }
    k->bias = bias == NULL ? NULL : ox_add(ox_slice(bias, -1, 0, rows, 1), bias_r);
    ox_val p = what->has_cell ? weights(n, 7, 2, d, 3 * k->hidden) : NULL;
    memcpy(k->peepholes, gates_of(k, p, 3), sizeof k->peepholes);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Where sequences are longer than t, [1, N, 1]; NULL where all are. */
static ox_val longer_than(const ox_node *n, int64_t t)
{
    ox_val lengths = input(n, 4, 1);
    if (lengths == NULL) {
        return NULL;
    }
    const ox_dim *known = ox_shape_elements(lengths);
    bool all = known != NULL && ox_dim_is_static(lengths->dims[0]);
    for (int64_t i = 0; all && i < lengths->dims[0].size; i++) {
        all = ox_dim_is_static(known[i]) && known[i].size > t;
    }
    const ox_dim dims[] = {ox_dim_of(1), lengths->dims[0], ox_dim_of(1)};
    return all ? NULL : ox_less(ox_number(lengths, (double)t), ox_reshape(lengths, 3, dims));
}

/* The state that direction d starts with; that of an empty sequence is zeros. */
static ox_val initial(const ox_node *n, size_t i, int directions, int d)
{
    ox_val v = layout(n, input(n, i, 3));
    if (v != NULL && directions > 1) {
        v = ox_slice(v, 0, d, d + 1, 1);
    }
    return choose(v == NULL ? NULL : longer_than(n, 0), v, NULL);
}

/* Steps that can be written out. */
static int64_t count_steps(const ox_node *n, ox_val x)
{
    if (!ox_dim_is_static(x->dims[0])) {
        ox_made_fail(n, "the length of its sequence is not known");
    }
    if (x->dims[0].size < 1 || x->dims[0].size > MAX_STEPS) {
        ox_made_fail(n, "its sequence is empty or too long");
    }
    ox_budget_spend(n->graph->arena, OX_COST_NODES, (uint64_t)x->dims[0].size);
    return x->dims[0].size;
}

/* Runs one direction over x [T, N, C]: the states h of all steps [T, 1, N, H], and the last state,
 * which is that of each sequence's own end. */
static ox_val unroll(const cell *k, cell_step step, bool backward, ox_val x, state *s)
{
    const ox_node *n = k->node;
    int64_t steps = count_steps(n, x);
    ox_val all = ox_made_plus(ox_matmul(x, k->w), k->bias);
    const ox_val *parts = split(n->graph->arena, all, 0, (size_t)steps, 1);
    ox_val *h = ox_arena_alloc(n->graph->arena, (size_t)steps, sizeof(ox_val));
    for (int64_t i = 0; i < steps; i++) {
        int64_t t = backward ? steps - 1 - i : i;
        ox_val within = longer_than(n, t);
        state next = step(k, ox_made_plus(parts[t], product(s->read, k->w_read)), *s);
        next.read = k->memory == NULL ? NULL : ox_recurrent_read(k->memory, next.h);
        h[t] = choose(within, next.h, NULL);
        s->h = choose(within, next.h, s->h);
        s->c = choose(within, next.c, s->c);
        s->read = choose(within, next.read, s->read);
    }
    return ox_unsqueeze(ox_concat(n->graph, (size_t)steps, h, 0), 1);
}

/* Joins the directions of output i, and puts the batch in front where the layout says so. */
static ox_val join(const ox_node *n, size_t i, int directions, const ox_val *parts)
{
    static const int batch_first[] = {2, 0, 1, 3}, states[] = {1, 0, 2};
    ox_val y = ox_concat(n->graph, (size_t)directions, parts, i == 0 ? 1 : 0);
    if (ox_node_int(n, "layout", 0) != 0) {
        y = ox_transpose(y, i == 0 ? batch_first : states);
    }
    return ox_cast(y, n->outputs[i]->type);
}

static ox_val sequence(const ox_node *n)
{
    ox_val x = layout(n, input(n, 0, 3));
    if (x == NULL) {
        ox_made_fail(n, "the shape of its sequence is not known");
    }
    return x;
}

static int64_t hidden_size(const ox_node *n)
{
    ox_val r = ox_node_input(n, 2);
    if (r == NULL || r->rank != 3 || !ox_dim_is_static(r->dims[2]) || r->dims[2].size < 1 ||
        r->dims[2].size > INT32_MAX || ox_node_input(n, 1) == NULL) {
        ox_made_fail(n, "the shape of its weights is not known");
    }
    return r->dims[2].size;
}

/* ---- layers as a whole ------------------------------------------------------------------------
 */

/* What only moves zeros, or makes them. */
static const char *const movers[] = {
    "Cast",  "Concat", "ConstantOfShape", "Expand", "Gather",    "Identity", "Reshape",
    "Slice", "Split",  "Squeeze",         "Tile",   "Transpose", "Unsqueeze"};

static bool is_mover(const ox_node *n)
{
    for (size_t i = 0; i < sizeof movers / sizeof movers[0]; i++) {
        if (n->domain[0] == '\0' && strcmp(n->op, movers[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool holds_zeros(const ox_const *c)
{
    const char *bytes = c == NULL ? NULL : c->data;
    for (size_t i = 0; bytes != NULL && i < c->size; i++) {
        bytes = bytes[i] == 0 ? bytes : NULL;
    }
    return bytes != NULL;
}

bool ox_recurrent_starts_at_zero(ox_val v)
{
    while (v != NULL && v->constant == NULL && v->node != NULL && is_mover(v->node)) {
        const ox_node *n = v->node;
        if (strcmp(n->op, "ConstantOfShape") == 0) {
            const ox_attr *value = ox_node_attr(n, "value");
            return value == NULL || holds_zeros(value->tensor);
        }
        for (size_t i = 1; strcmp(n->op, "Concat") == 0 && i < n->input_count; i++) {
            if (!ox_recurrent_starts_at_zero(n->inputs[i])) {
                return false;
            }
        }
        v = n->inputs[0];
    }
    return v == NULL || holds_zeros(v->constant);
}

ox_val ox_recurrent_lengths(const ox_node *n)
{
    const ox_dim steps = n->inputs[0]->dims[ox_node_int(n, "layout", 0) != 0 ? 1 : 0];
    ox_val lengths = input(n, 4, 1);
    bool whole =
        lengths != NULL && ox_dim_is_static(steps) && longer_than(n, steps.size - 1) == NULL;
    return whole ? NULL : lengths;
}

/* Whether the rule of the operator can take it: weights and lengths do not vary. */
static bool is_plain(const ox_node *n)
{
    static const size_t fixed[] = {1, 2, 3, 4, 7};
    ox_val x = ox_node_input(n, 0);
    const ox_dim steps = x->dims[ox_node_int(n, "layout", 0) != 0 ? 1 : 0];
    bool elsewhere = ox_graph_outermost(n->graph)->elsewhere, constant = true;
    int64_t least = elsewhere ? LONG_ELSEWHERE : LONG;
    bool long_enough = !ox_dim_is_static(steps) || steps.size >= least;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        constant = constant && !ox_input_varies(n, fixed[i]);
    }
    return constant && !n->graph->unrolls && long_enough && n->domain[0] == '\0';
}

/* Whether the rule can take it as it stands: one direction, with the states of all steps. */
static bool is_alone(const ox_node *n)
{
    return ox_recurrent_directions(n) == 1 && ox_node_int(n, "layout", 0) == 0 &&
           ox_made_has_output(n, 0);
}

static ox_val part_of_direction(const ox_node *n, size_t i, int d)
{
    ox_val v = ox_made_input(n, i);
    return v == NULL || ox_recurrent_directions(n) == 1 ? v : ox_slice(v, 0, d, d + 1, 1);
}

/* Direction d as a node of its own. */
static const ox_node *alone(const ox_node *n, const kind *what, ox_val x, int d)
{
    bool backward = d == 1 || strcmp(ox_node_string(n, "direction", "forward"), "reverse") == 0;
    ox_val in[] = {x,
                   part_of_direction(n, 1, d),
                   part_of_direction(n, 2, d),
                   part_of_direction(n, 3, d),
                   input(n, 4, 1),
                   layout(n, part_of_direction(n, 5, d)),
                   what->has_cell ? layout(n, part_of_direction(n, 6, d)) : NULL,
                   what->has_cell ? part_of_direction(n, 7, d) : NULL};
    ox_attr attrs[8] = {ox_attr_string("direction", backward ? "reverse" : "forward"),
                        ox_attr_int("hidden_size", hidden_size(n))};
    size_t count = 2 + ox_gate_attrs(n, d, attrs + 2), inputs = sizeof in / sizeof *in;
    static const char *const same[] = {"clip", "input_forget", "linear_before_reset"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const ox_attr *own = ox_node_attr(n, same[i]);
        if (own != NULL) {
            attrs[count++] = *own;
        }
    }
    while (in[inputs - 1] == NULL) {
        inputs--;
    }
    return ox_graph_emit_node(n->graph, "", n->op, inputs, in, what->has_cell ? 3 : 2, count,
                              attrs);
}

static void take_apart(const ox_node *n, const kind *what, ox_val *outputs)
{
    int directions = ox_recurrent_directions(n);
    ox_val x = sequence(n), parts[3][MAX_DIRECTIONS];
    for (int d = 0; d < directions; d++) {
        const ox_node *one = alone(n, what, x, d);
        for (size_t i = 0; i < one->output_count; i++) {
            parts[i][d] = one->outputs[i];
        }
    }
    for (size_t i = 0; i < n->output_count; i++) {
        outputs[i] = join(n, i, directions, parts[i]);
    }
}

/* ---- the operators --------------------------------------------------------------------------- */

static void decompose(const ox_node *n, const kind *what, ox_val *outputs)
{
    const char *direction = ox_node_string(n, "direction", "forward");
    int directions = ox_recurrent_directions(n);
    ox_val x = sequence(n);
    if (is_plain(n)) {
        if (!is_alone(n)) {
            take_apart(n, what, outputs);
        }
        return;
    }
    ox_val all[MAX_DIRECTIONS], h[MAX_DIRECTIONS], c[MAX_DIRECTIONS];
    for (int d = 0; d < directions; d++) {
        cell k = {.node = n, .hidden = hidden_size(n), .clip = ox_node_float(n, "clip", 0)};
        size_t functions = 0;
        k.gates = ox_gates_of(n, d, &functions);
        k.memory = strcmp(n->op, "AttnLSTM") == 0 ? ox_recurrent_memory(n, d) : NULL;
        read_weights(&k, what, d);
        state s = {.h = initial(n, 5, directions, d)};
        s.c = what->has_cell ? initial(n, 6, directions, d) : NULL;
        bool backward = d == 1 || strcmp(direction, "reverse") == 0;
        all[d] = unroll(&k, what->step, backward, x, &s);
        h[d] = s.h;
        c[d] = s.c;
    }
    outputs[0] = join(n, 0, directions, all);
    if (n->output_count > 1) {
        outputs[1] = join(n, 1, directions, h);
    }
    if (n->output_count > 2 && what->has_cell) {
        outputs[2] = join(n, 2, directions, c);
    }
}

void decompose_lstm(const ox_node *n, ox_val *outputs)
{
    static const kind lstm = {4, true, step_lstm};
    decompose(n, &lstm, outputs);
}

void decompose_attn_lstm(const ox_node *n, ox_val *outputs)
{
    decompose_lstm(n, outputs);
}

void decompose_gru(const ox_node *n, ox_val *outputs)
{
    static const kind gru = {3, false, step_gru};
    decompose(n, &gru, outputs);
}

void decompose_rnn(const ox_node *n, ox_val *outputs)
{
    static const kind rnn = {1, false, step_rnn};
    decompose(n, &rnn, outputs);
}
