#include "wire.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5, LARGEST_TAG = 40 };
enum { MAX_FIELDS = 2048, MAX_DEPTH = 12, DONORS = 1024, DONOR_SIZE = 512, VARINT_SIZE = 10 };

/* ---- random numbers ------------------------------------------------------------------------ */

static uint64_t state = 1;

static size_t below(size_t limit)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return limit == 0 ? 0 : (size_t)(state >> 33) % limit;
}

/* Numbers at which sizes, indices and conversions turn. */
static uint64_t edge(void)
{
    static const int64_t edges[] = {
        0,         1,         2,         3,         4,         7,         8,         16,
        31,        32,        63,        64,        127,       128,       255,       256,
        1000,      65535,     65536,     1 << 20,   INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN,
        1LL << 31, 1LL << 32, 1LL << 40, 1LL << 60, -1,        -2,        -3,        -8,
        -100,      5,         6,         9,         10,        11,        1LL << 61};
    return (uint64_t)edges[below(sizeof edges / sizeof *edges)];
}

static uint32_t edge_float(void)
{
    static const uint32_t edges[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x3f000000,
                                     0x00000001, 0x000116c2, 0x7149f2ca, 0xf149f2ca, 0x7f7fffff,
                                     0x4f000000, 0x7f800000, 0xff800000, 0x7fc00000};
    return edges[below(sizeof edges / sizeof *edges)];
}

/* ---- bytes that grow ----------------------------------------------------------------------- */

typedef struct buffer {
    uint8_t *data;
    size_t size, room;
} buffer;

static void put(buffer *b, const void *data, size_t size)
{
    if (size > b->room - b->size) {
        b->room = (b->size + size) * 2;
        b->data = realloc(b->data, b->room);
        if (b->data == NULL) {
            abort();
        }
    }
    if (size > 0) {
        memcpy(b->data + b->size, data, size);
    }
    b->size += size;
}

static void put_varint(buffer *b, uint64_t number)
{
    uint8_t bytes[VARINT_SIZE];
    size_t size = 0;
    for (; number > 127; number >>= 7) {
        bytes[size++] = (uint8_t)(number | 128);
    }
    bytes[size++] = (uint8_t)number;
    put(b, bytes, size);
}

/* ---- the wire ------------------------------------------------------------------------------ */

/* Where a field's contents stand; of a varint and of fixed ones also the value. */
typedef struct field {
    uint32_t tag;
    int wire;
    const uint8_t *body;
    size_t size;
    uint64_t number;
} field;

typedef struct fields {
    field all[MAX_FIELDS];
    size_t count;
} fields;

static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *number)
{
    *number = 0;
    for (unsigned shift = 0; *at < end && shift < 7 * VARINT_SIZE; shift += 7) {
        uint8_t byte = *(*at)++;
        *number |= shift < 64 ? (uint64_t)(byte & 127) << shift : 0;
        if (byte < 128) {
            return true;
        }
    }
    return false;
}

static bool read_field(const uint8_t **at, const uint8_t *end, field *f)
{
    uint64_t key = 0, size = 0;
    if (!read_varint(at, end, &key)) {
        return false;
    }
    *f = (field){.tag = (uint32_t)(key >> 3), .wire = (int)(key & 7), .body = *at};
    switch (f->wire) {
    case VARINT: return f->tag > 0 && read_varint(at, end, &f->number);
    case FIXED64: size = 8; break;
    case FIXED32: size = 4; break;
    case BYTES:
        if (!read_varint(at, end, &size)) {
            return false;
        }
        f->body = *at;
        break;
    default: return false;
    }
    if (f->tag == 0 || f->tag > LARGEST_TAG || size > (uint64_t)(end - *at)) {
        return false;
    }
    f->size = (size_t)size;
    memcpy(&f->number, f->body, f->wire == BYTES ? 0 : f->size);
    *at += f->size;
    return true;
}

