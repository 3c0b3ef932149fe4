/* Ensembles of trees: the tables of their leaves, some hundreds at a time so that memory stays
 * bounded, and the multipliers that come of them (rules/trees_flow.c). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rules/decompose.h"
#include "rules/difference.h"
#include "rules/trees.h"
#include "rules/trees_codes.h"
#include "rules/trees_flow.h"
#include "rules/unary.h"

/* What is held at a time of a sample is a number for each leaf and reference: so many, but no less
 * leaves than LEAST, nor more than MOST, nor more steps than STEPS. */
enum { AT_A_TIME = 25000, LEAST = 32, MOST = 512, STEPS = 256 };

/* Up to so many features, all leaves are given the columns of all; more are spread afterwards. */
enum { COLUMNS = 256 };

/* Targets of leaves that add to several. */
enum { TARGETS = 8 };

/* Numbers of the references that ONNX Runtime may fold into constants: more are computed in each
 * run. */
enum { FOLDED = 1 << 24 };

/* Leaves [first, end) and the targets that they add to. */
typedef struct group {
    const ox_box *boxes;
    size_t count;
    const int64_t *targets, *columns;
    size_t target_count, column_count;
} group;

typedef struct trees {
    ox_ctx *c;
    const ox_forest *f;
    ox_arena *a;
    ox_boxes boxes;  /* by `alone` */
    double *centres; /* [trees, targets] */
    int64_t *alone;  /* of each tree the only target that it adds to, else -1 */
    int64_t *columns;
    size_t column_count;
    ox_codes codes;
    int64_t features; /* with codes */
    ox_val m, x, x0;  /* as TreeFlow takes them */
    bool folds;       /* what belongs to references alone */
} trees;

/* ---- leaves ---------------------------------------------------------------------------------- */

/* The mean over the leaves of a tree, which is taken off each: all boxes together hold everything,
 * so that phi is the same, and sums of them cancel less. */
static void find_centres(trees *t)
{
    size_t targets = (size_t)t->f->targets, size;
    if (!ox_size_mul(t->f->tree_count, targets, &size)) {
        ox_made_fail(t->f->node, "it has too many targets");
    }
    ox_budget_spend(t->a, OX_COST_ELEMENTS, size);
    t->centres = ox_arena_alloc(t->a, size, sizeof *t->centres);
    t->alone = ox_arena_alloc(t->a, t->f->tree_count, sizeof *t->alone);
    size_t *leaves = ox_arena_alloc(t->a, t->f->tree_count, sizeof *leaves);
    memset(t->alone, 0xff, t->f->tree_count * sizeof *t->alone);
    bool *several = ox_arena_alloc(t->a, t->f->tree_count, sizeof *several);
    for (size_t i = 0; i < t->boxes.count; i++) {
        const ox_box *b = &t->boxes.items[i];
        leaves[b->tree]++;
        for (size_t k = 0; k < b->weight_count; k++) {
            int64_t target = b->weights[k].target, *alone = &t->alone[b->tree];
            t->centres[b->tree * targets + (size_t)target] += b->weights[k].value;
            several[b->tree] = several[b->tree] || (*alone >= 0 && *alone != target);
            *alone = target;
        }
    }
    for (size_t i = 0; i < size; i++) {
        size_t tree = i / targets;
        t->centres[i] /= leaves[tree] > 0 ? (double)leaves[tree] : 1;
        t->alone[tree] = several[tree] ? -1 : t->alone[tree];
    }
}

/* What a leaf adds to a target, less the centre, as a share of the whole. */
static double value_of(const trees *t, const ox_box *b, int64_t target)
{
    double sum = 0;
    for (size_t k = 0; k < b->weight_count; k++) {
        sum += b->weights[k].target == target ? b->weights[k].value : 0;
    }
    size_t at = b->tree * (size_t)t->f->targets + (size_t)target;
    return (sum - t->centres[at]) * t->f->share;
}

