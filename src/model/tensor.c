/* Tensors of a model that is being read. They may come as typed fields, as raw bytes, from another
 * file or sparse; all of them are brought into one form, raw bytes in raw_data, in little-endian
 * order as the machines have it that this runs on. What is stored that way already is used in
 * place, and files are mapped, so that weights are in memory once. */
#include "model/proto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/axis.h"

/* Where the walk through the model is, for messages. */
typedef struct place {
    ox_model *m;
    const char *folder; /* NULL: no external data */
    const char *home;   /* another that it may lie in, NULL: none */
    const char *function;
    const Onnx__NodeProto *node; /* NULL: an initializer */
    const char *attribute;
} place;

#define BAD(at, t, ...) bad_tensor(at, t, ox_arena_format((at)->m->arena, __VA_ARGS__))

static _Noreturn void bad_tensor(const place *at, const Onnx__TensorProto *t, const char *problem)
{
    const char *in = at->function == NULL ? "" : "function ";
    const char *function = at->function == NULL ? "" : at->function;
    const char *comma = at->function == NULL ? "" : ", ";
    if (at->node == NULL) {
        ox_fail(at->m->arena, OX_INVALID, "%s%s%sinitializer \"%s\" %s", in, function, comma,
                ox_proto_text(t->name), problem);
    }
    ox_fail(at->m->arena, OX_INVALID, "%s%s%snode \"%s\" (%s): the tensor of attribute %s %s", in,
            function, comma, ox_proto_text(at->node->name), ox_proto_text(at->node->op_type),
            at->attribute, problem);
}

/* ---- sizes ------------------------------------------------------------------------------ */

typedef enum field { NO_FIELD, FLOATS, INT32S, INT64S, UINT64S, DOUBLES } field;

/* Bits of an element, and the typed field that may hold it. */
typedef struct layout {
    unsigned bits;
    field field;
} layout;

static layout layout_of(int32_t type)
{
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT: return (layout){32, FLOATS};
    case ONNX__TENSOR_PROTO__DATA_TYPE__COMPLEX64: return (layout){64, FLOATS};
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE: return (layout){64, DOUBLES};
    case ONNX__TENSOR_PROTO__DATA_TYPE__COMPLEX128: return (layout){128, DOUBLES};
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64: return (layout){64, INT64S};
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64: return (layout){64, UINT64S};
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT32: return (layout){32, UINT64S};
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32: return (layout){32, INT32S};
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16: return (layout){16, INT32S};
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT8:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
    case ONNX__TENSOR_PROTO__DATA_TYPE__BOOL:
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT8E4M3FN:
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT8E4M3FNUZ:
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT8E5M2:
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT8E5M2FNUZ:
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT8E8M0: return (layout){8, INT32S};
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT4:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT4:
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT4E2M1: return (layout){4, INT32S};
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT2:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT2: return (layout){2, INT32S};
    default: return (layout){0, NO_FIELD};
    }
}

/* Number of elements of a shape. */
static size_t count_elements(const place *at, const Onnx__TensorProto *t, size_t rank,
                             const int64_t *dims)
{
    if (rank > OX_FILE_RANK) {
        BAD(at, t, "has %zu dimensions", rank);
    }
    size_t count = 1;
    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 0) {
            BAD(at, t, "has the negative dimension %" PRId64, dims[i]);
        }
        if (!ox_size_mul(count, (size_t)dims[i], &count) || count > SIZE_MAX / 128) {
            BAD(at, t, "is larger than memory by its shape");
        }
    }
    return count;
}

/* ---- external data ---------------------------------------------------------------------- */

/* Whether a path without links lies below a folder. */
static bool is_below(const char *real, const char *folder)
{
    char root[OX_OS_PATH];
    if (folder == NULL || !ox_os_real_path(folder, root)) {
        return false;
    }
    size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    return strncmp(real, root, length) == 0 && real[length] == '/';
}

