/* Columns of a tree's input that are one category, taken together to a code. */
#ifndef OX_RULES_TREES_CODES_H
#define OX_RULES_TREES_CODES_H

#include "rules/trees.h"

typedef struct ox_codes {
    int64_t features;     /* columns of the input; codes are features behind them */
    size_t count;         /* of codes */
    int64_t *sizes;       /* columns of each */
    int64_t *of, *number; /* of each column: its code, -1: none, and which it is there, from 1 */
    size_t column_count;  /* that have a code */
    int64_t *columns;
} ox_codes;

/* Looks where the columns of v come from. */
ox_codes ox_codes_find(ox_val v, int64_t features);

/* x [.., features] with its codes behind it. */
ox_val ox_codes_append(const ox_codes *c, ox_val x);

/* Leaves by codes, without those that no category leads to. */
void ox_codes_boxes(const ox_codes *c, ox_arena *a, ox_boxes *boxes);

/* phi of features and codes [.., features + codes] as that of features: d is their change. */
ox_val ox_codes_share(const ox_codes *c, ox_val phi, ox_val d);

#endif
