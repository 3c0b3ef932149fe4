/* Arrays made of pictures. */
#ifndef OX_CLI_IMAGES_H
#define OX_CLI_IMAGES_H

#include "array.h"
#include "picture.h"

/* What pixels become: low + byte / 255 (high - low), then (that - mean) / deviation by channel. */
typedef struct ox_pixels {
    const char *text; /* as it was asked for; NULL: 0:1 for floats, 0:255 for whole numbers */
    double low, high;
    double mean[3], deviation[3];
} ox_pixels;

/* Reads "LOW:HIGH" or "imagenet"; NULL is the default. */
bool ox_pixels_parse(const char *text, ox_pixels *pixels);

/* The same for the option --pixels: -1, else the exit code of what has been reported. */
int ox_pixels_option(const char *command, const char *text, ox_pixels *pixels);

/* What pictures are read for. */
typedef struct ox_images {
    const ox_value_info *input;
    const ox_pixels *pixels;
    bool stacked; /* an input without batch axis gets one in front for them */
    ox_note note; /* told of shape, layout, range and what was scaled; NULL: nobody */
} ox_images;

/* Reads pictures into one array, in the order given. Each gets the input's height and width: scaled
 * so that it covers them, then its middle. `bytes` is what the only one holds; NULL: not read. */
bool ox_images_read(const ox_images *images, const char *const *paths, size_t count,
                    const ox_bytes *bytes, ox_array *array, ox_error *err);

/* Whether a path is one of a picture, or a folder. */
bool ox_images_are(const char *path);

/* A growing list of paths of pictures. */
typedef struct ox_paths {
    char **items;
    size_t count;
} ox_paths;

/* Adds a picture, or those of a folder sorted by name; a folder without any is an error. */
bool ox_paths_add(ox_paths *paths, const char *path, ox_error *err);
void ox_paths_free(ox_paths *paths);

#endif
