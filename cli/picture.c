/* Pictures, and PNG through libpng's simplified interface. */
#include "picture.h"

#include "output.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SIDE_MAX = 1 << 17 };

/* Bytes of pixels for each byte of a file: deflate makes at most 1032 of one, a byte of PNG is at
 * most eight pixels. A byte of JPEG is at most eight blocks, of 64 pixels each. */
enum { PIXELS_OF_BYTE = 1032 * 8 * 3 };

static bool make_room(ox_picture *picture, size_t width, size_t height, ox_error *err)
{
    *picture = (ox_picture){.width = width, .height = height};
    if (!width || !height || width > SIDE_MAX || height > SIDE_MAX ||
        width > (size_t)INT32_MAX / 3 / height) {
        return ox_cli_error(err, OX_ARGUMENT, "a picture of %zu x %zu pixels is too large", width,
                            height);
    }
    picture->rgb = ox_cli_alloc(width * height, 3, err);
    return picture->rgb != NULL;
}

bool ox_picture_make(ox_picture *picture, size_t width, size_t height, ox_error *err)
{
    bool made = make_room(picture, width, height, err);
    if (made) {
        memset(picture->rgb, 255, width * height * 3);
    }
    return made;
}

bool ox_picture_room(const char *path, size_t size, ox_picture *picture, size_t width,
                     size_t height, ox_error *err)
{
    bool small = width <= SIDE_MAX && height <= SIDE_MAX;
    if (small && width * height * 3 / PIXELS_OF_BYTE > size) {
        return ox_cli_error(err, OX_INVALID, "%s: %zu bytes do not hold %zu x %zu pixels", path,
                            size, width, height);
    }
    return make_room(picture, width, height, err);
}

void ox_picture_free(ox_picture *picture)
{
    free(picture->rgb);
    *picture = (ox_picture){.rgb = NULL};
}

unsigned char *ox_picture_at(const ox_picture *picture, size_t x, size_t y)
{
    return picture->rgb + (y * picture->width + x) * 3;
}

static bool begins(const ox_bytes *bytes, const char *magic)
{
    size_t size = strlen(magic);
    return bytes->size >= size && !memcmp(bytes->data, magic, size);
}

static bool is_png(const ox_bytes *bytes)
{
    return begins(bytes, "\x89PNG\r\n");
}

static bool is_jpeg(const ox_bytes *bytes)
{
    return begins(bytes, "\xff\xd8\xff");
}

bool ox_picture_is_name(const char *path)
{
    static const char *const suffixes[] = {".png", ".jpg", ".jpeg"};
    size_t length = strlen(path);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t end = strlen(suffixes[i]);
        if (length > end && !strcasecmp(path + length - end, suffixes[i])) {
            return true;
        }
    }
    return false;
}

bool ox_picture_is_bytes(const ox_bytes *bytes)
{
    return is_png(bytes) || is_jpeg(bytes);
}

static bool read_png(const char *path, const ox_bytes *bytes, ox_picture *picture, ox_error *err)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    png_color white = {255, 255, 255};
    bool good = png_image_begin_read_from_memory(&image, bytes->data, bytes->size) != 0;
    image.format = PNG_FORMAT_RGB;
    good = good && ox_picture_room(path, bytes->size, picture, image.width, image.height, err);
    if (good && !png_image_finish_read(&image, &white, picture->rgb, 0, NULL)) {
        good = false;
    }
    if (PNG_IMAGE_FAILED(image)) {
        ox_cli_error(err, OX_INVALID, "%s: %s", path, image.message);
    }
    png_image_free(&image);
    if (!good) {
        ox_picture_free(picture);
    }
    return good;
}

bool ox_picture_read_bytes(const char *path, const ox_bytes *bytes, ox_picture *picture,
                           ox_error *err)
{
    *picture = (ox_picture){.rgb = NULL};
    if (is_png(bytes)) {
        return read_png(path, bytes, picture, err);
    }
    return is_jpeg(bytes) ? ox_jpeg_read(path, bytes, picture, err)
                          : ox_cli_error(err, OX_INVALID, "%s: neither PNG nor JPEG", path);
}

bool ox_picture_read(const char *path, ox_picture *picture, ox_error *err)
{
    ox_bytes bytes;
    *picture = (ox_picture){.rgb = NULL};
    bytes.data = ox_cli_read_file(path, &bytes.size, err);
    bool good = bytes.data && ox_picture_read_bytes(path, &bytes, picture, err);
    free(bytes.data);
    return good;
}

bool ox_png_write(const char *path, const ox_picture *picture, ox_error *err)
{
    ox_sheet out;
    if (!ox_sheet_begin(&out, path, err)) {
        return false;
    }
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)picture->width,
                       .height = (png_uint_32)picture->height,
                       .format = PNG_FORMAT_RGB};
    if (png_image_write_to_stdio(&image, out.file, 0, picture->rgb, 0, NULL)) {
        return ox_sheet_end(&out, true, err);
    }
    ox_cli_error(err, OX_IO, "%s: %s", path, image.message);
    return ox_sheet_end(&out, false, err);
}
