/* Reads a model that may say that it explains, writes it in the blocked layout, and gives it and
 * outputs that may be its own to what looks at results. */
#include "tune/tune.h"

#include "models.h"
#include "wire.h"

static void ignore(void *user, const char *message)
{
    (void)user, (void)message;
}

static void check_outputs(const ox_model *model, fuzz_draws *draws)
{
    ox_error err = {.code = OX_OK};
    ox_findings findings;
    fuzz_tensors made;
    size_t count = 0;
    const ox_value_info *infos = ox_outputs(model, &count);
    fuzz_make(&made, infos, count, draws);
    if (!ox_check(model, made.all, made.count, &findings, ignore, NULL, &err)) {
        fuzz_check_error(&err);
    }
    infos = ox_inputs(model, &count);
    fuzz_make(&made, infos, count, draws);
    if (!ox_check_inputs(model, made.all, made.count, ignore, NULL, &err)) {
        fuzz_check_error(&err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_draws draws;
    ox_error err = {.code = OX_OK};
    ox_model *model = fuzz_read(data, size, &draws);
    if (model == NULL) {
        return 0;
    }
    int64_t block = 8 + 8 * (int64_t)fuzz_below(&draws, 2);
    bool kernels = !fuzz_chance(&draws, 4);
    fuzz_check_made(ox_tune_layout(model, block, kernels, &err), &err);
    fuzz_check_made(ox_original(model, &err), &err);
    ox_tensor references[FUZZ_TENSORS];
    size_t count = 0;
    if (ox_references(model, references, FUZZ_TENSORS, &count, &err)) {
        for (size_t i = 0; i < count; i++) {
            ox_tensor_free(&references[i]);
        }
    } else {
        fuzz_check_error(&err);
    }
    check_outputs(model, &draws);
    ox_free(model);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    return fuzz_model_mutate(data, size, room, seed);
}
