/* ai.onnx.ml as standard operators: what converters of classical models write. */
#include <string.h>

#include "rules/decompose.h"
#include "rules/unary.h"

static bool is(const ox_node *n, const char *name, const char *otherwise, const char *value)
{
    return strcmp(ox_node_string(n, name, otherwise), value) == 0;
}

/* Input i as floats, which these operators compute in. */
static ox_val floats_of(const ox_node *n, size_t i)
{
    return ox_cast(ox_made_ranked(n, i), OX_FLOAT);
}

/* The attribute, a list of numbers, as a constant; NULL where there is none. */
static ox_val numbers(const ox_node *n, const char *name, int rank, const int64_t *dims)
{
    const ox_attr *attr = ox_node_attr(n, name);
    size_t count = 1;
    if (attr == NULL || attr->kind != OX_ATTR_FLOATS || attr->count == 0) {
        return NULL;
    }
    for (int d = 0; d < rank; d++) {
        if (dims[d] < 1 || !ox_size_mul(count, (size_t)dims[d], &count)) {
            count = 0;
        }
    }
    if (count != attr->count) {
        ox_made_fail(n, ox_arena_format(n->graph->arena, "%s has %zu numbers", name, attr->count));
    }
    double *out = ox_arena_alloc(n->graph->arena, count, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        out[i] = (double)attr->floats[i];
    }
    return ox_floats(n->graph, OX_FLOAT, rank, dims, out);
}

static int64_t attr_count(const ox_node *n, const char *name)
{
    const ox_attr *attr = ox_node_attr(n, name);
    return attr == NULL ? 0 : (int64_t)attr->count;
}

/* ---- features -------------------------------------------------------------------------------- */

/* x by the maximum, the sum of absolute values or the root of the sum of squares of its row. */
void decompose_normalizer(const ox_node *n, ox_val *outputs)
{
    static const double tiny = 1e-30; /* keeps the quotient finite where the norm is 0 */
    static const int64_t last[] = {-1};
    ox_val x = floats_of(n, 0), norm = NULL;
    if (is(n, "norm", "MAX", "L1")) {
        norm = ox_shift(ox_sum(ox_abs(x), -1, true), tiny);
    } else if (is(n, "norm", "MAX", "L2")) {
        norm = ox_sqrt(ox_shift(ox_sum(ox_square(x), -1, true), tiny));
    } else {
        norm = ox_reduce("ReduceMax", x, 1, last, true);
        ox_val none = ox_cast(ox_equal(norm, ox_number(norm, 0)), norm->type);
        norm = ox_add(norm, none);
    }
    outputs[0] = ox_div(x, norm);
}

/* What is missing is replaced by a constant. */
void decompose_imputer(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    int64_t count = attr_count(n, "imputed_value_floats");
    double missing = ox_node_float(n, "replaced_value_float", 0);
    ox_val value = numbers(n, "imputed_value_floats", 1, &count);
    if (value == NULL) {
        ox_made_fail(n, "no rule for integers");
    }
    ox_val gone = missing != missing ? ox_unary("IsNaN", x) : ox_equal(x, ox_number(x, missing));
    outputs[0] = ox_where(gone, ox_cast(value, x->type), x);
}

void decompose_binarizer(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0);
    ox_val above = ox_greater(x, ox_number(x, ox_node_float(n, "threshold", 0)));
    outputs[0] = ox_cast(above, x->type);
}

void decompose_feature_vectorizer(const ox_node *n, ox_val *outputs)
{
    ox_val *parts = ox_arena_alloc(n->graph->arena, n->input_count, sizeof *parts);
    for (size_t i = 0; i < n->input_count; i++) {
        parts[i] = floats_of(n, i);
        if (parts[i]->rank == 1) {
            parts[i] = ox_unsqueeze(parts[i], n->outputs[0]->rank == 2 ? -1 : 0);
        }
    }
    outputs[0] = ox_concat(n->graph, n->input_count, parts, -1);
}

void decompose_array_feature_extractor(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_ranked(n, 0), index = ox_made_ranked(n, 1), y = n->outputs[0];
    ox_dim all = ox_val_size(index);
    outputs[0] = ox_reshape(ox_gather(x, ox_reshape(index, 1, &all), -1), y->rank, y->dims);
}

/* ---- categories ------------------------------------------------------------------------------ */

/* Comparisons of all pairs are written out. */
enum { WINNERS_MAX = 256 };

