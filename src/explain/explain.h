/* Explaining: forward on the sample, the reference branch, one backward walk, the mean over the
 * references. The parts of it, in the order in which explain.c calls them:
 *
 *     explain/method.c     the methods, which say what of the following they need
 *     explain/attempt.c    the way into a model, shared with ox_inspect
 *     explain/fix.c        inputs that are settings
 *     explain/hold.c       what keeps the sample's value
 *     explain/bind.c       which inputs are explained, batch axes, references
 *     explain/references.c       the references in the graph
 *     explain/plan.c       what is kept of the references, how many a step, in which graphs
 *     explain/footprint.c  what that takes of memory, of which a bound is a promise
 *     explain/objective.c  what is made of the output: logits, losses, cosine
 *     explain/target.c     which output values: the multiplier that the walk starts with
 *     explain/places.c     the text of a target
 *     explain/order.c      the nodes that it reaches
 *     explain/sign.c       which values are above 0
 *     explain/beyond.c     which values may be infinite or NaN
 *     explain/shapes.c     shapes that are computed with
 *     explain/place.c      where the samples lie in a value
 *     explain/walk.c       the walk
 *     explain/standin.c    numbers in place of what is infinite or NaN
 *     explain/fusible.c    values that ONNX Runtime fuses, which nothing of ours may read
 *     explain/branch.c  the reference branch, and its values as the walk sees them
 *     explain/cache.c       its values that are computed once and kept
 *     explain/steps.c       the walk inside a Scan over the references
 *     explain/rest.c       what no rule could give to its inputs
 *     explain/result.c     the mean over the references, and the outputs
 *     explain/ours.c       names of what is added
 *     explain/splits.c     the walk from a reference to a mixture, and on to the sample
 *     explain/range.c      the scale of references and samples
 *     explain/note.c       what callers are told meanwhile
 *     explain/check.c      what the explained model gives: is it finite, does it add up?
 *     explain/check_model.c  the same by the metadata of a model in memory
 *     explain/curves.c     the model on the way from sample to references
 *     explain/original.c   the model that was explained, and its references
 *
 * Three graphs may be involved. `g` is the model's. Multipliers live in `flow`: the same one, or
 * the body of a Scan. References are computed in `refs`: the model's graph, the body, or a graph
 * of its own whose results are run once and kept (OX_CACHE_FILE). */
#ifndef OX_EXPLAIN_H
#define OX_EXPLAIN_H

#include "lift/lift.h"
#include "rules/rules.h"
#include "rules/side.h"
#include "shape/shape.h"

/* An input that is explained, or a tensor in place of the inputs; the latter has no references of
 * its own. */
typedef struct ox_explained {
    ox_val x;
    int batch_axis;         /* -1: none */
    const ox_tensor *given; /* its references, or NULL */
} ox_explained;

/* Each of these is written by one pass, and const to all that come after. */

/* What is explained, by what, and where its samples are: attempt.c, bind.c, hold.c, shapes.c. */
typedef struct ox_binding {
    ox_val output;        /* explained */
    ox_val output_tensor; /* the model's own that it is made of, or itself */
    int output_batch_axis;
    ox_type type; /* of the explained output's multiplier, f(x) and base value: float or double */

    ox_explained *inputs; /* that differ between sample and reference */
    size_t input_count;
    ox_val *held; /* inputs and tensors of options.hold */
    size_t held_count;
    bool draws;           /* the output needs random numbers */
    ox_explained *points; /* that get SHAP values: the inputs, or the tensors of options.at */
    size_t point_count;
    bool batch_free;    /* N is symbolic */
    int64_t batch;      /* N where it is fixed, 1 without a batch axis */
    bool one_at_a_time; /* references cannot be told from the sample's batch */
    bool counts_batch;  /* the output depends on N, as a number */
    bool fold_shapes;   /* the output needs shapes of inputs that have no references */
    bool sample_shapes; /* and not all are numbers: references take the sample's */
    int64_t refs_count; /* R, 0 where it is known at run time only */
} ox_binding;

