/* The two sides of a value of the lifted graph, the sample's and the references', and what is known
 * of them. Rules ask for it through rules.h. */
#ifndef OX_RULES_SIDE_H
#define OX_RULES_SIDE_H

#include "graph/graph.h"

/* Known of all elements of a value, in rising order. */
typedef enum ox_sign {
    OX_SIGN_UNKNOWN, /* not asked yet */
    OX_SIGN_ANY,
    OX_SIGN_NOT_NEGATIVE,
    OX_SIGN_POSITIVE
} ox_sign;

/* Where the samples lie in a value: dims[axis] = before * N * after. explain/place.c. */
typedef struct ox_place {
    bool known;
    int axis;
    int64_t before, after;
    bool scale; /* not known, as it is, or comes from, a scale of the whole batch */
} ox_place;

/* What is known of a value of the lifted graph. */
typedef struct ox_side {
    bool depends; /* on an input, if only through its shape */
    bool varies;  /* may differ between sample and reference */
    bool sized;   /* may differ in its sizes */
    bool held;    /* the sample's on both sides, whatever it is computed from */
    bool of_held; /* it, or computed from it, if only from its shape: another for each sample */
    bool counts;  /* does not vary, but depends on the number of samples */
    bool fusible; /* may be part of what ONNX Runtime computes in integers: not to be read */
    bool exact;   /* compared with thresholds by a rule: references are not to be rounded */
    bool order_seen;
    bool is_point;       /* explained in place of the inputs: multipliers stop here */
    bool decomposed;     /* of output 0: its node is, and its outputs have their aliases */
    const char *refused; /* of output 0: why its node cannot be decomposed */
    ox_val raw;          /* in the reference graph, with the references' batch */
    ox_val raw_inside;   /* the same in the body of predicted.c */
    ox_val raw_apart;    /* the same where it is fusible, beside the nodes that are fused */
    ox_val pairs;        /* in the flow graph, with a batch of all pairs of reference and sample */
    ox_val apart;        /* the sample's, in the model's graph, beside them */
    ox_val twin;         /* the same, to be fused on its own */
    ox_val view;         /* the reference in the flow graph, [R, own shape] */
    ox_val sample;       /* in the flow graph */
    ox_val legs[2];      /* the same at the ends of a leg, where both are points of a step */
    ox_val alias;        /* the value in its place in its node's decomposition */
    ox_val m;            /* sum of the multipliers that arrived */
    ox_val q;            /* the same of the second order, rules/second.h */
    ox_val variance;     /* V there, in the flow graph */
    ox_val mean;         /* where half of the players are in, rules/mean_path.c; NULL: the middle */
    ox_place place;
    const ox_node *last_cut;   /* of the Slices and Gathers of it, rules/cut.c */
    const ox_node *cut_before; /* of the result of one: the one before, of the same value */
    ox_sign sign;
    bool beyond_known;
    unsigned beyond, wanted;         /* explain/beyond.c's */
    bool folds, of_references, kept; /* explain/footprint.c's */
} ox_side;

ox_side *ox_side_of(ox_val v);

/* "; --hold=NAME ..": how v can be held, or "" where it has no name in the model. */
const char *ox_hold_hint(ox_arena *a, ox_val v);

/* Holds v, before anything else is asked of it. */
void ox_side_hold(ox_val v);

/* Whether the node's results are random, whatever goes in. */
bool ox_draws(const ox_node *n);

/* Whether the node's result depends on the shape of its input alone. */
bool ox_only_shape(const ox_node *n);

/* Whether v is fusible, as its operands say: see explain/fusible.c. */
bool ox_side_fusible(ox_val v);

/* Whether n is a product with weights that ONNX Runtime may take as they are stored. */
bool ox_side_packed(const ox_node *n);

/* The type of the multiplier of a floating-point value: its own, at least float32. That of other
 * values has the type in which it arrives, which may change up to when its node is visited. */
ox_type ox_side_type(ox_type own);

/* Adds m to the multiplier of v, or to that of the second order. */
void ox_side_add(ox_val v, ox_val m);
void ox_side_add_second(ox_val v, ox_val q);

#endif
