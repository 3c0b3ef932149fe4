/* Reading a target's text. */
#ifndef OX_EXPLAIN_PLACES_H
#define OX_EXPLAIN_PLACES_H

#include "base/arena.h"

/* What places are looked for in: the target's text, and the output without its batch axis. */
typedef struct ox_place_reader {
    ox_arena *arena;
    const char *target, *output;
    const int64_t *dims;
    int rank;
    int64_t total;
} ox_place_reader;

_Noreturn void ox_place_refuse(const ox_place_reader *r, const char *why);

/* A number; *text is moved behind it. */
int64_t ox_place_number(const ox_place_reader *r, const char **text);

/* Whether an index is `top`, as in "3:top" or "top:0:2". */
bool ox_place_has_top(const char *text);

/* The flat indices of one slice, "i:top:k": how many there are, in `flat`, which has room for all.
 */
size_t ox_place_slice(const ox_place_reader *r, const char **text, int64_t *flat);

/* Reads places, sums, differences and lists of an output of `dims` (without its batch axis): the
 * flat indices [K], -1 for sums, and rows [K, D] of what each is made of. Returns K; gives up where
 * the text is no target. */
size_t ox_target_places(ox_arena *a, const char *text, const char *output, int rank,
                        const int64_t *dims, int64_t **indices, double **rows);

#endif
