/* Which of the model's free dimensions is the batch. Where inputs and output share several, such as
 * [T, N, ..] of a model that has time in front, it is the first, but for three signs of another:
 * all explained inputs have that one alone; a recurrent layer that takes an input has its samples
 * there; or the first is called like a length, and the other like a batch. */
#include "explain/axis.h"

#include <assert.h>
#include <string.h>

#include "explain/bind.h"
#include "explain/note.h"

const ox_value_info *ox_axis_input(const ox_model *m, const char *name)
{
    size_t i = ox_index_find(&m->input_index, name);
    assert(i != SIZE_MAX);
    return &m->inputs[i];
}

static int axis_of(const ox_value_info *info, const char *symbol)
{
    for (int i = 0; i < info->rank; i++) {
        if (strcmp(info->symbols[i], symbol) == 0) {
            return i;
        }
    }
    return -1;
}

int ox_axis_batch(const ox_value_info *info, const char *symbol)
{
    int axis = symbol == NULL ? -1 : axis_of(info, symbol);
    bool own_symbol = info->rank > 0 && info->dims[0] < 0;
    return axis >= 0 ? axis : info->rank > 0 && (symbol == NULL || own_symbol) ? 0 : -1;
}

/* How many explained inputs have it. */
static size_t inputs_with(const ox_explain_state *s, const char *symbol)
{
    size_t count = 0;
    for (size_t i = 0; i < s->bind->input_count; i++) {
        count += axis_of(ox_axis_input(s->model, s->bind->inputs[i].x->name), symbol) >= 0;
    }
    return count;
}

static bool shared_by_all(const ox_explain_state *s, const char *symbol)
{
    return inputs_with(s, symbol) == s->bind->input_count;
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool has_word(const char *symbol, size_t count, const char *const *words)
{
    for (const char *at = symbol; *at != '\0'; at++) {
        for (size_t w = 0; w < count; w++) {
            size_t i = 0;
            while (words[w][i] != '\0' && (at[i] == words[w][i] || at[i] == words[w][i] - 32)) {
                i++;
            }
            if (words[w][i] == '\0') {
                return true;
            }
        }
    }
    return false;
}

static bool is_letter(const char *symbol, const char *letters)
{
    return symbol[0] != '\0' && symbol[1] == '\0' && strchr(letters, symbol[0]) != NULL;
}

static bool says_batch(const char *symbol)
{
    static const char *const words[] = {"batch"};
    return has_word(symbol, 1, words);
}

static bool says_length(const char *symbol)
{
    static const char *const words[] = {"seq", "time", "step", "len", "frame", "token"};
    bool word = has_word(symbol, sizeof words / sizeof *words, words) && !says_batch(symbol);
    return word || is_letter(symbol, "TtL");
}

static bool is_batch(const char *symbol)
{
    return (says_batch(symbol) && !says_length(symbol)) || is_letter(symbol, "NnBb");
}

/* ---- signs of another than the first --------------------------------------------------------- */

static const char *by_inputs(const ox_explain_state *s, const char *first, const char *other)
{
    bool another = !shared_by_all(s, first) && shared_by_all(s, other);
    return another && (says_length(first) || !says_length(other)) ? "all explained inputs have it"
                                                                  : NULL;
}

static const char *by_layers(const ox_explain_state *s, const char *first, const char *other)
{
    for (size_t i = 0; !is_batch(first) && i < s->g->node_count; i++) {
        const ox_node *n = s->g->nodes[i];
        bool recurrent =
            n->domain[0] == '\0' &&
            (strcmp(n->op, "LSTM") == 0 || strcmp(n->op, "GRU") == 0 || strcmp(n->op, "RNN") == 0);
        for (size_t k = 0; recurrent && k < s->bind->input_count; k++) {
            ox_val x = s->bind->inputs[k].x;
            const ox_value_info *info = ox_axis_input(s->model, x->name);
            int axis = ox_node_int(n, "layout", 0) != 0 ? 0 : 1;
            if (n->inputs[0] == x && info->rank == 3 && axis_of(info, other) == axis &&
                axis_of(info, first) == 1 - axis) {
                return "its recurrent layer has samples there";
            }
        }
    }
    return NULL;
}

static const char *by_names(const ox_explain_state *s, const char *first, const char *other)
{
    (void)s;
    bool called = is_batch(other) && !is_batch(first);
    return called && (says_length(first) || says_batch(other)) ? "by its name" : NULL;
}

typedef const char *sign(const ox_explain_state *s, const char *first, const char *other);

/* ---- choice ---------------------------------------------------------------------------------- */

static const ox_value_info *output_info(const ox_explain_state *s)
{
    for (size_t o = 0; o < s->model->graph->output_count; o++) {
        if (strcmp(s->model->outputs[o].name, s->bind->output->name) == 0) {
            return &s->model->outputs[o];
        }
    }
    return NULL;
}

/* The first from axis *d of the output on that an explained input has; *d becomes the next axis. */
static const char *next_shared(const ox_explain_state *s, const ox_value_info *out, int *d)
{
    while (out != NULL && *d < out->rank) {
        const char *symbol = out->symbols[(*d)++];
        if (symbol[0] != '\0' && inputs_with(s, symbol) > 0) {
            return symbol;
        }
    }
    return NULL;
}

static void tell(const ox_explain_state *s, const char *first, const char *other, const char *why)
{
    for (size_t i = 0; !s->options->no_batch && i < s->bind->input_count; i++) {
        const ox_value_info *info = ox_axis_input(s->model, s->bind->inputs[i].x->name);
        int axis = axis_of(info, other);
        if (axis >= 0 && axis_of(info, first) >= 0) {
            ox_note_to(s->options, "the batch is \"%s\", axis %d of input \"%s\", not \"%s\": %s",
                       other, axis, info->name, first, why);
            return;
        }
    }
}

const char *ox_axis_symbol(const ox_explain_state *s)
{
    static sign *const signs[] = {by_inputs, by_layers, by_names};
    const ox_value_info *out = output_info(s);
    int from = 0;
    const char *first = next_shared(s, out, &from), *other;
    for (size_t i = 0; first != NULL && i < sizeof signs / sizeof *signs; i++) {
        int d = from;
        while ((other = next_shared(s, out, &d)) != NULL) {
            bool fewer = shared_by_all(s, first) && !shared_by_all(s, other);
            const char *why = fewer || strcmp(first, other) == 0 ? NULL : signs[i](s, first, other);
            if (why != NULL) {
                tell(s, first, other, why);
                return other;
            }
        }
    }
    return first;
}
