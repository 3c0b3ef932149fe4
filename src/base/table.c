/* The table: a tree of 16 branches a fork, by four bits of the hash a level. A name takes 16 steps
 * at most, whatever hashes have in common, where chains of a hash table would grow with the file.
 */
#include "base/table.h"

#include <string.h>

enum { BITS = 4, BRANCHES = 1 << BITS, LEVELS = 64 / BITS };

static const uint32_t MOST = UINT32_C(1) << 31; /* items, or forks */

typedef struct ox_item {
    void *item;
    uint64_t hash;
    uint32_t next, last; /* of the same hash, counted from 1, 0: none; `last` of the first one */
} ox_item;

/* What a branch leads to: 0 for nothing, twice the number of a fork, or twice that of an item and
 * one, both counted from 1. */
typedef struct ox_fork {
    uint32_t branches[BRANCHES];
} ox_fork;

static size_t branch_of(uint64_t hash, int level)
{
    return (size_t)(hash >> (BITS * level)) & (BRANCHES - 1);
}

static ox_fork *fork_at(const ox_table *t, uint32_t link)
{
    return &t->forks[link / 2 - 1];
}

static ox_item *item_at(const ox_table *t, uint32_t link)
{
    return &t->items[link / 2 - 1];
}

static uint32_t new_fork(ox_table *t)
{
    if (t->fork_count + 1 >= MOST) {
        ox_fail(t->arena, OX_LIMIT, "too many names");
    }
    t->forks = ox_arena_grow(t->arena, t->forks, t->fork_count, sizeof *t->forks);
    t->forks[t->fork_count++] = (ox_fork){.branches = {0}};
    return 2 * (uint32_t)t->fork_count;
}

static uint32_t new_item(ox_table *t, uint64_t hash, void *item)
{
    if (t->count + 1 >= MOST) {
        ox_fail(t->arena, OX_LIMIT, "too many names");
    }
    t->items = ox_arena_grow(t->arena, t->items, t->count, sizeof *t->items);
    t->items[t->count++] = (ox_item){.item = item, .hash = hash};
    return 2 * (uint32_t)t->count + 1;
}

/* Behind the others of its hash. */
static void chain(ox_table *t, uint32_t first, uint32_t link)
{
    ox_item *head = item_at(t, first);
    uint32_t last = head->last != 0 ? head->last : first;
    item_at(t, last)->next = link;
    head->last = link;
}

void ox_table_add(ox_table *t, uint64_t hash, void *item)
{
    uint32_t added = new_item(t, hash, item), fork = t->fork_count == 0 ? new_fork(t) : 2;
    for (int level = 0; level < LEVELS; level++) {
        uint32_t *branch = &fork_at(t, fork)->branches[branch_of(hash, level)], found = *branch;
        if (found == 0) {
            *branch = added;
            return;
        }
        if (found % 2 == 1 && item_at(t, found)->hash == hash) {
            chain(t, found, added);
            return;
        }
        if (found % 2 == 1) { /* two hashes that part further on */
            uint32_t inner = new_fork(t);
            fork_at(t, inner)->branches[branch_of(item_at(t, found)->hash, level + 1)] = found;
            fork_at(t, fork)->branches[branch_of(hash, level)] = inner;
            found = inner;
        }
        fork = found;
    }
}

static uint32_t first_of(const ox_table *t, uint64_t hash)
{
    uint32_t link = t->fork_count == 0 ? 0 : 2;
    for (int level = 0; link != 0 && link % 2 == 0; level++) {
        link = fork_at(t, link)->branches[branch_of(hash, level)];
    }
    return link != 0 && item_at(t, link)->hash == hash ? link : 0;
}

void *ox_table_next(const ox_table *t, uint64_t hash, size_t *at)
{
    uint32_t link = *at == OX_TABLE_START ? first_of(t, hash) : t->items[*at].next;
    if (link == 0) {
        return NULL;
    }
    *at = link / 2 - 1;
    return t->items[*at].item;
}

void *ox_table_each(const ox_table *t, size_t *at)
{
    return *at < t->count ? t->items[(*at)++].item : NULL;
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

/* ---- hashes ----------------------------------------------------------------------------- */

/* SipHash-1-3. Its key needs not be secret: some bits of many names can be made the same, which the
 * tree does not mind, but not all 64. */
typedef struct state {
    uint64_t v[4];
} state;

static uint64_t turn(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void mix(state *s)
{
    uint64_t *v = s->v;
    v[0] += v[1];
    v[1] = turn(v[1], 13) ^ v[0];
    v[0] = turn(v[0], 32);
    v[2] += v[3];
    v[3] = turn(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = turn(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = turn(v[1], 17) ^ v[2];
    v[2] = turn(v[2], 32);
}

static void absorb(state *s, uint64_t word)
{
    s->v[3] ^= word;
    mix(s);
    s->v[0] ^= word;
}

static state begin(uint64_t hash)
{
    state s = {{UINT64_C(0x736f6d6570736575), UINT64_C(0x646f72616e646f6d),
                UINT64_C(0x6c7967656e657261), UINT64_C(0x7465646279746573)}};
    absorb(&s, hash);
    return s;
}

static uint64_t end(state *s)
{
    s->v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) {
        mix(s);
    }
    return s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
}

uint64_t ox_hash(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *p = data;
    state s = begin(hash);
    uint64_t word;
    size_t rest = size;
    for (; rest >= sizeof word; rest -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        absorb(&s, word);
    }
    word = (uint64_t)size << 56;
    for (size_t i = 0; i < rest; i++) {
        word |= (uint64_t)p[i] << (8 * i);
    }
    absorb(&s, word);
    return end(&s);
}

uint64_t ox_hash_large(uint64_t hash, const void *data, size_t size)
{
    enum { LANES = 4 };
    const unsigned char *p = data;
    uint64_t word, ends[LANES + 1] = {size};
    size_t each = size / LANES / sizeof word * sizeof word;
    state s[LANES];
    for (int i = 0; i < LANES; i++) {
        s[i] = begin(hash);
    }
    for (size_t at = 0; at < each; at += sizeof word) {
        for (size_t i = 0; i < LANES; i++) {
            memcpy(&word, p + i * each + at, sizeof word);
            absorb(&s[i], word);
        }
    }
    for (int i = 0; i < LANES; i++) {
        ends[i + 1] = end(&s[i]);
    }
    return ox_hash(ox_hash(hash, ends, sizeof ends), p + LANES * each, size - LANES * each);
}

uint64_t ox_hash_string(const char *text)
{
    return ox_hash(0, text, strlen(text));
}

uint64_t ox_checksum(uint64_t sum, const void *data, size_t size)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < size; i++) {
        sum = (sum ^ p[i]) * UINT64_C(1099511628211); /* FNV-1a */
    }
    return sum;
}
