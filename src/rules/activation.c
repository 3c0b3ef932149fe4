/* Activations that exporters spell out, x sigmoid(x) for one: found by a grammar of their
 * spellings, and explained as the one function of x that they are. That gives what the rules of the
 * products and of their factors give together, y being the same, in one node. */
#include "rules/second.h"

#include <math.h>
#include <string.h>

/* A name stands for each of its spellings: an operator before its operands, names of constants, `x`
 * for the value that all depends on, `alpha` for any constant, names of other rows. */
static const struct spelling {
    const char *name, *spelled;
} spellings[] = {
    {"Swish", "Mul x Sigmoid x"},
    {"Swish", "Mul x Sigmoid Mul x alpha"},
    {"Mish", "Mul x Tanh Softplus x"},
    {"HardSwish", "Mul x HardSigmoid x"},
    {"HardSwish", "Div Mul x ramp six"},
    {"HardSwish", "Mul x Div ramp six"},
    {"HardSwish", "Mul Mul x ramp sixth"},
    {"HardSwish", "Mul x Mul ramp sixth"},
    {"ramp", "Clip Add x three zero six"},
    {"Gelu", "Mul half Mul x normal"},
    {"Gelu", "Mul Mul x half normal"},
    {"Gelu", "Mul x Mul half normal"},
    {"normal", "Add one Erf Div x root"},
    {"normal", "Add one Erf Mul x inverse_root"},
    {"GeluTanh", "Mul half Mul x bend"},
    {"GeluTanh", "Mul Mul x half bend"},
    {"GeluTanh", "Mul x Mul half bend"},
    {"bend", "Add one Tanh Mul Add x Mul cube gelu_e gelu_k"},
    {"bend", "Add one Tanh Mul Mul x gelu_k Add one Mul Mul x gelu_e x"},
    {"cube", "Pow x three"},
    {"cube", "Mul x Mul x x"},
};

/* HardSwish itself has a sixth of single precision: what divides doubles by 6 is another function.
 */
#define SIXTH ((double)(1.0F / 6))

static const struct constant {
    const char *name;
    double value;
} constants[] = {
    {"zero", 0},
    {"half", 0.5},
    {"one", 1},
    {"three", 3},
    {"six", 1 / SIXTH},
    {"sixth", SIXTH},
    {"root", 1.41421356237309505},
    {"inverse_root", 0.70710678118654752},
    {"gelu_e", 0.044715},
    {"gelu_k", 0.79788456080286536},
};

typedef struct match {
    ox_val root, x, alpha;
} match;

/* Whether the word at hand is `name`. */
static bool is(const char *word, const char *name)
{
    size_t length = strlen(name);
    return strncmp(word, name, length) == 0 && (word[length] == ' ' || word[length] == '\0');
}

/* The word at *at, which goes on to the next. */
static const char *next_word(const char **at)
{
    const char *word = *at;
    size_t length = strcspn(word, " ");
    *at += length + (word[length] == ' ');
    return word;
}

/* The same but for rounding, of constants of the type of the result. */
static bool near(const match *m, double a, double b)
{
    return fabs(a - b) <= (m->root->type == OX_DOUBLE ? 1e-15 : 1e-6) * fabs(b);
}

static bool accept(const char **at, ox_val v, match *m);

/* An operator before its operands, in either order where that does not matter. */
static bool accept_node(const char *word, const char **at, ox_val v, match *m)
{
    const ox_node *n = v->node;
    bool pair = is(word, "Add") || is(word, "Mul"),
         two = pair || is(word, "Div") || is(word, "Pow");
    size_t count = is(word, "Clip") ? 3 : two ? 2 : 1;
    if (n == NULL || n->domain[0] != '\0' || !is(word, n->op) || n->input_count != count ||
        (v != m->root && ox_is_point(v))) {
        return false;
    }
    if (is(word, "HardSigmoid") && !(near(m, ox_node_float(n, "alpha", 0.2), SIXTH) &&
                                     near(m, ox_node_float(n, "beta", 0.5), 0.5))) {
        return false;
    }
    for (size_t first = 0; first <= pair; first++) {
        const char *then = *at;
        match found = *m;
        bool all = true;
        for (size_t i = 0; i < count && all; i++) {
            ox_val operand = n->inputs[pair ? i ^ first : i];
            all = operand != NULL && accept(&then, operand, &found);
        }
        if (all) {
            *at = then;
            *m = found;
            return true;
        }
    }
    return false;
}

/* Whether v is what *at says; goes on behind that then. */
static bool accept(const char **at, ox_val v, match *m)
{
    const char *word = next_word(at);
    if (is(word, "x")) {
        m->x = m->x == NULL ? v : m->x;
        return m->x == v;
    }
    if (is(word, "alpha")) {
        m->alpha = v;
        return isfinite(ox_known_scalar(v));
    }
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (is(word, constants[i].name)) {
            return near(m, ox_known_scalar(v), constants[i].value);
        }
    }
    bool row = false;
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        if (is(word, spellings[i].name)) {
            const char *inside = spellings[i].spelled;
            match found = *m;
            row = true;
            if (accept(&inside, v, &found)) {
                *m = found;
                return true;
            }
        }
    }
    return !row && accept_node(word, at, v, m);
}

/* The spelling that the node at hand ends, NULL for none. */
static const char *find(ox_ctx *c, match *found)
{
    ox_val y = c->node->outputs[0];
    if (c->stands_in) { /* node by node */
        return NULL;
    }
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        const char *name = spellings[i].name, *at = spellings[i].spelled;
        match m = {.root = y};
        bool whole = name[0] >= 'A' && name[0] <= 'Z' && accept(&at, y, &m);
        if (whole && m.x->rank == y->rank && ox_dims_equal(y->rank, m.x->dims, y->dims)) {
            *found = m;
            return name;
        }
    }
    return NULL;
}

bool ox_is_activation(ox_ctx *c)
{
    match m;
    return find(c, &m) != NULL;
}

/* The node at hand as that of one function; NULL where it ends none. */
static const ox_node *as_one(ox_ctx *c)
{
    match m;
    const char *name = find(c, &m);
    if (name == NULL) {
        return NULL;
    }
    ox_node *one = ox_arena_copy(c->g->arena, c->node, 1, sizeof *one);
    one->op = name;
    one->input_count = m.alpha == NULL ? 1 : 2;
    one->inputs = ox_arena_alloc(c->g->arena, 2, sizeof *one->inputs);
    one->inputs[0] = m.x;
    one->inputs[1] = m.alpha;
    one->attr_count = 0;
    return one;
}

bool ox_activation(ox_ctx *c)
{
    const ox_node *one = as_one(c);
    ox_ctx of_one = *c;
    of_one.node = one;
    if (one != NULL) {
        flow_unary(&of_one);
    }
    return one != NULL;
}

ox_val ox_mean_of_activation(ox_ctx *c)
{
    const ox_node *one = as_one(c);
    ox_ctx of_one = *c;
    of_one.node = one;
    return one == NULL ? NULL : ox_mean_of_unary(&of_one);
}
