/* Shape inference: looks the operator up in the families. */
#include <stdlib.h>
#include <string.h>

#include "shape/shape.h"

static const ox_shape_family *const families[] = {
    &ox_shape_attention,   &ox_shape_contrib, &ox_shape_contrib_default,
    &ox_shape_elementwise, &ox_shape_fused,   &ox_shape_image,
    &ox_shape_index,       &ox_shape_linear,  &ox_shape_make,
    &ox_shape_ml,          &ox_shape_move,    &ox_shape_norm,
    &ox_shape_reduce,      &ox_shape_signal,  &ox_shape_window};

const ox_shape_family *const *ox_shape_families(size_t *count)
{
    *count = sizeof families / sizeof families[0];
    return families;
}

static int compare_row(const void *op, const void *row)
{
    return strcmp(op, ((const ox_shape_row *)row)->op);
}

void ox_shape_infer(ox_node *n)
{
    if (n->output_count == 0 || n->outputs[0] == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        const ox_shape_family *f = families[i];
        if (strcmp(f->domain, n->domain) == 0) {
            const ox_shape_row *row =
                bsearch(n->op, f->rows, f->count, sizeof *f->rows, compare_row);
            if (row != NULL) {
                row->infer(n);
                ox_shape_evaluate(n);
                return;
            }
        }
    }
    if (strcmp(n->domain, "onnxexplainer") == 0) {
        ox_shape_ours(n);
    }
}
