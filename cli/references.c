/* References: which inputs need them, and whether their values can be used. */
#include "references.h"

#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_set(const ox_options *options, const char *name)
{
    for (size_t i = 0; i < options->hold_count; i++) {
        if (!strcmp(options->hold[i], name)) {
            return true;
        }
    }
    for (size_t i = 0; i < options->fix_count; i++) {
        if (!strcmp(options->fix[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* Marks the inputs that the explained output is not computed from. The library knows: explained
 * without references, a model gets an input for those of each explained one. Where that fails
 * nothing is marked, and the explanation itself will say why; but for want of memory. */
static bool mark_unused(const ox_model *model, const ox_options *options, bool *ignored,
                        ox_error *err)
{
    ox_error reason = {.code = OX_OK};
    ox_options probe = *options;
    probe.reference_source = OX_REFERENCES_INPUT;
    probe.cache = OX_CACHE_AUTO;
    probe.note = NULL;
    ox_model *explained = ox_explain(model, &probe, &reason);
    if (!explained) {
        return reason.code != OX_MEMORY || ox_cli_error(err, OX_MEMORY, "%s", reason.message);
    }
    size_t count, all;
    const ox_value_info *inputs = ox_inputs(model, &count);
    const ox_value_info *more = ox_inputs(explained, &all);
    for (size_t i = 0; i < count; i++) {
        const char *prefix = options->prefix ? options->prefix : "";
        bool found = false;
        for (size_t k = 0; k < all; k++) {
            found = found || ox_cli_is_joined(more[k].name, prefix, inputs[i].name, "_references");
        }
        ignored[i] = !found;
    }
    ox_free(explained);
    return true;
}

/* Fills `ignored`; a file that says itself for which input it is needs no probe. */
static bool mark_ignored(const ox_model *model, const ox_options *options, const ox_texts *specs,
                         bool *ignored, ox_error *err)
{
    size_t count, free_inputs = 0;
    const ox_value_info *inputs = ox_inputs(model, &count);
    for (size_t i = 0; i < count; i++) {
        ignored[i] = is_set(options, inputs[i].name);
        free_inputs += !ignored[i];
    }
    bool unclear = false;
    for (size_t i = 0; i < specs->count; i++) {
        unclear = unclear || !strchr(specs->items[i], '=');
    }
    return !unclear || free_inputs < 2 || mark_unused(model, options, ignored, err);
}

bool ox_references_load(const ox_model *model, const ox_options *options, const ox_texts *specs,
                        const ox_pixels *pixels, ox_arrays *references, ox_error *err)
{
    ox_loader loader = {.option = "--references", .nameless = true, .model = model};
    if (pixels) {
        loader.pixels = *pixels;
    } else {
        ox_pixels_parse(NULL, &loader.pixels);
    }
    loader.stacked = true;
    loader.note = options->note;
    loader.inputs = ox_inputs(model, &loader.count);
    bool *ignored = ox_cli_alloc(loader.count, sizeof *ignored, err);
    if (!ignored) {
        return false;
    }
    if (!mark_ignored(model, options, specs, ignored, err)) {
        free(ignored);
        return false;
    }
    size_t explained = 0;
    for (size_t i = 0; i < loader.count; i++) {
        if (!ignored[i]) {
            loader.sole = explained++ ? NULL : loader.inputs[i].name;
        }
    }
    loader.ignored = ignored;
    bool good = ox_load(&loader, specs, references, err);
    free(ignored);
    return good;
}

void ox_references_hint(const ox_model *model, const ox_arrays *references, ox_error *err)
{
    size_t count;
    const ox_value_info *inputs = ox_inputs(model, &count);
    for (size_t i = 0; err->code == OX_ARGUMENT && i < references->count; i++) {
        const ox_array *array = &references->items[i];
        for (size_t k = 0; k < count; k++) {
            if (array->name && !strcmp(array->name, inputs[k].name)) {
                const char *hint = ox_shape_hint(array, &inputs[k]);
                size_t used = strlen(err->message);
                snprintf(err->message + used, sizeof err->message - used, "%s", hint);
            }
        }
    }
}

ox_tensor *ox_references_tensors(const ox_arrays *references, ox_error *err)
{
    ox_tensor *tensors = ox_cli_alloc(references->count, sizeof *tensors, err);
    for (size_t i = 0; tensors && i < references->count; i++) {
        tensors[i] = ox_array_tensor(&references->items[i]);
    }
    return tensors;
}
