/* Drawings of a model's graph. Of a model that is to be explained colours tell how each node is
 * treated; of an explained one, which nodes are its own and what ours are for. */
#include "graph.h"

#include "graph_page.h"
#include "json.h"
#include "show.h"

#include <stdlib.h>
#include <string.h>

/* What a node is drawn as. The first are those of ox_state. */
enum { MODEL = OX_NOT_REACHED + 1, REFERENCE, MULTIPLIER, RESULT, KINDS };

typedef struct kind {
    const char *name; /* NULL: that of the state */
    const char *colour;
    const char *meaning;
} kind;

/* Colours differ in lightness, so that they do to any eye. */
static const kind kinds[KINDS] = {
    [OX_DIFFERENTIATED] = {NULL, "#7fb8e6", "has a rule of its own"},
    [OX_DECOMPOSED] = {NULL, "#c3e0f7", "explained by the operators that it is made of"},
    [OX_CARRIES_NOTHING] = {NULL, "#f6d28b", "no contribution flows through it"},
    [OX_NO_RULE] = {NULL, "#e8704a", "stands in the way"},
    [OX_NOT_REACHED] = {NULL, "#f4f4f4", "no contribution reaches it"},
    [MODEL] = {"model", "#7fb8e6", "the model that is explained"},
    [REFERENCE] = {"reference", "#dcdcdc", "ours: the same for the references"},
    [MULTIPLIER] = {"multiplier", "#f2a65a", "ours: multipliers on their way back"},
    [RESULT] = {"result", "#8fd6a8", "ours: targets, results, and what they share"},
};

static const char *kind_name(size_t i)
{
    return kinds[i].name ? kinds[i].name : ox_cli_state((ox_state)i);
}

/* Reports by the index of their node. */
typedef struct graph {
    ox_node_list *list;
    const ox_node_report **reports;
    size_t report_count;
} graph;

static bool open_graph(graph *g, const ox_drawing *d, ox_error *err)
{
    *g = (graph){.list = ox_nodes(d->model, err)};
    size_t count = d->report ? d->report->node_count : 0;
    for (size_t i = 0; i < count; i++) {
        size_t index = d->report->nodes[i].index;
        g->report_count = index >= g->report_count ? index + 1 : g->report_count;
    }
    g->reports = g->list ? ox_cli_alloc(g->report_count, sizeof *g->reports, err) : NULL;
    for (size_t i = 0; g->reports && i < count; i++) {
        g->reports[d->report->nodes[i].index] = &d->report->nodes[i];
    }
    return g->reports != NULL;
}

static void close_graph(graph *g)
{
    ox_nodes_free(g->list);
    free(g->reports);
}

static const ox_node_report *report_of(const graph *g, const ox_node_info *node)
{
    return node->index < g->report_count ? g->reports[node->index] : NULL;
}

static bool starts(const char *text, const char *start)
{
    return !strncmp(text, start, strlen(start));
}

/* Ours are told by the names that they all have. */
static size_t kind_of(const graph *g, const ox_drawing *d, const ox_node_info *node)
{
    const ox_node_report *report = report_of(g, node);
    if (report) {
        return (size_t)report->state;
    }
    if (!d->explained || !starts(node->name, "onnxexplainer/")) {
        return MODEL;
    }
    if (starts(node->name, "onnxexplainer/reference/")) {
        return REFERENCE;
    }
    return starts(node->name, "onnxexplainer/flow/") ? MULTIPLIER : RESULT;
}

/* ---- Graphviz --------------------------------------------------------------------------- */

static void print_escaped(FILE *file, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            putc('\\', file);
        }
        putc((unsigned char)*text < ' ' ? '?' : *text, file);
    }
}

static void print_attribute(FILE *file, const char *start, const char *text, const char *end)
{
    fputs(start, file);
    print_escaped(file, text);
    fputs(end, file);
}

/* Where a value comes from: a node, or an input of the model. */
typedef struct source {
    const char *value;
    char letter;
    size_t number;
} source;

typedef struct sources {
    source *items;
    size_t count;
} sources;

static int compare_sources(const void *a, const void *b)
{
    return strcmp(((const source *)a)->value, ((const source *)b)->value);
}

static bool find_sources(sources *s, const graph *g, const ox_drawing *d, ox_error *err)
{
    size_t inputs, count;
    const ox_value_info *infos = ox_inputs(d->model, &inputs);
    count = inputs;
    for (size_t i = 0; i < g->list->count; i++) {
        count += g->list->nodes[i].output_count;
    }
    *s = (sources){.items = ox_cli_alloc(count, sizeof *s->items, err)};
    for (size_t i = 0; s->items && i < inputs; i++) {
        s->items[s->count++] = (source){infos[i].name, 'i', i};
    }
    for (size_t i = 0; s->items && i < g->list->count; i++) {
        const ox_node_info *node = &g->list->nodes[i];
        for (size_t k = 0; k < node->output_count; k++) {
            s->items[s->count++] = (source){node->outputs[k], 'n', i};
        }
    }
    if (s->items) {
        qsort(s->items, s->count, sizeof *s->items, compare_sources);
    }
    return s->items != NULL;
}

/* Weights have none. */
static void print_edge(FILE *file, const sources *s, const char *value, char letter, size_t number)
{
    source wanted = {.value = value};
    const source *from =
        *value ? bsearch(&wanted, s->items, s->count, sizeof *s->items, compare_sources) : NULL;
    if (from) {
        fprintf(file, "  %c%zu -> %c%zu", from->letter, from->number, letter, number);
        print_attribute(file, " [tooltip=\"", value, "\"];\n");
    }
}

