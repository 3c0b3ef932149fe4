/* Numbers that are drawn by a seed, the same everywhere. */
#ifndef OX_RANDOM_H
#define OX_RANDOM_H

#include <stdint.h>

typedef struct ox_random {
    uint64_t state;
} ox_random;

/* Begins a sequence of its own for each `stream` of a seed. */
ox_random ox_random_begin(int64_t seed, uint64_t stream);

/* 64 bits. */
uint64_t ox_random_bits(ox_random *r);

/* In [0, 1). */
double ox_random_unit(ox_random *r);

/* In [0, count), count > 0. */
int64_t ox_random_below(ox_random *r, int64_t count);

/* Of the standard normal distribution. */
double ox_random_normal(ox_random *r);

/* Puts `count` numbers into random order. */
void ox_random_shuffle(ox_random *r, int64_t *numbers, int64_t count);

#endif
