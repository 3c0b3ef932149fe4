/* Operands that fit, for every operator that the kernels' library registers. */
#ifndef KERNEL_TRIAL_H
#define KERNEL_TRIAL_H

#include "fake_runtime.h"

enum { BLOCK = 16, FORMS = 5 };

/* An input. Floats are made up; integers are `fixed`, or count up to `below` again and again. */
typedef struct operand {
    bool given;
    OrtTensorTypeAndShapeInfo info;
    int64_t fixed[FAKE_INTS], below;
    bool as_fixed;
} operand;

typedef struct trial {
    const OrtCustomOp *op;
    size_t count;
    operand in[FAKE_INPUTS];
    OrtKernelInfo info;
} trial;

static const char *name_of(const trial *t)
{
    return t->op->GetName(t->op);
}

static void give(trial *t, size_t rank, const int64_t *dims)
{
    operand *o = &t->in[t->count];
    *o = (operand){.given = true};
    o->info.type = t->op->GetInputType(t->op, t->count++);
    o->info.rank = rank;
    memcpy(o->info.dims, dims, rank * sizeof *dims);
}

#define GIVE(t, ...)                                                                               \
    give(t, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})

static void set(trial *t, const char *name, size_t count, int64_t a, int64_t b, int64_t c)
{
    t->info.attributes[t->info.count++] =
        (fake_attribute){.name = name, .count = count, .ints = {a, b, c}};
}

/* Numbers from 0.75 to 2.4; x and x0 are never near each other, where slopes of made up y differ: a
 * kernel may take from y what its twin takes from x. */
static inline void *fill_operand(const operand *o, size_t i, size_t size)
{
    bool whole = o->info.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    void *data = malloc(size * (whole ? sizeof(int64_t) : sizeof(float)) + (size == 0));
    for (size_t k = 0; k < size; k++) {
        if (whole) {
            ((int64_t *)data)[k] =
                o->as_fixed ? o->fixed[k % FAKE_INTS] : (int64_t)k % o->below - (o->below < 0);
        } else {
            float apart = i % 2 == 0 ? 0.875F : 0.75F;
            ((float *)data)[k] = apart + (float)((k * 5 + i) % 7) / 4;
        }
    }
    return data;
}

/* Operands that broadcast, in several forms. */
static void make_elementwise(trial *t, int form)
{
    size_t count = t->op->GetInputTypeCount(t->op);
    for (size_t i = 0; i < count; i++) {
        switch (form) {
        case 0: GIVE(t, 2, 3, 5); break;
        case 1: /* m, x, x0, .., a number */
            i == 0          ? GIVE(t, 2, 3, 5)
            : i % 2 == 1    ? GIVE(t, 3, 5)
            : i < count - 1 ? GIVE(t, 2, 1, 5)
                            : GIVE(t, 1, 1, 5);
            break;
        case 2: give(t, 0, (int64_t[]){0}); break;
        case 3: i % 2 == 0 ? GIVE(t, 2, 0, 5) : GIVE(t, 0, 5); break;
        default: /* longer than a block of a row */
            i % 2 == 0 ? GIVE(t, 2, 1, 700) : GIVE(t, 3, 700);
        }
    }
}

static void make_winner(trial *t)
{
    GIVE(t, 2, 3, 4);
    GIVE(t, 3, 6);
    GIVE(t, 2, 1, 6);
    GIVE(t, 3, 4);
    GIVE(t, 2, 1, 4);
    t->in[3].below = t->in[4].below = 6;
}

static void make_phases(trial *t)
{
    int down = 1, across = 1;
    (void)!sscanf(strpbrk(name_of(t), "0123456789"), "%dx%d", &down, &across);
    size_t count = t->op->GetInputTypeCount(t->op);
    bool cut = strstr(name_of(t), "Cut") != NULL;
    while (t->count < count - 1) {
        GIVE(t, 2, 3, 2, 3);
    }
    GIVE(t, 4);
    operand *shape = &t->in[count - 1];
    shape->as_fixed = true;
    shape->fixed[2] = 2 * down - (cut && down > 1);
    shape->fixed[3] = 3 * across - (cut && across > 1);
}

