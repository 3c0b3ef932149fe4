/* Which pictures are meant by a path. */
#define _XOPEN_SOURCE 700 /* S_ISDIR */
#include "images.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

bool ox_images_are(const char *path)
{
    return ox_picture_is_name(path) || is_folder(path);
}

/* Takes over `path`. */
static bool add(ox_paths *paths, char *path, ox_error *err)
{
    char **items = path ? ox_cli_resize(paths->items, paths->count + 1, sizeof *items, err) : NULL;
    if (!items) {
        free(path);
        return false;
    }
    items[paths->count++] = path;
    paths->items = items;
    return true;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool add_folder(ox_paths *paths, const char *folder, ox_error *err)
{
    size_t before = paths->count;
    DIR *dir = opendir(folder);
    if (!dir) {
        return ox_cli_system_error(err, folder, "read");
    }
    bool good = true;
    errno = 0;
    for (struct dirent *entry; good && (entry = readdir(dir));) {
        if (entry->d_name[0] != '.' && ox_picture_is_name(entry->d_name)) {
            good = add(paths, ox_cli_format(err, "%s/%s", folder, entry->d_name), err);
        }
    }
    if (good && errno) {
        good = ox_cli_system_error(err, folder, "read");
    }
    closedir(dir);
    if (good && paths->count == before) {
        return ox_cli_error(err, OX_ARGUMENT, "%s: a folder without pictures (.png, .jpg)", folder);
    }
    if (good) {
        qsort(paths->items + before, paths->count - before, sizeof *paths->items, compare);
    }
    return good;
}

bool ox_paths_add(ox_paths *paths, const char *path, ox_error *err)
{
    return is_folder(path) ? add_folder(paths, path, err) : add(paths, ox_cli_copy(path, err), err);
}

void ox_paths_free(ox_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        free(paths->items[i]);
    }
    free(paths->items);
    *paths = (ox_paths){NULL, 0};
}
