/* The text of a target: places, sums and differences, lists of them, and slices. */
#include "explain/places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LISTED = 1 << 16 };

_Noreturn void ox_place_refuse(const ox_place_reader *r, const char *why)
{
    ox_fail(r->arena, OX_ARGUMENT, "target \"%s\": %s", r->target, why);
}

int64_t ox_place_number(const ox_place_reader *r, const char **text)
{
    char *end = NULL;
    errno = 0;
    long long n = strtoll(*text, &end, 10);
    if (**text < '0' || **text > '9' || errno != 0) {
        ox_place_refuse(r, "expected top, INDEX, i:j:k, i:top, a-b, input, all, top:K, bottom:K, "
                           "absolute:K, logit:.., loss, loss:LABEL, mask, cosine or a list 3,7,11");
    }
    *text = end;
    return n;
}

/* Whether another index follows, behind a colon. */
static bool goes_on(const char **text)
{
    bool colon = **text == ':';
    *text += colon;
    return colon;
}

/* INDEX or i:j:k, `*` for all of an axis: adds `sign` to its places in row [D]. Returns the flat
 * index, -1 for a sum. */
static int64_t parse_place(const ox_place_reader *r, const char **text, double sign, double *row)
{
    int64_t at[OX_MAX_RANK];
    const int64_t *dims = r->dims;
    int rank = r->rank, count = 0;
    bool star = false;
    do {
        if (count == OX_MAX_RANK) {
            ox_place_refuse(r, "too many indices");
        }
        at[count] = -1;
        if (**text == '*') {
            star = true;
            (*text)++;
        } else {
            at[count] = ox_place_number(r, text);
        }
        count++;
    } while (goes_on(text));
    if (count == 1 && !star && rank != 1) { /* a flat index */
        dims = &r->total;
        rank = 1;
    }
    if (count != rank) {
        ox_place_refuse(r, ox_arena_format(r->arena,
                                           "%d indices for an output of %d axes after the "
                                           "batch",
                                           count, rank));
    }
    int64_t flat = 0;
    for (int i = 0; i < rank; i++) {
        if (at[i] >= dims[i]) {
            ox_place_refuse(r, ox_arena_format(r->arena,
                                               "index %lld is out of range, output \"%s\" "
                                               "has %lld values there",
                                               (long long)at[i], r->output, (long long)dims[i]));
        }
        flat = flat * dims[i] + at[i];
    }
    for (int64_t d = 0; d < r->total; d++) {
        int64_t rest = d;
        bool inside = true;
        for (int i = rank; i-- > 0; rest /= dims[i]) {
            inside = inside && (at[i] < 0 || at[i] == rest % dims[i]);
        }
        row[d] += inside ? sign : 0;
    }
    return star ? -1 : flat;
}

size_t ox_target_places(ox_arena *a, const char *text, const char *output, int rank,
                        const int64_t *dims, int64_t **indices, double **rows)
{
    ox_place_reader r = {.arena = a, .target = text, .output = output, .dims = dims, .rank = rank};
    size_t count = 1;
    r.total = 1;
    for (int i = 0; i < rank; i++) {
        r.total *= dims[i];
    }
    for (const char *c = text; *c != '\0'; c++) {
        count += *c == ',';
    }
    if (count > MAX_LISTED) {
        ox_fail(a, OX_ARGUMENT, "target: a list of %zu, %d can be explained at most", count,
                MAX_LISTED);
    }
    size_t width = (size_t)r.total;
    *rows = ox_arena_alloc(a, width, count * sizeof **rows);
    *indices = ox_arena_alloc(a, count, sizeof **indices);
    for (size_t k = 0; k < count; k++) {
        (*indices)[k] = parse_place(&r, &text, 1, *rows + k * width);
        if (*text == '-') {
            text++;
            parse_place(&r, &text, -1, *rows + k * width);
            (*indices)[k] = -1;
        }
        if (*text != (k + 1 < count ? ',' : '\0')) {
            ox_place_refuse(&r, "unexpected characters after an index");
        }
        text += k + 1 < count;
    }
    return count;
}

/* ---- the best within a slice
 * ----------------------------------------------------------------------- */

/* Whether an index is `top`, as in "3:top" or "top:0:2". */
bool ox_place_has_top(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        bool begins = at == text || at[-1] == ':' || at[-1] == ',';
        if (begins && strncmp(at, "top", 3) == 0 &&
            (at[3] == ':' || at[3] == '\0' || at[3] == ',')) {
            return true;
        }
    }
    return false;
}

/* The flat indices of one slice, "i:top:k": how many there are, in `flat`. */
size_t ox_place_slice(const ox_place_reader *r, const char **text, int64_t *flat)
{
    int64_t at[OX_MAX_RANK];
    int count = 0;
    size_t found = 0;
    do {
        if (count == r->rank) {
            ox_place_refuse(r, "more indices than the output has axes after the batch");
        }
        bool top = strncmp(*text, "top", 3) == 0;
        at[count] = -1;
        if (top) {
            *text += 3;
        } else {
            at[count] = ox_place_number(r, text);
        }
        if (at[count] >= r->dims[count]) {
            ox_place_refuse(r, "an index is out of range");
        }
        count++;
    } while (goes_on(text));
    if (count != r->rank) {
        ox_place_refuse(r, ox_arena_format(r->arena,
                                           "%d indices for an output of %d axes after the "
                                           "batch",
                                           count, r->rank));
    }
    for (int64_t d = 0; d < r->total; d++) {
        int64_t rest = d;
        bool inside = true;
        for (int i = r->rank; i-- > 0; rest /= r->dims[i]) {
            inside = inside && (at[i] < 0 || at[i] == rest % r->dims[i]);
        }
        if (inside) {
            flat[found++] = d;
        }
    }
    return found;
}
