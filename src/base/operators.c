/* The table of operators by name. */
#include "base/operators.h"

#include <string.h>

static const struct {
    const char *domain, *op;
} names[] = {
#define OP(domain, op, ...) {domain, op},
#define LIFTED(op, shape) {"", op},
#include "base/operators.inc"
};

int ox_operator_find(const char *domain, const char *op)
{
    int low = 0, high = OX_OPERATORS;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = strcmp(op, names[middle].op);
        order = order != 0 ? order : strcmp(domain, names[middle].domain);
        if (order == 0) {
            return middle;
        }
        low = order < 0 ? low : middle + 1;
        high = order < 0 ? middle : high;
    }
    return -1;
}
