/* AttentionFlow as ONNX Runtime sees it: operands whose axes before the last two broadcast. A name
 * for each rank, as the bodies of the functions turn matrices by; those of other ranks stay
 * functions. */
#include "attention.h"
#include "kernel.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_RANK = 4, MOST_RANK = 6, PARTS = 32 };

typedef struct attention {
    const ops_isa *isa;
    ops_attention_size size;
    const float *data[OPS_ATTENTION_INPUTS];
    float *out[OPS_ATTENTION_OUTPUTS];
    int rank; /* of the axes before the last two */
    size_t dims[OPS_RANK], strides[OPS_ATTENTION_INPUTS][OPS_RANK];
    size_t count, part, parts; /* pairs and heads; done at a time */
    atomic_bool without_memory;
} attention;

/* ---- shapes -------------------------------------------------------------------------------- */

typedef struct matrix {
    size_t rows, columns;
} matrix;

static matrix matrix_of(const ops_operand *o)
{
    return (matrix){(size_t)o->dims[o->rank - 2], (size_t)o->dims[o->rank - 1]};
}

/* Of the reference as of the sample, from m, q and k. */
static OrtStatus *check_matrices(const ops_call *c, ops_attention_size *s)
{
    matrix of[OPS_ATTENTION_INPUTS];
    for (int i = 0; i < OPS_ATTENTION_INPUTS; i++) {
        if (c->in[i].rank < 2) {
            return ops_misfit(c, i, NULL, "which is no matrix");
        }
        of[i] = matrix_of(&c->in[i]);
    }
    *s = (ops_attention_size){.queries = of[OPS_ATTENTION_M].rows,
                              .depth = of[OPS_ATTENTION_M].columns,
                              .width = of[OPS_ATTENTION_Q].columns,
                              .keys = of[OPS_ATTENTION_K].columns};
    const matrix wanted[] = {{s->queries, s->depth},
                             {s->queries, s->width},
                             {s->width, s->keys},
                             {s->keys, s->depth},
                             {s->queries, s->keys}};
    for (int i = 0; i < OPS_ATTENTION_SCALE; i++) {
        matrix own = wanted[i < OPS_ATTENTION_Q0 ? i : i - OPS_ATTENTION_Q0 + 1];
        if (of[i].rows != own.rows || of[i].columns != own.columns) {
            return ops_misfit(c, i, NULL, "which is no matrix of these queries, keys and widths");
        }
    }
    matrix scale = of[OPS_ATTENTION_SCALE];
    if ((scale.rows != 1 && scale.rows != s->queries) ||
        (scale.columns != 1 && scale.columns != s->keys)) {
        return ops_misfit(c, OPS_ATTENTION_SCALE, "scale", "which does not broadcast");
    }
    s->scale_key = scale.columns == s->keys && s->keys != 1;
    s->scale_row = scale.rows == s->queries && s->queries != 1 ? scale.columns : 0;
    return NULL;
}

/* The axes before the last two that all have together. */
static OrtStatus *meet(const ops_call *c, attention *a, int64_t *dims)
{
    ops_operand lead[OPS_ATTENTION_INPUTS];
    memcpy(lead, c->in, sizeof lead);
    for (int i = 0; i < OPS_ATTENTION_INPUTS; i++) {
        lead[i].rank -= 2;
    }
    int stray = ops_broadcast(OPS_ATTENTION_INPUTS, lead, &a->rank, dims);
    if (stray >= 0) {
        return ops_misfit(c, stray, NULL, "which does not broadcast with those before it");
    }
    a->count = 1;
    for (int d = 0; d < a->rank; d++) {
        a->dims[d] = (size_t)dims[d];
        a->count *= a->dims[d];
    }
    for (int i = 0; i < OPS_ATTENTION_INPUTS; i++) {
        matrix own = matrix_of(&c->in[i]);
        size_t size = own.rows * own.columns;
        a->data[i] = c->in[i].data;
        for (int d = a->rank - 1; d >= 0; d--) {
            size_t n = (size_t)ops_length(&lead[i], a->rank, d);
            a->strides[i][d] = n == 1 ? 0 : size;
            size *= n;
        }
    }
    return NULL;
}