/* Whether it is a message that is not empty. */
static bool read_fields(const uint8_t *data, size_t size, fields *out)
{
    const uint8_t *at = data, *end = data + size;
    for (out->count = 0; at < end; out->count++) {
        if (out->count == MAX_FIELDS || !read_field(&at, end, &out->all[out->count])) {
            return false;
        }
    }
    return out->count > 0;
}

static void put_field(buffer *b, const field *f)
{
    put_varint(b, (uint64_t)f->tag << 3 | (uint64_t)f->wire);
    switch (f->wire) {
    case VARINT: put_varint(b, f->number); break;
    case BYTES:
        put_varint(b, f->size);
        put(b, f->body, f->size);
        break;
    default: put(b, &f->number, f->wire == FIXED64 ? 8 : 4);
    }
}

/* ---- fields of files that were seen --------------------------------------------------------- */

static struct {
    uint32_t tag;
    size_t size;
    uint8_t bytes[DONOR_SIZE];
} donors[DONORS];
static size_t donor_count;

static void keep(const field *f)
{
    size_t i = donor_count < DONORS ? donor_count++ : below(DONORS);
    donors[i].tag = f->tag;
    donors[i].size = f->size;
    memcpy(donors[i].bytes, f->body, f->size);
}

static void harvest(const uint8_t *data, size_t size, int depth)
{
    fields *found = malloc(sizeof *found);
    if (found != NULL && depth < MAX_DEPTH && read_fields(data, size, found)) {
        for (size_t i = 0; i < found->count; i++) {
            const field *f = &found->all[i];
            if (f->wire == BYTES) {
                if (f->size <= DONOR_SIZE) {
                    keep(f);
                }
                harvest(f->body, f->size, depth + 1);
            }
        }
    }
    free(found);
}

static field donor(void)
{
    size_t i = below(donor_count);
    return (field){
        .tag = donors[i].tag, .wire = BYTES, .body = donors[i].bytes, .size = donors[i].size};
}

/* ---- changes -------------------------------------------------------------------------------- */

/* Bytes that are no message: a name, packed numbers, raw data. */
static void change_bytes(buffer *to, const field *f)
{
    buffer body = {NULL, 0, 0};
    size_t kind = below(5);
    if (kind == 0 && donor_count > 0) {
        field other = donor();
        put(&body, other.body, other.size);
    } else if (kind == 1) {
        for (size_t n = below(6); n > 0; n--) {
            put_varint(&body, edge());
        }
    } else {
        put(&body, f->body, f->size);
        if (kind == 2 && f->size >= 8) {
            uint64_t number = edge();
            memcpy(body.data + below(f->size / 8) * 8, &number, sizeof number);
        } else if (kind == 3 && f->size >= 4) {
            uint32_t number = edge_float();
            memcpy(body.data + below(f->size / 4) * 4, &number, sizeof number);
        } else {
            const uint8_t spare[16] = {0};
            put(&body, spare, sizeof spare);
            body.size = LLVMFuzzerMutate(body.data, f->size, body.size);
        }
    }
    put_field(to, &(field){.tag = f->tag, .wire = BYTES, .body = body.data, .size = body.size});
    free(body.data);
}

static void change_number(buffer *to, field f)
{
    if (f.wire == FIXED32) {
        f.number = edge_float();
    } else {
        f.number = below(3) > 0 ? edge() : f.number + below(7) - 3;
    }
    put_field(to, &f);
}

static void change(buffer *to, const uint8_t *data, size_t size, int depth);

/* The contents of a field. */
static void change_body(buffer *to, const field *f, int depth)
{
    fields *inside = malloc(sizeof *inside);
    bool message = f->wire == BYTES && depth < MAX_DEPTH && inside != NULL && below(8) > 0 &&
                   read_fields(f->body, f->size, inside);
    free(inside);
    if (message) {
        buffer body = {NULL, 0, 0};
        change(&body, f->body, f->size, depth + 1);
        put_field(to, &(field){.tag = f->tag, .wire = BYTES, .body = body.data, .size = body.size});
        free(body.data);
    } else if (f->wire == BYTES) {
        change_bytes(to, f);
    } else {
        change_number(to, *f);
    }
}

