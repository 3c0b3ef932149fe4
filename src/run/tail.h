/* The end of an explained model's file: metadata stand behind the graph, so that their keys are
 * found without parsing the weights. */
#ifndef OX_TAIL_H
#define OX_TAIL_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ox_tail {
    char *data; /* NULL where there is none to be read */
    size_t size;
} ox_tail;

/* False and errno on failure. It ends in '\0'. */
bool ox_tail_read(ox_tail *tail, const char *path);
void ox_tail_free(ox_tail *tail);

/* What stands behind the key, and how much: a tag and a length of one byte each, the value. NULL
 * where the key is not. */
const char *ox_tail_find(const ox_tail *tail, const char *key, size_t *left);

/* The value of a metadata key into `to`; false where the key is not, or there is no room. */
bool ox_tail_text(const ox_tail *tail, const char *key, char *to, size_t room);

/* The last bytes of a model in memory, which are not to be freed. */
ox_tail ox_tail_of(const void *data, size_t size);

#endif
