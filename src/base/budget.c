/* Counting what is made of a model. */
#include "base/budget.h"

#include <inttypes.h>

#include "base/arena.h"

/* Bytes of the limit for each of a kind. A node takes some KB by the time it is explained. */
static const uint64_t bytes_for[OX_COSTS] = {
    [OX_COST_BYTES] = 1,
    [OX_COST_NODES] = 4096,
    [OX_COST_ELEMENTS] = 8,
};

enum { BYTES_PER_BYTE = 16 };

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t most(const ox_budget *b, ox_cost cost)
{
    return cost == OX_COST_BYTES ? plus(b->limit, b->brought) : b->limit / bytes_for[cost];
}

void ox_budget_limit(ox_arena *a, uint64_t limit)
{
    ox_budget *b = ox_arena_budget(a);
    b->limit = limit != 0 ? limit : b->limit != 0 ? b->limit : OX_BUDGET_LIMIT;
}

void ox_budget_continue(ox_arena *a, const ox_arena *from)
{
    const ox_budget *before = ox_arena_budget((ox_arena *)(uintptr_t)from);
    ox_budget *b = ox_arena_budget(a);
    uint64_t own = b->spent[OX_COST_BYTES];
    if (b->limit != 0) {
        return;
    }
    *b = *before;
    b->spent[OX_COST_BYTES] = plus(before->spent[OX_COST_BYTES], own);
    b->what = NULL;
}

void ox_budget_join(ox_arena *a, const ox_arena *from)
{
    const ox_budget *other = ox_arena_budget((ox_arena *)(uintptr_t)from);
    ox_budget *b = ox_arena_budget(a);
    b->limit = other->limit > b->limit ? other->limit : b->limit;
    b->brought = plus(b->brought, other->brought);
    for (int i = 0; i < OX_COSTS; i++) {
        b->spent[i] = plus(b->spent[i], other->spent[i]);
    }
}

void ox_budget_bring(ox_arena *a, uint64_t bytes)
{
    ox_budget *b = ox_arena_budget(a);
    b->brought =
        bytes > UINT64_MAX / BYTES_PER_BYTE ? UINT64_MAX : plus(b->brought, bytes * BYTES_PER_BYTE);
}

bool ox_budget_take(ox_budget *b, uint64_t bytes)
{
    uint64_t sum = plus(b->spent[OX_COST_BYTES], bytes);
    b->exceeded = b->limit != 0 && sum > most(b, OX_COST_BYTES);
    b->spent[OX_COST_BYTES] = b->exceeded ? b->spent[OX_COST_BYTES] : sum;
    return !b->exceeded;
}

void ox_budget_spend(ox_arena *a, ox_cost cost, uint64_t count)
{
    ox_budget *b = ox_arena_budget(a);
    uint64_t sum = plus(b->spent[cost], count);
    if (b->limit != 0 && sum > most(b, cost)) {
        ox_budget_fail(a, cost);
    }
    b->spent[cost] = sum;
}

uint64_t ox_budget_nodes(const ox_arena *a)
{
    const ox_budget *b = ox_arena_budget((ox_arena *)(uintptr_t)a);
    uint64_t all = most(b, OX_COST_NODES), spent = b->spent[OX_COST_NODES];
    return b->limit == 0 ? UINT64_MAX : all > spent ? all - spent : 0;
}

void ox_budget_at(ox_arena *a, const char *(*label)(const void *what), const void *what)
{
    ox_budget *b = ox_arena_budget(a);
    b->label = label;
    b->what = what;
}

static const char *itself(const void *what)
{
    return what;
}

void ox_budget_at_text(ox_arena *a, const char *text)
{
    ox_budget_at(a, itself, text);
}

/* "1G", "1536M": what the command line takes. */
static const char *size_text(ox_arena *a, uint64_t bytes)
{
    static const char *const units[] = {"", "K", "M", "G", "T"};
    size_t unit = 0;
    while (unit < 4 && bytes % 1024 == 0 && bytes > 0) {
        bytes /= 1024;
        unit++;
    }
    return ox_arena_format(a, "%" PRIu64 "%s", bytes, units[unit]);
}

void ox_budget_fail(ox_arena *a, ox_cost cost)
{
    static const char *const names[OX_COSTS] = {"bytes", "nodes", "elements"};
    ox_budget *b = ox_arena_budget(a);
    const uint64_t limit = b->limit;
    b->limit = 0; /* the message takes memory, too */
    const char *label = b->what == NULL ? "" : b->label(b->what);
    const char *colon = b->what == NULL ? "" : ": ";
    const char *now = size_text(a, limit);
    const char *more = size_text(a, limit > UINT64_MAX / 2 ? UINT64_MAX : 2 * limit);
    b->limit = limit;
    ox_fail(a, OX_LIMIT,
            "%s%sthe model makes more than %" PRIu64 " %s, limit is %s: --limit=%s allows more",
            label, colon, most(b, cost), names[cost], now, more);
}
