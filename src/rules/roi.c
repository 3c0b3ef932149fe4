/* MaxRoiPool: the largest value in every cell of a grid laid over constant regions, written as a
 * slice and a ReduceMax per cell. */
#include "rules/decompose.h"

#include <math.h>
#include <string.h>

enum { MOST_CELLS = 1 << 14 };

/* The cells of one region along one axis: from begin[i] up to end[i]. */
static void cells(double from, double to, int64_t size, int64_t count, int64_t *begin, int64_t *end)
{
    double first = round(from), length = fmax(round(to) - first + 1, 1);
    for (int64_t i = 0; i < count; i++) {
        double low = floor((double)i * length / (double)count) + first;
        double high = ceil((double)(i + 1) * length / (double)count) + first;
        begin[i] = (int64_t)fmin(fmax(low, 0), (double)size);
        end[i] = (int64_t)fmin(fmax(high, 0), (double)size);
    }
}

static const double *constant_regions(const ox_node *n, size_t *count)
{
    const ox_val rois = ox_made_ranked(n, 1);
    size_t total;
    const double *numbers = ox_numbers(rois, &total);
    if (numbers == NULL || rois->rank != 2 || ox_made_size(n, rois, 1) != 5) {
        ox_made_fail(n, "its regions must be constant, of 5 numbers each");
    }
    for (size_t i = 0; i < total; i++) {
        if (!(fabs(numbers[i]) < 1e9)) {
            ox_made_fail(n, "a region is out of range");
        }
    }
    *count = (size_t)ox_made_size(n, rois, 0);
    return numbers;
}

/* [1, C, h, w] of one region. An empty cell is 0. */
static ox_val pool_region(const ox_node *n, ox_val image, const double *region, const int64_t *grid)
{
    ox_arena *a = n->graph->arena;
    double scale = ox_node_float(n, "spatial_scale", 1);
    size_t most = (size_t)(grid[0] > grid[1] ? grid[0] : grid[1]), count = 0;
    int64_t *begin[2], *end[2], axes[] = {-2, -1};
    for (int k = 0; k < 2; k++) {
        begin[k] = ox_arena_alloc(a, most, sizeof **begin);
        end[k] = ox_arena_alloc(a, most, sizeof **end);
        cells(region[2 - k] * scale, region[4 - k] * scale, ox_made_size(n, image, k - 2), grid[k],
              begin[k], end[k]);
    }
    ox_val *parts = ox_arena_alloc(a, (size_t)(grid[0] * grid[1]), sizeof *parts);
    for (int64_t i = 0; i < grid[0]; i++) {
        for (int64_t j = 0; j < grid[1]; j++) {
            bool empty = begin[0][i] >= end[0][i] || begin[1][j] >= end[1][j];
            ox_val cell = empty ? image : ox_slice(image, -2, begin[0][i], end[0][i], 1);
            cell = empty ? ox_scale(ox_slice(ox_slice(cell, -2, 0, 1, 1), -1, 0, 1, 1), 0)
                         : ox_slice(cell, -1, begin[1][j], end[1][j], 1);
            parts[count++] = ox_reduce("ReduceMax", cell, 2, axes, true);
        }
    }
    const ox_dim dims[] = {ox_dim_of(1), image->dims[1], ox_dim_of(grid[0]), ox_dim_of(grid[1])};
    return ox_reshape(ox_concat(n->graph, count, parts, -1), 4, dims);
}

void decompose_max_roi_pool(const ox_node *n, ox_val *outputs)
{
    size_t regions = 0, two = 0;
    const ox_val x = ox_made_ranked(n, 0);
    const int64_t *grid = ox_node_ints(n, "pooled_shape", &two);
    const double *numbers = constant_regions(n, &regions);
    if (two != 2 || x->rank != 4 || grid[0] < 1 || grid[1] < 1 || grid[0] > MOST_CELLS ||
        grid[1] > MOST_CELLS || regions == 0 || (int64_t)regions > MOST_CELLS / grid[0] / grid[1]) {
        ox_made_fail(n, "it has no regions, or too many cells");
    }
    ox_val *parts = ox_arena_alloc(n->graph->arena, regions, sizeof *parts);
    for (size_t i = 0; i < regions; i++) {
        int64_t image = (int64_t)numbers[5 * i];
        ox_val picked = ox_slice(x, 0, image, image + 1, 1);
        parts[i] = pool_region(n, picked, numbers + 5 * i, grid);
    }
    outputs[0] = ox_concat(n->graph, regions, parts, 0);
}
