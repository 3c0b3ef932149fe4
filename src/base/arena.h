/* Memory that lives and goes together, checked sizes, and the way out of deep calls.
 *
 * Everything that belongs to one model comes from one arena. Code that builds inside an arena is
 * straight-line: whoever notices a failure calls ox_fail, which jumps to the ox_arena_try that is
 * running, and nothing has to be undone because all there is lies in the arena. Code that holds
 * anything else (a file, a mapping) never calls what may fail this way while holding it. */
#ifndef OX_ARENA_H
#define OX_ARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/budget.h"
#include "onnxexplainer.h"

typedef struct ox_arena ox_arena;

/* No value that is added has more than OX_RANK_LIMIT axes, so that arrays of OX_MAX_RANK have room
 * for lead axes and for axes split in two. */
enum { OX_RANK_LIMIT = 28, OX_MAX_RANK = 32 };

/* An empty arena, NULL without memory. */
ox_arena *ox_arena_new(void);

/* Frees everything that was allocated in `a`. NULL is allowed. */
void ox_arena_free(ox_arena *a);

/* Runs body(user). Returns false and fills err when it gave up through ox_fail or for want of
 * memory. Calls may nest; the innermost one running catches. */
bool ox_arena_try(ox_arena *a, void (*body)(void *user), void *user, ox_error *err);

/* Gives up: jumps to the running ox_arena_try with this message. */
_Noreturn void ox_fail(ox_arena *a, ox_code code, const char *format, ...)
    __attribute__((format(__printf__, 3, 4)));

/* Zeroed memory for `count` elements of `size` bytes, aligned for any type. Never NULL: without
 * memory, or where the product overflows, it gives up as ox_fail does. */
void *ox_arena_alloc(ox_arena *a, size_t count, size_t size);

/* What has been made in the arena. Nothing is limited before ox_budget_limit. */
ox_budget *ox_arena_budget(ox_arena *a);

/* The same for protobuf-c and others that check for NULL themselves; not zeroed. */
void *ox_arena_try_alloc(ox_arena *a, size_t size);

/* Gives up after such a NULL: there is no memory, or the model may not take more. */
_Noreturn void ox_arena_exhausted(ox_arena *a);

/* Copies. The results end with a zero byte. */
char *ox_arena_string(ox_arena *a, const char *text);
char *ox_arena_format(ox_arena *a, const char *format, ...)
    __attribute__((format(__printf__, 2, 3)));
void *ox_arena_copy(ox_arena *a, const void *data, size_t count, size_t size);

/* Makes room for one more element at the end of a growing array of `*count` elements: doubles
 * `items` when `count` is a power of two. Returns the array to use from now on. */
void *ox_arena_grow(ox_arena *a, void *items, size_t count, size_t size);

/* Fills err (NULL allowed) with a formatted one-line message; returns false, to be returned. */
bool ox_error_set(ox_error *err, ox_code code, const char *format, ...)
    __attribute__((format(__printf__, 3, 4)));

/* a * b and a + b into *out; false where they do not fit. */
bool ox_size_mul(size_t a, size_t b, size_t *out);
bool ox_size_add(size_t a, size_t b, size_t *out);
bool ox_int_mul(int64_t a, int64_t b, int64_t *out);
bool ox_int_add(int64_t a, int64_t b, int64_t *out);

#endif
