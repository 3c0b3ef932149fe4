/* What `explain` says of a model that it has written. */
#include "wrote.h"

#include "os.h"
#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUTPUTS_NAMED = 8 };

/* 0 where there is none. Names that have no room are those of no file. */
static double size_of(const char *folder, int length, const char *name)
{
    char path[4096];
    ox_os_info info;
    int n = snprintf(path, sizeof path, "%.*s%s", length, folder, name);
    bool found = n > 0 && (size_t)n < sizeof path && ox_os_stat(path, &info);
    return found ? (double)info.size : 0;
}

static size_t folder_of(const char *path)
{
    const char *slash = ox_os_last_separator(path);
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The model and weights beside it, in NAME.HASH.data. */
static double size_of_all(ox_os_list *dir, const char *path)
{
    size_t folder = folder_of(path);
    const char *name = path + folder;
    double size = size_of(path, (int)folder, name);
    size_t length = strlen(name);
    ox_os_list_again(dir);
    for (const char *other; (other = ox_os_list_next(dir));) {
        if (!strncmp(other, name, length) && other[length] == '.' &&
            ox_cli_has_suffix(other, ".data")) {
            size += size_of(path, (int)folder, other);
        }
    }
    return size;
}

static const char *size_text(double size, char *text, size_t room)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    for (; size >= 1000 && unit < 4; unit++) {
        size /= 1000;
    }
    snprintf(text, room, "%.*f %s", unit && size < 99.5 ? 1 : 0, size, units[unit]);
    return text;
}

static const char *list_outputs(const ox_model *model, char *text, size_t room)
{
    size_t count, used = 0;
    const ox_value_info *outputs = ox_outputs(model, &count);
    text[0] = 0;
    /* ours are the last */
    for (size_t i = count > OUTPUTS_NAMED ? count - OUTPUTS_NAMED : 0; i < count && used < room;
         i++) {
        int n = snprintf(text + used, room - used, "%s%s", used ? ", " : "", outputs[i].name);
        used += n < 0 ? 0 : (size_t)n;
    }
    return text;
}

/* What a run is expected to take, where that is worth a word. */
static const char *memory_text(const ox_model *explained, char *text, size_t room)
{
    const double worth = 100e6;
    const char *given = ox_metadata(explained, "onnxexplainer.memory");
    double bytes[3] = {0, 0, 0}; /* while it is loaded, then, and for a sample besides */
    char *at = (char *)(uintptr_t)given, size[32];
    for (int i = 0; given && i < 3; i++) {
        bytes[i] = strtod(at, &at);
    }
    double run = bytes[1] + bytes[2], most = run > bytes[0] ? run : bytes[0];
    text[0] = 0;
    if (most >= worth) {
        snprintf(text, room, " (at most %s in a run)", size_text(most, size, sizeof size));
    }
    return text;
}

static void tell(ox_os_list *dir, const ox_model *explained, const char *path)
{
    char size[32], outputs[600], references[64], memory[64];
    const char *given = ox_metadata(explained, "onnxexplainer.references");
    const char *cache = ox_metadata(explained, "onnxexplainer.cache");
    long long count = given ? strtoll(given, NULL, 10) : 0;
    if (count) {
        snprintf(references, sizeof references, "%lld reference%s", count, count > 1 ? "s" : "");
    } else {
        snprintf(references, sizeof references, "references given when it runs");
    }
    ox_cli_say("note: wrote %s: %s, %s, cache %s%s, outputs %s", path,
               size_text(size_of_all(dir, path), size, sizeof size), references,
               cache ? cache : "none", memory_text(explained, memory, sizeof memory),
               list_outputs(explained, outputs, sizeof outputs));
}

bool ox_wrote_begin(ox_wrote *wrote, const char *path, ox_error *err)
{
    char text[4096];
    int folder = (int)folder_of(path);
    wrote->folder = NULL;
    errno = 0;
    if (!ox_sheet_is_direct(path)) {
        snprintf(text, sizeof text, "%.*s", folder ? folder : 1, folder ? path : ".");
        wrote->folder = ox_os_list_open(text);
    }
    return wrote->folder || errno != ENOMEM || ox_cli_error(err, OX_MEMORY, "no memory");
}

void ox_wrote_end(ox_wrote *wrote, bool good, const ox_model *explained, const char *path)
{
    if (wrote->folder && good) {
        tell(wrote->folder, explained, path);
    }
    ox_os_list_close(wrote->folder);
}
