/* Lists of names for messages, which have room for a few. */
#include "base/names.h"

enum { NAMED_MAX = 10 };

const char *ox_names_list(ox_arena *a, ox_name_at name, const void *of, size_t count)
{
    const char *text = count == 0 ? "none" : "";
    for (size_t i = 0; i < count && i < NAMED_MAX; i++) {
        text = ox_arena_format(a, "%s%s\"%.60s\"", text, i > 0 ? ", " : "", name(of, i));
    }
    return count > NAMED_MAX ? ox_arena_format(a, "%s and %zu more", text, count - NAMED_MAX)
                             : text;
}

static const char *info_name(const void *of, size_t index)
{
    return ((const ox_value_info *)of)[index].name;
}

const char *ox_names_of(ox_arena *a, const ox_value_info *infos, size_t count)
{
    return ox_names_list(a, info_name, infos, count);
}
