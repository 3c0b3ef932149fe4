/* options.groups and .labels: which values of a sample are one player. */
#include <stdlib.h>
#include <string.h>

#include "explain/bind.h"
#include "explain/players.h"

/* ---- what an input looks like --------------------------------------------------------------- */

/* Its own dimensions, without the batch; gives up where they are not known. */
static int own_dims(const ox_explain_state *s, const ox_explained *e, int64_t *dims, int64_t *size)
{
    int rank = 0;
    *size = 1;
    for (int d = 0; d < e->x->rank; d++) {
        if (d == e->batch_axis) {
            continue;
        }
        if (!ox_dim_is_static(e->x->dims[d]) || !ox_int_mul(*size, e->x->dims[d].size, size)) {
            ox_fail(s->arena, OX_UNSUPPORTED,
                    "the shape of input \"%s\" is not known: references that are given say it",
                    e->x->name);
        }
        dims[rank++] = e->x->dims[d].size;
    }
    return rank;
}

static bool is_channels(int64_t size)
{
    return size == 1 || size == 3;
}

/* The first of the two axes of a picture, -1 for what is none: channels come first or last. */
static int picture_axis(int rank, const int64_t *dims)
{
    bool last = rank == 3 && is_channels(dims[2]) && !is_channels(dims[0]);
    return rank == 2 ? 0 : rank == 3 ? (last ? 0 : 1) : -1;
}

static int64_t *room_for_labels(const ox_explain_state *s, int64_t size)
{
    return ox_arena_alloc(s->arena, (size_t)size, sizeof(int64_t));
}

/* Labels of patches of height x width over all channels; returns how many there are. */
static int64_t patches(int rank, const int64_t *dims, int64_t size, int64_t height, int64_t width,
                       int64_t *labels)
{
    int axis = picture_axis(rank, dims);
    int64_t inner = 1, across = (dims[axis + 1] + width - 1) / width;
    for (int d = axis + 2; d < rank; d++) {
        inner *= dims[d];
    }
    for (int64_t i = 0; i < size; i++) {
        int64_t x = i / inner % dims[axis + 1], y = i / inner / dims[axis + 1] % dims[axis];
        labels[i] = y / height * across + x / width;
    }
    return across * ((dims[axis] + height - 1) / height);
}

bool ox_groups_patches(const ox_explain_state *s, size_t i, ox_team *t, int64_t parts)
{
    int64_t dims[OX_MAX_RANK], size;
    int rank = own_dims(s, &s->bind->inputs[i], dims, &size), axis = picture_axis(rank, dims);
    if (rank != 3 || size == 0) {
        return false;
    }
    int64_t height = (dims[axis] + parts - 1) / parts, width = (dims[axis + 1] + parts - 1) / parts;
    int64_t *labels = room_for_labels(s, size);
    t->count = patches(rank, dims, size, height, width, labels);
    t->labels = labels;
    return true;
}

/* ---- label maps ------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Numbers the labels from 0 on, in rising order; returns how many differ. */
static int64_t number_labels(const ox_explain_state *s, int64_t size, int64_t *labels)
{
    int64_t *sorted = ox_arena_copy(s->arena, labels, (size_t)size, sizeof *labels), count = 0;
    qsort(sorted, (size_t)size, sizeof *sorted, compare);
    for (int64_t i = 0; i < size; i++) {
        if (count == 0 || sorted[count - 1] != sorted[i]) {
            sorted[count++] = sorted[i];
        }
    }
    for (int64_t i = 0; i < size; i++) {
        const int64_t *at = bsearch(&labels[i], sorted, (size_t)count, sizeof *sorted, compare);
        labels[i] = at - sorted;
    }
    return count;
}

static size_t input_of(const ox_explain_state *s, const char *name)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        if (name == NULL || strcmp(s->bind->inputs[i].x->name, name) == 0) {
            return i;
        }
    }
    ox_fail(s->arena, OX_ARGUMENT, "labels for \"%s\", which is not an explained input", name);
}

/* Whether the map has the shape of a sample, if need be after an axis of 1. */
static bool fits(const ox_tensor *t, int rank, const int64_t *dims)
{
    int lead = t->rank == rank + 1 && t->dims[0] == 1;
    bool same = t->rank - lead == rank;
    for (int d = 0; same && d < rank; d++) {
        same = t->dims[d + lead] == dims[d];
    }
    return same;
}

