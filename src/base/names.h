/* Lists of names for messages. */
#ifndef OX_NAMES_H
#define OX_NAMES_H

#include "base/arena.h"

/* Name `index` of something. */
typedef const char *(*ox_name_at)(const void *of, size_t index);

/* ""a", "b" and 7 more", or "none": the names that there are. */
const char *ox_names_list(ox_arena *a, ox_name_at name, const void *of, size_t count);

/* The same for the infos of a model's inputs or outputs. */
const char *ox_names_of(ox_arena *a, const ox_value_info *infos, size_t count);

#endif
