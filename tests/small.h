/* A small model in memory, for tests of what happens around it: a convolution, a pool, two dense
 * layers and a softmax over x [N, 1, 4, 4], batch free or 1. */
#ifndef SMALL_H
#define SMALL_H

#include <stdlib.h>
#include <string.h>

#include "graph/build.h"
#include "model/model.h"
#include "shape/shape.h"

typedef struct small_bytes {
    unsigned char *data;
    size_t size;
} small_bytes;

static inline ox_val small_weights(ox_graph *g, const char *name, int rank, const int64_t *dims)
{
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        count *= (size_t)dims[i];
    }
    float *data = ox_arena_alloc(g->arena, count, sizeof *data);
    for (size_t i = 0; i < count; i++) {
        data[i] = (float)((i * 37 + 11) % 19) / 9 - 1;
    }
    ox_const c = {.type = OX_FLOAT, .rank = rank, .dims = dims, .data = data};
    c.size = count * sizeof *data;
    return ox_graph_constant(g, name, &c);
}

static inline void small_fill(void *user)
{
    ox_model *m = user;
    ox_graph *g = ox_graph_new(m->arena, ox_shape_infer, "small");
    bool fixed = m->ir_version == 7; /* what the caller asked for */
    ox_dim dims[4] = {{.size = 1, .batch = !fixed}, {.size = 1}, {.size = 4}, {.size = 4}};
    ox_attr window[] = {ox_attr_ints("kernel_shape", 2, (int64_t[]){2, 2})};
    ox_model_set_opset(m, "", 18);
    m->graph = g;
    ox_val x = ox_graph_input(g, "x", OX_FLOAT, 4, dims);
    ox_val conv[] = {x, small_weights(g, "filters", 4, (int64_t[]){3, 1, 2, 2})};
    ox_val h = ox_unary("Relu", ox_graph_emit(g, "Conv", 2, conv, 0, NULL));
    h = ox_graph_emit(g, "MaxPool", 1, &h, 1, window);
    h = ox_unary("Flatten", h);
    h = ox_tanh(ox_matmul(h, small_weights(g, "w1", 2, (int64_t[]){12, 5})));
    h = ox_add(ox_matmul(h, small_weights(g, "w2", 2, (int64_t[]){5, 3})),
               small_weights(g, "b2", 1, (int64_t[]){3}));
    ox_graph_output(g, ox_unary("Softmax", h), "y");
    ox_model_publish(m);
}

static inline bool small_collect(void *user, const void *data, size_t size)
{
    small_bytes *b = user;
    unsigned char *larger = realloc(b->data, b->size + size + 1);
    if (larger == NULL) {
        return false;
    }
    if (size > 0) {
        memcpy(larger + b->size, data, size);
    }
    b->data = larger;
    b->size += size;
    return true;
}

/* The model as a file; data is the caller's to free, NULL without memory. */
static inline small_bytes small_model(bool fixed_batch)
{
    small_bytes b = {NULL, 0};
    ox_error err;
    ox_model *m = ox_model_new(&err);
    if (m != NULL) {
        m->ir_version = fixed_batch ? 7 : 8;
        if (!ox_arena_try(m->arena, small_fill, m, &err) ||
            !ox_serialize(m, small_collect, &b, &err)) {
            free(b.data);
            b.data = NULL;
        }
    }
    ox_free(m);
    return b;
}

#endif
