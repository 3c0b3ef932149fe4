/* What an explained model says of how it was made, as options. */
#include "remake.h"

#include "references.h"
#include "signature.h"

#include <stdlib.h>
#include <string.h>

static const char *told(const ox_model *m, const char *key)
{
    const char *value = ox_metadata(m, key);
    return value ? value : "";
}

/* Lines of a property, as an array of texts. */
static bool read_lines(const ox_model *m, const char *key, ox_remake *r, size_t at,
                       const char *const **texts, size_t *count, ox_error *err)
{
    r->texts[at] = ox_cli_copy(told(m, key), err);
    r->lines[at] = r->texts[at] ? ox_lines(r->texts[at], count, err) : NULL;
    *texts = (const char *const *)r->lines[at];
    return r->lines[at] != NULL;
}

/* Whether all axes of samples are -1, as without a batch. */
static bool has_no_batch(const ox_model *m)
{
    const char *axes = told(m, "onnxexplainer.input_axes");
    for (const char *c = axes; *c; c += strcspn(c, ",") + (c[strcspn(c, ",")] == ',')) {
        if (*c != '-') {
            return false;
        }
    }
    return *axes && !strcmp(told(m, "onnxexplainer.output_axis"), "-1");
}

/* ---- references ------------------------------------------------------------------------ */

/* Those that come in as inputs, under the names of the inputs that they are for. */
static bool take_inputs(const ox_model *m, const ox_arrays *inputs, ox_remake *r, ox_error *err)
{
    static const char tail[] = "_references";
    size_t head = strlen(told(m, "onnxexplainer.prefix"));
    for (size_t i = 0; i < inputs->count; i++) {
        const char *name = inputs->items[i].name;
        if (strlen(name) <= head + strlen(tail) || !ox_cli_has_suffix(name, tail)) {
            continue;
        }
        ox_tensor t = ox_array_tensor(&inputs->items[i]);
        ox_array copy;
        if (!ox_array_from_tensor(&copy, &t, err)) {
            return false;
        }
        copy.name[strlen(name) - strlen(tail)] = 0;
        memmove(copy.name, copy.name + head, strlen(copy.name + head) + 1);
        if (!ox_arrays_add(&r->references, &copy, err)) {
            return false;
        }
    }
    return true;
}

/* Those that lie in the model. */
static bool take_constants(const ox_model *m, ox_remake *r, ox_error *err)
{
    size_t room, count = 0;
    ox_inputs(m, &room);
    ox_tensor *found = ox_cli_alloc(room, sizeof *found, err);
    bool good = found && ox_references(m, found, room, &count, err);
    for (size_t i = 0; good && i < count; i++) {
        ox_array copy;
        good = ox_array_from_tensor(&copy, &found[i], err) &&
               ox_arrays_add(&r->references, &copy, err);
    }
    for (size_t i = 0; i < count; i++) {
        ox_tensor_free(&found[i]);
    }
    free(found);
    return good;
}

/* Whether inputs that have SHAP values all have some: of text none are kept beside a cache. */
static bool is_whole(const ox_model *m, const ox_arrays *references)
{
    size_t inputs, outputs;
    const ox_value_info *in = ox_inputs(m, &inputs), *out = ox_outputs(m, &outputs);
    const char *prefix = told(m, "onnxexplainer.prefix");
    for (size_t i = 0; i < inputs; i++) {
        bool needed = false;
        for (size_t k = 0; k < outputs; k++) {
            needed = needed || ox_cli_is_joined(out[k].name, prefix, in[i].name, "_shap");
        }
        if (needed && !ox_arrays_find(references, in[i].name)) {
            return false;
        }
    }
    return references->count > 0;
}

static bool find_references(const ox_model *m, const ox_remake_from *from, ox_remake *r,
                            ox_error *err)
{
    const char *source = told(m, "onnxexplainer.references");
    bool good = true;
    if (!strncmp(source, "fill:", strlen("fill:"))) {
        r->options.reference_source = OX_REFERENCES_FILL;
        r->options.fill = strtod(source + strlen("fill:"), NULL);
        return true;
    }
    if (from->references->count) {
        good = ox_references_load(r->original, &r->options, from->references, from->pixels,
                                  &r->references, err);
    } else {
        good = !strcmp(source, "input") || !strcmp(source, "paired")
                   ? take_inputs(m, from->inputs, r, err)
                   : take_constants(m, r, err);
    }
    r->tensors = good ? ox_references_tensors(&r->references, err) : NULL;
    r->options.references = r->tensors;
    r->options.reference_count = r->references.count;
    if (!strcmp(source, "paired")) {
        r->cannot = "each sample has a reference of its own";
    }
    if (good && !from->references->count && !is_whole(m, &r->references)) {
        r->cannot = "the references are not in the model any more: --references gives them";
    }
    return r->tensors != NULL;
}

