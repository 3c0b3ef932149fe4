/* Which pictures are meant by a path. */
#include "images.h"
#include "os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_folder(const char *path)
{
    ox_os_info info;
    return ox_os_stat(path, &info) && info.kind == OX_OS_FOLDER;
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
    ox_os_list *dir = ox_os_list_open(folder);
    if (!dir) {
        return ox_cli_system_error(err, folder, "read");
    }
    bool good = true;
    for (const char *name; good && (name = ox_os_list_next(dir));) {
        if (name[0] != '.' && ox_picture_is_name(name)) {
            good = add(paths, ox_cli_format(err, "%s/%s", folder, name), err);
        }
    }
    if (good && errno) {
        good = ox_cli_system_error(err, folder, "read");
    }
    ox_os_list_close(dir);
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
