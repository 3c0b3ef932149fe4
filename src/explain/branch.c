/* The reference branch: the model's nodes once more, on the references, as far as they are asked
 * for; and its values in the shapes in which rules meet them.
 *
 * Where the batch is free, one run covers all references: R takes the place of N. A value whose
 * batch axis is [.., R, ..] then becomes [R, .., 1, ..] to meet samples of [.., N, ..]. Where N is
 * a factor of an axis, [N*T, ..] or [T*N, ..] after a Reshape, references are repeated for every
 * sample. That needs N to be found in every value (explain/place.c). Otherwise, and where the batch
 * is fixed, references come one at a time, repeated to the sample's batch, and shapes agree by
 * themselves.
 *
 * Fusible values (explain/fusible.c) are computed once more for the walk, "apart": behind a Sum
 * where they begin, and with DequantizeLinear spelled out, as ONNX Runtime would else find that
 * both are the same, or fuse them. That goes for samples and references alike; what both differ by
 * in the end is accounted for (ox_rest_output). */
#include "explain/branch.h"

#include <string.h>

#include "explain/bind.h"
#include "explain/cache.h"
#include "explain/plan.h"
#include "explain/steps.h"
#include "explain/target.h"
#include "rules/side.h"

/* A branch in which nothing is known of the former one's values. */
static ox_fork *new_branch(ox_explain_state *s, int lead)
{
    ox_fork *b = ox_arena_alloc(s->arena, 1, sizeof *b);
    b->lead = lead;
    b->fed = ox_arena_alloc(s->arena, s->bind->input_count, sizeof *b->fed);
    for (size_t i = 0; s->branch != NULL && i < s->g->value_count; i++) {
        ox_side *side = s->g->values[i]->side;
        if (side != NULL) {
            side->raw = side->raw_apart = side->view = side->sample = NULL;
            side->legs[0] = side->legs[1] = NULL;
        }
    }
    s->branch = b;
    return b;
}

void ox_fork_begin(ox_explain_state *s)
{
    const ox_plan *plan = s->plan;
    ox_fork *b = new_branch(s, s->target->many + !plan->one_at_a_time);
    bool steps = plan->chunk > 0 || plan->target_chunk > 0;
    b->flow = steps ? ox_graph_inside(s->g, "onnxexplainer/step") : s->g;
    b->refs = plan->cache == OX_CACHE_FILE ? ox_graph_inside(s->g, "onnxexplainer/kept")
              : plan->cache == OX_CACHE_LOAD || plan->chunk == 0 ? s->g
                                                                 : b->flow;
    if (steps && s->g->batch_size != NULL) {
        b->flow->batch_size = ox_scan_state(s, s->g->batch_size);
    }
}

void ox_fork_points(ox_explain_state *s, bool folded)
{
    ox_fork *b = new_branch(s, s->target->many);
    b->flow = b->refs = ox_graph_inside(s->g, "onnxexplainer/point");
    b->points = true;
    b->folded = folded;
    if (s->g->batch_size != NULL && !folded) {
        b->flow->batch_size = ox_scan_state(s, s->g->batch_size);
    }
    if (s->g->refs_size != NULL) {
        b->flow->refs_size = ox_scan_state(s, s->g->refs_size);
    }
}

void ox_fork_samples(ox_explain_state *s)
{
    ox_fork *b = new_branch(s, s->target->many);
    b->flow = b->refs = s->g;
    b->points = true;
}

/* ---- copies of nodes in another graph ----------------------------------------------------------
 */

/* Where copies of values are remembered: in the reference graph or in the flow graph. */
typedef struct target {
    ox_explain_state *s;
    ox_graph *graph;
    bool references;
    bool apart; /* of what is fusible, beside what is fused */
    bool twin;  /* fused as well */
} target;

static ox_val copy_value(const target *t, ox_val v);

/* Nodes that were written out are copied as their parts; held values are there already. */
static ox_val made_as(ox_val v)
{
    while (v->node != NULL && v->node->parts != NULL && !ox_side_of(v)->held) {
        v = v->node->parts[v->output];
    }
    return v;
}

static ox_val *slot(const target *t, ox_val v)
{
    ox_side *side = ox_side_of(made_as(v));
    if (t->twin) {
        return &side->twin;
    }
    if (t->apart) {
        return t->references ? &side->raw_apart : &side->apart;
    }
    return t->references ? &side->raw : &side->sample;
}

