/* The table of operators, and finding a row in it. */
#include <string.h>

#include "lift/lift.h"
#include "rules/decompose.h"
#include "rules/move.h"
#include "rules/product.h"

void flow_none(ox_ctx *c)
{
    (void)c;
}

static const ox_row rows[] = {
#define RULE(op, rule, formula) {op, OX_DIFFERENTIATED, rule, NULL, formula, NULL},
#define IN_DOMAIN(domain, op, rule, formula) {op, OX_DIFFERENTIATED, rule, NULL, formula, domain},
#define UNARY(op, formula) {op, OX_DIFFERENTIATED, flow_unary, NULL, formula, NULL},
#define MADE_OF(op, decompose, formula) {op, OX_DECOMPOSED, NULL, decompose, formula, NULL},
#define MADE_OF_IN(domain, op, decompose, formula)                                                 \
    {op, OX_DECOMPOSED, NULL, decompose, formula, domain},
#define EITHER(op, decompose, rule, formula)                                                       \
    {op, OX_DIFFERENTIATED, rule, decompose, formula, NULL},
#define EITHER_IN(domain, op, decompose, rule, formula)                                            \
    {op, OX_DIFFERENTIATED, rule, decompose, formula, domain},
#define NOTHING(op, why) {op, OX_CARRIES_NOTHING, flow_none, NULL, why, NULL},
#define NOTHING_BUT(op, decompose, why) {op, OX_CARRIES_NOTHING, flow_none, decompose, why, NULL},
#define NOTHING_IN(domain, op, why) {op, OX_CARRIES_NOTHING, flow_none, NULL, why, domain},
#define REFUSED(op, why) {op, OX_NO_RULE, flow_none, NULL, why, NULL},
#define REFUSED_IN(domain, op, why) {op, OX_NO_RULE, flow_none, NULL, why, domain},
#include "rules/table.h"
#undef RULE
#undef IN_DOMAIN
#undef UNARY
#undef MADE_OF
#undef MADE_OF_IN
#undef EITHER
#undef EITHER_IN
#undef NOTHING
#undef NOTHING_BUT
#undef NOTHING_IN
#undef REFUSED
#undef REFUSED_IN
};

/* The same rows for users of the library. */
static const ox_rule_info infos[] = {
#define RULE(op, rule, formula) {"", op, OX_DIFFERENTIATED, formula},
#define IN_DOMAIN(domain, op, rule, formula) {domain, op, OX_DIFFERENTIATED, formula},
#define UNARY(op, formula) {"", op, OX_DIFFERENTIATED, formula},
#define MADE_OF(op, decompose, formula) {"", op, OX_DECOMPOSED, formula},
#define MADE_OF_IN(domain, op, decompose, formula) {domain, op, OX_DECOMPOSED, formula},
#define EITHER(op, decompose, rule, formula) {"", op, OX_DIFFERENTIATED, formula},
#define EITHER_IN(domain, op, decompose, rule, formula) {domain, op, OX_DIFFERENTIATED, formula},
#define NOTHING(op, why) {"", op, OX_CARRIES_NOTHING, why},
#define NOTHING_BUT(op, decompose, why) {"", op, OX_CARRIES_NOTHING, why},
#define NOTHING_IN(domain, op, why) {domain, op, OX_CARRIES_NOTHING, why},
#define REFUSED(op, why) {"", op, OX_NO_RULE, why},
#define REFUSED_IN(domain, op, why) {domain, op, OX_NO_RULE, why},
#include "rules/table.h"
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

static int compare(const char *domain, const char *op, const ox_row *row)
{
    int order = strcmp(op, row->op);
    return order != 0 ? order : strcmp(domain, row->domain == NULL ? "" : row->domain);
}

const ox_row *ox_rule_find(const char *domain, const char *op)
{
    size_t low = 0, high = ROW_COUNT;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(domain, op, &rows[middle]);
        if (order == 0) {
            return &rows[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

const ox_rule_info *ox_rules(size_t *count)
{
    if (count != NULL) {
        *count = ROW_COUNT;
    }
    return infos;
}
