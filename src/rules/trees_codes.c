/* Columns of a tree's input that are one category: what OneHotEncoder makes of one value is one
 * player. Its columns are taken together to a code, 0 where none of them is 1 and k at the k-th, a
 * feature behind the others: what the tests of a path leave of the columns is a few ranges of the
 * code, and what the code gets goes to the columns that change, in equal shares. */
#include "rules/trees_codes.h"

#include <string.h>

#include "rules/decompose.h"
#include "rules/trees.h"
#include "rules/unary.h"

/* How far back: what moves columns. */
enum { DEPTH = 32 };

/* Where a column comes from: element `index` of the categories of value `of` of an encoder. */
typedef struct source {
    const ox_node *encoder; /* NULL: not from one */
    int64_t of, index;
} source;

typedef struct sources {
    size_t count;
    source *items; /* by column, over all axes but the first in a row */
} sources;

/* ---- where columns come from ----------------------------------------------------------------- */

/* Columns of v from axis `from` to `to`; 0 where they are not known. */
static size_t width(ox_val v, int from, int to)
{
    size_t count = 1;
    for (int d = from; d < to; d++) {
        bool fits = ox_dim_is_static(v->dims[d]) && v->dims[d].size > 0 &&
                    ox_size_mul(count, (size_t)v->dims[d].size, &count);
        count = fits ? count : 0;
    }
    return count;
}

static sources none(ox_val v, size_t count)
{
    ox_budget_spend(v->graph->arena, OX_COST_ELEMENTS, count);
    return (sources){count, ox_arena_alloc(v->graph->arena, count + 1, sizeof(source))};
}

static sources find(ox_val v, int depth);

static sources of_encoder(ox_val v, size_t count)
{
    sources all = none(v, count);
    int64_t each = v->dims[v->rank - 1].size;
    for (size_t i = 0; i < count; i++) {
        all.items[i] = (source){v->node, (int64_t)i / each, (int64_t)i % each};
    }
    return all;
}

/* Along the first axis on which there are columns, so that they lie in a row. */
static bool is_first_axis(ox_val v, int64_t axis, int64_t *at)
{
    *at = ox_axis_front(axis, v->rank);
    return *at >= 1 && width(v, 1, (int)*at) == 1;
}

static bool of_concat(const ox_node *n, sources *all, int depth)
{
    int64_t axis;
    ox_val v = n->outputs[0];
    if (!is_first_axis(v, ox_node_int(n, "axis", 0), &axis)) {
        return false;
    }
    size_t at = 0;
    for (size_t i = 0; i < n->input_count; i++) {
        sources part = find(n->inputs[i], depth - 1);
        if (part.count == 0 || part.count > all->count - at) {
            return false;
        }
        memcpy(all->items + at, part.items, part.count * sizeof *part.items);
        at += part.count;
    }
    return at == all->count;
}

static bool of_gather(const ox_node *n, sources *all, int depth)
{
    int64_t axis;
    ox_val x = n->inputs[0];
    const ox_const *c = ox_contents(n->inputs[1]);
    const int64_t *index = c == NULL ? NULL : ox_const_ints(x->graph->arena, c);
    if (index == NULL || x->rank != n->outputs[0]->rank ||
        !is_first_axis(x, ox_node_int(n, "axis", 0), &axis) || axis != x->rank - 1) {
        return false;
    }
    size_t count = ox_const_count(c);
    sources from = find(x, depth - 1);
    for (size_t i = 0; i < count && i < all->count; i++) {
        int64_t at = index[i] < 0 ? index[i] + (int64_t)from.count : index[i];
        if (at < 0 || (size_t)at >= from.count) {
            return false;
        }
        all->items[i] = from.items[at];
    }
    return count == all->count;
}

/* Whether n leaves each row as it is, but for its axes. */
static bool keeps_rows(const ox_node *n)
{
    ox_val x = n->inputs[0], y = n->outputs[0];
    return ox_node_has(n, OX_KEEPS_ELEMENTS) && ox_type_is_float(y->type) && x != NULL &&
           x->rank > 0 && ox_dim_equal(x->dims[0], y->dims[0]);
}

static bool is_encoder(const ox_node *n)
{
    return n != NULL && strcmp(n->domain, "ai.onnx.ml") == 0 && strcmp(n->op, "OneHotEncoder") == 0;
}