/* The nodes that multipliers reach, consumers first: order.c. */
typedef struct ox_order {
    ox_node **nodes;
    size_t count;
} ox_order;

/* Which values of the output are explained: target.c. */
typedef struct ox_target {
    int64_t count;        /* K */
    bool many;            /* the target axis exists */
    int64_t size;         /* D, the output's values per sample */
    ox_val flat;          /* int64 [N, K] flat indices, in `g` */
    const double *picked; /* [K, D], 0 where not explained; NULL where data or callers choose */
    ox_val rows;          /* [K, 1, D] for sums and differences, else NULL */
} ox_target;

/* How rows may be cut into batches. */
typedef enum ox_cut {
    OX_CUT_ANY,
    OX_CUT_ALONE, /* samples of a batch share what they are rounded by: one at a time */
    OX_CUT_WHOLE, /* they may depend on each other, or on how many there are: all at once */
} ox_cut;

/* How it is done: plan.c. */
typedef struct ox_plan {
    bool one_at_a_time; /* references enter one by one, repeated to the sample's batch */
    ox_cut cut;
    int64_t padded;       /* R rounded up to whole chunks */
    int64_t chunk;        /* references per step, 0: no Scan over references */
    int64_t target_chunk; /* targets per step, 0: no Scan over targets */
    ox_cache cache;
    bool chosen;           /* the cache was, and may be another one */
    uint64_t works;        /* bytes that a run of one sample takes, about, besides what follows */
    uint64_t loads, holds; /* of the references, while a session is made and afterwards */
} ox_plan;

/* References of one explained input: references.c. */
typedef struct ox_fed {
    ox_val all;    /* in the model's graph: R along the batch axis */
    ox_val slices; /* in the model's graph: [R, own shape with 1 in place of N] */
} ox_fed;

/* A value that enters a Scan body. */
typedef struct ox_entry {
    ox_val outside, inside;
    ox_val next; /* state after the step; NULL for scanned values */
} ox_entry;

/* A reference value that is computed once and kept. */
typedef struct ox_cached {
    ox_val value;    /* of the lifted graph */
    ox_val computed; /* in the reference graph */
    ox_val kept;     /* the constant */
} ox_cached;

/* The model once more beside itself, and the graphs that it is in: references.c, branch.c, steps.c,
 * cache.c. */
typedef struct ox_fork {
    ox_graph *flow, *refs;
    bool points;    /* both sides are what a value is at a point */
    bool legs;      /* or at two of them, */
    bool copies;    /* which two copies of the model are at, else points of a step */
    ox_val ends[2]; /* of the first kind: whose point stands for sample and reference, [N] */
    bool folded;    /* N is another number than in the model's graph */
    int lead;       /* lead axes of multipliers: K and R as far as they exist */
    ox_fed *fed;    /* by input */

    ox_table state_index;       /* of the states, by name of what is outside */
    ox_entry *states, *scanned; /* of the Scan */
    size_t state_count, scanned_count;
    ox_val weight; /* in `flow`: weights of the chunk's references, or NULL: all 1 */

    ox_table cached_index; /* by type and name of what is computed */
    ox_cached *cached;
    size_t cached_count;
} ox_fork;

/* What comes out: walk.c, rest.c, and the method. */
typedef struct ox_found {
    ox_val seed;       /* [K, 1, own shape of the output]: the first multiplier */
    ox_val rest;       /* terms that no rule passed on, summed, [lead, N], or NULL */
    ox_val rest_whole; /* the same of values in which samples cannot be told apart, [lead] */
    size_t holes;      /* nodes that let no multiplier pass, with options.force */
    ox_val *phi;       /* SHAP values of each point, [K, own shape] */
    ox_val *error;     /* their standard errors, or NULL */
    ox_val *multipliers, *hypothetical; /* extra.c: like phi, or NULL */
    int64_t *grouped; /* by input: groups that have values in place of its own shape, or 0; NULL */
    const char *group_names; /* lines, of all inputs, or NULL */
    ox_val base;             /* mean f(r) of the targets [K, N] */
    ox_val curve;            /* curves.c: [N, K, steps + 1] as far as these axes exist, or NULL */
} ox_found;

