/* Which inputs are explained, where their batch axes are, and whether the references fit. */
#include "explain/bind.h"

#include <math.h>
#include <string.h>

#include "base/names.h"
#include "explain/axis.h"
#include "explain/hold.h"
#include "explain/references.h"
#include "graph/body.h"
#include "rules/side.h"

/* Floating-point values, token ids, masks, text. */
static bool is_tensor(ox_type type)
{
    return type != OX_NONE;
}

/* ---- which inputs ------------------------------------------------------------------------------
 */

static void mark_needed(void *user, ox_val v)
{
    (void)user;
    v->needed = true;
}

void ox_bind_mark_reached(ox_explain_state *s, bool past_held)
{
    ox_graph *g = s->g;
    for (size_t i = 0; i < g->value_count; i++) {
        g->values[i]->needed = g->values[i] == s->bind->output;
    }
    for (size_t i = g->node_count; i-- > 0;) {
        const ox_node *n = g->nodes[i];
        bool needed = false;
        for (size_t k = 0; k < n->output_count; k++) {
            bool ends = !past_held && ox_hold_is(s, n->outputs[k]);
            needed = needed || (n->outputs[k]->needed && !ends);
        }
        for (size_t k = 0; needed && !ox_only_shape(n) && k < n->input_count; k++) {
            if (n->inputs[k] != NULL) {
                n->inputs[k]->needed = true;
            }
        }
        if (needed) {
            ox_body_visit_captured(n, mark_needed, NULL);
        }
    }
}

static void find_explained(ox_explain_state *s, ox_binding *b)
{
    ox_graph *g = s->g;
    ox_bind_mark_reached(s, false);
    b->inputs = ox_arena_alloc(s->arena, g->input_count, sizeof *b->inputs);
    b->input_count = 0;
    b->one_at_a_time = b->needs_held = false;
    for (size_t i = 0; i < b->held_count; i++) {
        b->needs_held = b->needs_held || b->held[i]->needed;
    }
    for (size_t i = 0; i < g->input_count; i++) {
        ox_val v = g->inputs[i];
        if (!v->needed) {
            continue;
        }
        if (ox_hold_names(s->options, v->name)) {
            continue;
        }
        if (is_tensor(v->type)) {
            b->inputs[b->input_count++] = (ox_explained){.x = v, .batch_axis = -1};
        } else {
            ox_fail(s->arena, OX_UNSUPPORTED,
                    "input \"%s\" is no tensor: hold=%s keeps it at the sample's value", v->name,
                    v->name);
        }
    }
    if (b->input_count == 0) {
        ox_fail(s->arena, OX_UNSUPPORTED, "no input to explain reaches output \"%s\"",
                b->output->name);
    }
}

static const char *value_name(const void *of, size_t index)
{
    return ((const ox_val *)of)[index]->name;
}

const char *ox_bind_list_tensors(ox_explain_state *s)
{
    ox_val *there = ox_arena_alloc(s->arena, s->g->value_count, sizeof *there);
    size_t count = 0;
    for (size_t i = 0; i < s->g->value_count; i++) {
        ox_val v = s->g->values[i];
        bool inner = v->node != NULL && v->node->original && v->name[0] != '\0';
        if (inner && ox_side_of(v)->varies) {
            there[count++] = v;
        }
    }
    return ox_names_list(s->arena, value_name, there, count);
}

/* ---- references
 * ---------------------------------------------------------------------------------- */

static const char *explained_name(const void *of, size_t index)
{
    return ((const ox_explained *)of)[index].x->name;
}

static _Noreturn void refuse_references(ox_explain_state *s, const char *name)
{
    const char *all =
        ox_names_list(s->arena, explained_name, s->bind->inputs, s->bind->input_count);
    if (name == NULL) {
        ox_fail(s->arena, OX_ARGUMENT,
                "references need names: the model has several explained inputs, %s", all);
    }
    ox_fail(s->arena, OX_ARGUMENT,
            "references for \"%s\", which is not an explained input, these are %s", name, all);
}