static sources find(ox_val v, int depth)
{
    size_t count = v->rank < 1 ? 0 : width(v, 1, v->rank);
    const ox_node *n = ox_maker_of(v);
    sources all = none(v, count);
    if (count == 0 || depth == 0 || ox_is_point(v)) {
        return all;
    }
    if (is_encoder(v->node)) {
        return of_encoder(v, count);
    }
    if (n != NULL && keeps_rows(n)) {
        sources same = find(n->inputs[0], depth - 1);
        return same.count == count ? same : all;
    }
    bool found = (ox_node_is(n, "Concat") && of_concat(n, &all, depth)) ||
                 (ox_node_is(n, "Gather") && of_gather(n, &all, depth));
    return found ? all : none(v, count);
}

/* ---- codes ----------------------------------------------------------------------------------- */

/* A category that was met, and its columns so far. */
typedef struct category {
    const source *first;
    int64_t code, count;
    bool twice; /* a column is there twice */
} category;

static category *category_of(ox_table *t, const source *s)
{
    uint64_t hash = ox_hash(ox_hash(0, &s->encoder, sizeof s->encoder), &s->of, sizeof s->of);
    size_t at = OX_TABLE_START;
    for (category *c; (c = ox_table_next(t, hash, &at)) != NULL;) {
        if (c->first->encoder == s->encoder && c->first->of == s->of) {
            return c;
        }
    }
    category *c = ox_arena_alloc(t->arena, 1, sizeof *c);
    *c = (category){.first = s, .code = -1};
    ox_table_add(t, hash, c);
    return c;
}

/* Notes a column; whether it was there. */
static bool is_known(ox_table *t, const source *s)
{
    uint64_t hash = ox_hash(0, s, sizeof *s);
    size_t at = OX_TABLE_START;
    for (const source *k; (k = ox_table_next(t, hash, &at)) != NULL;) {
        if (k->encoder == s->encoder && k->of == s->of && k->index == s->index) {
            return true;
        }
    }
    ox_table_add(t, hash, (void *)(uintptr_t)s);
    return false;
}

/* The category of each column; NULL where it has none. */
static category **categories_of(ox_arena *a, const sources *s)
{
    ox_table by_value = {.arena = a}, by_column = {.arena = a};
    category **all = ox_arena_alloc(a, s->count, sizeof *all);
    for (size_t i = 0; i < s->count; i++) {
        const source *own = &s->items[i];
        if (own->encoder != NULL) {
            all[i] = category_of(&by_value, own);
            all[i]->count++;
            all[i]->twice = is_known(&by_column, own) || all[i]->twice;
        }
    }
    return all;
}

ox_codes ox_codes_find(ox_val v, int64_t features)
{
    ox_arena *a = v->graph->arena;
    sources s = find(v, DEPTH);
    size_t count = (size_t)features;
    ox_codes c = {.features = features};
    if (s.count != count) {
        return c;
    }
    c.of = ox_arena_alloc(a, count, sizeof *c.of);
    c.number = ox_arena_alloc(a, count, sizeof *c.number);
    c.columns = ox_arena_alloc(a, count, sizeof *c.columns);
    c.sizes = ox_arena_alloc(a, count, sizeof *c.sizes);
    category **all = categories_of(a, &s);
    for (size_t i = 0; i < count; i++) {
        category *own = all[i];
        c.of[i] = -1;
        if (own != NULL && own->count > 1 && !own->twice) {
            own->code = own->code < 0 ? (int64_t)c.count++ : own->code;
            c.of[i] = own->code;
            c.number[i] = ++c.sizes[own->code];
            c.columns[c.column_count++] = (int64_t)i;
        }
    }
    return c;
}

/* [columns, codes]: in the code of each column its number, or 1. */
static ox_val matrix(const ox_codes *c, ox_val like, bool numbered)
{
    ox_graph *g = like->graph;
    double *numbers = ox_arena_alloc(g->arena, c->column_count, c->count * sizeof *numbers);
    for (size_t i = 0; i < c->column_count; i++) {
        int64_t column = c->columns[i];
        double number = numbered ? (double)c->number[column] : 1;
        numbers[i * c->count + (size_t)c->of[column]] = number;
    }
    int64_t dims[] = {(int64_t)c->column_count, (int64_t)c->count};
    return ox_floats(g, like->type, 2, dims, numbers);
}

ox_val ox_codes_append(const ox_codes *c, ox_val x)
{
    if (c->count == 0) {
        return x;
    }
    ox_val own = ox_gather(x, ox_ints(x->graph, c->column_count, c->columns), -1);
    ox_val both[] = {x, ox_matmul(own, matrix(c, x, true))};
    return ox_concat(x->graph, 2, both, -1);
}

/* ---- leaves ---------------------------------------------------------------------------------- */

static bool holds(const ox_side_of_box *s, double value)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->ranges[i].low <= value && value <= s->ranges[i].high) {
            return true;
        }
    }
    return false;
}