/* Whether values add up to f(x) - base value. */
typedef enum ox_sum {
    OX_SUM_NONE,       /* they are not meant to, or are estimates */
    OX_SUM_EXACT,      /* but for rounding */
    OX_SUM_QUADRATURE, /* but for the error of a sum in place of an integral */
} ox_sum_kind;

/* A method: what is run beside the model, and what is made of it. */
typedef struct ox_method {
    const char *name;
    bool needs_rules;                                  /* multipliers pass through the model */
    bool players;                                      /* its values are those of groups already */
    bool by_reference;                                 /* there are multipliers of each */
    ox_sum_kind sum;                                   /* what its values add up to */
    void (*check)(const ox_explain_state *s);          /* gives up where options do not fit */
    void (*steps)(ox_explain_state *s, ox_plan *plan); /* cache and chunk */
    void (*feed)(ox_explain_state *s);                 /* what the branch is run on */
    void (*attribute)(ox_explain_state *s);            /* found->phi and found->base */
    void (*outputs)(ox_explain_state *s);              /* others than values; NULL: those */

    /* The nodes whose rule is another one, and that. */
    bool (*replaces)(const ox_explain_state *s, const ox_node *n);
    void (*replace)(ox_explain_state *s, ox_ctx *c);
} ox_method;

struct ox_explain_state {
    ox_model *model; /* the result in the making */
    const ox_options *options;
    ox_arena *arena;
    ox_graph *g;
    bool blank;      /* the references have no contents: nothing is run */
    bool no_output;  /* there is none that could be explained */
    const char *aim; /* the target's text, but for what objective.c has taken of it */
    uint64_t too_large[OX_CACHE_NONE + 1]; /* bytes of a cache that was tried and does not fit */
    bool again;                            /* start once more, with another cache */

    const ox_method *method;
    const ox_binding *bind; /* in the order in which they are made */
    const ox_order *order;
    const ox_plan *plan;
    const ox_target *target;
    ox_fork *branch;
    ox_found *found;
};

/* ---- explain.c ------------------------------------------------------------------------------ */

/* Gives up where the options do not fit the model that has been begun with. */
void ox_explain_check_given(const ox_explain_state *s);

/* Gives up where a node that multipliers reach has no rule. */
void ox_explain_check_rules(ox_explain_state *s);

/* Builds the explained graph; values kept of the references have no contents yet. */
void ox_explain_build(ox_explain_state *s);

/* ---- explain/method.c ----------------------------------------------------------------------- */

/* The one that the options name; gives up where there is none. */
const ox_method *ox_method_find(ox_arena *a, const ox_options *o);

/* The one of ox_curves. */
const ox_method *ox_method_curves(void);

/* ---- explain/gradients.c -------------------------------------------------------------------- */

void ox_gradient_check(const ox_explain_state *s);
void ox_gradient(ox_explain_state *s);
void ox_gradient_times_input(ox_explain_state *s);
void ox_integrated_gradients(ox_explain_state *s);
void ox_expected_gradients(ox_explain_state *s);
void ox_smooth_gradients(ox_explain_state *s);

/* ---- explain/coalitions.c, explain/permutations.c ------------------------------------------- */

void ox_exact(ox_explain_state *s);
void ox_kernel(ox_explain_state *s);
void ox_permutation(ox_explain_state *s);
void ox_occlusion(ox_explain_state *s);

/* ---- explain/curves.c ---------------------------------------------------------------------- */

/* found->curve, of the input shap_step; and the outputs. */
void ox_curves_values(ox_explain_state *s);
void ox_curves_outputs(ox_explain_state *s);

/* explain/players.c: sums found->phi over the groups of options. */
void ox_players_sum_all(ox_explain_state *s);

/* Gives up where options ask for more than the model's outputs. */
void ox_black_box_check(const ox_explain_state *s);