/* Maps a file, once. Nothing may fail while the descriptor is open. */
static const ox_mapping *map_file(const place *at, const Onnx__TensorProto *t, const char *path)
{
    ox_model *m = at->m;
    for (size_t i = 0; i < m->mapping_count; i++) {
        if (strcmp(m->mappings[i].path, path) == 0) {
            return &m->mappings[i];
        }
    }
    m->mappings = ox_arena_grow(m->arena, m->mappings, m->mapping_count, sizeof *m->mappings);
    ox_mapping *map = &m->mappings[m->mapping_count];
    *map = (ox_mapping){.path = path};
    ox_os_info *info = &map->file;
    const char *problem = NULL;
    char real[OX_OS_PATH];
    bool found = ox_os_real_path(path, real);
    if (found && !is_below(real, at->folder) && !is_below(real, at->home)) {
        BAD(at, t, "has external data outside of the model's folder: \"%s\" links to \"%s\"", path,
            real);
    }
    int fd = found ? ox_os_open_file(real) : -1;
    if (fd < 0 || !ox_os_stat_of(fd, info)) {
        problem = errno == ENOENT ? "is missing" : "cannot be read";
    } else if (info->kind != OX_OS_FILE || info->size == 0 || info->size > SIZE_MAX) {
        problem = info->kind != OX_OS_FILE ? "is no regular file"
                  : info->size == 0        ? "is empty"
                                           : "is larger than memory";
    } else {
        map->size = (size_t)info->size;
        map->data = ox_os_map(fd, map->size);
        problem = map->data == NULL ? "cannot be mapped" : NULL;
    }
    if (fd >= 0) {
        ox_os_close(fd);
    }
    if (problem != NULL) {
        BAD(at, t, "has external data in \"%s\", which %s", path, problem);
    }
    m->mapping_count++;
    return map;
}

/* A location must stay inside the model's folder. */
static bool is_inside(const char *location)
{
    if (location[0] == '\0' || location[0] == '/') {
        return false;
    }
    for (const char *part = location; part != NULL;) {
        const char *slash = strchr(part, '/');
        size_t length = slash == NULL ? strlen(part) : (size_t)(slash - part);
        if (length == 2 && memcmp(part, "..", 2) == 0) {
            return false;
        }
        part = slash == NULL ? NULL : slash + 1;
    }
    return true;
}

/* Digits only, as sizes and offsets are written. */
static bool parse_size(const char *text, size_t *out)
{
    size_t n = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c < '0' || *c > '9' || !ox_size_mul(n, 10, &n) ||
            !ox_size_add(n, (size_t)(*c - '0'), &n)) {
            return false;
        }
    }
    *out = n;
    return text[0] != '\0';
}

static const void *external_data(const place *at, const Onnx__TensorProto *t, size_t bytes)
{
    const char *location = "";
    size_t offset = 0, length = bytes;
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = ox_proto_text(t->external_data[i]->key);
        const char *value = ox_proto_text(t->external_data[i]->value);
        bool is_offset = strcmp(key, "offset") == 0;
        if (strcmp(key, "location") == 0) {
            location = value;
        } else if ((is_offset || strcmp(key, "length") == 0) &&
                   !parse_size(value, is_offset ? &offset : &length)) {
            BAD(at, t, "has external data with %s \"%s\"", key, value);
        }
    }
    if (at->folder == NULL) {
        BAD(at, t, "has external data, and the model was not read from a folder");
    }
    if (!is_inside(location)) {
        BAD(at, t, "has external data outside of the model's folder: \"%s\"", location);
    }
    if (length != bytes) {
        BAD(at, t, "has %zu bytes of external data where its shape needs %zu", length, bytes);
    }
    if (bytes == 0) {
        return "";
    }
    const char *path = ox_arena_format(at->m->arena, "%s/%s", at->folder, location);
    const ox_mapping *map = map_file(at, t, path);
    if (offset > map->size || bytes > map->size - offset) {
        BAD(at, t, "has external data beyond the end of \"%s\"", location);
    }
    return (const unsigned char *)map->data + offset;
}

/* ---- typed fields ----------------------------------------------------------------------- */

typedef struct typed {
    const void *data;
    size_t count, width; /* of the field's elements */
} typed;

static typed typed_field(const Onnx__TensorProto *t, field f)
{
    switch (f) {
    case FLOATS: return (typed){t->float_data, t->n_float_data, sizeof(float)};
    case INT32S: return (typed){t->int32_data, t->n_int32_data, sizeof(int32_t)};
    case INT64S: return (typed){t->int64_data, t->n_int64_data, sizeof(int64_t)};
    case UINT64S: return (typed){t->uint64_data, t->n_uint64_data, sizeof(uint64_t)};
    case DOUBLES: return (typed){t->double_data, t->n_double_data, sizeof(double)};
    default: return (typed){NULL, 0, 1};
    }
}

