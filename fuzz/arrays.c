/* Reads arrays, tables and pictures for the inputs of a small model, as the command line does: the
 * first byte says as what. */
#include "csv.h"
#include "images.h"
#include "npy.h"
#include "npz.h"

#include <stdlib.h>
#include <string.h>

#include "wire.h"

/* The command line makes one line of what texts hold when it is printed. */
static void check_error(const ox_error *err)
{
    if (err->code == OX_OK || err->message[0] == '\0') {
        abort();
    }
}

static void release(ox_array *array)
{
    ox_error err = {.code = OX_OK};
    static const ox_type types[] = {OX_FLOAT, OX_INT64, OX_UINT8, OX_FLOAT16, OX_STRING, OX_BOOL};
    size_t elements = ox_array_elements(array, 0);
    if (elements > 0 && array->type != OX_STRING) {
        (void)ox_array_at(array, elements - 1);
        if (!ox_array_convert(array, types[elements % 6], elements % 2 == 0, &err)) {
            check_error(&err);
        }
    }
    ox_array_free(array);
}

static bool read_npy(const ox_bytes *bytes, ox_error *err)
{
    ox_array array = {.type = OX_NONE};
    if (!ox_npy_read_bytes("a.npy", bytes, &array, err)) {
        return false;
    }
    release(&array);
    return true;
}

static bool read_npz(const ox_bytes *bytes, ox_error *err)
{
    ox_arrays arrays = {.items = NULL};
    if (!ox_npz_read("a.npz", bytes, &arrays, err)) {
        return false;
    }
    ox_arrays_free(&arrays);
    return true;
}

static bool read_csv(const ox_bytes *bytes, ox_error *err)
{
    ox_csv csv = {.text = NULL};
    ox_bytes own = {malloc(bytes->size + 1), bytes->size};
    if (own.data == NULL) {
        return true;
    }
    memcpy(own.data, bytes->data, bytes->size);
    own.data[own.size] = '\0';
    if (!ox_csv_read("a.csv", &own, 0, &csv, err)) {
        return false;
    }
    ox_csv_column(&csv, "x");
    ox_csv_column_at(&csv, "x", 3);
    bool good = true;
    for (size_t row = 0; good && row < csv.rows; row++) {
        for (size_t column = 0; good && column < csv.columns; column++) {
            double number = 0;
            good = ox_csv_text(&csv, row, column) != NULL &&
                   ox_csv_number(&csv, "a.csv", row, column, row % 2 == 0, &number, err);
        }
    }
    ox_csv_free(&csv);
    return good;
}

static bool read_picture(const ox_bytes *bytes, ox_error *err)
{
    static const int64_t dims[] = {-1, 3, 8, 8};
    static const char *const symbols[] = {"N", "", "", ""};
    const ox_value_info input = {"x", OX_FLOAT, 4, dims, symbols};
    ox_pixels pixels = {.text = NULL};
    ox_array array = {.type = OX_NONE};
    const char *const path = "a.png";
    if (!ox_pixels_parse("imagenet", &pixels)) {
        abort();
    }
    const ox_images images = {.input = &input, .pixels = &pixels};
    if (!ox_images_read(&images, &path, 1, bytes, &array, err)) {
        return false;
    }
    ox_array_free(&array);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool (*const readers[])(const ox_bytes *, ox_error *) = {read_npy, read_npz, read_csv,
                                                                    read_picture};
    if (size == 0) {
        return 0;
    }
    /* A block of its own exact size, with the NUL that files are read with. */
    ox_bytes bytes = {malloc(size), size - 1};
    if (bytes.data != NULL) {
        ox_error err = {.code = OX_OK};
        memcpy(bytes.data, data + 1, size - 1);
        bytes.data[size - 1] = '\0';
        if (!readers[data[0] % 4](&bytes, &err)) {
            check_error(&err);
        }
    }
    free(bytes.data);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    (void)seed;
    return LLVMFuzzerMutate(data, size, room);
}
