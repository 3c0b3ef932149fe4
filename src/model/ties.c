/* Which outputs of models feed which inputs of those after them. */
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "model/stack.h"

typedef struct search {
    const ox_parts *parts;
    ox_ties *found;
} search;

static const ox_graph *graph_of(const search *s, size_t part)
{
    return s->parts->models[part]->graph;
}

/* ---- values ----------------------------------------------------------------------------- */

static ox_val find_named(size_t count, const ox_val *values, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(values[i]->name, name) == 0) {
            return values[i];
        }
    }
    return NULL;
}

static ox_val input_of(const search *s, size_t part, const char *name)
{
    const ox_graph *g = graph_of(s, part);
    return find_named(g->input_count, g->inputs, name);
}

static ox_val output_of(const search *s, size_t part, const char *name)
{
    const ox_graph *g = graph_of(s, part);
    return find_named(g->output_count, g->outputs, name);
}

static const char *name_at(const void *of, size_t index)
{
    return ((const ox_val *)of)[index]->name;
}

static const char *names(const search *s, size_t count, const ox_val *values)
{
    return ox_names_list(s->parts->arena, name_at, values, count);
}

/* ---- whether they fit ------------------------------------------------------------------- */

static const char *shape_of(ox_arena *a, ox_val v)
{
    const char *text = "";
    for (int d = 0; d < v->rank; d++) {
        const char *comma = d > 0 ? ", " : "";
        text = ox_dim_is_static(v->dims[d])
                   ? ox_arena_format(a, "%s%s%lld", text, comma, (long long)v->dims[d].size)
                   : ox_arena_format(a, "%s%s?", text, comma);
    }
    return ox_arena_format(a, "[%s]", text);
}

static bool shapes_fit(ox_val from, ox_val to)
{
    bool fit = from->rank < 0 || to->rank < 0 || from->rank == to->rank;
    for (int d = 0; fit && from->rank >= 0 && d < to->rank; d++) {
        ox_dim a = from->dims[d], b = to->dims[d];
        /* One sample is what a batch of any size is made of. */
        bool batch = d == 0 && (ox_dim_is(a, 1) || ox_dim_is(b, 1));
        fit = batch || !ox_dim_is_static(a) || !ox_dim_is_static(b) || a.size == b.size;
    }
    return fit;
}

void ox_ties_check(const ox_parts *p, size_t from, ox_val value, size_t to, ox_val input)
{
    ox_type a = value->type, b = input->type;
    const char *pair = ox_arena_format(p->arena,
                                       "\"%s\" of model %zu cannot feed \"%s\" of model "
                                       "%zu",
                                       value->name, from + 1, input->name, to + 1);
    const ox_graph *g = p->models[from]->graph;
    if (a == OX_NONE && find_named(g->output_count, g->outputs, value->name) != NULL) {
        ox_fail(p->arena, OX_UNSUPPORTED,
                "%s: it is no tensor; connect=TENSOR:%s takes a tensor inside", pair, input->name);
    }
    bool floats = ox_type_is_float(a) && ox_type_is_float(b);
    if (a != b && a != OX_NONE && b != OX_NONE && !floats) {
        ox_fail(p->arena, OX_ARGUMENT, "%s: it is %s, the input %s", pair, ox_type_name(a),
                ox_type_name(b));
    }
    if (!shapes_fit(value, input)) {
        ox_fail(p->arena, OX_ARGUMENT, "%s: its shape is %s, the input's %s", pair,
                shape_of(p->arena, value), shape_of(p->arena, input));
    }
}

/* ---- ties ------------------------------------------------------------------------------- */

const ox_tie *ox_ties_of(const ox_ties *ties, size_t part, ox_val input)
{
    for (size_t i = 0; i < ties->count; i++) {
        if (ties->ties[i].to == part && ties->ties[i].input == input) {
            return &ties->ties[i];
        }
    }
    return NULL;
}

static bool feeds(const ox_ties *ties, size_t part)
{
    for (size_t i = 0; i < ties->count; i++) {
        if (ties->ties[i].from == part) {
            return true;
        }
    }
    return false;
}

static void add(const search *s, ox_tie tie)
{
    ox_ties *t = s->found;
    if (ox_ties_of(t, tie.to, tie.input) != NULL) {
        ox_fail(s->parts->arena, OX_ARGUMENT, "input \"%s\" of model %zu is connected twice",
                tie.input->name, tie.to + 1);
    }
    ox_ties_check(s->parts, tie.from, tie.output, tie.to, tie.input);
    t->ties = ox_arena_grow(s->parts->arena, t->ties, t->count, sizeof *t->ties);
    t->ties[t->count++] = tie;
}

/* ---- those that are asked for ----------------------------------------------------------- */

/* A name, or MODEL/NAME of one model: whether it may be of `part`, and the name. */
static const char *name_in(const char *text, size_t part, bool numbered)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    bool has_number = end != text && *end == '/' && number == part + 1;
    return numbered ? (has_number ? end + 1 : NULL) : text;
}

/* How a side of "OUT:IN" is read: as an output, or as any tensor; plain, or with the model's number
 * before it. */
typedef struct reading {
    bool inside, numbered[2];
} reading;

