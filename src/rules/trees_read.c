/* The spellings of ensembles of trees in ai.onnx.ml: lists of nodes that name their tree and number
 * (TreeEnsembleRegressor, TreeEnsembleClassifier), and lists of inner nodes and of leaves that name
 * places in these (TreeEnsemble). A file may say anything: each index is looked at here, and
 * whether the nodes make trees where these are walked (trees_boxes.c). */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/table.h"
#include "rules/decompose.h"
#include "rules/trees.h"

static _Noreturn void bad(const ox_node *n, const char *what)
{
    ox_fail(n->graph->arena, OX_INVALID, "%s: %s", ox_node_label(n), what);
}

/* ---- attributes ------------------------------------------------------------------------------ */

static const double *floats(const ox_node *n, const ox_attr *a, size_t *count)
{
    if (a->kind == OX_ATTR_TENSOR && a->tensor != NULL) {
        *count = ox_const_count(a->tensor);
        return ox_const_doubles(n->graph->arena, a->tensor);
    }
    if (a->kind != OX_ATTR_FLOATS) {
        return NULL;
    }
    double *all = ox_arena_alloc(n->graph->arena, a->count + 1, sizeof *all);
    for (size_t i = 0; i < a->count; i++) {
        all[i] = (double)a->floats[i];
    }
    *count = a->count;
    return all;
}

/* The attribute under either of its names; NULL where there is none, or an empty one. */
static const ox_attr *either(const ox_node *n, const char *name)
{
    const ox_attr *a = ox_node_attr(n, name);
    bool empty = a == NULL || (a->kind == OX_ATTR_FLOATS && a->count == 0);
    return empty ? ox_node_attr(n, ox_arena_format(n->graph->arena, "%s_as_tensor", name)) : a;
}

const double *ox_forest_numbers(const ox_node *n, const char *name, size_t *count)
{
    const ox_attr *a = either(n, name);
    *count = 0;
    const double *all = a == NULL ? NULL : floats(n, a, count);
    if (a != NULL && all == NULL) {
        bad(n, ox_arena_format(n->graph->arena, "%s holds no numbers", name));
    }
    return all;
}

/* Lists of one length: what `count` is, or becomes with the first. */
typedef struct lists {
    const ox_node *node;
    const char *first;
    size_t count;
} lists;

static void check_count(lists *l, const char *name, size_t count)
{
    if (l->first == NULL) {
        l->first = name;
        l->count = count;
    } else if (l->count != count) {
        bad(l->node, ox_arena_format(l->node->graph->arena, "%s has %zu entries, %s has %zu", name,
                                     count, l->first, l->count));
    }
}

static const int64_t *ints(lists *l, const char *name)
{
    size_t count;
    const int64_t *all = ox_node_ints(l->node, name, &count);
    check_count(l, name, count);
    return all;
}

static const double *numbers(lists *l, const char *name)
{
    size_t count;
    const double *all = ox_forest_numbers(l->node, name, &count);
    check_count(l, name, count);
    return all;
}

/* The same where it may be left out: NULL then. */
static const int64_t *ints_or_none(lists *l, const char *name)
{
    size_t count;
    ox_node_ints(l->node, name, &count);
    return count == 0 ? NULL : ints(l, name);
}

/* ---- what all spellings share ---------------------------------------------------------------- */

static bool is_ensemble(const ox_node *n)
{
    return strcmp(n->op, "TreeEnsemble") == 0;
}

static bool is_classifier(const ox_node *n)
{
    return strcmp(n->op, "TreeEnsembleClassifier") == 0;
}

int64_t ox_forest_classes(const ox_node *n)
{
    const ox_attr *strings = ox_node_attr(n, "classlabels_strings");
    const ox_attr *numbers = ox_node_attr(n, "classlabels_int64s");
    size_t count = strings != NULL && strings->count > 0 ? strings->count
                   : numbers != NULL                     ? numbers->count
                                                         : 0;
    return (int64_t)count;
}