/* A number for each reference. */
static bool read_weights(const ox_model *m, ox_remake *r, ox_error *err)
{
    const char *text = told(m, "onnxexplainer.weights");
    size_t count = *text ? 1 : 0;
    for (const char *c = text; *c; c++) {
        count += *c == ',';
    }
    r->weights = ox_cli_alloc(count, sizeof *r->weights, err);
    for (size_t i = 0; r->weights && i < count; i++) {
        char *end;
        r->weights[i] = strtod(text, &end);
        text = *end ? end + 1 : end;
    }
    r->options.weights = r->weights;
    r->options.weight_count = count;
    return r->weights != NULL;
}

/* ---- all of it ------------------------------------------------------------------------- */

/* Whether explained tensors are not inputs of the model, as with --at. */
static bool is_inside(const ox_model *m, const ox_model *original)
{
    size_t count;
    const ox_value_info *inputs = ox_inputs(original, &count);
    const char *names = told(m, "onnxexplainer.inputs");
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(inputs[i].name);
        if (!strncmp(names, inputs[i].name, length) && (names[length] == ',' || !names[length])) {
            return false;
        }
    }
    return true;
}

static bool read_groups(const ox_model *m, const ox_remake_from *from, ox_remake *r, ox_error *err)
{
    if (from->groups->count) {
        if (!ox_groups_load(from->groups, &r->groups, err)) {
            return false;
        }
        r->options.groups = r->groups.groups;
        r->options.group_count = r->groups.group_count;
        r->options.labels = r->groups.tensors;
        r->options.label_count = r->groups.maps.count;
        return true;
    }
    if (*told(m, "onnxexplainer.labels")) {
        r->cannot = "its groups are maps of labels, which --groups gives";
    }
    return read_lines(m, "onnxexplainer.groups", r, 1, &r->options.groups, &r->options.group_count,
                      err);
}

bool ox_remake_read(const ox_model *explained, const ox_remake_from *from, ox_remake *r,
                    ox_error *err)
{
    *r = (ox_remake){.options = OX_OPTIONS_INIT};
    ox_options *o = &r->options;
    r->original = from->model ? ox_cli_read_model(from->model, from->limit, err)
                              : ox_original(explained, err);
    const char *of = ox_metadata(explained, "onnxexplainer.objective_of");
    o->target = from->target ? from->target : ox_metadata(explained, "onnxexplainer.target");
    o->output_name = of ? of : ox_metadata(explained, "onnxexplainer.output");
    o->prefix = ox_metadata(explained, "onnxexplainer.prefix");
    o->no_batch = has_no_batch(explained);
    o->limit = from->limit;
    if (!r->original ||
        !read_lines(explained, "onnxexplainer.hold", r, 0, &o->hold, &o->hold_count, err) ||
        !read_lines(explained, "onnxexplainer.feature_names", r, 2, &o->feature_names,
                    &o->feature_count, err) ||
        !ox_aim_load(&r->aim, o, err) || !read_weights(explained, r, err) ||
        !find_references(explained, from, r, err) || !read_groups(explained, from, r, err)) {
        return false;
    }
    if (!o->target_array && o->target &&
        (!strcmp(o->target, "mask") || !strcmp(o->target, "cosine"))) {
        r->cannot = "its target is of an array, which --target gives";
    }
    if (is_inside(explained, r->original)) {
        r->cannot = "values are those of tensors inside the model, which coalitions do not reach";
    }
    return true;
}

void ox_remake_free(ox_remake *r)
{
    ox_free(r->original);
    ox_arrays_free(&r->references);
    ox_groups_free(&r->groups);
    ox_aim_free(&r->aim);
    free(r->tensors);
    free(r->weights);
    for (size_t i = 0; i < sizeof r->texts / sizeof *r->texts; i++) {
        free(r->texts[i]);
    }
    for (size_t i = 0; i < sizeof r->lines / sizeof *r->lines; i++) {
        free(r->lines[i]);
    }
}
