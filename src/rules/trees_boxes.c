/* The leaves of an ensemble as boxes: of each feature on the path from the root the values that
 * lead there. What the tests of a path leave of a feature is a few ranges: one where they compare,
 * several where they ask for equality. Bounds belong to their ranges, so that x < t is x <= the
 * number before t, in the type that the operator compares in. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "rules/trees.h"

/* Sorted ranges that do not meet, and whether NaN is among the values. */
typedef struct set {
    size_t count;
    const ox_range *ranges;
    bool missing;
} set;

/* What a path has met: a test, and how it went. */
typedef struct step {
    const struct step *up;
    const ox_split *split;
    bool yes;
    size_t depth; /* of all steps up to here */
} step;

typedef struct visit {
    size_t at;
    const step *path;
} visit;

typedef struct walk {
    const ox_forest *f;
    ox_arena *a;
    int64_t features;
    size_t tree;
    visit *stack;
    size_t depth;
    ox_boxes boxes;
} walk;

/* ---- ranges ---------------------------------------------------------------------------------- */

static const ox_range everything = {-INFINITY, INFINITY};

static double near(const ox_forest *f, double t, double towards)
{
    return f->wide ? nextafter(t, towards) : (double)nextafterf((float)t, (float)towards);
}

/* Up to and with t, or without it; from t on, or behind it. Nothing where there is no such
 * number. */
static set up_to(const walk *w, double t, bool with)
{
    ox_range *r = ox_arena_alloc(w->a, 1, sizeof *r);
    *r = (ox_range){-INFINITY, with ? t : near(w->f, t, -INFINITY)};
    return (set){!isnan(t) && (with || t > -INFINITY), r, false};
}

static set from(const walk *w, double t, bool with)
{
    ox_range *r = ox_arena_alloc(w->a, 1, sizeof *r);
    *r = (ox_range){with ? t : near(w->f, t, INFINITY), INFINITY};
    return (set){!isnan(t) && (with || t < INFINITY), r, false};
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The values of a test, sorted, each once, without NaN, in the type that is compared. */
static double *members(const walk *w, const ox_split *s, size_t *count)
{
    double *all = ox_arena_alloc(w->a, s->count + 1, sizeof *all);
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (!isnan(s->values[i])) {
            all[kept++] = w->f->wide ? s->values[i] : (double)(float)s->values[i];
        }
    }
    qsort(all, kept, sizeof *all, by_value);
    *count = 0;
    for (size_t i = 0; i < kept; i++) {
        if (i == 0 || all[i] != all[i - 1]) {
            all[(*count)++] = all[i];
        }
    }
    return all;
}

static set points(const walk *w, const ox_split *s)
{
    size_t count;
    const double *all = members(w, s, &count);
    ox_range *ranges = ox_arena_alloc(w->a, count, sizeof *ranges);
    for (size_t i = 0; i < count; i++) {
        ranges[i] = (ox_range){all[i], all[i]};
    }
    return (set){count, ranges, false};
}

/* What lies between the points. */
static set holes(const walk *w, const ox_split *s)
{
    size_t count, kept = 0;
    const double *all = members(w, s, &count);
    ox_range *ranges = ox_arena_alloc(w->a, count + 1, sizeof *ranges);
    double low = -INFINITY;
    bool more = true; /* there are numbers from low on */
    for (size_t i = 0; i < count; i++) {
        if (all[i] > low) {
            ranges[kept++] = (ox_range){low, near(w->f, all[i], -INFINITY)};
        }
        more = all[i] < INFINITY;
        low = near(w->f, all[i], INFINITY);
    }
    if (more) {
        ranges[kept++] = (ox_range){low, INFINITY};
    }
    return (set){kept, ranges, false};
}

