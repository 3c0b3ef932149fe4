/* What rules of the second order share: variances, multipliers of them, and squares of matrices. */
#include "rules/second.h"

#include "rules/side.h"

enum { SMALL = 4096 }; /* elements of a matrix of which all squares are taken */

ox_val ox_variance(ox_val v)
{
    return v == NULL ? NULL : ox_side_of(v)->variance;
}

ox_val ox_variance_of(ox_ctx *c, size_t i)
{
    ox_val v = ox_node_input(c->node, i), own = ox_varies(c, i) ? ox_variance(v) : NULL;
    return own == NULL ? NULL : ox_align(c, own, v->rank);
}

ox_ctx ox_over_variances(const ox_ctx *c)
{
    ox_ctx over = *c;
    over.lead = c->sides->pairs_lead;
    over.squared = true;
    return over;
}

ox_val ox_factor(ox_ctx *c, ox_val factor)
{
    return c->squared ? ox_square(factor) : factor;
}

/* ---- matrices ------------------------------------------------------------------------------- */

static bool thin(ox_ctx *c, ox_val w, bool constant)
{
    bool known = w->rank == 2 && ox_dims_static(2, w->dims);
    return c->squared && constant && known && w->dims[0].size * w->dims[1].size > SMALL;
}

/* The sums of the squares of each row, and of each column over the sum of all. */
static void thin_factors(ox_val w, ox_val *rows, ox_val *columns)
{
    ox_val squares = ox_square(w), sum = ox_sum(squares, -2, true);
    *rows = ox_sum(squares, -1, true);
    *columns = ox_div(sum, ox_shift(ox_sum(sum, -1, true), OX_TINY));
}

ox_val ox_times_right(ox_ctx *c, ox_val m, ox_val w, bool constant)
{
    ox_val rows, columns;
    if (thin(c, w, constant)) {
        thin_factors(w, &rows, &columns);
        return ox_matmul(ox_matmul(m, rows), columns);
    }
    return ox_matmul(m, ox_own_factor(ox_factor(c, w)));
}

ox_val ox_times_left(ox_ctx *c, ox_val w, ox_val m, bool constant)
{
    ox_val rows, columns;
    if (thin(c, w, constant)) {
        thin_factors(w, &rows, &columns);
        return ox_matmul(rows, ox_matmul(columns, m));
    }
    return ox_matmul(ox_own_factor(ox_factor(c, w)), m);
}

/* ---- multipliers of V --------------------------------------------------------------------------
 */

ox_val ox_arrived_second(ox_ctx *c)
{
    ox_ctx squared = *c;
    squared.squared = true;
    return c->second ? ox_m(&squared, 0) : NULL;
}

void ox_send_second(ox_ctx *c, size_t i, ox_val q)
{
    ox_ctx squared = *c;
    squared.squared = true;
    ox_send(&squared, i, q);
}

void ox_take_in(ox_ctx *c)
{
    if (c->second) {
        c->sides->take_in(c);
        c->m = ox_m(c, 0);
    }
}
