/* onnxexplainer show: what a model takes and gives, and how each of its operators is treated. */
#include "fix.h"
#include "graph.h"
#include "options.h"
#include "os.h"
#include "output.h"
#include "references.h"
#include "show.h"
#include "stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES_NAMED = 20 };

typedef struct arguments {
    const char *model;
    ox_texts next, connect; /* models behind it */
    ox_texts references;
    ox_texts hold;
    ox_texts fix;
    ox_options options;
    bool nodes;
    bool json;
    bool dot;
    const char *html;
} arguments;

/* One line of the operator table: nodes of the same operator and treatment. */
typedef struct group {
    const ox_node_report *first;
    size_t count;
} group;

static void print_values(const char *title, const ox_value_info *infos, size_t count)
{
    printf("%s\n", title);
    for (size_t i = 0; i < count; i++) {
        char dims[512] = "[...]";
        const ox_value_info *info = &infos[i];
        if (info->rank >= 0) {
            ox_dims_text(dims, sizeof dims, info->dims, info->rank, info->symbols);
        }
        printf("  %s: %s %s\n", info->name,
               info->type == OX_NONE ? "not a tensor" : ox_type_name(info->type), dims);
    }
}

static void print_model(const ox_model *model)
{
    size_t count;
    const ox_value_info *infos = ox_inputs(model, &count);
    print_values("inputs", infos, count);
    infos = ox_outputs(model, &count);
    print_values("outputs", infos, count);
    printf("IR %lld", (long long)ox_ir_version(model));
    for (size_t i = 0; ox_show_domains[i]; i++) {
        const char *domain = ox_show_domains[i];
        if (ox_opset(model, domain)) {
            printf(", %s %lld", domain[0] ? domain : "opset", (long long)ox_opset(model, domain));
        }
    }
    printf("\n");
    if (!ox_metadata(model, "onnxexplainer.version")) {
        return;
    }
    printf("explained by onnxexplainer\n");
    for (size_t i = 0; ox_show_properties[i]; i++) {
        const char *value = ox_show_property(model, ox_show_properties[i]);
        if (value) {
            printf("  %s: %s\n", ox_show_properties[i], value);
        }
    }
}

static void print_op(const ox_node_report *node, char *text, size_t size)
{
    bool other = node->domain && *node->domain && strcmp(node->domain, "ai.onnx") != 0;
    snprintf(text, size, "%s%s%s", other ? node->domain : "", other ? "." : "", node->op);
}

/* A line of a table without blanks at its end. */
static void print_row(size_t number, const ox_node_report *node, const char *name)
{
    char op[128], line[1024];
    print_op(node, op, sizeof op);
    snprintf(line, sizeof line, "  %6zu  %-24s %-16s %s%s", number, op, ox_cli_state(node->state),
             name, node->detail ? node->detail : "");
    size_t length = strlen(line);
    while (length && line[length - 1] == ' ') {
        line[--length] = 0;
    }
    puts(line);
}