static const char *aggregate(const ox_node *n)
{
    static const char *const names[] = {"AVERAGE", "SUM", "MIN", "MAX"};
    if (!is_ensemble(n)) {
        return ox_node_string(n, "aggregate_function", "SUM");
    }
    int64_t kind = ox_node_int(n, "aggregate_function", 1);
    return kind >= 0 && kind < 4 ? names[kind] : "none that is known";
}

static void set_share(ox_forest *f)
{
    const char *name = aggregate(f->node);
    bool average = strcmp(name, "AVERAGE") == 0;
    if (!average && strcmp(name, "SUM") != 0) {
        ox_made_fail(f->node,
                     ox_arena_format(f->node->graph->arena,
                                     "aggregate_function %s is no sum over the trees", name));
    }
    f->share = average && f->tree_count > 0 ? 1 / (double)f->tree_count : 1;
}

static void check_target(const ox_forest *f, int64_t target)
{
    if (target < 0 || target >= f->targets) {
        bad(f->node,
            ox_arena_format(f->node->graph->arena, "a leaf adds to target %" PRId64 " of %" PRId64,
                            target, f->targets));
    }
}

/* ---- TreeEnsembleRegressor and TreeEnsembleClassifier ---------------------------------------- */

static ox_test test_of(const ox_node *n, const char *name)
{
    static const char *const names[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",    "BRANCH_GT",
                                        "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (i != OX_TEST_MEMBER && strcmp(name, names[i]) == 0) {
            return (ox_test)i;
        }
    }
    bad(n, ox_arena_format(n->graph->arena, "no node mode is called \"%.40s\"", name));
}

/* Nodes by their tree and number. */
typedef struct names {
    ox_table table;
    const int64_t *trees, *ids;
    size_t *places; /* 0, 1, ..: what the table points to */
} names;

static uint64_t hash_name(int64_t tree, int64_t id)
{
    uint64_t hash = ox_hash(0, &tree, sizeof tree);
    return ox_hash(hash, &id, sizeof id);
}

/* SIZE_MAX where there is none. */
static size_t find_node(const names *all, int64_t tree, int64_t id)
{
    size_t at = OX_TABLE_START;
    uint64_t hash = hash_name(tree, id);
    for (const size_t *place; (place = ox_table_next(&all->table, hash, &at)) != NULL;) {
        if (all->trees[*place] == tree && all->ids[*place] == id) {
            return *place;
        }
    }
    return SIZE_MAX;
}

static void name_nodes(const ox_node *n, names *all, size_t count)
{
    ox_arena *a = n->graph->arena;
    all->table = (ox_table){.arena = a};
    all->places = ox_arena_alloc(a, count, sizeof *all->places);
    for (size_t i = 0; i < count; i++) {
        if (find_node(all, all->trees[i], all->ids[i]) != SIZE_MAX) {
            bad(n, ox_arena_format(a, "node %" PRId64 " of tree %" PRId64 " is there twice",
                                   all->ids[i], all->trees[i]));
        }
        all->places[i] = i;
        ox_table_add(&all->table, hash_name(all->trees[i], all->ids[i]), &all->places[i]);
    }
}

static size_t need_node(const ox_node *n, const names *all, int64_t tree, int64_t id)
{
    size_t found = find_node(all, tree, id);
    if (found == SIZE_MAX) {
        bad(n, ox_arena_format(n->graph->arena,
                               "node %" PRId64 " of tree %" PRId64 " is named, but not there", id,
                               tree));
    }
    return found;
}

/* The first node of each tree is its root. */
static void find_roots(ox_forest *f, const names *all)
{
    ox_arena *a = f->node->graph->arena;
    ox_table seen = {.arena = a};
    for (size_t i = 0; i < f->count; i++) {
        if (i > 0 && all->trees[i] == all->trees[i - 1]) {
            continue;
        }
        size_t at = OX_TABLE_START;
        uint64_t hash = hash_name(all->trees[i], 0);
        for (const size_t *place; (place = ox_table_next(&seen, hash, &at)) != NULL;) {
            if (all->trees[*place] == all->trees[i]) {
                bad(f->node, ox_arena_format(a, "the nodes of tree %" PRId64 " are not in a row",
                                             all->trees[i]));
            }
        }
        ox_table_add(&seen, hash, &all->places[i]);
        f->roots = ox_arena_grow(a, f->roots, f->tree_count, sizeof *f->roots);
        f->roots[f->tree_count++] = i;
    }
}