static ox_val value_of(const search *s, size_t part, const char *text, reading r)
{
    const char *name = name_in(text, part, r.numbered[0]);
    return name == NULL ? NULL
           : r.inside   ? ox_graph_find(graph_of(s, part), name)
                        : output_of(s, part, name);
}

/* The ties that OUT and IN may mean in one reading. */
static size_t match(const search *s, const char *out, const char *in, reading r, ox_tie *tie)
{
    size_t matches = 0;
    for (size_t from = 0; from < s->parts->count; from++) {
        ox_val output = value_of(s, from, out, r);
        for (size_t to = from + 1; output != NULL && to < s->parts->count; to++) {
            const char *name = name_in(in, to, r.numbered[1]);
            ox_val input = name == NULL ? NULL : input_of(s, to, name);
            if (input != NULL) {
                *tie = (ox_tie){from, to, output, input};
                matches++;
            }
        }
    }
    return matches;
}

/* Names may hold colons. */
static size_t match_any_colon(const search *s, const char *text, reading r, ox_tie *tie)
{
    size_t matches = 0;
    for (const char *colon = strchr(text, ':'); colon != NULL; colon = strchr(colon + 1, ':')) {
        char *out = ox_arena_string(s->parts->arena, text);
        out[colon - text] = '\0';
        matches += match(s, out, colon + 1, r, tie);
    }
    return matches;
}

static _Noreturn void refuse(const search *s, const char *text)
{
    ox_arena *a = s->parts->arena;
    const char *colon = strchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0') {
        ox_fail(a, OX_ARGUMENT, "connect \"%s\" is not of the form OUTPUT:INPUT", text);
    }
    const char *there = "";
    for (size_t i = 0; i < s->parts->count; i++) {
        const ox_graph *g = graph_of(s, i);
        const char *outputs = names(s, g->output_count, g->outputs);
        const char *inputs = names(s, g->input_count, g->inputs);
        bool last = i + 1 == s->parts->count;
        there = i == 0 ? ox_arena_format(a, "1 gives %s", outputs)
                       : ox_arena_format(a, "%s; %zu takes %s%s%s", there, i + 1, inputs,
                                         last ? "" : " and gives ", last ? "" : outputs);
    }
    ox_fail(a, OX_ARGUMENT, "connect \"%s\": no output of a model and input of a later one; %s",
            text, there);
}

static void connect(const search *s, const char *text)
{
    for (int kind = 0; kind < 8; kind++) {
        reading r = {kind >= 4, {kind % 2 == 1, kind % 4 >= 2}};
        ox_tie tie;
        size_t matches = match_any_colon(s, text, r, &tie);
        if (matches > 1) {
            ox_fail(s->parts->arena, OX_ARGUMENT,
                    "connect \"%s\" means %zu pairs: numbers of models tell them apart, such as "
                    "%zu/%s:%zu/%s",
                    text, matches, tie.from + 1, tie.output->name, tie.to + 1, tie.input->name);
        }
        if (matches == 1) {
            add(s, tie);
            return;
        }
    }
    refuse(s, text);
}

/* ---- the others ------------------------------------------------------------------------- */

static void by_name(const search *s, size_t part)
{
    const ox_graph *g = graph_of(s, part);
    for (size_t i = 0; i < g->input_count; i++) {
        ox_val input = g->inputs[i], output = NULL;
        bool tied = ox_ties_of(s->found, part, input) != NULL;
        for (size_t from = part; !tied && output == NULL && from-- > 0;) {
            output = output_of(s, from, input->name);
            if (output != NULL) {
                add(s, (ox_tie){from, part, output, input});
            }
        }
    }
}

static void by_position(const search *s, size_t part)
{
    const ox_graph *before = graph_of(s, part - 1), *g = graph_of(s, part);
    bool single = before->output_count == 1 && g->input_count == 1;
    if (single && !feeds(s->found, part - 1) && ox_ties_of(s->found, part, g->inputs[0]) == NULL) {
        add(s, (ox_tie){part - 1, part, before->outputs[0], g->inputs[0]});
    }
}

static void check_feeds(const search *s, size_t part)
{
    const ox_graph *g = graph_of(s, part), *next = graph_of(s, part + 1);
    if (!feeds(s->found, part)) {
        ox_fail(s->parts->arena, OX_ARGUMENT,
                "no output of model %zu feeds a later one: it gives %s, model %zu takes %s; "
                "connect=OUTPUT:INPUT says what feeds what",
                part + 1, names(s, g->output_count, g->outputs), part + 2,
                names(s, next->input_count, next->inputs));
    }
}

ox_ties ox_ties_find(const ox_parts *p)
{
    ox_ties found = {NULL, 0};
    const search s = {p, &found};
    for (size_t i = 0; i < p->connect_count; i++) {
        connect(&s, p->connect[i]);
    }
    for (size_t i = 1; i < p->count; i++) {
        by_name(&s, i);
    }
    for (size_t i = 1; i < p->count; i++) {
        by_position(&s, i);
    }
    for (size_t i = 0; i + 1 < p->count; i++) {
        check_feeds(&s, i);
    }
    return found;
}