static void match_references(ox_explain_state *s, ox_binding *b)
{
    const ox_options *o = s->options;
    if (o->reference_source != OX_REFERENCES_GIVEN) {
        return;
    }
    ox_table index = {.arena = s->arena};
    for (size_t i = 0; i < s->bind->input_count; i++) {
        ox_index_add(&index, s->bind->inputs[i].x->name, i);
    }
    for (size_t r = 0; r < o->reference_count; r++) {
        const ox_tensor *t = &o->references[r];
        size_t at = t->name != NULL             ? ox_index_find(&index, t->name)
                    : s->bind->input_count == 1 ? 0
                                                : SIZE_MAX;
        if (at == SIZE_MAX) {
            refuse_references(s, t->name);
        }
        ox_explained *match = &b->inputs[at];
        if (match->given != NULL) {
            ox_fail(s->arena, OX_ARGUMENT, "references for \"%s\" are given twice", match->x->name);
        }
        match->given = t;
    }
    for (size_t i = 0; i < s->bind->input_count; i++) {
        if (s->bind->inputs[i].given == NULL) {
            ox_fail(s->arena, OX_ARGUMENT,
                    "no references for input \"%s\"; hold=%s keeps it at the sample's value",
                    s->bind->inputs[i].x->name, s->bind->inputs[i].x->name);
        }
    }
}

static const char *dims_text(ox_arena *a, int rank, const int64_t *dims)
{
    const char *text = "[";
    for (int i = 0; i < rank; i++) {
        text = dims[i] < 0
                   ? ox_arena_format(a, "%s%s?", text, i > 0 ? ", " : "")
                   : ox_arena_format(a, "%s%s%lld", text, i > 0 ? ", " : "", (long long)dims[i]);
    }
    return ox_arena_format(a, "%s]", text);
}

static void check_values(ox_explain_state *s, const ox_tensor *t, const char *name)
{
    ox_const c = {.type = t->type, .rank = t->rank, .dims = t->dims, .data = t->data};
    c.size = ox_type_size(t->type);
    for (int i = 0; i < t->rank; i++) {
        if (t->dims[i] <= 0 || !ox_size_mul(c.size, (size_t)t->dims[i], &c.size)) {
            ox_fail(s->arena, OX_ARGUMENT, "references for \"%s\" are empty", name);
        }
    }
}

/* The references of one input against its declared shape; returns R. */
static int64_t check_references(ox_explain_state *s, const ox_explained *e,
                                const ox_value_info *info)
{
    const ox_tensor *t = e->given;
    const char *name = e->x->name;
    int lead = e->batch_axis < 0 ? 1 : 0;
    if (t->type != e->x->type) {
        ox_fail(s->arena, OX_ARGUMENT, "references for \"%s\" are %s, the input is %s", name,
                ox_type_name(t->type), ox_type_name(e->x->type));
    }
    bool fits = t->rank == info->rank + lead && t->rank <= OX_MAX_RANK;
    for (int i = 0; fits && i < info->rank; i++) {
        fits = i == e->batch_axis || info->dims[i] < 0 || info->dims[i] == t->dims[i + lead];
    }
    if (!fits) {
        ox_fail(s->arena, OX_ARGUMENT, "references for \"%s\" have shape %s, the input has %s%s",
                name, dims_text(s->arena, t->rank, t->dims),
                dims_text(s->arena, info->rank, info->dims),
                lead == 1 ? " and no batch axis, so they need one more in front" : "");
    }
    if (!s->blank) {
        check_values(s, t, name);
    }
    int64_t count = t->dims[lead == 1 ? 0 : e->batch_axis];
    if (s->bind->refs_count != 0 && s->bind->refs_count != count) {
        ox_fail(s->arena, OX_ARGUMENT, "%lld references for \"%s\", but %lld for \"%s\"",
                (long long)count, name, (long long)s->bind->refs_count, s->bind->inputs[0].x->name);
    }
    return count;
}

/* ---- batch -------------------------------------------------------------------------------------
 */

/* The axis of the batch has to have one size in all inputs that have one. */
static void check_batch(ox_explain_state *s, const ox_binding *b)
{
    const ox_value_info *first = NULL;
    int64_t size = 0;
    for (size_t i = 0; i < b->input_count; i++) {
        const ox_explained *e = &b->inputs[i];
        const ox_value_info *info = ox_axis_input(s->model, e->x->name);
        if (e->batch_axis < 0 || info->dims[e->batch_axis] < 0) {
            continue;
        }
        if (first != NULL && size != info->dims[e->batch_axis]) {
            ox_fail(
                s->arena, OX_UNSUPPORTED,
                "inputs \"%s\" and \"%s\" have batches of %lld and %lld; hold=%s keeps one out, "
                "no-batch takes references that have one more axis in front",
                first->name, info->name, (long long)size, (long long)info->dims[e->batch_axis],
                info->name);
        }
        first = info;
        size = info->dims[e->batch_axis];
    }
}

