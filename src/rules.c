/* The table of operators, and finding a row in it. */
#include <string.h>

#include "rules_made.h"
#include "rules_move.h"
#include "rules_norm.h"
#include "rules_product.h"

void flow_none(ox_ctx *c)
{
    (void)c;
}

static const ox_row rows[] = {
#define RULE(op, rule, formula) {op, OX_DIFFERENTIATED, rule, NULL, NULL, formula, NULL},
#define IN_DOMAIN(domain, op, rule, formula)                                                       \
    {op, OX_DIFFERENTIATED, rule, NULL, NULL, formula, domain},
#define UNARY(op, formula) {op, OX_DIFFERENTIATED, flow_unary, NULL, NULL, formula, NULL},
#define MADE_OF(op, decompose, formula) {op, OX_DECOMPOSED, NULL, NULL, decompose, formula, NULL},
#define MADE_OF_IN(domain, op, decompose, formula)                                                 \
    {op, OX_DECOMPOSED, NULL, NULL, decompose, formula, domain},
#define EITHER(op, decompose, rule, formula)                                                       \
    {op, OX_DIFFERENTIATED, rule, NULL, decompose, formula, NULL},
#define NOTHING(op, why) {op, OX_CARRIES_NOTHING, flow_none, NULL, NULL, why, NULL},
#define NOTHING_IN(domain, op, why) {op, OX_CARRIES_NOTHING, flow_none, NULL, NULL, why, domain},
#define REFUSED(op, why) {op, OX_NO_RULE, flow_none, NULL, NULL, why, NULL},
#define REFUSED_IN(domain, op, why) {op, OX_NO_RULE, flow_none, NULL, NULL, why, domain},
#include "rules_table.h"
#undef RULE
#undef IN_DOMAIN
#undef UNARY
#undef MADE_OF
#undef MADE_OF_IN
#undef EITHER
#undef NOTHING
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
#define NOTHING(op, why) {"", op, OX_CARRIES_NOTHING, why},
#define NOTHING_IN(domain, op, why) {domain, op, OX_CARRIES_NOTHING, why},
#define REFUSED(op, why) {"", op, OX_NO_RULE, why},
#define REFUSED_IN(domain, op, why) {domain, op, OX_NO_RULE, why},
#include "rules_table.h"
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
    *count = ROW_COUNT;
    return infos;
}

size_t ox_rule_inputs(const char *op)
{
    static const struct {
        const char *op;
        size_t count;
    } more_than_one[] = {
        {"Add", 2},
        {"BatchNormalization", 5},
        {"Conv", 2},
        {"ConvTranspose", 2},
        {"Div", 2},
        {"Expand", 2},
        {"Gather", 2},
        {"GatherElements", 2},
        {"GatherND", 2},
        {"Gemm", 2},
        {"InstanceNormalization", 3},
        {"LayerNormalization", 2},
        {"Loop", 0},
        {"MatMul", 2},
        {"Mod", 2},
        {"Mul", 2},
        {"Optional", 0},
        {"PRelu", 2},
        {"Pow", 2},
        {"Reshape", 2},
        {"ScatterElements", 3},
        {"ScatterND", 3},
        {"SequenceEmpty", 0},
        {"Slice", 3},
        {"Sub", 2},
        {"Tile", 2},
        {"Where", 3},
        {"GroupNormalization", 3},
        {"RMSNormalization", 2},
    };
    for (size_t i = 0; i < sizeof more_than_one / sizeof *more_than_one; i++) {
        if (strcmp(more_than_one[i].op, op) == 0) {
            return more_than_one[i].count;
        }
    }
    return 1;
}
