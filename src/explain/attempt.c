/* The way that ox_explain and ox_inspect both take into a model: with the batch as it is declared
 * first and, where it does not stay free, once more from the start with a batch of 1. */
#include <string.h>

#include "explain/explain.h"

typedef struct attempt {
    ox_explain_state *state;
    const ox_model *source;
    ox_explain_work work;
    void *user;
    bool fixed; /* the batch */
    bool again;
} attempt;

static void try_once(void *user)
{
    attempt *t = user;
    ox_explain_state *s = t->state;
    s->arena = s->model->arena;
    ox_model_copy(s->model, (ox_model *)(uintptr_t)t->source);
    ox_budget_limit(s->arena, s->options->limit);
    t->again = !ox_explain_begin(s, t->fixed);
    if (!t->again) {
        t->work(s, t->user);
    }
}

bool ox_explain_attempt(ox_explain_state *s, const ox_model *source, const ox_options *options,
                        ox_explain_work work, void *user, ox_error *err)
{
    attempt t = {.state = s, .source = source, .work = work, .user = user};
    bool good;
    s->model = NULL;
    do {
        bool blank = s->blank;
        ox_free(s->model);
        memset(s, 0, sizeof *s);
        s->blank = blank;
        s->options = options;
        s->model = ox_model_new(err);
        good = s->model != NULL && ox_arena_try(s->model->arena, try_once, &t, err);
        t.fixed = t.again;
    } while (good && t.again);
    if (!good) {
        ox_free(s->model);
        s->model = NULL;
        return false;
    }
    return true;
}
