/* Tensors as the library's users see them: sizes and names of element types, and release. */
#include <stdlib.h>

#include "onnxexplainer.h"

typedef struct type_row {
    const char *name;
    size_t size;
} type_row;

/* Indexed by ox_type. */
static const type_row types[] = {
    [OX_FLOAT] = {"float32", 4},
    [OX_UINT8] = {"uint8", 1},
    [OX_INT8] = {"int8", 1},
    [OX_UINT16] = {"uint16", 2},
    [OX_INT16] = {"int16", 2},
    [OX_INT32] = {"int32", 4},
    [OX_INT64] = {"int64", 8},
    [OX_BOOL] = {"bool", 1},
    [OX_STRING] = {"str", sizeof(char *)},
    [OX_FLOAT16] = {"float16", 2},
    [OX_DOUBLE] = {"float64", 8},
    [OX_UINT32] = {"uint32", 4},
    [OX_UINT64] = {"uint64", 8},
    [OX_BFLOAT16] = {"bfloat16", 2},
};

static const type_row *find_type(ox_type type)
{
    static const type_row unknown = {"?", 0};
    size_t index = (size_t)type;
    bool known = index < sizeof types / sizeof types[0] && types[index].name != NULL;
    return known ? &types[index] : &unknown;
}

size_t ox_type_size(ox_type type)
{
    return find_type(type)->size;
}

const char *ox_type_name(ox_type type)
{
    return find_type(type)->name;
}

void ox_tensor_free(ox_tensor *tensor)
{
    if (tensor == NULL) {
        return;
    }
    free((void *)tensor->name);
    free((void *)tensor->dims);
    free((void *)tensor->data);
    *tensor = (ox_tensor){.name = NULL};
}
