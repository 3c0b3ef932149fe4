/* Einsum: its equation, and the shape of its result. */
#include "shape/einsum.h"

#include <string.h>

#include "shape/shape.h"

typedef struct reader {
    const ox_node *node;
    const char *at;
    int uses[OX_LETTERS];
    int dots; /* axes of the widest ellipsis */
} reader;

static _Noreturn void fail(const ox_node *n)
{
    ox_fail(n->graph->arena, OX_INVALID, "%s: the equation does not fit the inputs",
            ox_node_label(n));
}

/* The next sign of a term: a letter, '.' for an ellipsis, 0 at its end. */
static char next_sign(reader *r)
{
    r->at += strspn(r->at, " ");
    char sign = *r->at;
    if (sign == '\0' || sign == ',' || sign == '-') {
        return 0;
    }
    if (strncmp(r->at, "...", 3) == 0) {
        r->at += 3;
        return sign;
    }
    r->at++;
    if ((sign < 'a' || sign > 'z') && (sign < 'A' || sign > 'Z')) {
        fail(r->node);
    }
    return sign;
}

static void push(const reader *r, ox_einsum_term *t, int letter)
{
    if (t->count == OX_MAX_RANK) {
        fail(r->node);
    }
    t->letters[t->count++] = letter;
}

/* A term in which an ellipsis stands for `dots` axes, where there is one. */
static ox_einsum_term read_term(reader *r, int dots)
{
    ox_einsum_term t = {0};
    bool seen = false;
    for (char sign; (sign = next_sign(r)) != 0;) {
        if (sign != '.') {
            push(r, &t, sign);
            continue;
        }
        if (seen || dots < 0) {
            fail(r->node);
        }
        seen = true;
        for (int k = dots; k > 0; k--) {
            push(r, &t, k);
        }
    }
    return t;
}

static ox_einsum_term read_operand(reader *r, size_t i)
{
    reader ahead = *r;
    int rank = ox_shape_rank(r->node, i), letters = 0;
    for (char sign; (sign = next_sign(&ahead)) != 0;) {
        letters += sign != '.';
    }
    ox_einsum_term t = read_term(r, rank - letters);
    if (t.count != rank) {
        fail(r->node);
    }
    for (int k = 0; k < t.count; k++) {
        r->uses[t.letters[k]]++;
        bool dot = t.letters[k] <= OX_MAX_RANK;
        r->dots = dot && t.letters[k] > r->dots ? t.letters[k] : r->dots;
    }
    return t;
}

static ox_einsum_term read_output(reader *r)
{
    bool used[OX_LETTERS] = {false};
    r->at += 2;
    ox_einsum_term out = read_term(r, r->dots);
    for (int k = 0; k < out.count; k++) {
        if (r->uses[out.letters[k]] == 0 || used[out.letters[k]]) {
            fail(r->node);
        }
        used[out.letters[k]] = true;
    }
    return out;
}

static ox_einsum_term make_output(const reader *r)
{
    ox_einsum_term out = {0};
    for (int k = r->dots; k > 0; k--) {
        push(r, &out, k);
    }
    for (int letter = 'A'; letter < OX_LETTERS; letter++) {
        if (r->uses[letter] == 1) {
            push(r, &out, letter);
        }
    }
    return out;
}

const ox_einsum_term *ox_einsum_read(const ox_node *n)
{
    size_t count = n->input_count;
    reader r = {.node = n, .at = ox_node_string(n, "equation", "")};
    ox_einsum_term *terms = ox_arena_alloc(n->graph->arena, count + 1, sizeof *terms);
    for (size_t i = 0; i < count; i++) {
        terms[i] = read_operand(&r, i);
        if ((*r.at == ',') != (i + 1 < count)) {
            fail(n);
        }
        r.at += *r.at == ',';
    }
    terms[count] = strncmp(r.at, "->", 2) == 0 ? read_output(&r) : make_output(&r);
    if (*r.at != '\0') {
        fail(n);
    }
    return terms;
}

void infer_einsum(ox_node *n)
{
    for (size_t i = 0; i < n->input_count; i++) {
        if (ox_shape_rank(n, i) < 0) {
            ox_shape_set(n, 0, ox_shape_type(n, 0), -1, NULL);
            return;
        }
    }
    const ox_einsum_term *terms = ox_einsum_read(n), *out = &terms[n->input_count];
    ox_dim sizes[OX_LETTERS], *dims = ox_shape_room(n, out->count);
    bool seen[OX_LETTERS] = {false};
    for (size_t i = 0; i < n->input_count; i++) {
        for (int k = 0; k < terms[i].count; k++) {
            int letter = terms[i].letters[k], rank = 1;
            ox_dim own = ox_shape_dims(n, i)[k], *joined = &sizes[letter];
            if (seen[letter]) {
                ox_shape_broadcast(n, &rank, &joined, 1, &own);
                own = *joined;
            }
            sizes[letter] = own;
            seen[letter] = true;
        }
    }
    for (int k = 0; k < out->count; k++) {
        dims[k] = sizes[out->letters[k]];
    }
    ox_shape_set(n, 0, ox_shape_type(n, 0), out->count, dims);
}