static void find_batch(ox_explain_state *s, ox_binding *b, bool force_fixed)
{
    const char *symbol = b->batch_symbol = ox_axis_symbol(s);
    b->batch = 1;
    b->batch_free = false;
    b->batch_taken = !force_fixed && !s->options->no_batch;
    for (size_t i = 0; i < b->input_count; i++) {
        ox_explained *e = &b->inputs[i];
        const ox_value_info *info = ox_axis_input(s->model, e->x->name);
        if (info->rank < 0) {
            ox_fail(s->arena, OX_UNSUPPORTED, "input \"%s\" has no shape in the model", e->x->name);
        }
        e->batch_axis = s->options->no_batch ? -1 : ox_axis_batch(info, symbol);
        b->batch_taken = b->batch_taken && e->batch_axis >= 0 && info->dims[e->batch_axis] == 1;
        if (e->batch_axis >= 0 && info->dims[e->batch_axis] < 0) {
            b->batch_free = true;
        } else if (e->batch_axis >= 0) {
            b->batch = info->dims[e->batch_axis];
        } else {
            b->one_at_a_time = true;
        }
    }
    check_batch(s, b);
    for (size_t i = 0; i < b->input_count && !s->options->no_batch; i++) {
        if (b->inputs[i].batch_axis < 0 && (b->batch_free || b->batch > 1)) {
            ox_fail(s->arena, OX_UNSUPPORTED,
                    "input \"%s\" has no batch axis, so that all samples share its values; "
                    "hold=%s keeps it out, fix=%s=VALUE makes it a constant",
                    b->inputs[i].x->name, b->inputs[i].x->name, b->inputs[i].x->name);
        }
    }
    b->batch_free = b->batch_free || b->batch_taken;
    if (force_fixed || !b->batch_free) {
        b->batch_free = false;
        b->one_at_a_time = true;
    }
    if (ox_feed_is_own(s)) { /* one for each sample */
        b->one_at_a_time = true;
    }
}

static ox_dim batch_dim(const ox_explain_state *s)
{
    return s->bind->batch_free ? (ox_dim){.size = 1, .batch = 1} : ox_dim_of(s->bind->batch);
}

/* Explained inputs by name, and the first of them that has a symbol. */
typedef struct input_tables {
    ox_table names, symbols;
} input_tables;

/* The dimension that a symbol has been bound to through the references of another input. */
static ox_dim bound_dim(ox_explain_state *s, const input_tables *t, const char *symbol,
                        ox_dim otherwise)
{
    size_t i = symbol[0] == '\0' ? SIZE_MAX : ox_index_find(&t->symbols, symbol);
    if (i == SIZE_MAX) {
        return otherwise;
    }
    const ox_val x = s->bind->inputs[i].x;
    const ox_value_info *info = ox_axis_input(s->model, x->name);
    int d = 0;
    while (strcmp(info->symbols[d], symbol) != 0) {
        d++;
    }
    return x->dims[d];
}

/* Binds the dimensions of the graph's inputs: N, the references', or what the model says. */
static void set_dims(ox_explain_state *s)
{
    input_tables tables = {.names.arena = s->arena, .symbols.arena = s->arena};
    for (size_t i = 0; i < s->bind->input_count; i++) {
        ox_explained *e = &s->bind->inputs[i];
        const ox_value_info *info = ox_axis_input(s->model, e->x->name);
        ox_dim *dims = ox_arena_alloc(s->arena, (size_t)info->rank, sizeof *dims);
        for (int d = 0; d < info->rank; d++) {
            int lead = e->batch_axis < 0 ? 1 : 0;
            dims[d] = d == e->batch_axis   ? batch_dim(s)
                      : info->dims[d] >= 0 ? ox_dim_of(info->dims[d])
                      : e->given != NULL   ? ox_dim_of(e->given->dims[d + lead])
                                           : ox_dim_unknown(s->g);
        }
        e->x->rank = info->rank;
        e->x->dims = dims;
        ox_index_add(&tables.names, e->x->name, i);
        for (int d = 0; d < info->rank; d++) {
            ox_index_add(&tables.symbols, info->symbols[d], i);
        }
    }
    const char *symbol = s->bind->batch_symbol;
    for (size_t i = 0; i < s->g->input_count; i++) {
        ox_val v = s->g->inputs[i];
        const ox_value_info *info = &s->model->inputs[i];
        bool explained = ox_index_find(&tables.names, v->name) != SIZE_MAX;
        if (explained || info->rank < 0) {
            continue;
        }
        ox_dim *dims = ox_arena_alloc(s->arena, (size_t)info->rank, sizeof *dims);
        int axis = s->options->no_batch ? -1 : ox_axis_batch(info, symbol);
        for (int d = 0; d < info->rank; d++) {
            bool bound = symbol != NULL && strcmp(info->symbols[d], symbol) != 0 &&
                         ox_index_find(&tables.symbols, info->symbols[d]) != SIZE_MAX;
            bool batch = d == axis && !bound;
            dims[d] = info->dims[d] >= 0 ? ox_dim_of(info->dims[d])
                      : batch            ? batch_dim(s)
                              : bound_dim(s, &tables, info->symbols[d], ox_dim_unknown(s->g));
        }
        v->dims = dims;
    }
}

