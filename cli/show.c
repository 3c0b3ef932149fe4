/* The object that `show --json` prints: docs/json.md has its members. */
#include "show.h"

const char *const ox_show_domains[] = {"", "ai.onnx.ml", "com.microsoft", "onnxexplainer", NULL};

const char *const ox_show_properties[] = {"version", "method",     "target", "output", "inputs",
                                          "prefix",  "references", "cache",  NULL};

const char *ox_show_property(const ox_model *model, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "onnxexplainer.%s", name);
    const char *value = ox_metadata(model, key);
    return value && *value ? value : NULL;
}

/* Numbers; free dimensions are their symbol, or null without one. */
static void write_dims(ox_json *json, const ox_value_info *info)
{
    if (info->rank < 0) {
        ox_json_text(json, "dims", NULL);
        return;
    }
    ox_json_begin(json, "dims", '[');
    for (int i = 0; i < info->rank; i++) {
        if (info->dims[i] >= 0) {
            ox_json_integer(json, NULL, (long long)info->dims[i]);
        } else {
            ox_json_text(json, NULL, info->symbols[i][0] ? info->symbols[i] : NULL);
        }
    }
    ox_json_end(json, ']');
}

void ox_show_values(ox_json *json, const char *key, const ox_value_info *infos, size_t count)
{
    ox_json_begin(json, key, '[');
    for (size_t i = 0; i < count; i++) {
        ox_json_begin(json, NULL, '{');
        ox_json_text(json, "name", infos[i].name);
        ox_json_text(json, "type", infos[i].type == OX_NONE ? NULL : ox_type_name(infos[i].type));
        write_dims(json, &infos[i]);
        ox_json_end(json, '}');
    }
    ox_json_end(json, ']');
}

static void write_model(ox_json *json, const ox_model *model)
{
    size_t count;
    const ox_value_info *infos = ox_inputs(model, &count);
    ox_show_values(json, "inputs", infos, count);
    infos = ox_outputs(model, &count);
    ox_show_values(json, "outputs", infos, count);
    ox_json_integer(json, "ir_version", (long long)ox_ir_version(model));
    ox_json_begin(json, "opsets", '{');
    for (size_t i = 0; ox_show_domains[i]; i++) {
        const char *domain = ox_show_domains[i];
        if (ox_opset(model, domain)) {
            const char *name = domain[0] ? domain : "ai.onnx";
            ox_json_integer(json, name, (long long)ox_opset(model, domain));
        }
    }
    ox_json_end(json, '}');
}

/* Properties as they stand in the model; null of one that explains nothing. */
static void write_explained(ox_json *json, const ox_model *model)
{
    if (!ox_metadata(model, "onnxexplainer.version")) {
        ox_json_text(json, "explained", NULL);
        return;
    }
    ox_json_begin(json, "explained", '{');
    for (size_t i = 0; ox_show_properties[i]; i++) {
        ox_json_text(json, ox_show_properties[i], ox_show_property(model, ox_show_properties[i]));
    }
    ox_json_end(json, '}');
}

static void write_nodes(ox_json *json, const ox_report *report)
{
    ox_json_begin(json, "nodes", '[');
    for (size_t i = 0; i < report->node_count; i++) {
        const ox_node_report *node = &report->nodes[i];
        ox_json_begin(json, NULL, '{');
        ox_json_integer(json, "index", (long long)node->index);
        ox_json_text(json, "name", node->name);
        ox_json_text(json, "op", node->op);
        ox_json_text(json, "domain", node->domain && *node->domain ? node->domain : "ai.onnx");
        ox_json_text(json, "state", ox_cli_state(node->state));
        ox_json_text(json, "detail", node->detail);
        ox_json_end(json, '}');
    }
    ox_json_end(json, ']');
}

void ox_show_json(FILE *file, const ox_model *model, const ox_report *report, const char *reason)
{
    ox_json json = {.file = file};
    ox_json_begin(&json, NULL, '{');
    write_model(&json, model);
    write_explained(&json, model);
    if (report || reason) {
        ox_json_flag(&json, "explainable", report && report->explainable);
        ox_json_text(&json, "reason", report ? report->reason : reason);
    }
    if (report) {
        ox_json_integer(&json, "cache_bytes", (long long)report->cache_bytes);
        write_nodes(&json, report);
        ox_show_values(&json, "tensors", report->tensors, report->tensor_count);
    }
    ox_json_end(&json, '}');
    fputs("\n", file);
}
