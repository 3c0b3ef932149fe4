/* Draws SHAP values over faint grey originals. */
#include "plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PANEL_MIN = 224, MARGIN = 8 };

/* Share of the contrast of the original that stays under the overlay. */
static const double contrast = 0.3;

/* Share of the values that are not as strong as full colour. */
static const double percentile = 0.99;

static const double red[3] = {255, 0, 81}, blue[3] = {0, 139, 251};

static bool is_colour_axis(int64_t dim)
{
    return dim == 1 || dim == 3 || dim == 4;
}

bool ox_plot_layout(const ox_array *array, bool several, ox_layout *layout, ox_error *err)
{
    int axes = array->rank - (several ? 2 : 1); /* of one image */
    if (axes != 2 && axes != 3) {
        char dims[256];
        ox_dims_text(dims, sizeof dims, array->dims, array->rank, NULL);
        return ox_cli_error(err, OX_ARGUMENT, "\"%s\" of shape %s does not hold images",
                            array->name ? array->name : array->file, dims);
    }
    const int64_t *d = array->dims + array->rank - axes;
    bool last = axes == 3 && is_colour_axis(d[2]) && !is_colour_axis(d[0]);
    const int64_t *side = axes == 3 && !last ? d + 1 : d;
    *layout = (ox_layout){.samples = (size_t)array->dims[0],
                          .targets = several ? (size_t)array->dims[1] : 1,
                          .channels = axes == 2 ? 1 : (size_t)(last ? d[2] : d[0]),
                          .height = (size_t)side[0],
                          .width = (size_t)side[1],
                          .channels_last = last};
    if (!ox_array_elements(array, 0)) {
        return ox_cli_error(err, OX_ARGUMENT, "\"%s\" is empty", array->name);
    }
    return true;
}

static size_t index_of(const ox_layout *l, size_t image, size_t c, size_t y, size_t x)
{
    if (l->channels_last) {
        return ((image * l->height + y) * l->width + x) * l->channels + c;
    }
    return ((image * l->channels + c) * l->height + y) * l->width + x;
}

/* ---- originals ------------------------------------------------------------------------- */

static size_t magnification(const ox_layout *l)
{
    size_t side = l->height > l->width ? l->height : l->width;
    return (PANEL_MIN + side - 1) / side;
}

/* Averages the photograph over what each pixel of the panel covers. */
static void shrink_photo(const ox_picture *photo, const ox_picture *panel)
{
    for (size_t y = 0; y < panel->height; y++) {
        for (size_t x = 0; x < panel->width; x++) {
            size_t top = y * photo->height / panel->height;
            size_t left = x * photo->width / panel->width;
            size_t bottom = (y + 1) * photo->height / panel->height;
            size_t right = (x + 1) * photo->width / panel->width;
            size_t sum[3] = {0}, count = 0;
            for (size_t v = top; v < bottom || v == top; v++) {
                for (size_t u = left; u < right || u == left; u++, count++) {
                    for (size_t c = 0; c < 3; c++) {
                        sum[c] += ox_picture_at(photo, u, v)[c];
                    }
                }
            }
            for (size_t c = 0; c < 3; c++) {
                ox_picture_at(panel, x, y)[c] = (unsigned char)(sum[c] / count);
            }
        }
    }
}

/* Colours where there are 3 or 4 channels, else the mean over the channels as grey; from the
 * sample's least value to its greatest. */
static void draw_image(const ox_plot *p, size_t sample, const ox_picture *panel)
{
    const ox_layout *l = &p->image_layout;
    size_t size = l->channels * l->height * l->width;
    double low = INFINITY, high = -INFINITY;
    for (size_t i = sample * size; i < (sample + 1) * size; i++) {
        double value = ox_array_at(p->image, i);
        low = fmin(low, value);
        high = fmax(high, value);
    }
    double scale = high > low && isfinite(high - low) ? 255 / (high - low) : 0;
    bool colour = l->channels == 3 || l->channels == 4;
    size_t zoom = magnification(&p->layout);
    for (size_t y = 0; y < panel->height; y++) {
        for (size_t x = 0; x < panel->width; x++) {
            double mean = 0;
            for (size_t c = 0; c < l->channels && !colour; c++) {
                mean += ox_array_at(p->image, index_of(l, sample, c, y / zoom, x / zoom)) /
                        (double)l->channels;
            }
            for (size_t c = 0; c < 3; c++) {
                double value = mean;
                if (colour) {
                    value = ox_array_at(p->image, index_of(l, sample, c, y / zoom, x / zoom));
                }
                double shade = fmin(fmax((value - low) * scale, 0), 255);
                ox_picture_at(panel, x, y)[c] = (unsigned char)lround(shade);
            }
        }
    }
}

/* ---- overlays -------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Means over squares that reach `reach` pixels around, cut off at the border: along one line of
 * a plane, once for each axis. `line` has room for `count`. */
static void smooth_lines(double *values, double *line, size_t count, size_t stride, size_t reach)
{
    for (size_t i = 0; i < count; i++) {
        line[i] = values[i * stride];
    }
    for (size_t i = 0; i < count; i++) {
        size_t from = i > reach ? i - reach : 0;
        size_t end = reach < count - i ? i + reach + 1 : count;
        double sum = 0;
        for (size_t k = from; k < end; k++) {
            sum += line[k];
        }
        values[i * stride] = sum / (double)(end - from);
    }
}

