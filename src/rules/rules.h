/* Rules: how the multiplier of an operator's output becomes multipliers of its inputs, so that
 * sum(m_x * dx) == m_y * dy for every pair of a sample and a reference.
 *
 * Layout. A value of the model keeps its own shape [d0, d1, ...], batch axis included. A
 * multiplier has up to two lead axes before it: [K, R, d0, d1, ...] for K targets and R references,
 * where K is left out for a single target and R where references come one at a time; R may be 1
 * where nothing depends on the references yet. A sample is [d0, d1, ...], a reference
 * [R, d0, d1, ...] with 1 in place of N: by broadcasting from the right they meet. Slopes, made
 * of sample and reference alone, are thus computed once per (R, N) and shared over K. Axes
 * counted from the end mean the same for all of them, so rules count from the end. */
#ifndef OX_RULES_H
#define OX_RULES_H

#include "graph/build.h"

/* A point at which a rule gives the gradient: both sides of input 0 and output 0 are there. */
typedef struct ox_spot {
    ox_val x, y;
    ox_val m; /* what went to input 0 */
} ox_spot;

typedef struct ox_ctx ox_ctx;
typedef struct ox_explain_state ox_explain_state; /* explain/state.h */

/* How a side is seen in the value's own type: that of the sample or of the reference; as it is, or
 * with stand-ins where v may hold any. */
typedef struct ox_seen {
    bool reference, stands_in;
} ox_seen;

/* What the walk, which calls the rules, does for them. */
typedef struct ox_sides {
    ox_explain_state *state;
    ox_val (*sample)(ox_ctx *c, ox_val v); /* v on either side, in the type of the multipliers */
    ox_val (*reference)(ox_ctx *c, ox_val v);
    ox_val (*side)(ox_ctx *c, ox_val v, ox_seen seen); /* as ox_side_view */
    bool (*stands_in)(ox_ctx *c, ox_val v);            /* as ox_stands_in */
    bool (*own)(ox_ctx *c, const ox_node *n);          /* multipliers pass n by its own rule */
    bool (*hole)(ox_ctx *c, const char *message);      /* as ox_rule_hole; false: not by force */
    void (*rest)(ox_ctx *c, ox_val terms);             /* as ox_rest */
    void (*take_in)(ox_ctx *c);                        /* as ox_take_in */
    /* A variance [R, own shape of v] as that of a batch of pairs, R N in place of N; and back. */
    ox_val (*pairs)(ox_ctx *c, ox_val v, ox_val variance);
    ox_val (*unpairs)(ox_ctx *c, ox_val v, ox_val pairs);
    int pairs_lead;               /* lead axes of variances: that of references, or none */
    bool kept;                    /* references are computed at load, so that more of them is free */
    bool pool_tree;               /* maxima are trees of maxima of two */
    const ox_node *probabilities; /* the Softmax whose results are explained, NULL for none */
    bool third;                   /* values have a mean path: rules/mean_path.c */
    ox_node *const *later;        /* nodes that are not visited yet */
    size_t later_count;
} ox_sides;

/* What a rule works on. */
struct ox_ctx {
    ox_graph *g;          /* the graph that multipliers live in */
    const ox_node *node;  /* the node at hand, lifted; its values' shapes are the samples' */
    ox_val m;             /* the multiplier of output 0, NULL where only others have one */
    ox_type type;         /* of the multipliers of all outputs, and of samples and references */
    int lead;             /* number of lead axes of every multiplier */
    struct ox_spot *spot; /* NULL but for explain/integrate.c */
    uint32_t frozen;      /* inputs that are the sample's on both sides, a bit each: holes */
    ox_val *sent;         /* takes what is sent to each input, where not NULL */
    bool stands_in;       /* operands and results may be stand-ins */
    bool second;          /* the rule sends what it knows of the second order: rules/second.h */
    bool squared;         /* multipliers are of variances, and factors squared */
    const ox_sides *sides;
};

typedef void (*ox_rule)(ox_ctx *c);

/* Both sides of an elementwise operator y = f(x), and up to two parameters of f as scalars. y and
 * y0 are NULL where the row of base/flows.inc says that the slope does not use them. */
typedef struct ox_pair {
    ox_val x, x0, y, y0, a, b;
} ox_pair;

