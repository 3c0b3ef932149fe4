/* What is made of a model, counted in one place: bytes that its arena gives out, nodes that calls,
 * loops and recurrent layers are written out as, elements that are gone through one by one. A few
 * bytes of a model file can ask for any number of these; what they may get is linear in the size of
 * the file.
 *
 * The budget belongs to an arena and follows from one number, the limit in bytes. Whoever exceeds
 * it gives up as ox_fail does, with code OX_LIMIT and the node at work. */
#ifndef OX_BUDGET_H
#define OX_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct ox_arena;

typedef enum ox_cost { OX_COST_BYTES, OX_COST_NODES, OX_COST_ELEMENTS, OX_COSTS } ox_cost;

typedef struct ox_budget {
    uint64_t limit;   /* bytes; 0: none */
    uint64_t brought; /* bytes that may be taken besides, for what the caller has in memory, too */
    uint64_t spent[OX_COSTS];
    bool exceeded;                          /* by the last allocation */
    const char *(*label)(const void *what); /* of what is at work, for messages */
    const void *what;
} ox_budget;

/* Where users give no limit. */
#define OX_BUDGET_LIMIT (UINT64_C(1) << 30)

/* Sets the limit; 0: stays as it is, or becomes the usual one. */
void ox_budget_limit(struct ox_arena *a, uint64_t limit);

/* Goes on from where another arena stands: what is made of one model is counted as one.
 * Nothing where a limit is set already. */
void ox_budget_continue(struct ox_arena *a, const struct ox_arena *from);

/* Adds what was brought and spent elsewhere: several models become one. */
void ox_budget_join(struct ox_arena *a, const struct ox_arena *from);

/* Adds what was brought: a file of `bytes` may take 16 times as many, its nodes and integers are
 * larger in memory. */
void ox_budget_bring(struct ox_arena *a, uint64_t bytes);

/* Counts, and gives up beyond the limit. */
void ox_budget_spend(struct ox_arena *a, ox_cost cost, uint64_t count);

/* Counts bytes; false, and counts nothing, where they are too many. */
bool ox_budget_take(ox_budget *b, uint64_t bytes);

/* The number of nodes that may still be made. */
uint64_t ox_budget_nodes(const struct ox_arena *a);

/* Says what is at work, for messages; NULL: nothing that has a name. */
void ox_budget_at(struct ox_arena *a, const char *(*label)(const void *what), const void *what);

/* The same for a text. */
void ox_budget_at_text(struct ox_arena *a, const char *text);

/* Gives up with the message that the limit is exceeded. */
_Noreturn void ox_budget_fail(struct ox_arena *a, ox_cost cost);

#endif