/* What inference does not know of a copy follows from the original, R in place of N. */
static void copy_shape(const target *t, ox_val from, ox_val to)
{
    to->type = to->type == OX_NONE ? from->type : to->type;
    if (to->rank >= 0 || from->rank < 0) {
        return;
    }
    ox_dim *dims = ox_arena_alloc(t->s->arena, (size_t)from->rank, sizeof *dims);
    for (int i = 0; i < from->rank; i++) {
        dims[i] = from->dims[i];
        if (t->references && !t->s->plan->one_at_a_time && dims[i].batch > 0) {
            dims[i] = ox_dim_unknown(t->graph);
        }
    }
    to->rank = from->rank;
    to->dims = dims;
}

/* What DequantizeLinear does, in other nodes. */
static void copy_dequantized(const target *t, const ox_node *n, ox_val *inputs)
{
    ox_val y = NULL, *to = slot(t, n->outputs[0]);
    ox_node copy = *n;
    copy.graph = t->graph;
    copy.inputs = inputs;
    ox_rule_find(n->domain, n->op)->decompose(&copy, &y);
    *to = n->outputs[0]->type == OX_NONE ? y : ox_cast(y, n->outputs[0]->type);
    copy_shape(t, n->outputs[0], *to);
}

static void copy_node(const target *t, const ox_node *n)
{
    ox_val *inputs = ox_arena_alloc(t->s->arena, n->input_count, sizeof *inputs);
    for (size_t i = 0; i < n->input_count; i++) {
        inputs[i] = n->inputs[i] == NULL ? NULL : *slot(t, n->inputs[i]);
    }
    if (ox_node_has_body(n)) {
        ox_fail(t->s->arena, OX_UNSUPPORTED, "%s: no rule for nodes with subgraphs",
                ox_node_label(n));
    }
    if (ox_only_moves(n->op)) {
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
    } else if (n->output_count == 1 && n->domain[0] == '\0') {
        *slot(t, n->outputs[0]) =
            ox_graph_emit(t->graph, n->op, n->input_count, inputs, n->attr_count, n->attrs);
        copy_shape(t, n->outputs[0], *slot(t, n->outputs[0]));
    } else {
        ox_node *copy = ox_graph_emit_node(t->graph, n->domain, n->op, n->input_count, inputs,
                                           n->output_count, n->attr_count, n->attrs);
        for (size_t i = 0; i < n->output_count; i++) {
            *slot(t, n->outputs[i]) = copy->outputs[i];
            copy_shape(t, n->outputs[i], copy->outputs[i]);
        }
    }
    ox_graph_leave(t->graph, former);
}

/* A value for the sample in the flow graph, as the forward pass has it. */
static ox_val sample_as_predicted(ox_explain_state *s, ox_val v)
{
    bool apart = ox_side_of(v)->fusible && ox_side_of(v)->depends;
    return s->branch->flow == v->graph ? v : apart ? ox_scan_state(s, v) : ox_sample(s, v);
}

/* Of a value that is not apart. */
static ox_val as_predicted(const target *t, ox_val v)
{
    return t->references ? copy_value(&(target){t->s, t->graph, true, false, false}, v) : v;
}

/* True when v is there; else pushes what must come first. Values without a node that are not
 * there yet are constants, to be copied. */
static bool ready(const target *t, ox_val v)
{
    v = made_as(v);
    if (*slot(t, v) != NULL) {
        return true;
    }
    const ox_side *side = ox_side_of(v);
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
        *slot(t, v) = t->apart ? ox_sample(t->s, v) : sample_as_predicted(t->s, v);
        return true;
    }
    if (v->node == NULL && v->constant != NULL) {
        *slot(t, v) = ox_graph_constant(t->graph, NULL, v->constant);
        return true;
    }
    if (t->s->bind->fold_shapes && v->node != NULL && !ox_side_of(v)->varies &&
        (*slot(t, v) = ox_graph_known(t->graph, v)) != NULL) {
        return true;
    }
    if (v->node == NULL) {
        ox_fail(t->s->arena, OX_UNSUPPORTED,
                "the references need input \"%s\", which has none; hold=%s keeps it at the "
                "sample's value",
                v->name, v->name);
    }
    return false;
}

