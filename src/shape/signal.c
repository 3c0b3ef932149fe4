/* Shapes of signal processing: windows, Fourier transforms, Mel weights, determinants. */
#include "shape/shape.h"

/* BlackmanWindow, HammingWindow, HannWindow. */
void infer_window(ox_node *n)
{
    ox_shape_list size = ox_shape_input_list(n, 0);
    ox_dim length = size.items != NULL && size.count == 1 ? size.items[0] : ox_shape_any(n);
    ox_shape_set(n, 0, ox_shape_type_attr(n, "output_datatype", OX_FLOAT), 1, &length);
}

/* Frequencies that a transform of `length` values keeps. */
static ox_dim bins(const ox_node *n, ox_dim length, bool onesided)
{
    if (!onesided) {
        return length;
    }
    return ox_dim_is_static(length) ? ox_dim_of(length.size / 2 + 1) : ox_shape_any(n);
}

/* The transformed axis: as long as asked for, else as the input's; onesided transforms keep half of
 * it, and their inverses double it. */
static ox_dim transformed(const ox_node *n, ox_dim length, bool onesided, bool inverse)
{
    ox_shape_list asked = ox_shape_input_list(n, 1);
    if (asked.given) {
        length = asked.items != NULL && asked.count == 1 ? asked.items[0] : ox_shape_any(n);
    } else if (onesided && inverse) {
        return ox_dim_is_static(length)
                   ? ox_dim_of(ox_shape_times(n, 2, ox_shape_plus(n, length.size, -1)))
                   : ox_shape_any(n);
    }
    return bins(n, length, onesided && !inverse);
}

/* x [..., 1 or 2]; the output is complex but for the inverse of a onesided transform. */
void infer_dft(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 2, INT32_MAX);
    if (rank < 0) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    bool onesided = ox_node_int(n, "onesided", 0) != 0;
    bool inverse = ox_node_int(n, "inverse", 0) != 0;
    ox_dim *dims = ox_shape_copy(n, 0);
    int64_t axis = ox_node_int(n, "axis", -2);
    bool known = ox_node_input(n, 2) == NULL || ox_shape_number(n, 2, &axis);
    for (int k = 0; k < rank - 1 && !known; k++) {
        dims[k] = ox_shape_any(n);
    }
    if (known) {
        int at = ox_shape_axis(n, axis, rank);
        dims[at] = transformed(n, dims[at], onesided, inverse);
    }
    dims[rank - 1] = ox_dim_of(onesided && inverse ? 1 : 2);
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank, dims);
}

/* signal [N, L, 1 or 2]: [N, frames, bins, 2]. */
void infer_stft(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 2, 3);
    ox_dim dims[4] = {ox_shape_any(n), ox_shape_any(n), ox_shape_any(n), ox_dim_of(2)};
    int64_t step = 0;
    int64_t width = 0;
    bool sized = ox_shape_number(n, 3, &width);
    if (!sized && ox_shape_rank(n, 2) == 1 && ox_dim_is_static(ox_shape_dims(n, 2)[0])) {
        width = ox_shape_dims(n, 2)[0].size;
        sized = true;
    }
    if (rank >= 0) {
        dims[0] = ox_shape_dims(n, 0)[0];
    }
    if (sized) {
        dims[2] = bins(n, ox_dim_of(width), ox_node_int(n, "onesided", 1) != 0);
    }
    if (sized && rank >= 0 && ox_shape_number(n, 1, &step) &&
        ox_dim_is_static(ox_shape_dims(n, 0)[1])) {
        int64_t length = ox_shape_dims(n, 0)[1].size;
        if (step < 1 || width < 1 || width > length) {
            ox_fail(n->graph->arena, OX_INVALID, "%s: frames of %lld, each %lld, of %lld values",
                    ox_node_label(n), (long long)width, (long long)step, (long long)length);
        }
        dims[1] = ox_dim_of((length - width) / step + 1);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), 4, dims);
}

void infer_mel_weights(ox_node *n)
{
    int64_t number = 0;
    ox_dim dims[2] = {ox_shape_any(n), ox_shape_any(n)};
    if (ox_shape_number(n, 1, &number)) {
        dims[0] = bins(n, ox_dim_of(number), true);
    }
    if (ox_shape_number(n, 0, &number)) {
        dims[1] = ox_dim_of(number);
    }
    ox_shape_set(n, 0, ox_shape_type_attr(n, "output_datatype", OX_FLOAT), 2, dims);
}

/* [..., M, M]: [...]. */
void infer_det(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 2, INT32_MAX);
    if (rank >= 2) {
        ox_shape_agree(n, ox_shape_dims(n, 0)[rank - 2], ox_shape_dims(n, 0)[rank - 1]);
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), rank < 0 ? -1 : rank - 2, ox_shape_dims(n, 0));
}

/* [C] or [N, C] of words: counts of the n-grams. */
void infer_tf_idf(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 1, 2);
    size_t count = 0;
    const int64_t *indexes = ox_node_ints(n, "ngram_indexes", &count);
    int64_t most = -1;
    for (size_t i = 0; i < count; i++) {
        most = indexes[i] > most ? indexes[i] : most;
    }
    if (rank < 0) {
        ox_shape_set(n, 0, OX_FLOAT, -1, NULL);
        return;
    }
    ox_dim *dims = ox_shape_copy(n, 0);
    dims[rank - 1] = ox_dim_of(ox_shape_plus(n, most, 1));
    ox_shape_set(n, 0, OX_FLOAT, rank, dims);
}