/* ---- explain/attempt.c ---------------------------------------------------------------------- */

typedef void (*ox_explain_work)(ox_explain_state *s, void *user);

/* Copies the model, begins with the batch that it declares, or with one of 1 where that does not
 * stay free, and calls work; once more where that sets s->again. What s->blank says is kept. False,
 * s->model NULL and err on failure; else s->model is the caller's. */
bool ox_explain_attempt(ox_explain_state *s, const ox_model *source, const ox_options *options,
                        ox_explain_work work, void *user, ox_error *err);

/* ---- explain/fix.c -------------------------------------------------------------------------- */

/* Makes constants of the inputs that options.fix names. */
void ox_fix_inputs(ox_explain_state *s);

/* ---- explain/hold.c ------------------------------------------------------------------------- */

/* Whether options.hold names an input or tensor. */
bool ox_hold_names(const ox_options *o, const char *name);

/* Finds b->held by name in the graph as it is now; gives up where there is none of a name. */
void ox_hold_find(ox_explain_state *s, ox_binding *b);

/* Whether v is one of them, or drawn. */
bool ox_hold_is(const ox_explain_state *s, ox_val v);

/* Whether random numbers are needed, as ox_bind_mark_reached has marked. */
bool ox_hold_any_draw(const ox_graph *g);

/* ---- explain/bind.c ---------------------------------------------------------------------- */

/* Finds the explained inputs and the batch, checks the references against them, and sets the
 * dimensions of the inputs of s->model's graph. With force_fixed the batch is taken as 1. */
void ox_bind(ox_explain_state *s, ox_binding *b, bool force_fixed);

/* Marks as needed what the output is computed from; with `past_held` also what held values are. */
void ox_bind_mark_reached(ox_explain_state *s, bool past_held);

/* The named tensors inside the model that depend on its inputs, for messages. */
const char *ox_bind_list_tensors(ox_explain_state *s);

/* Gives an output of unknown shape the one that the model declares. */
void ox_bind_declared(const ox_explain_state *s, ox_val output);

/* The axis of samples in a value like the output, -1: none. */
int ox_bind_batch_axis(const ox_explain_state *s, ox_val y);

/* After lifting: false when the model declares a free batch that its nodes do not keep. */
bool ox_bind_check(ox_explain_state *s);

/* ---- explain/references.c -------------------------------------------------------------------- */

/* explain/original.c: the scope of the constant that an input's references are. */
const char *ox_references_scope(ox_arena *a, const char *input);

/* Adds the references to the graph, as constants or inputs. */
void ox_feed_references(ox_explain_state *s);

/* Whether each sample has one reference of its own shape: filled, or paired with it. */
bool ox_feed_is_own(const ox_explain_state *s);

/* `count` references of input i from `first` on, as they were given, as a constant of `g`. */
ox_val ox_feed_rows(ox_explain_state *s, ox_graph *g, size_t i, int64_t first, int64_t count);

/* References with R along the batch axis as [R, own shape with 1 in place of N]. */
ox_val ox_feed_slices(const ox_explained *e, ox_val references);

/* ---- explain/objective.c -------------------------------------------------------------------- */

/* What the target is about: y, or what is made of it behind the model. Sets s->aim. */
ox_val ox_objective(ox_explain_state *s, ox_val y);

/* options.target_array as numbers; gives up where there are not `count` of them. */
const double *ox_objective_array(ox_explain_state *s, int64_t count);

/* ---- explain/target.c --------------------------------------------------------------------- */

/* The output, or the tensor in its place, as it is before lifting. */
ox_val ox_target_output(ox_explain_state *s);

/* Finds what is explained: K, and the flat indices. */
const ox_target *ox_target_find(ox_explain_state *s);

/* Reads places, sums, differences and lists of an output of `dims` (without its batch axis): the
 * flat indices [K], -1 for sums, and rows [K, D] of what each is made of. Returns K; gives up where
 * the text is no target. */
size_t ox_target_places(ox_arena *a, const char *text, const char *output, int rank,
                        const int64_t *dims, int64_t **indices, double **rows);

