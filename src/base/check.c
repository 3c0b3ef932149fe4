/* Checks of what programs pass in. */
#include "base/check.h"

#include <math.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"

bool ox_check_given(const char *what, const void *argument, ox_error *err)
{
    return argument != NULL || ox_error_set(err, OX_ARGUMENT, "%s: none given (NULL)", what);
}

bool ox_check_path(const char *what, const char *path, ox_error *err)
{
    return ox_check_given(what, path, err) &&
           (path[0] != '\0' || ox_error_set(err, OX_ARGUMENT, "%s: is empty", what));
}

/* ---- text ------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 sequence at `c`, 0 where there is none: no overlong forms, no surrogates,
 * nothing beyond U+10FFFF. */
static size_t sequence(const unsigned char *c)
{
    if (c[0] < 0x80) {
        return 1;
    }
    size_t length = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    unsigned char least = c[0] == 0xe0 ? 0xa0 : c[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char most = c[0] == 0xed ? 0x9f : c[0] == 0xf4 ? 0x8f : 0xbf;
    if (c[0] < 0xc2 || c[0] > 0xf4 || c[1] < least || c[1] > most) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if (c[i] < 0x80 || c[i] > 0xbf) {
            return 0;
        }
    }
    return length;
}

static bool is_utf8(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    size_t length = 1;
    while (*c != '\0' && length > 0) {
        length = sequence(c);
        c += length;
    }
    return length > 0;
}

/* Control characters would break lines of metadata, and terminals. */
static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 127) {
            return false;
        }
    }
    return true;
}

/* A text that may be missing. */
static bool check_text(const char *what, const char *text, ox_error *err)
{
    return text == NULL || is_utf8(text) || ox_error_set(err, OX_ARGUMENT, "%s: not UTF-8", what);
}

bool ox_check_names(const char *what, const char *const *names, size_t count, ox_error *err)
{
    if (count > 0 && names == NULL) {
        return ox_error_set(err, OX_ARGUMENT, "%s: %zu counted, none given (NULL)", what, count);
    }
    for (size_t i = 0; i < count; i++) {
        const char *why = names[i] == NULL      ? "missing (NULL)"
                          : names[i][0] == '\0' ? "empty"
                          : is_utf8(names[i])   ? NULL
                                                : "not UTF-8";
        if (why != NULL) {
            return ox_error_set(err, OX_ARGUMENT, "%s: name %zu is %s", what, i, why);
        }
    }
    return true;
}

static bool check_distinct(const char *what, const char *const *names, size_t count, ox_error *err)
{
    if (!ox_check_names(what, names, count, err)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(names[i], names[k]) == 0) {
                return ox_error_set(err, OX_ARGUMENT, "%s: \"%s\" is given twice", what, names[i]);
            }
        }
    }
    return true;
}

/* ---- tensors ---------------------------------------------------------------------------- */

/* "reference "image"", or by its place where it has no name. */
static void label_of(char *text, size_t size, const char *what, const ox_tensor *t, size_t index)
{
    if (t->name != NULL) {
        snprintf(text, size, "%s \"%s\"", what, t->name);
    } else {
        snprintf(text, size, "%s %zu", what, index);
    }
}

/* Bytes of data; the dimensions beside one of 0 have to fit all the same. */
static bool measure(const char *label, const ox_tensor *t, size_t *bytes, ox_error *err)
{
    size_t room = ox_type_size(t->type);
    bool empty = false;
    for (int i = 0; i < t->rank; i++) {
        if (t->dims[i] < 0) {
            return ox_error_set(err, OX_ARGUMENT, "%s: dimension %d is %lld", label, i,
                                (long long)t->dims[i]);
        }
        empty = empty || t->dims[i] == 0;
        if (t->dims[i] > 0 &&
            ((uint64_t)t->dims[i] > SIZE_MAX || !ox_size_mul(room, (size_t)t->dims[i], &room))) {
            return ox_error_set(err, OX_ARGUMENT, "%s: larger than memory by its shape", label);
        }
    }
    *bytes = empty ? 0 : room;
    return true;
}

static bool check_texts(const char *label, const char *const *texts, size_t count, ox_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (texts[i] == NULL || !is_utf8(texts[i])) {
            return ox_error_set(err, OX_ARGUMENT, "%s: element %zu is %s", label, i,
                                texts[i] == NULL ? "missing (NULL)" : "not UTF-8");
        }
    }
    return true;
}

