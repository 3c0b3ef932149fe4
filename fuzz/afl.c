/* The mutator of models for AFL++: AFL_CUSTOM_MUTATOR_LIBRARY=libfuzz_mutator.so. */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM = 1 << 20 };

typedef struct mutator {
    unsigned seed;
    uint8_t made[ROOM];
} mutator;

__attribute__((visibility("default"))) void *afl_custom_init(void *afl, unsigned seed);
__attribute__((visibility("default"))) void afl_custom_deinit(void *user);
__attribute__((visibility("default"))) size_t afl_custom_fuzz(void *user, uint8_t *data,
                                                              size_t size, uint8_t **made,
                                                              uint8_t *other, size_t other_size,
                                                              size_t most);

void *afl_custom_init(void *afl, unsigned seed)
{
    (void)afl;
    mutator *m = malloc(sizeof *m);
    if (m != NULL) {
        m->seed = seed;
    }
    return m;
}

void afl_custom_deinit(void *user)
{
    free(user);
}

size_t afl_custom_fuzz(void *user, uint8_t *data, size_t size, uint8_t **made, uint8_t *other,
                       size_t other_size, size_t most)
{
    (void)other, (void)other_size;
    mutator *m = user;
    size_t room = most < ROOM ? most : ROOM;
    size = size < room ? size : room;
    memcpy(m->made, data, size);
    *made = m->made;
    return fuzz_model_mutate(m->made, size, room, m->seed += 7);
}
