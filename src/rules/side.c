/* What is known of values of the lifted graph: whether they differ between sample and reference,
 * whether ONNX Runtime may fuse them, and the multipliers that arrived. */
#include "rules/side.h"

#include <string.h>

#include "graph/body.h"
#include "model/model.h"
#include "rules/rules.h"
#include "shape/shape.h"

/* The DequantizeLinear of constants behind operand i, if only transposed: ONNX Runtime makes one
 * operator, MatMulNBits, of that and a product, but only while nothing else reads the constants. */
static bool is_packed(const ox_node *n, size_t i)
{
    ox_val w = ox_node_input(n, i);
    if (w != NULL && w->node != NULL && strcmp(w->node->op, "Transpose") == 0) {
        w = w->node->inputs[0];
    }
    const ox_node *made = w == NULL ? NULL : w->node;
    ox_val q = made == NULL || strcmp(made->op, "DequantizeLinear") != 0 ? NULL : made->inputs[0];
    return q != NULL && q->node == NULL && q->constant != NULL && q->rank == 2 &&
           ox_type_size(q->type) <= 1;
}

bool ox_side_packed(const ox_node *n)
{
    bool gemm = strcmp(n->op, "Gemm") == 0 && ox_node_int(n, "transB", 0) == 0;
    bool product = n->domain[0] == '\0' && (gemm || strcmp(n->op, "MatMul") == 0);
    return product && is_packed(n, 1) && ox_side_of(n->inputs[0])->depends;
}

/* Of a value that depends on inputs only those count that do: with constants alone nothing is
 * computed in integers. */
bool ox_side_fusible(ox_val v)
{
    const ox_node *n = v->node;
    bool depends = ox_side_of(v)->depends;
    if (n->parts != NULL) {
        return ox_side_of(n->parts[v->output])->fusible;
    }
    if (strcmp(n->op, "DequantizeLinear") == 0 || ox_side_packed(n)) {
        return true;
    }
    for (size_t i = 0; i < n->input_count && !ox_node_has_body(n); i++) {
        const ox_side *in = n->inputs[i] == NULL ? NULL : ox_side_of(n->inputs[i]);
        if (in != NULL && in->fusible && (in->depends || !depends)) {
            return true;
        }
    }
    return false;
}

bool ox_draws(const ox_node *n)
{
    return ox_node_has(n, OX_RANDOM);
}

/* Shape, Size and EyeLike say the same for sample and reference, unless data decide the size; and
 * no data go into random numbers. */
bool ox_only_shape(const ox_node *n)
{
    return ox_node_has(n, OX_OF_SHAPE | OX_RANDOM);
}

/* Whether its contents, integers, are known, as those of a shape may be. */
static bool is_known(ox_val v)
{
    size_t count = 0;
    return v->elements != NULL && ox_shape_count(v->rank, v->dims, &count) &&
           ox_dims_static((int)count, v->elements);
}

/* Whether the sizes of v are of data that vary. */
static bool is_sized(ox_val v)
{
    const ox_node *n = v->node;
    bool sizes = ox_node_has(n, OX_SIZES), known = v->rank >= 0;
    bool sized = ox_node_has_body(n) && v->side->varies;
    for (size_t i = 0; i < n->input_count; i++) {
        const ox_side *side = n->inputs[i] == NULL ? NULL : ox_side_of(n->inputs[i]);
        bool decides = sizes && (i > 0 || !ox_node_has(n, OX_OF_FIRST));
        sized = sized || (side != NULL && (side->sized || (decides && side->varies)));
    }
    for (int i = 0; i < v->rank; i++) {
        known = known && v->dims[i].unknown == 0;
    }
    return sized && !known;
}

static void inherit(void *user, ox_val from)
{
    ox_side *heir = user;
    const ox_side *side = ox_side_of(from);
    heir->depends = heir->depends || side->depends;
    heir->varies = heir->varies || side->varies;
    heir->of_held = heir->of_held || (side->of_held && !is_known(from));
}

void ox_side_hold(ox_val v)
{
    v->side = ox_arena_alloc(v->graph->arena, 1, sizeof *v->side);
    v->side->depends = v->side->held = v->side->of_held = true;
}

/* Values are asked for in topological order or shortly after, so this does not nest deeply. */
ox_side *ox_side_of(ox_val v)
{
    if (v->side != NULL) {
        return v->side;
    }
    ox_side *side = ox_arena_alloc(v->graph->arena, 1, sizeof *side);
    v->side = side;
    if (v->node == NULL) {
        return side;
    }
    if (v->node->original && ox_draws(v->node)) {
        side->depends = side->held = side->of_held = true;
        return side;
    }
    if (v->node->parts != NULL) {
        inherit(side, v->node->parts[v->output]);
        side->sized = ox_side_of(v->node->parts[v->output])->sized;
        side->fusible = ox_side_fusible(v);
        return side;
    }
    for (size_t i = 0; i < v->node->input_count; i++) {
        if (v->node->inputs[i] != NULL) {
            inherit(side, v->node->inputs[i]);
        }
    }
    ox_body_visit_captured(v->node, inherit, side);
    side->sized = is_sized(v);
    if (ox_only_shape(v->node)) {
        ox_val of = v->node->input_count == 0 ? NULL : v->node->inputs[0];
        side->varies = of != NULL && ox_side_of(of)->sized && !ox_draws(v->node);
    }
    if (ox_draws(v->node)) { /* in a body that was written out: not what the body drew */
        side->depends = side->varies = true;
    }
    side->fusible = ox_side_fusible(v);
    return side;
}

const char *ox_hold_hint(ox_arena *a, ox_val v)
{
    bool named = v->name != NULL && v->name[0] != '\0' && (v->node == NULL || v->node->original);
    return named ? ox_arena_format(a, "; --hold=%s keeps the sample's value of it", v->name) : "";
}

/* ---- multipliers ---------------------------------------------------------------------------- */

ox_type ox_side_type(ox_type own)
{
    return own == OX_DOUBLE ? OX_DOUBLE : OX_FLOAT;
}

/* A multiplier changes its type where the value does, at a Cast or where a double meets floats as
 * an exponent or a scale: in front of it stands the network's own type, for which ONNX Runtime has
 * kernels. Integers take what comes, the wider of two. */
static void add_to(ox_val v, ox_val *sum, ox_val m)
{
    bool wide = m->type == OX_DOUBLE || (*sum != NULL && (*sum)->type == OX_DOUBLE);
    ox_type type = ox_type_is_float(v->type) ? ox_side_type(v->type) : wide ? OX_DOUBLE : OX_FLOAT;
    m = ox_cast(m, type);
    *sum = *sum == NULL ? m : ox_add(ox_cast(*sum, type), m);
}

void ox_side_add(ox_val v, ox_val m)
{
    add_to(v, &ox_side_of(v)->m, m);
}

void ox_side_add_second(ox_val v, ox_val q)
{
    add_to(v, &ox_side_of(v)->q, q);
}
