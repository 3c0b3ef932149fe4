/* The graph: values, nodes, attributes, constants, and how nodes are added.
 *
 * One graph holds a model from reading to writing. It starts with the model's own nodes; lifting
 * respells them, explaining appends nodes. Values carry their graph, type, shape and, for small
 * integer tensors, their contents; ox_graph_emit infers these, returns an existing node
 * where an equal one is there, and folds integer arithmetic, so that `Shape` chains turn into
 * constants. Float constants stay nodes. All of it lives in the arena; failures leave by ox_fail.
 */
#ifndef OX_GRAPH_H
#define OX_GRAPH_H

#include <string.h>

#include "base/axis.h"
#include "base/operators.h"
#include "base/table.h"

/* A dimension, or an element of an integer tensor: size * N^batch * R^refs, where N is the number
 * of samples and R that of references as far as they are free. `unknown` (not 0) names a
 * dimension of which nothing is known; the other members are then 1, 0, 0. */
typedef struct ox_dim {
    int64_t size;
    uint8_t batch;
    uint8_t refs;
    uint32_t unknown;
} ox_dim;

typedef struct ox_graph ox_graph;
typedef struct ox_node ox_node;
typedef struct ox_value ox_value;
typedef ox_value *ox_val;

/* The contents of an initializer or tensor attribute: row-major, little endian, as in raw_data. Of
 * strings `data` are pointers to zero-terminated text, or NULL where they are in `proto` alone. */
typedef struct ox_const {
    ox_type type;
    int rank;
    const int64_t *dims;
    const void *data;  /* NULL while the contents are not known (references' activations) */
    size_t size;       /* bytes */
    const void *proto; /* the TensorProto it was read from, or NULL */
} ox_const;

struct ox_value {
    ox_graph *graph;
    const char *name; /* unique in the model and its subgraphs; "" for an output left out */
    const char *base; /* what the name starts with where it was made up, else NULL */
    ox_type type;     /* OX_NONE: not known, or not a tensor */
    int rank;         /* -1: not known */
    const ox_dim *dims;
    const ox_dim *elements; /* contents of a small integer or bool tensor, or NULL */
    ox_val outer;           /* in a body: the value of the graph around that it is, or NULL */
    ox_node *node;          /* producer; NULL for inputs and constants */
    int output;             /* its position among the producer's outputs */
    const ox_const *constant;
    const ox_const *contents; /* of a node's result, once ox_contents has found them */
    bool is_input;
    bool keep;            /* a named constant: stays although nothing uses it */
    bool needed;          /* set while pruning */
    bool gone;            /* pruned: not found among shared things any more */
    size_t position;      /* set while sorting: in the order of values, from 1 */
    struct ox_side *side; /* explaining: rules/side.h */
    struct ox_form *form; /* tuning: tune/tune.h */
    ox_val instead;       /* what takes its place, while values are replaced */
    ox_val late;          /* the same behind a multiplier: graph/functions.c */
};

typedef enum ox_attr_kind {
    OX_ATTR_FLOAT = 1,
    OX_ATTR_INT = 2,
    OX_ATTR_STRING = 3,
    OX_ATTR_TENSOR = 4,
    OX_ATTR_GRAPH = 5,
    OX_ATTR_FLOATS = 6,
    OX_ATTR_INTS = 7,
    OX_ATTR_STRINGS = 8,
    OX_ATTR_GRAPHS = 10,
    OX_ATTR_OTHER = 0 /* kept as read, in `proto` */
} ox_attr_kind;

typedef struct ox_attr {
    const char *name;
    ox_attr_kind kind;
    float f;
    size_t count; /* of floats, ints, strings, graphs, or bytes of the string */
    int64_t i;
    const char *s; /* ends with a zero byte beyond count */
    const float *floats;
    const int64_t *ints;
    const char *const *strings; /* each ends with a zero byte */
    const ox_const *tensor;
    ox_graph *graph; /* a body: graph/body.h */
    ox_graph *const *graphs;
    const char *ref;   /* in a function: the attribute of the call that it is, or NULL */
    const void *proto; /* the AttributeProto it was read from, or NULL */
} ox_attr;

