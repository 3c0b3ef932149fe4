/* Pictures in memory and in files. */
#ifndef OX_CLI_PICTURE_H
#define OX_CLI_PICTURE_H

#include "cli.h"

typedef struct ox_picture {
    size_t width;
    size_t height;
    unsigned char *rgb; /* rows from the top, 3 bytes a pixel */
} ox_picture;

/* A white picture. */
bool ox_picture_make(ox_picture *picture, size_t width, size_t height, ox_error *err);

/* Room for the pixels of a file of `size` bytes; a size that so few bytes cannot fill is refused
 * before memory is asked for. `path` is for messages. */
bool ox_picture_room(const char *path, size_t size, ox_picture *picture, size_t width,
                     size_t height, ox_error *err);
void ox_picture_free(ox_picture *picture);

/* The pixel in column x of row y. */
unsigned char *ox_picture_at(const ox_picture *picture, size_t x, size_t y);

/* Whether a file's name says that it is a picture: .png, .jpg, .jpeg. */
bool ox_picture_is_name(const char *path);

/* Whether the bytes begin as those of a PNG or JPEG do. */
bool ox_picture_is_bytes(const ox_bytes *bytes);

/* Reads a PNG, of which transparent parts become white, or a JPEG; `path` is for messages. */
bool ox_picture_read_bytes(const char *path, const ox_bytes *bytes, ox_picture *picture,
                           ox_error *err);
bool ox_picture_read(const char *path, ox_picture *picture, ox_error *err);

/* What ox_picture_read_bytes does of a JPEG. */
bool ox_jpeg_read(const char *path, const ox_bytes *bytes, ox_picture *picture, ox_error *err);

/* Writes the file whole or not at all. */
bool ox_png_write(const char *path, const ox_picture *picture, ox_error *err);

#endif
