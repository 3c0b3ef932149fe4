/* What shape inference shares: how the families of operators read inputs and set outputs.
 *
 * A family of operators is a file of their inferences, which table.c looks up; shape.c merges
 * what they find with what is known of the outputs already, and knows how to broadcast. Contents of
 * small integer tensors are followed as well (shape/elements.c). Wrong models leave by ox_fail,
 * what is not known stays unknown. */
#ifndef OX_SHAPE_H
#define OX_SHAPE_H

#include "graph/graph.h"

/* infer_.. of each operator. */
#define OP(domain, op, shape, how, layout, ...) void shape(ox_node *n);
#define LIFTED(op, shape) void shape(ox_node *n);
#include "base/operators.inc"

/* Sets type, rank, dims and elements of the node's outputs, as far as they follow from the
 * inputs; what is already known of an output stays where inference knows less. Gives up where
 * the inputs contradict the operator. shape/table.c. */
void ox_shape_infer(ox_node *n);

/* ---- reading (shape.c) ----------------------------------------------------------------- */

/* Of input i; OX_NONE, -1 and NULL where it is left out or not known. */
ox_type ox_shape_type(const ox_node *n, size_t i);
int ox_shape_rank(const ox_node *n, size_t i);
const ox_dim *ox_shape_dims(const ox_node *n, size_t i);

/* The same, but gives up where the rank is known and outside of [least, most]. */
int ox_shape_need(const ox_node *n, size_t i, int least, int most);

/* An axis in [0, rank), counted from the end where negative; gives up beyond [-rank, rank). */
int ox_shape_axis(const ox_node *n, int64_t axis, int rank);

/* A list of integers that stands in an input or, in older spellings, in an attribute. */
typedef struct ox_shape_list {
    bool given;
    bool fixed;          /* all are plain numbers */
    const ox_dim *items; /* NULL: not even their number is known */
    size_t count;
} ox_shape_list;

ox_shape_list ox_shape_input_list(const ox_node *n, size_t input);
ox_shape_list ox_shape_list_of(const ox_node *n, size_t input, const char *attr);

/* Marks the axes of a fixed list in an array of `rank`; twice the same one gives up. */
bool *ox_shape_axes(const ox_node *n, const ox_shape_list *axes, int rank);

/* A small constant of any number type as doubles, see ox_numbers; or NULL. */
const double *ox_shape_doubles(const ox_node *n, size_t input, size_t *count);

/* An attribute that holds an element type; gives up on what is none. */
ox_type ox_shape_type_attr(const ox_node *n, const char *name, ox_type otherwise);

/* The only element of an input: false where it is not a known plain number. */
bool ox_shape_number(const ox_node *n, size_t input, int64_t *out);

/* Infers one of our own functions. shape/ours.c. */
void ox_shape_ours(ox_node *n);

/* ---- writing (shape.c) ----------------------------------------------------------------- */

/* Room for `rank` dimensions. */
ox_dim *ox_shape_room(const ox_node *n, int rank);

/* A copy of the dimensions of input i, whose rank must be known. */
ox_dim *ox_shape_copy(const ox_node *n, size_t i);

/* A fresh unknown dimension. */
ox_dim ox_shape_any(const ox_node *n);

/* Sets output i, if the node has it. OX_NONE and rank -1 say nothing. Forgets its elements. */
void ox_shape_set(ox_node *n, size_t i, ox_type type, int rank, const ox_dim *dims);

/* Sets what a node's result holds where its operands are small constants of any type. */
void ox_shape_evaluate(ox_node *n);

/* Sets the output i to type and shape of an input. */
void ox_shape_same(ox_node *n, size_t i, size_t input);

/* ---- dimensions (shape.c) -------------------------------------------------------------- */

/* Broadcasts dimensions of `rank` onto *out of *out_rank, growing it; gives up on contradictions.
 */
void ox_shape_broadcast(const ox_node *n, int *out_rank, ox_dim **out, int rank,
                        const ox_dim *dims);

/* The dimension that two must share: the one that says more. Gives up on different numbers. */
ox_dim ox_shape_agree(const ox_node *n, ox_dim a, ox_dim b);

/* An attribute that counts something; gives up where it is below 1. */
int64_t ox_shape_count_attr(const ox_node *n, const char *name, int64_t otherwise);

/* Checked arithmetic on attributes and sizes; gives up on overflow. */
int64_t ox_shape_plus(const ox_node *n, int64_t a, int64_t b);
int64_t ox_shape_times(const ox_node *n, int64_t a, int64_t b);
ox_dim ox_shape_dim_times(const ox_node *n, ox_dim a, ox_dim b);

/* "[N,3,?]" for messages. */
const char *ox_shape_text(ox_arena *a, int rank, const ox_dim *dims);

/* ---- elements (shape/elements.c) ------------------------------------------------------- */

/* Tensors of more elements have none that are followed. */
enum { OX_SHAPE_ELEMENTS = 4096 };

/* The contents of v, of an initializer, too; NULL where nothing is known of them. */
const ox_dim *ox_shape_elements(ox_val v);

/* The same with fresh unknowns where nothing is known, as long as there are few and integers. */
const ox_dim *ox_shape_contents(ox_val v);

/* Number of elements; false where it is not known or larger than OX_SHAPE_ELEMENTS. */
bool ox_shape_count(int rank, const ox_dim *dims, size_t *count);

/* Row-major strides of static dimensions, in elements. */
int64_t *ox_shape_strides(ox_arena *a, int rank, const ox_dim *dims);

/* Sets the elements of output i, if they are few, integers, and their number is known. */
void ox_shape_fill(ox_node *n, size_t i, const ox_dim *elements);

/* Fills output i with elements[offset + sum of strides * coordinates]. */
void ox_shape_view(ox_node *n, size_t i, const ox_dim *elements, int64_t offset,
                   const int64_t *strides);

/* Arithmetic on elements: what cannot be said is unknown. */
typedef ox_dim ox_shape_calc(ox_graph *g, ox_dim a, ox_dim b);
ox_shape_calc ox_shape_add, ox_shape_sub, ox_shape_mul, ox_shape_div, ox_shape_min, ox_shape_max,
    ox_shape_equal, ox_shape_less, ox_shape_and, ox_shape_or;

#endif
