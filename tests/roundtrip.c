/* Reads models and writes them back: roundtrip IN OUT. With one argument the model is only read.
 * With -s the model is sent through ox_serialize, with -2 it is written with weights in a second
 * file; with -p it is read through ox_parse. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnxexplainer.h"

static bool to_file(void *user, const void *data, size_t size)
{
    return fwrite(data, 1, size, user) == size;
}

static bool serialize(const ox_model *m, const char *path, ox_error *err)
{
    FILE *f = fopen(path, "wb");
    bool good = f != NULL && ox_serialize(m, to_file, f, err);
    return f != NULL && fclose(f) == 0 && good;
}

/* From a buffer of exactly the file's size, so that a sanitizer sees reads beyond its end. */
static ox_model *parse(const char *path, ox_error *err)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
        return NULL;
    }
    size_t size = (size_t)ftell(f);
    void *data = malloc(size == 0 ? 1 : size);
    rewind(f);
    ox_model *m = NULL;
    if (data != NULL && fread(data, 1, size, f) == size) {
        m = ox_parse(data, size, NULL, err);
    }
    free(data);
    fclose(f);
    return m;
}

/* Every prefix of the file in steps of about `step` bytes: none may crash. Prints how many of them
 * are models. */
static int truncate_everywhere(const char *path, size_t step)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
        return 2;
    }
    size_t size = (size_t)ftell(f), good = 0, all = 0;
    rewind(f);
    unsigned char *data = malloc(size + 1);
    if (data == NULL || fread(data, 1, size, f) != size) {
        return 2;
    }
    fclose(f);
    for (size_t n = 0; n < size; n += step, all++) {
        unsigned char *part = malloc(n == 0 ? 1 : n);
        if (part == NULL) {
            return 2;
        }
        memcpy(part, data, n);
        ox_error err = {.code = OX_OK};
        ox_model *m = ox_parse(part, n, NULL, &err);
        free(part);
        good += m != NULL;
        if (m == NULL && (err.code == OX_OK || strchr(err.message, '\n') != NULL)) {
            return 3;
        }
        ox_free(m);
    }
    free(data);
    printf("%zu of %zu\n", good, all);
    return 0;
}

int main(int argc, char **argv)
{
    bool through_sink = argc > 1 && strcmp(argv[1], "-s") == 0;
    bool split = argc > 1 && strcmp(argv[1], "-2") == 0;
    bool from_memory = argc > 1 && strcmp(argv[1], "-p") == 0;
    if (argc == 4 && strcmp(argv[1], "-t") == 0) {
        return truncate_everywhere(argv[2], (size_t)strtoul(argv[3], NULL, 10));
    }
    int at = through_sink || split || from_memory ? 2 : 1;
    if (argc <= at || argc > at + 2) {
        fprintf(stderr, "usage: roundtrip [-s|-2|-p] IN [OUT] | roundtrip -t IN STEP\n");
        return 2;
    }
    ox_error err = {.code = OX_OK};
    ox_model *m = from_memory ? parse(argv[at], &err) : ox_read(argv[at], &err);
    bool good = m != NULL;
    if (good && argc == at + 2) {
        const char *out = argv[at + 1];
        good = through_sink ? serialize(m, out, &err)
               : split      ? ox_write_split(m, out, &err)
                            : ox_write(m, out, &err);
    }
    ox_free(m);
    if (!good) {
        fprintf(stderr, "%s\n", err.message);
    }
    return good ? 0 : 1;
}
