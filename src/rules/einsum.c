/* Einsum, made of diagonals, sums, products and matrix products: operands are taken from left to
 * right, and letters are summed as soon as nothing needs them any more. */
#include <string.h>

#include "rules/decompose.h"
#include "shape/einsum.h"

enum { HOLE = OX_LETTERS };

/* An operand and the letters of its axes. */
typedef struct term {
    ox_val v;
    int count;
    int letters[OX_MAX_RANK];
} term;

typedef struct letter_set {
    bool has[OX_LETTERS + 1];
} letter_set;

static int find(const term *t, int letter)
{
    for (int i = 0; i < t->count; i++) {
        if (t->letters[i] == letter) {
            return i;
        }
    }
    return -1;
}

static void push(const ox_node *n, term *t, int letter)
{
    if (t->count == OX_MAX_RANK) {
        ox_made_fail(n, "has too many axes");
    }
    t->letters[t->count++] = letter;
}

/* ---- axes ---------------------------------------------------------------------------------- */

/* A letter that stands twice: its two axes, brought to the end and merged, of which every
 * (size + 1)th element is on the diagonal. */
static bool take_diagonal(const ox_node *n, term *t)
{
    int first = 0, second = -1;
    for (; first < t->count && second < 0; first++) {
        for (int k = first + 1; k < t->count; k++) {
            second = t->letters[k] == t->letters[first] ? k : second;
        }
    }
    if (second < 0) {
        return false;
    }
    first--;
    term next = {0};
    int order[OX_MAX_RANK];
    for (int k = 0; k < t->count; k++) {
        if (k != first && k != second) {
            order[next.count] = k;
            next.letters[next.count++] = t->letters[k];
        }
    }
    order[t->count - 2] = first;
    order[t->count - 1] = second;
    ox_val v = ox_transpose(t->v, order);
    int64_t size = ox_made_size(n, v, -1), square = 0;
    if (ox_made_size(n, v, -2) != size || !ox_int_mul(size, size, &square)) {
        ox_made_fail(n, "a diagonal of what is not square");
    }
    ox_dim dims[OX_MAX_RANK];
    memcpy(dims, v->dims, (size_t)next.count * sizeof *dims);
    dims[next.count] = ox_dim_of(square);
    v = ox_reshape(v, next.count + 1, dims);
    next.v = ox_slice(v, -1, 0, square, size + 1);
    next.letters[next.count++] = t->letters[first];
    *t = next;
    return true;
}

/* Sums over the letters that are not in `keep`. */
static void sum_out(term *t, const letter_set *keep)
{
    int64_t axes[OX_MAX_RANK];
    size_t count = 0;
    int left = 0;
    for (int k = 0; k < t->count; k++) {
        if (keep->has[t->letters[k]]) {
            t->letters[left++] = t->letters[k];
        } else {
            axes[count++] = k;
        }
    }
    t->v = ox_reduce("ReduceSum", t->v, count, axes, false);
    t->count = left;
}

/* Transposes t to `order`, with axes of length 1 for letters that it lacks; those before its first
 * letter are left out, except of the last `need`. */
static ox_val align(const term *t, const term *order, int need)
{
    int permutation[OX_MAX_RANK] = {0}, found = 0, skipped = 0;
    int64_t missing[OX_MAX_RANK];
    size_t count = 0;
    for (int k = 0; k < order->count; k++) {
        int at = find(t, order->letters[k]);
        if (at >= 0) {
            permutation[found++] = at;
        } else if (found == 0 && count == 0 && k < order->count - need) {
            skipped++;
        } else {
            missing[count++] = k - skipped;
        }
    }
    ox_val v = ox_transpose(t->v, permutation);
    return count == 0 ? v : ox_binary("Unsqueeze", v, ox_ints(v->graph, count, missing));
}

/* ---- two operands -------------------------------------------------------------------------- */

/* The letters of a pair by what becomes of them. */
typedef struct roles {
    term outer;      /* all that stay but the last of each side's own */
    term summed;     /* in both, and in nothing else */
    int row, column; /* the last one of each side's own, HOLE for none */
} roles;

/* A sum over a letter along which one side has length 1 is that of the other side alone. */
static void sum_stretched(term *a, term *b, const letter_set *keep)
{
    letter_set all;
    memset(&all, true, sizeof all);
    for (int k = 0; k < a->count; k++) {
        int letter = a->letters[k], at = find(b, letter);
        bool differ = at >= 0 && ox_dim_is(a->v->dims[k], 1) != ox_dim_is(b->v->dims[at], 1);
        all.has[letter] = keep->has[letter] || !differ;
    }
    sum_out(a, &all);
    sum_out(b, &all);
}

