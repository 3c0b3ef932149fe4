/* The functions of the gates and cells of recurrent layers. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "rules/decompose.h"
#include "rules/recurrent.h"

int ox_recurrent_directions(const ox_node *n)
{
    return strcmp(ox_node_string(n, "direction", "forward"), "bidirectional") == 0 ? 2 : 1;
}

/* Defaults are those of the operators of these names. Affine and ScaledTanh have none, and on that
 * of ThresholdedRelu runtimes differ: these parameters must be given. */
static const ox_gate functions[] = {
    {"Affine", 2, NAN, NAN},
    {"Elu", 1, 1, 0},
    {"HardSigmoid", 2, 0.2F, 0.5F},
    {"LeakyRelu", 1, 0.01F, 0},
    {"Relu", 0, 0, 0},
    {"ScaledTanh", 2, NAN, NAN},
    {"Sigmoid", 0, 0, 0},
    {"Softplus", 0, 0, 0},
    {"Softsign", 0, 0, 0},
    {"Tanh", 0, 0, 0},
    {"ThresholdedRelu", 1, NAN, 0},
};

static ox_gate find(const ox_node *n, const char *name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (strcasecmp(name, functions[i].op) == 0) {
            return functions[i];
        }
    }
    ox_fail(n->graph->arena, OX_UNSUPPORTED, "%s: no rule for the activation \"%s\"",
            ox_node_label(n), name);
}

/* The next number of a list of floats, which activations take from in their order. */
static float next_float(const ox_attr *list, size_t *next, float otherwise)
{
    bool there = list != NULL && list->kind == OX_ATTR_FLOATS && *next < list->count;
    return there ? list->floats[(*next)++] : otherwise;
}

/* What the operators have where the node does not say: their number, and which. */
static const struct {
    const char *op;
    size_t count;
    const char *names[3];
} usual[] = {
    {"AttnLSTM", 3, {"Sigmoid", "Tanh", "Tanh"}},
    {"GRU", 2, {"Sigmoid", "Tanh", NULL}},
    {"LSTM", 3, {"Sigmoid", "Tanh", "Tanh"}},
    {"RNN", 1, {"Tanh", NULL, NULL}},
};

const ox_gate *ox_gates_of(const ox_node *n, int direction, size_t *count)
{
    size_t row = 0, alphas = 0, betas = 0;
    while (strcmp(usual[row].op, n->op) != 0) {
        row++;
    }
    size_t each = usual[row].count, all = each * (size_t)ox_recurrent_directions(n);
    const ox_attr *names = ox_node_attr(n, "activations");
    const ox_attr *alpha = ox_node_attr(n, "activation_alpha");
    const ox_attr *beta = ox_node_attr(n, "activation_beta");
    if (names != NULL && (names->kind != OX_ATTR_STRINGS || names->count != all)) {
        ox_made_fail(n, "its activations are too few or too many");
    }
    ox_gate *found = ox_arena_alloc(n->graph->arena, all, sizeof *found);
    for (size_t i = 0; i < all; i++) {
        found[i] = find(n, names == NULL ? usual[row].names[i % each] : names->strings[i]);
        if (found[i].parameters > 0) {
            found[i].alpha = next_float(alpha, &alphas, found[i].alpha);
        }
        if (found[i].parameters > 1) {
            found[i].beta = next_float(beta, &betas, found[i].beta);
        }
        if (isnan(found[i].alpha) || isnan(found[i].beta)) {
            ox_made_fail(n, "an activation lacks its alpha or beta");
        }
    }
    *count = each;
    return found + (size_t)direction * each;
}

size_t ox_gate_attrs(const ox_node *n, int direction, ox_attr *attrs)
{
    size_t count = 0, alphas = 0, betas = 0;
    const ox_gate *gates = ox_gates_of(n, direction, &count);
    ox_arena *a = n->graph->arena;
    const char **names = ox_arena_alloc(a, count, sizeof *names);
    float *alpha = ox_arena_alloc(a, count, sizeof *alpha);
    float *beta = ox_arena_alloc(a, count, sizeof *beta);
    for (size_t i = 0; i < count; i++) {
        names[i] = gates[i].op;
        if (gates[i].parameters > 0) {
            alpha[alphas++] = gates[i].alpha;
        }
        if (gates[i].parameters > 1) {
            beta[betas++] = gates[i].beta;
        }
    }
    size_t made = 0;
    if (ox_node_attr(n, "activations") != NULL) {
        attrs[made++] = (ox_attr){
            .name = "activations", .kind = OX_ATTR_STRINGS, .count = count, .strings = names};
    }
    if (alphas > 0) {
        attrs[made++] = (ox_attr){
            .name = "activation_alpha", .kind = OX_ATTR_FLOATS, .count = alphas, .floats = alpha};
    }
    if (betas > 0) {
        attrs[made++] = (ox_attr){
            .name = "activation_beta", .kind = OX_ATTR_FLOATS, .count = betas, .floats = beta};
    }
    return made;
}

ox_val ox_gate_value(const ox_gate *f, ox_val x)
{
    const ox_attr attrs[] = {ox_attr_float("alpha", f->alpha), ox_attr_float("beta", f->beta)};
    if (strcmp(f->op, "Affine") == 0) {
        return ox_shift(ox_scale(x, (double)f->alpha), (double)f->beta);
    }
    if (strcmp(f->op, "ScaledTanh") == 0) {
        return ox_scale(ox_tanh(ox_scale(x, (double)f->beta)), (double)f->alpha);
    }
    return ox_graph_emit(x->graph, f->op, 1, &x, (size_t)f->parameters, attrs);
}

ox_val ox_gate_flow(const ox_gate *f, ox_val m, const ox_pair *p)
{
    double alpha = (double)f->alpha, beta = (double)f->beta;
    if (strcmp(f->op, "Affine") == 0) {
        return ox_scale(m, alpha);
    }
    if (strcmp(f->op, "ScaledTanh") == 0) {
        ox_pair inner = {.x = ox_scale(p->x, beta), .x0 = ox_scale(p->x0, beta)};
        inner.y = ox_tanh(inner.x);
        inner.y0 = ox_tanh(inner.x0);
        return ox_flow_of("Tanh", ox_scale(m, alpha * beta), &inner);
    }
    ox_pair whole = *p;
    whole.a = f->parameters > 0 ? ox_number(m, alpha) : NULL;
    whole.b = f->parameters > 1 ? ox_number(m, beta) : NULL;
    return ox_flow_of(f->op, m, &whole);
}