/* The divided difference (f(x) - f(x0)) / (x - x0); f' in the limit. */
typedef ox_val (*ox_slope)(const ox_pair *p);

/* Writes the operator as standard ones over its inputs' values in the lifted graph, for operators
 * that are explained by decomposition. Fills outputs[0 .. n->output_count), NULL before; one that
 * stays NULL cannot be explained. */
typedef void (*ox_decompose)(const ox_node *n, ox_val *outputs);

/* What a rule makes of infinities and NaN. */
typedef enum ox_beyond_kind {
    OX_SPREADS,  /* sums: what is beyond numbers makes all beyond numbers that it enters */
    OX_STRAIGHT, /* elementwise, and beyond numbers where an operand is */
    OX_BENDS,    /* elementwise, and may make finite what was not */
    OX_TESTS,    /* elementwise, comparisons */
    OX_CHOOSES,  /* Where */
    OX_MOVES,
    OX_PICKS,  /* maxima and their places */
    OX_ROUNDS, /* to integers: the cut to their range is a rule that sees stand-ins */
    OX_SPLITS, /* trees: one of their leaves, whatever goes in */
    OX_ROWS    /* softmax */
} ox_beyond_kind;

typedef struct ox_row {
    ox_state state;
    ox_rule rule;
    ox_decompose decompose;
    ox_beyond_kind beyond; /* of the rule */
    const char *formula;   /* one line for docs/ops.md */
} ox_row;

/* The row of an operator; NULL where there is none. */
const ox_row *ox_rule_find(const char *domain, const char *op);

/* ---- what rules use (rules/context.c) ------------------------------------------------------- */

/* Input i and output i for the sample and for the reference, floating-point ones in the type of the
 * multipliers, which is at least float32.
 * The reference of an input that does not vary is the sample's. References of inputs with a
 * smaller rank than output 0 get axes of length 1 after R, so that they broadcast like the sample.
 * NULL for an input left out. */
ox_val ox_x(ox_ctx *c, size_t i);
ox_val ox_x0(ox_ctx *c, size_t i);
ox_val ox_y(ox_ctx *c, size_t i);
ox_val ox_y0(ox_ctx *c, size_t i);

/* [R, d...], with an own rank, with axes of length 1 after R, as many as bring that to the rank of
 * output 0. */
ox_val ox_align(ox_ctx *c, ox_val view, int own);

/* Whether ox_x(c, i) and ox_x0(c, i) may hold stand-ins, finite numbers for infinities and NaN;
 * and where v does: stand-ins are OX_STANDIN_LEAST or above. explain/standin.c. */
#define OX_STANDIN_LEAST 1e15
bool ox_stands_in(ox_ctx *c, size_t i);
ox_val ox_is_standin(ox_val v);

/* A side of any value. */
ox_val ox_side_view(ox_ctx *c, ox_val v, ox_seen seen);

/* The same with integers as they are, where ox_x and ox_x0 make numbers of those that vary. */
ox_val ox_x_raw(ox_ctx *c, size_t i);
ox_val ox_x0_raw(ox_ctx *c, size_t i);

/* Whether input i depends on the explained inputs. Only to choose between spellings: ox_send drops
 * what goes to an input that does not vary. */
bool ox_varies(ox_ctx *c, size_t i);

/* The same in a decomposition. */
bool ox_input_varies(const ox_node *n, size_t i);

/* Whether v is explained in place of the inputs, so that no rule may pass it by. */
bool ox_is_point(ox_val v);

/* The node that makes v; of a composite one the node that stands for it. */
const ox_node *ox_maker_of(ox_val v);

/* The multiplier of output i in the type c->type, NULL where none arrived. */
ox_val ox_m(ox_ctx *c, size_t i);

/* Of a Concat: how many of its first inputs are those of a shorter one whose result, *whole, can
 * take their part of the multiplier; 0 where there is none. rules/prefix.c. */
size_t ox_concat_prefix(ox_ctx *c, ox_val *whole);

/* Adds `m` to the multiplier of input i, in the type of that; sums over the axes along which the
 * input was broadcast. */
void ox_send(ox_ctx *c, size_t i, ox_val m);

/* Terms [lead axes, shape of output 0] that no input gets, as their multipliers would have no
 * bound: their sum goes to the explained inputs at the end, for each pair of sample and reference.
 * explain/rest.c. */
