/* Shapes of matrix products: Gemm, MatMul, Einsum and their quantized kin. */
#include "shape/shape.h"

#include <string.h>

void infer_gemm(ox_node *n)
{
    int a = ox_shape_need(n, 0, 2, 2);
    int b = ox_shape_need(n, 1, 2, 2);
    bool flip_a = ox_node_int(n, "transA", 0) != 0;
    bool flip_b = ox_node_int(n, "transB", 0) != 0;
    ox_dim dims[2] = {ox_shape_any(n), ox_shape_any(n)};
    if (a >= 0) {
        dims[0] = ox_shape_dims(n, 0)[flip_a];
    }
    if (b >= 0) {
        dims[1] = ox_shape_dims(n, 1)[!flip_b];
    }
    if (a >= 0 && b >= 0) {
        ox_shape_agree(n, ox_shape_dims(n, 0)[!flip_a], ox_shape_dims(n, 1)[flip_b]);
    }
    if (ox_shape_rank(n, 2) >= 0) {
        int rank = 2;
        ox_dim *out = dims;
        ox_shape_broadcast(n, &rank, &out, ox_shape_rank(n, 2), ox_shape_dims(n, 2));
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), 2, dims);
}

/* NumPy's matmul of inputs `left` and `right`: vectors lose their axis, the axes before the last
 * two are broadcast. */
static void multiply(ox_node *n, size_t left, size_t right, ox_type type)
{
    int a = ox_shape_need(n, left, 1, INT32_MAX);
    int b = ox_shape_need(n, right, 1, INT32_MAX);
    if (a < 0 || b < 0) {
        ox_shape_set(n, 0, type, -1, NULL);
        return;
    }
    const ox_dim *x = ox_shape_dims(n, left);
    const ox_dim *y = ox_shape_dims(n, right);
    ox_shape_agree(n, x[a - 1], b == 1 ? y[0] : y[b - 2]);
    int rank = a > 2 ? a - 2 : 0;
    ox_dim *outer = ox_shape_room(n, rank);
    if (rank > 0) {
        memcpy(outer, x, (size_t)rank * sizeof *outer);
    }
    ox_shape_broadcast(n, &rank, &outer, b > 2 ? b - 2 : 0, y);
    ox_dim *dims = ox_shape_room(n, rank + 2);
    if (rank > 0) {
        memcpy(dims, outer, (size_t)rank * sizeof *dims);
    }
    if (a > 1) {
        dims[rank++] = x[a - 2];
    }
    if (b > 1) {
        dims[rank++] = y[b - 1];
    }
    ox_shape_set(n, 0, type, rank, dims);
}

void infer_matmul(ox_node *n)
{
    multiply(n, 0, 1, ox_shape_type(n, 0));
}

void infer_matmul_integer(ox_node *n)
{
    multiply(n, 0, 1, OX_INT32);
}

void infer_qlinear_matmul(ox_node *n)
{
    multiply(n, 0, 3, ox_shape_type(n, 7));
}

/* ---- Einsum ----------------------------------------------------------------------------- */

enum { LETTERS = 128 };

typedef struct einsum {
    ox_node *node;
    bool seen[LETTERS];
    int uses[LETTERS];
    ox_dim size[LETTERS];
    int dots_rank; /* of the ellipsis */
    ox_dim *dots_dims;
} einsum;

static _Noreturn void fail_einsum(const einsum *e)
{
    ox_fail(e->node->graph->arena, OX_INVALID, "%s: the equation does not fit the inputs",
            ox_node_label(e->node));
}

/* Next sign of a term from *at on: a letter, '.' for an ellipsis, 0 at its end. */
static char next_sign(const einsum *e, const char **at)
{
    while (**at == ' ') {
        (*at)++;
    }
    char sign = **at;
    if (sign == '\0' || sign == ',' || sign == '-') {
        return 0;
    }
    if (sign == '.' && strncmp(*at, "...", 3) == 0) {
        *at += 3;
        return sign;
    }
    (*at)++;
    if ((sign < 'a' || sign > 'z') && (sign < 'A' || sign > 'Z')) {
        fail_einsum(e);
    }
    return sign;
}

