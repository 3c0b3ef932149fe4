/* What rules of several operands share. */
#include "rules/product.h"

ox_operand ox_operand_raw(ox_ctx *c, size_t i)
{
    ox_operand o = {.x = ox_x_raw(c, i), .varies = ox_varies(c, i)};
    if (o.x == NULL) {
        ox_rule_fail(c, "an input is missing");
    }
    o.x0 = o.varies ? ox_x0_raw(c, i) : o.x;
    return o;
}

ox_operand ox_operand_of(ox_ctx *c, size_t i)
{
    ox_operand o = ox_operand_raw(c, i);
    return (ox_operand){ox_cast(o.x, c->m->type), ox_cast(o.x0, c->m->type), o.varies};
}

ox_operand ox_operand_in(ox_ctx *c, size_t i)
{
    ox_operand o = ox_operand_raw(c, i);
    return (ox_operand){ox_cast(o.x, c->type), ox_cast(o.x0, c->type), o.varies};
}

ox_val ox_mean(ox_val x, ox_val x0)
{
    return ox_add(ox_scale(x, 0.5), ox_scale(x0, 0.5));
}

double ox_huge(ox_type type)
{
    return type == OX_DOUBLE ? 1e300 : 1e37;
}

ox_val ox_finite(ox_val v)
{
    ox_val bounds[] = {v, ox_number(v, -ox_huge(v->type)), ox_number(v, ox_huge(v->type))};
    return ox_graph_emit(v->graph, "Clip", 3, bounds, 0, NULL);
}
