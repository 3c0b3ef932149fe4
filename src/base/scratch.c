/* Temporary folders: locked while they are used, so that the next run finds those of killed ones.
 */
#include "base/scratch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/output.h"

static const char PREFIX[] = "onnxexplainer-", RANDOM[] = "XXXXXX";

/* Removes the files in it; there are no folders. */
static void empty_folder(const ox_os_folder *folder)
{
    ox_os_list *list = ox_os_list_of(folder);
    for (const char *name; list != NULL && (name = ox_os_list_next(list)) != NULL;) {
        ox_os_folder_remove(folder, name);
    }
    ox_os_list_close(list);
}

static bool is_scratch(const char *name)
{
    size_t length = strlen(PREFIX);
    return strncmp(name, PREFIX, length) == 0 && strlen(name + length) == strlen(RANDOM);
}

static void remove_left(const ox_os_folder *parent, const char *name)
{
    ox_os_info info;
    ox_os_folder *left = ox_os_folder_open_in(parent, name);
    if (left == NULL) {
        return;
    }
    if (ox_os_folder_stat(left, &info) && ox_os_is_mine(&info) && ox_os_folder_lock_unused(left)) {
        empty_folder(left);
        ox_os_folder_remove_folder(parent, name);
    }
    ox_os_folder_close(left);
}

static void sweep(const char *path)
{
    ox_os_folder *parent = ox_os_folder_open(path);
    ox_os_list *list = parent == NULL ? NULL : ox_os_list_of(parent);
    for (const char *name; list != NULL && (name = ox_os_list_next(list)) != NULL;) {
        if (is_scratch(name)) {
            remove_left(parent, name);
        }
    }
    ox_os_list_close(list);
    ox_os_folder_close(parent);
}

/* Also false, with errno 0, where it was removed before it was locked. */
static bool make(ox_scratch *s)
{
    ox_os_info info;
    s->folder = ox_os_folder_make_unique(s->path);
    if (s->folder == NULL) {
        return false;
    }
    if (!ox_os_folder_lock_used(s->folder) || !ox_os_folder_stat(s->folder, &info)) {
        int number = errno;
        ox_os_remove_folder(s->path);
        errno = number;
        return false;
    }
    errno = 0;
    return info.links > 0;
}

bool ox_scratch_open(ox_scratch *s, ox_error *err)
{
    const char *parent = ox_os_temporary();
    size_t room = strlen(parent) + 1 + sizeof PREFIX + sizeof RANDOM;
    *s = (ox_scratch){malloc(room), NULL};
    if (s->path == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    sweep(parent);
    for (int i = 0; i < 16; i++) {
        snprintf(s->path, room, "%s/%s%s", parent, PREFIX, RANDOM);
        if (make(s)) {
            return true;
        }
        if (errno != 0) {
            break;
        }
        ox_os_folder_close(s->folder);
        s->folder = NULL;
    }
    ox_file_error(err, parent, "write", errno != 0 ? errno : EEXIST);
    ox_os_folder_close(s->folder);
    free(s->path);
    return false;
}

void ox_scratch_close(ox_scratch *s)
{
    empty_folder(s->folder);
    ox_os_remove_folder(s->path);
    ox_os_folder_close(s->folder);
    free(s->path);
}
