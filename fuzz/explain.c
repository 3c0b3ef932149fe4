/* Reads a model, looks into it and explains it with options that are drawn, all there are. */
#include "models.h"

#include <stdlib.h>

#include "wire.h"

enum { NAMES = 2, WEIGHTS = 4 };

typedef struct drawn {
    ox_options options;
    fuzz_tensors references, others;
    const char *hold[NAMES], *at[NAMES], *operators[NAMES], *features[NAMES], *groups[NAMES];
    double weights[WEIGHTS];
} drawn;

static void note(void *user, const char *message)
{
    (void)user;
    if (message[0] == '\0') {
        abort();
    }
}

/* Zeros for all outputs of which the shape is known, as an ONNX Runtime that runs any model. */
static bool evaluate(void *user, const ox_model *model, const ox_tensor *inputs, size_t input_count,
                     ox_tensor *outputs, size_t output_count, ox_error *err)
{
    (void)user, (void)inputs, (void)input_count;
    size_t count = 0;
    const ox_value_info *infos = ox_outputs(model, &count);
    for (size_t i = 0; i < output_count; i++) {
        outputs[i] = (ox_tensor){.type = OX_NONE};
    }
    for (size_t i = 0; i < output_count && i < count; i++) {
        size_t bytes = ox_type_size(infos[i].type);
        int rank = infos[i].rank < 0 ? 0 : infos[i].rank;
        int64_t *dims = calloc((size_t)rank + 1, sizeof *dims);
        bool small = bytes != 0;
        for (int k = 0; k < rank && small; k++) {
            dims[k] = infos[i].dims[k] < 0 ? 2 : infos[i].dims[k];
            small = dims[k] == 0 || bytes <= FUZZ_ELEMENTS * 8 / (size_t)dims[k];
            bytes *= (size_t)dims[k];
        }
        void *data = infos[i].type == OX_STRING || !small ? NULL : calloc(1, bytes + 1);
        outputs[i] = (ox_tensor){NULL, infos[i].type, rank, dims, data};
        if (data == NULL) {
            *err = (ox_error){.code = OX_RUNTIME, .message = "an output that is not made"};
            for (size_t k = 0; k <= i; k++) {
                ox_tensor_free(&outputs[k]);
            }
            return false;
        }
    }
    return true;
}

/* ---- options ------------------------------------------------------------------------------- */

static size_t draw_names(const ox_model *model, fuzz_draws *d, const ox_node_list *nodes,
                         const char **names, size_t rarity)
{
    size_t count = fuzz_chance(d, rarity) ? 1 + fuzz_below(d, NAMES) : 0;
    for (size_t i = 0; i < count; i++) {
        names[i] = fuzz_value(model, d, nodes);
    }
    return count;
}

static void draw_references(drawn *made, const ox_model *model, fuzz_draws *d)
{
    size_t count = 0;
    const ox_value_info *inputs = ox_inputs(model, &count);
    ox_options *o = &made->options;
    o->reference_source = (ox_reference_source)(fuzz_chance(d, 3) ? fuzz_below(d, 5) : 0);
    o->fill = fuzz_chance(d, 4) ? (double)fuzz_byte(d) - 128 : 0;
    fuzz_make(&made->references, inputs, count, d);
    fuzz_make(&made->others, inputs, count, d);
    if (o->reference_source == OX_REFERENCES_GIVEN) {
        o->references = made->references.all;
        o->reference_count = made->references.count;
    }
    if (fuzz_chance(d, 8) && made->others.count > 0) { /* some inputs are settings */
        o->fix_count = 1 + fuzz_below(d, made->others.count);
        o->fix = made->others.all + (made->others.count - o->fix_count);
        o->reference_count -= o->reference_count < o->fix_count ? 0 : o->fix_count;
    }
    if (fuzz_chance(d, 8)) {
        o->weights = made->weights;
        o->weight_count = fuzz_below(d, WEIGHTS + 1);
        for (size_t i = 0; i < WEIGHTS; i++) {
            made->weights[i] = (double)fuzz_byte(d) - 1;
        }
    }
}

static void draw_costs(ox_options *o, fuzz_draws *d)
{
    o->cache = (ox_cache)fuzz_below(d, 5);
    o->cache_dtype = fuzz_chance(d, 8) ? OX_FLOAT16 : OX_NONE;
    o->chunk = fuzz_chance(d, 4) ? (int64_t)fuzz_below(d, 4) : 0;
    o->memory = fuzz_chance(d, 4) ? (uint64_t)1 << fuzz_below(d, 31) : (uint64_t)1 << 28;
    o->cache_limit = fuzz_chance(d, 8) ? 1 + fuzz_below(d, 256) : 0;
    o->limit = (uint64_t)1 << 25;
}

static void draw_flags(ox_options *o, fuzz_draws *d)
{
    uint8_t flags = fuzz_byte(d), more = fuzz_byte(d);
    o->gap = flags & 1;
    o->no_functions = flags & 2;
    o->force = flags & 4;
    o->no_batch = (flags & 24) == 8;
    o->strict = flags & 32;
    o->evaluate = flags & 64 ? evaluate : NULL;
    o->multipliers = (more & 3) == 1;
    o->hypothetical = (more & 12) == 4;
    o->keep_references = (more & 48) == 16;
    o->note = o->warn = note;
}