/* Names of one kind of model's leaves: "class" or "target". */
static void add_weights(ox_forest *f, const names *all, const char *kind)
{
    ox_arena *a = f->node->graph->arena;
    lists l = {.node = f->node};
    const int64_t *targets = ints(&l, ox_arena_format(a, "%s_ids", kind));
    const int64_t *nodes = ints(&l, ox_arena_format(a, "%s_nodeids", kind));
    const int64_t *trees = ints(&l, ox_arena_format(a, "%s_treeids", kind));
    const double *weights = numbers(&l, ox_arena_format(a, "%s_weights", kind));
    for (size_t i = 0; i < l.count; i++) {
        ox_split *leaf = &f->splits[need_node(f->node, all, trees[i], nodes[i])];
        check_target(f, targets[i]);
        if (leaf->test == OX_TEST_LEAF) { /* those of others are never met */
            leaf->weights = ox_arena_grow(a, leaf->weights, leaf->count, sizeof *leaf->weights);
            leaf->weights[leaf->count++] = (ox_weight){targets[i], weights[i]};
        }
    }
}

static void read_named(ox_forest *f)
{
    const ox_node *n = f->node;
    ox_arena *a = n->graph->arena;
    lists l = {.node = n};
    names all = {.trees = ints(&l, "nodes_treeids"), .ids = ints(&l, "nodes_nodeids")};
    const int64_t *features = ints(&l, "nodes_featureids");
    const int64_t *yes = ints(&l, "nodes_truenodeids"), *no = ints(&l, "nodes_falsenodeids");
    const int64_t *missing = ints_or_none(&l, "nodes_missing_value_tracks_true");
    const double *values = numbers(&l, "nodes_values");
    const ox_attr *modes = ox_node_attr(n, "nodes_modes");
    check_count(&l, "nodes_modes",
                modes == NULL || modes->kind != OX_ATTR_STRINGS ? 0 : modes->count);
    name_nodes(n, &all, l.count);
    f->count = l.count;
    f->splits = ox_arena_alloc(a, l.count, sizeof *f->splits);
    for (size_t i = 0; i < l.count; i++) {
        ox_split *s = &f->splits[i];
        s->test = test_of(n, modes->strings[i]);
        if (s->test == OX_TEST_LEAF) {
            continue;
        }
        s->missing = missing != NULL && missing[i] != 0;
        s->feature = features[i];
        s->yes = need_node(n, &all, all.trees[i], yes[i]);
        s->no = need_node(n, &all, all.trees[i], no[i]);
        s->values = &values[i];
        s->count = 1;
    }
    find_roots(f, &all);
    add_weights(f, &all, is_classifier(n) ? "class" : "target");
}

/* ---- TreeEnsemble ---------------------------------------------------------------------------- */

static const double *tensor(lists *l, const char *name)
{
    size_t count = 0;
    const ox_attr *a = ox_node_attr(l->node, name);
    const double *all = a == NULL ? NULL : floats(l->node, a, &count);
    if (all == NULL) {
        bad(l->node, ox_arena_format(l->node->graph->arena, "%s holds no numbers", name));
    }
    check_count(l, name, count);
    return all;
}

/* A place among the leaves, which stand behind the inner nodes, or among these. */
static size_t place(const ox_forest *f, size_t inner, int64_t leaf, int64_t index)
{
    size_t first = leaf != 0 ? inner : 0, end = leaf != 0 ? f->count : inner;
    if (index < 0 || (uint64_t)index >= end - first) {
        bad(f->node, ox_arena_format(f->node->graph->arena, "%s %" PRId64 " is named of %zu",
                                     leaf != 0 ? "leaf" : "node", index, end - first));
    }
    return first + (size_t)index;
}

