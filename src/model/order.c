/* Nodes of a graph that is being read, in an order in which each stands behind those it uses. The
 * standard asks for one, ONNX Runtime does not, and converters to float16 leave Casts at the end.
 */
#include "model/proto.h"

#include <string.h>

/* The nodes that each node uses: from[starts[i]] .. from[starts[i + 1]]. */
typedef struct uses {
    ox_arena *a;
    const Onnx__GraphProto *graph;
    ox_table makers; /* by the names of their outputs */
    size_t *starts, *from;
    size_t count;
} uses;

static void use(uses *u, const char *name)
{
    name = ox_proto_text(name);
    size_t maker = name[0] == '\0' ? SIZE_MAX : ox_index_find(&u->makers, name);
    if (maker != SIZE_MAX) {
        u->from = ox_arena_grow(u->a, u->from, u->count, sizeof *u->from);
        u->from[u->count++] = maker;
    }
}

static void use_inputs(void *user, Onnx__NodeProto *n)
{
    for (size_t i = 0; i < n->n_input; i++) {
        use(user, n->input[i]);
    }
}

static void use_outputs(void *user, Onnx__GraphProto *body)
{
    for (size_t i = 0; i < body->n_output; i++) {
        use(user, body->output[i]->name);
    }
}

/* Whether all nodes stand behind those that they use already. */
static bool find_uses(uses *u)
{
    const Onnx__GraphProto *g = u->graph;
    bool sorted = true;
    for (size_t i = 0; i < g->n_node; i++) {
        for (size_t k = 0; k < g->node[i]->n_output; k++) {
            ox_index_add(&u->makers, ox_proto_text(g->node[i]->output[k]), i);
        }
    }
    /* Its inputs, and what bodies use, whose own names are not those of values outside. */
    const ox_proto_walk walk = {.node = use_inputs, .leave = use_outputs, .user = u};
    u->starts = ox_arena_alloc(u->a, g->n_node + 1, sizeof *u->starts);
    for (size_t i = 0; i < g->n_node; i++) {
        u->starts[i] = u->count;
        ox_proto_walk_node(&walk, g->node[i]);
        for (size_t k = u->starts[i]; k < u->count; k++) {
            sorted = sorted && u->from[k] < i;
        }
    }
    u->starts[g->n_node] = u->count;
    return sorted;
}

enum { NEW, OPEN, DONE };

typedef struct walk {
    const uses *u;
    size_t *stack, *next; /* next: the use of a node to look at */
    unsigned char *state;
    Onnx__NodeProto **order;
    size_t depth, count;
} walk;

static void open_node(walk *w, size_t node)
{
    w->state[node] = OPEN;
    w->next[node] = w->u->starts[node];
    w->stack[w->depth++] = node;
}

/* Puts a node behind all that it uses; false where they go round. */
static bool place(walk *w, size_t root)
{
    if (w->state[root] == DONE) {
        return true;
    }
    open_node(w, root);
    while (w->depth > 0) {
        size_t node = w->stack[w->depth - 1];
        if (w->next[node] == w->u->starts[node + 1]) {
            w->state[node] = DONE;
            w->order[w->count++] = w->u->graph->node[node];
            w->depth--;
            continue;
        }
        size_t used = w->u->from[w->next[node]++];
        if (w->state[used] == OPEN) {
            return false;
        }
        if (w->state[used] == NEW) {
            open_node(w, used);
        }
    }
    return true;
}

void ox_proto_sort(ox_arena *a, Onnx__GraphProto *g)
{
    uses u = {.a = a, .graph = g, .makers.arena = a};
    if (find_uses(&u)) {
        return;
    }
    walk w = {
        .u = &u,
        .stack = ox_arena_alloc(a, g->n_node, sizeof *w.stack),
        .next = ox_arena_alloc(a, g->n_node, sizeof *w.next),
        .state = ox_arena_alloc(a, g->n_node, 1),
        .order = ox_arena_alloc(a, g->n_node, sizeof(Onnx__NodeProto *)),
    };
    for (size_t i = 0; i < g->n_node; i++) {
        if (!place(&w, i)) {
            return; /* which reading tells of */
        }
    }
    g->node = w.order;
}
