/* The results of small constants of any type: what conditions of loops and branches are made of,
 * such as a counter cast to float and compared, beside what elements.c follows of integers. */
#include <math.h>
#include <string.h>

#include "shape/shape.h"

enum { MOST_ELEMENTS = 64 };

/* One number: of a floating-point type in `real`, of any other, bool as 0 or 1, in `whole`. */
typedef struct number {
    double real;
    int64_t whole;
} number;

/* The operand of a node, element by element. */
typedef struct operand {
    ox_type type;
    int rank;
    const ox_dim *dims;
    size_t count;
    const double *reals; /* one of both */
    const int64_t *wholes;
} operand;

/* ---- one element ------------------------------------------------------------------------ */

typedef bool (*evaluate)(bool real, const number *in, size_t count, number *out);

static bool in_reals(char op, double a, double b, double *out)
{
    *out = op == '+'   ? a + b
           : op == '-' ? a - b
           : op == '*' ? a * b
           : op == '/' ? a / b
           : op == '<' ? fmin(a, b)
                       : fmax(a, b);
    return !isnan(*out); /* of NaN, Min and Max differ between runtimes */
}

static bool in_wholes(char op, int64_t a, int64_t b, int64_t *out)
{
    switch (op) {
    case '+': return ox_int_add(a, b, out);
    case '-': return b != INT64_MIN && ox_int_add(a, -b, out);
    case '*': return ox_int_mul(a, b, out);
    case '/':
        if (b == 0 || b == -1) {
            return b == -1 && ox_int_mul(a, -1, out);
        }
        *out = a / b;
        return true;
    default: *out = (a < b) == (op == '<') ? a : b; return true;
    }
}

static bool arithmetic(char op, bool real, const number *in, size_t count, number *out)
{
    *out = in[0];
    for (size_t i = 1; i < count; i++) {
        bool good = real ? in_reals(op, out->real, in[i].real, &out->real)
                         : in_wholes(op, out->whole, in[i].whole, &out->whole);
        if (!good) {
            return false;
        }
    }
    return true;
}

#define ARITHMETIC(name, op)                                                                       \
    static bool name(bool real, const number *in, size_t count, number *out)                       \
    {                                                                                              \
        return arithmetic(op, real, in, count, out);                                               \
    }

ARITHMETIC(add, '+')
ARITHMETIC(sub, '-')
ARITHMETIC(mul, '*')
ARITHMETIC(divide, '/')
ARITHMETIC(least, '<')
ARITHMETIC(most, '>')

#define COMPARISON(name, op)                                                                       \
    static bool name(bool real, const number *in, size_t count, number *out)                       \
    {                                                                                              \
        (void)count;                                                                               \
        out->whole = real ? in[0].real op in[1].real : in[0].whole op in[1].whole;                 \
        return true;                                                                               \
    }

COMPARISON(less, <)
COMPARISON(less_or_equal, <=)
COMPARISON(greater, >)
COMPARISON(greater_or_equal, >=)
COMPARISON(equal, ==)

#define LOGIC(name, expression)                                                                    \
    static bool name(bool real, const number *in, size_t count, number *out)                       \
    {                                                                                              \
        (void)real, (void)count;                                                                   \
        out->whole = (expression);                                                                 \
        return true;                                                                               \
    }

LOGIC(both, in[0].whole != 0 && in[1].whole != 0)
LOGIC(either, in[0].whole != 0 || in[1].whole != 0)
LOGIC(one_only, (in[0].whole != 0) != (in[1].whole != 0))
LOGIC(negated, in[0].whole == 0)

static bool negate(bool real, const number *in, size_t count, number *out)
{
    (void)count;
    out->real = -in[0].real;
    return real || ox_int_mul(in[0].whole, -1, &out->whole);
}

static bool magnitude(bool real, const number *in, size_t count, number *out)
{
    *out = in[0];
    bool minus = real ? signbit(in[0].real) : in[0].whole < 0;
    return !minus || negate(real, in, count, out);
}

static bool lower(bool real, const number *in, size_t count, number *out)
{
    (void)count;
    out->real = floor(in[0].real);
    return real;
}

static bool upper(bool real, const number *in, size_t count, number *out)
{
    (void)count;
    out->real = ceil(in[0].real);
    return real;
}

static bool same(bool real, const number *in, size_t count, number *out)
{
    (void)real, (void)count;
    *out = in[0];
    return true;
}

