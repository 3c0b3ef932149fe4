/* Contents that are kept in a file in place of memory: a temporary file without a name, mapped for
 * as long as the model lives. What is written there, or read to be written elsewhere, is dropped
 * from memory again; the system has it in the file. */
#include "model/proto.h"

#include <errno.h>

#include "base/output.h"
#include "os.h"

/* Smaller contents stay in memory: a mapping is worth some pages. */
enum { SPILLED_BYTES = 1 << 20 };

void *ox_model_spill(ox_model *m, size_t size)
{
    if (size < SPILLED_BYTES) {
        return ox_arena_alloc(m->arena, size, 1);
    }
    const char *folder = ox_os_temporary();
    m->mappings = ox_arena_grow(m->arena, m->mappings, m->mapping_count, sizeof *m->mappings);
    void *data = ox_os_map_nameless(folder, size);
    if (data == NULL) {
        ox_error err;
        ox_file_error(&err, folder, "write", errno);
        ox_fail(m->arena, err.code, "%s", err.message);
    }
    m->mappings[m->mapping_count++] = (ox_mapping){.path = "", .data = data, .size = size};
    return data;
}

void ox_model_drop(const ox_model *m, const void *data, size_t size)
{
    for (size_t i = 0; i < m->mapping_count; i++) {
        ox_os_drop(m->mappings[i].data, m->mappings[i].size, data, size);
    }
    for (size_t i = 0; i < m->source_count; i++) {
        ox_model_drop(m->sources[i], data, size);
    }
}
