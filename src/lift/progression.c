/* Vectors whose elements are each the one before and a number more. */
#include "lift/progression.h"

#include "shape/shape.h"

enum { DEPTH = 16 }; /* how far back one is looked for */

/* Of numbers that are all known. */
static ox_progression of_known(ox_val v)
{
    const ox_dim *e = ox_shape_elements(v);
    size_t count = 0;
    ox_progression p = {.known = e != NULL && v->rank == 1 &&
                                 ox_shape_count(v->rank, v->dims, &count) && count > 1};
    for (size_t i = 0; p.known && i < count; i++) {
        int64_t step = i == 0 ? 0 : e[i].size - e[i - 1].size;
        p.known = ox_dim_is_static(e[i]) && (i < 2 || step == p.each);
        p.first = i == 0 ? e[i].size : p.first;
        p.each = i == 1 ? step : p.each;
    }
    return p;
}

static ox_progression table_of(ox_val v, int depth);

/* A Range, and behind it the number that would come next. */
static ox_progression of_parts(const ox_node *n, int depth)
{
    ox_progression p = table_of(n->inputs[0], depth);
    ox_val last = n->input_count == 2 ? n->inputs[1] : NULL;
    const ox_dim *e = last == NULL ? NULL : ox_shape_elements(last);
    p.known = p.known && p.first == 0 && p.each > 0 && e != NULL && last->rank == 1 &&
              ox_dim_is(last->dims[0], 1) && n->inputs[0]->rank == 1 &&
              ox_dim_equal(ox_dim_mul(n->graph, n->inputs[0]->dims[0], ox_dim_of(p.each)), e[0]);
    return p;
}

/* What is left from an element on. */
static ox_progression of_rest(const ox_node *n, int depth)
{
    ox_progression p = table_of(n->inputs[0], depth);
    ox_shape_list from = ox_shape_input_list(n, 1), step = ox_shape_input_list(n, 4);
    bool ones = !step.given || (step.fixed && step.count == 1 && step.items[0].size == 1);
    p.known = p.known && ones && from.fixed && from.count == 1 && from.items[0].size >= 0;
    if (p.known) {
        p.first += p.each * from.items[0].size;
    }
    return p;
}

/* The elements of a vector that is the same for all steps. */
static ox_progression table_of(ox_val v, int depth)
{
    const ox_node *n = v->node;
    ox_progression p = of_known(v);
    if (p.known || n == NULL || depth == 0) {
        return p;
    }
    if (ox_node_is(n, "Range")) {
        p.known = ox_shape_number(n, 0, &p.first) && ox_shape_number(n, 2, &p.each);
    } else if (ox_node_is(n, "Concat")) {
        p = of_parts(n, depth - 1);
    } else if (ox_node_is(n, "Slice")) {
        p = of_rest(n, depth - 1);
    } else if (ox_node_is(n, "Identity") || ox_node_is(n, "Cast")) {
        p = table_of(n->inputs[0], depth - 1);
    }
    return p;
}

ox_progression ox_progression_of(ox_val v)
{
    return table_of(v, DEPTH);
}
