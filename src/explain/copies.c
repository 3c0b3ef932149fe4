/* Copies of the model's nodes in another graph, or for other values: for references, for all pairs
 * of reference and sample, and beside what ONNX Runtime fuses. */
#include "explain/copies.h"

#include <string.h>

#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/place.h"
#include "explain/plan.h"
#include "explain/predicted.h"
#include "explain/steps.h"
#include "graph/body.h"
#include "model/model.h"
#include "rules/rules.h"
#include "rules/side.h"
#include "shape/shape.h"

ox_val ox_made_as(ox_val v)
{
    while (v->node != NULL && v->node->parts != NULL && !ox_side_of(v)->held) {
        v = v->node->parts[v->output];
    }
    return v;
}

static bool is_inside(const ox_copying *t)
{
    const ox_fork *b = t->s->branch;
    return b != NULL && b->inside != NULL && b->inside->body == t->graph;
}

static ox_val *slot(const ox_copying *t, ox_val v)
{
    ox_side *side = ox_side_of(ox_made_as(v));
    if (is_inside(t)) {
        return &side->raw_inside;
    }
    if (t->twin || t->pairs) {
        return t->twin ? &side->twin : &side->pairs;
    }
    if (t->apart) {
        return t->references ? &side->raw_apart : &side->apart;
    }
    return t->references ? &side->raw : &side->sample;
}

/* What inference does not know of a copy follows from the original, R in place of N. */
static void copy_shape(const ox_copying *t, ox_val from, ox_val to)
{
    to->type = to->type == OX_NONE ? from->type : to->type;
    if (to->rank >= 0 || from->rank < 0) {
        return;
    }
    ox_dim *dims = ox_arena_alloc(t->s->arena, (size_t)from->rank, sizeof *dims);
    for (int i = 0; i < from->rank; i++) {
        dims[i] = from->dims[i];
        if (t->pairs && dims[i].batch == 1) {
            dims[i] = ox_dim_mul(t->graph, dims[i], ox_refs_in_flow(t->s));
        } else if (t->references && !t->s->plan->one_at_a_time && dims[i].batch > 0) {
            dims[i] = ox_dim_unknown(t->graph);
        }
    }
    to->rank = from->rank;
    to->dims = dims;
}

/* What DequantizeLinear does, in other nodes. */
static void copy_dequantized(const ox_copying *t, const ox_node *n, ox_val *inputs)
{
    ox_val y = NULL, *to = slot(t, n->outputs[0]);
    ox_node copy = *n;
    copy.graph = t->graph;
    copy.inputs = inputs;
    ox_rule_find(n->domain, n->op)->decompose(&copy, &y);
    *to = n->outputs[0]->type == OX_NONE ? y : ox_cast(y, n->outputs[0]->type);
    copy_shape(t, n->outputs[0], *to);
}

typedef struct capturing {
    const ox_copying *copying;
    ox_map *map;
    ox_node *copy;
} capturing;

static void capture(void *user, ox_val v)
{
    const capturing *c = user;
    ox_val copy = *slot(c->copying, v);
    if (ox_map_find(c->map, v) != copy) {
        ox_map_add(c->map, v, copy);
        ox_node_captures(c->copy, copy);
    }
}

/* A node whose body decides as it runs, so that it could not be written out. */
static ox_node *copy_with_body(const ox_copying *t, const ox_node *n, const ox_val *inputs)
{
    static const ox_body_copier plain = {0};
    ox_arena *a = t->s->arena;
    ox_map map = {.values.arena = a};
    ox_node like = *n;
    like.graph = t->graph;
    like.captured = NULL;
    like.captured_count = 0;
    capturing c = {t, &map, &like};
    ox_body_visit_captured(n, capture, &c);
    ox_body_copy_attrs(&plain, t->graph, &map, &like);
    return ox_graph_emit_like(t->graph, &like, inputs);
}

static void copy_node(const ox_copying *t, const ox_node *n)
{
    ox_val *inputs = ox_arena_alloc(t->s->arena, n->input_count, sizeof *inputs);
    for (size_t i = 0; i < n->input_count; i++) {
        inputs[i] = n->inputs[i] == NULL ? NULL : *slot(t, n->inputs[i]);
    }
    if (ox_only_moves(n->op) && ox_side_of(n->outputs[0])->depends) { /* weights: ox_side_packed */
        inputs[0] = ox_apart(inputs[0]);
    }
    if (t->apart && strcmp(n->op, "QuantizeLinear") == 0 && !ox_side_of(n->inputs[0])->fusible) {
        for (int i = 0; i <= t->twin; i++) { /* the twin has two, to be none of the others */
            inputs[0] = ox_graph_emit(t->graph, "Sum", 1, &inputs[0], 0, NULL);
        }
    }
    const char *part = t->references ? "onnxexplainer/reference" : "onnxexplainer/sample";
    ox_purpose former = ox_graph_enter(t->graph, part, ox_node_base(n), n);
    bool fused = t->twin || (t->references && !t->apart);
    if (strcmp(n->op, "DequantizeLinear") == 0 && !fused) {
        copy_dequantized(t, n, inputs);
    } else if (n->output_count == 1 && n->domain[0] == '\0' && !ox_node_has_body(n)) {
        *slot(t, n->outputs[0]) =
            ox_graph_emit(t->graph, n->op, n->input_count, inputs, n->attr_count, n->attrs);
        copy_shape(t, n->outputs[0], *slot(t, n->outputs[0]));
    } else {
        ox_node *copy = ox_node_has_body(n) ? copy_with_body(t, n, inputs)
                                            : ox_graph_emit_like(t->graph, n, inputs);
        for (size_t i = 0; i < n->output_count; i++) {
            *slot(t, n->outputs[i]) = copy->outputs[i];
            copy_shape(t, n->outputs[i], copy->outputs[i]);
        }
    }
    ox_graph_leave(t->graph, former);
}

