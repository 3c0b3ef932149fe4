/* Shapes of the operators of ai.onnx.ml. */
#include "shape/shape.h"

/* Rows of an input [N, C] or [C]. */
static ox_dim row_count(const ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    return rank == 2 ? ox_shape_dims(n, 0)[0] : rank == 1 ? ox_dim_of(1) : ox_shape_any(n);
}

static size_t attr_count(const ox_node *n, const char *name)
{
    const ox_attr *attr = ox_node_attr(n, name);
    return attr == NULL ? 0 : attr->count;
}

/* Normalizer, Scaler. */
void infer_float(ox_node *n)
{
    ox_shape_set(n, 0, OX_FLOAT, ox_shape_rank(n, 0), ox_shape_dims(n, 0));
}

/* Binarizer, Imputer. */
/* x [..., C] with K indices: [..., K]; a vector gets a row axis. */
void infer_array_feature_extractor(ox_node *n)
{
    int rank = ox_shape_need(n, 0, 1, INT32_MAX);
    if (rank < 0) {
        ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
        return;
    }
    int out_rank = rank == 1 ? 2 : rank;
    ox_dim *dims = ox_shape_room(n, out_rank);
    dims[0] = ox_dim_of(1);
    for (int k = 0; k < rank - 1; k++) {
        dims[k] = ox_shape_dims(n, 0)[k];
    }
    ox_dim picks = ox_shape_rank(n, 1) < 0 ? ox_shape_any(n) : ox_dim_of(1);
    for (int k = 0; k < ox_shape_rank(n, 1); k++) {
        picks = ox_shape_dim_times(n, picks, ox_shape_dims(n, 1)[k]);
    }
    dims[out_rank - 1] = picks;
    ox_shape_set(n, 0, ox_shape_type(n, 0), out_rank, dims);
}

void infer_feature_vectorizer(ox_node *n)
{
    size_t count = 0;
    const int64_t *widths = ox_node_ints(n, "inputdimensions", &count);
    int64_t width = 0;
    for (size_t i = 0; i < count; i++) {
        width = ox_shape_plus(n, width, widths[i]);
    }
    ox_dim dims[2] = {row_count(n), count > 0 ? ox_dim_of(width) : ox_shape_any(n)};
    ox_shape_set(n, 0, OX_FLOAT, 2, dims);
}

/* ---- models ----------------------------------------------------------------------------- */

static void set_scores(ox_node *n, size_t output, ox_dim width)
{
    ox_dim dims[2] = {row_count(n), width};
    ox_shape_set(n, output, OX_FLOAT, 2, dims);
}

void infer_linear_regressor(ox_node *n)
{
    set_scores(n, 0, ox_dim_of(ox_node_int(n, "targets", 1)));
}

void infer_svm_regressor(ox_node *n)
{
    set_scores(n, 0, ox_dim_of(1));
}

void infer_tree_regressor(ox_node *n)
{
    set_scores(n, 0,
               ox_node_attr(n, "n_targets") != NULL ? ox_dim_of(ox_node_int(n, "n_targets", 1))
                                                    : ox_shape_any(n));
}

void infer_tree_ensemble(ox_node *n)
{
    infer_tree_regressor(n);
    ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
}

/* Labels [N], and scores [N, classes] except for the forms of binary models. */
void infer_classifier(ox_node *n)
{
    size_t strings = attr_count(n, "classlabels_strings");
    size_t ints = attr_count(n, "classlabels_ints") + attr_count(n, "classlabels_int64s");
    ox_dim rows_of = row_count(n);
    size_t classes = strings > 0 ? strings : ints;
    ox_type type = strings > 0 ? OX_STRING : ints > 0 ? OX_INT64 : OX_NONE;
    ox_shape_set(n, 0, type, 1, &rows_of);
    set_scores(n, 1, classes > 2 ? ox_dim_of((int64_t)classes) : ox_shape_any(n));
}

/* As many scores as classes, also where the trees add to one of two. */
void infer_tree_classifier(ox_node *n)
{
    infer_classifier(n);
    size_t strings = attr_count(n, "classlabels_strings");
    size_t classes = strings > 0 ? strings : attr_count(n, "classlabels_int64s");
    set_scores(n, 1, classes > 0 ? ox_dim_of((int64_t)classes) : ox_shape_any(n));
}

/* A row of coefficients for each class; one for two classes gets a second score. */
void infer_linear_classifier(ox_node *n)
{
    infer_classifier(n);
    int rank = ox_shape_rank(n, 0);
    ox_dim width = rank < 1 ? ox_shape_any(n) : ox_shape_dims(n, 0)[rank - 1];
    if (ox_dim_is_static(width) && width.size > 0) {
        int64_t classes = (int64_t)attr_count(n, "coefficients") / width.size;
        size_t labels = attr_count(n, "classlabels_strings") + attr_count(n, "classlabels_ints");
        set_scores(n, 1, ox_dim_of(classes == 1 && labels == 2 ? 2 : classes));
    }
}

/* A score for each pair of classes, both for two; probabilities of classes, and where they are
 * linear, one for each class. */
void infer_svm_classifier(ox_node *n)
{
    infer_classifier(n);
    size_t strings = attr_count(n, "classlabels_strings");
    size_t classes = strings > 0 ? strings : attr_count(n, "classlabels_ints");
    bool paired = attr_count(n, "prob_a") == 0 && attr_count(n, "vectors_per_class") > 0;
    bool known = classes > 0 && classes < UINT16_MAX;
    size_t scores = paired && classes > 2 ? classes * (classes - 1) / 2 : paired ? 2 : classes;
    set_scores(n, 1, known ? ox_dim_of((int64_t)scores) : ox_shape_any(n));
}

/* ---- categories ------------------------------------------------------------------------- */

void infer_one_hot_encoder(ox_node *n)
{
    int rank = ox_shape_rank(n, 0);
    size_t count = attr_count(n, "cats_int64s") + attr_count(n, "cats_strings");
    ox_dim *dims = ox_shape_room(n, rank + 1);
    for (int k = 0; k < rank; k++) {
        dims[k] = ox_shape_dims(n, 0)[k];
    }
    if (rank >= 0) {
        dims[rank] = count > 0 ? ox_dim_of((int64_t)count) : ox_shape_any(n);
    }
    ox_shape_set(n, 0, OX_FLOAT, rank < 0 ? -1 : rank + 1, dims);
}

void infer_label_encoder(ox_node *n)
{
    const ox_attr *tensor = ox_node_attr(n, "values_tensor");
    ox_type type = OX_NONE;
    if (tensor != NULL && tensor->kind == OX_ATTR_TENSOR && tensor->tensor != NULL) {
        type = tensor->tensor->type;
    } else if (ox_node_attr(n, "values_floats") != NULL) {
        type = OX_FLOAT;
    } else if (ox_node_attr(n, "values_int64s") != NULL) {
        type = OX_INT64;
    } else if (ox_node_attr(n, "values_strings") != NULL) {
        type = OX_STRING;
    }
    ox_shape_set(n, 0, type, ox_shape_rank(n, 0), ox_shape_dims(n, 0));
}

void infer_category_mapper(ox_node *n)
{
    ox_type type = ox_shape_type(n, 0) == OX_STRING  ? OX_INT64
                   : ox_shape_type(n, 0) == OX_INT64 ? OX_STRING
                                                     : OX_NONE;
    ox_shape_set(n, 0, type, ox_shape_rank(n, 0), ox_shape_dims(n, 0));
}
