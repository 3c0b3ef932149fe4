/* --groups: rules, label maps, and a file of groups of columns. */
#include "groups.h"

#include "npy.h"
#include "references.h"
#include "signature.h"

#include <stdlib.h>
#include <string.h>

static bool is_rule(const char *spec)
{
    return !strcmp(spec, "tokens") || !strncmp(spec, "patch:", strlen("patch:"));
}

/* [NAME=]FILE.npy; names may hold '=', the path from the last one on does not. */
static bool load_map(const char *spec, ox_arrays *maps, ox_error *err)
{
    const char *equals = strrchr(spec, '='), *path = equals ? equals + 1 : spec;
    ox_array map = {.name = NULL};
    if (!ox_npy_read_file(path, &map, err)) {
        return false;
    }
    if (equals) {
        free(map.name);
        map.name = ox_cli_format(err, "%.*s", (int)(equals - spec), spec);
        if (!map.name) {
            ox_array_free(&map);
            return false;
        }
    }
    return ox_arrays_add(maps, &map, err);
}

/* A group a line; empty lines are none. */
static bool load_lines(const char *path, ox_groups *g, size_t room, ox_error *err)
{
    size_t size, count = 0;
    if (g->text) {
        return ox_cli_error(err, OX_ARGUMENT, "%s: groups of columns are read from one file", path);
    }
    g->text = ox_cli_read_file(path, &size, err);
    char **lines = g->text ? ox_lines(g->text, &count, err) : NULL;
    const char **all = lines ? ox_cli_alloc(room + count, sizeof *all, err) : NULL;
    for (size_t i = 0; all && i < g->group_count; i++) {
        all[i] = g->groups[i];
    }
    for (size_t i = 0; all && i < count; i++) {
        if (lines[i][strspn(lines[i], " \t")]) {
            all[g->group_count++] = lines[i];
        }
    }
    free(lines);
    if (all) {
        free(g->groups);
        g->groups = all;
    }
    return all != NULL;
}

bool ox_groups_load(const ox_texts *specs, ox_groups *g, ox_error *err)
{
    *g = (ox_groups){.text = NULL};
    g->groups = ox_cli_alloc(specs->count + 1, sizeof *g->groups, err);
    bool good = g->groups != NULL;
    for (size_t i = 0; good && i < specs->count; i++) {
        const char *spec = specs->items[i];
        if (is_rule(spec)) {
            g->groups[g->group_count++] = spec;
        } else {
            good = ox_cli_has_suffix(spec, ".npy") ? load_map(spec, &g->maps, err)
                                                   : load_lines(spec, g, specs->count, err);
        }
    }
    g->tensors = good ? ox_references_tensors(&g->maps, err) : NULL;
    return g->tensors != NULL;
}

void ox_groups_free(ox_groups *g)
{
    ox_arrays_free(&g->maps);
    free(g->tensors);
    free(g->groups);
    free(g->text);
}