struct ox_node {
    ox_graph *graph;
    const char *op, *domain, *name; /* domain "" is the default one, never "ai.onnx" */
    size_t input_count, output_count, attr_count;
    ox_val *inputs; /* NULL for one left out */
    ox_val *outputs;
    const ox_attr *attrs;
    bool original;         /* of the model that was read, as opposed to added by us */
    const ox_node *origin; /* of added ones: the original that they are for, or NULL */
    size_t index;          /* of original nodes: position in the model that was read */
    const void *proto;     /* the NodeProto it was read from, or NULL */
    size_t captured_count;
    ox_val *captured; /* of a node with a body that is built here: what that reads of the graph */
    ox_val *parts;    /* what its outputs are, where lift/control.c has written it out */
    const char *no_parts; /* why that could not be done */
    bool moves_int8;      /* int8 values, dequantised, and moved at most; see ox_apart */
    bool needed;
    bool placed; /* set while sorting */
    uint64_t hash;
};

/* A model-local function of ours: its body takes `inputs` by position. */
typedef struct ox_function {
    const char *name;
    ox_graph *body;
} ox_function;

/* Sets what is to be known of the outputs of a node that is added: ox_shape_infer. */
typedef void (*ox_infer)(ox_node *n);

typedef struct ox_import {
    const char *domain;
    int64_t version;
} ox_import;

struct ox_graph {
    ox_arena *arena;
    ox_infer infer;
    ox_graph *outer; /* of a Scan or function body: the graph it is made for; else NULL */
    const char *name;
    const void *proto; /* the GraphProto of a body that was read, or NULL */
    ox_val *infos; /* of such a body: the values that its value_info is about, NULL for others */
    size_t info_count;
    size_t node_count, value_count, input_count, output_count, function_count;
    ox_node **nodes;   /* in topological order */
    ox_value **values; /* all of them: inputs, constants, outputs of nodes */
    ox_val *inputs;    /* without initializers, which those of a body that was read may be */
    ox_val *outputs;
    ox_function *functions; /* of the outermost graph */
    bool no_functions;      /* of the outermost graph: bodies are written out, see ox_call */
    bool elsewhere;         /* the same: spelled as other runtimes need it, see portable.c */
    bool unrolls;           /* recurrent layers are written out step by step */
    bool described;         /* the shapes of inner values are written, too */
    ox_val (*take)(void *user, ox_val outer); /* of a Scan built here: a value of the graph around
                                               * it, inside; or NULL */
    void *taker;                              /* its `user` */
    ox_val batch_size;                        /* int64 [1], N at run time, where it is free */
    ox_val refs_size;                         /* int64 [1], R at run time, where it is free */
    const char *scope;                        /* names of new nodes start with it */
    const ox_node *origin;                    /* the original that they are for, or NULL */
    uint32_t unknowns;                        /* ids given out, in the outermost graph */
    ox_table names;                           /* of the outermost graph: names in use */
    ox_table shared;     /* added nodes and small constants, to find equal ones */
    ox_table unknown;    /* values by the unknown dimensions that they have, the first ones */
    size_t unknown_seen; /* values that have been entered there */
};

/* ---- making ---------------------------------------------------------------------------- */

/* An outermost graph, or a function's body, whose nodes are inferred by `infer`; and one inside of
 * another. */
ox_graph *ox_graph_new(ox_arena *arena, ox_infer infer, const char *name);
ox_graph *ox_graph_inside(ox_graph *outer, const char *name);

/* A new value of the graph that nothing produces yet: for inputs and for reading. `name` NULL
 * makes one up; a name in use gives up. */