static void take_map(const ox_explain_state *s, ox_team *teams, const ox_tensor *t)
{
    int64_t dims[OX_MAX_RANK], size;
    if (t->name == NULL && s->bind->input_count > 1) {
        ox_fail(s->arena, OX_ARGUMENT, "labels need names: the model has several explained inputs");
    }
    size_t i = input_of(s, t->name);
    const char *name = s->bind->inputs[i].x->name;
    int rank = own_dims(s, &s->bind->inputs[i], dims, &size);
    if (ox_type_is_float(t->type) || t->type == OX_STRING || !fits(t, rank, dims)) {
        ox_fail(s->arena, OX_ARGUMENT,
                "labels for \"%s\" are not whole numbers in the shape of one sample", name);
    }
    if (teams[i].labels != NULL) {
        ox_fail(s->arena, OX_ARGUMENT, "groups of \"%s\" are given twice", name);
    }
    int64_t *labels = room_for_labels(s, size);
    ox_const c = {.type = t->type, .data = t->data};
    for (int64_t k = 0; k < size; k++) {
        labels[k] = (int64_t)ox_const_double(&c, (size_t)k);
    }
    const int64_t *given = ox_arena_copy(s->arena, labels, (size_t)size, sizeof *labels);
    teams[i].count = number_labels(s, size, labels);
    teams[i].labels = labels;
    teams[i].names = ox_arena_alloc(s->arena, (size_t)teams[i].count, sizeof *teams[i].names);
    for (int64_t k = 0; k < size; k++) {
        const char **own = &teams[i].names[labels[k]];
        *own = *own != NULL ? *own : ox_arena_format(s->arena, "%lld", (long long)given[k]);
    }
}

/* "3", or "1:2" where there are `across` in a row. */
static const char **numbered_names(const ox_explain_state *s, int64_t count, int64_t across)
{
    const char **names = ox_arena_alloc(s->arena, (size_t)count, sizeof *names);
    for (int64_t k = 0; k < count; k++) {
        long long row = k / (across > 0 ? across : 1), column = across > 0 ? k % across : 0;
        names[k] = across > 0 ? ox_arena_format(s->arena, "%lld:%lld", row, column)
                              : ox_arena_format(s->arena, "%lld", row);
    }
    return names;
}

/* ---- texts ---------------------------------------------------------------------------------- */

static _Noreturn void bad_group(const ox_explain_state *s, const char *text, const char *why)
{
    ox_fail(s->arena, OX_ARGUMENT, "groups: \"%s\": %s", text, why);
}

/* "16x16" */
static void read_patch(const ox_explain_state *s, const char *text, int64_t *height, int64_t *width)
{
    char *end;
    *height = strtoll(text, &end, 10);
    bool good = end != text && *end == 'x';
    const char *second = good ? end + 1 : text;
    *width = strtoll(second, &end, 10);
    if (!good || end == second || *end != '\0' || *height < 1 || *width < 1 ||
        *height > INT32_MAX || *width > INT32_MAX) {
        bad_group(s, text, "expected patch:HEIGHTxWIDTH");
    }
}

/* Patches, or the positions of tokens, of all inputs that have them. */
static void take_rule(const ox_explain_state *s, ox_team *teams, const char *text)
{
    bool tokens = strcmp(text, "tokens") == 0, any = false;
    int64_t height = 1, width = 1;
    if (!tokens) {
        read_patch(s, text + strlen("patch:"), &height, &width);
    }
    for (size_t i = 0; i < s->bind->input_count; i++) {
        int64_t dims[OX_MAX_RANK], size;
        int rank = own_dims(s, &s->bind->inputs[i], dims, &size);
        bool has = size > 0 && (tokens ? rank > 0 : picture_axis(rank, dims) >= 0);
        if (!has || teams[i].labels != NULL) {
            continue;
        }
        int64_t *labels = room_for_labels(s, size);
        for (int64_t k = 0; tokens && k < size; k++) {
            labels[k] = k / (size / dims[0]);
        }
        teams[i].count = tokens ? dims[0] : patches(rank, dims, size, height, width, labels);
        teams[i].labels = labels;
        int axis = tokens ? -1 : picture_axis(rank, dims);
        int64_t across = tokens ? 0 : (dims[axis + 1] + width - 1) / width;
        teams[i].names = numbered_names(s, teams[i].count, across);
        any = true;
    }
    if (!any) {
        bad_group(s, text, tokens ? "no input has an axis of tokens" : "no input is a picture");
    }
}

/* The column of a name: its place among the values of all samples, or along the last axis. */
static size_t column_of(const ox_explain_state *s, const char *text, const char *name,
                        size_t length)
{
    const ox_options *o = s->options;
    for (size_t i = 0; i < o->feature_count; i++) {
        if (strlen(o->feature_names[i]) == length &&
            strncmp(o->feature_names[i], name, length) == 0) {
            return i;
        }
    }
    bad_group(s, text,
              ox_arena_format(s->arena, "there is no feature \"%.*s\"%s", (int)length, name,
                              o->feature_count == 0 ? ", feature names are not given" : ""));
}

/* Groups of columns, being read. */
typedef struct columns {
    int64_t *labels; /* of the columns; -1: alone */
    int64_t groups;
    const char **names; /* of the groups */
} columns;

