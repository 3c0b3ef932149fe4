/* The table of schemas, sorted by operator, domain and version, and finding a row in it. */
#include "model/schema.h"

#include <string.h>

#include "schema_table.h"

enum { SCHEMA_COUNT = sizeof schemas / sizeof schemas[0] };

static int compare(const char *domain, const char *op, int64_t version, const ox_schema *row)
{
    int order = strcmp(op, row->op);
    order = order != 0 ? order : strcmp(domain, row->domain);
    return order != 0 ? order : version < row->since ? -1 : version > row->since;
}

static bool is_of(const ox_schema *row, const char *domain, const char *op)
{
    return strcmp(op, row->op) == 0 && strcmp(domain, row->domain) == 0;
}

const ox_schema *ox_schema_find(const char *domain, const char *op, int64_t version, int64_t *first)
{
    size_t low = 0, high = SCHEMA_COUNT; /* the first row after what is looked for */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(domain, op, version, &schemas[middle]) < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if (low > 0 && is_of(&schemas[low - 1], domain, op)) {
        return &schemas[low - 1];
    }
    *first = low < SCHEMA_COUNT && is_of(&schemas[low], domain, op) ? schemas[low].since : 0;
    return NULL;
}

int64_t ox_schema_newest(void)
{
    return NEWEST_OPSET;
}

bool ox_schema_needs(const ox_schema_side *side, size_t i)
{
    return i >= side->fixed || (side->needed >> i & 1) != 0;
}
