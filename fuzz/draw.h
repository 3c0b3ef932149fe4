/* What a fuzz target chooses: numbers and texts drawn from bytes, one after the other, 0 where
 * there are no more. Files of models end with such bytes, so that a file says all that is done with
 * it. */
#ifndef FUZZ_DRAW_H
#define FUZZ_DRAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of choices behind a model. */
enum { FUZZ_CHOICES = 48 };

typedef struct fuzz_draws {
    const uint8_t *bytes;
    size_t left;
} fuzz_draws;

static inline uint8_t fuzz_byte(fuzz_draws *d)
{
    if (d->left == 0) {
        return 0;
    }
    d->left--;
    return *d->bytes++;
}

/* Below `limit`, at most 256. */
static inline size_t fuzz_below(fuzz_draws *d, size_t limit)
{
    return limit == 0 ? 0 : fuzz_byte(d) % limit;
}

/* True one time in `of`; false for the byte 0. */
static inline bool fuzz_chance(fuzz_draws *d, size_t of)
{
    return fuzz_below(d, of) == of - 1;
}

static inline int64_t fuzz_int64(fuzz_draws *d)
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++) {
        number = number << 8 | fuzz_byte(d);
    }
    return (int64_t)number;
}

#define FUZZ_ONE_OF(d, ...)                                                                        \
    ((const char *const[]){__VA_ARGS__})[fuzz_below(                                               \
        d, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))]

#endif