static int compare_groups(const void *a, const void *b)
{
    const ox_node_report *x = ((const group *)a)->first, *y = ((const group *)b)->first;
    int order = strcmp(x->op, y->op);
    if (!order) {
        order = strcmp(x->domain ? x->domain : "", y->domain ? y->domain : "");
    }
    if (!order) {
        order = (int)x->state - (int)y->state;
    }
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static bool is_same_group(const ox_node_report *x, const ox_node_report *y)
{
    return x->state == y->state && !strcmp(x->op, y->op) &&
           !strcmp(x->domain ? x->domain : "", y->domain ? y->domain : "");
}

static bool print_operators(const ox_report *report, ox_error *err)
{
    group *groups = ox_cli_alloc(report->node_count, sizeof *groups, err);
    if (!groups) {
        return false;
    }
    for (size_t i = 0; i < report->node_count; i++) {
        groups[i] = (group){&report->nodes[i], 1};
    }
    qsort(groups, report->node_count, sizeof *groups, compare_groups);
    printf("operators\n");
    for (size_t i = 0; i < report->node_count; i += groups[i].count) {
        const ox_node_report *node = groups[i].first;
        while (i + groups[i].count < report->node_count &&
               is_same_group(node, groups[i + groups[i].count].first)) {
            groups[i].count++;
        }
        print_row(groups[i].count, node, "");
    }
    free(groups);
    return true;
}

static void print_nodes(const ox_report *report)
{
    printf("nodes\n");
    for (size_t i = 0; i < report->node_count; i++) {
        const ox_node_report *node = &report->nodes[i];
        char name[256];
        snprintf(name, sizeof name, "%-32s ", node->name ? node->name : "");
        print_row(node->index, node, name);
    }
}

/* Names the nodes that stand in the way on standard error. */
static int refuse(const arguments *a, const ox_report *report)
{
    size_t count = 0;
    for (size_t i = 0; i < report->node_count; i++) {
        const ox_node_report *node = &report->nodes[i];
        bool passes = node->state != OX_NO_RULE && node->state != OX_CARRIES_NOTHING;
        if (passes || ++count > NODES_NAMED) {
            continue;
        }
        char op[128];
        print_op(node, op, sizeof op);
        ox_cli_say("%s: cannot be explained: node %zu \"%s\" (%s): %s", a->model, node->index,
                   node->name ? node->name : "", op, node->detail ? node->detail : "no rule");
    }
    if (count > NODES_NAMED) {
        ox_cli_say("%s: %zu more such nodes", a->model, count - NODES_NAMED);
    }
    if (count) {
        ox_cli_say("%s: explain --method=kernel explains any model by its outputs", a->model);
    } else {
        ox_cli_say("%s: cannot be explained: %s", a->model,
                   report->reason ? report->reason : "no reason given");
    }
    return OX_EXIT_FAILURE;
}

static ox_report *inspect(const arguments *a, const ox_model *model, ox_error *err)
{
    ox_arrays references = {NULL, 0};
    ox_options options = a->options;
    options.hold = a->hold.items;
    options.hold_count = a->hold.count;
    options.note = ox_cli_note;
    if (!ox_cli_find_runtime(&options, err)) {
        return NULL;
    }
    ox_arrays fixed = {NULL, 0};
    ox_tensor *fix = NULL, *tensors = NULL;
    ox_report *report = NULL;
    bool good = ox_fix_load(model, &a->fix, &fixed, err) &&
                (fix = ox_references_tensors(&fixed, err)) != NULL;
    options.fix = fix;
    options.fix_count = fixed.count;
    if (good && ox_references_load(model, &options, &a->references, NULL, &references, err)) {
        tensors = ox_references_tensors(&references, err);
        options.references = references.count ? tensors : NULL;
        options.reference_count = references.count;
        report = tensors ? ox_inspect(model, &options, err) : NULL;
    }
    free(tensors);
    free(fix);
    ox_arrays_free(&references);
    ox_arrays_free(&fixed);
    return report;
}

static int parse(arguments *a, int argc, char **argv)
{
    ox_options *o = &a->options;
    const ox_option options[] = {
        {"references", 'r', OX_OPTION_LIST, &a->references, "[NAME=]FILE",
         "as for explain; they fix free dimensions"},
        {"connect", 0, OX_OPTION_LIST, &a->connect, "OUTPUT:INPUT", "as for explain"},
        {"target", 0, OX_OPTION_TEXT, &o->target, "TARGET", "as for explain"},
        {"output-name", 0, OX_OPTION_TEXT, &o->output_name, "NAME", "the tensor to explain"},
        {"hold", 0, OX_OPTION_LIST, &a->hold, "NAME",
         "an input or tensor that keeps the sample's value"},
        {"fix", 0, OX_OPTION_LIST, &a->fix, "NAME=VALUE", "as for explain"},
        {"no-batch", 0, OX_OPTION_FLAG, &o->no_batch, NULL, "the model has no batch axis"},
        {"limit", 0, OX_OPTION_BYTES, &o->limit, "BYTES", "as for explain"},
        {"nodes", 0, OX_OPTION_FLAG, &a->nodes, NULL, "a line for every node"},
        {"json", 0, OX_OPTION_FLAG, &a->json, NULL, "all of it as JSON"},
        {"dot", 0, OX_OPTION_FLAG, &a->dot, NULL, "the graph for Graphviz"},
        {"html", 0, OX_OPTION_TEXT, &a->html, "FILE",
         "the graph as a page to look at, which opens offline"},
    };
    const ox_command command = {
        .name = "show",
        .usage = "MODEL [MODEL]... [OPTION]...",
        .summary = "Prints inputs, outputs, opsets and how each operator is treated. Exit code 1 "
                   "when the\nmodel cannot be explained.",
        .operand = "MODEL",
        .more = &a->next,
        .options = options,
        .option_count = sizeof options / sizeof *options,
    };
    int code = ox_options_parse(&command, argc, argv, &a->model);
    if (code >= 0) {
        return code;
    }
    if (a->nodes + a->json + a->dot + (a->html != NULL) > 1) {
        return ox_cli_usage("show", "--nodes, --json, --dot and --html exclude each other");
    }
    return a->html ? ox_sheet_refuse("show", a->html, "model", &a->model, 1) : -1;
}

/* What is found out of a model that is not explained yet. */
static bool print_report(const arguments *a, const ox_report *report, ox_error *err)
{
    if (!print_operators(report, err)) {
        return false;
    }
    if (a->nodes) {
        print_nodes(report);
    }
    if (report->tensor_count) {
        print_values("tensors", report->tensors, report->tensor_count);
    }
    if (report->cache_bytes) {
        printf("cache: %llu bytes per reference\n", (unsigned long long)report->cache_bytes);
    }
    return true;
}

static bool write_page(const char *path, const ox_drawing *drawing, ox_error *err)
{
    ox_sheet sheet;
    if (!ox_sheet_keeps(drawing->model, path, err) || !ox_sheet_begin(&sheet, path, err)) {
        return false;
    }
    bool good = ox_graph_html(sheet.file, drawing, err);
    return ox_sheet_end(&sheet, good, err) && good;
}

/* In another form than the tables, which also show what cannot be looked into. */
static bool write(const arguments *a, const ox_model *model, const ox_report *report,
                  const char *reason, ox_error *err)
{
    const char *slash = ox_os_last_separator(a->model);
    ox_drawing drawing = {.title = slash && slash[1] ? slash + 1 : a->model,
                          .model = model,
                          .report = report,
                          .explained = ox_metadata(model, "onnxexplainer.version") != NULL};
    if (a->json) {
        ox_show_json(stdout, model, report, reason);
        return true;
    }
    return a->dot ? ox_graph_dot(stdout, &drawing, err) : write_page(a->html, &drawing, err);
}

static int show(const arguments *a, const ox_model *model)
{
    ox_error err = {OX_OK, ""}, why = {OX_OK, ""};
    bool explained = ox_metadata(model, "onnxexplainer.version") != NULL;
    bool tables = !a->json && !a->dot && !a->html, good = true;
    if (tables) {
        print_model(model);
    }
    ox_report *report = explained ? NULL : inspect(a, model, &why);
    bool found = explained || report;
    if (!tables && !found && why.code == OX_MEMORY) { /* which says nothing of the model */
        good = false;
        err = why;
    } else if (!tables) {
        good = write(a, model, report, found ? NULL : why.message, &err);
    } else if (report) {
        good = print_report(a, report, &err);
    }
    int code = good && found ? OX_EXIT_OK : ox_cli_fail(good ? &why : &err);
    if (code == OX_EXIT_OK && report && !report->explainable) {
        fflush(stdout);
        code = refuse(a, report);
    }
    ox_report_free(report);
    return code;
}

int ox_cmd_show(int argc, char **argv)
{
    arguments a = {.model = NULL, .options = OX_OPTIONS_INIT};
    int code = parse(&a, argc, argv);
    if (code >= 0) {
        return code;
    }
    ox_error err;
    ox_model *model = ox_stack_read(a.model, &a.next, &a.connect, a.options.limit, &err);
    code = model ? show(&a, model) : ox_cli_fail(&err);
    ox_free(model);
    return code;
}
