/* Reads, inspects, explains and writes whatever bytes come. As a program: the files given as
 * arguments, or else every operator with any number of inputs and mutations of a small model,
 * always the same ones. What libFuzzer is given is in fuzz/. */
#include <stdint.h>
#include <stdio.h>

#include "small.h"

enum { MAX_ELEMENTS = 1 << 16, MAX_INPUTS = 16, MAX_RANK = 8, MAX_NODE_INPUTS = 6, ROUNDS = 4000 };

static const float zeros[MAX_ELEMENTS];

static bool drop(void *user, const void *data, size_t size)
{
    (void)user, (void)data, (void)size;
    return true;
}

/* Two references of zeros for every float input of fixed or absent size; their count. */
static size_t make_references(const ox_model *model, ox_tensor *tensors, int64_t dims[][MAX_RANK])
{
    size_t count = 0, made = 0;
    const ox_value_info *inputs = ox_inputs(model, &count);
    for (size_t i = 0; i < count && made < MAX_INPUTS; i++) {
        size_t elements = 1;
        bool fits = inputs[i].type == OX_FLOAT && inputs[i].rank > 0 && inputs[i].rank <= MAX_RANK;
        for (int d = 0; fits && d < inputs[i].rank; d++) {
            int64_t size = d == 0 ? 2 : inputs[i].dims[d] < 0 ? 3 : inputs[i].dims[d];
            dims[made][d] = size;
            fits = size > 0 && (size_t)size <= MAX_ELEMENTS / elements;
            elements *= fits ? (size_t)size : 1;
        }
        if (fits) {
            tensors[made] = (ox_tensor){.name = inputs[i].name,
                                        .type = OX_FLOAT,
                                        .rank = inputs[i].rank,
                                        .dims = dims[made],
                                        .data = zeros};
            made++;
        }
    }
    return made;
}

static void explain(const ox_model *model, const ox_options *options)
{
    ox_error err;
    ox_model *explained = ox_explain(model, options, &err);
    if (explained != NULL) {
        ox_serialize(explained, drop, NULL, &err);
    }
    ox_free(explained);
}

static int give(const uint8_t *data, size_t size)
{
    ox_error err;
    ox_model *model = ox_parse(data, size, NULL, &err);
    if (model == NULL) {
        return 0;
    }
    ox_serialize(model, drop, NULL, &err);
    ox_tensor references[MAX_INPUTS];
    int64_t dims[MAX_INPUTS][MAX_RANK];
    ox_options options = OX_OPTIONS_INIT;
    ox_report_free(ox_inspect(model, &options, &err));
    options.references = references;
    options.reference_count = make_references(model, references, dims);
    options.memory = (uint64_t)1 << 30;
    if (options.reference_count > 0) {
        explain(model, &options);
        options.target = "all";
        options.gap = true;
        options.chunk = 1;
        options.no_functions = true;
        explain(model, &options);
    }
    ox_free(model);
    return 0;
}

static uint32_t random_state = 1;

static size_t random_below(size_t limit)
{
    random_state = random_state * 1664525 + 1013904223;
    return (size_t)(random_state >> 8) % limit;
}

/* A few bytes changed, a piece taken out or doubled; returns the new size, at most twice `size`. */
static size_t mutate(const small_bytes *from, uint8_t *to)
{
    size_t size = from->size;
    memcpy(to, from->data, size);
    for (size_t n = random_below(4) + 1; n > 0; n--) {
        to[random_below(size)] = (uint8_t)random_below(256);
    }
    size_t at = random_below(size), length = random_below(16);
    length = length < size - at ? length : size - at;
    switch (random_below(4)) {
    case 0: memmove(to + at, to + at + length, size - at - length); return size - length;
    case 1: memmove(to + at + length, to + at, size - at); return size + length;
    default: return size;
    }
}

static int fuzz_file(const char *path)
{
    small_bytes b = {NULL, 0};
    unsigned char piece[4096];
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return 1;
    }
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;) {
        if (!small_collect(&b, piece, n)) {
            break;
        }
    }
    fclose(f);
    give(b.data, b.size);
    free(b.data);
    return 0;
}

/* A model of one node with `count` inputs, all of them x or all but x left out. */
typedef struct one_node {
    ox_model *model;
    const ox_rule_info *info;
    int rank;
    size_t count;
    bool left_out;
} one_node;

static void fill_one_node(void *user)
{
    const one_node *one = user;
    ox_model *m = one->model;
    bool other = strcmp(one->info->domain, "ai.onnx") != 0 && one->info->domain[0] != '\0';
    const ox_dim dims[4] = {{.size = 1, .batch = 1}, {.size = 2}, {.size = 4}, {.size = 4}};
    ox_model_set_opset(m, "", 18);
    m->ir_version = 8;
    if (other) {
        ox_model_set_opset(m, one->info->domain, 1);
    }
    m->graph = ox_graph_new(m->arena, ox_shape_infer, "one");
    ox_val in[MAX_NODE_INPUTS] = {ox_graph_input(m->graph, "x", OX_FLOAT, one->rank, dims)};
    for (size_t i = 1; i < one->count; i++) {
        in[i] = one->left_out ? NULL : in[0];
    }
    ox_val y = ox_graph_value(m->graph, "y", OX_FLOAT, one->rank, dims);
    ox_graph_append(m->graph, &(ox_node){.op = one->info->op,
                                         .domain = other ? one->info->domain : "",
                                         .name = "node",
                                         .input_count = one->count,
                                         .inputs = in,
                                         .output_count = 1,
                                         .outputs = &y});
    ox_graph_output(m->graph, y, "y");
    ox_model_publish(m);
}

static bool fuzz_one_node(one_node *one)
{
    ox_error err;
    small_bytes b = {NULL, 0};
    one->model = ox_model_new(&err);
    bool made = one->model != NULL && ox_arena_try(one->model->arena, fill_one_node, one, &err) &&
                ox_serialize(one->model, small_collect, &b, &err);
    if (made) {
        give(b.data, b.size);
    }
    ox_free(one->model);
    free(b.data);
    return made;
}

/* Every operator of the table with too few inputs, with as many as it needs, and with too many. */
static int fuzz_operators(void)
{
    size_t count = 0;
    const ox_rule_info *infos = ox_rules(&count);
    for (size_t i = 0; i < count * MAX_NODE_INPUTS * 4 * 2; i++) {
        one_node one = {.info = &infos[i % count],
                        .count = i / count % MAX_NODE_INPUTS,
                        .rank = (int)(i / count / MAX_NODE_INPUTS % 4) + 1,
                        .left_out = i / count / MAX_NODE_INPUTS / 4 == 1};
        if (!fuzz_one_node(&one)) {
            fprintf(stderr, "no model of %s\n", one.info->op);
            return 1;
        }
    }
    return 0;
}

static int fuzz_small(bool fixed_batch)
{
    small_bytes b = small_model(fixed_batch);
    uint8_t *changed = b.data == NULL ? NULL : malloc(2 * b.size + 16);
    if (changed == NULL) {
        free(b.data);
        return 1;
    }
    give(b.data, b.size);
    for (int i = 0; i < ROUNDS; i++) {
        give(changed, mutate(&b, changed));
    }
    free(changed);
    free(b.data);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        failed |= fuzz_file(argv[i]);
    }
    return argc > 1 ? failed : fuzz_operators() | fuzz_small(false) | fuzz_small(true);
}
