/* The lowest version of the file format that a model can be written in: runtimes refuse versions
 * newer than themselves, whatever a model has of them. */
#include <string.h>

#include "model/proto.h"

/* Initializers that are no inputs. */
enum { LOWEST_IR = 4 };

/* Fields that later versions brought, and that a reader has to know: metadata_props of nodes (10)
 * and descriptions of a function's values (10) it skips, and computes the same. */
typedef struct feature {
    const ProtobufCMessageDescriptor *message;
    const char *field;
    int64_t version;
} feature;

static const feature features[] = {
    {&onnx__graph_proto__descriptor, "quantization_annotation", 5},
    {&onnx__graph_proto__descriptor, "sparse_initializer", 6},
    {&onnx__attribute_proto__descriptor, "sparse_tensor", 6},
    {&onnx__attribute_proto__descriptor, "sparse_tensors", 6},
    {&onnx__model_proto__descriptor, "training_info", 7},
    {&onnx__model_proto__descriptor, "functions", 8},
    {&onnx__type_proto__descriptor, "sparse_tensor_type", 8},
    {&onnx__type_proto__descriptor, "optional_type", 8},
    {&onnx__function_proto__descriptor, "attribute_proto", 9},
    {&onnx__function_proto__descriptor, "overload", 10},
    {&onnx__node_proto__descriptor, "overload", 10},
    {&onnx__node_proto__descriptor, "device_configurations", 11},
    {&onnx__model_proto__descriptor, "configuration", 11},
};

/* Attributes that name an element type. */
static const char *const type_attributes[] = {
    "to", "dtype", "output_dtype", "output_datatype", "stash_type", "softmax_precision"};

/* The version that brought an element type; of those that this table does not know, any. */
static int64_t version_of_type(int64_t type)
{
    static const struct {
        int64_t last, version;
    } types[] = {{OX_BFLOAT16, 4}, {20, 9}, {22, 10}, {23, 11}, {24, 12}, {26, 13}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (type <= types[i].last) {
            return types[i].version;
        }
    }
    return INT64_MAX;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* How many messages, strings or numbers a field holds. */
static size_t count_of(const uint8_t *message, const ProtobufCFieldDescriptor *f)
{
    const void *at = message + f->offset, *quantifier = message + f->quantifier_offset;
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        return *(const uint32_t *)quantifier == f->id;
    }
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        return *(const size_t *)quantifier;
    }
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        const char *text = *(const char *const *)at;
        return text != NULL && *text != '\0';
    }
    return f->type == PROTOBUF_C_TYPE_MESSAGE ? *(const void *const *)at != NULL
                                              : *(const protobuf_c_boolean *)quantifier != 0;
}

/* The version that what a message says of element types needs. */
static int64_t version_of_types(const ProtobufCMessage *message)
{
    if (message->descriptor == &onnx__tensor_proto__descriptor) {
        return version_of_type(((const Onnx__TensorProto *)message)->data_type);
    }
    if (message->descriptor == &onnx__type_proto__tensor__descriptor) {
        return version_of_type(((const Onnx__TypeProto__Tensor *)message)->elem_type);
    }
    if (message->descriptor == &onnx__attribute_proto__descriptor) {
        const Onnx__AttributeProto *a = (const void *)message;
        for (size_t i = 0; i < sizeof type_attributes / sizeof *type_attributes; i++) {
            if (a->has_i && strcmp(ox_proto_text(a->name), type_attributes[i]) == 0) {
                return version_of_type(a->i);
            }
        }
    }
    return LOWEST_IR;
}

static int64_t version_of(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *d = message->descriptor;
    const uint8_t *bytes = (const void *)message;
    int64_t version = message->n_unknown_fields > 0 ? INT64_MAX : version_of_types(message);
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        const feature *t = &features[i];
        if (t->message == d &&
            count_of(bytes, protobuf_c_message_descriptor_get_field_by_name(d, t->field)) > 0) {
            version = larger(version, t->version);
        }
    }
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        size_t count = f->type == PROTOBUF_C_TYPE_MESSAGE ? count_of(bytes, f) : 0;
        const ProtobufCMessage *const *one = (const void *)(bytes + f->offset);
        if (f->label == PROTOBUF_C_LABEL_REPEATED && count > 0) {
            one = *(const ProtobufCMessage *const *const *)(const void *)one;
        }
        for (size_t k = 0; k < count; k++) {
            version = larger(version, version_of(one[k]));
        }
    }
    return version;
}

typedef struct job {
    ox_arena *a;
    ox_model *m;
} job;

static void lower(void *user)
{
    const job *j = user;
    ox_file file;
    ox_model_build(j->a, j->m, &file);
    int64_t most = larger(j->m->ir_version, file.proto->n_functions > 0 ? 8 : LOWEST_IR);
    int64_t needed = version_of(&file.proto->base);
    j->m->ir_version = needed < most ? needed : most;
}

bool ox_model_lower_ir(ox_model *m, ox_error *err)
{
    job j = {ox_arena_new(), m};
    if (j.a == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    bool good = ox_arena_try(j.a, lower, &j, err);
    ox_arena_free(j.a);
    return good;
}
