/* The hash table: open addressing, linear probing, never more than half full. */
#include "base/table.h"

#include <string.h>

typedef struct ox_slot {
    uint64_t hash;
    void *item; /* NULL: free */
} ox_slot;

static void insert(ox_table *t, ox_slot s)
{
    size_t i = (size_t)s.hash & (t->room - 1);
    while (t->slots[i].item != NULL) {
        i = (i + 1) & (t->room - 1);
    }
    t->slots[i] = s;
    t->used++;
}

void ox_table_add(ox_table *t, uint64_t hash, void *item)
{
    if (t->used * 2 >= t->room) {
        ox_table larger = {.arena = t->arena, .room = t->room == 0 ? 64 : 2 * t->room};
        larger.slots = ox_arena_alloc(t->arena, larger.room, sizeof *larger.slots);
        for (size_t i = 0; i < t->room; i++) {
            if (t->slots[i].item != NULL) {
                insert(&larger, t->slots[i]);
            }
        }
        *t = larger;
    }
    insert(t, (ox_slot){.hash = hash, .item = item});
}

void *ox_table_next(const ox_table *t, uint64_t hash, size_t *at)
{
    if (t->room == 0) {
        return NULL;
    }
    size_t mask = t->room - 1;
    size_t i = *at == OX_TABLE_START ? (size_t)hash & mask : (*at + 1) & mask;
    while (t->slots[i].item != NULL && t->slots[i].hash != hash) {
        i = (i + 1) & mask;
    }
    *at = i;
    return t->slots[i].item;
}

void *ox_table_each(const ox_table *t, size_t *at)
{
    while (*at < t->room && t->slots[*at].item == NULL) {
        ++*at;
    }
    return *at < t->room ? t->slots[(*at)++].item : NULL;
}

typedef struct entry {
    const char *name;
    size_t position;
} entry;

void ox_index_add(ox_table *t, const char *name, size_t position)
{
    if (ox_index_find(t, name) == SIZE_MAX) {
        entry *e = ox_arena_alloc(t->arena, 1, sizeof *e);
        *e = (entry){name, position};
        ox_table_add(t, ox_hash_string(name), e);
    }
}

size_t ox_index_find(const ox_table *t, const char *name)
{
    uint64_t hash = ox_hash_string(name);
    size_t at = OX_TABLE_START;
    for (const entry *e; (e = ox_table_next(t, hash, &at)) != NULL;) {
        if (strcmp(e->name, name) == 0) {
            return e->position;
        }
    }
    return SIZE_MAX;
}

uint64_t ox_hash(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ p[i]) * UINT64_C(1099511628211); /* FNV-1a */
    }
    return hash;
}

uint64_t ox_hash_string(const char *text)
{
    return ox_hash(OX_HASH_START, text, strlen(text));
}
