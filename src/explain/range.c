/* The scale of references and samples. What is given in another preprocessing than the model's is
 * explained without an error; its range gives it away. */
#include "explain/range.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "explain/bind.h"

static const char KEY[] = "onnxexplainer.reference_ranges";

typedef struct range {
    double low, high; /* of the finite values */
    double mean;      /* of their magnitudes */
    bool whole;       /* all are whole numbers */
    bool any;
} range;

static range range_of(const ox_tensor *t)
{
    range r = {.whole = true};
    size_t count = 1, used = 0;
    for (int i = 0; i < t->rank; i++) {
        count *= t->dims[i] > 0 ? (size_t)t->dims[i] : 0;
    }
    ox_const c = {.type = t->type, .data = t->data};
    for (size_t i = 0; i < count; i++) {
        double x = ox_const_double(&c, i);
        if (!isfinite(x)) {
            continue;
        }
        r.low = !r.any || x < r.low ? x : r.low;
        r.high = !r.any || x > r.high ? x : r.high;
        r.mean += fabs(x);
        r.whole = r.whole && x == floor(x);
        r.any = true;
        used++;
    }
    r.mean /= used > 0 ? (double)used : 1;
    return r;
}

/* ---- metadata ---------------------------------------------------------------------------- */

enum { POINT = 8 };

/* What the program's locale has for a point. localeconv() would say so, but not to several threads
 * at once. */
static void find_point(char point[POINT])
{
    char half[POINT + 2];
    int length = snprintf(half, sizeof half, "%.1f", 0.5);
    snprintf(point, POINT, "%.*s", length - 2, half + 1);
}

/* A number as the C locale spells it, whatever the program's is. */
static const char *spell(ox_arena *a, double x)
{
    char point[POINT], *text = ox_arena_format(a, "%.9g", x);
    find_point(point);
    char *at = strstr(text, point);
    if (at != NULL) {
        *at = '.';
        memmove(at + 1, at + strlen(point), strlen(at + strlen(point)) + 1);
    }
    return text;
}

/* Reads such a number and the space behind it; false where there is none. */
static bool read_number(const char **text, double *x)
{
    char copy[32 + POINT], point[POINT];
    size_t length = strcspn(*text, " "), whole = strcspn(*text, ". ");
    if (length == 0 || length >= 32 || (*text)[length] != ' ') {
        return false;
    }
    find_point(point);
    bool part = whole < length;
    snprintf(copy, sizeof copy, "%.*s%s%.*s", (int)whole, *text, part ? point : "",
             part ? (int)(length - whole - 1) : 0, *text + whole + 1);
    char *end;
    *x = strtod(copy, &end);
    *text += length + 1;
    return *end == '\0' && isfinite(*x);
}

/* One line for each input: LOW HIGH whole|real NAME. */
void ox_range_set(ox_explain_state *s)
{
    const char *lines = "";
    for (size_t i = 0; i < s->bind->input_count; i++) {
        const ox_explained *e = &s->bind->inputs[i];
        if (e->given == NULL || e->given->type == OX_STRING) {
            continue;
        }
        range r = range_of(e->given);
        lines = ox_arena_format(s->arena, "%s%s%s %s %s %s", lines, lines[0] == '\0' ? "" : "\n",
                                spell(s->arena, r.low), spell(s->arena, r.high),
                                r.whole ? "whole" : "real", e->x->name);
    }
    if (lines[0] != '\0') {
        ox_model_set_property(s->model, KEY, lines);
    }
}

/* Whether a line ends with `name`. */
static bool names(const char *line, const char *name)
{
    size_t length = strlen(name);
    return strncmp(line, name, length) == 0 && (line[length] == '\n' || line[length] == '\0');
}

/* That of the references for `name`; `any` is false where it is not known. */
static range range_of_references(const ox_model *m, const char *name)
{
    for (const char *line = ox_metadata(m, KEY); line != NULL;) {
        range r = {.any = true};
        const char *at = line;
        if (read_number(&at, &r.low) && read_number(&at, &r.high)) {
            size_t word = strcspn(at, " \n");
            r.whole = strncmp(at, "whole", word) == 0;
            if (at[word] == ' ' && names(at + word + 1, name)) {
                return r;
            }
        }
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    return (range){.any = false};
}

/* ---- comparing --------------------------------------------------------------------------- */

/* Samples may well lie outside of a few references, in tables by far for some columns. Another
 * scale is one that typical values show: their mean is this many times the references' largest. */
static const double FACTOR = 4;

static double size_of(range r)
{
    return fmax(fabs(r.low), fabs(r.high));
}

/* Bytes for floats are pixels that nobody has scaled, unless the references are as large or the
 * bytes are flags. */
static bool are_raw_bytes(range x, range refs)
{
    return x.high > 1 && !(refs.any && FACTOR * size_of(refs) >= x.high);
}

/* References that are all the same say nothing about a scale, and those of normalised tables may be
 * tiny (their mean), so that they count as 1 at least. */
static bool is_larger(range x, range refs)
{
    return refs.low < refs.high && x.mean > FACTOR * fmax(size_of(refs), 1);
}

/* The other way round dark images and rows of small numbers are not rare; but where references are
 * whole numbers like those of bytes, fractions of 1 are none. */
static bool is_smaller(range x, range refs)
{
    bool bytes = refs.whole && refs.low >= 0 && refs.high > 16 && refs.high <= 255;
    return bytes && !x.whole && size_of(x) <= 1;
}

static void compare(ox_arena *a, const ox_model *m, const ox_tensor *t, ox_type own, ox_note note,
                    void *user)
{
    range x = range_of(t), refs = range_of_references(m, t->name);
    bool bytes = t->type == OX_UINT8 && are_raw_bytes(x, refs);
    bool apart = refs.any && (is_larger(x, refs) || is_smaller(x, refs));
    if (!x.any || note == NULL || !(bytes || apart)) {
        return;
    }
    const char *kind = bytes ? "uint8 " : "";
    const char *against =
        ox_arena_format(a, ", its references are %.4g to %.4g", refs.low, refs.high);
    note(user,
         ox_arena_format(a, "input \"%s\" (%s) gets %svalues %.4g to %.4g%s; they are not scaled",
                         t->name, ox_type_name(own), kind, x.low, x.high, refs.any ? against : ""));
}

typedef struct job {
    ox_arena *arena;
    const ox_model *model;
    const ox_tensor *inputs;
    size_t count;
    ox_note note;
    void *note_user;
} job;

static void run_job(void *user)
{
    const job *j = user;
    size_t own_count;
    const ox_value_info *own = ox_inputs(j->model, &own_count);
    for (size_t i = 0; i < j->count; i++) {
        const ox_tensor *t = &j->inputs[i];
        for (size_t k = 0; k < own_count && t->name != NULL; k++) {
            bool numbers =
                ox_type_size(t->type) > 0 && t->type != OX_STRING && ox_type_is_float(own[k].type);
            if (numbers && strcmp(own[k].name, t->name) == 0) {
                compare(j->arena, j->model, t, own[k].type, j->note, j->note_user);
            }
        }
    }
}

bool ox_check_inputs(const ox_model *model, const ox_tensor *inputs, size_t input_count,
                     ox_note note, void *note_user, ox_error *err)
{
    if (!ox_check_given("model", model, err) ||
        !ox_check_tensors("input", inputs, input_count, true, err)) {
        return false;
    }
    job j = {ox_arena_new(), model, inputs, input_count, note, note_user};
    if (j.arena == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    bool good = ox_arena_try(j.arena, run_job, &j, err);
    ox_arena_free(j.arena);
    return good;
}