static void draw_method(ox_options *o, fuzz_draws *d)
{
    if (fuzz_chance(d, 3)) {
        o->method = FUZZ_ONE_OF(d, "gradient", "input-x-gradient", "integrated-gradients",
                                "expected-gradients", "smoothgrad", "smoothgrad:gradient",
                                "smoothgrad:integrated-gradients", "exact", "kernel", "permutation",
                                "occlusion", "curves", "smoothgrad:kernel");
        o->steps = (int64_t)fuzz_below(d, 9);
        o->samples = (int64_t)fuzz_below(d, 17);
        o->seed = (int64_t)fuzz_below(d, 5);
        o->noise = (int64_t)fuzz_below(d, 33);
    }
    o->order = fuzz_chance(d, 4) ? 2 : 0;
    o->splits = fuzz_chance(d, 8) ? 1 + (int64_t)fuzz_below(d, 3) : 0;
    o->integrate = fuzz_chance(d, 8) ? 1 + (int)fuzz_below(d, 8) : 0;
    o->pool = fuzz_chance(d, 4) ? "tree" : NULL;
}

static void draw_players(drawn *made, fuzz_draws *d)
{
    ox_options *o = &made->options;
    static const char *const operators[] = {"Softmax", "MaxPool", "LayerNormalization",
                                            "Mul",     "Relu",    "Conv"};
    if (o->integrate > 0 && fuzz_chance(d, 2)) {
        made->operators[0] = operators[fuzz_below(d, 6)];
        o->integrate_ops = made->operators;
        o->integrate_op_count = 1;
    }
    if (fuzz_chance(d, 8)) {
        made->features[0] = "first";
        made->features[1] = "second";
        o->feature_names = made->features;
        o->feature_count = 1 + fuzz_below(d, NAMES);
    }
    if (fuzz_chance(d, 6)) {
        made->groups[0] = FUZZ_ONE_OF(d, "patch:2x2", "tokens", "a: first", "a: first, second",
                                      "patch:1x3", "a:", "patch:0x1");
        o->groups = made->groups;
        o->group_count = 1;
    } else if (fuzz_chance(d, 6)) {
        o->labels = made->others.all;
        o->label_count = made->others.count;
    }
}

static void draw_options(drawn *made, const ox_model *model, const ox_node_list *nodes,
                         fuzz_draws *d)
{
    ox_options *o = &made->options;
    *o = (ox_options)OX_OPTIONS_INIT;
    o->target = FUZZ_ONE_OF(d, NULL, "all", "top", "top:2", "bottom:1", "absolute:2", "0", "1",
                            "0-1", "0,1", "input", "logit", "logit:0", "loss:0", "loss:input",
                            "loss", "mask", "cosine", "0:*", "*", "0:top", "-1", "9999");
    draw_flags(o, d);
    draw_costs(o, d);
    draw_method(o, d);
    draw_references(made, model, d);
    draw_players(made, d);
    o->output_name = fuzz_chance(d, 6) ? fuzz_value(model, d, nodes) : NULL;
    o->prefix = fuzz_chance(d, 8) ? FUZZ_ONE_OF(d, "p/", "x", "") : NULL;
    o->hold_count = draw_names(model, d, nodes, made->hold, 8);
    o->hold = made->hold;
    o->at_count = draw_names(model, d, nodes, made->at, 8);
    o->at = made->at;
    o->target_array = fuzz_chance(d, 4) && made->others.count > 0 ? made->others.all : NULL;
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* What can be asked of a model that explains. */
static void look_at(const ox_model *explained)
{
    ox_tensor references[FUZZ_TENSORS];
    size_t count = 0;
    ox_error err = {.code = OX_OK};
    if (!ox_references(explained, references, FUZZ_TENSORS, &count, &err)) {
        fuzz_check_error(&err);
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        ox_tensor_free(&references[i]);
    }
    ox_model *original = ox_original(explained, &err);
    fuzz_check_made(original, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_draws draws;
    ox_model *model = fuzz_read(data, size, &draws);
    if (model == NULL) {
        return 0;
    }
    ox_error err = {.code = OX_OK};
    ox_node_list *nodes = ox_nodes(model, &err);
    drawn made;
    draw_options(&made, model, nodes, &draws);
    ox_report *report = ox_inspect(model, &made.options, &err);
    if (report == NULL) {
        fuzz_check_error(&err);
    }
    ox_report_free(report);
    bool curves = made.options.method != NULL && strcmp(made.options.method, "curves") == 0;
    made.options.method = curves ? NULL : made.options.method;
    ox_model *explained = (curves ? ox_curves : ox_explain)(model, &made.options, &err);
    if (explained != NULL && !curves) {
        look_at(explained);
    }
    fuzz_check_made(explained, &err);
    ox_nodes_free(nodes);
    ox_free(model);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    return fuzz_model_mutate(data, size, room, seed);
}