static void read_letter(einsum *e, char sign, ox_dim dim)
{
    unsigned char letter = (unsigned char)sign;
    int rank = 1;
    ox_dim joined = e->size[letter];
    ox_dim *dims = &joined;
    if (e->seen[letter]) {
        ox_shape_broadcast(e->node, &rank, &dims, 1, &dim);
    } else {
        *dims = dim;
    }
    e->size[letter] = dims[0];
    e->seen[letter] = true;
    e->uses[letter]++;
}

/* Reads the term of input i and returns where it ends. */
static const char *read_term(einsum *e, const char *at, size_t i)
{
    int rank = ox_shape_rank(e->node, i);
    const ox_dim *dims = ox_shape_dims(e->node, i);
    int letters = 0;
    const char *ahead = at;
    for (char sign; (sign = next_sign(e, &ahead)) != 0;) {
        letters += sign != '.';
    }
    int axis = 0;
    bool dots = false;
    for (char sign; (sign = next_sign(e, &at)) != 0;) {
        if (sign == '.') {
            int width = rank - letters;
            if (dots || width < 0) {
                fail_einsum(e);
            }
            dots = true;
            ox_shape_broadcast(e->node, &e->dots_rank, &e->dots_dims, width, dims + axis);
            axis += width;
        } else if (axis < rank) {
            read_letter(e, sign, dims[axis++]);
        } else {
            fail_einsum(e);
        }
    }
    if (axis != rank) {
        fail_einsum(e);
    }
    return at;
}

static void add_dots(const einsum *e, ox_dim *dims, int *rank)
{
    for (int k = 0; k < e->dots_rank; k++) {
        dims[(*rank)++] = e->dots_dims[k];
    }
}

/* Reads the terms of all inputs and returns where the last one ends. */
static const char *read_terms(einsum *e, const char *at)
{
    size_t count = e->node->input_count;
    for (size_t i = 0; i < count; i++) {
        at = read_term(e, at, i);
        if ((*at == ',') != (i + 1 < count)) {
            fail_einsum(e);
        }
        at += *at == ',';
    }
    return at;
}

/* Reads the term of the output, after the arrow. */
static const char *read_output(const einsum *e, const char *at, ox_dim *dims, int *rank)
{
    bool dots = false;
    bool used[LETTERS] = {false};
    for (char sign; (sign = next_sign(e, &at)) != 0;) {
        unsigned char letter = (unsigned char)sign;
        if (sign == '.' ? dots : !e->seen[letter] || used[letter]) {
            fail_einsum(e);
        }
        if (sign == '.') {
            dots = true;
            add_dots(e, dims, rank);
        } else {
            used[letter] = true;
            dims[(*rank)++] = e->size[letter];
        }
    }
    return at;
}

/* Without an arrow: the ellipsis, and the letters used once in the order of the alphabet. */
static void make_output(const einsum *e, ox_dim *dims, int *rank)
{
    add_dots(e, dims, rank);
    for (int letter = 0; letter < LETTERS; letter++) {
        if (e->uses[letter] == 1) {
            dims[(*rank)++] = e->size[letter];
        }
    }
}

void infer_einsum(ox_node *n)
{
    for (size_t i = 0; i < n->input_count; i++) {
        if (ox_shape_rank(n, i) < 0) {
            ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
            return;
        }
    }
    einsum e = {.node = n};
    const char *at = read_terms(&e, ox_node_string(n, "equation", ""));
    ox_dim *dims = ox_shape_room(n, e.dots_rank + LETTERS);
    int rank = 0;
    if (strncmp(at, "->", 2) == 0) {
        at = read_output(&e, at + 2, dims, &rank);
    } else {
        make_output(&e, dims, &rank);
    }
    if (*at != '\0') {
        fail_einsum(&e);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}
