/* shapes MODEL [SYMBOL]: prints type, shape and contents, as far as they are inferred, of every
 * value that a node of the lifted MODEL makes, for test_shapes.py. Dimensions of inputs that are
 * called SYMBOL are the batch, N. */
#include <stdio.h>
#include <string.h>

#include "lift/lift.h"
#include "shape/shape.h"

typedef struct job {
    ox_model *from, *to;
    const char *symbol;
} job;

static void bind(ox_model *m, const ox_model *from, const char *symbol)
{
    for (size_t i = 0; i < m->graph->input_count; i++) {
        ox_val v = m->graph->inputs[i];
        size_t count = 0;
        const ox_value_info *info = &ox_inputs(from, &count)[i];
        if (v->rank < 1 || i >= count) {
            continue;
        }
        ox_dim *dims = ox_arena_copy(m->arena, v->dims, (size_t)v->rank, sizeof *dims);
        for (int k = 0; k < v->rank; k++) {
            if (info->dims[k] < 0 && strcmp(info->symbols[k], symbol) == 0) {
                dims[k] = (ox_dim){.size = 1, .batch = 1};
            }
        }
        v->dims = dims;
    }
}

static void print_value(ox_val v)
{
    ox_arena *a = v->graph->arena;
    size_t count = 0;
    printf("%s\t%s\t%s\t", v->name, ox_type_name(v->type),
           v->rank < 0 ? "?" : ox_shape_text(a, v->rank, v->dims));
    if (v->elements != NULL && ox_shape_count(v->rank, v->dims, &count) && count <= 16) {
        fputs(ox_shape_text(a, (int)count, v->elements), stdout);
    }
    putchar('\n');
}

static void infer(void *user)
{
    job *j = user;
    ox_model_copy(j->to, j->from);
    bind(j->to, j->from, j->symbol);
    ox_lift(j->to);
    const ox_graph *g = j->to->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        for (size_t k = 0; k < g->nodes[i]->output_count; k++) {
            print_value(g->nodes[i]->outputs[k]);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3) {
        fputs("usage: shapes MODEL [SYMBOL]\n", stderr);
        return 2;
    }
    ox_error err = {0};
    job j = {.from = ox_read(argv[1], &err), .symbol = argc == 3 ? argv[2] : "N"};
    bool done = j.from != NULL && (j.to = ox_model_new(&err)) != NULL &&
                ox_arena_try(j.to->arena, infer, &j, &err);
    if (!done) {
        fprintf(stderr, "%s\n", err.message);
    }
    ox_free(j.to);
    ox_free(j.from);
    return done ? 0 : 1;
}