void ox_bind(ox_explain_state *s, ox_binding *b, bool force_fixed)
{
    ox_hold_find(s, b);
    find_explained(s, b);
    find_batch(s, b, force_fixed);
    match_references(s, b);
    b->refs_count = ox_feed_is_own(s) ? 1 : 0;
    for (size_t i = 0; i < s->bind->input_count; i++) {
        const ox_explained *e = &b->inputs[i];
        if (e->given != NULL) {
            b->refs_count = check_references(s, e, ox_axis_input(s->model, e->x->name));
        }
    }
    set_dims(s);
}

void ox_bind_declared(const ox_explain_state *s, ox_val output)
{
    size_t count;
    const ox_value_info *infos = ox_outputs(s->model, &count), *info = NULL;
    for (size_t i = 0; i < count; i++) {
        info = strcmp(infos[i].name, output->name) == 0 ? &infos[i] : info;
    }
    bool known = output->rank >= 0;
    for (int d = 0; d < output->rank; d++) {
        known = known && output->dims[d].unknown == 0;
    }
    if (known || info == NULL || info->rank < 0) {
        return;
    }
    int axis = ox_axis_batch(info, s->bind->batch_symbol);
    ox_dim *dims = ox_arena_alloc(s->arena, (size_t)info->rank, sizeof *dims);
    for (int d = 0; d < info->rank; d++) {
        bool batch = d == axis && info->dims[d] < 0;
        dims[d] = batch                ? batch_dim(s)
                  : info->dims[d] >= 0 ? ox_dim_of(info->dims[d])
                                       : ox_dim_unknown(s->g);
    }
    output->rank = info->rank;
    output->dims = dims;
}

static void declare_one(ox_explain_state *s, size_t count, ox_val *values)
{
    for (size_t i = 0; i < count; i++) {
        ox_val v = values[i];
        size_t rank = v->rank > 0 ? (size_t)v->rank : 0;
        ox_dim *dims = ox_arena_copy(s->arena, v->dims, rank, sizeof *dims);
        for (size_t d = 0; d < rank; d++) {
            dims[d].batch = 0; /* size N^batch with N = 1 */
        }
        v->dims = dims;
    }
}

void ox_bind_declare(ox_explain_state *s)
{
    if (s->bind->batch_taken) {
        declare_one(s, s->g->input_count, s->g->inputs);
        declare_one(s, s->g->output_count, s->g->outputs);
    }
}

bool ox_bind_check(ox_explain_state *s)
{
    if (!s->bind->batch_free) {
        return true;
    }
    int axes = 0;
    for (int d = 0; d < s->bind->output->rank; d++) {
        ox_dim n = s->bind->output->dims[d];
        axes += n.batch == 1 && n.size == 1;
    }
    return s->bind->output->rank < 0 || axes == 1;
}

int ox_bind_batch_axis(const ox_explain_state *s, ox_val y)
{
    int axis = -1;
    if (s->options->no_batch || y->rank <= 0) {
        return -1;
    }
    if (!s->bind->batch_free) {
        return ox_dim_is(y->dims[0], s->bind->batch) ? 0 : -1;
    }
    for (int d = 0; d < y->rank; d++) {
        axis = y->dims[d].batch == 1 ? d : axis;
    }
    return axis;
}

/* What could decide on shapes and is no number that a reference has: inputs that are held. */
static const char *held_integers(const ox_explain_state *s)
{
    ox_val *there = ox_arena_alloc(s->arena, s->bind->held_count, sizeof *there);
    size_t count = 0;
    for (size_t i = 0; i < s->bind->held_count; i++) {
        ox_val v = s->bind->held[i];
        if (v->node == NULL && !ox_type_is_float(v->type)) {
            there[count++] = v;
        }
    }
    return count == 0 ? NULL : ox_names_list(s->arena, value_name, there, count);
}

void ox_bind_no_shape(const ox_explain_state *s, const char *what, const char *name)
{
    const char *held = held_integers(s);
    const char *fix = held == NULL ? ""
                                   : ox_arena_format(s->arena,
                                                     "fix=NAME=FILE makes a constant of the input "
                                                     "that decides it (%s), or ",
                                                     held);
    ox_fail(s->arena, OX_UNSUPPORTED,
            "the shape of %s\"%s\" is not known: %sa Reshape to fixed sizes says it", what, name,
            fix);
}