/* The ArgMax that v is of, through casts; NULL: none over the last axis. */
static const ox_node *arg_max_of(ox_val v)
{
    const ox_node *n = v->node;
    while (ox_node_is(n, "Cast")) {
        n = n->inputs[0]->node;
    }
    if (n == NULL || n->domain[0] != '\0' || strcmp(n->op, "ArgMax") != 0 ||
        n->inputs[0]->rank < 1 || ox_node_int(n, "select_last_index", 0) != 0) {
        return NULL;
    }
    int rank = n->inputs[0]->rank;
    int64_t axis = ox_node_int(n, "axis", 0);
    return axis == -1 || axis == rank - 1 ? n : NULL;
}

/* 1 where an element of x [.., C] is the first of the largest, else 0: the least over k of
 * x_j > x_k (k < j), x_j >= x_k (k > j). */
static ox_val winners(ox_val x, int64_t count)
{
    static const int64_t last[] = {-1};
    double *before = ox_arena_alloc(x->graph->arena, (size_t)(count * count), sizeof *before);
    for (int64_t i = 0; i < count * count; i++) {
        before[i] = i % count < i / count ? 1 : 0;
    }
    int64_t dims[] = {count, count};
    ox_val strict = ox_floats(x->graph, OX_FLOAT, 2, dims, before);
    ox_val a = ox_unsqueeze(x, -1), b = ox_unsqueeze(x, -2);
    ox_val more = ox_cast(ox_greater(a, b), OX_FLOAT);
    ox_val less = ox_cast(ox_less(a, b), OX_FLOAT);
    ox_val beats = ox_where(ox_equal(strict, ox_number(strict, 1)), more, ox_one_minus(less));
    return ox_reduce("ReduceMin", beats, 1, last, false);
}

/* The category of an ArgMax is found by comparing what it is taken of, as the index carries
 * nothing. NULL where it is none of few. */
static ox_val one_hot_of_winner(const ox_node *n, size_t count, const int64_t *categories)
{
    const ox_node *arg = arg_max_of(n->inputs[0]);
    ox_val x = arg == NULL ? NULL : ox_made_ranked(arg, 0);
    ox_dim size = x == NULL ? ox_dim_of(0) : x->dims[x->rank - 1];
    if (x == NULL || !ox_dim_is_static(size) || size.size < 1 || size.size > WINNERS_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (categories[i] < 0 || categories[i] >= size.size) {
            return NULL;
        }
    }
    ox_val y = ox_gather(winners(x, size.size), ox_ints(n->graph, count, categories), -1);
    return ox_node_int(arg, "keepdims", 1) != 0 ? ox_unsqueeze(y, -2) : y;
}

/* 1 at the category that a number is, else 0. Floats are cut off, as in ONNX Runtime. */
void decompose_one_hot_encoder(const ox_node *n, ox_val *outputs)
{
    size_t count = 0;
    const int64_t *categories = ox_node_ints(n, "cats_int64s", &count);
    if (categories == NULL || count == 0) {
        return; /* text: flow_one_hot_encoder */
    }
    ox_val y = one_hot_of_winner(n, count, categories);
    if (y == NULL) {
        ox_val x = ox_cast(ox_made_ranked(n, 0), OX_INT64);
        y = ox_cast(ox_equal(ox_unsqueeze(x, -1), ox_ints(n->graph, count, categories)), OX_FLOAT);
    }
    outputs[0] = y;
}

/* The same of text, of which a change counts as 1: sum(m dy) over the categories. */
void flow_one_hot_encoder(ox_ctx *c)
{
    ox_send(c, 0, ox_sum(ox_mul(c->m, ox_sub(ox_y(c, 0), ox_y0(c, 0))), -1, false));
}

/* ---- linear models --------------------------------------------------------------------------- */

/* What becomes of the scores [N, count]. A single one stays as it is, as in ONNX Runtime. */
static ox_val transformed(const ox_node *n, ox_val scores, int64_t count)
{
    bool softmax = is(n, "post_transform", "NONE", "SOFTMAX");
    bool logistic = is(n, "post_transform", "NONE", "LOGISTIC");
    if (is(n, "post_transform", "NONE", "NONE") || ((softmax || logistic) && count == 1)) {
        return scores;
    }
    if (logistic) {
        return ox_unary("Sigmoid", scores);
    }
    if (softmax) {
        ox_attr axis = ox_attr_int("axis", -1);
        return ox_graph_emit(n->graph, "Softmax", 1, &scores, 1, &axis);
    }
    const char *name = ox_node_string(n, "post_transform", "NONE");
    ox_made_fail(n, ox_arena_format(n->graph->arena, "no rule for post_transform %s", name));
}

