/* onnxexplainer plot: draws the SHAP values of images that `run` has written. */
#include "npy.h"
#include "npz.h"
#include "options.h"
#include "output.h"
#include "plot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES_DRAWN = 16 };

/* Larger images are smoothed unless told otherwise. */
enum { SHARP_MAX = 112, SMOOTH = 2 };

typedef struct arguments {
    const char *results;
    const char *image;
    const char *input;
    const char *output;
    ox_texts samples;
    int64_t smooth; /* -1: not said */
    bool columns;
    bool quiet;
} arguments;

static int parse(arguments *a, int argc, char **argv)
{
    const ox_option options[] = {
        {"output", 'o', OX_OPTION_TEXT, &a->output, "OUT.png", "the picture to write"},
        {"image", 0, OX_OPTION_TEXT, &a->image, "X.npy|X.png|X.jpg",
         "the originals: what went into run, or a photograph"},
        {"input", 0, OX_OPTION_TEXT, &a->input, "NAME",
         "the input (default: the first that holds images)"},
        {"sample", 0, OX_OPTION_LIST, &a->samples, "I",
         "a sample to draw, from 0 (default: the first 16)"},
        {"smooth", 0, OX_OPTION_COUNT, &a->smooth, "PIXELS",
         "average so many pixels around (default: 2 above 112 x 112, else 0)"},
        {"columns", 0, OX_OPTION_FLAG, &a->columns, NULL, "a column per sample instead of a row"},
        {"quiet", 'q', OX_OPTION_FLAG, &a->quiet, NULL, "print nothing but errors"},
    };
    const ox_command command = {
        .name = "plot",
        .usage = "EXPLAINED.npz [--image X] -o OUT.png [OPTION]...",
        .summary = "Draws SHAP values of images, red where a pixel speaks for the target and blue "
                   "where against,\nbeside the original. The strongest hundredth has full colour. "
                   "Other kinds, and "
                   "pictures of\nmodels and samples, are of the Python package: python -m "
                   "onnxexplainer plot --help",
        .operand = "EXPLAINED.npz",
        .options = options,
        .option_count = sizeof options / sizeof *options,
    };
    int code = ox_options_parse(&command, argc, argv, &a->results);
    if (code >= 0) {
        return code;
    }
    if (!a->output) {
        return ox_cli_usage("plot", "no -o given");
    }
    code = ox_sheet_refuse("plot", a->output, "results", &a->results, 1);
    return code < 0 && a->image ? ox_sheet_refuse("plot", a->output, "image", &a->image, 1) : code;
}

static const ox_array *find_target(const ox_arrays *arrays)
{
    for (size_t i = 0; i < arrays->count; i++) {
        if (ox_cli_has_suffix(arrays->items[i].name, "shap_target")) {
            return &arrays->items[i];
        }
    }
    return NULL;
}

/* Whether SHAP values have a target axis: as shap_target says, else by their rank. */
static bool has_targets(const ox_arrays *arrays, const ox_array *shap)
{
    const ox_array *target = find_target(arrays);
    return target ? target->rank == 2 : shap->rank == 5;
}

static const char *list_arrays(const ox_arrays *arrays, char *text, size_t size)
{
    size_t used = 0;
    snprintf(text, size, "no arrays");
    for (size_t i = 0; i < arrays->count && used < size; i++) {
        int n =
            snprintf(text + used, size - used, "%s\"%s\"", i ? ", " : "", arrays->items[i].name);
        used += n < 0 ? 0 : (size_t)n;
    }
    return text;
}

static const ox_array *find_shap(const arguments *a, const ox_arrays *arrays, ox_layout *layout,
                                 ox_error *err)
{
    char *wanted = ox_cli_format(err, "%s_shap", a->input ? a->input : "");
    if (!wanted) {
        return NULL;
    }
    const ox_array *found = a->input ? ox_arrays_find(arrays, wanted) : NULL;
    bool any = false;
    char all[256];
    for (size_t i = 0; !found && i < arrays->count; i++) {
        const ox_array *array = &arrays->items[i];
        if (!ox_cli_has_suffix(array->name, wanted)) {
            continue;
        }
        any = true;
        if (a->input || ox_plot_layout(array, has_targets(arrays, array), layout, err)) {
            found = array;
        }
    }
    if (!found && (a->input || !any)) {
        ox_cli_error(err, OX_ARGUMENT, "%s: no SHAP values \"%s\" in it, but %s", a->results,
                     wanted, list_arrays(arrays, all, sizeof all));
    }
    free(wanted);
    if (!found || !ox_plot_layout(found, has_targets(arrays, found), layout, err)) {
        return NULL;
    }
    return found;
}