/* "NAME: COLUMN, COLUMN" */
static void take_columns(const ox_explain_state *s, columns *c, const char *text)
{
    const char *at = strchr(text, ':');
    if (at == NULL) {
        bad_group(s, text, "expected patch:HxW, tokens or NAME: COLUMN, COLUMN");
    }
    const char *end = at;
    while (end > text && end[-1] == ' ') {
        end--;
    }
    if (end == text) {
        bad_group(s, text, "the group has no name");
    }
    c->names = ox_arena_grow(s->arena, c->names, (size_t)c->groups, sizeof *c->names);
    c->names[c->groups] = ox_arena_format(s->arena, "%.*s", (int)(end - text), text);
    while (*at != '\0') {
        at += 1 + strspn(at + 1, " \t");
        size_t length = strcspn(at, ","), name = length;
        while (name > 0 && (at[name - 1] == ' ' || at[name - 1] == '\r')) {
            name--;
        }
        size_t column = column_of(s, text, at, name);
        if (c->labels[column] >= 0) {
            bad_group(
                s, text,
                ox_arena_format(s->arena, "feature \"%.*s\" is in two groups", (int)name, at));
        }
        c->labels[column] = c->groups;
        at += length;
    }
    c->groups++;
}

/* The columns of an input from `first` on, `wide` along its last axis or all its values, as labels:
 * players are in the order of their first column. */
static void spread_columns(const ox_explain_state *s, columns *c, size_t i, int64_t size,
                           int64_t first, int64_t wide, ox_team *t)
{
    int64_t *player = ox_arena_alloc(s->arena, (size_t)(c->groups + wide), sizeof *player);
    int64_t *labels = room_for_labels(s, size), count = 0;
    const char **names = ox_arena_alloc(s->arena, (size_t)wide, sizeof *names);
    bool any = false;
    for (int64_t k = 0; k < wide; k++) {
        int64_t group = c->labels[first + k], of = group < 0 ? c->groups + k : group;
        any = any || group >= 0;
        player[of] = player[of] == 0 ? ++count : player[of];
        labels[k] = player[of] - 1;
        names[labels[k]] = group < 0 ? s->options->feature_names[first + k] : c->names[group];
    }
    for (int64_t k = wide; k < size; k++) {
        labels[k] = labels[k % wide];
    }
    if (any && t->labels != NULL) {
        ox_fail(s->arena, OX_ARGUMENT, "groups of \"%s\" are given twice",
                s->bind->inputs[i].x->name);
    }
    if (any) {
        t->labels = labels;
        t->count = count;
        t->names = names;
    }
}

static void give_columns(const ox_explain_state *s, columns *c, ox_team *teams)
{
    int64_t total = 0, dims[OX_MAX_RANK], names = (int64_t)s->options->feature_count, at = 0;
    int64_t *owner = ox_arena_alloc(s->arena, (size_t)c->groups, sizeof *owner);
    for (size_t i = 0; i < s->bind->input_count; i++) {
        total += teams[i].size;
    }
    for (size_t i = 0; i < s->bind->input_count; i++) {
        int rank = own_dims(s, &s->bind->inputs[i], dims, &(int64_t){0});
        int64_t wide = total == names ? teams[i].size : rank > 0 ? dims[rank - 1] : 1;
        if (total != names && wide != names) {
            continue;
        }
        int64_t first = total == names ? at : 0;
        for (int64_t k = first; k < first + wide; k++) {
            int64_t group = c->labels[k];
            if (group >= 0 && owner[group] != 0 && owner[group] != (int64_t)i + 1) {
                bad_group(s, c->names[group], "its features are of different inputs");
            }
            if (group >= 0) {
                owner[group] = (int64_t)i + 1;
            }
        }
        spread_columns(s, c, i, teams[i].size, first, wide, &teams[i]);
        at += teams[i].size;
    }
}

/* ---- all of them ---------------------------------------------------------------------------- */

void ox_groups_find(const ox_explain_state *s, ox_team *teams)
{
    const ox_options *o = s->options;
    columns c = {.groups = 0};
    if (o->group_count + o->label_count > 0 && s->bind->points != s->bind->inputs) {
        ox_fail(s->arena, OX_ARGUMENT, "groups are of inputs, not of tensors to explain at");
    }
    c.labels = ox_arena_alloc(s->arena, o->feature_count, sizeof *c.labels);
    for (size_t i = 0; i < o->feature_count; i++) {
        c.labels[i] = -1;
    }
    for (size_t i = 0; i < o->label_count; i++) {
        take_map(s, teams, &o->labels[i]);
    }
    for (size_t i = 0; i < o->group_count; i++) {
        const char *text = o->groups[i];
        bool rule = strcmp(text, "tokens") == 0 || strncmp(text, "patch:", 6) == 0;
        if (rule) {
            take_rule(s, teams, text);
        } else {
            take_columns(s, &c, text);
        }
    }
    if (c.groups > 0) {
        give_columns(s, &c, teams);
    }
}