/* x W^T + b of `rows` rows. */
static ox_val linear(const ox_node *n, int64_t rows)
{
    ox_val x = floats_of(n, 0);
    int64_t dims[] = {rows, ox_made_size(n, x, -1)}, count = attr_count(n, "coefficients");
    if (rows > 0 && count % rows == 0 && count / rows > dims[1]) {
        ox_made_fail(n, ox_arena_format(n->graph->arena,
                                        "it has coefficients for %lld values of its input's %lld: "
                                        "the converter left something out before it",
                                        (long long)(count / rows), (long long)dims[1]));
    }
    ox_val w = numbers(n, "coefficients", 2, dims), b = numbers(n, "intercepts", 1, dims);
    if (w == NULL) {
        ox_made_fail(n, "it has no coefficients");
    }
    return ox_made_plus(ox_matmul(x, ox_swap_last(w)), b);
}

void decompose_linear_regressor(const ox_node *n, ox_val *outputs)
{
    int64_t targets = ox_node_int(n, "targets", 1);
    outputs[0] = transformed(n, linear(n, targets), targets);
}

/* Output 0 is the label. One score for two classes is that of the second. */
void decompose_linear_classifier(const ox_node *n, ox_val *outputs)
{
    int64_t labels = attr_count(n, "classlabels_ints") + attr_count(n, "classlabels_strings");
    int64_t width = ox_made_size(n, ox_made_ranked(n, 0), -1);
    int64_t rows = attr_count(n, "intercepts");
    rows = rows == 0 && width > 0 ? attr_count(n, "coefficients") / width : rows;
    if (n->output_count < 2) {
        ox_made_fail(n, "its labels are no numbers");
    }
    ox_val scores = linear(n, rows);
    bool odds = rows == 1 && is(n, "post_transform", "NONE", "LOGISTIC");
    scores = odds ? ox_unary("Sigmoid", scores) : transformed(n, scores, rows);
    if (rows == 1 && labels == 2) {
        ox_val both[] = {ox_shift(ox_neg(scores), 1), scores};
        scores = ox_concat(n->graph, 2, both, -1);
    }
    outputs[1] = scores;
}

/* ---- support vectors ------------------------------------------------------------------------- */

enum { PAIRED_MOST = 256 }; /* classes */

/* The kernel of x and every support vector, [N, vectors]. */
static ox_val svm_kernel(const ox_node *n, ox_val x, ox_val vectors)
{
    const ox_attr *list = ox_node_attr(n, "kernel_params");
    double p[3] = {0, 0, 1}; /* gamma, coef0, degree */
    for (size_t i = 0; list != NULL && list->kind == OX_ATTR_FLOATS && i < list->count && i < 3;
         i++) {
        p[i] = (double)list->floats[i];
    }
    if (is(n, "kernel_type", "LINEAR", "RBF")) {
        ox_val d = ox_sub(ox_unsqueeze(x, -2), vectors);
        return ox_exp(ox_scale(ox_sum(ox_square(d), -1, false), -p[0]));
    }
    ox_val dot = ox_matmul(x, ox_swap_last(vectors));
    if (is(n, "kernel_type", "LINEAR", "LINEAR")) {
        return dot;
    }
    ox_val inner = ox_shift(ox_scale(dot, p[0]), p[1]);
    if (is(n, "kernel_type", "LINEAR", "SIGMOID")) {
        return ox_tanh(inner);
    }
    return ox_binary("Pow", inner, ox_number(inner, p[2]));
}

void decompose_svm_regressor(const ox_node *n, ox_val *outputs)
{
    ox_val x = floats_of(n, 0);
    int64_t one = 1, count = ox_node_int(n, "n_supports", 0), width = ox_made_size(n, x, -1);
    if (ox_node_int(n, "one_class", 0) != 0) {
        ox_made_fail(n, "its result is a sign");
    }
    int64_t column[] = {count > 0 ? count : width, 1}, dims[] = {count, width};
    ox_val weights = numbers(n, "coefficients", 2, column), rho = numbers(n, "rho", 1, &one);
    ox_val vectors = count > 0 ? numbers(n, "support_vectors", 2, dims) : NULL;
    if (weights == NULL || (count > 0 && vectors == NULL)) {
        ox_made_fail(n, "it has no support vectors");
    }
    ox_val scores = count > 0 ? svm_kernel(n, x, vectors) : x;
    outputs[0] = transformed(n, ox_made_plus(ox_matmul(scores, weights), rho), 1);
}