static bool load_original(const arguments *a, ox_plot *plot, ox_array *image, ox_picture *photo,
                          ox_error *err)
{
    if (!a->image) {
        return true;
    }
    if (ox_picture_is_name(a->image)) {
        if (plot->sample_count > 1) {
            return ox_cli_error(err, OX_ARGUMENT,
                                "%s: one photograph for %zu samples: use "
                                "--sample",
                                a->image, plot->sample_count);
        }
        plot->photo = photo;
        return ox_picture_read(a->image, photo, err);
    }
    ox_layout *l = &plot->image_layout;
    if (!ox_npy_read_file(a->image, image, err) || !ox_plot_layout(image, false, l, err)) {
        return false;
    }
    if (l->height != plot->layout.height || l->width != plot->layout.width ||
        (l->samples != plot->layout.samples && l->samples != 1)) {
        return ox_cli_error(err, OX_ARGUMENT,
                            "%s: %zu images of %zu x %zu where the SHAP values are for %zu of "
                            "%zu x %zu",
                            a->image, l->samples, l->height, l->width, plot->layout.samples,
                            plot->layout.height, plot->layout.width);
    }
    plot->image = image;
    return true;
}

/* The samples asked for, else the first ones. */
static size_t *choose_samples(const arguments *a, ox_plot *plot, ox_error *err)
{
    size_t total = plot->layout.samples, count = a->samples.count;
    if (!count) {
        count = total < SAMPLES_DRAWN ? total : SAMPLES_DRAWN;
    }
    size_t *samples = ox_cli_alloc(count, sizeof *samples, err);
    for (size_t i = 0; samples && i < count; i++) {
        const char *text = a->samples.count ? a->samples.items[i] : NULL;
        char *end = NULL;
        samples[i] = text ? (size_t)strtoull(text, &end, 10) : i;
        if (text && (text[0] < '0' || text[0] > '9' || *end || samples[i] >= total)) {
            ox_cli_error(err, OX_ARGUMENT, "--sample=%s: the samples are 0 to %zu", text,
                         total - 1);
            free(samples);
            return NULL;
        }
    }
    plot->samples = samples;
    plot->sample_count = samples ? count : 0;
    return samples;
}

static bool draw(const arguments *a, const ox_arrays *arrays, ox_error *err)
{
    ox_plot plot = {.columns = a->columns};
    ox_array image = {.name = NULL};
    ox_picture photo = {.rgb = NULL}, picture = {.rgb = NULL};
    plot.shap = find_shap(a, arrays, &plot.layout, err);
    bool large = plot.layout.height > SHARP_MAX || plot.layout.width > SHARP_MAX;
    plot.smooth = a->smooth >= 0 ? (size_t)a->smooth : large ? SMOOTH : 0;
    size_t *samples = plot.shap ? choose_samples(a, &plot, err) : NULL;
    bool good = samples && load_original(a, &plot, &image, &photo, err) &&
                ox_plot_draw(&plot, &picture, err) && ox_png_write(a->output, &picture, err);
    if (good && !a->quiet && !a->samples.count && plot.sample_count < plot.layout.samples) {
        ox_cli_say("note: drew the first %zu of %zu samples", plot.sample_count,
                   plot.layout.samples);
    }
    ox_picture_free(&picture);
    ox_picture_free(&photo);
    ox_array_free(&image);
    free(samples);
    return good;
}

int ox_cmd_plot(int argc, char **argv)
{
    arguments a = {.smooth = -1};
    int code = parse(&a, argc, argv);
    if (code >= 0) {
        return code;
    }
    ox_error err;
    ox_arrays arrays;
    bool good = ox_npz_read(a.results, NULL, &arrays, &err);
    if (good) {
        good = draw(&a, &arrays, &err);
        ox_arrays_free(&arrays);
    }
    return good ? OX_EXIT_OK : ox_cli_fail(&err);
}
