/* Ensembles of decision trees: how the three spellings of ai.onnx.ml are read, and their leaves as
 * boxes. Used by rules/trees*.c alone. */
#ifndef OX_RULES_TREES_H
#define OX_RULES_TREES_H

#include "rules/rules.h"

typedef enum ox_test {
    OX_TEST_LEQ,
    OX_TEST_LT,
    OX_TEST_GTE,
    OX_TEST_GT,
    OX_TEST_EQ,
    OX_TEST_NEQ,
    OX_TEST_MEMBER,
    OX_TEST_LEAF
} ox_test;

/* What a leaf adds to a target. */
typedef struct ox_weight {
    int64_t target;
    double value;
} ox_weight;

/* A node of a tree: a test of one feature, or a leaf. */
typedef struct ox_split {
    ox_test test;
    bool missing; /* NaN passes */
    int64_t feature;
    size_t yes, no;       /* among the nodes */
    size_t count;         /* of values, or of weights */
    const double *values; /* one, or as many as there are members */
    ox_weight *weights;
} ox_split;

typedef struct ox_forest {
    const ox_node *node;
    ox_split *splits;
    size_t count;
    size_t *roots; /* one a tree */
    size_t tree_count;
    int64_t targets;
    double share; /* what a tree counts: 1, or 1/trees */
    bool wide;    /* thresholds are compared as doubles */
} ox_forest;

/* Reads the trees of a TreeEnsemble, TreeEnsembleRegressor or TreeEnsembleClassifier; gives up,
 * naming the node, on what is no tree, and on sums of another kind. rules/trees_read.c. */
const ox_forest *ox_forest_read(const ox_node *n);

/* Of a classifier: the number of classes. */
int64_t ox_forest_classes(const ox_node *n);

/* The numbers of an attribute, floats or a tensor of them, under this name or with `_as_tensor`. */
const double *ox_forest_numbers(const ox_node *n, const char *name, size_t *count);

/* The values of a feature that lead to a leaf: those in one of the closed ranges, and NaN where
 * `missing`. */
typedef struct ox_range {
    double low, high;
} ox_range;

typedef struct ox_side_of_box {
    int64_t feature;
    size_t count; /* of ranges */
    const ox_range *ranges;
    bool missing;
} ox_side_of_box;

/* A leaf: the features on its path, each once, and what it adds. */
typedef struct ox_box {
    size_t tree;
    size_t count; /* of sides */
    const ox_side_of_box *sides;
    size_t weight_count;
    const ox_weight *weights;
} ox_box;

typedef struct ox_boxes {
    size_t count;
    ox_box *items;
} ox_boxes;

/* The leaves of all trees, without those that nothing reaches, a shared one once for each way to
 * it; gives up where nodes lead back to themselves. Features lie in [0, features).
 * rules/trees_boxes.c. */
ox_boxes ox_forest_boxes(const ox_forest *f, int64_t features);

#endif