/* The values for which a test goes one way. NaN compares as not equal to anything. */
static set passing(const walk *w, const step *p)
{
    const ox_split *s = p->split;
    double t = s->count == 0 ? 0 : w->f->wide ? s->values[0] : (double)(float)s->values[0];
    bool yes = p->yes;
    set is = {0};
    switch (s->test) {
    case OX_TEST_LEQ: is = yes ? up_to(w, t, true) : from(w, t, false); break;
    case OX_TEST_LT: is = yes ? up_to(w, t, false) : from(w, t, true); break;
    case OX_TEST_GTE: is = yes ? from(w, t, true) : up_to(w, t, false); break;
    case OX_TEST_GT: is = yes ? from(w, t, false) : up_to(w, t, true); break;
    case OX_TEST_EQ:
    case OX_TEST_MEMBER: is = yes ? points(w, s) : holes(w, s); break;
    case OX_TEST_NEQ: is = yes ? holes(w, s) : points(w, s); break;
    case OX_TEST_LEAF: break;
    }
    if (isnan(t) && s->test <= OX_TEST_GT && !yes) { /* no comparison with NaN holds */
        is = (set){1, &everything, false};
    }
    is.missing = (s->missing || s->test == OX_TEST_NEQ) == yes;
    return is;
}

static set both(const walk *w, set a, set b)
{
    ox_range *ranges = ox_arena_alloc(w->a, a.count + b.count, sizeof *ranges);
    size_t count = 0;
    for (size_t i = 0, k = 0; i < a.count && k < b.count;) {
        const ox_range *p = &a.ranges[i], *q = &b.ranges[k];
        ox_range r = {fmax(p->low, q->low), fmin(p->high, q->high)};
        if (r.low <= r.high) {
            ranges[count++] = r;
        }
        *(p->high < q->high ? &i : &k) += 1;
    }
    return (set){count, ranges, a.missing && b.missing};
}

static bool is_everything(set s)
{
    return s.missing && s.count == 1 && s.ranges[0].low == -INFINITY &&
           s.ranges[0].high == INFINITY;
}

/* ---- leaves ---------------------------------------------------------------------------------- */

static int by_feature(const void *left, const void *right)
{
    const step *a = *(const step *const *)left, *b = *(const step *const *)right;
    int64_t fa = a->split->feature, fb = b->split->feature;
    return fa != fb ? (fa > fb) - (fa < fb) : (a->depth > b->depth) - (a->depth < b->depth);
}

/* Adds the box of a leaf, unless the path to it contradicts itself. */
static void add_leaf(walk *w, const ox_split *leaf, const step *path)
{
    size_t length = path == NULL ? 0 : path->depth, count = 0;
    const step **steps = ox_arena_alloc(w->a, length, sizeof *steps);
    ox_side_of_box *sides = ox_arena_alloc(w->a, length, sizeof *sides);
    for (const step *p = path; p != NULL; p = p->up) {
        steps[p->depth - 1] = p;
    }
    if (length > 0) {
        qsort(steps, length, sizeof *steps, by_feature);
    }
    for (size_t i = 0; i < length;) {
        int64_t feature = steps[i]->split->feature;
        set is = {1, &everything, true};
        for (; i < length && steps[i]->split->feature == feature; i++) {
            is = both(w, is, passing(w, steps[i]));
            ox_budget_spend(w->a, OX_COST_ELEMENTS, 1 + is.count);
        }
        if (is.count == 0 && !is.missing) {
            return;
        }
        if (!is_everything(is)) {
            sides[count++] = (ox_side_of_box){feature, is.count, is.ranges, is.missing};
        }
    }
    ox_boxes *all = &w->boxes;
    all->items = ox_arena_grow(w->a, all->items, all->count, sizeof *all->items);
    all->items[all->count++] = (ox_box){w->tree, count, sides, leaf->count, leaf->weights};
}

/* ---- the walk -------------------------------------------------------------------------------- */

static _Noreturn void bad(const walk *w, const char *what)
{
    ox_fail(w->a, OX_INVALID, "%s: %s", ox_node_label(w->f->node), what);
}

