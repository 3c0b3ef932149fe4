/* options.fix: inputs that are settings, made constants of the model before anything is known of
 * it, so that an If that one decides, or a length that one says, is decided when explaining. */
#include "explain/fix.h"

#include <string.h>

#include "base/names.h"

static size_t input_index(const ox_explain_state *s, const char *name)
{
    size_t at = ox_index_find(&s->model->input_index, name);
    if (at == SIZE_MAX) {
        ox_fail(s->arena, OX_ARGUMENT, "the model has no input \"%s\" to fix, it has %s", name,
                ox_names_of(s->arena, s->model->inputs, s->model->graph->input_count));
    }
    return at;
}

static void check_fits(const ox_explain_state *s, const ox_value_info *info, const ox_tensor *t)
{
    bool fits = info->rank < 0 || info->rank == t->rank;
    for (int d = 0; fits && d < info->rank; d++) {
        fits = info->dims[d] < 0 || info->dims[d] == t->dims[d];
    }
    if (info->type != t->type || t->rank > OX_RANK_LIMIT - 2) {
        ox_fail(s->arena, OX_ARGUMENT, "the value that fixes input \"%s\" is %s, the input is %s",
                info->name, ox_type_name(t->type), ox_type_name(info->type));
    }
    if (!fits) {
        ox_fail(s->arena, OX_ARGUMENT,
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

void ox_fix_inputs(ox_explain_state *s)
{
    const ox_options *o = s->options;
    ox_graph *g = s->model->graph;
    for (size_t i = 0; i < o->fix_count; i++) {
        size_t at = input_index(s, o->fix[i].name);
        check_fits(s, &s->model->inputs[at], &o->fix[i]);
        make_constant(g->inputs[at], &o->fix[i]);
    }
    size_t left = 0;
    for (size_t i = 0; i < g->input_count; i++) {
        if (g->inputs[i]->is_input) {
            g->inputs[left++] = g->inputs[i];
        }
    }
    g->input_count = left;
    if (o->fix_count > 0) {
        ox_model_publish(s->model);
    }
}
