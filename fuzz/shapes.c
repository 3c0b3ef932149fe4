/* Reads a model, lifts it, which infers all shapes, writes it as lifting leaves it, and reads that
 * again. */
#include "lift/lift.h"

#include "models.h"
#include "wire.h"

typedef struct job {
    ox_model *from, *to;
    bool batch; /* free first dimensions are the batch */
} job;

static void bind(ox_graph *g)
{
    for (size_t i = 0; i < g->input_count; i++) {
        ox_val v = g->inputs[i];
        if (v->rank > 0 && !ox_dim_is_static(v->dims[0])) {
            ox_dim *dims = ox_arena_copy(g->arena, v->dims, (size_t)v->rank, sizeof *dims);
            dims[0] = (ox_dim){.size = 1, .batch = 1};
            v->dims = dims;
        }
    }
}

static void lift(void *user)
{
    job *j = user;
    ox_model_copy(j->to, j->from);
    if (j->batch) {
        bind(j->to->graph);
    }
    ox_lift(j->to);
    ox_model_publish(j->to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_draws draws;
    ox_error err = {.code = OX_OK};
    job j = {.from = fuzz_read(data, size, &draws)};
    j.batch = fuzz_chance(&draws, 2);
    if (j.from == NULL) {
        return 0;
    }
    j.to = ox_model_new(&err);
    if (j.to == NULL || !ox_arena_try(j.to->arena, lift, &j, &err)) {
        fuzz_check_error(&err);
        ox_free(j.to);
    } else {
        fuzz_check_made(j.to, &err);
    }
    ox_free(j.from);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    return fuzz_model_mutate(data, size, room, seed);
}
