/* Fourier transforms as products with constant matrices. Complex numbers are pairs in the last
 * axis; a missing imaginary part is 0. */
#include <math.h>
#include <string.h>

#include "rules/decompose.h"
#include "shape/shape.h"

enum { MAX_ENTRIES = 1 << 24 };

/* A transform of `length` values, of which `in` are given (cut or filled with zeros) and `out` are
 * kept; `parts` of each are 2 for complex numbers, 1 for real ones. */
typedef struct transform {
    int64_t length, in, out;
    int in_parts, out_parts;
    bool inverse;
} transform;

/* How often an input counts: in the inverse of a onesided transform also for the frequency of its
 * conjugate, which is not given. */
static double times_counted(const transform *t, int64_t k)
{
    if (!t->inverse || t->out_parts == 2) {
        return k < t->length;
    }
    return k > t->length / 2 ? 0 : k == 0 || 2 * k == t->length ? 1 : 2;
}

/* [in * in_parts, out * out_parts], so that x [..., in * in_parts] times it is the transform: the
 * product with exp(i angle). */
static ox_val matrix_of(const ox_node *n, ox_type type, const transform *t)
{
    static const double pi = 3.14159265358979323846;
    int64_t rows = 0, columns = 0, entries = 0;
    if (t->length < 1 || !ox_int_mul(t->in, t->in_parts, &rows) ||
        !ox_int_mul(t->out, t->out_parts, &columns) || !ox_int_mul(rows, columns, &entries) ||
        entries > MAX_ENTRIES) {
        ox_made_fail(n, "its length cannot be used: up to some thousand values");
    }
    double *matrix = ox_arena_alloc(n->graph->arena, (size_t)entries, sizeof *matrix);
    double scale = t->inverse ? 1 / (double)t->length : 1, turn = t->inverse ? 2 * pi : -2 * pi;
    for (int64_t k = 0; k < t->in; k++) {
        for (int64_t j = 0; j < t->out; j++) {
            double angle = turn * (double)(k % t->length * (j % t->length) % t->length);
            double weight = scale * times_counted(t, k);
            double real = weight * cos(angle / (double)t->length);
            double imaginary = weight * sin(angle / (double)t->length);
            double *at = matrix + k * t->in_parts * columns + j * t->out_parts;
            at[0] = real;
            if (t->out_parts == 2) {
                at[1] = imaginary;
            }
            if (t->in_parts == 2) {
                at[columns] = -imaginary;
            }
            if (t->in_parts == 2 && t->out_parts == 2) {
                at[columns + 1] = real;
            }
        }
    }
    const int64_t dims[] = {rows, columns};
    return ox_floats(n->graph, type, 2, dims, matrix);
}

/* The last two axes of x, [in, parts], to [out, parts]. */
static ox_val apply(const ox_node *n, ox_val x, const transform *t)
{
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    dims[x->rank - 2] = ox_dim_of(t->in * t->in_parts);
    ox_val flat = ox_reshape(x, x->rank - 1, dims);
    ox_val y = ox_matmul(flat, matrix_of(n, x->type, t));
    dims[x->rank - 2] = ox_dim_of(t->out);
    dims[x->rank - 1] = ox_dim_of(t->out_parts);
    return ox_reshape(y, x->rank, dims);
}

static int parts_of(const ox_node *n, ox_val x)
{
    int64_t parts = ox_made_size(n, x, -1);
    if (parts != 1 && parts != 2) {
        ox_made_fail(n, "its values are neither real nor complex");
    }
    return (int)parts;
}

/* ---- DFT ----------------------------------------------------------------------------------- */

static int transformed_axis(const ox_node *n, int rank)
{
    int64_t axis = ox_node_int(n, "axis", -2);
    if (ox_node_input(n, 2) != NULL && !ox_shape_number(n, 2, &axis)) {
        ox_made_fail(n, "its axis is not constant");
    }
    int found = ox_shape_axis(n, axis, rank) - rank;
    if (found == -1) {
        ox_made_fail(n, "its axis is out of range");
    }
    return found;
}

void decompose_dft(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_of_rank(n, 0, 2, OX_MAX_RANK);
    int axis = transformed_axis(n, x->rank), order[OX_MAX_RANK];
    bool onesided = ox_node_int(n, "onesided", 0) != 0;
    transform t = {.inverse = ox_node_int(n, "inverse", 0) != 0, .in_parts = parts_of(n, x)};
    t.in = ox_made_size(n, x, axis);
    t.length = onesided && t.inverse ? 2 * (t.in - 1) : t.in;
    if (ox_node_input(n, 1) != NULL && !ox_shape_number(n, 1, &t.length)) {
        ox_made_fail(n, "its length is not constant");
    }
    t.out = onesided && !t.inverse ? t.length / 2 + 1 : t.length;
    t.out_parts = onesided && t.inverse ? 1 : 2;
    for (int d = 0; d < x->rank; d++) {
        order[d] = d;
    }
    order[x->rank + axis] = x->rank - 2;
    order[x->rank - 2] = x->rank + axis;
    ox_val y = apply(n, ox_transpose(x, order), &t);
    outputs[0] = ox_made_result(n, 0, ox_transpose(y, order));
}

/* ---- STFT ---------------------------------------------------------------------------------- */

/* x [N, L, parts] in frames [N, frames, width, parts]. */
static ox_val frames_of(const ox_node *n, ox_val x, int64_t step, int64_t width)
{
    int64_t length = ox_made_size(n, x, -2), count = 0;
    if (step < 1 || width < 1 || width > length ||
        !ox_int_mul((length - width) / step + 1, width, &count) || count > MAX_ENTRIES) {
        ox_made_fail(n, "its frames do not fit the signal");
    }
    int64_t *index = ox_arena_alloc(n->graph->arena, (size_t)count, sizeof *index);
    for (int64_t i = 0; i < count; i++) {
        index[i] = i / width * step + i % width;
    }
    ox_val frames = ox_gather(x, ox_ints(n->graph, (size_t)count, index), -2);
    const ox_dim dims[] = {x->dims[0], ox_dim_of(count / width), ox_dim_of(width), x->dims[2]};
    return ox_reshape(frames, 4, dims);
}

void decompose_stft(const ox_node *n, ox_val *outputs)
{
    ox_val x = ox_made_of_rank(n, 0, 2, 3), window = ox_made_input(n, 2);
    x = x->rank == 2 ? ox_unsqueeze(x, -1) : x;
    int64_t step = 0, width = window == NULL ? 0 : ox_made_size(n, window, -1), asked = width;
    if (!ox_shape_number(n, 1, &step) ||
        (ox_node_input(n, 3) != NULL && !ox_shape_number(n, 3, &asked))) {
        ox_made_fail(n, "its frames are not constant");
    }
    if (window != NULL && asked != width) {
        ox_made_fail(n, "its window is not as long as its frames");
    }
    bool onesided = ox_node_int(n, "onesided", 1) != 0;
    ox_val frames = frames_of(n, x, step, asked);
    frames = window == NULL ? frames : ox_mul(frames, ox_unsqueeze(window, -1));
    transform t = {.length = asked, .in = asked, .in_parts = parts_of(n, x), .out_parts = 2};
    t.out = onesided ? asked / 2 + 1 : asked;
    outputs[0] = ox_made_result(n, 0, apply(n, frames, &t));
}
