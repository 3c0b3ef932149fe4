/* Guesses at why an array does not fit: a batch axis left out, channels on the other side. */
#include "array.h"

/* Axis i of a sample whose channels are moved from the last axis to the first, or back. */
static int moved(int i, int rank, int way)
{
    return way > 0 ? (i + rank - 1) % rank : way < 0 ? (i + 1) % rank : i;
}

/* Whether the array, less the `lead` axes of the input that it lacks, is a sample or a batch of the
 * input with its channels moved. */
static bool fits(const ox_array *array, const ox_value_info *input, int lead, int way)
{
    int batch = 1 - lead, rank = input->rank - 1;
    if (rank < 1 || array->rank != rank + batch) {
        return false;
    }
    for (int i = 0; i < rank; i++) {
        int64_t wanted = input->dims[i + 1];
        if (wanted >= 0 && wanted != array->dims[batch + moved(i, rank, way)]) {
            return false;
        }
    }
    return true;
}

const char *ox_shape_hint(const ox_array *array, const ox_value_info *input)
{
    bool image = input->rank == 4;
    if (input->rank < 2 || fits(array, input, 0, 0)) {
        return "";
    }
    if (fits(array, input, 1, 0)) {
        return "; a batch axis is missing: array[None] adds one";
    }
    if (image && fits(array, input, 0, 1)) {
        return "; this looks like NHWC, the model takes NCHW: array.transpose(0, 3, 1, 2)";
    }
    if (image && fits(array, input, 0, -1)) {
        return "; this looks like NCHW, the model takes NHWC: array.transpose(0, 2, 3, 1)";
    }
    if (image && fits(array, input, 1, 1)) {
        return "; this looks like HWC, the model takes NCHW: array.transpose(2, 0, 1)[None]";
    }
    if (image && fits(array, input, 1, -1)) {
        return "; this looks like CHW, the model takes NHWC: array.transpose(1, 2, 0)[None]";
    }
    return "";
}
