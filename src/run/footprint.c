/* What an explained model says that it takes of memory (explain/footprint.c), read off its end
 * without parsing the weights: metadata stand behind the graph. */
#include <stdlib.h>

#include "model/model.h"
#include "run/plan.h"
#include "run/tail.h"

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

static void read_tail(const char *path, uint64_t numbers[3])
{
    enum { BEHIND = 2 };
    ox_tail tail;
    size_t left = 0;
    if (ox_tail_read(&tail, path)) {
        const char *at = ox_tail_find(&tail, KEY, &left);
        if (at != NULL && left > BEHIND) {
            parse(at + BEHIND, numbers);
        }
        ox_tail_free(&tail);
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
