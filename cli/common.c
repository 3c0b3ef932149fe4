/* Messages, memory and whole files: what every command needs. */
#include "cli.h"
#include "foreign.h"
#include "os.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ox_cli_error(ox_error *err, ox_code code, const char *format, ...)
{
    if (!err) {
        return false;
    }
    va_list args;
    va_start(args, format);
    err->code = code;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return false;
}

bool ox_cli_system_error(ox_error *err, const char *path, const char *verb)
{
    char reason[128];
    ox_os_reason(errno ? errno : EIO, reason, sizeof reason);
    if (reason[0] >= 'A' && reason[0] <= 'Z') {
        reason[0] = (char)(reason[0] - 'A' + 'a');
    }
    return ox_cli_error(err, OX_IO, "%s: cannot %s: %s", *path ? path : "\"\"", verb, reason);
}

/* Names come from files that may hold anything: control characters would reach the terminal. */
static void print_line(const char *message, const char *tail)
{
    fputs("onnxexplainer: ", stderr);
    for (const char *c = message; *c; c++) {
        bool control = (unsigned char)*c < ' ' || *c == 127;
        putc(control ? '?' : *c, stderr);
    }
    fprintf(stderr, "%s\n", tail);
}

void ox_cli_say(const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    print_line(message, "");
}

int ox_cli_fail(const ox_error *err)
{
    print_line(err->message, "");
    return OX_EXIT_FAILURE;
}

int ox_cli_usage(const char *command, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    char tail[64];
    snprintf(tail, sizeof tail, " (see onnxexplainer %s%s--help)", command ? command : "",
             command ? " " : "");
    print_line(message, tail);
    return OX_EXIT_USAGE;
}

void ox_cli_note(void *user, const char *message)
{
    (void)user;
    ox_cli_say("note: %s", message);
}

void ox_cli_warn(void *user, const char *message)
{
    (void)user;
    ox_cli_say("warning: %s", message);
}

const char *ox_cli_state(ox_state state)
{
    switch (state) {
    case OX_DIFFERENTIATED: return "differentiated";
    case OX_DECOMPOSED: return "decomposed";
    case OX_CARRIES_NOTHING: return "carries nothing";
    case OX_NO_RULE: return "refused";
    case OX_NOT_REACHED: return "not reached";
    }
    return "?";
}

void *ox_cli_alloc(size_t count, size_t size, ox_error *err)
{
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory) {
        ox_cli_error(err, OX_MEMORY, "no memory for %zu times %zu bytes", count, size);
    }
    return memory;
}

void *ox_cli_resize(void *old, size_t count, size_t size, ox_error *err)
{
    void *memory = NULL;
    if (count && count <= SIZE_MAX / size) {
        memory = realloc(old, count * size);
    }
    if (!memory) {
        ox_cli_error(err, OX_MEMORY, "no memory for %zu times %zu bytes", count, size);
    }
    return memory;
}

char *ox_cli_copy(const char *text, ox_error *err)
{
    size_t size = strlen(text) + 1;
    char *copy = ox_cli_alloc(size, 1, err);
    if (copy) {
        memcpy(copy, text, size);
    }
    return copy;
}

char *ox_cli_format(ox_error *err, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : ox_cli_alloc((size_t)length + 1, 1, err);
    if (length < 0) {
        ox_cli_error(err, OX_MEMORY, "no memory for a text");
    } else if (text) {
        vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    return text;
}

bool ox_cli_has_suffix(const char *text, const char *suffix)
{
    size_t length = strlen(text), end = strlen(suffix);
    return length >= end && !strcmp(text + length - end, suffix);
}

bool ox_cli_is_joined(const char *text, const char *first, const char *second, const char *third)
{
    size_t a = strlen(first), b = strlen(second);
    return !strncmp(text, first, a) && !strncmp(text + a, second, b) &&
           !strcmp(text + a + b, third);
}

static char *read_stream(FILE *file, const char *path, size_t *size, ox_error *err)
{
    size_t capacity = 1 << 16, used = 0;
    char *text = ox_cli_alloc(capacity, 1, err);
    while (text) {
        used += fread(text + used, 1, capacity - used - 1, file);
        if (used < capacity - 1) {
            break;
        }
        capacity *= 2;
        char *larger = ox_cli_resize(text, capacity, 1, err);
        if (!larger) {
            free(text);
        }
        text = larger;
    }
    if (text && ferror(file)) {
        ox_cli_system_error(err, path, "read");
        free(text);
        return NULL;
    }
    if (text) {
        text[used] = 0;
    }
    *size = used;
    return text;
}

char *ox_cli_read_file(const char *path, size_t *size, ox_error *err)
{
    if (!strcmp(path, "-")) {
        return read_stream(stdin, "standard input", size, err);
    }
    FILE *file = fopen(path, "rb");
    if (!file) {
        ox_cli_system_error(err, path, "read");
        return NULL;
    }
    char *text = read_stream(file, path, size, err);
    fclose(file);
    return text;
}

bool ox_cli_is_stream(const char *path)
{
    static const char *const streams[] = {"-", "/dev/stdin", "/dev/fd/", "/proc/self/fd/"};
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        bool folder = ox_cli_has_suffix(streams[i], "/");
        if (folder ? !strncmp(path, streams[i], strlen(streams[i])) : !strcmp(path, streams[i])) {
            return true;
        }
    }
    ox_os_info info;
    return ox_os_stat(path, &info) && info.kind == OX_OS_OTHER;
}

ox_model *ox_cli_read_model(const char *path, uint64_t limit, ox_error *err)
{
    if (!*path) {
        errno = ENOENT;
        ox_cli_system_error(err, path, "read");
        return NULL;
    }
    if (strcmp(path, "-") != 0) {
        ox_model *model = ox_read_limited(path, limit, err);
        if (!model) {
            ox_foreign_explain(path, err);
        }
        return model;
    }
    size_t size;
    char *bytes = ox_cli_read_file(path, &size, err);
    if (!bytes) {
        return NULL;
    }
    ox_model *model = ox_parse_limited(bytes, size, NULL, limit, err);
    free(bytes);
    return model;
}

bool ox_cli_find_runtime(ox_options *options, ox_error *err)
{
    char version[64];
    bool runtime = ox_runtime_version(NULL, version, sizeof version, err);
    if (!runtime && err->code == OX_MEMORY) {
        return false;
    }
    bool asked = options->cache == OX_CACHE_FILE || options->cache_dtype == OX_FLOAT16;
    options->evaluate = runtime || asked ? ox_evaluate_runtime : NULL;
    return true;
}
