/* Several models as one. */
#include "stack.h"

#include <stdlib.h>

/* Fills models[0 .. next->count + 1). */
static bool read_all(const char *first, const ox_texts *next, uint64_t limit, ox_model **models,
                     ox_error *err)
{
    bool good = true;
    for (size_t i = 0; good && i <= next->count; i++) {
        models[i] = ox_cli_read_model(i == 0 ? first : next->items[i - 1], limit, err);
        good = models[i] != NULL;
    }
    return good;
}

ox_model *ox_stack_read(const char *first, const ox_texts *next, const ox_texts *connect,
                        uint64_t limit, ox_error *err)
{
    if (!next->count && !connect->count) {
        return ox_cli_read_model(first, limit, err);
    }
    ox_model **models = ox_cli_alloc(next->count + 1, sizeof *models, err);
    ox_model *stack = NULL;
    if (models && read_all(first, next, limit, models, err)) {
        stack = ox_stack((const ox_model *const *)models, next->count + 1, connect->items,
                         connect->count, err);
    }
    for (size_t i = 0; models && i <= next->count; i++) {
        ox_free(models[i]);
    }
    free(models);
    return stack;
}