/* Sets of members, one behind the other, with NaN between: hands out the next. */
static void take_members(ox_split *s, const double *members, size_t count, size_t *at)
{
    size_t first = *at < count ? *at : count;
    for (*at = first; *at < count && !isnan(members[*at]);) {
        ++*at;
    }
    s->values = count == 0 ? NULL : members + first;
    s->count = *at - first;
    ++*at;
}

static void read_leaves(ox_forest *f, size_t inner, const lists *l, const int64_t *targets,
                        const double *weights)
{
    for (size_t i = 0; i < l->count; i++) {
        ox_split *s = &f->splits[inner + i];
        check_target(f, targets[i]);
        s->test = OX_TEST_LEAF;
        s->count = 1;
        s->weights = ox_arena_alloc(f->node->graph->arena, 1, sizeof *s->weights);
        *s->weights = (ox_weight){targets[i], weights[i]};
    }
}

static void read_placed(ox_forest *f)
{
    const ox_node *n = f->node;
    ox_arena *a = n->graph->arena;
    lists l = {.node = n}, leaves = {.node = n};
    const int64_t *features = ints(&l, "nodes_featureids");
    const int64_t *yes = ints(&l, "nodes_truenodeids"), *no = ints(&l, "nodes_falsenodeids");
    const int64_t *yes_leaf = ints(&l, "nodes_trueleafs"), *no_leaf = ints(&l, "nodes_falseleafs");
    const int64_t *missing = ints_or_none(&l, "nodes_missing_value_tracks_true");
    const double *modes = tensor(&l, "nodes_modes"), *values = tensor(&l, "nodes_splits");
    const int64_t *targets = ints(&leaves, "leaf_targetids");
    const double *weights = tensor(&leaves, "leaf_weights");
    size_t member_count = 0, root_count, at = 0;
    const double *members = ox_forest_numbers(n, "membership_values", &member_count);
    const int64_t *roots = ox_node_ints(n, "tree_roots", &root_count);
    if (!ox_size_add(l.count, leaves.count, &f->count)) {
        bad(n, "it has too many nodes");
    }
    f->splits = ox_arena_alloc(a, f->count, sizeof *f->splits);
    for (size_t i = 0; i < l.count; i++) {
        ox_split *s = &f->splits[i];
        if (!(modes[i] >= 0 && modes[i] <= (double)OX_TEST_MEMBER)) {
            bad(n, ox_arena_format(a, "no node mode has the number %g", modes[i]));
        }
        s->test = (ox_test)modes[i];
        s->missing = missing != NULL && missing[i] != 0;
        s->feature = features[i];
        s->yes = place(f, l.count, yes_leaf[i], yes[i]);
        s->no = place(f, l.count, no_leaf[i], no[i]);
        s->values = &values[i];
        s->count = 1;
        if (s->test == OX_TEST_MEMBER) {
            take_members(s, members, member_count, &at);
        }
    }
    read_leaves(f, l.count, &leaves, targets, weights);
    f->tree_count = root_count;
    f->roots = ox_arena_alloc(a, root_count, sizeof *f->roots);
    for (size_t i = 0; i < root_count; i++) {
        f->roots[i] = place(f, l.count, 0, roots[i]);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

const ox_forest *ox_forest_read(const ox_node *n)
{
    ox_forest *f = ox_arena_alloc(n->graph->arena, 1, sizeof *f);
    ox_val x = ox_node_input(n, 0);
    f->node = n;
    f->wide = x != NULL && x->type == OX_DOUBLE;
    f->targets = is_classifier(n) ? ox_forest_classes(n) : ox_node_int(n, "n_targets", 1);
    if (f->targets < 1) {
        bad(n, is_classifier(n) ? "it has no classes" : "it has no targets");
    }
    if (is_ensemble(n)) {
        read_placed(f);
    } else {
        read_named(f);
    }
    set_share(f);
    return f;
}
