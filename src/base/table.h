/* A hash table in an arena: from a hash to the items that have it. The caller compares. */
#ifndef OX_TABLE_H
#define OX_TABLE_H

#include "base/arena.h"

typedef struct ox_table {
    ox_arena *arena;
    struct ox_slot *slots;
    size_t room, used;
} ox_table;

/* Adds an item, which must not be NULL. Equal hashes may be added any number of times. */
void ox_table_add(ox_table *t, uint64_t hash, void *item);

/* The next item of this hash after *at, in order of addition; *at starts at OX_TABLE_START. NULL
 * when there is none left. */
void *ox_table_next(const ox_table *t, uint64_t hash, size_t *at);

/* The next item of all, in no order that means anything; *at starts at 0. */
void *ox_table_each(const ox_table *t, size_t *at);

#define OX_TABLE_START SIZE_MAX

/* A table as index of an array by name: the position that was entered first under `name`, which
 * is kept; SIZE_MAX where there is none. */
void ox_index_add(ox_table *t, const char *name, size_t position);
size_t ox_index_find(const ox_table *t, const char *name);

/* Hash of `size` bytes, continuing from `hash`, which starts at OX_HASH_START. */
uint64_t ox_hash(uint64_t hash, const void *data, size_t size);
uint64_t ox_hash_string(const char *text);

#define OX_HASH_START UINT64_C(14695981039346656037)

#endif