/* What each support vector adds to each pair of classes, [vectors, pairs]. Against class c it
 * stands in row c of the file, or c - 1 where c comes after its own. */
static ox_val pair_weights(const ox_node *n, int64_t classes, int64_t vectors, int64_t pairs)
{
    const ox_attr *each = ox_node_attr(n, "coefficients");
    size_t listed = 0;
    const int64_t *of_class = ox_node_ints(n, "vectors_per_class", &listed);
    double *w = ox_arena_alloc(n->graph->arena, (size_t)(vectors * pairs), sizeof *w);
    int64_t first = 0;
    for (int64_t own = 0; own < classes; first += of_class[own++]) {
        int64_t pair = 0;
        for (int64_t i = 0; i < classes - 1; i++) {
            for (int64_t j = i + 1; j < classes; j++, pair++) {
                int64_t row = own == i ? j - 1 : i;
                for (int64_t v = first; (own == i || own == j) && v < first + of_class[own]; v++) {
                    w[v * pairs + pair] = (double)each->floats[row * vectors + v];
                }
            }
        }
    }
    return ox_floats(n->graph, OX_FLOAT, 2, (const int64_t[]){vectors, pairs}, w);
}

/* How many support vectors all classes have; 0 where the lists do not agree. */
static int64_t vectors_of(const ox_node *n, int64_t classes, int64_t width)
{
    size_t listed = 0;
    const int64_t *of_class = ox_node_ints(n, "vectors_per_class", &listed);
    int64_t all = 0, coefficients = 0;
    for (size_t i = 0; i < listed; i++) {
        if (of_class[i] < 0 || of_class[i] > attr_count(n, "support_vectors")) {
            return 0;
        }
        all += of_class[i];
    }
    bool agree = (int64_t)listed == classes && ox_int_mul(all, classes - 1, &coefficients) &&
                 coefficients == attr_count(n, "coefficients");
    return agree && all > 0 && attr_count(n, "support_vectors") / all == width ? all : 0;
}

/* Output 0 is the label. Scores are of pairs of classes, before these vote; one of two classes is
 * that of the first. */
void decompose_svm_classifier(const ox_node *n, ox_val *outputs)
{
    int64_t classes = attr_count(n, "classlabels_ints") + attr_count(n, "classlabels_strings");
    ox_val x = floats_of(n, 0);
    int64_t width = ox_made_size(n, x, -1), pairs = classes * (classes - 1) / 2;
    if (attr_count(n, "prob_a") > 0) {
        ox_made_fail(n, "its probabilities jump by thousandths, with the steps that ONNX Runtime "
                        "takes to find them; SVC(probability=False) has a rule");
    }
    if (attr_count(n, "vectors_per_class") == 0) {
        int64_t dims[] = {classes, width}, one = 1;
        ox_val w = numbers(n, "coefficients", 2, dims), rho = numbers(n, "rho", 1, &one);
        if (w == NULL) {
            ox_made_fail(n, "it has no coefficients");
        }
        outputs[1] = transformed(n, ox_made_plus(ox_matmul(x, ox_swap_last(w)), rho), classes);
        return;
    }
    if (classes > PAIRED_MOST) {
        ox_made_fail(n, "it has pairs of more than 256 classes");
    }
    int64_t vectors = classes < 2 ? 0 : vectors_of(n, classes, width);
    if (vectors == 0 || attr_count(n, "rho") != pairs) {
        ox_made_fail(n, "its support vectors, classes and coefficients are of different numbers");
    }
    int64_t dims[] = {vectors, width};
    ox_val kernel = svm_kernel(n, x, numbers(n, "support_vectors", 2, dims));
    ox_val scores = ox_matmul(kernel, pair_weights(n, classes, vectors, pairs));
    scores = ox_add(scores, numbers(n, "rho", 1, &pairs));
    if (classes > 2) {
        outputs[1] = transformed(n, scores, pairs);
        return;
    }
    if (is(n, "post_transform", "NONE", "PROBIT")) {
        ox_made_fail(n, "no rule for post_transform PROBIT");
    }
    ox_val both[] = {ox_neg(scores), scores};
    if (is(n, "post_transform", "NONE", "LOGISTIC")) {
        both[0] = ox_unary("Sigmoid", both[0]);
        both[1] = ox_unary("Sigmoid", both[1]);
    } else if (!is(n, "post_transform", "NONE", "NONE")) {
        both[0] = ox_shift(both[0], 1);
    }
    outputs[1] = ox_concat(n->graph, 2, both, -1);
}
