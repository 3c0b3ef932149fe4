/* Where references come in beside every call, or are computed with held values that do, the
 * reference branch runs in every call. Once these have been the same for some calls in a row, a
 * second session has them as constants, so that ONNX Runtime folds what depends on them alone, as
 * with cache load. Which call it is from on depends on the calls alone, not on the clock: the same
 * calls give the same bits. */
#include "run/steady.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explain/fix.h"
#include "model/model.h"
#include "os.h"

/* The call in a row from which on it pays, at first; twice as late after each change. */
enum { FROM = 3, LATEST = 1 << 20 };

struct ox_pin {
    ox_session *session; /* NULL: not made yet */
    ox_tensor *references;
    size_t count;
    int calls; /* in a row */
    int users; /* and one for being the current one */
    bool failed;
};

struct ox_steady {
    ox_os_mutex *lock;
    ox_model *model;
    ox_session_options options;
    char *runtime; /* the options' */
    ox_opener opener;
    ox_pin *current;
    int from;
    uint64_t keeps; /* samples of which there is room for what is made of held values */
};

/* ---- copies ----------------------------------------------------------------------------- */

static size_t bytes_of(const ox_tensor *t)
{
    size_t bytes = ox_type_size(t->type);
    for (int d = 0; d < t->rank; d++) {
        bytes *= (size_t)t->dims[d];
    }
    return bytes;
}

static void *copy_of(const void *from, size_t size)
{
    void *to = malloc(size + 1);
    if (to != NULL && size > 0) {
        memcpy(to, from, size);
    }
    return to;
}

static bool copy_tensor(ox_tensor *to, const ox_tensor *from)
{
    *to = *from;
    to->name = copy_of(from->name, strlen(from->name) + 1);
    to->dims = copy_of(from->dims, (size_t)from->rank * sizeof *from->dims);
    to->data = copy_of(from->data, bytes_of(from));
    return to->name != NULL && to->dims != NULL && to->data != NULL;
}

static void free_pin(const ox_steady *s, ox_pin *p)
{
    for (size_t i = 0; p->references != NULL && i < p->count; i++) {
        ox_tensor_free(&p->references[i]);
    }
    s->opener.free(p->session);
    free(p->references);
    free(p);
}

/* ---- which of the inputs are to be settled -------------------------------------------------- */

static bool is_reference(const ox_steady *s, const char *name)
{
    static const char end[] = "_references";
    const char *inputs = ox_metadata(s->model, "onnxexplainer.inputs");
    size_t length = strlen(name), tail = sizeof end - 1, count;
    const ox_value_info *infos = ox_inputs(s->model, &count);
    const char *prefix = ox_metadata(s->model, "onnxexplainer.prefix");
    size_t before = prefix == NULL ? 0 : strlen(prefix);
    bool named = length > before + tail && strcmp(name + length - tail, end) == 0 &&
                 (before == 0 || strncmp(name, prefix, before) == 0) && inputs != NULL;
    for (size_t i = 0; named && i < count; i++) { /* of an input, not an input called so itself */
        const char *of = infos[i].name;
        if (strlen(of) == length - before - tail &&
            strncmp(of, name + before, length - before - tail) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether it is among the lines of the held ones. */
static bool is_held(const ox_steady *s, const char *name)
{
    const char *line = s->keeps == 0 ? NULL : ox_metadata(s->model, "onnxexplainer.hold");
    size_t length = strlen(name);
    while (line != NULL) {
        const char *end = strchr(line, '\n');
        size_t size = end == NULL ? strlen(line) : (size_t)(end - line);
        if (size == length && strncmp(line, name, length) == 0) {
            return true;
        }
        line = end == NULL ? NULL : end + 1;
    }
    return false;
}

static bool is_settled(const ox_steady *s, const char *name)
{
    return is_reference(s, name) || is_held(s, name);
}

/* Whether what is kept of so many samples is within the memory, beside a run of the first session.
 */
static bool fits(const ox_steady *s, const ox_tensor *t)
{
    size_t count;
    const ox_value_info *infos = ox_inputs(s->model, &count);
    uint64_t samples = 1;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(infos[i].name, t->name) == 0 && infos[i].rank == t->rank) {
            for (int d = 0; d < t->rank; d++) {
                samples = infos[i].dims[d] < 0 ? (uint64_t)t->dims[d] : samples;
            }
        }
    }
    return !is_held(s, t->name) || samples <= s->keeps;
}

static bool same_tensor(const ox_tensor *a, const ox_tensor *b)
{
    return strcmp(a->name, b->name) == 0 && a->type == b->type && a->rank == b->rank &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0 &&
           memcmp(a->data, b->data, bytes_of(a)) == 0;
}

static const ox_tensor *find(const ox_pin *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->references[i].name, name) == 0) {
            return &p->references[i];
        }
    }
    return NULL;
}

/* Whether the references among the inputs are those of a pin. */
static bool are_those(const ox_steady *s, const ox_pin *p, const ox_tensor *inputs, size_t count)
{
    size_t same = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_settled(s, inputs[i].name)) {
            const ox_tensor *t = find(p, inputs[i].name);
            if (t == NULL || !same_tensor(t, &inputs[i])) {
                return false;
            }
            same++;
        }
    }
    return same == p->count;
}

/* ---- pins ------------------------------------------------------------------------------- */

