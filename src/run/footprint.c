/* What an explained model says that it takes of memory (explain/footprint.c), read off its end
 * without parsing the weights: metadata stand behind the graph. */
#define _GNU_SOURCE /* memmem */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "run/plan.h"

static const char KEY[] = "onnxexplainer.memory";

/* From here on memory counts for more than the time of some allocations. */
static const uint64_t LARGE = UINT64_C(32) << 20;

static void parse(const char *text, uint64_t numbers[3])
{
    for (int i = 0; i < 3; i++) {
        char *end;
        numbers[i] = strtoull(text, &end, 10);
        text = end;
    }
}

/* The property's value, behind its key, a tag and a length of one byte each. */
static void read_tail(const char *path, uint64_t numbers[3])
{
    enum { TAIL = 1 << 20, BEHIND = 2 };
    FILE *file = fopen(path, "rb");
    char *tail = malloc(TAIL + 1);
    if (tail != NULL && file != NULL && fseeko(file, 0, SEEK_END) == 0) {
        off_t size = ftello(file), from = size > TAIL ? size - TAIL : 0;
        size_t count = fseeko(file, from, SEEK_SET) == 0 ? fread(tail, 1, TAIL, file) : 0;
        tail[count] = '\0';
        const char *at = memmem(tail, count, KEY, strlen(KEY));
        if (at != NULL && strlen(KEY) + BEHIND < (size_t)(tail + count - at)) {
            parse(at + strlen(KEY) + BEHIND, numbers);
        }
    }
    free(tail);
    if (file != NULL) {
        fclose(file);
    }
}

bool ox_runs_large(const char *path, const ox_model *model)
{
    uint64_t numbers[3] = {0, 0, 0};
    if (path != NULL) {
        read_tail(path, numbers);
    } else if (model->graph->input_count == 0) { /* references, as many as fit */
        return true;
    } else if (ox_metadata(model, KEY) != NULL) {
        parse(ox_metadata(model, KEY), numbers);
    }
    return numbers[1] + numbers[2] >= LARGE;
}
