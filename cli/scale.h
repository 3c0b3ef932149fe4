/* Pictures in another size. */
#ifndef OX_CLI_SCALE_H
#define OX_CLI_SCALE_H

#include "picture.h"

/* The picture scaled, its proportions kept, so that it just covers width x height, and the middle
 * of that: 3 floats a pixel, 0 to 255, to be released by free. */
float *ox_scale_cover(const ox_picture *picture, size_t width, size_t height, ox_error *err);

#endif
