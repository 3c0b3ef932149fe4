/* An order of the nodes that multipliers reach, composite ones decomposed on the way. */
#include "explain/order.h"

#include <string.h>

#include "explain/bind.h"
#include "explain/method.h"
#include "rules/side.h"

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
    ox_side *side = ox_side_of(v);
    if (v->node == NULL || !side->varies || side->is_point) {
        return;
    }
    ox_side *first = ox_side_of(v->node->outputs[0]);
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

/* Whether both branches of an If are weighed against each other by samples and references. */
static bool is_choice(const ox_node *n)
{
    ox_val condition = ox_node_input(n, 0);
    return !n->original && strcmp(n->op, "Where") == 0 && condition != NULL &&
           condition->rank == 0 && ox_side_of(condition)->varies;
}

/* The choice must be one of each sample on its own. */
static void check_choice(ox_explain_state *s, const ox_node *n)
{
    if (is_choice(n) && (s->bind->batch_free || s->bind->batch > 1)) {
        ox_fail(s->arena, OX_UNSUPPORTED,
                "%s: an If's condition depends on the explained inputs of all samples at once; "
                "explained without a batch (--no-batch), it is one sample's",
                ox_node_label(n));
    }
}

typedef struct decomposition {
    ox_explain_state *s;
    ox_node *node;
    ox_decompose write;
    ox_val *outputs;
} decomposition;

static void write_out(void *user)
{
    const decomposition *d = user;
    check_choice(d->s, d->node);
    if (d->write != NULL) {
        d->write(d->node, d->outputs);
    }
}

/* Decomposes a composite node: its outputs get their aliases, or it is noted why that cannot be
 * done. Nothing for other nodes, and where the decomposition leaves it to the rule. */
static void decompose(ox_explain_state *s, ox_node *n)
{
    ox_side *first = ox_side_of(n->outputs[0]);
    const ox_row *row = ox_rule_find(n->domain, n->op);
    bool replaced = s->method->replaces != NULL && s->method->replaces(s, n);
    bool composite = row != NULL && row->decompose != NULL && !replaced;
    if (!composite && !is_choice(n)) {
        return;
    }
    decomposition d = {s, n, composite ? row->decompose : NULL,
                       ox_arena_alloc(s->arena, n->output_count, sizeof(ox_val))};
    ox_error err;
    ox_purpose former = ox_graph_enter(n->graph, "onnxexplainer", ox_node_base(n), n);
    bool done = ox_arena_try(s->arena, write_out, &d, &err);
    ox_graph_leave(n->graph, former);
    if (!done && err.code != OX_UNSUPPORTED) {
        ox_fail(s->arena, err.code, "%s", err.message);
    }
    first->refused = done ? NULL : ox_arena_string(s->arena, err.message);
    for (size_t i = 0; done && composite && i < n->output_count; i++) {
        ox_side_of(n->outputs[i])->alias = d.outputs[i];
        first->decomposed = first->decomposed || d.outputs[i] != NULL;
    }
}

/* What is to be visited for the i-th input of a node, or for the i-th output of a composite one:
 * what stands for it, unless the explained output does not depend on it. */
static ox_val next_of(const ox_node *n, bool composite, size_t i)
{
    if (!composite) {
        return n->inputs[i];
    }
    ox_val y = n->outputs[i];
    return n->original && !y->needed ? NULL : ox_side_of(y)->alias;
}

/* Depth first from the explained output, producers before consumers; then reversed. */
const ox_order *ox_walk_order(ox_explain_state *s)
{
    ox_order *order = ox_arena_alloc(s->arena, 1, sizeof *order);
    stack st = {0};
    s->g->unrolls = s->options->order > 1; /* variances have no way through a layer as a whole */
    push(s, &st, s->bind->output);
    while (st.count > 0) {
        frame *top = &st.frames[st.count - 1];
        ox_node *n = top->node;
        if (top->next == 0 && s->method->needs_rules) {
            decompose(s, n);
        }
        bool composite = ox_side_of(n->outputs[0])->decomposed;
        if (top->next < (composite ? n->output_count : n->input_count)) {
            ox_val in = next_of(n, composite, top->next++);
            if (in != NULL) {
                push(s, &st, in);
            }
            continue;
        }
        st.count--;
        const ox_row *row = ox_rule_find(n->domain, n->op);
        if (row != NULL && row->rule == flow_trees && n->inputs[0] != NULL) {
            ox_side_of(n->inputs[0])->exact = true;
        }
        order->nodes = ox_arena_grow(s->arena, order->nodes, order->count, sizeof *order->nodes);
        order->nodes[order->count++] = n;
    }
    for (size_t i = 0; i < order->count / 2; i++) {
        ox_node *n = order->nodes[i];
        order->nodes[i] = order->nodes[order->count - 1 - i];
        order->nodes[order->count - 1 - i] = n;
    }
    return order;
}

const char *ox_walk_missing(ox_explain_state *s, const ox_node *n)
{
    const ox_row *row = ox_rule_find(n->domain, n->op);
    if (row == NULL || row->state == OX_NO_RULE) {
        return ox_arena_format(s->arena, "no rule for %s%s%s at opset %lld%s%s", n->domain,
                               n->domain[0] == '\0' ? "" : ".", n->op,
                               (long long)ox_model_opset(s->model, n->domain),
                               row == NULL ? "" : ": ", row == NULL ? "" : row->formula);
    }
    if (ox_draws(n)) {
        return "what it draws inside of a body is not what is drawn once more to explain it; "
               "hold=TENSOR holds what the body gives";
    }
    if (row->state == OX_CARRIES_NOTHING && !ox_side_of(n->outputs[0])->decomposed) {
        return ox_arena_format(s->arena,
                               "its result varies, but no multiplier passes: completeness would "
                               "be lost%s",
                               ox_hold_hint(s->arena, n->outputs[0]));
    }
    const char *refused = ox_side_of(n->outputs[0])->refused;
    if (refused != NULL) { /* with the label of the node, or of one inside it */
        const char *label = ox_arena_format(s->arena, "%s: ", ox_node_label(n));
        size_t length = strlen(label);
        return strncmp(refused, label, length) == 0 ? refused + length : refused;
    }
    return NULL;
}

const char *ox_walk_refusal(ox_explain_state *s, const ox_node *n, const char *why)
{
    bool runs = true;
    const ox_graph *g = s->model->graph;
    for (size_t i = 0; i < g->node_count; i++) { /* that method has references pass all nodes */
        const ox_node *each = g->nodes[i];
        bool stays = ox_node_has_body(each) && each->parts == NULL;
        runs = runs && !(stays && ox_side_of(each->outputs[0])->varies);
    }
    for (size_t i = 0; i < n->output_count; i++) {
        runs = runs && !ox_side_of(n->outputs[i])->held;
    }
    return ox_arena_format(s->arena, "%s: %s%s", ox_node_label(n), why, runs ? OX_RUNS_ANY : "");
}