/* Of a value that is not apart. */
static ox_val as_predicted(const ox_copying *t, ox_val v)
{
    return t->references ? ox_copy(&(ox_copying){t->s, t->graph, true, false, false, false}, v) : v;
}

/* The same of v for all pairs: what one side alone decides is repeated. Numbers of samples, and
 * what is made of them, are computed once more; so is what has as many elements as were found. */
static bool ready_pairs(const ox_copying *t, ox_val v)
{
    const ox_side *side = ox_side_of(v);
    bool of_shapes = v->elements != NULL && !side->held;
    if (side->varies && side->of_held) {
        return false;
    }
    if (side->depends && ox_place_repeats(v) && !of_shapes && !side->counts) {
        *slot(t, v) =
            ox_pairs_of(t->s, v, side->varies ? ox_reference(t->s, v) : ox_sample(t->s, v));
        return true;
    }
    bool alike = ox_place_absent(v) && !side->counts && !ox_place_found(v);
    bool whole = !side->depends || v->node == NULL || alike;
    if (whole) {
        *slot(t, v) = ox_sample(t->s, v);
    }
    return whole;
}

/* True when v is there; else pushes what must come first. Values without a node that are not
 * there yet are constants, to be copied. */
static bool ready(const ox_copying *t, ox_val v)
{
    v = ox_made_as(v);
    if (*slot(t, v) != NULL) {
        return true;
    }
    if (t->pairs) {
        return ready_pairs(t, v);
    }
    const ox_side *side = ox_side_of(v);
    if (is_inside(t) && side->depends && !side->fusible) {
        const ox_copying outside = {t->s, t->s->branch->refs, true, false, false, false};
        *slot(t, v) = ox_predicted_enter(t->s, ox_copy(&outside, v));
        return true;
    }
    if (t->apart && !side->fusible) {
        *slot(t, v) = as_predicted(t, v);
        return true;
    }
    if (t->graph == v->graph && !side->depends && (!t->apart || t->twin)) {
        *slot(t, v) = v;
        return true;
    }
    bool weight = side->fusible && !side->depends;
    const ox_fork *branch = t->s->branch; /* NULL while the target is looked for */
    bool either = t->references || (branch != NULL && branch->legs && side->depends);
    if (either && t->s->plan->one_at_a_time && !t->s->branch->folded &&
        t->graph == t->s->branch->flow && !side->varies &&
        !weight) { /* held, or a shape: as for the sample */
        *slot(t, v) = t->apart ? ox_sample(t->s, v) : ox_sample_as_predicted(t->s, v);
        return true;
    }
    if (v->node == NULL && v->constant != NULL) {
        *slot(t, v) = ox_graph_constant(t->graph, NULL, v->constant);
        return true;
    }
    if (t->s->bind->fold_shapes && v->node != NULL && !ox_side_of(v)->varies) {
        *slot(t, v) = ox_graph_known(t->graph, v);
        if (*slot(t, v) != NULL) {
            return true;
        }
    }
    if (v->node == NULL) {
        ox_fail(t->s->arena, OX_UNSUPPORTED,
                "the references need input \"%s\", which has none; hold=%s keeps it at the "
                "sample's value",
                v->name, v->name);
    }
    return false;
}

/* An explicit stack, since models may be deep. */
typedef struct pending {
    const ox_copying *copying;
    ox_val *stack;
    size_t count, top;
} pending;

static void need(void *user, ox_val v)
{
    pending *p = user;
    if (v == NULL || ready(p->copying, v)) {
        return;
    }
    if (p->top == p->count) {
        p->stack = ox_arena_grow(p->copying->s->arena, p->stack, p->count++, sizeof *p->stack);
    }
    p->stack[p->top++] = ox_made_as(v);
}

ox_val ox_copy(const ox_copying *t, ox_val v)
{
    pending p = {.copying = t};
    need(&p, v);
    while (p.top > 0) {
        ox_val at = p.stack[p.top - 1];
        size_t before = p.top;
        if (*slot(t, at) == NULL) {
            for (size_t i = 0; i < at->node->input_count; i++) {
                need(&p, at->node->inputs[i]);
            }
            ox_body_visit_captured(at->node, need, &p);
        }
        if (p.top > before) {
            continue;
        }
        if (*slot(t, at) == NULL) {
            copy_node(t, at->node);
        }
        p.top--;
    }
    return *slot(t, v);
}