static void print_ends(FILE *file, const ox_value_info *infos, size_t count, char letter)
{
    for (size_t i = 0; i < count; i++) {
        char dims[512] = "";
        if (infos[i].rank >= 0) {
            ox_dims_text(dims, sizeof dims, infos[i].dims, infos[i].rank, infos[i].symbols);
        }
        fprintf(file, "  %c%zu", letter, i);
        print_attribute(file, " [shape=ellipse, fillcolor=white, label=\"", infos[i].name, "\\n");
        print_attribute(file, "", ox_type_name(infos[i].type), " ");
        print_attribute(file, "", dims, "\"];\n");
    }
}

static void print_node(FILE *file, const graph *g, const ox_drawing *d, size_t i)
{
    const ox_node_info *node = &g->list->nodes[i];
    const ox_node_report *report = report_of(g, node);
    size_t k = kind_of(g, d, node);
    fprintf(file, "  n%zu", i);
    print_attribute(file, " [label=\"", node->op, "");
    print_attribute(file, "\\n", node->name, "\"");
    fprintf(file, ", fillcolor=\"%s\", tooltip=\"%s", kinds[k].colour, kind_name(k));
    print_attribute(file, ": ", report && report->detail ? report->detail : kinds[k].meaning,
                    "\"];\n");
}

static void print_edges(FILE *file, const graph *g, const ox_drawing *d, const sources *s)
{
    size_t count;
    const ox_value_info *outputs = ox_outputs(d->model, &count);
    for (size_t i = 0; i < g->list->count; i++) {
        const ox_node_info *node = &g->list->nodes[i];
        for (size_t k = 0; k < node->input_count; k++) {
            print_edge(file, s, node->inputs[k], 'n', i);
        }
    }
    for (size_t i = 0; i < count; i++) {
        print_edge(file, s, outputs[i].name, 'o', i);
    }
}

bool ox_graph_dot(FILE *file, const ox_drawing *d, ox_error *err)
{
    graph g;
    sources s = {.items = NULL};
    bool good = open_graph(&g, d, err) && find_sources(&s, &g, d, err);
    if (good) {
        size_t inputs, outputs;
        const ox_value_info *in = ox_inputs(d->model, &inputs);
        const ox_value_info *out = ox_outputs(d->model, &outputs);
        print_attribute(file, "strict digraph \"", d->title, "\" {\n");
        fputs("  node [shape=box, style=\"filled,rounded\", fontname=\"Helvetica\", "
              "fontsize=10];\n  edge [arrowsize=0.6];\n",
              file);
        print_ends(file, in, inputs, 'i');
        print_ends(file, out, outputs, 'o');
        for (size_t i = 0; i < g.list->count; i++) {
            print_node(file, &g, d, i);
        }
        print_edges(file, &g, d, &s);
        fputs("}\n", file);
    }
    free(s.items);
    close_graph(&g);
    return good;
}

/* ---- the page --------------------------------------------------------------------------- */

static void write_names(ox_json *json, const char *key, const char *const *names, size_t count)
{
    ox_json_begin(json, key, '[');
    for (size_t i = 0; i < count; i++) {
        ox_json_text(json, NULL, names[i]);
    }
    ox_json_end(json, ']');
}

static void write_node(ox_json *json, const graph *g, const ox_drawing *d, size_t i)
{
    const ox_node_info *node = &g->list->nodes[i];
    const ox_node_report *report = report_of(g, node);
    ox_json_begin(json, NULL, '{');
    ox_json_text(json, "name", node->name);
    ox_json_text(json, "op", node->op);
    ox_json_text(json, "domain", node->domain);
    ox_json_text(json, "kind", kind_name(kind_of(g, d, node)));
    ox_json_text(json, "detail", report ? report->detail : NULL);
    write_names(json, "inputs", node->inputs, node->input_count);
    write_names(json, "outputs", node->outputs, node->output_count);
    ox_json_end(json, '}');
}

static void write_kinds(ox_json *json, const ox_drawing *d)
{
    ox_json_begin(json, "kinds", '[');
    for (size_t i = d->report ? 0 : MODEL; i < (d->report ? MODEL : KINDS); i++) {
        ox_json_begin(json, NULL, '{');
        ox_json_text(json, "name", kind_name(i));
        ox_json_text(json, "colour", kinds[i].colour);
        ox_json_text(json, "meaning", kinds[i].meaning);
        ox_json_end(json, '}');
    }
    ox_json_end(json, ']');
}

static void write_graph(FILE *file, const graph *g, const ox_drawing *d)
{
    size_t count;
    ox_json json = {.file = file};
    ox_json_begin(&json, NULL, '{');
    ox_json_text(&json, "title", d->title);
    const ox_value_info *infos = ox_inputs(d->model, &count);
    ox_show_values(&json, "inputs", infos, count);
    infos = ox_outputs(d->model, &count);
    ox_show_values(&json, "outputs", infos, count);
    write_kinds(&json, d);
    ox_json_begin(&json, "nodes", '[');
    for (size_t i = 0; i < g->list->count; i++) {
        write_node(&json, g, d, i);
    }
    ox_json_end(&json, ']');
    ox_json_end(&json, '}');
}

/* The page of graph.html with the graph where its mark stands. */
bool ox_graph_html(FILE *file, const ox_drawing *d, ox_error *err)
{
    graph g;
    bool good = open_graph(&g, d, err);
    if (good) {
        fwrite(ox_page_head, 1, sizeof ox_page_head, file);
        write_graph(file, &g, d);
        fwrite(ox_page_tail, 1, sizeof ox_page_tail, file);
    }
    close_graph(&g);
    return good;
}
