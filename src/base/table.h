/* A table in an arena: from a hash to the items that have it. The caller compares. */
#ifndef OX_TABLE_H
#define OX_TABLE_H

#include "base/arena.h"

typedef struct ox_table {
    ox_arena *arena;
    struct ox_item *items; /* in order of addition */
    struct ox_fork *forks; /* the first one is the root */
    size_t count, fork_count;
} ox_table;

/* Adds an item, which must not be NULL. Equal hashes may be added any number of times. */
void ox_table_add(ox_table *t, uint64_t hash, void *item);

/* The next item of this hash after *at, in order of addition; *at starts at OX_TABLE_START. NULL
 * when there is none left. */
void *ox_table_next(const ox_table *t, uint64_t hash, size_t *at);

/* The next item of all, in order of addition; *at starts at 0. */
void *ox_table_each(const ox_table *t, size_t *at);

#define OX_TABLE_START SIZE_MAX

/* A table as index of an array by name: the position that was entered first under `name`, which
 * is kept; SIZE_MAX where there is none. */
void ox_index_add(ox_table *t, const char *name, size_t position);
size_t ox_index_find(const ox_table *t, const char *name);

/* Hash of `size` bytes for tables, continuing from `hash`, which starts at 0. Names come from
 * files, so that it is one of which nobody finds many with the same value. */
uint64_t ox_hash(uint64_t hash, const void *data, size_t size);

/* Another one, of many bytes, in a third of the time. */
uint64_t ox_hash_large(uint64_t hash, const void *data, size_t size);
uint64_t ox_hash_string(const char *text);

/* Checksum of `size` bytes, continuing from `sum`: FNV-1a, which metadata and names of files hold.
 */
uint64_t ox_checksum(uint64_t sum, const void *data, size_t size);

#define OX_CHECKSUM_START UINT64_C(14695981039346656037)

#endif
