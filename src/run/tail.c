/* The last bytes of a file, and keys in them. */
#include "run/tail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAIL = 1 << 20 };

bool ox_tail_read(ox_tail *tail, const char *path)
{
    *tail = (ox_tail){malloc(TAIL + 1), 0};
    errno = 0;
    FILE *file = tail->data == NULL ? NULL : fopen(path, "rb");
    bool good = file != NULL && fseeko(file, 0, SEEK_END) == 0;
    if (good) {
        off_t size = ftello(file), from = size > TAIL ? size - TAIL : 0;
        good = fseeko(file, from, SEEK_SET) == 0;
        tail->size = good ? fread(tail->data, 1, TAIL, file) : 0;
        tail->data[tail->size] = '\0';
    }
    int number = tail->data == NULL ? ENOMEM : errno;
    if (file != NULL) {
        fclose(file);
    }
    if (!good) {
        ox_tail_free(tail);
    }
    errno = number;
    return good;
}

void ox_tail_free(ox_tail *tail)
{
    free(tail->data);
    *tail = (ox_tail){NULL, 0};
}

const char *ox_tail_find(const ox_tail *tail, const char *key, size_t *left)
{
    const size_t length = strlen(key);
    const char *at = tail->data, *end = tail->data + tail->size;
    while (at != NULL && (size_t)(end - at) >= length) {
        at = memchr(at, key[0], (size_t)(end - at) - length + 1);
        if (at != NULL && memcmp(at, key, length) == 0) {
            *left = (size_t)(end - at) - length;
            return at + length;
        }
        at += at != NULL;
    }
    return NULL;
}
