/* Arrays made of pictures: where an input has its channels, rows and columns, and what fills them.
 */
#include "images.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scale.h"

/* Axes of an input; -1: there is none. */
typedef struct layout {
    int batch, channel, row, column;
    const char *name;
} layout;

bool ox_pixels_parse(const char *text, ox_pixels *pixels)
{
    *pixels = (ox_pixels){.text = text, .high = 1, .deviation = {1, 1, 1}};
    if (!text) {
        return true;
    }
    if (!strcmp(text, "imagenet")) {
        const ox_pixels imagenet = {text, 0, 1, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
        *pixels = imagenet;
        return true;
    }
    char *end;
    pixels->low = strtod(text, &end);
    bool good = end != text && *end == ':';
    const char *second = end + 1;
    pixels->high = good ? strtod(second, &end) : 0;
    return good && end != second && !*end && isfinite(pixels->low) && isfinite(pixels->high) &&
           pixels->low != pixels->high;
}

int ox_pixels_option(const char *command, const char *text, ox_pixels *pixels)
{
    return ox_pixels_parse(text, pixels)
               ? -1
               : ox_cli_usage(command, "--pixels: \"%s\" is neither LOW:HIGH nor imagenet", text);
}

/* ---- layout ---------------------------------------------------------------------------- */

static bool is_channels(int64_t dim)
{
    return dim == 1 || dim == 3;
}

/* 1 or 3 channels tell where they are; rows and columns are the two axes left. Three axes of which
 * none is so, the first being free, are gray images. */
static bool find_layout(const ox_value_info *input, layout *l)
{
    const int64_t *d = input->dims;
    bool four = input->rank == 4;
    int first = four ? 1 : 0, last = input->rank - 1;
    if (input->rank != 3 && !four) {
        return false;
    }
    if (is_channels(d[first]) && (d[last] != 3 || d[first] == 3)) {
        *l = (layout){first - 1, first, first + 1, last, four ? "NCHW" : "CHW"};
    } else if (is_channels(d[last])) {
        *l = (layout){first - 1, last, first, first + 1, four ? "NHWC" : "HWC"};
    } else if (!four && d[0] < 0 && d[1] > 0) {
        *l = (layout){0, -1, 1, 2, "NHW"};
    } else {
        return false;
    }
    return true;
}

static bool refuse_layout(const ox_value_info *input, const char *path, ox_error *err)
{
    char dims[256] = "of any shape";
    if (input->rank >= 0) {
        ox_dims_text(dims, sizeof dims, input->dims, input->rank, input->symbols);
    }
    return ox_cli_error(err, OX_ARGUMENT,
                        "%s: input \"%s\" %s has no axis of 1 or 3 channels for a picture: give a "
                        ".npy",
                        path, input->name, dims);
}

/* ---- filling --------------------------------------------------------------------------- */

typedef struct canvas {
    const ox_value_info *input;
    const ox_pixels *pixels;
    layout at;
    size_t channels, height, width;
    bool whole;    /* the input takes whole numbers */
    bool free;     /* height or width is the first picture's */
    size_t scaled; /* pictures of another size */
} canvas;

/* One channel of a pixel, in the input's range; gray is Rec. 601 luma. */
static double value_of(const canvas *c, const float *rgb, size_t channel)
{
    const ox_pixels *p = c->pixels;
    double byte = c->channels == 3
                      ? (double)rgb[channel]
                      : 0.299 * (double)rgb[0] + 0.587 * (double)rgb[1] + 0.114 * (double)rgb[2];
    double high = !p->text && c->whole ? 255 : p->high;
    double value = p->low + byte / 255 * (high - p->low);
    double mean = c->channels == 3 ? p->mean[channel] : (p->mean[0] + p->mean[1] + p->mean[2]) / 3;
    double deviation = c->channels == 3 ? p->deviation[channel]
                                        : (p->deviation[0] + p->deviation[1] + p->deviation[2]) / 3;
    value = (value - mean) / deviation;
    return c->whole ? rint(value) : value;
}

/* Writes one picture, already of the canvas' size, in the input's layout. */
static void fill(const canvas *c, const float *rgb, float *to)
{
    size_t plane = c->height * c->width;
    bool last = c->at.channel > c->at.row;
    for (size_t i = 0; i < plane; i++) {
        for (size_t channel = 0; channel < c->channels; channel++) {
            size_t index = last ? i * c->channels + channel : channel * plane + i;
            to[index] = (float)value_of(c, rgb + 3 * i, channel);
        }
    }
}

/* Height and width are the input's where it fixes them, else those of the first picture. */
static bool measure(canvas *c, const char *path, const ox_picture *first, ox_error *err)
{
    const layout *l = &c->at;
    const int64_t *d = c->input->dims;
    c->height = d[l->row] < 0 ? first->height : (size_t)d[l->row];
    c->width = d[l->column] < 0 ? first->width : (size_t)d[l->column];
    c->channels = l->channel < 0 ? 1 : (size_t)d[l->channel];
    c->free = d[l->row] < 0 || d[l->column] < 0;
    return (c->height && c->width) || refuse_layout(c->input, path, err);
}

/* Pictures of several sizes are made alike only where the input says to which. */
static bool check_size(const canvas *c, const char *path, const ox_picture *picture, ox_error *err)
{
    return !c->free || (picture->width == c->width && picture->height == c->height) ||
           ox_cli_error(err, OX_ARGUMENT,
                        "%s: %zu x %zu, the pictures before %zu x %zu: input \"%s\" takes any "
                        "size, but all the same",
                        path, picture->width, picture->height, c->width, c->height, c->input->name);
}

static bool make_room(const canvas *c, bool stacked, const char *path, size_t count,
                      ox_array *array, ox_error *err)
{
    int lead = c->at.batch < 0 && stacked ? 1 : 0;
    if (c->at.batch < 0 && !stacked && count > 1) {
        return ox_cli_error(err, OX_ARGUMENT, "%s: input \"%s\" has no batch axis for %zu pictures",
                            path, c->input->name, count);
    }
    array->rank = c->input->rank + lead;
    if (lead || c->at.batch >= 0) {
        array->dims[0] = (int64_t)count;
    }
    array->dims[c->at.row + lead] = (int64_t)c->height;
    array->dims[c->at.column + lead] = (int64_t)c->width;
    if (c->at.channel >= 0) {
        array->dims[c->at.channel + lead] = (int64_t)c->channels;
    }
    array->file = ox_cli_copy(path, err);
    return array->file && ox_array_allocate(array, err);
}

static bool add_picture(canvas *c, const char *path, const ox_picture *picture, float *to,
                        ox_error *err)
{
    if (!check_size(c, path, picture, err)) {
        return false;
    }
    float *rgb = ox_scale_cover(picture, c->width, c->height, err);
    if (rgb) {
        fill(c, rgb, to);
    }
    free(rgb);
    c->scaled += picture->width != c->width || picture->height != c->height;
    return rgb != NULL;
}

static void tell(const canvas *c, const ox_array *array, size_t count, ox_note note)
{
    char dims[256], size[128] = "", text[900];
    const char *asked = c->pixels->text;
    ox_dims_text(dims, sizeof dims, array->dims, array->rank, NULL);
    if (c->scaled) {
        snprintf(size, sizeof size, "; %zu scaled to cover %zu x %zu, the middle kept", c->scaled,
                 c->width, c->height);
    }
    snprintf(text, sizeof text, "%s%s: %s %s for input \"%s\", %s, pixels %s%s%s", array->file,
             count > 1 ? " and others" : "", c->at.name, dims, c->input->name,
             c->channels == 3 ? "RGB" : "gray", asked ? asked : (c->whole ? "0:255" : "0:1"),
             asked ? "" : " (--pixels=LOW:HIGH changes that)", size);
    note(NULL, text);
}

bool ox_images_read(const ox_images *images, const char *const *paths, size_t count,
                    const ox_bytes *bytes, ox_array *array, ox_error *err)
{
    const ox_value_info *input = images->input;
    canvas c = {.input = input, .pixels = images->pixels, .whole = ox_type_is_whole(input->type)};
    *array = (ox_array){.type = OX_FLOAT};
    if (!find_layout(input, &c.at)) {
        return refuse_layout(input, paths[0], err);
    }
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
        ox_picture picture;
        good = bytes ? ox_picture_read_bytes(paths[i], bytes, &picture, err)
                     : ox_picture_read(paths[i], &picture, err);
        if (good && i == 0) {
            good = measure(&c, paths[0], &picture, err) &&
                   make_room(&c, images->stacked, paths[0], count, array, err);
        }
        size_t each = c.channels * c.height * c.width;
        good = good && add_picture(&c, paths[i], &picture, (float *)array->data + i * each, err);
        ox_picture_free(&picture);
    }
    if (good && images->note) {
        tell(&c, array, count, images->note);
    }
    if (!good) {
        ox_array_free(array);
    }
    return good;
}
