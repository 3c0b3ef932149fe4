/* Rows of any length, a vector at a time. */
#ifndef OPS_VEC_ROW_H
#define OPS_VEC_ROW_H

#include "vec.h"

/* Sums of many are taken in short stretches. */
#define STRETCH ((size_t)64 * VEC_WIDTH)

/* Numbers [i, i + VEC_WIDTH) of `count`, zeros after the last. */
static inline vec load(const float *p, size_t i, size_t count)
{
    return i + VEC_WIDTH <= count ? vec_load(p + i) : vec_load_part(p + i, count - i);
}

static inline void store(float *p, size_t i, size_t count, vec a)
{
    if (i + VEC_WIDTH <= count) {
        vec_store(p + i, a);
    } else {
        vec_store_part(p + i, a, count - i);
    }
}

#endif