ox_val ox_graph_value(ox_graph *g, const char *name, ox_type type, int rank, const ox_dim *dims);

/* The same under a name that starts with `base` and is not in use, and that it keeps; nothing known
 * of it. */
ox_val ox_graph_fresh_value(ox_graph *g, const char *base);

/* A new graph input; named as by ox_graph_value. */
ox_val ox_graph_input(ox_graph *g, const char *name, ox_type type, int rank, const ox_dim *dims);

/* Makes `v` an output, under `name` through an Identity where it is called otherwise. */
void ox_graph_output(ox_graph *g, ox_val v, const char *name);

/* An initializer. Equal small ones are shared; `data` is copied where `c->proto` is NULL and it is
 * small, else kept. `name` NULL makes one up. */
ox_val ox_graph_constant(ox_graph *g, const char *name, const ox_const *c);

/* The constant in `g` that v is, an integer tensor of known contents; NULL for any other. */
ox_val ox_graph_known(ox_graph *g, ox_val v);

/* Appends a node with new values for its outputs and infers them. Where an equal added node
 * is there already, or the output is a known integer tensor, that is returned instead. `inputs`
 * may hold NULL for those left out. Returns the first output. */
ox_val ox_graph_emit(ox_graph *g, const char *op, size_t input_count, const ox_val *inputs,
                     size_t attr_count, const ox_attr *attrs);

/* The same with several outputs, and for any domain. Returns the node. */
ox_node *ox_graph_emit_node(ox_graph *g, const char *domain, const char *op, size_t input_count,
                            const ox_val *inputs, size_t output_count, size_t attr_count,
                            const ox_attr *attrs);

/* The same as n, of another graph as it may be, over other inputs: it has the outputs that n has.
 */
ox_node *ox_graph_emit_like(ox_graph *g, const ox_node *n, const ox_val *inputs);

/* The body of n reads v of the graph around it. */
void ox_node_captures(ox_node *n, ox_val v);

/* Whether ONNX Runtime takes the operator for one that only moves values. */
bool ox_only_moves(const char *op);

/* Appends a copy of `like`, whose inputs and outputs are values of `g` that nothing produces yet
 * (reading and lifting). Infers nothing and shares nothing. */
ox_node *ox_graph_append(ox_graph *g, const ox_node *like);

/* New nodes are for n from now on, which may be NULL, and their names start with PART/BASE. Returns
 * what to leave by. */
typedef struct ox_purpose {
    const char *name;
    const ox_node *origin;
} ox_purpose;

ox_purpose ox_graph_enter(ox_graph *g, const char *part, const char *base, const ox_node *n);
void ox_graph_leave(ox_graph *g, ox_purpose former);

/* What new nodes are for, as messages call it. */
const char *ox_graph_at(const ox_graph *g);

/* Sets the scope, a prefix for names of new nodes, and returns the former one. */
const char *ox_graph_scope(ox_graph *g, const char *scope);

/* A name that is not in use, starting with `base`; takes it. */
const char *ox_graph_fresh_name(ox_graph *g, const char *base);

/* Takes `name`; false where it is in use already. */
bool ox_graph_take_name(ox_graph *g, const char *name);

/* Gives each of two named values of a graph the name of the other. */
void ox_graph_swap_names(ox_val a, ox_val b);

/* Takes out added nodes, constants and functions on which no output depends; original nodes stay.
 * Bodies of Scan nodes are pruned before, on their own. */
void ox_graph_prune(ox_graph *g);

/* Sorts nodes, values and functions of a pruned graph: original nodes in their order, added ones as
 * outputs reach them through their inputs, each right before the first that uses it.
 * graph/settle.c.
 */
void ox_graph_sort(ox_graph *g);

/* Sorts an outermost graph that is finished, with its bodies, and numbers the names that were made
 * up in the new order. Equal nodes are not found any more afterwards. */
void ox_graph_settle(ox_graph *g);