/* Bytes that an element of the field contributes: half floats take two of an int32's four,
 * smaller types one (several of them packed into it), a complex number two whole floats. */
static size_t unit_of(layout l, size_t width)
{
    size_t size = l.bits < 8 ? 1 : l.bits / 8;
    return size < width ? size : width;
}

static const void *typed_data(const place *at, const Onnx__TensorProto *t, layout l, size_t bytes)
{
    typed from = typed_field(t, l.field);
    size_t unit = unit_of(l, from.width), have = from.count * unit;
    if (have != bytes) {
        BAD(at, t, "has %zu bytes of data where its shape needs %zu", have, bytes);
    }
    if (bytes == 0) {
        return "";
    }
    if (unit == from.width) {
        return from.data;
    }
    unsigned char *out = ox_arena_alloc(at->m->arena, bytes, 1);
    for (size_t i = 0; i < from.count; i++) {
        memcpy(out + i * unit, (const unsigned char *)from.data + i * from.width, unit);
    }
    return out;
}

/* ---- settling --------------------------------------------------------------------------- */

static const void *raw_data(const place *at, const Onnx__TensorProto *t, layout l, size_t bytes)
{
    if (t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        return external_data(at, t, bytes);
    }
    if (!t->has_raw_data || (t->raw_data.len == 0 && bytes > 0)) {
        return typed_data(at, t, l, bytes);
    }
    if (t->raw_data.len != bytes) {
        BAD(at, t, "has %zu bytes of data where its shape needs %zu", t->raw_data.len, bytes);
    }
    return bytes == 0 ? "" : (const void *)t->raw_data.data;
}

static void settle_tensor(const place *at, Onnx__TensorProto *t)
{
    size_t count = count_elements(at, t, t->n_dims, t->dims);
    if (t->segment != NULL) {
        BAD(at, t, "is a segment of a tensor, which is not supported");
    }
    if (t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__UNDEFINED) {
        BAD(at, t, "has no element type");
    }
    if (t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__STRING) {
        if (t->n_string_data != count) {
            BAD(at, t, "has %zu strings where its shape needs %zu", t->n_string_data, count);
        }
        return;
    }
    layout l = layout_of(t->data_type);
    if (l.bits == 0) {
        BAD(at, t, "has the unknown element type %" PRId32, t->data_type);
    }
    size_t bytes = (count * l.bits + 7) / 8;
    const void *data = raw_data(at, t, l, bytes);
    if ((uintptr_t)data % (l.bits < 16 ? 1 : l.bits / 8) != 0) {
        data = ox_arena_copy(at->m->arena, data, bytes, 1);
    }
    t->n_float_data = t->n_int32_data = t->n_int64_data = 0;
    t->n_uint64_data = t->n_double_data = t->n_external_data = 0;
    t->has_data_location = false;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
    t->has_raw_data = true;
    /* protobuf-c has no const; nothing writes through this. */
    t->raw_data = (ProtobufCBinaryData){.len = bytes, .data = (uint8_t *)(uintptr_t)data};
}

/* Position of entry `i` of a sparse tensor in the dense one. */
static size_t dense_position(const place *at, const Onnx__SparseTensorProto *p, size_t i,
                             size_t count)
{
    const Onnx__TensorProto *indices = p->indices;
    size_t width = indices->n_dims == 2 ? p->n_dims : 1, position = 0;
    for (size_t k = 0; k < width; k++) {
        int64_t index, bound = indices->n_dims == 2 ? p->dims[k] : (int64_t)count;
        memcpy(&index, indices->raw_data.data + (i * width + k) * sizeof index, sizeof index);
        if (index < 0 || index >= bound) {
            BAD(at, p->values, "has the sparse index %" PRId64 " out of bounds", index);
        }
        position = position * (size_t)bound + (size_t)index;
    }
    return position;
}