/* The first multiplier [K, 1, own shape of the output] for flat indices [K, N]. */
ox_val ox_target_seed(ox_explain_state *s, ox_val indices);

/* values [K, 1, own shape of the output] times seed, summed: [K, N]. */
ox_val ox_target_pick(ox_explain_state *s, ox_val seed, ox_val values);

/* The targets' values in an output y that is like the explained one, with flat indices [N, K]: [N,
 * K]. */
ox_val ox_target_read(ox_explain_state *s, ox_val y, ox_val flat);

/* The output's batch: N, or 1. */
ox_dim ox_target_batch(const ox_explain_state *s);

/* f(x) of the targets, [K, N], in the model's graph. */
ox_val ox_target_value(ox_explain_state *s);

/* ---- explain/plan.c ------------------------------------------------------------------------- */

/* Begins a plan: whether one run of the reference branch takes all references. */
ox_plan *ox_plan_batch(ox_explain_state *s);

/* Decides on cache and chunk. */
void ox_plan_steps(ox_explain_state *s, ox_plan *plan);

/* Bytes that a pair of a point and a reference takes, about; `backwards`: with multipliers. */
uint64_t ox_plan_pair_bytes(ox_explain_state *s, bool backwards);

/* Bytes that a run may take. */
uint64_t ox_plan_memory(const ox_explain_state *s);

/* Bytes of the references as they are given. */
uint64_t ox_plan_given(const ox_explain_state *s);

/* ---- explain/footprint.c -------------------------------------------------------------------- */

/* Finds plan->loads and ->holds in the graph as it is built. Where a cache that was not asked for
 * does not fit, s->again is set. */
void ox_footprint_find(ox_explain_state *s, ox_plan *plan);

/* Gives up where the plan cannot keep to what the options allow, and says what was chosen, and
 * why. */
void ox_footprint_check(ox_explain_state *s);

/* ---- explain/result.c -------------------------------------------------------------------------
 */

/* Walks back and takes the mean over the references: s->found->phi and ->base, in the model's
 * graph. */
void ox_result_walk(ox_explain_state *s);

/* found->base alone, without multipliers. */
void ox_result_base(ox_explain_state *s);

/* found->base as [K, N], double. */
ox_val ox_result_base_by_target(ox_explain_state *s);

/* The axis of samples in the values of point i without their targets, -1: none. */
int ox_result_axis(const ox_explain_state *s, size_t i);

/* The multiplier of a point, whose sides are dx apart. */
ox_val ox_result_multiplier(ox_explain_state *s, const ox_explained *e, ox_val dx);

/* Adds the outputs. */
void ox_result_outputs(ox_explain_state *s);

/* Those of the targets and the base value alone. */
void ox_result_targets(ox_explain_state *s);

/* ---- explain/extra.c ------------------------------------------------------------------------ */

/* Gives up where options ask for what the method or an input has not. */
void ox_extra_check(const ox_explain_state *s);

/* What options ask for of point i, from its multiplier [K, R, own shape] and reference, in the flow
 * graph. */
void ox_extra_find(ox_explain_state *s, size_t i, ox_val m, ox_val x0);

/* Terms [K, R, own shape] summed over the references, weighted, outside of a Scan their mean; or
 * each of them. */
ox_val ox_extra_gather(ox_explain_state *s, const ox_explained *e, ox_val terms);

/* What came out of a Scan for each reference, as [K, R, own shape]. */
ox_val ox_extra_steps(ox_explain_state *s, ox_val v);

/* ---- explain/weights.c ---------------------------------------------------------------------- */

/* Gives up where options.weights do not fit the references. */
void ox_weights_check(const ox_explain_state *s);

/* The references' weights, of mean 1, and 0 for what fills up to `padded`; all 1 without options.
 */
const double *ox_weights_find(ox_explain_state *s, int64_t padded);

/* The reference at a place in [0, 1), of which each has its share. */
int64_t ox_weights_draw(ox_explain_state *s, const double *weights, double place);