/* Puts the leaves of trees that add to the same target in a row. */
static void sort_leaves(trees *t)
{
    ox_boxes sorted = {.items = ox_arena_alloc(t->a, t->boxes.count, sizeof *sorted.items)};
    size_t *starts = ox_arena_alloc(t->a, (size_t)t->f->targets + 2, sizeof *starts);
    for (size_t i = 0; i < t->boxes.count; i++) {
        starts[t->alone[t->boxes.items[i].tree] + 2] += t->boxes.items[i].count > 0;
    }
    for (size_t k = 0; k <= (size_t)t->f->targets; k++) {
        starts[k + 1] += starts[k];
    }
    sorted.count = starts[(size_t)t->f->targets + 1];
    for (size_t i = 0; i < t->boxes.count; i++) {
        const ox_box *b = &t->boxes.items[i];
        if (b->count > 0) { /* a tree of one leaf adds the same everywhere */
            sorted.items[starts[t->alone[b->tree] + 1]++] = *b;
        }
    }
    t->boxes = sorted;
}

static int by_number(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* The features of some leaves, rising. */
static int64_t *columns_of(const trees *t, const ox_box *boxes, size_t count, size_t *found)
{
    size_t all = 0;
    for (size_t i = 0; i < count; i++) {
        all += boxes[i].count;
    }
    int64_t *columns = ox_arena_alloc(t->a, all, sizeof *columns);
    all = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < boxes[i].count; k++) {
            columns[all++] = boxes[i].sides[k].feature;
        }
    }
    if (all > 0) {
        qsort(columns, all, sizeof *columns, by_number);
    }
    *found = 0;
    for (size_t i = 0; i < all; i++) {
        if (i == 0 || columns[i] != columns[i - 1]) {
            columns[(*found)++] = columns[i];
        }
    }
    return columns;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static size_t most_sides(const group *g)
{
    size_t most = 1;
    for (size_t i = 0; i < g->count; i++) {
        most = g->boxes[i].count > most ? g->boxes[i].count : most;
    }
    return most;
}

static size_t most_ranges(const group *g)
{
    size_t most = 1;
    for (size_t i = 0; i < g->count; i++) {
        for (size_t k = 0; k < g->boxes[i].count; k++) {
            size_t count = g->boxes[i].sides[k].count;
            most = count > most ? count : most;
        }
    }
    return most;
}

/* Room for numbers of a table, which a file decides on. */
static double *table(const trees *t, size_t rows, size_t columns, size_t *size)
{
    if (!ox_size_mul(rows, columns, size)) {
        ox_made_fail(t->f->node, "its tables are too large");
    }
    ox_budget_spend(t->a, OX_COST_ELEMENTS, *size);
    return ox_arena_alloc(t->a, *size, sizeof(double));
}

/* OX_TREE_BOUNDS and OX_TREE_FEATURE. */
static void write_bounds(const trees *t, const group *g, ox_val *in)
{
    size_t sides = most_sides(g), ranges = most_ranges(g), row, size;
    int64_t *feature = ox_arena_alloc(t->a, g->count, sides * sizeof *feature);
    table(t, g->count, sides, &row);
    double *bounds = table(t, 3 * ranges, row, &size);
    size_t plane = size / 3;
    for (size_t i = 0; i < row; i++) {
        const ox_box *b = &g->boxes[i / sides];
        const ox_side_of_box *s = i % sides < b->count ? &b->sides[i % sides] : NULL;
        feature[i] = s == NULL ? g->columns[0] : s->feature;
        for (size_t k = 0; k < ranges; k++) {
            bool some = s != NULL && k < s->count, all = s == NULL;
            bounds[k * row + i] = some ? s->ranges[k].low : all ? -INFINITY : INFINITY;
            bounds[plane + k * row + i] = some ? s->ranges[k].high : all ? INFINITY : -INFINITY;
            bounds[2 * plane + k * row + i] = s == NULL || s->missing ? 1 : 0;
        }
    }
    int64_t dims[] = {3, (int64_t)ranges, (int64_t)row};
    in[OX_TREE_BOUNDS] = ox_floats(t->c->g, t->x->type, 3, dims, bounds);
    ox_val flat = ox_ints(t->c->g, row, feature);
    ox_dim shape[] = {ox_dim_of((int64_t)g->count), ox_dim_of((int64_t)sides)};
    in[OX_TREE_FEATURE] = ox_reshape(flat, 2, shape);
}

