/* Targets that are made of the output: what stands before its last Softmax or Sigmoid, a loss, a
 * cosine. They are operators more behind the model, once it is lifted, and explained like others;
 * what is left of the target's text is about what they give. */
#include "explain/objective.h"

#include <math.h>
#include <string.h>

#include "base/names.h"
#include "explain/bind.h"
#include "explain/note.h"

static _Noreturn void refuse(const ox_explain_state *s, const char *why)
{
    ox_fail(s->arena, OX_ARGUMENT, "target \"%s\": %s", s->options->target, why);
}

/* "logit:3" begins with "logit"; *rest is "3", or NULL where nothing follows. */
static bool begins(const char *text, const char *word, const char **rest)
{
    size_t length = strlen(word);
    if (strncmp(text, word, length) != 0 || (text[length] != ':' && text[length] != '\0')) {
        return false;
    }
    *rest = text[length] == ':' ? text + length + 1 : NULL;
    return true;
}

/* ---- logits --------------------------------------------------------------------------------- */

typedef struct logits {
    ox_val z;
    bool softmax, log; /* else sigmoid; the output is the logarithm already */
    int64_t axis;
} logits;

static bool is_one(ox_val v)
{
    size_t count = 0;
    const double *numbers = v == NULL ? NULL : ox_numbers(v, &count);
    return numbers != NULL && count == 1 && numbers[0] == 1;
}

static bool is_neg_of(ox_val v, ox_val p)
{
    return v != NULL && ox_node_is(v->node, "Neg") && v->node->inputs[0] == p;
}

/* 1 - p, as converters of classifiers spell it. */
static bool is_rest_of(ox_val v, ox_val p)
{
    const ox_node *n = v->node;
    if (ox_node_is(n, "Sub")) {
        return is_one(n->inputs[0]) && n->inputs[1] == p;
    }
    bool sum = ox_node_is(n, "Add");
    return sum && ((is_neg_of(n->inputs[0], p) && is_one(n->inputs[1])) ||
                   (is_neg_of(n->inputs[1], p) && is_one(n->inputs[0])));
}

/* What the rules make of a classifier of ai.onnx.ml: standard operators. NULL: nothing. */
static ox_val decomposed(ox_explain_state *s, const ox_node *n, int output)
{
    bool trees = strncmp(n->op, "TreeEnsemble", strlen("TreeEnsemble")) == 0;
    const ox_row *row = ox_rule_find(n->domain, n->op);
    if (strcmp(n->domain, "ai.onnx.ml") != 0 || row == NULL || row->decompose == NULL ||
        (!trees && strcmp(n->op, "LinearClassifier") != 0)) {
        return NULL;
    }
    ox_val *outputs = ox_arena_alloc(s->arena, n->output_count, sizeof *outputs);
    row->decompose(n, outputs);
    return outputs[output];
}

static bool find_logits(ox_explain_state *s, ox_val y, logits *l);

/* [1 - p, p]: those of p, with both signs. */
static bool find_both(ox_explain_state *s, const ox_node *n, logits *l)
{
    if (n->input_count != 2 || !is_rest_of(n->inputs[0], n->inputs[1]) ||
        !find_logits(s, n->inputs[1], l) || l->softmax) {
        return false;
    }
    ox_val both[] = {ox_neg(l->z), l->z};
    l->z = ox_concat(s->g, 2, both, ox_node_int(n, "axis", 0));
    return true;
}

/* What v is, as it stands behind nodes that change nothing; NULL: it is made there. */
static ox_val same_before(ox_val v)
{
    const ox_node *n = v->node;
    bool cast = ox_node_is(n, "Cast") && ox_type_is_float(n->inputs[0]->type);
    if (cast || ox_node_is(n, "Identity")) {
        return n->inputs[0];
    }
    if (ox_node_is(n, "Mul") && (is_one(n->inputs[0]) || is_one(n->inputs[1]))) {
        return n->inputs[is_one(n->inputs[0]) ? 1 : 0];
    }
    return NULL;
}

