/* The rules of the table of operators (base/operators.inc), and finding one. */
#include "rules/rules.h"

#include "base/operators.h"

void flow_none(ox_ctx *c)
{
    (void)c;
}

#define FIRST(first, ...) first

static const ox_row rows[] = {
#define RULE(flow, kind) .state = OX_DIFFERENTIATED, .rule = flow, .beyond = OX_##kind
#define MADE_OF(made) .state = OX_DECOMPOSED, .decompose = made
#define EITHER(made, flow, kind) RULE(flow, kind), .decompose = made
#define NOTHING .state = OX_CARRIES_NOTHING, .rule = flow_none
#define NOTHING_BUT(made) NOTHING, .decompose = made
#define REFUSED .state = OX_NO_RULE, .rule = flow_none
#define OP(domain, op, shape, how, layout, ...) {how, .formula = FIRST(__VA_ARGS__, 0)},
#define LIFTED(op, shape) {.formula = NULL},
#include "base/operators.inc"
};

/* The same rows for users of the library. */
static const ox_rule_info infos[] = {
#define RULE(...) OX_DIFFERENTIATED
#define MADE_OF(made) OX_DECOMPOSED
#define EITHER(...) OX_DIFFERENTIATED
#define NOTHING OX_CARRIES_NOTHING
#define NOTHING_BUT(made) OX_CARRIES_NOTHING
#define REFUSED OX_NO_RULE
#define OP(domain, op, shape, how, layout, ...) {domain, op, how, FIRST(__VA_ARGS__, 0)},
#define LIFTED(op, shape)
#include "base/operators.inc"
};

const ox_row *ox_rule_find(const char *domain, const char *op)
{
    int row = ox_operator_find(domain, op);
    return row < 0 || rows[row].formula == NULL ? NULL : &rows[row];
}

const ox_rule_info *ox_rules(size_t *count)
{
    if (count != NULL) {
        *count = sizeof infos / sizeof infos[0];
    }
    return infos;
}