/* Two targets, three references, two samples, two blocks. */
static void make_blocked(trial *t, int form)
{
    bool pool = strstr(name_of(t), "MaxPool") != NULL;
    set(t, "block", 1, BLOCK, 0, 0);
    set(t, "targets", 1, 2, 0, 0);
    if (pool) {
        set(t, "kernel_shape", 2, 2, 3, 0);
        set(t, "strides", 2, 2, 1, 0);
        set(t, "dilations", 2, 1, 1 + form % 2, 0);
        set(t, "pads", 4, 1, 0, 1);
    }
    pool        ? GIVE(t, 12, 32, 3, 4 - 2 * (form % 2))
    : form == 1 ? GIVE(t, 4, 32, 1, 1)
                : GIVE(t, 12, 32, 5, 6);
    GIVE(t, 2, 32, 5, 6);
    GIVE(t, 3, 32, 5, 6);
    if (t->op->GetInputTypeCount(t->op) > 3 && form != 2) {
        GIVE(t, form == 3 ? 12 : 4, 32, 1, 1);
        GIVE(t, form == 3 ? 2 : 1, 32, 1, 1);
        GIVE(t, 12, form == 3 ? 32 : 48, 5, 6);
    }
}

static void make_blocked_parts(trial *t, int form)
{
    set(t, "block", 1, BLOCK, 0, 0);
    set(t, "steps", 2, 2, 2, 0);
    set(t, "size", 2, 4 - form % 2, 5, 0);
    for (int i = 0; i < 4; i++) {
        GIVE(t, 2, 32, 2, 3);
        t->in[i].given = i != form;
    }
}

/* Two targets, b's, references, samples; three leaves of two features of four, in columns. */
static void make_trees(trial *t, int form)
{
    int64_t refs = form == 1 ? 1 : 5, columns = form == 2 ? 2 : 4;
    form == 3 ? GIVE(t, 2, 2, 5, 3, 4) : give(t, 0, (int64_t[]){0});
    GIVE(t, 2, 2, refs, 3, 2);
    GIVE(t, 2, 3, 4);
    GIVE(t, 2, 5, 4);
    GIVE(t, 3, form == 4 ? 2 : 1, 6);
    GIVE(t, 3, 2);
    GIVE(t, 3, 3, 3);
    GIVE(t, 3, 2);
    GIVE(t, columns);
    t->in[7].below = columns;
    t->in[8].below = columns;
}

/* Rows of m, d and d0, and a number of each row of both sides. */
static void make_norm(trial *t, int form)
{
    int64_t width = form == 1 ? 1 : 5;
    GIVE(t, 2, 3, width);
    GIVE(t, 1, 3, width);
    GIVE(t, 2, 1, width);
    GIVE(t, 1, 3, 1);
    GIVE(t, 2, 1, 1);
}

/* Queries, keys and widths of two heads of two samples, against three references, for two targets.
 */
static void make_attention(trial *t, int form)
{
    int64_t queries = form == 1 ? 1 : 13, keys = form == 2 ? 2 : 19, width = form == 3 ? 17 : 3;
    int64_t depth = form == 4 ? 33 : 5, refs = form == 1 ? 1 : 3, heads = form == 3 ? 1 : 2;
    GIVE(t, 2, refs, 2, 2, queries, depth);
    for (int64_t r = 0; r < 2; r++) {
        int64_t of = r == 0 ? 2 : 1, pairs = r == 0 ? 1 : refs;
        GIVE(t, 1, pairs, of, 2, queries, width);
        GIVE(t, 1, pairs, of, heads, width, keys);
        GIVE(t, 1, pairs, of, heads, keys, depth);
        GIVE(t, 1, pairs, of, 2, queries, keys);
    }
    GIVE(t, 1, 1, 1, 1, form == 2 ? queries : 1, form > 2 ? keys : 1);
}

/* False where the operator has no such form. */
static bool make_trial(trial *t, int form)
{
    const char *name = name_of(t);
    if (strncmp(name, "AttentionFlow", 13) == 0) {
        make_attention(t, form);
        return true;
    }
    if (form > 0 && strncmp(name, "Blocked", 7) != 0 && strpbrk(name, "0123456789") != NULL) {
        return false;
    }
    if (strcmp(name, "BlockedInterleave") == 0) {
        make_blocked_parts(t, form);
    } else if (strncmp(name, "Blocked", 7) == 0) {
        make_blocked(t, form);
    } else if (strncmp(name, "Interleave", 10) == 0 || strncmp(name, "Spread", 6) == 0) {
        make_phases(t);
    } else if (strcmp(name, "WinnerFlow") == 0) {
        make_winner(t);
    } else if (strcmp(name, "RootNormFlow") == 0 || strcmp(name, "LayerNormFlow") == 0) {
        make_norm(t, form);
    } else if (strcmp(name, "TreeFlow") == 0) {
        make_trees(t, form);
    } else {
        make_elementwise(t, form);
    }
    return true;
}

#endif
