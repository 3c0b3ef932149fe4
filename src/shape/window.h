/* Sliding windows, as convolutions and pools say them. */
#ifndef OX_SHAPE_WINDOW_H
#define OX_SHAPE_WINDOW_H

#include "graph/graph.h"

typedef enum ox_auto_pad { OX_PAD_NOTSET, OX_PAD_VALID, OX_PAD_UPPER, OX_PAD_LOWER } ox_auto_pad;

/* The window along one spatial axis: output p reads the inputs p * stride + t * dilation - begin
 * for the taps t in [0, kernel), zero outside of [0, in). */
typedef struct ox_window {
    int64_t in, out;
    int64_t kernel; /* 0: not known */
    int64_t extent; /* from the first to the last tap */
    int64_t stride, dilation, begin, end;
    ox_auto_pad mode;
} ox_window;

/* One for each of `axes`, as the node has them: in, out and the padding of OX_PAD_UPPER and LOWER
 * are 0. The kernel's size comes from kernel_shape or from the weights' last dimensions, where they
 * are given. Gives up on numbers that make no sense. */
ox_window *ox_windows_read(const ox_node *n, int axes, const ox_dim *weights);

/* An attribute of `count` numbers that are at least `least`; NULL where there is none. */
const int64_t *ox_window_numbers(const ox_node *n, const char *name, size_t count, int64_t least);

#endif
