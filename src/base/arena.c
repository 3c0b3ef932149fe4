/* Arena allocation, the jump out of deep calls, and checked sizes. The only place in the library,
 * beside run.c, session.c and tensor.c, that calls malloc. */
#include "base/arena.h"

#include <assert.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 64 * 1024 };

typedef struct block {
    struct block *next;
    size_t used, size;
    alignas(max_align_t) unsigned char data[];
} block;

typedef struct catcher {
    struct catcher *outer;
    jmp_buf jump;
    ox_error error;
} catcher;

struct ox_arena {
    block *blocks;
    catcher *catcher;
    ox_budget budget;
};

ox_arena *ox_arena_new(void)
{
    return calloc(1, sizeof(ox_arena));
}

void ox_arena_free(ox_arena *a)
{
    if (a == NULL) {
        return;
    }
    for (block *b = a->blocks; b != NULL;) {
        block *next = b->next;
        free(b);
        b = next;
    }
    free(a);
}

ox_budget *ox_arena_budget(ox_arena *a)
{
    return &a->budget;
}

bool ox_arena_try(ox_arena *a, void (*body)(void *user), void *user, ox_error *err)
{
    catcher here = {.outer = a->catcher};
    a->catcher = &here;
    if (setjmp(here.jump) == 0) {
        body(user);
        a->catcher = here.outer;
        return true;
    }
    a->catcher = here.outer;
    if (err != NULL) {
        *err = here.error;
    }
    return false;
}

static void set_error(ox_error *err, ox_code code, const char *format, va_list args)
{
    err->code = code;
    vsnprintf(err->message, sizeof err->message, format, args);
    for (char *c = err->message; *c != '\0'; c++) { /* names come from files */
        if ((unsigned char)*c < ' ' || *c == 127) {
            *c = ' ';
        }
    }
}

void ox_fail(ox_arena *a, ox_code code, const char *format, ...)
{
    assert(a->catcher != NULL);
    va_list args;
    va_start(args, format);
    set_error(&a->catcher->error, code, format, args);
    va_end(args);
    longjmp(a->catcher->jump, 1);
}

bool ox_error_set(ox_error *err, ox_code code, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        set_error(err, code, format, args);
        va_end(args);
    }
    return false;
}

void *ox_arena_try_alloc(ox_arena *a, size_t size)
{
    size_t align = alignof(max_align_t);
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    size = (size + align - 1) / align * align;
    if (!ox_budget_take(&a->budget, size)) {
        return NULL;
    }
    block *b = a->blocks;
    if (b == NULL || b->size - b->used < size) {
        bool large = size > BLOCK_SIZE / 4;
        size_t room = large ? size : BLOCK_SIZE;
        block *fresh = malloc(sizeof *fresh + room);
        if (fresh == NULL) {
            return NULL;
        }
        *fresh = (block){.size = room};
        if (large && b != NULL) { /* keep filling the block at hand */
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            a->blocks = fresh;
        }
        b = fresh;
    }
    void *p = b->data + b->used;
    b->used += size;
    return p;
}

void ox_arena_exhausted(ox_arena *a)
{
    if (a->budget.exceeded) {
        ox_budget_fail(a, OX_COST_BYTES);
    }
    ox_fail(a, OX_MEMORY, "out of memory");
}

void *ox_arena_alloc(ox_arena *a, size_t count, size_t size)
{
    size_t bytes = 0;
    void *p = ox_size_mul(count, size, &bytes) ? ox_arena_try_alloc(a, bytes) : NULL;
    if (p == NULL) {
        ox_arena_exhausted(a);
    }
    return memset(p, 0, bytes);
}

void *ox_arena_copy(ox_arena *a, const void *data, size_t count, size_t size)
{
    void *p = ox_arena_alloc(a, count, size);
    if (count > 0 && size > 0) {
        memcpy(p, data, count * size);
    }
    return p;
}

char *ox_arena_string(ox_arena *a, const char *text)
{
    return ox_arena_copy(a, text, strlen(text) + 1, 1);
}

char *ox_arena_format(ox_arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : ox_arena_try_alloc(a, (size_t)length + 1);
    if (text != NULL) {
        vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    va_end(args);
    if (text == NULL) {
        ox_fail(a, OX_MEMORY, "out of memory");
    }
    return text;
}

void *ox_arena_grow(ox_arena *a, void *items, size_t count, size_t size)
{
    if (count != 0 && (count & (count - 1)) != 0) {
        return items;
    }
    size_t room = count == 0 ? 1 : 2 * count;
    void *larger = ox_arena_alloc(a, room, size);
    if (count > 0) {
        memcpy(larger, items, count * size);
    }
    return larger;
}

bool ox_size_mul(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b) {
        return false;
    }
    *out = a * b;
    return true;
}

bool ox_size_add(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b) {
        return false;
    }
    *out = a + b;
    return true;
}

bool ox_int_mul(int64_t a, int64_t b, int64_t *out)
{
    if (a != 0 && b != 0) {
        bool fits = a > 0 ? (b > 0 ? a <= INT64_MAX / b : b >= INT64_MIN / a)
                          : (b > 0 ? a >= INT64_MIN / b : b >= INT64_MAX / a);
        if (!fits) {
            return false;
        }
    }
    *out = a * b;
    return true;
}

bool ox_int_add(int64_t a, int64_t b, int64_t *out)
{
    if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b) {
        return false;
    }
    *out = a + b;
    return true;
}
