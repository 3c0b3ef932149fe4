/* Without memory: the n-th allocation of reading, inspecting, explaining and writing fails, for
 * every n. Each time the library says so, and nothing is left behind, which the sanitizers watch.
 * Linked with --wrap, so that calls of malloc and its like arrive here. */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>

#include "small.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static size_t allocations; /* since the last case began */
static size_t failing;     /* the one that fails, from 1; 0: none */

static bool fails(void)
{
    return ++allocations == failing;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

static const int64_t reference_dims[4] = {3, 1, 4, 4};
static float reference_data[48];
static const ox_tensor references = {
    .name = "x", .type = OX_FLOAT, .rank = 4, .dims = reference_dims, .data = reference_data};

static bool count_bytes(void *user, const void *data, size_t size)
{
    (void)data;
    *(size_t *)user += size;
    return true;
}

/* Stands in for ONNX Runtime: zeros of the shapes that the model states. */
static bool zeros(void *user, const ox_model *m, const ox_tensor *inputs, size_t input_count,
                  ox_tensor *outputs, size_t output_count, ox_error *err)
{
    (void)user, (void)inputs, (void)input_count;
    size_t count = 0;
    const ox_value_info *infos = ox_outputs(m, &count);
    assert(count == output_count);
    for (size_t i = 0; i < count; i++) {
        size_t size = ox_type_size(infos[i].type);
        for (int d = 0; d < infos[i].rank; d++) {
            assert(infos[i].dims[d] > 0);
            size *= (size_t)infos[i].dims[d];
        }
        outputs[i] = (ox_tensor){.type = infos[i].type, .rank = infos[i].rank};
        outputs[i].data = calloc(1, size);
        int64_t *dims = calloc((size_t)infos[i].rank + 1, sizeof *dims);
        outputs[i].dims = dims;
        for (int d = 0; dims != NULL && d < infos[i].rank; d++) {
            dims[d] = infos[i].dims[d];
        }
        if (outputs[i].data == NULL || dims == NULL) {
            for (size_t k = 0; k <= i; k++) {
                ox_tensor_free(&outputs[k]);
            }
            return ox_error_set(err, OX_MEMORY, "out of memory");
        }
    }
    return true;
}

static bool inspect(const ox_model *model, const ox_options *options, ox_error *err)
{
    ox_report *report = ox_inspect(model, options, err);
    bool inspected = report != NULL;
    assert(!inspected || report->explainable); /* want of memory is no property of the model */
    ox_report_free(report);
    return inspected;
}

static bool list_nodes(const ox_model *model, ox_error *err)
{
    ox_node_list *list = ox_nodes(model, err);
    bool listed = list != NULL;
    assert(!listed || list->count > 0);
    ox_nodes_free(list);
    return listed;
}

/* Everything that a user does with a model in memory. */
static bool use(const small_bytes *bytes, const ox_options *options, ox_error *err)
{
    size_t written = 0;
    ox_model *model = ox_parse(bytes->data, bytes->size, NULL, err);
    bool good = model != NULL && list_nodes(model, err) && inspect(model, options, err);
    ox_model *explained = good ? ox_explain(model, options, err) : NULL;
    ox_free(model);
    good = explained != NULL && ox_serialize(explained, count_bytes, &written, err);
    ox_free(explained);
    assert(!good || written > bytes->size);
    return good;
}

static void check(const char *name, bool fixed_batch, const ox_options *options)
{
    failing = 0;
    small_bytes bytes = small_model(fixed_batch);
    assert(bytes.data != NULL);
    ox_error err = {.code = OX_OK};
    allocations = 0;
    if (!use(&bytes, options, &err)) {
        fprintf(stderr, "%s: %s\n", name, err.message);
        abort();
    }
    size_t count = allocations;
    for (size_t n = 1; n <= count; n++) {
        err = (ox_error){.code = OX_OK};
        allocations = 0;
        failing = n;
        bool good = use(&bytes, options, &err);
        if (good && allocations < n) {
            continue; /* tables are by addresses, and may have had room: none has failed */
        }
        if (good || err.code != OX_MEMORY) {
            fprintf(stderr, "%s: allocation %zu of %zu: %s\n", name, n, count,
                    good ? "not noticed" : err.message);
            abort();
        }
    }
    failing = 0;
    free(bytes.data);
    printf("%s: %zu allocations\n", name, count);
}

int main(void)
{
    ox_options options = OX_OPTIONS_INIT;
    options.references = &references;
    options.reference_count = 1;
    options.memory = (uint64_t)1 << 30;
    for (size_t i = 0; i < 48; i++) {
        reference_data[i] = (float)i / 48;
    }
    check("load", false, &options);
    check("fixed batch", true, &options);
    options.target = "all";
    options.gap = true;
    options.chunk = 2;
    check("chunk", false, &options);
    options.no_functions = true;
    check("without functions", false, &options);
    options.cache = OX_CACHE_FILE;
    options.evaluate = zeros;
    check("file", false, &options);
    options.chunk = 0;
    check("file of a fixed batch", true, &options);
    return 0;
}
