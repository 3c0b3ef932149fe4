/* Scaling by a triangle as wide as a pixel of the coarser of the two grids: bilinear where a
 * picture grows, means where it shrinks. One direction after the other. */
#include "scale.h"

#include <math.h>
#include <stdlib.h>

/* How one line of `from` places becomes one of `to`, whose place i lies at (i + shift) * step. */
typedef struct line {
    size_t from, to;
    double step;
    double shift;
} line;

/* Place i, three channels; neighbours of the source lie `stride` floats apart. */
static void mix(const line *l, size_t i, const float *source, size_t stride, float *to)
{
    double radius = l->step > 1 ? l->step : 1;
    double middle = ((double)i + l->shift + 0.5) * l->step - 0.5;
    double low = ceil(middle - radius), high = floor(middle + radius), sum = 0;
    double rgb[3] = {0, 0, 0};
    size_t first = low > 0 ? (size_t)low : 0;
    size_t last = high < (double)(l->from - 1) ? (size_t)high : l->from - 1;
    for (size_t k = first; k <= last; k++) {
        double weight = 1 - fabs((double)k - middle) / radius;
        sum += weight;
        for (size_t c = 0; c < 3; c++) {
            rgb[c] += weight * (double)source[k * stride + c];
        }
    }
    for (size_t c = 0; c < 3; c++) {
        to[c] = (float)(rgb[c] / sum);
    }
}

static float *to_floats(const ox_picture *picture, ox_error *err)
{
    size_t count = picture->width * picture->height;
    float *pixels = ox_cli_alloc(count, 3 * sizeof *pixels, err);
    for (size_t i = 0; pixels && i < 3 * count; i++) {
        pixels[i] = picture->rgb[i];
    }
    return pixels;
}

float *ox_scale_cover(const ox_picture *picture, size_t width, size_t height, ox_error *err)
{
    size_t rows = picture->height, columns = picture->width;
    float *pixels = to_floats(picture, err);
    if (!pixels || (columns == width && rows == height)) {
        return pixels;
    }
    double step = fmin((double)columns / (double)width, (double)rows / (double)height);
    line across = {columns, width, step, ((double)columns / step - (double)width) / 2};
    line down = {rows, height, step, ((double)rows / step - (double)height) / 2};
    float *wide = ox_cli_alloc(rows * width, 3 * sizeof *wide, err);
    float *out = ox_cli_alloc(height * width, 3 * sizeof *out, err);
    for (size_t y = 0; wide && out && y < rows; y++) {
        for (size_t x = 0; x < width; x++) {
            mix(&across, x, pixels + y * columns * 3, 3, wide + (y * width + x) * 3);
        }
    }
    for (size_t x = 0; wide && out && x < width; x++) {
        for (size_t y = 0; y < height; y++) {
            mix(&down, y, wide + x * 3, width * 3, out + (y * width + x) * 3);
        }
    }
    free(pixels);
    free(wide);
    if (!wide) {
        free(out);
        return NULL;
    }
    return out;
}