static OrtStatus *make_outputs(ops_call *c, attention *a, int64_t *dims, size_t *sizes)
{
    OrtStatus *status = NULL;
    for (int i = 0; status == NULL && i < OPS_ATTENTION_OUTPUTS; i++) {
        matrix own = matrix_of(&c->in[OPS_ATTENTION_Q + i]);
        dims[a->rank] = (int64_t)own.rows;
        dims[a->rank + 1] = (int64_t)own.columns;
        sizes[i] = own.rows * own.columns;
        status = ops_output_at(c, i, a->rank + 2, dims);
        a->out[i] = c->out;
    }
    return status;
}

/* ---- running ------------------------------------------------------------------------------- */

static ops_attention_pair pair_at(const attention *a, size_t i)
{
    const ops_attention_size *s = &a->size;
    const size_t sizes[] = {s->queries * s->width, s->width * s->keys, s->keys * s->depth};
    ops_attention_pair p = {.size = *s};
    memcpy(p.in, a->data, sizeof p.in);
    for (int k = 0; k < OPS_ATTENTION_OUTPUTS; k++) {
        p.out[k] = a->out[k] + i * sizes[k];
    }
    for (int d = a->rank - 1; d >= 0; d--) {
        size_t at = i % a->dims[d];
        i /= a->dims[d];
        for (int k = 0; k < OPS_ATTENTION_INPUTS; k++) {
            p.in[k] += at * a->strides[k][d];
        }
    }
    return p;
}

static void run_part(void *user, size_t part)
{
    attention *a = user;
    size_t end = (part + 1) * a->part < a->count ? (part + 1) * a->part : a->count;
    float *room = calloc(a->isa->attention_room(&a->size) + 1, sizeof *room);
    if (room == NULL) {
        atomic_store(&a->without_memory, true);
        return;
    }
    for (size_t i = part * a->part; i < end; i++) {
        ops_attention_pair p = pair_at(a, i);
        a->isa->attention(&p, room);
    }
    free(room);
}

static OrtStatus *run(ops_call *c)
{
    int64_t dims[OPS_RANK];
    size_t sizes[OPS_ATTENTION_OUTPUTS];
    attention a = {.isa = c->isa};
    OrtStatus *status = check_matrices(c, &a.size);
    status = status != NULL ? status : meet(c, &a, dims);
    status = status != NULL ? status : make_outputs(c, &a, dims, sizes);
    if (status != NULL || a.count == 0) {
        return status;
    }
    if (a.size.queries == 0 || a.size.keys == 0 || a.size.depth == 0) { /* sums of nothing */
        for (int i = 0; i < OPS_ATTENTION_OUTPUTS; i++) {
            memset(a.out[i], 0, a.count * sizes[i] * sizeof *a.out[i]);
        }
        return NULL;
    }
    a.part = (a.count + PARTS - 1) / PARTS;
    a.parts = (a.count + a.part - 1) / a.part;
    status = ops_run(c, a.parts, run_part, &a);
    return status == NULL && atomic_load(&a.without_memory)
               ? c->op->api->CreateStatus(ORT_FAIL, "onnxexplainer: out of memory")
               : status;
}

size_t ops_attentions(ops_op *to)
{
    static const char *const names[] = {"AttentionFlow%d", "AttentionFlowOfShown%d"};
    size_t count = 0;
    for (int rank = LEAST_RANK; rank <= MOST_RANK; rank++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++, count++) {
            if (to != NULL) {
                to[count] = (ops_op){.needed = OPS_ATTENTION_INPUTS,
                                     .inputs = OPS_ATTENTION_INPUTS,
                                     .outputs = OPS_ATTENTION_OUTPUTS,
                                     .shape = OPS_MATRICES,
                                     .run = run};
                snprintf(to[count].name, sizeof to->name, names[i], rank);
            }
        }
    }
    return count;
}