/* Whether the sides of a box let the code of a category be k. */
static bool lets(const ox_codes *c, const ox_box *b, int64_t code, int64_t k)
{
    for (size_t i = 0; i < b->count; i++) {
        int64_t column = b->sides[i].feature;
        if (c->of[column] == code && !holds(&b->sides[i], c->number[column] == k ? 1 : 0)) {
            return false;
        }
    }
    return true;
}

/* What a box leaves of a code, in ranges. */
static ox_side_of_box side_of(const ox_codes *c, ox_arena *a, const ox_box *b, int64_t code)
{
    int64_t size = c->sizes[code];
    ox_budget_spend(a, OX_COST_ELEMENTS, (size_t)size * b->count);
    ox_range *ranges = ox_arena_alloc(a, (size_t)size + 1, sizeof *ranges);
    size_t count = 0;
    bool before = false;
    for (int64_t k = 0; k <= size; k++) {
        bool is = lets(c, b, code, k);
        count += is && !before;
        if (is) {
            ranges[count - 1].low = before ? ranges[count - 1].low : (double)k;
            ranges[count - 1].high = (double)k;
        }
        before = is;
    }
    return (ox_side_of_box){c->features + code, count, ranges, false};
}

static bool is_whole(const ox_codes *c, const ox_side_of_box *s, int64_t code)
{
    return s->count == 1 && s->ranges[0].low == 0 && s->ranges[0].high == (double)c->sizes[code];
}

/* The box by codes; false where no category leads to it. */
static bool recode(const ox_codes *c, ox_arena *a, ox_box *b)
{
    ox_side_of_box *sides = ox_arena_alloc(a, b->count, sizeof *sides);
    size_t count = 0;
    for (size_t i = 0; i < b->count; i++) {
        int64_t code = c->of[b->sides[i].feature];
        bool seen = false;
        for (size_t k = 0; k < i; k++) {
            seen = seen || (code >= 0 && c->of[b->sides[k].feature] == code);
        }
        if (seen) {
            continue;
        }
        ox_side_of_box s = code < 0 ? b->sides[i] : side_of(c, a, b, code);
        if (code >= 0 && s.count == 0) {
            return false;
        }
        if (code < 0 || !is_whole(c, &s, code)) {
            sides[count++] = s;
        }
    }
    b->sides = sides;
    b->count = count;
    return true;
}

void ox_codes_boxes(const ox_codes *c, ox_arena *a, ox_boxes *boxes)
{
    size_t kept = 0;
    for (size_t i = 0; c->count > 0 && i < boxes->count; i++) {
        ox_box b = boxes->items[i];
        if (recode(c, a, &b)) {
            boxes->items[kept++] = b;
        }
    }
    boxes->count = c->count > 0 ? kept : boxes->count;
}

/* ---- back to columns ------------------------------------------------------------------------- */

/* The code of each column, counted from `first`. */
static ox_val codes_of_columns(const ox_codes *c, ox_graph *g, int64_t first)
{
    int64_t *code = ox_arena_alloc(g->arena, c->column_count, sizeof *code);
    for (size_t i = 0; i < c->column_count; i++) {
        code[i] = first + c->of[c->columns[i]];
    }
    return ox_ints(g, c->column_count, code);
}

/* What each column has in the change of its code: 1 or a half where it changes. */
static ox_val shares(const ox_codes *c, ox_val d)
{
    ox_val own = ox_abs(ox_gather(d, ox_ints(d->graph, c->column_count, c->columns), -1));
    ox_val all = ox_matmul(own, matrix(c, d, false));
    all = ox_gather(ox_max(all, ox_number(all, 1)), codes_of_columns(c, d->graph, 0), -1);
    return ox_div(own, all);
}

/* Where the value of each feature stands behind those of features and columns. */
static ox_val places(const ox_codes *c, ox_graph *g)
{
    int64_t *at = ox_arena_alloc(g->arena, (size_t)c->features, sizeof *at);
    for (int64_t i = 0; i < c->features; i++) {
        at[i] = i;
    }
    for (size_t i = 0; i < c->column_count; i++) {
        at[c->columns[i]] = c->features + (int64_t)i;
    }
    return ox_ints(g, (size_t)c->features, at);
}

ox_val ox_codes_share(const ox_codes *c, ox_val phi, ox_val d)
{
    if (c->count == 0) {
        return phi;
    }
    ox_graph *g = phi->graph;
    ox_val of_codes = ox_gather(phi, codes_of_columns(c, g, c->features), -1);
    ox_val both[] = {ox_slice(phi, -1, 0, c->features, 1), ox_mul(of_codes, shares(c, d))};
    return ox_gather(ox_concat(g, 2, both, -1), places(c, g), -1);
}
