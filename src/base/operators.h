/* The table of operators, base/operators.inc, by number. */
#ifndef OX_OPERATORS_H
#define OX_OPERATORS_H

/* How many there are. */
enum {
    OX_OPERATORS = 0
#define OP(...) +1
#define LIFTED(...) +1
#include "base/operators.inc"
};

/* The number of its row; -1 where it has none. */
int ox_operator_find(const char *domain, const char *op);

#endif
