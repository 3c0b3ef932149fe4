/* Protobuf structures to bytes, piece by piece. protobuf-c can only pack into memory, where a
 * message lies as often as it is nested deep; so messages that are large are taken apart here, and
 * only small ones and the small fields of large ones are packed by it. */
#include "model/proto.h"

#include <string.h>

/* PIECE: bytes that are written before they are dropped from memory. */
enum { SMALL = 64 * 1024, PIECE = 4 << 20 };

typedef struct packer {
    ox_arena *a;
    const ox_model *model;
    uint8_t *scratch; /* SMALL bytes */
    ox_sink sink;
    void *user;
} packer;

static bool pack(const packer *k, const ProtobufCMessage *message);

/* The key of a length-delimited field, and its length. */
static bool put_head(const packer *k, uint32_t id, size_t length)
{
    uint8_t head[20];
    size_t n = 0;
    const uint64_t parts[2] = {(uint64_t)id << 3 | 2, length};
    for (size_t i = 0; i < 2; i++) {
        uint64_t rest = parts[i];
        for (; rest >= 0x80; rest >>= 7) {
            head[n++] = (uint8_t)(rest | 0x80);
        }
        head[n++] = (uint8_t)rest;
    }
    return k->sink(k->user, head, n);
}

static bool put_bytes(const packer *k, uint32_t id, const ProtobufCBinaryData *b)
{
    bool good = put_head(k, id, b->len);
    for (size_t at = 0; good && at < b->len; at += PIECE) {
        size_t size = b->len - at < PIECE ? b->len - at : PIECE;
        good = k->sink(k->user, b->data + at, size);
        ox_model_drop(k->model, b->data + at, size);
    }
    return good;
}

static bool put_message(const packer *k, uint32_t id, const ProtobufCMessage *m)
{
    return put_head(k, id, protobuf_c_message_get_packed_size(m)) && pack(k, m);
}

/* Fields that are taken out of a large message: submessages and bytes, present as they are. */
static bool is_apart(const ProtobufCFieldDescriptor *f)
{
    return (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 &&
           (f->type == PROTOBUF_C_TYPE_MESSAGE ||
            (f->type == PROTOBUF_C_TYPE_BYTES && f->label == PROTOBUF_C_LABEL_OPTIONAL));
}

/* Empties such a field in a copy of the message. */
static void clear(uint8_t *copy, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        memset(copy + f->quantifier_offset, 0, sizeof(size_t));
    } else if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        memset(copy + f->offset, 0, sizeof(ProtobufCMessage *));
    } else {
        memset(copy + f->quantifier_offset, 0, sizeof(protobuf_c_boolean));
    }
}

static bool put_field(const packer *k, const uint8_t *message, const ProtobufCFieldDescriptor *f)
{
    const void *at = message + f->offset, *quantifier = message + f->quantifier_offset;
    if (f->type == PROTOBUF_C_TYPE_BYTES) {
        const protobuf_c_boolean *has = quantifier;
        return !*has || put_bytes(k, f->id, at);
    }
    if (f->label != PROTOBUF_C_LABEL_REPEATED) {
        const ProtobufCMessage *const *one = at;
        return *one == NULL || put_message(k, f->id, *one);
    }
    const size_t *count = quantifier;
    const ProtobufCMessage *const *const *all = at;
    for (size_t i = 0; i < *count; i++) {
        if (!put_message(k, f->id, (*all)[i])) {
            return false;
        }
    }
    return true;
}

/* The rest of a large message: numbers, strings, unknown fields. */
static bool put_rest(const packer *k, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *d = message->descriptor;
    uint8_t *copy = ox_arena_try_alloc(k->a, d->sizeof_message);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, message, d->sizeof_message);
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (is_apart(&d->fields[i])) {
            clear(copy, &d->fields[i]);
        }
    }
    const ProtobufCMessage *rest = (const void *)copy;
    size_t size = protobuf_c_message_get_packed_size(rest);
    uint8_t *room = size <= SMALL ? k->scratch : ox_arena_try_alloc(k->a, size);
    if (room == NULL) {
        return false;
    }
    protobuf_c_message_pack(rest, room);
    return size == 0 || k->sink(k->user, room, size);
}

static bool pack(const packer *k, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size <= SMALL) {
        protobuf_c_message_pack(message, k->scratch);
        return size == 0 || k->sink(k->user, k->scratch, size);
    }
    const ProtobufCMessageDescriptor *d = message->descriptor;
    bool good = put_rest(k, message);
    for (unsigned i = 0; good && i < d->n_fields; i++) {
        good = !is_apart(&d->fields[i]) || put_field(k, (const uint8_t *)message, &d->fields[i]);
    }
    return good;
}

bool ox_proto_pack(ox_arena *a, const ox_model *m, const ProtobufCMessage *message, ox_sink sink,
                   void *user)
{
    packer k = {a, m, ox_arena_try_alloc(a, SMALL), sink, user};
    return k.scratch != NULL && pack(&k, message);
}
