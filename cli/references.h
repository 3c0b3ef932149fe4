/* References for the inputs that are explained. */
#ifndef OX_CLI_REFERENCES_H
#define OX_CLI_REFERENCES_H

#include "array.h"
#include "images.h"
#include "options.h"

/* Reads the arrays that `specs` name, as ox_load does; NULL for pixels is the default. In an .npz,
 * arrays of inputs that are not explained are left out, which options->note is told. An array
 * without a name is left nameless where several inputs are explained. */
bool ox_references_load(const ox_model *model, const ox_options *options, const ox_texts *specs,
                        const ox_pixels *pixels, ox_arrays *references, ox_error *err);

/* Adds to err, by which an explanation was refused, what may be wrong with the references' shapes.
 */
void ox_references_hint(const ox_model *model, const ox_arrays *references, ox_error *err);

/* The references as arguments of the library, to be released by free; they borrow everything. */
ox_tensor *ox_references_tensors(const ox_arrays *references, ox_error *err);

#endif