/* (a-1)! b!/(a+b)! for P, a! (b-1)!/(a+b)! for M, and the identity. */
static ox_val weights(const trees *t, size_t sides)
{
    size_t size, n = sides + 1;
    double *all = table(t, 3 * n, n, &size);
    for (size_t a = 0; a < n; a++) {
        double own = 1; /* a! b!/(a+b)! */
        for (size_t b = 0; b < n; b++) {
            own *= b == 0 ? 1 : (double)b / (double)(a + b);
            all[a * n + b] = a == 0 ? 0 : own / (double)a;
            all[(n + a) * n + b] = b == 0 ? 0 : own / (double)b;
            all[(2 * n + a) * n + b] = a == b;
        }
    }
    int64_t dims[] = {3, (int64_t)n, (int64_t)n};
    return ox_floats(t->c->g, t->m->type, 3, dims, all);
}

static ox_val values(const trees *t, const group *g)
{
    size_t size;
    double *all = table(t, g->count, g->target_count, &size);
    for (size_t i = 0; i < size; i++) {
        const ox_box *b = &g->boxes[i / g->target_count];
        all[i] = value_of(t, b, g->targets[i % g->target_count]);
    }
    int64_t dims[] = {(int64_t)g->count, (int64_t)g->target_count};
    return ox_floats(t->c->g, t->m->type, 2, dims, all);
}

/* v, but not before `after` is there, of which axis B or N is free: through a Reshape to [B, as it
 * is, as it is], which moves nothing. ONNX Runtime would else compute what is needed of v for all
 * leaves at once. */
static ox_val late(const trees *t, ox_val v, ox_val after)
{
    static const int64_t same[] = {0, 0}, one = 1;
    bool single = ox_dim_is(v->dims[0], 1);
    int64_t axis = after->rank == 5 ? (single ? 3 : 1) : (single ? 1 : 0);
    ox_attr range[] = {ox_attr_int("start", axis), ox_attr_int("end", axis + 1)};
    ox_val first = ox_graph_emit(t->c->g, "Shape", 1, &after, 2, range);
    first = single ? ox_min(first, ox_ints(t->c->g, 1, &one)) : first;
    ox_val parts[] = {first, ox_ints(t->c->g, 2, same)};
    ox_val in[] = {v, ox_concat(t->c->g, 2, parts, 0)};
    ox_val moved = ox_graph_emit_node(t->c->g, "", "Reshape", 2, in, 1, 0, NULL)->outputs[0];
    moved->rank = v->rank;
    moved->dims = v->dims;
    return moved;
}

/* phi of one group and its targets is added to acc; `before` is what was computed last, or NULL. */
static ox_val explain(const trees *t, const group *g, ox_val acc, ox_val before)
{
    ox_val in[OX_TREE_INPUTS] = {[OX_TREE_ACC] = acc};
    in[OX_TREE_X] = before == NULL ? t->x : late(t, t->x, before);
    in[OX_TREE_X0] = t->folds ? t->x0 : late(t, t->x0, before == NULL ? t->x : before);
    bool all = g->target_count == (size_t)t->f->targets;
    ox_val targets = ox_ints(t->c->g, g->target_count, g->targets);
    in[OX_TREE_M] = all ? t->m : ox_gather(t->m, targets, -1);
    write_bounds(t, g, in);
    in[OX_TREE_VALUE] = values(t, g);
    in[OX_TREE_WEIGHTS] = weights(t, most_sides(g));
    in[OX_TREE_COLUMNS] = ox_ints(t->c->g, g->column_count, g->columns);
    return ox_tree_call(most_sides(g) <= OX_TREE_SIDES, in);
}

/* ---- all leaves ------------------------------------------------------------------------------ */

