/* The last bytes of a file, and keys in them. */
#include "run/tail.h"

#include <errno.h>
#include <stdint.h>
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

bool ox_tail_text(const ox_tail *tail, const char *key, char *to, size_t room)
{
    enum { TAG = 0x12, MORE = 0x80, BITS = 7 }; /* of a value of one or two bytes of length */
    size_t left = 0;
    const unsigned char *at = (const unsigned char *)ox_tail_find(tail, key, &left);
    if (at == NULL || left < 3 || at[0] != TAG) {
        return false;
    }
    bool two = at[1] >= MORE;
    size_t length = two ? (size_t)(at[1] - MORE) + ((size_t)at[2] << BITS) : at[1];
    size_t before = two ? 3 : 2;
    if ((two && at[2] >= MORE) || length > left - before || length >= room) {
        return false;
    }
    memcpy(to, at + before, length);
    to[length] = '\0';
    return true;
}

ox_tail ox_tail_of(const void *data, size_t size)
{
    size_t before = size > TAIL ? size - TAIL : 0;
    return (ox_tail){(char *)(uintptr_t)data + before, size - before};
}
