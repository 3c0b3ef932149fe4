/* What ONNX Runtime makes of the sums over trees: scores of two classes, where often one is given,
 * and probabilities of margins. The sums stay a node, for the rule of trees; the rest are standard
 * operators behind it. */
#include <string.h>

#include "rules/decompose.h"
#include "rules/trees.h"

/* ---- the sums -------------------------------------------------------------------------------- */

static const char *transform_of(const ox_node *n)
{
    /* as ONNX Runtime (1.32) numbers them; the standard has SOFTMAX before LOGISTIC */
    static const char *const names[] = {"NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"};
    if (strcmp(n->op, "TreeEnsemble") != 0) {
        return ox_node_string(n, "post_transform", "NONE");
    }
    int64_t kind = ox_node_int(n, "post_transform", 0);
    return kind >= 0 && kind < 5 ? names[kind] : "of another number";
}

static bool is(const char *name, const char *value)
{
    return strcmp(name, value) == 0;
}

/* Under which name a regressor has an attribute; NULL: none. */
static const char *renamed(ox_arena *a, const char *name, bool classifier)
{
    static const char *const dropped[] = {"post_transform", "classlabels_int64s",
                                          "classlabels_strings"};
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++) {
        if (is(name, dropped[i])) {
            return NULL;
        }
    }
    if (classifier && strncmp(name, "base_values", strlen("base_values")) == 0) {
        return NULL;
    }
    const char *own = strchr(name, '_');
    return classifier && strncmp(name, "class_", strlen("class_")) == 0
               ? ox_arena_format(a, "target%s", own)
               : name;
}

/* The same trees without what is made of the sums, of classifiers without base values as well:
 * [N, targets]. */
static ox_val sums(const ox_node *n, int64_t targets)
{
    bool classifier = is(n->op, "TreeEnsembleClassifier");
    ox_attr *attrs = ox_arena_alloc(n->graph->arena, n->attr_count + 1, sizeof *attrs);
    size_t count = 0;
    for (size_t i = 0; i < n->attr_count; i++) {
        const char *name = renamed(n->graph->arena, n->attrs[i].name, classifier);
        if (name != NULL) {
            attrs[count] = n->attrs[i];
            attrs[count++].name = name;
        }
    }
    if (classifier) {
        attrs[count++] = ox_attr_int("n_targets", targets);
    }
    const char *op = classifier ? "TreeEnsembleRegressor" : n->op;
    ox_val x = ox_made_ranked(n, 0);
    x = ox_type_is_float(x->type) ? x : ox_cast(x, OX_FLOAT); /* as they are compared */
    return ox_graph_emit_node(n->graph, n->domain, op, 1, &x, 1, count, attrs)->outputs[0];
}

/* ---- behind them ----------------------------------------------------------------------------- */

/* Softmax over the scores that are not 0. */
static ox_val softmax_zero(ox_val scores)
{
    static const double nothing = 1e-7, masked = -1e30;
    ox_val some = ox_greater(ox_abs(scores), ox_number(scores, nothing));
    ox_val logits = ox_where(some, scores, ox_number(scores, masked));
    ox_attr axis = ox_attr_int("axis", -1);
    return ox_graph_emit(scores->graph, "Softmax", 1, &logits, 1, &axis);
}

/* sqrt(2) erfinv(z), z = 2 p - 1, as ONNX Runtime approximates it: with l = log(1 - z^2) and
 * q = c + l/2 it is sign(z) sqrt(sqrt(q^2 - l/0.147) - q). */
static ox_val probit(ox_val p)
{
    static const double a = 0.147, c = 2 / (3.14159 * 0.147), root = 1.41421356;
    ox_val z = ox_shift(ox_scale(p, 2), -1);
    ox_val l = ox_log(ox_mul(ox_shift(ox_neg(z), 1), ox_shift(z, 1)));
    ox_val q = ox_shift(ox_scale(l, 0.5), c);
    ox_val inner = ox_sub(ox_sqrt(ox_sub(ox_square(q), ox_scale(l, 1 / a))), q);
    return ox_scale(ox_mul(ox_unary("Sign", z), ox_sqrt(inner)), root);
}

/* A single score has none but PROBIT. */
static bool transforms(const char *name, int64_t targets)
{
    return !is(name, "NONE") && (targets > 1 || is(name, "PROBIT"));
}

static ox_val transformed(const ox_node *n, ox_val scores, int64_t targets)
{
    const char *name = transform_of(n);
    ox_attr axis = ox_attr_int("axis", -1);
    if (!transforms(name, targets)) {
        return scores;
    }
    if (is(name, "LOGISTIC")) {
        return ox_unary("Sigmoid", scores);
    }
    if (is(name, "SOFTMAX")) {
        return ox_graph_emit(n->graph, "Softmax", 1, &scores, 1, &axis);
    }
    if (is(name, "SOFTMAX_ZERO")) {
        return softmax_zero(scores);
    }
    if (is(name, "PROBIT")) {
        return probit(scores);
    }
    ox_made_fail(n, ox_arena_format(n->graph->arena, "no rule for post_transform %.40s", name));
}

