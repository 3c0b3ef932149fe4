/* What programs pass in, looked at once, where it enters: structs of options, tensors, names. */
#ifndef OX_CHECK_H
#define OX_CHECK_H

#include "onnxexplainer.h"

/* Copies `given` into `own`, in which every field can be relied on: numbers within their range, no
 * list without its names. NULL gives the defaults; so do fields beyond given->size. */
bool ox_check_options(const ox_options *given, ox_options *own, ox_error *err);
bool ox_check_session_options(const ox_session_options *given, ox_session_options *own,
                              ox_error *err);

/* Whether each tensor is one: a type, a shape that fits in memory, and data for it; `what` it is
 * said to be in messages. Names differ, and only those of a single tensor may be missing where
 * `nameless`. */
bool ox_check_tensors(const char *what, const ox_tensor *tensors, size_t count, bool nameless,
                      ox_error *err);

/* Whether the names are there, not empty and UTF-8. */
bool ox_check_names(const char *what, const char *const *names, size_t count, ox_error *err);

/* Whether `argument` is there; `what` it is. */
bool ox_check_given(const char *what, const void *argument, ox_error *err);

/* Whether a path is there and not empty. */
bool ox_check_path(const char *what, const char *path, ox_error *err);

#endif
