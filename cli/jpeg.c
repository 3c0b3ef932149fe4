/* JPEG through libjpeg. */
#include "picture.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

/* libjpeg asks that whoever reports an error does not return to it. */
typedef struct reader {
    struct jpeg_error_mgr manager;
    jmp_buf out;
    char message[JMSG_LENGTH_MAX];
} reader;

static _Noreturn void leave(j_common_ptr info)
{
    reader *r = (reader *)info->err;
    r->manager.format_message(info, r->message);
    longjmp(r->out, 1);
}

/* Warnings, of level -1, are about data that is missing or damaged, where gray is filled in; but
 * for what stands between the parts, which some cameras leave there. */
static void judge(j_common_ptr info, int level)
{
    if (level < 0 && info->err->msg_code != JWRN_EXTRANEOUS_DATA) {
        leave(info);
    }
}

/* False where the pixels have no room; else it leaves where the file is at fault. */
static bool decode(struct jpeg_decompress_struct *info, const char *path, const ox_bytes *bytes,
                   ox_picture *picture, ox_error *err)
{
    jpeg_create_decompress(info);
    jpeg_mem_src(info, (const unsigned char *)bytes->data, (unsigned long)bytes->size);
    jpeg_read_header(info, TRUE);
    info->out_color_space = JCS_RGB;
    if (!ox_picture_room(path, bytes->size, picture, info->image_width, info->image_height, err)) {
        return false;
    }
    jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        unsigned char *row = ox_picture_at(picture, 0, info->output_scanline);
        jpeg_read_scanlines(info, &row, 1);
    }
    jpeg_finish_decompress(info);
    return true;
}

/* Has no variables of its own, which a jump would leave undefined. */
static bool attempt(struct jpeg_decompress_struct *info, reader *r, const char *path,
                    const ox_bytes *bytes, ox_picture *picture, ox_error *err)
{
    return !setjmp(r->out) && decode(info, path, bytes, picture, err);
}

bool ox_jpeg_read(const char *path, const ox_bytes *bytes, ox_picture *picture, ox_error *err)
{
    struct jpeg_decompress_struct info;
    reader r;
    memset(&info, 0, sizeof info);
    memset(&r, 0, sizeof r);
    *picture = (ox_picture){.rgb = NULL};
    info.err = jpeg_std_error(&r.manager);
    r.manager.error_exit = leave;
    r.manager.emit_message = judge;
    bool good = attempt(&info, &r, path, bytes, picture, err);
    jpeg_destroy_decompress(&info);
    if (r.message[0]) {
        ox_code code = r.manager.msg_code == JERR_OUT_OF_MEMORY ? OX_MEMORY : OX_INVALID;
        ox_cli_error(err, code, "%s: a damaged or unusual JPEG: %s", path, r.message);
    }
    if (!good) {
        ox_picture_free(picture);
    }
    return good;
}