void decompose_trees(const ox_node *n, ox_val *outputs)
{
    const ox_forest *f = ox_forest_read(n);
    if (transforms(transform_of(n), f->targets)) {
        outputs[0] = transformed(n, sums(n, f->targets), f->targets);
    }
}

/* ---- two classes ----------------------------------------------------------------------------- */

/* How often leaves have a weight of a class: ONNX Runtime takes a class without a score for another
 * than one whose score is 0. */
typedef enum presence { NEVER, SOMETIMES, ALWAYS } presence;

static bool has_class(const ox_split *leaf, int64_t class)
{
    for (size_t k = 0; k < leaf->count; k++) {
        if (leaf->weights[k].target == class) {
            return true;
        }
    }
    return false;
}

/* Every sample has a score where all leaves of some tree do. */
static presence presence_of(const ox_forest *f, int64_t class)
{
    presence is = NEVER;
    for (size_t t = 0; t < f->tree_count; t++) {
        size_t end = t + 1 < f->tree_count ? f->roots[t + 1] : f->count;
        size_t leaves = 0, with = 0;
        for (size_t i = f->roots[t]; i < end; i++) {
            leaves += f->splits[i].test == OX_TEST_LEAF;
            with += f->splits[i].test == OX_TEST_LEAF && has_class(&f->splits[i], class);
        }
        is = with > 0 && with == leaves ? ALWAYS : with > 0 && is == NEVER ? SOMETIMES : is;
    }
    return is;
}

static void need_steady(const ox_node *n, presence is, int64_t class)
{
    if (is == SOMETIMES) {
        ox_made_fail(n, ox_arena_format(n->graph->arena,
                                        "some of its leaves alone have a weight of class %lld, "
                                        "without which the scores are others",
                                        (long long)class));
    }
}

static bool all_positive(const ox_forest *f)
{
    bool positive = true;
    for (size_t i = 0; i < f->count; i++) {
        const ox_split *s = &f->splits[i];
        for (size_t k = 0; s->test == OX_TEST_LEAF && k < s->count; k++) {
            positive = positive && s->weights[k].value >= 0;
        }
    }
    return positive;
}

static ox_val column(ox_val scores, int64_t k)
{
    return ox_slice(scores, -1, k, k + 1, 1);
}

static ox_val beside(ox_val left, ox_val right)
{
    ox_val both[] = {left, right};
    return ox_concat(left->graph, 2, both, -1);
}

/* The one score s is that of the second class, that of the first follows from it. */
static ox_val of_one(const ox_node *n, const ox_forest *f, ox_val s)
{
    const char *name = transform_of(n);
    if (is(name, "PROBIT")) {
        ox_made_fail(n, "ONNX Runtime leaves its second score open");
    }
    if (is(name, "LOGISTIC")) {
        return ox_unary("Sigmoid", beside(ox_neg(s), s));
    }
    return beside(all_positive(f) ? ox_shift(ox_neg(s), 1) : ox_neg(s), s);
}

/* What becomes of the sums of two classes [N, 2] and the base values. */
static ox_val of_two(const ox_node *n, const ox_forest *f, ox_val scores)
{
    size_t count;
    const double *base = ox_forest_numbers(n, "base_values", &count);
    presence first = presence_of(f, 0), second = presence_of(f, 1);
    ox_val p0 = column(scores, 0), p1 = column(scores, 1), none = ox_scale(p0, 0);
    need_steady(n, second, 1);
    if (count > 0) {
        need_steady(n, first, 0);
    }
    if (second == NEVER && count < 2) {
        return of_one(n, f, count == 1 ? ox_shift(p0, base[0]) : p0);
    }
    if (count == 1) {
        p0 = first == NEVER ? none : ox_shift(p0, base[0]);
    } else if (count > 1 && second == NEVER) {
        p0 = ox_shift(p0, base[0]);
        p1 = none;
    } else if (count > 1) { /* the second score is the first sum with the second base value */
        p1 = ox_shift(p0, base[1]);
        p0 = first == NEVER ? none : ox_neg(p1);
    }
    return transformed(n, beside(p0, p1), 2);
}

/* Output 0 is the label. */
void decompose_tree_classifier(const ox_node *n, ox_val *outputs)
{
    const ox_forest *f = ox_forest_read(n);
    if (n->output_count < 2) {
        ox_made_fail(n, "its labels are no numbers");
    }
    size_t count;
    const double *base = ox_forest_numbers(n, "base_values", &count);
    ox_val scores = sums(n, f->targets);
    if (f->targets == 2) {
        outputs[1] = of_two(n, f, scores);
        return;
    }
    if (count == (size_t)f->targets) {
        int64_t width = f->targets;
        scores = ox_add(scores, ox_floats(n->graph, scores->type, 1, &width, base));
    }
    outputs[1] = transformed(n, scores, f->targets);
}