static const struct {
    const char *op;
    evaluate evaluate;
    size_t least, most; /* operands */
} table[] = {
    {"Abs", magnitude, 1, 1},
    {"Add", add, 2, 2},
    {"And", both, 2, 2},
    {"Cast", same, 1, 1},
    {"Ceil", upper, 1, 1},
    {"Div", divide, 2, 2},
    {"Equal", equal, 2, 2},
    {"Floor", lower, 1, 1},
    {"Greater", greater, 2, 2},
    {"GreaterOrEqual", greater_or_equal, 2, 2},
    {"Identity", same, 1, 1},
    {"Less", less, 2, 2},
    {"LessOrEqual", less_or_equal, 2, 2},
    {"Max", most, 1, SIZE_MAX},
    {"Min", least, 1, SIZE_MAX},
    {"Mul", mul, 2, 2},
    {"Neg", negate, 1, 1},
    {"Not", negated, 1, 1},
    {"Or", either, 2, 2},
    {"ReduceMax", most, 1, 2},
    {"ReduceMin", least, 1, 2},
    {"Reshape", same, 2, 2},
    {"Squeeze", same, 1, 2},
    {"Sub", sub, 2, 2},
    {"Unsqueeze", same, 2, 2},
    {"Xor", one_only, 2, 2},
};

/* Taken where one number is left, of all elements. */
static bool reduces(const ox_node *n)
{
    return strncmp(n->op, "Reduce", strlen("Reduce")) == 0;
}

/* The second operand of these says where the elements of the first go, which keep their order. */
static bool moves(const ox_node *n)
{
    return strcmp(n->op, "Reshape") == 0 || strcmp(n->op, "Squeeze") == 0 ||
           strcmp(n->op, "Unsqueeze") == 0;
}

/* ---- operands --------------------------------------------------------------------------- */

static bool is_real(ox_type type)
{
    return type == OX_FLOAT || type == OX_DOUBLE;
}

/* Elements that are known as dimensions, all of them numbers. */
static bool take_elements(operand *o, ox_val v)
{
    const ox_dim *elements = is_real(o->type) ? NULL : ox_shape_elements(v);
    if (elements == NULL || !ox_dims_static((int)o->count, elements)) {
        return false;
    }
    int64_t *wholes = ox_arena_alloc(v->graph->arena, o->count, sizeof *wholes);
    for (size_t i = 0; i < o->count; i++) {
        wholes[i] = elements[i].size;
    }
    o->wholes = wholes;
    return true;
}

static bool take(operand *o, ox_val v)
{
    if (v == NULL || !ox_shape_count(v->rank, v->dims, &o->count)) {
        return false;
    }
    o->type = v->type;
    o->rank = v->rank;
    o->dims = v->dims;
    if (take_elements(o, v)) {
        return true;
    }
    const ox_const *c = ox_contents(v);
    if (c == NULL || c->type != v->type || ox_const_count(c) != o->count) {
        return false;
    }
    o->reals = is_real(c->type) ? ox_const_doubles(v->graph->arena, c) : NULL;
    o->wholes = is_real(c->type) ? NULL : ox_const_ints(v->graph->arena, c);
    return o->reals != NULL || o->wholes != NULL;
}

/* Whether o broadcasts to `dims`. */
static bool meets(const operand *o, int rank, const ox_dim *dims)
{
    for (int k = 1; k <= o->rank; k++) {
        int64_t own = o->dims[o->rank - k].size;
        if (k > rank || (own != 1 && own != dims[rank - k].size)) {
            return false;
        }
    }
    return true;
}

static number nth(const operand *o, size_t i)
{
    return (number){.real = o->reals != NULL ? o->reals[i] : 0,
                    .whole = o->wholes != NULL ? o->wholes[i] : 0};
}

/* Element `flat` of a result of `dims`, as o broadcast has it. */
static number at(const operand *o, int rank, const ox_dim *dims, size_t flat)
{
    size_t place = 0, step = 1;
    for (int k = 1; k <= rank && k <= o->rank; k++) {
        size_t size = (size_t)dims[rank - k].size, own = (size_t)o->dims[o->rank - k].size;
        place += own == 1 ? 0 : flat % size * step;
        step *= own;
        flat /= size;
    }
    return nth(o, place);
}

/* ---- results ---------------------------------------------------------------------------- */