static bool find_logits(ox_explain_state *s, ox_val y, logits *l)
{
    const ox_node *n = y->node;
    ox_val before = n == NULL ? NULL : same_before(y);
    if (n == NULL || before != NULL) {
        return before != NULL && find_logits(s, before, l);
    }
    if (ox_node_is(n, "Concat")) {
        return find_both(s, n, l);
    }
    l->log = ox_node_is(n, "LogSoftmax");
    l->softmax = l->log || ox_node_is(n, "Softmax");
    l->axis = ox_node_int(n, "axis", -1);
    if (l->softmax || ox_node_is(n, "Sigmoid")) {
        l->z = n->inputs[0];
        return true;
    }
    ox_val made = decomposed(s, n, y->output);
    return made != NULL && find_logits(s, made, l);
}

static ox_val logits_of(ox_explain_state *s, ox_val y)
{
    logits l;
    if (!find_logits(s, y, &l)) {
        refuse(s, ox_arena_format(s->arena,
                                  "output \"%s\" is not what a Softmax or Sigmoid gives at last, "
                                  "and is explained as it is without logit",
                                  y->name));
    }
    return l.z;
}

/* ---- losses --------------------------------------------------------------------------------- */

static ox_val log_softmax(ox_val z, int64_t axis)
{
    ox_attr at = ox_attr_int("axis", axis);
    return ox_graph_emit(z->graph, "LogSoftmax", 1, &z, 1, &at);
}

static int64_t last_size(ox_val v)
{
    return v->rank > 0 && ox_dim_is_static(v->dims[v->rank - 1]) ? v->dims[v->rank - 1].size : 0;
}

/* -log p of both classes, p = sigmoid(z) being that of the second. */
static ox_val loss_of_two(ox_val z)
{
    ox_val both[] = {ox_unary("Softplus", z), ox_unary("Softplus", ox_neg(z))};
    return ox_concat(z->graph, 2, both, -1);
}

/* -log p for every class. Outputs without a Softmax or Sigmoid are probabilities of classifiers of
 * ai.onnx.ml, else logits. */
static ox_val label_loss(ox_explain_state *s, ox_val y)
{
    logits l;
    if (find_logits(s, y, &l)) {
        ox_val z = l.softmax ? log_softmax(l.z, l.axis) : NULL;
        return z != NULL             ? ox_neg(z)
               : last_size(l.z) == 1 ? loss_of_two(l.z)
                                     : ox_unary("Softplus", ox_neg(l.z));
    }
    if (y->rank != 2 || last_size(y) < 2) {
        refuse(s, ox_arena_format(s->arena,
                                  "output \"%s\" has no classes: it is neither what a Softmax or "
                                  "Sigmoid gives nor a row of logits",
                                  y->name));
    }
    if (y->node != NULL && strcmp(y->node->domain, "ai.onnx.ml") == 0) {
        return ox_neg(ox_log(y));
    }
    ox_note_to(s->options, "output \"%s\" is taken as logits of classes", y->name);
    return ox_neg(log_softmax(y, -1));
}

/* y as [N, D]; [D] without a batch. */
static ox_val by_row(ox_explain_state *s, ox_val y, const char *name)
{
    int order[OX_MAX_RANK], axis = ox_bind_batch_axis(s, y), at = 0;
    int64_t total = 1;
    ox_dim dims[2];
    for (int d = 0; d < y->rank; d++) {
        if (d != axis &&
            (!ox_dim_is_static(y->dims[d]) || !ox_int_mul(total, y->dims[d].size, &total))) {
            ox_bind_no_shape(s, "", name);
        }
    }
    if (axis >= 0) {
        dims[0] = y->dims[axis];
        order[at++] = axis;
    }
    for (int d = 0; d < y->rank; d++) {
        if (d != axis) {
            order[at++] = d;
        }
    }
    dims[axis >= 0] = ox_dim_of(total);
    return ox_reshape(ox_transpose(y, order), 1 + (axis >= 0), dims);
}

/* The explained input of that name; NULL for the only one. */
static ox_val input_named(ox_explain_state *s, const char *name)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        if (name != NULL && strcmp(s->bind->inputs[i].x->name, name) == 0) {
            return s->bind->inputs[i].x;
        }
    }
    if (name != NULL || s->bind->input_count != 1) {
        refuse(s, name != NULL ? "neither a label nor an explained input"
                               : "several inputs are explained: loss:NAME says which");
    }
    return s->bind->inputs[0].x;
}

