/* Pictures of SHAP values. */
#ifndef OX_CLI_PLOT_H
#define OX_CLI_PLOT_H

#include "array.h"
#include "picture.h"

/* How an array holds images. */
typedef struct ox_layout {
    size_t samples;
    size_t targets; /* 1 where there is no target axis */
    size_t channels;
    size_t height;
    size_t width;
    bool channels_last;
} ox_layout;

/* [N,C,H,W], [N,H,W,C] with 1, 3 or 4 channels, or [N,H,W]; with a target axis after N where
 * `several`. */
bool ox_plot_layout(const ox_array *array, bool several, ox_layout *layout, ox_error *err);

typedef struct ox_plot {
    const ox_array *shap;
    ox_layout layout;
    const ox_array *image; /* the originals, in any scale; NULL: none */
    ox_layout image_layout;
    const ox_picture *photo; /* or one original as a picture */
    const size_t *samples;   /* which to draw */
    size_t sample_count;
    size_t smooth; /* values are means over squares that reach so many pixels around */
    bool columns;  /* a column per sample instead of a row */
} ox_plot;

/* Draws a row per sample: the original, then a panel per target with red where a pixel speaks for
 * the target and blue where against, over the faint original; full colour from the 99th percentile
 * of the sample on. */
bool ox_plot_draw(const ox_plot *plot, ox_picture *picture, ox_error *err);

#endif
