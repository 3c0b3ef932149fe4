/* What rules/slopes.inc and units.inc work on, of numbers `num`, which the includer defines. */
#ifndef OPS_NUM_PAIR_H
#define OPS_NUM_PAIR_H

typedef struct pair {
    num x, x0, y, y0, a, b;
} pair;

typedef struct unit {
    num a, dy, inverse;
} unit;

typedef struct flows {
    num m, q;
} flows;

#define SLOPE(id) static inline num slope_##id(const pair *p)
#define UNIT(id) static inline unit unit_##id(const pair *p, num v)

#endif
