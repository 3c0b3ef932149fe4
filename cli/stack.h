/* Several models that are explained as one. */
#ifndef OX_CLI_STACK_H
#define OX_CLI_STACK_H

#include "options.h"

/* Reads a model and those behind it, put together where there are any. NULL and err on failure. */
ox_model *ox_stack_read(const char *first, const ox_texts *next, const ox_texts *connect,
                        uint64_t limit, ox_error *err);

#endif
