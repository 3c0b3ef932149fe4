/* The functions of our own domain by name. */
#include "base/ours.h"

#include <string.h>

static const ox_ours rows[] = {
#define KERNEL_FLOW(id, name, y, count, finite, ...)                                               \
    {name "Flow", OX_OURS_ELEMENTS, finite}, {name "SumFlow", OX_OURS_ELEMENTS, finite},
#define PLAIN_FLOW KERNEL_FLOW
#include "base/flows.inc"
#define UNIT(id, name, y, count)                                                                   \
    {name "Unit", OX_OURS_UNIT, true}, {name "SumUnit", OX_OURS_UNIT, true},
    OX_UNITS(UNIT) OX_PLAIN_UNITS(UNIT)
#define AXIS_FLOW(id, name) {name "Flow", OX_OURS_ROWS, false},
        OX_AXIS_FLOWS(AXIS_FLOW) OX_NORM_FLOWS(AXIS_FLOW)
#define OTHER(name, inputs, kind) {name, kind, false},
            OX_OTHER_FUNCTIONS(OTHER)};

/* Of the function of a name with this ending. */
static const ox_ours *find(const char *function, const char *ending)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t length = strlen(rows[i].name);
        bool more = rows[i].kind == OX_OURS_PHASES || rows[i].kind == OX_OURS_ATTENTION ||
                    rows[i].kind == OX_OURS_OPAQUE;
        if (strncmp(function, rows[i].name, length) == 0 &&
            (more || strcmp(function + length, ending) == 0)) {
            return &rows[i];
        }
    }
    return NULL;
}

const ox_ours *ox_ours_find(const char *function)
{
    return find(function, "");
}

const ox_ours *ox_ours_find_any(const char *function)
{
    const ox_ours *single = find(function, "");
    return single == NULL ? find(function, "Double") : single;
}