/* [.., columns] as [.., features], with zeros where there is none. */
static ox_val spread(const trees *t, ox_val phi, const int64_t *columns, size_t count)
{
    if (count == (size_t)t->features) {
        return phi;
    }
    int64_t *from = ox_arena_alloc(t->a, (size_t)t->features, sizeof *from);
    static const int64_t before[] = {0}, after[] = {1};
    for (int64_t i = 0; i < t->features; i++) {
        from[i] = (int64_t)count;
    }
    for (size_t i = 0; i < count; i++) {
        from[columns[i]] = (int64_t)i;
    }
    ox_val padded = ox_pad(phi, 1, before, after);
    return ox_gather(padded, ox_ints(t->c->g, (size_t)t->features, from), -1);
}

/* How many leaves at a time. */
static size_t step_of(const trees *t)
{
    ox_dim refs = t->x0->dims[1];
    int64_t count = ox_dim_is_static(refs) && refs.size > 0 ? refs.size : 100;
    size_t fit = (size_t)(AT_A_TIME / count);
    size_t step = fit < LEAST ? LEAST : fit > MOST ? MOST : fit;
    size_t least = t->boxes.count / STEPS + 1;
    return step > least ? step : least;
}

/* Whether the bits, weights and shares of all leaves and references are few. */
static bool folds(const trees *t)
{
    ox_dim refs = t->x0->dims[1];
    double count = ox_dim_is_static(refs) ? (double)refs.size : 100, numbers = 0;
    for (size_t i = 0; i < t->boxes.count; i++) {
        numbers += 4 * (double)t->boxes.items[i].count + (double)t->column_count;
    }
    return numbers * count < (double)FOLDED;
}

/* The leaves from `first` that add to the same target, or to several. */
static size_t end_of_kind(const trees *t, size_t first)
{
    size_t end = first;
    int64_t kind = t->alone[t->boxes.items[first].tree];
    while (end < t->boxes.count && t->alone[t->boxes.items[end].tree] == kind) {
        end++;
    }
    return end;
}

static ox_val explain_targets(const trees *t, group g, ox_val acc, ox_val before)
{
    int64_t alone = t->alone[g.boxes[0].tree];
    size_t all = alone >= 0 ? 1 : (size_t)t->f->targets;
    int64_t *targets = ox_arena_alloc(t->a, all, sizeof *targets);
    for (size_t i = 0; i < all; i++) {
        targets[i] = alone >= 0 ? alone : (int64_t)i;
    }
    for (size_t i = 0; i < all; i += TARGETS) {
        g.targets = targets + i;
        g.target_count = all - i < TARGETS ? all - i : TARGETS;
        acc = before = explain(t, &g, acc, before);
    }
    return acc;
}

/* phi [K, B, R, N, features] of all leaves; NULL where nothing is tested. */
static ox_val explain_all(trees *t)
{
    bool shared = t->column_count <= COLUMNS;
    ox_val none = ox_number(t->m, 0), acc = none, total = NULL, before = NULL;
    size_t step = step_of(t);
    t->folds = folds(t);
    for (size_t first = 0; first < t->boxes.count;) {
        size_t kind = end_of_kind(t, first) - first, steps = (kind + step - 1) / step;
        size_t size = (kind + steps - 1) / steps;
        for (size_t i = 0; i < kind; i += size) {
            group g = {.boxes = t->boxes.items + first + i, .columns = t->columns};
            g.count = kind - i < size ? kind - i : size;
            g.column_count = t->column_count;
            if (!shared) {
                g.columns = columns_of(t, g.boxes, g.count, &g.column_count);
            }
            ox_val phi = explain_targets(t, g, shared ? acc : none, before);
            acc = before = phi;
            if (!shared) {
                total = ox_made_plus(total, spread(t, phi, g.columns, g.column_count));
            }
        }
        first += kind;
    }
    return !shared ? total : acc == none ? NULL : spread(t, acc, t->columns, t->column_count);
}

/* ---- the rule -------------------------------------------------------------------------------- */

