/* Whole numbers that are made of the number that a sample has in its batch. */
#include "rules/own.h"

#include <string.h>

#include "rules/side.h"
#include "shape/shape.h"

enum { MOST_NODES = 64 };

/* What a whole number along the batch axis has of the sample's own number n: times * n + rest,
 * where the rest knows nothing of n. */
typedef struct numbered {
    bool known;
    bool only; /* the rest is 0 */
    int64_t times;
} numbered;

/* The number that all elements of input i are. */
static bool same_number(const ox_node *n, size_t i, int64_t *number)
{
    ox_val v = ox_node_input(n, i);
    size_t count = 0;
    const ox_dim *e = v == NULL ? NULL : ox_shape_elements(v);
    bool same = e != NULL && ox_shape_count(v->rank, v->dims, &count) && count > 0;
    for (size_t k = 0; same && k < count; k++) {
        same = ox_dim_is(e[k], e[0].size);
    }
    *number = same ? e[0].size : 0;
    return same;
}

/* Range from 0 on, a number for each sample. */
static numbered of_range(const ox_node *n)
{
    int64_t start = 0, step = 0;
    ox_dim length = n->outputs[0]->rank == 1 ? n->outputs[0]->dims[0] : ox_dim_of(0);
    bool each = length.batch == 1 && length.size == 1 && length.refs == 0;
    bool known = same_number(n, 0, &start) && same_number(n, 2, &step) && each;
    return (numbered){known, known && start == 0, step};
}

/* Whether it is made of how many samples there are: an index less that counts from their end. */
static bool tells_count(ox_val v)
{
    size_t count = 0;
    const ox_dim *e = ox_shape_elements(v);
    bool counts = false;
    if (e == NULL || !ox_shape_count(v->rank, v->dims, &count)) {
        return false;
    }
    for (size_t k = 0; k < count; k++) {
        counts = counts || !ox_dim_is_static(e[k]);
    }
    return counts;
}

/* `left`: of so many nodes more, before it is not known. */
static numbered numbered_of(ox_val v, int *left);

/* Sums, differences, and products with a constant. */
static numbered of_arithmetic(const ox_node *n, int *left)
{
    numbered a = numbered_of(n->inputs[0], left), b = numbered_of(n->inputs[1], left);
    numbered all = {a.known && b.known, a.only && b.only, 0};
    int64_t factor = 0;
    if (strcmp(n->op, "Mul") == 0) {
        bool first = same_number(n, 0, &factor);
        bool second = !first && same_number(n, 1, &factor);
        const numbered *of = first ? &b : &a;
        all.only = of->only;
        bool fits = ox_int_mul(of->times, factor, &all.times);
        all.known = all.known && ((fits && (first || second)) || (a.times == 0 && b.times == 0));
        return all;
    }
    bool minus = strcmp(n->op, "Sub") == 0;
    bool fits = b.times != INT64_MIN && ox_int_add(a.times, minus ? -b.times : b.times, &all.times);
    all.known = all.known && fits;
    return all;
}

static bool is_zero(const ox_node *n, size_t i)
{
    int64_t number = 0;
    return same_number(n, i, &number) && number == 0;
}

/* The operand that the results are as long as it is not negative: n of Max(n, 0), and of Where(n <
 * 0, n + N, n), as negative indices are made positive; the data that Slice takes from their start.
 * NULL where it is none of these. */
static ox_val passed_on(const ox_node *n)
{
    if (ox_node_is(n, "Max") && n->input_count == 2) {
        return is_zero(n, 0) ? n->inputs[1] : is_zero(n, 1) ? n->inputs[0] : NULL;
    }
    const ox_node *test = ox_node_is(n, "Where") ? n->inputs[0]->node : NULL;
    if (ox_node_is(test, "Less") && test->inputs[0] == n->inputs[2] && is_zero(test, 1)) {
        return n->inputs[2];
    }
    if (ox_node_is(test, "GreaterOrEqual") && test->inputs[0] == n->inputs[1] && is_zero(test, 1)) {
        return n->inputs[1];
    }
    int64_t step = 1;
    bool slice = ox_node_is(n, "Slice") && is_zero(n, 1);
    bool forward = ox_node_input(n, 4) == NULL || (same_number(n, 4, &step) && step == 1);
    return slice && forward ? n->inputs[0] : NULL;
}

static numbered numbered_of(ox_val v, int *left)
{
    const ox_node *n = v->node;
    const ox_place *place = &ox_side_of(v)->place;
    if (n == NULL || !place->known) {
        return (numbered){!tells_count(v), false, 0};
    }
    if (*left == 0 || v->dims[place->axis].size != 1) {
        return (numbered){false, false, 0};
    }
    --*left;
    if (ox_node_is(n, "Range")) {
        return of_range(n);
    }
    if (ox_node_has(n, OX_KEEPS_ELEMENTS) || ox_node_is(n, "Expand") ||
        ox_node_is(n, "Transpose")) {
        return numbered_of(n->inputs[0], left);
    }
    if (ox_node_is(n, "Add") || ox_node_is(n, "Mul") || ox_node_is(n, "Sub")) {
        return of_arithmetic(n, left);
    }
    ox_val passed = passed_on(n);
    numbered all = passed == NULL ? (numbered){true, false, 0} : numbered_of(passed, left);
    bool same = all.only && all.times >= 0; /* never negative */
    return passed == NULL || same ? all : (numbered){all.known && all.times == 0, false, 0};
}

bool ox_own_numbers(ox_val v, int64_t times)
{
    int left = MOST_NODES;
    numbered own = numbered_of(v, &left);
    return own.known && own.times == times;
}

bool ox_own_number(ox_val v)
{
    int left = MOST_NODES;
    numbered own = numbered_of(v, &left);
    return own.known && own.only && own.times == 1;
}

ox_val ox_own_part(ox_val tuples, int64_t place)
{
    const ox_node *join = tuples->node;
    int last = tuples->rank - 1;
    if (last >= 0 && place == 0 && ox_dim_is(tuples->dims[last], 1)) {
        return tuples; /* of one number */
    }
    if (!ox_node_is(join, "Concat") || last < 0 ||
        ox_axis_front(ox_node_int(join, "axis", 0), tuples->rank) != last) {
        return NULL;
    }
    for (size_t i = 0; i < join->input_count; i++) {
        ox_val part = join->inputs[i];
        if (part->rank != tuples->rank || !ox_dim_is(part->dims[last], 1)) {
            return NULL;
        }
        if ((int64_t)i == place) {
            return part;
        }
    }
    return NULL;
}