/* `from`, of a floating-point type or not, in type `to`; false where it does not fit. */
static bool convert(number *n, bool from_real, ox_type to)
{
    double real = from_real ? n->real : (double)n->whole;
    if (to == OX_BOOL) {
        n->whole = from_real ? real != 0 : n->whole != 0;
    } else if (is_real(to)) {
        n->real = to == OX_FLOAT ? (double)(from_real ? (float)real : (float)n->whole) : real;
    } else if (from_real) {
        double limit = to == OX_INT32 ? 0x1p31 : 0x1p63;
        n->whole = real > -limit && real < limit ? (int64_t)real : 0;
        return real > -limit && real < limit;
    } else {
        return to == OX_INT64 || (n->whole >= INT32_MIN && n->whole <= INT32_MAX);
    }
    return true;
}

static void set_reals(ox_val v, size_t count, const number *numbers)
{
    ox_arena *a = v->graph->arena;
    int64_t *dims = ox_arena_alloc(a, (size_t)v->rank, sizeof *dims);
    for (int d = 0; d < v->rank; d++) {
        dims[d] = v->dims[d].size;
    }
    unsigned char *data = ox_arena_alloc(a, count, ox_type_size(v->type));
    for (size_t i = 0; i < count; i++) {
        float single = (float)numbers[i].real;
        const void *from = v->type == OX_FLOAT ? (const void *)&single : &numbers[i].real;
        memcpy(data + i * ox_type_size(v->type), from, ox_type_size(v->type));
    }
    ox_const *c = ox_arena_alloc(a, 1, sizeof *c);
    *c = (ox_const){.type = v->type, .rank = v->rank, .dims = dims, .data = data};
    c->size = count * ox_type_size(v->type);
    v->contents = c;
}

static void set_wholes(ox_node *n, size_t count, const number *numbers)
{
    ox_dim *elements = ox_arena_alloc(n->graph->arena, count, sizeof *elements);
    for (size_t i = 0; i < count; i++) {
        elements[i] = ox_dim_of(numbers[i].whole);
    }
    ox_shape_fill(n, 0, elements);
}

static bool is_open(ox_val v, size_t count)
{
    bool holds =
        is_real(v->type) || v->type == OX_BOOL || v->type == OX_INT64 || v->type == OX_INT32;
    bool known = is_real(v->type) ? v->contents != NULL
                                  : v->elements != NULL && ox_dims_static((int)count, v->elements);
    return holds && !known && v->constant == NULL;
}

static void evaluate_all(ox_node *n, evaluate one, size_t operands, const operand *in, size_t count)
{
    ox_val v = n->outputs[0];
    ox_arena *a = n->graph->arena;
    number *results = ox_arena_alloc(a, count, sizeof *results);
    size_t each_count = reduces(n) ? in[0].count : operands;
    number *each = ox_arena_alloc(a, each_count, sizeof *each);
    bool real = is_real(in[0].type);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < each_count; k++) {
            each[k] = reduces(n) ? nth(&in[0], k)
                      : moves(n) ? nth(&in[k], i)
                                 : at(&in[k], v->rank, v->dims, i);
        }
        bool real_result = real && (v->type != OX_BOOL || one == same); /* not of a comparison */
        if (!one(real, each, each_count, &results[i]) ||
            !convert(&results[i], real_result, v->type)) {
            return;
        }
    }
    if (is_real(v->type)) {
        set_reals(v, count, results);
    } else {
        set_wholes(n, count, results);
    }
}

static bool fits(const ox_node *n, const operand *o, size_t count)
{
    const ox_value *v = n->outputs[0];
    return reduces(n) ? count == 1 && o->count > 0
           : moves(n) ? o->count == count
                      : meets(o, v->rank, v->dims);
}

void ox_shape_evaluate(ox_node *n)
{
    ox_val v = n->output_count == 1 ? n->outputs[0] : NULL;
    size_t count = 0, row = 0, rows = sizeof table / sizeof *table;
    while (row < rows && strcmp(table[row].op, n->op) != 0) {
        row++;
    }
    if (row == rows || n->domain[0] != '\0' || v == NULL || n->input_count < table[row].least ||
        n->input_count > table[row].most || !ox_shape_count(v->rank, v->dims, &count) ||
        count > MOST_ELEMENTS || !is_open(v, count)) {
        return;
    }
    size_t operands = moves(n) || reduces(n) ? 1 : n->input_count;
    operand *in = ox_arena_alloc(n->graph->arena, operands, sizeof *in);
    for (size_t i = 0; i < operands; i++) {
        if (!take(&in[i], ox_node_input(n, i)) || in[i].type != in[0].type ||
            !fits(n, &in[i], count)) {
            return;
        }
    }
    evaluate_all(n, table[row].evaluate, operands, in, count);
}