static roles sort_letters(const ox_node *n, const term *a, const term *b, const letter_set *keep)
{
    roles r = {.row = HOLE, .column = HOLE};
    const term *sides[] = {a, b};
    int *last[] = {&r.row, &r.column};
    for (int s = 0; s < 2; s++) {
        for (int k = 0; k < sides[s]->count; k++) {
            int letter = sides[s]->letters[k];
            if (find(sides[1 - s], letter) < 0) {
                if (*last[s] != HOLE) {
                    push(n, &r.outer, *last[s]);
                }
                *last[s] = letter;
            }
        }
    }
    for (int k = 0; k < a->count; k++) {
        int letter = a->letters[k];
        if (find(b, letter) >= 0) {
            push(n, keep->has[letter] ? &r.outer : &r.summed, letter);
        }
    }
    return r;
}

/* The axes [from, from + count), counted from the end, as one. */
static ox_val merge(ox_val v, int from, int count)
{
    ox_dim dims[OX_MAX_RANK];
    int at = v->rank + from, rank = v->rank - count + 1;
    memcpy(dims, v->dims, (size_t)at * sizeof *dims);
    dims[at] = ox_dim_of(1);
    for (int k = 0; k < count; k++) {
        dims[at] = ox_dim_mul(v->graph, dims[at], v->dims[at + k]);
    }
    memcpy(dims + at + 1, v->dims + at + count, (size_t)(v->rank - at - count) * sizeof *dims);
    return ox_reshape(v, rank, dims);
}

static void append(const ox_node *n, term *to, const term *from)
{
    for (int k = 0; k < from->count; k++) {
        push(n, to, from->letters[k]);
    }
}

/* [outer, row, summed] times [outer, summed, column]. */
static term matrix_product(const ox_node *n, const term *a, const term *b, const roles *r)
{
    term left = r->outer, right = r->outer, out = r->outer;
    int summed = r->summed.count;
    push(n, &left, r->row);
    append(n, &left, &r->summed);
    append(n, &right, &r->summed);
    push(n, &right, r->column);
    ox_val x = merge(align(a, &left, summed + 1), -summed, summed);
    ox_val y = merge(align(b, &right, summed + 1), -summed - 1, summed);
    out.v = ox_matmul(x, y);
    if (r->column != HOLE) {
        push(n, &out, r->row);
        push(n, &out, r->column);
        if (r->row == HOLE) {
            out.v = ox_squeeze(out.v, -2);
            out.count--;
            out.letters[out.count - 1] = r->column;
        }
        return out;
    }
    out.v = ox_squeeze(out.v, -1);
    if (r->row == HOLE) {
        out.v = ox_squeeze(out.v, -1);
    } else {
        push(n, &out, r->row);
    }
    return out;
}

static term product(const ox_node *n, term a, term b, const letter_set *keep)
{
    letter_set either = *keep, both = *keep;
    for (int k = 0; k < b.count; k++) {
        either.has[b.letters[k]] = true;
    }
    for (int k = 0; k < a.count; k++) {
        both.has[a.letters[k]] = true;
    }
    sum_out(&a, &either);
    sum_out(&b, &both);
    sum_stretched(&a, &b, keep);
    roles r = sort_letters(n, &a, &b, keep);
    if (r.summed.count > 0) {
        return matrix_product(n, &a, &b, &r);
    }
    term out = {0};
    append(n, &out, &a);
    for (int k = 0; k < b.count; k++) {
        if (find(&a, b.letters[k]) < 0) {
            push(n, &out, b.letters[k]);
        }
    }
    out.v = ox_mul(align(&a, &out, 0), align(&b, &out, 0));
    return out;
}

/* What the output or an operand from `next` on has. */
static letter_set needed(const term *operands, size_t next, size_t count, const term *out)
{
    letter_set keep = {{false}};
    for (int k = 0; k < out->count; k++) {
        keep.has[out->letters[k]] = true;
    }
    for (size_t i = next; i < count; i++) {
        for (int k = 0; k < operands[i].count; k++) {
            keep.has[operands[i].letters[k]] = true;
        }
    }
    return keep;
}

/* The operands, and the output behind them. */
static term *read_terms(const ox_node *n)
{
    size_t count = n->input_count;
    term *terms = ox_arena_alloc(n->graph->arena, count + 1, sizeof *terms);
    for (size_t i = 0; i < count; i++) {
        terms[i].v = ox_made_of_rank(n, i, 0, OX_MAX_RANK);
    }
    const ox_einsum_term *read = ox_einsum_read(n);
    for (size_t i = 0; i <= count; i++) {
        terms[i].count = read[i].count;
        memcpy(terms[i].letters, read[i].letters, sizeof read[i].letters);
    }
    return terms;
}

void decompose_einsum(const ox_node *n, ox_val *outputs)
{
    size_t count = n->input_count;
    term *operands = read_terms(n), out = operands[count];
    for (size_t i = 0; i < count; i++) {
        while (take_diagonal(n, &operands[i])) {
        }
    }
    term all = operands[0];
    for (size_t i = 1; i < count; i++) {
        letter_set keep = needed(operands, i + 1, count, &out);
        all = product(n, all, operands[i], &keep);
    }
    letter_set keep = needed(operands, count, count, &out);
    sum_out(&all, &keep);
    if (all.count != out.count) {
        ox_made_fail(n, "the equation does not fit the inputs");
    }
    outputs[0] = ox_made_result(n, 0, align(&all, &out, out.count));
}