/* What is added: one of the same message, one of another file, or a made up one. */
static field addition(const fields *from)
{
    switch (below(3)) {
    case 0: return from->all[below(from->count)];
    case 1:
        if (donor_count > 0) {
            return donor();
        }
    }
    return (field){.tag = (uint32_t)below(LARGEST_TAG) + 1, .wire = VARINT, .number = edge()};
}

/* Writes the fields with a change of which fields there are. */
static void change_fields(buffer *to, const fields *from, size_t at)
{
    size_t kind = below(5), other = below(from->count);
    field added = addition(from);
    for (size_t i = 0; i < from->count; i++) {
        field f = from->all[i];
        if (kind == 0 && (i == at || i == other)) { /* exchanged */
            f = from->all[i == at ? other : at];
        } else if (kind == 1 && i == at) { /* of another tag */
            f.tag = (uint32_t)below(26) + 1;
        } else if (kind == 2 && i == at) { /* replaced */
            added.tag = below(2) > 0 ? f.tag : added.tag;
            f = added;
        } else if (kind == 3 && i == at) { /* added */
            put_field(to, &added);
        }
        if (kind != 4 || i != at) { /* or taken out */
            put_field(to, &f);
        }
    }
}

/* Large fields are chosen half of the time, as there is more in them. */
static size_t choose(const fields *from)
{
    size_t total = 0, i = 0;
    for (size_t k = 0; k < from->count; k++) {
        total += from->all[k].size + 1;
    }
    if (below(2) == 0) {
        return below(from->count);
    }
    for (size_t rest = below(total); rest > from->all[i].size; i++) {
        rest -= from->all[i].size + 1;
    }
    return i;
}

static void change(buffer *to, const uint8_t *data, size_t size, int depth)
{
    fields *from = malloc(sizeof *from);
    if (from == NULL || !read_fields(data, size, from)) {
        put(to, data, size);
        if (to->size > 0) {
            to->size = LLVMFuzzerMutate(to->data, to->size, to->size);
        }
        free(from);
        return;
    }
    size_t at = choose(from);
    if (below(3) == 0) {
        change_fields(to, from, at);
    } else {
        for (size_t i = 0; i < from->count; i++) {
            if (i == at) {
                change_body(to, &from->all[i], depth);
            } else {
                put_field(to, &from->all[i]);
            }
        }
    }
    free(from);
}

size_t fuzz_wire_mutate(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    state = seed;
    if (below(4) == 0) {
        harvest(data, size, 0);
    }
    for (size_t n = 1 + below(4); n > 0; n--) {
        buffer changed = {NULL, 0, 0};
        change(&changed, data, size, 0);
        if (changed.size <= room && changed.size > 0) {
            memcpy(data, changed.data, changed.size);
            size = changed.size;
        }
        free(changed.data);
    }
    return size;
}

size_t fuzz_model_mutate(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    state = seed;
    if (size < FUZZ_CHOICES || below(16) == 0) {
        return LLVMFuzzerMutate(data, size, room);
    }
    uint8_t choices[FUZZ_CHOICES];
    size_t model = size - FUZZ_CHOICES;
    memcpy(choices, data + model, FUZZ_CHOICES);
    if (below(3) == 0) {
        for (size_t n = 1 + below(4); n > 0; n--) {
            choices[below(FUZZ_CHOICES)] = (uint8_t)below(256);
        }
    } else {
        model = fuzz_wire_mutate(data, model, room - FUZZ_CHOICES, seed + 1);
    }
    memcpy(data + model, choices, FUZZ_CHOICES);
    return model + FUZZ_CHOICES;
}
