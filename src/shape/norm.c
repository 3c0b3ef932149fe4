/* Shapes of normalizations with more than one output, and of quantization. */
#include "shape/shape.h"

void infer_quantize(ox_node *n)
{
    ox_type type = ox_shape_type(n, 2);
    type = type != OX_NONE ? type : n->input_count > 2 && n->inputs[2] ? OX_NONE : OX_UINT8;
    ox_type asked = ox_shape_type_attr(n, "output_dtype", OX_NONE);
    ox_shape_set(n, 0, asked != OX_NONE ? asked : type, ox_shape_rank(n, 0), ox_shape_dims(n, 0));
}

void infer_dequantize(ox_node *n)
{
    ox_type asked = ox_shape_type_attr(n, "output_dtype", OX_NONE);
    ox_shape_set(n, 0, asked != OX_NONE ? asked : ox_shape_type(n, 1), ox_shape_rank(n, 0),
                 ox_shape_dims(n, 0));
}

void infer_dynamic_quantize(ox_node *n)
{
    ox_shape_set(n, 0, OX_UINT8, ox_shape_rank(n, 0), ox_shape_dims(n, 0));
    ox_shape_set(n, 1, OX_FLOAT, 0, NULL);
    ox_shape_set(n, 2, OX_UINT8, 0, NULL);
}

/* ---- normalizations --------------------------------------------------------------------- */

/* Running mean and variance, in older spellings and in training. */
void infer_batch_normalization(ox_node *n)
{
    ox_shape_same(n, 0, 0);
    for (size_t i = 1; i < n->output_count; i++) {
        ox_shape_same(n, i, i % 2 == 1 ? 3 : 4);
    }
}

/* Mean and InvStdDev keep the normalized axes as 1. */
void infer_layer_normalization(ox_node *n)
{
    ox_shape_same(n, 0, 0);
    ox_type type = ox_shape_type_attr(n, "stash_type", OX_FLOAT);
    int rank = ox_shape_rank(n, 0);
    if (rank < 0) {
        return;
    }
    ox_dim *dims = ox_shape_copy(n, 0);
    for (int k = ox_shape_axis(n, ox_node_int(n, "axis", -1), rank); k < rank; k++) {
        dims[k] = ox_dim_of(1);
    }
    ox_shape_set(n, 1, type, rank, dims);
    ox_shape_set(n, 2, type, rank, dims);
}