static bool check_tensor(const char *label, const ox_tensor *t, ox_error *err)
{
    size_t bytes = 0;
    if (t->name != NULL && (t->name[0] == '\0' || !is_utf8(t->name))) {
        return ox_error_set(err, OX_ARGUMENT, "%s: its name is %s", label,
                            t->name[0] == '\0' ? "empty" : "not UTF-8");
    }
    if (ox_type_size(t->type) == 0) {
        return ox_error_set(err, OX_UNSUPPORTED, "%s: elements of type %s (%d) are not supported",
                            label, ox_type_name(t->type), (int)t->type);
    }
    if (t->rank < 0 || t->rank > OX_MAX_RANK) {
        return ox_error_set(err, OX_ARGUMENT, "%s: rank %d is not between 0 and %d", label, t->rank,
                            OX_MAX_RANK);
    }
    if (t->rank > 0 && t->dims == NULL) {
        return ox_error_set(err, OX_ARGUMENT, "%s: no dims given (NULL)", label);
    }
    if (!measure(label, t, &bytes, err)) {
        return false;
    }
    if (bytes > 0 && t->data == NULL) {
        return ox_error_set(err, OX_ARGUMENT, "%s: no data given (NULL)", label);
    }
    return t->type != OX_STRING || check_texts(label, t->data, bytes / sizeof(char *), err);
}

bool ox_check_tensors(const char *what, const ox_tensor *tensors, size_t count, bool nameless,
                      ox_error *err)
{
    if (count > 0 && tensors == NULL) {
        return ox_error_set(err, OX_ARGUMENT, "%ss: %zu counted, none given (NULL)", what, count);
    }
    for (size_t i = 0; i < count; i++) {
        char label[200];
        label_of(label, sizeof label, what, &tensors[i], i);
        if (tensors[i].name == NULL && (!nameless || count > 1)) {
            return ox_error_set(err, OX_ARGUMENT, "%s: no name given (NULL)", label);
        }
        if (!check_tensor(label, &tensors[i], err)) {
            return false;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(tensors[k].name, tensors[i].name) == 0) {
                return ox_error_set(err, OX_ARGUMENT, "%s: given twice", label);
            }
        }
    }
    return true;
}

/* ---- options ---------------------------------------------------------------------------- */

/* More than any of these structs will have. */
enum { LARGEST_STRUCT = 4096 };

/* Copies a struct that starts with its size as the caller's header has it into `own` of `known`
 * bytes, zeroed, which are the defaults of all fields but the size. */
static bool take(const char *name, const void *given, void *own, size_t known, ox_error *err)
{
    size_t size = known;
    if (given != NULL) {
        memcpy(&size, given, sizeof size);
    }
    if (size == 0) {
        return ox_error_set(err, OX_ARGUMENT, "%s: size is 0, start from its INIT macro", name);
    }
    if (size < sizeof size || size > LARGEST_STRUCT || size % alignof(size_t) != 0) {
        return ox_error_set(err, OX_ARGUMENT, "%s: size is %zu, start from its INIT macro", name,
                            size);
    }
    const unsigned char *bytes = given;
    for (size_t i = known; i < size; i++) {
        if (bytes[i] != 0) {
            return ox_error_set(err, OX_ARGUMENT,
                                "%s: has fields set that version %s does not know", name,
                                OX_VERSION);
        }
    }
    if (given != NULL) {
        memcpy(own, given, size < known ? size : known);
    }
    memcpy(own, &known, sizeof known);
    return true;
}

static bool check_references(const ox_options *o, ox_error *err)
{
    int source = (int)o->reference_source;
    if (source < OX_REFERENCES_GIVEN || source > OX_REFERENCES_PAIRED) {
        return ox_error_set(err, OX_ARGUMENT, "reference_source: %d is none", source);
    }
    if (o->reference_count > 0 && source != OX_REFERENCES_GIVEN) {
        return ox_error_set(err, OX_ARGUMENT,
                            "references: given, but reference_source says otherwise");
    }
    if (!isfinite(o->fill)) {
        return ox_error_set(err, OX_ARGUMENT, "fill: %g is not finite", o->fill);
    }
    return ox_check_tensors("reference", o->references, o->reference_count, true, err);
}

static bool check_weights(const ox_options *o, ox_error *err)
{
    return o->weight_count == 0 || o->weights != NULL ||
           ox_error_set(err, OX_ARGUMENT, "weights: %zu of them, but none is given",
                        o->weight_count);
}

static bool check_cache(const ox_options *o, ox_error *err)
{
    int cache = (int)o->cache;
    ox_type type = o->cache_dtype;
    if (cache < OX_CACHE_AUTO || cache > OX_CACHE_NONE) {
        return ox_error_set(err, OX_ARGUMENT, "cache: %d is none", cache);
    }
    if (type != OX_NONE && type != OX_FLOAT && type != OX_FLOAT16) {
        return ox_error_set(err, OX_ARGUMENT, "cache_dtype: %s (%d) is neither float32 nor float16",
                            ox_type_name(type), (int)type);
    }
    return o->chunk >= 0 ||
           ox_error_set(err, OX_ARGUMENT, "chunk: %lld is negative", (long long)o->chunk);
}