/* Values of an input as they are compared, with codes. */
static ox_val compared(const trees *t, ox_val x)
{
    return ox_codes_append(&t->codes, x->type == OX_DOUBLE ? x : ox_cast(x, OX_FLOAT));
}

/* m, x and x0 with axes for K, B, R and N. References that meet all samples are [R, 1, F]; else
 * each has its sample, and B goes over the pairs. Returns m's lead axes beside those of samples and
 * features, [.., N, F]. */
static int bring_together(trees *t, ox_dim *dims)
{
    ox_ctx *c = t->c;
    ox_val v = ox_node_input(c->node, 0);
    ox_val x = compared(t, ox_side_view(c, v, (ox_seen){false, false}));
    ox_val x0 = compared(t, ox_side_view(c, v, (ox_seen){true, false}));
    ox_dim one = ox_dim_of(1), f = ox_dim_of(t->features), n = v->dims[0];
    ox_dim targets = ox_dim_of(t->f->targets);
    bool refs = x0->rank == v->rank + 1, many = c->lead - refs > 0;
    ox_dim r = refs ? x0->dims[0] : one, k = many ? c->m->dims[0] : one;
    ox_dim r_of_m = refs ? c->m->dims[many] : one;
    bool all_pairs = ox_dim_is(x0->dims[refs], 1);
    if (all_pairs) {
        t->x = ox_reshape(x, 3, (ox_dim[]){one, n, f});
        t->x0 = ox_reshape(x0, 3, (ox_dim[]){one, r, f});
        t->m = ox_reshape(c->m, 5, (ox_dim[]){k, one, r_of_m, n, targets});
    } else {
        ox_dim pairs = ox_dim_mul(c->g, r, n);
        t->x = ox_reshape(ox_expand(x, 3, (ox_dim[]){r, n, f}), 3, (ox_dim[]){pairs, one, f});
        t->x0 = ox_reshape(x0, 3, (ox_dim[]){pairs, one, f});
        ox_val m = ox_reshape(c->m, 4, (ox_dim[]){k, r_of_m, n, targets});
        m = ox_expand(m, 4, (ox_dim[]){k, r, n, targets});
        t->m = ox_reshape(m, 5, (ox_dim[]){k, pairs, one, one, targets});
    }
    int rank = 0;
    if (many) {
        dims[rank++] = k;
    }
    if (refs) {
        dims[rank++] = r;
    }
    dims[rank++] = n;
    dims[rank++] = f;
    return rank;
}

/* Largest multipliers: what a difference near the smallest number would take beyond is lost. */
static const double most = 1e38, most_double = 1e300;

void flow_trees(ox_ctx *c)
{
    trees t = {.c = c, .a = c->g->arena};
    ox_val v = ox_node_input(c->node, 0);
    if (v->rank != 2) {
        ox_rule_fail(c, "its input is no table");
    }
    t.f = ox_forest_read(c->node);
    t.codes = ox_codes_find(v, ox_static_dim(c, 0, -1));
    t.features = t.codes.features + (int64_t)t.codes.count;
    t.boxes = ox_forest_boxes(t.f, t.codes.features);
    ox_codes_boxes(&t.codes, t.a, &t.boxes);
    find_centres(&t);
    sort_leaves(&t);
    t.columns = columns_of(&t, t.boxes.items, t.boxes.count, &t.column_count);
    ox_dim dims[OX_MAX_RANK];
    int rank = bring_together(&t, dims);
    ox_val phi = explain_all(&t);
    if (phi == NULL) {
        return;
    }
    phi = ox_reshape(phi, rank, dims);
    ox_val d = ox_cast(ox_difference(c, v), phi->type), zero = ox_number(phi, 0);
    phi = ox_codes_share(&t.codes, phi, d);
    double largest = phi->type == OX_DOUBLE ? most_double : most;
    ox_val m = ox_clip(ox_div(phi, d), -largest, largest);
    ox_send(c, 0, ox_where(ox_equal(d, zero), zero, m));
}