/* Subtrees may be shared, as converters do for categories; a path that is longer than there are
 * nodes goes round. */
static void check_split(const walk *w, size_t at, const step *path)
{
    const ox_split *s = &w->f->splits[at];
    if (path != NULL && path->depth > w->f->count) {
        bad(w, ox_arena_format(w->a, "node %zu of its nodes leads back to itself in tree %zu", at,
                               w->tree));
    }
    if (s->feature < 0 || s->feature >= w->features) {
        bad(w, ox_arena_format(w->a, "it tests feature %" PRId64 " of an input of %" PRId64,
                               s->feature, w->features));
    }
}

static bool asks_for_members(const ox_split *s)
{
    return s->test == OX_TEST_EQ || s->test == OX_TEST_MEMBER;
}

/* Whether `next`, where s does not pass, asks the same of other members. */
static bool goes_on(const ox_split *s, const ox_split *next)
{
    return asks_for_members(next) && next->feature == s->feature && next->yes == s->yes &&
           next->missing == s->missing;
}

/* Tests for equality in a row that lead to one subtree, as converters write sets of categories, are
 * one test: else the subtree would be there once for each member. */
static const ox_split *merged(const walk *w, const ox_split *s)
{
    const ox_split *all = w->f->splits, *last = s;
    size_t nodes = 0, count = s->count, at = 0;
    for (; asks_for_members(s) && goes_on(s, &all[last->no]); last = &all[last->no]) {
        if (nodes++ == w->f->count) {
            bad(w,
                ox_arena_format(w->a, "tree %zu has nodes that lead back to themselves", w->tree));
        }
        count += all[last->no].count;
    }
    if (last == s) {
        return s;
    }
    ox_budget_spend(w->a, OX_COST_ELEMENTS, count);
    double *values = ox_arena_alloc(w->a, count, sizeof *values);
    for (const ox_split *each = s;; each = &all[each->no]) {
        for (size_t i = 0; i < each->count; i++) {
            values[at++] = each->values[i];
        }
        if (each == last) {
            break;
        }
    }
    ox_split *one = ox_arena_copy(w->a, s, 1, sizeof *one);
    one->test = OX_TEST_MEMBER;
    one->no = last->no;
    one->count = count;
    one->values = values;
    return one;
}

/* On the way down each node leaves one other behind. */
static void make_room(walk *w)
{
    size_t room;
    if (!ox_size_add(w->f->count, 4, &room)) {
        bad(w, "it has too many nodes");
    }
    w->stack = ox_arena_alloc(w->a, room, sizeof *w->stack);
}

static void push(walk *w, size_t at, const step *path)
{
    w->stack[w->depth++] = (visit){at, path};
}

static void branch(walk *w, const ox_split *s, const step *up, bool yes)
{
    step *p = ox_arena_alloc(w->a, 1, sizeof *p);
    *p = (step){up, s, yes, up == NULL ? 1 : up->depth + 1};
    push(w, yes ? s->yes : s->no, p);
}

ox_boxes ox_forest_boxes(const ox_forest *f, int64_t features)
{
    walk w = {.f = f, .a = f->node->graph->arena, .features = features};
    make_room(&w);
    for (w.tree = 0; w.tree < f->tree_count; w.tree++) {
        push(&w, f->roots[w.tree], NULL);
        while (w.depth > 0) {
            visit v = w.stack[--w.depth];
            const ox_split *s = &f->splits[v.at];
            ox_budget_spend(w.a, OX_COST_ELEMENTS, 1);
            if (s->test == OX_TEST_LEAF) {
                add_leaf(&w, s, v.path);
                continue;
            }
            check_split(&w, v.at, v.path);
            s = merged(&w, s);
            branch(&w, s, v.path, false);
            branch(&w, s, v.path, true);
        }
    }
    return w.boxes;
}