/* The mean of (y - x)^2 over the values of a sample. */
static ox_val reconstruction_loss(ox_explain_state *s, ox_val y, const char *name)
{
    ox_val x = input_named(s, name);
    ox_val rows = by_row(s, y, y->name), own = ox_cast(by_row(s, x, x->name), y->type);
    if (!ox_dims_equal(rows->rank, rows->dims, own->dims) || rows->rank != own->rank) {
        refuse(s, ox_arena_format(s->arena, "output \"%s\" and input \"%s\" differ in size",
                                  y->name, x->name));
    }
    int64_t last = -1;
    return ox_reduce("ReduceMean", ox_square(ox_sub(rows, own)), 1, &last, true);
}

static bool is_place(const char *text)
{
    return text != NULL && ((text[0] >= '0' && text[0] <= '9') || strcmp(text, "input") == 0);
}

/* ---- arrays --------------------------------------------------------------------------------- */

const double *ox_objective_array(ox_explain_state *s, int64_t count)
{
    const ox_tensor *t = s->options->target_array;
    if (t == NULL) {
        refuse(s, "the array is missing, target_array");
    }
    int64_t total = 1;
    for (int d = 0; d < t->rank; d++) {
        total *= t->dims[d];
    }
    if (total != count) {
        refuse(s, ox_arena_format(s->arena, "the array has %lld values, the output %lld",
                                  (long long)total, (long long)count));
    }
    ox_const c = {.type = t->type, .rank = t->rank, .dims = t->dims, .data = t->data};
    c.size = (size_t)count * ox_type_size(t->type);
    const double *numbers = ox_const_doubles(s->arena, &c);
    for (int64_t i = 0; numbers != NULL && i < count; i++) {
        if (!isfinite(numbers[i])) {
            refuse(s, "the array holds values that are not finite");
        }
    }
    if (numbers == NULL) {
        refuse(s, "the array holds no numbers");
    }
    return numbers;
}

/* sum(y v) / (|y| |v|) */
static ox_val cosine(ox_explain_state *s, ox_val y)
{
    static const double tiny = 1e-30; /* where y is 0 */
    ox_val rows = by_row(s, y, y->name);
    int64_t count = rows->dims[rows->rank - 1].size;
    const double *given = ox_objective_array(s, count);
    double *unit = ox_arena_alloc(s->arena, (size_t)count, sizeof *unit), square = 0;
    for (int64_t i = 0; i < count; i++) {
        square += given[i] * given[i];
    }
    if (square == 0) {
        refuse(s, "the array is all 0");
    }
    for (int64_t i = 0; i < count; i++) {
        unit[i] = given[i] / sqrt(square);
    }
    ox_val along = ox_sum(ox_mul(rows, ox_floats(s->g, rows->type, 1, &count, unit)), -1, true);
    ox_val length = ox_sqrt(ox_shift(ox_sum(ox_square(rows), -1, true), tiny));
    return ox_div(along, length);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static ox_val wide_enough(ox_val y)
{
    bool narrow = y->type == OX_FLOAT16 || y->type == OX_BFLOAT16;
    return narrow ? ox_cast(y, OX_FLOAT) : y;
}

static ox_val loss_of(ox_explain_state *s, ox_val y, const char *rest)
{
    if (is_place(rest)) {
        s->aim = rest;
        return label_loss(s, wide_enough(y));
    }
    s->aim = "*";
    return reconstruction_loss(s, wide_enough(y), rest);
}

static ox_val objective(ox_explain_state *s, ox_val y, const char *rest)
{
    if (begins(s->aim, "logit", &rest)) {
        s->aim = rest == NULL ? "top" : rest;
        return logits_of(s, y);
    }
    if (begins(s->aim, "loss", &rest)) {
        return loss_of(s, y, rest);
    }
    if (begins(s->aim, "cosine", &rest) && rest == NULL) {
        s->aim = "*";
        return cosine(s, wide_enough(y));
    }
    return y;
}

ox_val ox_objective(ox_explain_state *s, ox_val y)
{
    s->aim = s->options->target == NULL ? "top" : s->options->target;
    if (y->rank < 0) {
        return y; /* which find_output_batch tells of */
    }
    const char *former = ox_graph_scope(s->g, "onnxexplainer/objective");
    ox_val made = objective(s, y, NULL);
    ox_graph_scope(s->g, former);
    return made;
}