static Onnx__TensorProto *make_dense(const place *at, Onnx__SparseTensorProto *p)
{
    static const Onnx__TensorProto nameless = ONNX__TENSOR_PROTO__INIT;
    Onnx__TensorProto *values = p->values, *indices = p->indices;
    if (values == NULL || indices == NULL) {
        BAD(at, values == NULL ? &nameless : values, "is sparse and incomplete");
    }
    settle_tensor(at, values);
    settle_tensor(at, indices);
    layout l = layout_of(values->data_type);
    size_t count = count_elements(at, values, p->n_dims, p->dims);
    size_t entries = values->n_dims == 1 ? (size_t)values->dims[0] : 0;
    bool fits =
        values->n_dims == 1 && l.bits >= 8 &&
        indices->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64 &&
        (indices->n_dims == 1 || (indices->n_dims == 2 && (size_t)indices->dims[1] == p->n_dims)) &&
        (size_t)indices->dims[0] == entries;
    if (!fits) {
        BAD(at, values, "is sparse, and its values, indices and shape disagree");
    }
    size_t width = l.bits / 8;
    ox_budget_at_text(at->m->arena, ox_arena_format(at->m->arena, "initializer \"%s\"",
                                                    ox_proto_text(values->name)));
    unsigned char *data = ox_arena_alloc(at->m->arena, count, width);
    for (size_t i = 0; i < entries; i++) {
        memcpy(data + dense_position(at, p, i, count) * width, values->raw_data.data + i * width,
               width);
    }
    values->n_dims = p->n_dims;
    values->dims = p->dims;
    values->raw_data = (ProtobufCBinaryData){.len = count * width, .data = data};
    return values;
}

static void settle_initializers(void *user, Onnx__GraphProto *g)
{
    place *at = user;
    at->node = NULL;
    for (size_t i = 0; i < g->n_initializer; i++) {
        settle_tensor(at, g->initializer[i]);
    }
    size_t dense = g->n_initializer, total = dense + g->n_sparse_initializer;
    if (total == dense) {
        return;
    }
    Onnx__TensorProto **all = ox_arena_alloc(at->m->arena, total, sizeof *all);
    if (dense > 0) {
        memcpy(all, g->initializer, dense * sizeof *all);
    }
    for (size_t i = 0; i < g->n_sparse_initializer; i++) {
        all[dense + i] = make_dense(at, g->sparse_initializer[i]);
    }
    g->initializer = all;
    g->n_initializer = total;
    g->n_sparse_initializer = 0;
}

/* A Constant of a sparse tensor becomes one of a dense one, as sparse initializers do. */
static void settle_sparse(place *at, Onnx__AttributeProto *p)
{
    static char value[] = "value";
    if (p->sparse_tensor != NULL && strcmp(ox_proto_text(at->node->op_type), "Constant") == 0) {
        p->t = make_dense(at, p->sparse_tensor);
        p->sparse_tensor = NULL;
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
        p->name = value;
    }
}

static void settle_attribute(place *at, Onnx__AttributeProto *p)
{
    at->attribute = ox_proto_text(p->name);
    settle_sparse(at, p);
    if (p->t != NULL) {
        settle_tensor(at, p->t);
    }
    for (size_t k = 0; k < p->n_tensors; k++) {
        settle_tensor(at, p->tensors[k]);
    }
}

static void settle_node(void *user, Onnx__NodeProto *n)
{
    place *at = user;
    at->node = n;
    for (size_t i = 0; i < n->n_attribute; i++) {
        settle_attribute(at, n->attribute[i]);
    }
}

/* Its nodes, and the defaults of its attributes. */
static void settle_function(place *at, const ox_proto_walk *walk, const Onnx__FunctionProto *f)
{
    at->function = ox_proto_text(f->name);
    for (size_t k = 0; k < f->n_node; k++) {
        ox_proto_walk_node(walk, f->node[k]);
    }
    Onnx__NodeProto defaults = ONNX__NODE_PROTO__INIT;
    defaults.n_attribute = f->n_attribute_proto;
    defaults.attribute = f->attribute_proto;
    ox_proto_walk_node(walk, &defaults);
    at->node = NULL;
}

void ox_model_settle(ox_model *m, Onnx__ModelProto *p, const char *folder, const char *home)
{
    place at = {.m = m, .folder = folder, .home = home};
    const ox_proto_walk walk = {.enter = settle_initializers, .node = settle_node, .user = &at};
    ox_proto_walk_graph(&walk, p->graph);
    for (size_t i = 0; i < p->n_training_info; i++) {
        Onnx__TrainingInfoProto *t = p->training_info[i];
        if (t->initialization != NULL) {
            ox_proto_walk_graph(&walk, t->initialization);
        }
        if (t->algorithm != NULL) {
            ox_proto_walk_graph(&walk, t->algorithm);
        }
    }
    for (size_t i = 0; i < p->n_functions; i++) {
        settle_function(&at, &walk, p->functions[i]);
    }
}