/* Of ox_graph_settle: gives back all names that were made up, and gives v one of them. */
void ox_graph_forget_names(ox_graph *g);
void ox_graph_rename(ox_val v);

/* ---- reading --------------------------------------------------------------------------- */

/* The value called `name`, or NULL. */
ox_val ox_graph_find(const ox_graph *g, const char *name);

/* "node 12 "conv1/Relu" (Relu)" for messages; lives in the arena. */
const char *ox_node_label(const ox_node *n);

/* The name of a node, without the number of one that was made up: scopes are called after it. */
const char *ox_node_base(const ox_node *n);

/* Says that n is at work, for messages about the budget. */
void ox_node_at(const ox_node *n);

/* Attributes; the default where there is none. */
const ox_attr *ox_node_attr(const ox_node *n, const char *name);
int64_t ox_node_int(const ox_node *n, const char *name, int64_t otherwise);
double ox_node_float(const ox_node *n, const char *name, double otherwise);
const char *ox_node_string(const ox_node *n, const char *name, const char *otherwise);
const int64_t *ox_node_ints(const ox_node *n, const char *name, size_t *count); /* NULL: none */

/* The order in which a Transpose takes `rank` axes, in the arena; NULL where it is none. */
const int *ox_node_perm(const ox_node *n, int rank);

/* Whether it holds a subgraph. */
bool ox_node_has_body(const ox_node *n);

/* Input i, NULL where it is left out or beyond the end. */
ox_val ox_node_input(const ox_node *n, size_t i);

/* Whether n is this operator of the standard domain. NULL for n is none. */
static inline bool ox_node_is(const ox_node *n, const char *op)
{
    return n != NULL && n->domain[0] == '\0' && strcmp(n->op, op) == 0;
}

/* Whether its operator has any of these traits (base/operators.h). */
bool ox_node_has(const ox_node *n, unsigned traits);

/* A constant tensor as doubles (floating-point and integer types) or int64s, in the arena; NULL for
 * other types or contents not known. */
const double *ox_const_doubles(ox_arena *a, const ox_const *c);
const int64_t *ox_const_ints(ox_arena *a, const ox_const *c);
size_t ox_const_count(const ox_const *c);

/* A copy of elements in the arena; strings with their text. */
void *ox_elements_copy(ox_arena *a, ox_type type, const void *data, size_t size);

/* What v holds where the model itself says it: an initializer, a Constant in any spelling, or one
 * of these cast or reshaped. NULL where it does not. graph/constant.c. */
const ox_const *ox_contents(ox_val v);

/* The same as doubles, in the arena; v may be NULL. NULL also for types that are no numbers. */
const double *ox_numbers(ox_val v, size_t *count);

/* Element i of a constant of a floating-point or integer type. */
double ox_const_double(const ox_const *c, size_t i);

/* ---- dimensions ------------------------------------------------------------------------ */

ox_dim ox_dim_of(int64_t size);
ox_dim ox_dim_unknown(ox_graph *g); /* a fresh one */
bool ox_dim_is_static(ox_dim d);
bool ox_dim_equal(ox_dim a, ox_dim b);
bool ox_dim_is(ox_dim d, int64_t size);             /* static and equal to size */
ox_dim ox_dim_mul(ox_graph *g, ox_dim a, ox_dim b); /* unknown times anything but 1: fresh */
bool ox_dim_div(ox_dim a, ox_dim b, ox_dim *out);   /* exact, else false */
bool ox_dims_equal(int rank, const ox_dim *a, const ox_dim *b);
bool ox_dims_static(int rank, const ox_dim *dims);

/* Floating-point types of ONNX that are explained: 16, 32 and 64 bits. */
bool ox_type_is_float(ox_type type);

/* The graph that a body or function belongs to in the end. */
ox_graph *ox_graph_outermost(ox_graph *g);

/* Product of all dimensions of v. v's rank must be known. */
ox_dim ox_val_size(ox_val v);

#endif