/* Copies v with all that it needs; an explicit stack, since models may be deep. */
static ox_val copy_value(const target *t, ox_val v)
{
    ox_val *stack = NULL;
    size_t count = 0, top = 0;
    v = made_as(v);
    if (ready(t, v)) {
        return *slot(t, v);
    }
    stack = ox_arena_grow(t->s->arena, stack, count++, sizeof *stack);
    stack[top++] = v;
    while (top > 0) {
        ox_val at = stack[top - 1];
        size_t before = top;
        for (size_t i = 0; *slot(t, at) == NULL && i < at->node->input_count; i++) {
            ox_val in = at->node->inputs[i];
            if (in != NULL && !ready(t, in)) {
                if (top == count) {
                    stack = ox_arena_grow(t->s->arena, stack, count++, sizeof *stack);
                }
                stack[top++] = made_as(in);
            }
        }
        if (top > before) {
            continue;
        }
        if (*slot(t, at) == NULL) {
            copy_node(t, at->node);
        }
        top--;
    }
    return *slot(t, v);
}

/* ---- samples
 * -------------------------------------------------------------------------------------- */

ox_val ox_sample(ox_explain_state *s, ox_val v)
{
    ox_side *side = ox_side_of(v);
    bool apart = side->fusible && (side->depends || s->branch->flow == v->graph);
    ox_val at = apart ? copy_value(&(target){s, s->g, false, true, false}, v) : v;
    if (s->branch->flow == v->graph) {
        return at;
    }
    v = made_as(v);
    side = ox_side_of(v);
    if (side->sample == NULL && side->depends) {
        side->sample = ox_scan_state(s, apart ? at : v);
    }
    return copy_value(&(target){s, s->branch->flow, false, false, false}, v);
}

/* Of int8 values ONNX Runtime fuses nothing where their DequantizeLinear is read by more than one,
 * and the model's output is one. */
ox_val ox_predicted(ox_explain_state *s)
{
    ox_val y = s->bind->output;
    bool read = !ox_side_of(y)->depends || ox_apart(y) == y || ox_only_moves(y->node->op);
    return read ? y : ox_apart(copy_value(&(target){s, s->g, false, true, true}, y));
}

ox_val ox_sample_output(ox_explain_state *s)
{
    return sample_as_predicted(s, ox_predicted(s));
}

/* ---- references
 * ------------------------------------------------------------------------------------ */

ox_dim ox_refs_dim(const ox_explain_state *s)
{
    if (s->branch->refs != s->g) {
        return ox_dim_of(s->branch->refs == s->branch->flow ? s->plan->chunk : 1);
    }
    return s->bind->refs_count > 0 ? ox_dim_of(s->plan->padded) : (ox_dim){.size = 1, .refs = 1};
}

/* The own shape of v with its batch axis, before*N*after, taken apart: [.., before, n, after, ..].
 * Where before or after is 1 there is no such axis. Returns the rank, and the place of n in *at. */
static int split_batch(ox_val v, ox_dim n, ox_dim *dims, int *at)
{
    const ox_place *place = &ox_side_of(v)->place;
    int rank = 0;
    for (int i = 0; i < v->rank; i++) {
        if (i != place->axis) {
            dims[rank++] = v->dims[i];
            continue;
        }
        if (place->before != 1) {
            dims[rank++] = ox_dim_of(place->before);
        }
        *at = rank;
        dims[rank++] = n;
        if (place->after != 1) {
            dims[rank++] = ox_dim_of(place->after);
        }
    }
    return rank;
}

/* A value of the reference branch as [R, own shape with 1 in place of N], the batch axis taken
 * apart. */
static ox_val view_of(ox_explain_state *s, ox_val v, ox_val raw)
{
    if (s->plan->one_at_a_time) {
        return raw;
    }
    if (v->rank < 0 || !ox_side_of(v)->place.known || v->rank > OX_MAX_RANK - 2) {
        ox_fail(s->arena, OX_UNSUPPORTED, "the batch of \"%s\" is not known", v->name);
    }
    int order[OX_MAX_RANK + 2], at = 0;
    ox_dim dims[OX_MAX_RANK + 2], refs = ox_refs_dim(s);
    int rank = split_batch(v, refs, dims, &at);
    order[0] = at;
    for (int i = 0, to = 1; i < rank; i++) {
        if (i != at) {
            order[to++] = i;
        }
    }
    raw = ox_transpose(ox_reshape(raw, rank, dims), order);
    dims[0] = refs;
    split_batch(v, ox_dim_of(1), dims + 1, &at);
    return ox_reshape(raw, rank + 1, dims);
}