void ox_rest(ox_ctx *c, ox_val terms);

/* The contents of a constant input (also computed ones, as far as integers go); gives up naming
 * the node where it is not known. */
const int64_t *ox_known_ints(ox_ctx *c, size_t i, size_t *count);
const double *ox_known_doubles(ox_ctx *c, size_t i, size_t *count);

/* Gives up: `node 12 "..." (Op): <message>`. */
_Noreturn void ox_rule_fail(ox_ctx *c, const char *message);

/* Fails because a shape of n is not known, and names the node above it that this comes from. */
_Noreturn void ox_shape_fail(const ox_node *n);

/* ", as that of NODE is not": why the shape of v is not known. */
const char *ox_shape_reason(ox_val v);

/* rules/index.c: the attribute `axis` (or `gather_axis`) of the operator at hand, counted from the
 * end of its first input. */
int64_t ox_axis(ox_ctx *c, int64_t otherwise);

/* Ends refusals of what runs all the same. */
#define OX_RUNS_ANY "; --method=kernel explains any model by its outputs"

/* Gives up because completeness would be lost; where it is lost by force, counts and names it. */
void ox_rule_hole(ox_ctx *c, const char *message);

/* Static size of axis `axis` (negative) of input i or of output 0 (i = -1); gives up otherwise. */
int64_t ox_static_dim(ox_ctx *c, int i, int axis);

/* A multiplier with the same lead axes as m and `dims` after them. */
ox_val ox_with_lead(ox_ctx *c, ox_val m, int rank, const ox_dim *dims);

/* The lead axes merged with the first own axis, [K, R, N, ...] to [K*R*N, ...], for operators that
 * want one batch axis; and back again with the lead axes of `like`. */
ox_val ox_fold(ox_ctx *c, ox_val m);
ox_val ox_unfold(ox_ctx *c, ox_val folded, ox_val like);

/* Transposes the own axes of a multiplier, or of a sample or reference. */
ox_val ox_transpose_own(ox_val m, int own_rank, const int *permutation);

/* ---- the rules ------------------------------------------------------------------------------ */

/* Carries nothing: a shape, an index, a comparison. */
void flow_none(ox_ctx *c);

/* flow_.. and decompose_.. of the table. */
#define RULE(rule, beyond) void rule(ox_ctx *c);
#define MADE_OF(decompose) void decompose(const ox_node *n, ox_val *outputs);
#define EITHER(decompose, rule, beyond) MADE_OF(decompose) RULE(rule, beyond)
#define NOTHING
#define NOTHING_BUT(decompose) MADE_OF(decompose)
#define REFUSED
#define OP(domain, op, shape, how, layout, ...) how
#define LIFTED(op, shape)
#include "base/operators.inc"

/* rules/norm_flow.c: the rule of a Div that ends a normalisation along the last axis; false where
 * it does not. */
bool ox_normalization(ox_ctx *c);

/* rules/attention_flow.c: the rule of a MatMul whose left operand is the Softmax of a product,
 * where nothing stands between them but scales by a number, sums and masks; false where it does. */
bool ox_attention(ox_ctx *c);

/* After the rule of a MatMul, where that was false: moves shares between the three matrices of
 * attention. */
void ox_attention_share(ox_ctx *c);

/* rules/softmax.c: the rules of Softmax, of LogSoftmax, m - L sum(m)/sum(L), and of LogSumExp,
 * m L/sum(L), along the last axis: the multiplier for m and the logarithms l and l0 of what Softmax
 * makes of both sides. */
ox_val ox_log_softmax(ox_val x);
ox_val ox_softmax_flow(ox_val m, ox_val l, ox_val l0);
ox_val ox_log_softmax_flow(ox_val m, ox_val l, ox_val l0);
ox_val ox_log_sum_exp_flow(ox_val m, ox_val l, ox_val l0);

/* Of the logarithms of shares y of both sides: the logarithmic means L = dy/dl, their sum along the
 * last axis, and (y + y0)/2; and L (m - sum(m L)/sum(L)). */
typedef struct ox_shares {
    ox_val mean, sum, middle;
} ox_shares;
ox_shares ox_shares_of(ox_val l, ox_val l0);
ox_val ox_around_level(ox_val m, const ox_shares *s);

#endif
