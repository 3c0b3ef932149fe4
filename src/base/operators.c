/* The table of operators by name. */
#include "base/operators.h"

#include <string.h>

enum {
#define TRAIT(name) name = OX_##name
    TRAIT(NO_TRAIT),
    TRAIT(KEEPS_ELEMENTS),
    TRAIT(OF_FIRST),
    TRAIT(OF_SHAPE),
    TRAIT(ALONG_AXIS),
    TRAIT(IN_WINDOWS),
    TRAIT(IN_STEPS),
    TRAIT(NOT_NEGATIVE),
    TRAIT(OVERFLOWS),
    TRAIT(PARTIAL),
    TRAIT(RANDOM),
    TRAIT(SIZES),
#undef TRAIT
};

#define SECOND(first, second, ...) second

static const struct {
    const char *domain, *op;
    unsigned traits;
} names[] = {
#define OP(domain, op, shape, how, layout, ...) {domain, op, SECOND(__VA_ARGS__, 0, 0)},
#define LIFTED(op, shape) {"", op, 0},
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

bool ox_operator_has(const char *domain, const char *op, unsigned traits)
{
    int row = ox_operator_find(domain, op);
    return row >= 0 && (names[row].traits & traits) != 0;
}