/* Names of features are lines of the metadata; the prefix stands in names of the graph. */
static bool check_written(const ox_options *o, ox_error *err)
{
    if (!check_text("prefix", o->prefix, err) ||
        !ox_check_names("feature_names", o->feature_names, o->feature_count, err)) {
        return false;
    }
    if (o->prefix != NULL && !is_printable(o->prefix)) {
        return ox_error_set(err, OX_ARGUMENT, "prefix: has control characters");
    }
    for (size_t i = 0; i < o->feature_count; i++) {
        if (!is_printable(o->feature_names[i])) {
            return ox_error_set(err, OX_ARGUMENT, "feature_names: name %zu has control characters",
                                i);
        }
    }
    return true;
}

static bool check_integrate(const ox_options *o, ox_error *err)
{
    if (o->integrate < 0 || o->integrate > OX_MAX_POINTS) {
        return ox_error_set(err, OX_ARGUMENT, "integrate: %d points are not between 1 and %d",
                            o->integrate, OX_MAX_POINTS);
    }
    if (o->integrate == 0 && o->integrate_op_count > 0) {
        return ox_error_set(err, OX_ARGUMENT, "integrate_ops: integrate gives no points");
    }
    return check_distinct("integrate_ops", o->integrate_ops, o->integrate_op_count, err);
}

static bool check_pool(const ox_options *o, ox_error *err)
{
    bool known = o->pool == NULL || strcmp(o->pool, "cross") == 0 || strcmp(o->pool, "tree") == 0;
    return check_text("pool", o->pool, err) &&
           (known ||
            ox_error_set(err, OX_ARGUMENT, "pool: \"%s\" is neither cross nor tree", o->pool));
}

static bool check_splits(const ox_options *o, ox_error *err)
{
    if (o->order < 0 || o->order > 3) {
        return ox_error_set(err, OX_ARGUMENT, "order: %lld is none of 1, 2 and 3",
                            (long long)o->order);
    }
    bool good = o->splits >= 0 && o->splits <= OX_MAX_SPLITS;
    return good || ox_error_set(err, OX_ARGUMENT, "splits: %lld are not between 1 and %d",
                                (long long)o->splits, OX_MAX_SPLITS);
}

static bool check_method(const ox_options *o, ox_error *err)
{
    const int64_t numbers[] = {o->steps, o->samples, o->seed, o->noise};
    static const char *const names[] = {"steps", "samples", "seed", "noise"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i] < 0) {
            return ox_error_set(err, OX_ARGUMENT, "%s: %lld is below 0", names[i],
                                (long long)numbers[i]);
        }
    }
    if (o->steps > OX_MAX_STEPS) {
        return ox_error_set(err, OX_ARGUMENT, "steps: %lld are more than %d", (long long)o->steps,
                            OX_MAX_STEPS);
    }
    return check_text("method", o->method, err) &&
           check_distinct("groups", o->groups, o->group_count, err) &&
           ox_check_tensors("label map", o->labels, o->label_count, true, err);
}

bool ox_check_options(const ox_options *given, ox_options *own, ox_error *err)
{
    *own = (ox_options){.size = 0};
    return take("ox_options", given, own, sizeof *own, err) && check_references(own, err) &&
           check_text("target", own->target, err) &&
           check_text("output_name", own->output_name, err) &&
           ox_check_tensors("target array", own->target_array, own->target_array != NULL, true,
                            err) &&
           check_distinct("hold", own->hold, own->hold_count, err) &&
           ox_check_tensors("fixed input", own->fix, own->fix_count, false, err) &&
           check_distinct("at", own->at, own->at_count, err) && check_cache(own, err) &&
           check_weights(own, err) && check_integrate(own, err) && check_pool(own, err) &&
           check_splits(own, err) && check_method(own, err) && check_written(own, err);
}

bool ox_check_session_options(const ox_session_options *given, ox_session_options *own,
                              ox_error *err)
{
    *own = (ox_session_options){.size = 0};
    if (!take("ox_session_options", given, own, sizeof *own, err)) {
        return false;
    }
    if (own->threads < 0 || own->threads > OX_MAX_THREADS) {
        return ox_error_set(err, OX_ARGUMENT, "threads: %d is not between 0 and %d", own->threads,
                            OX_MAX_THREADS);
    }
    if (own->provider != NULL) {
        own->no_tune = own->no_kernels = true;
    }
    /* The loader takes an empty path for the program itself. */
    return (own->runtime == NULL || ox_check_path("runtime", own->runtime, err)) &&
           (own->profile == NULL || ox_check_path("profile", own->profile, err)) &&
           (own->provider == NULL || ox_check_path("provider", own->provider, err));
}
