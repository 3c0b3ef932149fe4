/* What `explain` says of a model that it has written. */
#include "wrote.h"

#include "output.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { OUTPUTS_NAMED = 8 };

/* 0 where there is none. Names that have no room are those of no file. */
static double size_of(const char *folder, int length, const char *name)
{
    char path[4096];
    struct stat info;
    int n = snprintf(path, sizeof path, "%.*s%s", length, folder, name);
    bool found = n > 0 && (size_t)n < sizeof path && !stat(path, &info);
    return found ? (double)info.st_size : 0;
}

/* The model and weights beside it, in NAME.HASH.data. */
static double size_of_all(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int folder = (int)(name - path);
    char text[4096];
    snprintf(text, sizeof text, "%.*s", folder ? folder : 1, folder ? path : ".");
    DIR *dir = opendir(text);
    double size = size_of(path, folder, name);
    size_t length = strlen(name);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *other = entry->d_name;
        if (!strncmp(other, name, length) && other[length] == '.' &&
            ox_cli_has_suffix(other, ".data")) {
            size += size_of(path, folder, other);
        }
    }
    if (dir) {
        closedir(dir);
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

void ox_wrote(const ox_model *explained, const char *path)
{
    char size[32], outputs[600], references[64];
    if (ox_sheet_is_direct(path)) {
        return;
    }
    const char *given = ox_metadata(explained, "onnxexplainer.references");
    const char *cache = ox_metadata(explained, "onnxexplainer.cache");
    long long count = given ? strtoll(given, NULL, 10) : 0;
    if (count) {
        snprintf(references, sizeof references, "%lld reference%s", count, count > 1 ? "s" : "");
    } else {
        snprintf(references, sizeof references, "references given when it runs");
    }
    ox_cli_say("note: wrote %s: %s, %s, cache %s, outputs %s", path,
               size_text(size_of_all(path), size, sizeof size), references, cache ? cache : "none",
               list_outputs(explained, outputs, sizeof outputs));
}