static void smooth(const ox_plot *p, double *values, double *line)
{
    const ox_layout *l = &p->layout;
    for (size_t k = 0; p->smooth && k < l->targets; k++) {
        double *plane = values + k * l->height * l->width;
        for (size_t y = 0; y < l->height; y++) {
            smooth_lines(plane + y * l->width, line, l->width, 1, p->smooth);
        }
        for (size_t x = 0; x < l->width; x++) {
            smooth_lines(plane + x, line, l->height, l->width, p->smooth);
        }
    }
}

/* SHAP values of one sample, summed over the channels and smoothed: [K, H, W]. Returns their scale,
 * or 0 and err on failure. */
static double sum_channels(const ox_plot *p, size_t sample, double *values, ox_error *err)
{
    const ox_layout *l = &p->layout;
    size_t count = l->targets * l->height * l->width, n = 0;
    double *sizes = ox_cli_alloc(count, sizeof *sizes, err);
    if (!sizes) {
        return 0;
    }
    bool finite = true;
    for (size_t k = 0; k < l->targets; k++) {
        for (size_t y = 0; y < l->height; y++) {
            for (size_t x = 0; x < l->width; x++, n++) {
                values[n] = 0;
                for (size_t c = 0; c < l->channels; c++) {
                    values[n] +=
                        ox_array_at(p->shap, index_of(l, sample * l->targets + k, c, y, x));
                }
                finite = finite && isfinite(values[n]);
            }
        }
    }
    double scale = 0;
    if (finite) {
        smooth(p, values, sizes);
        for (size_t i = 0; i < count; i++) {
            sizes[i] = fabs(values[i]);
        }
        qsort(sizes, count, sizeof *sizes, compare_doubles);
        scale = sizes[(size_t)(percentile * (double)(count - 1))];
        /* A few bright pixels among zeros: the largest is the scale. */
        scale = scale > 0 ? scale : sizes[count - 1] > 0 ? sizes[count - 1] : 1;
    } else {
        ox_cli_error(err, OX_INVALID, "\"%s\": not a number in sample %zu", p->shap->name, sample);
    }
    free(sizes);
    return scale;
}

static void draw_overlay(const ox_plot *p, const double *values, double scale,
                         const ox_picture *original, ox_picture *to, size_t left, size_t top)
{
    size_t zoom = magnification(&p->layout), width = p->layout.width;
    for (size_t y = 0; y < original->height; y++) {
        for (size_t x = 0; x < original->width; x++) {
            const unsigned char *o = ox_picture_at(original, x, y);
            double grey = 0.299 * o[0] + 0.587 * o[1] + 0.114 * o[2];
            double back = 255 - contrast * (255 - grey);
            double value = values[y / zoom * width + x / zoom] / scale;
            double weight = fmin(fabs(value), 1);
            const double *colour = value > 0 ? red : blue;
            for (size_t c = 0; c < 3; c++) {
                double shade = back + weight * (colour[c] - back);
                ox_picture_at(to, left + x, top + y)[c] = (unsigned char)lround(shade);
            }
        }
    }
}

static void paste(const ox_picture *from, ox_picture *to, size_t left, size_t top)
{
    for (size_t y = 0; y < from->height; y++) {
        memcpy(ox_picture_at(to, left, top + y), ox_picture_at(from, 0, y), from->width * 3);
    }
}

static bool draw_sample(const ox_plot *p, size_t line, ox_picture *original, double *values,
                        ox_picture *to, ox_error *err)
{
    size_t sample = p->samples[line], first = p->image || p->photo ? 1 : 0;
    double scale = sum_channels(p, sample, values, err);
    if (!(scale > 0)) {
        return false;
    }
    if (p->image) {
        draw_image(p, p->image_layout.samples == 1 ? 0 : sample, original);
    }
    size_t across = original->width + MARGIN, down = original->height + MARGIN;
    for (size_t i = 0; i < first + p->layout.targets; i++) {
        size_t left = MARGIN + across * (p->columns ? line : i);
        size_t top = MARGIN + down * (p->columns ? i : line);
        if (i < first) {
            paste(original, to, left, top);
        } else {
            draw_overlay(p, values + (i - first) * p->layout.height * p->layout.width, scale,
                         original, to, left, top);
        }
    }
    return true;
}

bool ox_plot_draw(const ox_plot *p, ox_picture *picture, ox_error *err)
{
    *picture = (ox_picture){.rgb = NULL};
    const ox_layout *l = &p->layout;
    size_t zoom = magnification(l), panels = l->targets + (p->image || p->photo ? 1 : 0);
    size_t across = p->columns ? p->sample_count : panels;
    size_t down = p->columns ? panels : p->sample_count;
    ox_picture original;
    if (!ox_picture_make(&original, l->width * zoom, l->height * zoom, err)) {
        return false;
    }
    if (p->photo) {
        shrink_photo(p->photo, &original);
    }
    double *values = ox_cli_alloc(l->targets * l->height * l->width, sizeof *values, err);
    bool good = values && ox_picture_make(picture, MARGIN + across * (original.width + MARGIN),
                                          MARGIN + down * (original.height + MARGIN), err);
    for (size_t i = 0; good && i < p->sample_count; i++) {
        good = draw_sample(p, i, &original, values, picture, err);
    }
    free(values);
    ox_picture_free(&original);
    if (!good) {
        ox_picture_free(picture);
    }
    return good;
}
