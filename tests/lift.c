/* lift IN OUT: writes the model IN as lifting leaves it, for test_lift.py. */
#include <stdio.h>

#include "lift/lift.h"

typedef struct job {
    ox_model *from, *to;
} job;

static void lift(void *user)
{
    job *j = user;
    ox_model_copy(j->to, j->from);
    ox_lift(j->to);
    ox_model_publish(j->to);
    if (j->to->ir_version < 8) {
        j->to->ir_version = 8;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: lift IN OUT\n", stderr);
        return 2;
    }
    ox_error err = {0};
    job j = {.from = ox_read(argv[1], &err)};
    bool done = j.from != NULL && (j.to = ox_model_new(&err)) != NULL &&
                ox_arena_try(j.to->arena, lift, &j, &err) && ox_write(j.to, argv[2], &err);
    if (!done) {
        fprintf(stderr, "%s\n", err.message);
    }
    ox_free(j.to);
    ox_free(j.from);
    return done ? 0 : 1;
}
