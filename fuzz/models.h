/* What the targets that read models share: the model and the choices behind it, tensors for its
 * inputs, and what must hold of every model and message that comes out. */
#ifndef FUZZ_MODELS_H
#define FUZZ_MODELS_H

#include "onnxexplainer.h"

#include "draw.h"

enum { FUZZ_TENSORS = 16, FUZZ_RANK = 10, FUZZ_ELEMENTS = 1 << 14 };

/* Tensors with numbers that are drawn once for all of them. */
typedef struct fuzz_tensors {
    ox_tensor all[FUZZ_TENSORS];
    int64_t dims[FUZZ_TENSORS][FUZZ_RANK];
    size_t count;
} fuzz_tensors;

/* Takes the choices off the end of the bytes, and reads the model before them; NULL where it is
 * none. Small limits, so that time goes into other models. */
ox_model *fuzz_read(const uint8_t *data, size_t size, fuzz_draws *draws);

/* A tensor for each value that has a type, free dimensions drawn; some of another shape. */
void fuzz_make(fuzz_tensors *tensors, const ox_value_info *infos, size_t count, fuzz_draws *draws);

/* The name of a value of the model, or a text that may be none. */
const char *fuzz_value(const ox_model *model, fuzz_draws *draws, const ox_node_list *nodes);

/* Aborts unless err tells why in one line. */
void fuzz_check_error(const ox_error *err);

/* Writes a model that was made and reads it again; aborts where that does not go. NULL is allowed,
 * with why in err. Frees it. */
void fuzz_check_made(ox_model *made, const ox_error *err);

#endif
