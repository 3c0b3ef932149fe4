/* Checks on what goes into and comes out of explained models, by their metadata, wherever that is
 * read. */
#ifndef OX_EXPLAIN_CHECK_H
#define OX_EXPLAIN_CHECK_H

#include "base/arena.h"

/* The value of a metadata property, NULL where there is none; what it takes belongs to `a`. */
typedef const char *(*ox_lookup)(ox_arena *a, void *user, const char *key);

/* ox_check for a model whose metadata `property` reads. */
bool ox_check_outputs(ox_lookup property, void *user, const ox_tensor *outputs, size_t output_count,
                      ox_findings *findings, ox_note note, void *note_user, ox_error *err);

#endif