/* Repeats a view [R, .., before, 1, after, ..] for every sample: [R, .., before*N*after, ..]. Other
 * views stay. */
static ox_val repeat(ox_explain_state *s, ox_val v, ox_val view)
{
    int at;
    if (s->plan->one_at_a_time || v->dims[ox_side_of(v)->place.axis].size == 1) {
        return view;
    }
    ox_dim dims[OX_MAX_RANK + 2];
    dims[0] = view->dims[0];
    int rank = split_batch(v, (ox_dim){.size = 1, .batch = 1}, dims + 1, &at) + 1;
    ox_val all = ox_expand(view, rank, dims);
    memcpy(dims + 1, v->dims, (size_t)v->rank * sizeof *dims);
    return ox_reshape(all, v->rank + 1, dims);
}

/* The reference of v in the flow graph. */
static ox_val reference_of(ox_explain_state *s, ox_val v, bool apart)
{
    ox_purpose former = ox_graph_enter(s->branch->refs, "onnxexplainer/reference",
                                       v->base != NULL ? v->base : v->name, v->node);
    ox_val raw = copy_value(&(target){s, s->branch->refs, true, apart, false}, v);
    ox_val view = view_of(s, v, apart ? raw : ox_apart(raw));
    ox_type type = view->type;
    bool kept = s->branch->refs != s->branch->flow && s->branch->refs != s->g;
    if (kept) {
        view = ox_keep(s, v, view);
    }
    if (s->branch->flow != view->graph) {
        bool whole = kept || s->plan->one_at_a_time; /* slices are what a step takes */
        view = s->plan->target_chunk > 0 ? ox_scan_state(s, view)
                                         : ox_scan_slice(s, view, whole ? 0 : s->plan->chunk);
    }
    view = repeat(s, v, ox_cast(view, type));
    ox_graph_leave(s->branch->refs, former);
    return view;
}

ox_val ox_reference(ox_explain_state *s, ox_val v)
{
    ox_side *side = ox_side_of(v);
    if (!side->varies && !(s->branch->folded && side->depends)) {
        return ox_sample(s, v);
    }
    if (side->view == NULL) {
        side->view = reference_of(s, v, side->fusible);
    }
    return side->view;
}

ox_val ox_point(ox_explain_state *s, ox_val v)
{
    return s->branch->flow == s->g ? ox_sample(s, v) : ox_reference(s, v);
}

ox_val ox_leg_pick(ox_explain_state *s, ox_val v, ox_val all, bool reference)
{
    ox_dim dims[OX_MAX_RANK + 2];
    int at = 0, rank = split_batch(v, (ox_dim){.size = 1, .batch = 1}, dims, &at);
    ox_val own = ox_gather(ox_reshape(all, rank, dims), s->branch->ends[reference], at);
    return ox_reshape(own, v->rank, v->dims);
}

ox_val ox_leg(ox_explain_state *s, ox_val v, bool reference)
{
    ox_side *side = ox_side_of(v);
    if (!side->varies || (reference && s->branch->copies)) {
        return ox_point(s, v);
    }
    if (s->branch->copies && side->fusible) {
        ox_fail(s->arena, OX_UNSUPPORTED,
                "quantised models have no second order, and no splits where their batch is fixed "
                "or values are held");
    }
    if (s->branch->copies) {
        return copy_value(&(target){s, s->branch->flow, false, false, false}, v);
    }
    if (side->legs[reference] == NULL) {
        side->legs[reference] = ox_leg_pick(s, v, ox_point(s, v), reference);
    }
    return side->legs[reference];
}

ox_val ox_reference_output(ox_explain_state *s)
{
    const ox_side *side = ox_side_of(s->bind->output);
    return side->fusible && side->varies ? reference_of(s, s->bind->output, false)
                                         : ox_reference(s, s->bind->output);
}
