/* options.fix: inputs that are settings, made constants of the model before anything is known of
 * it, so that an If that one decides, or a length that one says, is decided when explaining. */
#include "explain/fix.h"

#include <string.h>

#include "base/names.h"

static size_t input_index(const ox_model *m, const char *name)
{
    size_t at = ox_index_find(&m->input_index, name);
    if (at == SIZE_MAX) {
        ox_fail(m->arena, OX_ARGUMENT, "the model has no input \"%s\" to fix, it has %s", name,
                ox_names_of(m->arena, m->inputs, m->graph->input_count));
    }
    return at;
}

static void check_fits(const ox_model *m, const ox_value_info *info, const ox_tensor *t)
{
    bool fits = info->rank < 0 || info->rank == t->rank;
    for (int d = 0; fits && d < info->rank; d++) {
        fits = info->dims[d] < 0 || info->dims[d] == t->dims[d];
    }
    if (info->type != t->type || t->rank > OX_RANK_LIMIT - 2) {
        ox_fail(m->arena, OX_ARGUMENT, "the value that fixes input \"%s\" is %s, the input is %s",
                info->name, ox_type_name(t->type), ox_type_name(info->type));
    }
    if (!fits) {
        ox_fail(m->arena, OX_ARGUMENT,
                "the value that fixes input \"%s\" has not the shape of the input", info->name);
    }
}

static void make_constant(ox_val v, const ox_tensor *t)
{
    ox_arena *a = v->graph->arena;
    size_t rank = (size_t)t->rank;
    ox_const *c = ox_arena_alloc(a, 1, sizeof *c);
    ox_dim *dims = ox_arena_alloc(a, rank, sizeof *dims);
    *c = (ox_const){.type = t->type, .rank = t->rank, .size = ox_type_size(t->type)};
    for (size_t d = 0; d < rank; d++) {
        dims[d] = ox_dim_of(t->dims[d]);
        c->size *= (size_t)t->dims[d]; /* ox_check_tensors knows that it fits */
    }
    c->dims = ox_arena_copy(a, t->dims, rank, sizeof *t->dims);
    c->data = ox_elements_copy(a, t->type, t->data, c->size);
    v->constant = c;
    v->is_input = false;
    v->rank = t->rank;
    v->dims = dims;
    v->elements = NULL;
}

static void fix(ox_model *m, const ox_tensor *values, size_t count)
{
    ox_graph *g = m->graph;
    for (size_t i = 0; i < count; i++) {
        size_t at = input_index(m, values[i].name);
        check_fits(m, &m->inputs[at], &values[i]);
        make_constant(g->inputs[at], &values[i]);
    }
    size_t left = 0;
    for (size_t i = 0; i < g->input_count; i++) {
        if (g->inputs[i]->is_input) {
            g->inputs[left++] = g->inputs[i];
        }
    }
    g->input_count = left;
    if (count > 0) {
        ox_model_publish(m);
    }
}

void ox_fix_inputs(ox_explain_state *s)
{
    fix(s->model, s->options->fix, s->options->fix_count);
}

/* ---- explained models ------------------------------------------------------------------- */

typedef struct job {
    const ox_model *from;
    ox_model *made;
    const ox_tensor *values;
    size_t count;
} job;

/* The length of the axis of that name among those of a value, -1 where there is none. */
static int64_t length_of(const ox_value_info *info, const int64_t *dims, const char *symbol)
{
    for (int d = 0; d < info->rank && symbol[0] != '\0'; d++) {
        if (info->dims[d] < 0 && strcmp(info->symbols[d], symbol) == 0) {
            return dims[d];
        }
    }
    return -1;
}

/* Lengths that the other inputs share, by name, with one that becomes a constant. */
static void settle_lengths(ox_model *m, const ox_value_info *info, const int64_t *dims)
{
    for (size_t i = 0; i < m->graph->input_count; i++) {
        ox_val v = m->graph->inputs[i];
        const ox_value_info *own = &m->inputs[i];
        size_t rank = own->rank < 0 ? 0 : (size_t)own->rank;
        ox_dim *settled = ox_arena_copy(m->arena, v->dims, rank, sizeof *settled);
        for (int d = 0; d < own->rank; d++) {
            int64_t length = own->dims[d] < 0 ? length_of(info, dims, own->symbols[d]) : -1;
            settled[d] = length < 0 ? settled[d] : ox_dim_of(length);
        }
        v->dims = settled;
    }
}

static void copy_and_fix(void *user)
{
    job *j = user;
    ox_model_copy(j->made, (ox_model *)(uintptr_t)j->from);
    for (size_t i = 0; i < j->count; i++) {
        size_t at = input_index(j->made, j->values[i].name);
        check_fits(j->made, &j->made->inputs[at], &j->values[i]);
        settle_lengths(j->made, &j->made->inputs[at], j->values[i].dims);
    }
    fix(j->made, j->values, j->count);
}

ox_model *ox_fixed_inputs(const ox_model *model, const ox_tensor *values, size_t count,
                          ox_error *err)
{
    job j = {model, ox_model_new(err), values, count};
    if (j.made != NULL && !ox_arena_try(j.made->arena, copy_and_fix, &j, err)) {
        ox_free(j.made);
        return NULL;
    }
    return j.made;
}