/* NULL where there are none, not of numbers, or without memory. */
static ox_pin *begin(const ox_steady *s, const ox_tensor *inputs, size_t count)
{
    ox_pin *p = calloc(1, sizeof *p);
    ox_tensor *copies = calloc(count + 1, sizeof *copies);
    bool good = p != NULL && copies != NULL;
    for (size_t i = 0; good && i < count; i++) {
        if (is_settled(s, inputs[i].name)) {
            good = inputs[i].type != OX_STRING && fits(s, &inputs[i]) &&
                   copy_tensor(&copies[p->count++], &inputs[i]);
        }
    }
    if (p == NULL) {
        free(copies);
        return NULL;
    }
    p->references = copies;
    p->users = 1;
    if (!good || p->count == 0) {
        free_pin(s, p);
        return NULL;
    }
    return p;
}

static void drop(const ox_steady *s, ox_pin *p)
{
    if (p != NULL && --p->users == 0) {
        free_pin(s, p);
    }
}

/* Where it cannot be made, calls go on as before. */
static void open_session(const ox_steady *s, ox_pin *p)
{
    ox_model *fixed = ox_fixed_inputs(s->model, p->references, p->count, NULL);
    p->session = fixed == NULL ? NULL : s->opener.open(fixed, &s->options, NULL);
    p->failed = p->session == NULL;
    ox_free(fixed);
}

static void change(ox_steady *s, const ox_tensor *inputs, size_t count)
{
    if (s->current != NULL) {
        s->from = s->from < LATEST ? 2 * s->from : s->from;
    }
    drop(s, s->current);
    s->current = begin(s, inputs, count);
}

/* The others. */
static ox_tensor *without_references(const ox_steady *s, const ox_tensor *inputs, size_t *count)
{
    ox_tensor *left = calloc(*count + 1, sizeof *left);
    size_t kept = 0;
    for (size_t i = 0; left != NULL && i < *count; i++) {
        if (!is_settled(s, inputs[i].name)) {
            left[kept++] = inputs[i];
        }
    }
    *count = kept;
    return left;
}

static ox_pin *take(ox_steady *s, const ox_tensor **inputs, size_t *count)
{
    if (s->current == NULL || !are_those(s, s->current, *inputs, *count)) {
        change(s, *inputs, *count);
    }
    ox_pin *p = s->current;
    if (p == NULL || p->failed || ++p->calls < s->from) {
        return NULL;
    }
    p->calls--; /* which would overflow */
    if (p->session == NULL) {
        open_session(s, p);
    }
    size_t left = *count;
    ox_tensor *others = p->session == NULL ? NULL : without_references(s, *inputs, &left);
    if (others == NULL) {
        return NULL;
    }
    *inputs = others;
    *count = left;
    p->users++;
    return p;
}

ox_pin *ox_steady_enter(ox_steady *s, const ox_tensor **inputs, size_t *count)
{
    if (s == NULL) {
        return NULL;
    }
    ox_os_mutex_lock(s->lock);
    ox_pin *p = take(s, inputs, count);
    ox_os_mutex_unlock(s->lock);
    return p;
}

void ox_steady_leave(ox_steady *s, ox_pin *pin)
{
    if (pin != NULL) {
        ox_os_mutex_lock(s->lock);
        drop(s, pin);
        ox_os_mutex_unlock(s->lock);
    }
}

ox_session *ox_pin_session(const ox_pin *pin)
{
    return pin->session;
}

/* ---- life ------------------------------------------------------------------------------- */

uint64_t ox_steady_keeps(const char *memory)
{
    uint64_t loads, holds, works, all;
    bool told = memory != NULL && sscanf(memory, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                                         &loads, &holds, &works, &all) == 4;
    return told && all > loads && works < all / 2 ? (all - loads) / (2 * works + 1) : 0;
}

static bool references_come_in(const ox_model *explained)
{
    const char *references = ox_metadata(explained, "onnxexplainer.references");
    return references != NULL && strcmp(references, "input") == 0;
}

ox_steady *ox_steady_new(const ox_model *explained, const ox_session_options *options,
                         ox_opener opener, ox_error *err)
{
    bool come_in = references_come_in(explained);
    uint64_t keeps = come_in ? 0 : ox_steady_keeps(ox_metadata(explained, "onnxexplainer.memory"));
    if ((!come_in && keeps == 0) || options->no_tune || options->no_optimization ||
        options->profile != NULL) {
        return NULL;
    }
    ox_steady *s = calloc(1, sizeof *s);
    char *runtime =
        options->runtime == NULL ? NULL : copy_of(options->runtime, strlen(options->runtime) + 1);
    ox_os_mutex *lock = ox_os_mutex_new();
    if (s == NULL || lock == NULL || (options->runtime != NULL && runtime == NULL)) {
        ox_os_mutex_free(lock);
        free(runtime);
        free(s);
        ox_error_set(err, OX_MEMORY, "out of memory");
        return NULL;
    }
    *s = (ox_steady){
        .lock = lock, .options = *options, .opener = opener, .from = FROM, .keeps = keeps};
    s->model = ox_model_keep(explained);
    s->runtime = runtime;
    s->options.runtime = runtime;
    s->options.note = NULL;
    return s;
}

void ox_steady_free(ox_steady *s)
{
    if (s != NULL) {
        drop(s, s->current);
        ox_free(s->model);
        free(s->runtime);
        ox_os_mutex_free(s->lock);
        free(s);
    }
}
