/* How plans make nodes anew: operators by the table, functions of ours by their kind. */
#include <string.h>

#include "base/operators.h"
#include "base/ours.h"
#include "tune/tune.h"

bool layout_none(ox_tuner *t, ox_node *n)
{
    (void)t, (void)n;
    return false;
}

static const ox_layout layouts[] = {
#define OP(domain, op, shape, how, layout, ...) layout,
#define LIFTED(op, shape) layout_none,
#include "base/operators.inc"
};

/* Those that look at more than one element stay as they are. */
static ox_layout layout_of(const ox_ours *f)
{
    switch (f->kind) {
    case OX_OURS_ELEMENTS: return strcmp(f->name, "MulFlow") == 0 ? layout_mul_flow : layout_flow;
    case OX_OURS_UNIT: return layout_elementwise;
    case OX_OURS_WINNER: return layout_winner_flow;
    case OX_OURS_PHASES: return layout_phases;
    default: return layout_none;
    }
}

ox_layout ox_tune_find(const ox_node *n)
{
    if (strcmp(n->domain, "onnxexplainer") == 0) {
        const ox_ours *f = ox_ours_find(n->op);
        return f == NULL ? layout_none : layout_of(f);
    }
    int row = ox_operator_find(n->domain, n->op);
    return row < 0 ? layout_none : layouts[row];
}