/* ---- explain/ours.c ------------------------------------------------------------------------- */

/* A name of ours, with the prefix; gives up where the model uses it. */
const char *ox_ours_name(ox_explain_state *s, const char *name);

/* A new input of int64, and an output, under such a name. */
ox_val ox_ours_input(ox_explain_state *s, const char *name, int rank, const ox_dim *dims);
void ox_ours_output(ox_explain_state *s, ox_val v, const char *name);

/* ---- explain/rest.c ------------------------------------------------------------------------- */

/* What the prediction differs from the output that the walk starts with, for the seed. */
void ox_rest_output(ox_explain_state *s, ox_val seed);

/* Takes terms [lead axes, shape of v] that no rule passed on. */
void ox_rest_add(ox_explain_state *s, int lead, ox_val v, ox_val terms);

/* Adds to terms[i], m (x - x0) of point i, in the flow graph, its part of what no rule passed on;
 * dx[i] is x - x0. */
void ox_rest_spread(ox_explain_state *s, ox_val *terms, const ox_val *dx);

/* ---- explain/order.c ----------------------------------------------------------------------- */

const ox_order *ox_walk_order(ox_explain_state *s);

/* Why no multiplier passes a node that one reaches; NULL where one does. */
const char *ox_walk_missing(ox_explain_state *s, const ox_node *n);

/* The same with the node's name and the way out. */
const char *ox_walk_refusal(ox_explain_state *s, const ox_node *n, const char *why);

/* ---- explain/sign.c ------------------------------------------------------------------------ */

ox_sign ox_sign_of(ox_explain_state *s, ox_val v);

/* ---- explain/beyond.c ---------------------------------------------------------------------- */

/* Marks values that may be beyond numbers where that has an effect. */
void ox_beyond_find(ox_explain_state *s);

/* Whether v, which varies, is such a value, so that rules see stand-ins. */
bool ox_beyond(ox_explain_state *s, ox_val v);

/* Whether v may be beyond numbers, with an effect or without; and whether it may be NaN. */
bool ox_beyond_at_all(ox_explain_state *s, ox_val v);
bool ox_beyond_nan(ox_explain_state *s, ox_val v);

/* Whether the operator gives one value for one of each operand, but is no Where; whether it is a
 * softmax. */
bool ox_beyond_is_elementwise(const ox_node *n);
bool ox_beyond_is_rows(const ox_node *n);

/* ---- explain/standin.c --------------------------------------------------------------------- */

/* `seen`, a sample or reference of v, with stand-ins where v is beyond numbers; `always` also where
 * that has no effect. */
ox_val ox_standin(ox_explain_state *s, ox_val v, ox_val seen, bool always);

/* Whether the node's operands or results are beyond numbers; and its rule in that case. */
bool ox_standin_wants(ox_explain_state *s, const ox_node *n);
void ox_standin_visit(ox_explain_state *s, ox_ctx *c, ox_rule rule);

/* Gives up where references hold what no operator of the model replaces. */
void ox_standin_check(ox_explain_state *s);
/* ---- explain/shapes.c ---------------------------------------------------------------------- */

/* Finds out whether shapes are computed with that the reference branch has not. */
void ox_shapes_check(ox_explain_state *s, ox_binding *b);

/* ---- explain/place.c ----------------------------------------------------------------------- */

/* Finds ox_side.place of all values that there are. */
void ox_place_find(ox_explain_state *s);

/* The first node that multipliers reach of which a result's samples are not found, and why; NULL
 * where there is none. */
const char *ox_place_missing(ox_explain_state *s);

/* What that means for batches that rows are cut into, on the way to any output. */
ox_cut ox_place_cut(ox_explain_state *s);

/* The first node that loses the batch on the way to the output, and how, where it does not stay
 * free. */
const char *ox_place_lost(ox_explain_state *s);

/* ---- explain/walk.c ------------------------------------------------------------------------ */

void ox_walk(ox_explain_state *s, ox_val seed);

/* ---- explain/integrate.c -------------------------------------------------------------------- */

