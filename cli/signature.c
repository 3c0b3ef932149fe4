/* A copy of a model's inputs, outputs and metadata. */
#include "signature.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void free_infos(ox_value_info *infos, size_t count)
{
    for (size_t i = 0; infos && i < count; i++) {
        for (int axis = 0; infos[i].symbols && axis < infos[i].rank; axis++) {
            free((char *)infos[i].symbols[axis]);
        }
        free((void *)infos[i].symbols);
        free((void *)infos[i].dims);
        free((void *)infos[i].name);
    }
    free(infos);
}

static bool copy_info(ox_value_info *to, const ox_value_info *from, ox_error *err)
{
    *to = (ox_value_info){.type = from->type, .rank = from->rank};
    to->name = ox_cli_copy(from->name, err);
    if (!to->name) {
        return false;
    }
    if (from->rank <= 0) {
        return true;
    }
    size_t rank = (size_t)from->rank;
    int64_t *dims = ox_cli_alloc(rank, sizeof *dims, err);
    char **symbols = ox_cli_alloc(rank, sizeof *symbols, err);
    to->dims = dims;
    to->symbols = (const char *const *)symbols;
    if (!dims || !symbols) {
        return false;
    }
    memcpy(dims, from->dims, rank * sizeof *dims);
    for (size_t i = 0; i < rank; i++) {
        const char *symbol = from->symbols ? from->symbols[i] : NULL;
        symbols[i] = ox_cli_copy(symbol ? symbol : "", err);
        if (!symbols[i]) {
            return false;
        }
    }
    return true;
}

static bool copy_infos(ox_value_info **to, size_t *count, const ox_value_info *from, size_t n,
                       ox_error *err)
{
    *to = ox_cli_alloc(n, sizeof **to, err);
    *count = *to ? n : 0;
    bool good = *to != NULL;
    for (size_t i = 0; good && i < n; i++) {
        good = copy_info(&(*to)[i], &from[i], err);
    }
    return good;
}

long ox_axis_next(const char **axes)
{
    char *end;
    long axis = strtol(*axes, &end, 10);
    *axes = *end == ',' ? end + 1 : end;
    return axis;
}

char **ox_lines(char *text, size_t *count, ox_error *err)
{
    size_t n = 1;
    for (const char *c = text; *c; c++) {
        n += *c == '\n';
    }
    char **lines = ox_cli_alloc(n, sizeof *lines, err);
    *count = 0;
    for (char *c = text; lines && *c;) {
        char *end = c + strcspn(c, "\n");
        bool last = !*end;
        *end = 0;
        if (end > c && end[-1] == '\r') {
            end[-1] = 0;
        }
        lines[(*count)++] = c;
        c = last ? end : end + 1;
    }
    return lines;
}

/* Whether the model gives SHAP values of an input of that name. */
static bool attributes(const ox_signature *s, const char *input)
{
    bool found = false;
    for (size_t i = 0; i < s->output_count; i++) {
        found = found || ox_cli_is_joined(s->outputs[i].name, s->prefix, input, "_shap");
    }
    return found;
}

static bool copy_metadata(ox_signature *s, const ox_model *model, ox_error *err)
{
    s->explained = ox_metadata(model, "onnxexplainer.version") != NULL;
    const char *batch = ox_metadata(model, "onnxexplainer.batch");
    s->whole = batch != NULL && strcmp(batch, "whole") == 0;
    s->alone = batch != NULL && strcmp(batch, "one") == 0;
    const char *prefix = ox_metadata(model, "onnxexplainer.prefix");
    const char *output = ox_metadata(model, "onnxexplainer.output");
    const char *features = ox_metadata(model, "onnxexplainer.feature_names");
    const char *axes = ox_metadata(model, "onnxexplainer.input_axes");
    const char *axis = ox_metadata(model, "onnxexplainer.output_axis");
    long at = axis ? strtol(axis, NULL, 10) : 0;
    s->output_axis = at > 0 && at < INT_MAX ? (int)at : 0;
    s->axes = ox_cli_copy(axes ? axes : "", err);
    s->prefix = ox_cli_copy(prefix ? prefix : "", err);
    s->output = ox_cli_copy(output ? output : "", err);
    const char *groups = ox_metadata(model, "onnxexplainer.group_names");
    const char *kept = ox_metadata(model, "onnxexplainer.kept_references");
    long long references = kept ? strtoll(kept, NULL, 10) : 0;
    s->references = references > 0 ? (size_t)references : 0;
    s->feature_text = ox_cli_copy(features ? features : "", err);
    s->group_text = ox_cli_copy(groups ? groups : "", err);
    s->attributed = ox_cli_alloc(s->input_count, sizeof *s->attributed, err);
    if (!s->axes || !s->prefix || !s->output || !s->feature_text || !s->group_text ||
        !s->attributed) {
        return false;
    }
    for (size_t i = 0; s->explained && i < s->input_count; i++) {
        s->attributed[i] = attributes(s, s->inputs[i].name);
    }
    s->features = ox_lines(s->feature_text, &s->feature_count, err);
    s->groups = s->features ? ox_lines(s->group_text, &s->group_count, err) : NULL;
    return s->groups != NULL;
}

bool ox_signature_read(ox_signature *signature, const ox_model *model, ox_error *err)
{
    *signature = (ox_signature){.inputs = NULL};
    size_t inputs, outputs;
    const ox_value_info *in = ox_inputs(model, &inputs), *out = ox_outputs(model, &outputs);
    if (copy_infos(&signature->inputs, &signature->input_count, in, inputs, err) &&
        copy_infos(&signature->outputs, &signature->output_count, out, outputs, err) &&
        copy_metadata(signature, model, err)) {
        return true;
    }
    ox_signature_free(signature);
    return false;
}

void ox_signature_free(ox_signature *signature)
{
    free_infos(signature->inputs, signature->input_count);
    free_infos(signature->outputs, signature->output_count);
    free(signature->axes);
    free(signature->prefix);
    free(signature->output);
    free(signature->attributed);
    free(signature->features);
    free(signature->feature_text);
    free(signature->groups);
    free(signature->group_text);
    *signature = (ox_signature){.inputs = NULL};
}
