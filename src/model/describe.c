/* Descriptions of values: type and shape as they are known by now. */
#include "model/proto.h"

#include <string.h>

/* Whether a description says of a value exactly what is known of it. */
static bool still_holds(const ox_model *m, const Onnx__ValueInfoProto *info, ox_val v)
{
    const Onnx__TensorShapeProto *shape = ox_proto_shape(info);
    if (info->type == NULL || v->type == OX_NONE) {
        return info->type != NULL && v->type == OX_NONE;
    }
    if (info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
        info->type->tensor_type->elem_type != (int32_t)v->type ||
        (shape == NULL) != (v->rank < 0)) {
        return false;
    }
    if (shape == NULL) {
        return true;
    }
    bool same = shape->n_dim == (size_t)v->rank;
    for (int i = 0; same && i < v->rank; i++) {
        const Onnx__TensorShapeProto__Dimension *d = shape->dim[i];
        bool fixed = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
                     d->dim_value >= 0;
        const char *symbol = ox_model_symbol(m, v, i, info);
        bool named = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        same = fixed ? ox_dim_is(v->dims[i], d->dim_value)
                     : !ox_dim_is_static(v->dims[i]) &&
                           strcmp(symbol, named ? ox_proto_text(d->dim_param) : "") == 0;
    }
    return same;
}

static Onnx__TensorShapeProto *write_shape(ox_arena *a, const ox_model *m, ox_val v,
                                           const Onnx__ValueInfoProto *info)
{
    size_t rank = (size_t)v->rank;
    Onnx__TensorShapeProto *shape = ox_proto_new(a, &onnx__tensor_shape_proto__descriptor);
    shape->n_dim = rank;
    shape->dim = ox_arena_alloc(a, rank, sizeof *shape->dim);
    for (size_t i = 0; i < rank; i++) {
        Onnx__TensorShapeProto__Dimension *d =
            ox_proto_new(a, &onnx__tensor_shape_proto__dimension__descriptor);
        const char *symbol = ox_model_symbol(m, v, (int)i, info);
        if (ox_dim_is_static(v->dims[i])) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            d->dim_value = v->dims[i].size;
        } else if (symbol[0] != '\0') {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = TEXT(symbol);
        } else if (m->graph->described && v->dims[i].unknown == 0) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = ox_arena_format(a, "%lld N^%d R^%d", (long long)v->dims[i].size,
                                           v->dims[i].batch, v->dims[i].refs);
        }
        shape->dim[i] = d;
    }
    return shape;
}

Onnx__ValueInfoProto *ox_proto_write_value(ox_arena *a, const ox_model *m, ox_val v,
                                           const Onnx__ValueInfoProto *info)
{
    if (info != NULL && still_holds(m, info, v)) {
        return (Onnx__ValueInfoProto *)(uintptr_t)info;
    }
    Onnx__ValueInfoProto *p = info != NULL ? ox_proto_copy(a, info)
                                           : ox_proto_new(a, &onnx__value_info_proto__descriptor);
    p->name = TEXT(v->name);
    if (v->type == OX_NONE) {
        return p;
    }
    Onnx__TypeProto__Tensor *tensor = ox_proto_new(a, &onnx__type_proto__tensor__descriptor);
    tensor->has_elem_type = true;
    tensor->elem_type = (int32_t)v->type;
    tensor->shape = v->rank >= 0 ? write_shape(a, m, v, info) : NULL;
    p->type = ox_proto_new(a, &onnx__type_proto__descriptor);
    p->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    p->type->tensor_type = tensor;
    return p;
}