/* Gives up where options.integrate or .integrate_ops cannot be used. */
void ox_integrate_check(const ox_explain_state *s);

/* Whether the node's rule is to be replaced by an integral, and that, in place of the rule. */
bool ox_integrate_wants(const ox_explain_state *s, const ox_node *n);
void ox_integrate(ox_explain_state *s, ox_ctx *c);

/* ---- explain/fusible.c ---------------------------------------------------------------------- */

/* Finds the fusible values of the model. */
void ox_mark_fusible(ox_explain_state *s);

/* ---- explain/branch.c -------------------------------------------------------------------- */

/* Makes s->branch one with the graphs of the plan, nothing in it yet. */
void ox_fork_begin(ox_explain_state *s);

/* The same in the body of a Scan of its own, where both sides of a value are what it is at a point;
 * `folded`: N in there is another number than in the model's graph. */
void ox_fork_points(ox_explain_state *s, bool folded);

/* The same in the model's graph, the points being the samples. */
void ox_fork_samples(ox_explain_state *s);

/* `v` as it is at the point. */
ox_val ox_point(ox_explain_state *s, ox_val v);

/* `v` as it is at an end of a leg: that of the sample, or of the reference. `all`, which is like v,
 * of the points that stand there. */
ox_val ox_leg(ox_explain_state *s, ox_val v, bool reference);
ox_val ox_leg_pick(ox_explain_state *s, ox_val v, ox_val all, bool reference);

/* `v` as it is for the sample, in the flow graph; where it is fusible, computed once more, so that
 * nothing of ours reads what ONNX Runtime may fuse. */
ox_val ox_sample(ox_explain_state *s, ox_val v);

/* `v` as it is for the references, in the flow graph: [R, own shape], or own shape where they come
 * one at a time. The sample's where v does not vary. */
ox_val ox_reference(ox_explain_state *s, ox_val v);

/* The explained output as it is predicted, fused or not: in the model's graph, in the flow graph,
 * and that of the references. */
ox_val ox_predicted(ox_explain_state *s);
ox_val ox_sample_output(ox_explain_state *s);
ox_val ox_reference_output(ox_explain_state *s);

/* R as it is in the reference graph, where it takes the place of N. */
ox_dim ox_refs_dim(const ox_explain_state *s);

/* ---- explain/cache.c ------------------------------------------------------------------------- */

/* A constant of the model's graph for `computed`, a value of the reference graph, `v` of the lifted
 * one: for all references, one after the other, by chunks where a Scan takes chunks. */
ox_val ox_keep(ox_explain_state *s, ox_val v, ox_val computed);

/* Runs the reference graph and fills these constants. */
void ox_keep_run(ox_explain_state *s);

/* ---- explain/steps.c ---------------------------------------------------------------------------
 */

/* Brings a value of the model's graph into the Scan body: whole, as state; or step by step along
 * its first axis, `part` of it at a time (0: one, without the axis). */
ox_val ox_scan_state(ox_explain_state *s, ox_val outside);

/* The same with other dimensions inside. */
ox_val ox_scan_state_of(ox_explain_state *s, ox_val outside, const ox_dim *dims);
ox_val ox_scan_slice(ox_explain_state *s, ox_val outside, int64_t part);

/* Closes the body, adds up the values that *results point to over the steps, or stacks them along
 * their first axis, and emits the Scan. *results are then in the model's graph; those added up have
 * `dims` there, NULL: as in the body. */
void ox_scan_emit(ox_explain_state *s, ox_val *results[], size_t count, bool stack,
                  const ox_dim *const *dims);

/* ---- explain/range.c ----------------------------------------------------------------------- */

/* Writes the ranges of the references into the metadata. */
void ox_range_set(ox_explain_state *s);

/* ---- explain/note.c ------------------------------------------------------------------------ */

void ox_note_to(const ox_options *options, const char *format, ...);

/* A warning: to options.warn, or, with options.strict, an error. */
void ox_warn(const ox_explain_state *s, const char *format, ...);

#endif
