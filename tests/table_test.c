/* The table of base/table.h: items are found in order of addition by hashes that have much in
 * common, in a time that grows with their number alone. */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "base/table.h"

enum { COUNT = 300000, SECONDS = 120 };

/* Hashes that agree in all bits but the 24 from `shift` on. */
static uint64_t hash_of(size_t i, int shift)
{
    uint64_t rest = UINT64_C(0x5bd1e9955bd1e995) & ~(UINT64_C(0xffffff) << shift);
    return rest | (uint64_t)i << shift;
}

static void alike(ox_arena *a, int shift)
{
    static int items[COUNT];
    ox_table t = {.arena = a};
    for (size_t i = 0; i < COUNT; i++) {
        ox_table_add(&t, hash_of(i, shift), &items[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        size_t at = OX_TABLE_START;
        assert(ox_table_next(&t, hash_of(i, shift), &at) == &items[i]);
        assert(ox_table_next(&t, hash_of(i, shift), &at) == NULL);
    }
    size_t at = OX_TABLE_START, each = 0;
    assert(ox_table_next(&t, hash_of(COUNT, shift), &at) == NULL);
    for (size_t i = 0; i < COUNT; i++) {
        assert(ox_table_each(&t, &each) == &items[i]);
    }
    assert(ox_table_each(&t, &each) == NULL);
}

/* Several items of one hash, among others. */
static void same(ox_arena *a)
{
    static int items[100];
    ox_table t = {.arena = a};
    for (size_t i = 0; i < 100; i++) {
        ox_table_add(&t, i % 3, &items[i]);
    }
    for (size_t k = 0; k < 3; k++) {
        size_t at = OX_TABLE_START;
        for (size_t i = k; i < 100; i += 3) {
            assert(ox_table_next(&t, k, &at) == &items[i]);
        }
        assert(ox_table_next(&t, k, &at) == NULL);
    }
}

static void names(ox_arena *a)
{
    ox_table t = {.arena = a};
    ox_index_add(&t, "first", 1);
    ox_index_add(&t, "second", 2);
    ox_index_add(&t, "first", 3);
    assert(ox_index_find(&t, "first") == 1 && ox_index_find(&t, "second") == 2);
    assert(ox_index_find(&t, "") == SIZE_MAX);
    assert(ox_hash_string("ab") == ox_hash(0, "ab", 2));
    assert(ox_hash_string("ab") != ox_hash(0, "ab", 3));
    assert(ox_checksum(OX_CHECKSUM_START, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
}

/* Every byte counts, wherever the bytes lie, and how many there are. */
static void large(void)
{
    enum { MOST = 100 };
    unsigned char bytes[MOST + 1] = {0};
    for (size_t size = 0; size < MOST; size++) {
        uint64_t hash = ox_hash_large(1, bytes, size);
        assert(ox_hash_large(1, bytes + 1, size) == hash);
        assert(ox_hash_large(2, bytes, size) != hash);
        assert(ox_hash_large(1, bytes, size + 1) != hash);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = 1;
            assert(ox_hash_large(1, bytes, size) != hash);
            bytes[i] = 0;
        }
    }
}

static void all(void *user)
{
    ox_arena *a = user;
    for (int shift = 0; shift <= 40; shift += 20) {
        alike(a, shift);
    }
    same(a);
    names(a);
    large();
}

int main(void)
{
    ox_error err;
    ox_arena *a = ox_arena_new();
    assert(a != NULL);
    alarm(SECONDS); /* chains would take hours */
    if (!ox_arena_try(a, all, a, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    ox_arena_free(a);
    return 0;
}
