/* --target with an array. */
#include "target.h"

#include "npy.h"

#include <string.h>

bool ox_aim_load(ox_aim *aim, ox_options *options, ox_error *err)
{
    static const char *const words[] = {"mask", "cosine"};
    const char *target = options->target, *path = target;
    *aim = (ox_aim){.array = {.name = NULL}};
    if (!target || !ox_cli_has_suffix(target, ".npy")) {
        return true;
    }
    const char *word = words[0];
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(words[i]);
        if (!strncmp(target, words[i], length) && target[length] == ':') {
            word = words[i];
            path = target + length + 1;
        }
    }
    if (!ox_npy_read_file(path, &aim->array, err)) {
        return false;
    }
    aim->tensor = ox_array_tensor(&aim->array);
    options->target = word;
    options->target_array = &aim->tensor;
    return true;
}

void ox_aim_free(ox_aim *aim)
{
    ox_array_free(&aim->array);
}
