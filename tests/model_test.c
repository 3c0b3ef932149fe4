/* Models made here, sent through bytes and back: functions with attributes, bodies, sharing of
 * weights between models and between graphs, names of dimensions. */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/proto.h"
#include "shape/shape.h"

static unsigned char bytes[1 << 23];
static size_t byte_count;

static bool collect(void *user, const void *data, size_t size)
{
    (void)user;
    assert(size <= sizeof bytes - byte_count);
    memcpy(bytes + byte_count, data, size);
    byte_count += size;
    return true;
}

static ox_model *through_bytes(const ox_model *m)
{
    ox_error err = {0};
    byte_count = 0;
    if (!ox_serialize(m, collect, NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    ox_model *again = ox_parse(bytes, byte_count, NULL, &err);
    if (again == NULL) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    return again;
}

/* Runs `body` on a fresh model. */
static ox_model *make(void (*body)(void *model))
{
    ox_error err = {0};
    ox_model *m = ox_model_new(&err);
    assert(m != NULL);
    m->ir_version = 10;
    if (!ox_arena_try(m->arena, body, m, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    return m;
}

static const ox_dim batch_by_3[2] = {{.size = 1, .batch = 1}, {.size = 3}};

/* The attribute alpha, that of the function called slope. */
static Onnx__AttributeProto *reference(ox_arena *a)
{
    static char name[] = "alpha", of[] = "slope";
    Onnx__AttributeProto *p = ox_proto_new(a, &onnx__attribute_proto__descriptor);
    p->name = name;
    p->ref_attr_name = of;
    p->has_type = true;
    p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
    return p;
}

/* y = LeakyRelu(x) through a function of ours that has the slope as attribute. */
static void make_function_model(void *user)
{
    ox_model *m = user;
    ox_arena *a = m->arena;
    ox_model_set_opset(m, "", 18);
    ox_model_set_opset(m, "onnxexplainer", 1);
    ox_model_set_property(m, "key", "old");
    ox_model_set_property(m, "key", "new");
    m->graph = ox_graph_new(a, ox_shape_infer, "main");
    ox_graph *body = ox_graph_inside(m->graph, "body");
    ox_val in = ox_graph_input(body, "in", OX_FLOAT, -1, NULL);
    ox_attr slope = {.name = "alpha", .kind = OX_ATTR_OTHER, .proto = reference(a)};
    ox_val out = ox_graph_value(body, "out", OX_FLOAT, -1, NULL);
    ox_graph_append(body, &(ox_node){
                              .op = "LeakyRelu",
                              .domain = "",
                              .name = "leaky",
                              .input_count = 1,
                              .inputs = &in,
                              .output_count = 1,
                              .outputs = &out,
                              .attr_count = 1,
                              .attrs = &slope,
                          });
    ox_graph_output(body, out, "out");
    m->graph->functions = ox_arena_alloc(a, 1, sizeof *m->graph->functions);
    m->graph->functions[0] = (ox_function){"Leaky", body};
    m->graph->function_count = 1;

    ox_val x = ox_graph_input(m->graph, "x", OX_FLOAT, 2, batch_by_3);
    ox_val y = ox_graph_value(m->graph, "y", OX_FLOAT, 2, batch_by_3);
    ox_attr value = {.name = "slope", .kind = OX_ATTR_FLOAT, .f = 0.25F};
    ox_graph_append(m->graph, &(ox_node){
                                  .op = "Leaky",
                                  .domain = "onnxexplainer",
                                  .name = "call",
                                  .input_count = 1,
                                  .inputs = &x,
                                  .output_count = 1,
                                  .outputs = &y,
                                  .attr_count = 1,
                                  .attrs = &value,
                              });
    ox_graph_output(m->graph, y, "y");
    ox_model_publish(m);
}

static void inline_call(void *user)
{
    ox_model *m = user;
    ox_graph *g = m->graph;
    assert(m->local_count == 1);
    size_t count = 0;
    ox_val *results = ox_model_inline(m, g, &m->locals[0], g->nodes[0], "call/", &count);
    assert(count == 1 && g->node_count == 2);
    const ox_node *n = g->nodes[1];
    assert(strcmp(n->op, "LeakyRelu") == 0 && strcmp(n->name, "call/leaky") == 0);
    assert(n->inputs[0] == g->inputs[0] && n->outputs[0] == results[0]);
    assert(strcmp(results[0]->name, "call/out") == 0);
    assert(ox_node_float(n, "alpha", 0) == 0.25);
    /* Without the attribute in the call, the node goes without as well. */
    ox_node bare = *g->nodes[0];
    bare.attr_count = 0;
    ox_model_inline(m, g, &m->locals[0], &bare, "call/", &count);
    assert(g->nodes[2]->attr_count == 0);
    assert(strcmp(g->nodes[2]->outputs[0]->name, "call/out") != 0);
}

static void test_function(void)
{
    ox_model *m = make(make_function_model);
    size_t count = 0;
    assert(strcmp(ox_inputs(m, &count)[0].symbols[0], "N") == 0 && count == 1);
    ox_model *again = through_bytes(m);
    ox_free(m);
    assert(ox_opset(again, "") == 18 && ox_opset(again, "ai.onnx") == 18);
    assert(ox_opset(again, "onnxexplainer") == 1 && ox_opset(again, "other") == 0);
    assert(strcmp(ox_metadata(again, "key"), "new") == 0 && ox_metadata(again, "none") == NULL);
    const ox_value_info *x = ox_inputs(again, &count);
    assert(count == 1 && x->rank == 2 && x->dims[0] == -1 && x->dims[1] == 3);
    assert(strcmp(x->symbols[0], "N") == 0 && strcmp(x->symbols[1], "") == 0);
    ox_error err = {0};
    assert(ox_arena_try(again->arena, inline_call, again, &err));
    ox_free(again);
}

enum { WEIGHTS = 3 * 100000 };
static float weights[WEIGHTS];

/* z = Scan over x of (row MatMul w), beside x MatMul w with the same weights. */
static void make_scan_model(void *user)
{
    ox_model *m = user;
    ox_arena *a = m->arena;
    ox_model_set_opset(m, "", 18);
    m->graph = ox_graph_new(a, ox_shape_infer, "main");
    int64_t shape[2] = {3, WEIGHTS / 3};
    ox_const w = {.type = OX_FLOAT, .rank = 2, .dims = shape, .data = weights};
    w.size = sizeof weights;

    ox_graph *body = ox_graph_inside(m->graph, "step");
    ox_dim row[1] = {{.size = 3}}, wide[1] = {{.size = WEIGHTS / 3}};
    ox_val in[2] = {ox_graph_input(body, "row", OX_FLOAT, 1, row),
                    ox_graph_constant(body, "w_body", &w)};
    ox_val out = ox_graph_value(body, "row_out", OX_FLOAT, 1, wide);
    ox_node matmul = {.op = "MatMul", .domain = "", .name = "inner"};
    matmul.input_count = 2;
    matmul.inputs = in;
    matmul.output_count = 1;
    matmul.outputs = &out;
    ox_graph_append(body, &matmul);
    ox_graph_output(body, out, "row_out");

    ox_dim wide_batch[2] = {{.size = 1, .batch = 1}, {.size = WEIGHTS / 3}};
    ox_val x = ox_graph_input(m->graph, "x", OX_FLOAT, 2, batch_by_3);
    ox_val outer_in[2] = {x, ox_graph_constant(m->graph, "w", &w)};
    ox_val y = ox_graph_value(m->graph, "y", OX_FLOAT, 2, wide_batch);
    matmul.name = "outer";
    matmul.inputs = outer_in;
    matmul.outputs = &y;
    ox_graph_append(m->graph, &matmul);
    ox_val z = ox_graph_value(m->graph, "z", OX_FLOAT, 2, wide_batch);
    ox_attr attrs[2] = {{.name = "body", .kind = OX_ATTR_GRAPH, .graph = body},
                        {.name = "num_scan_inputs", .kind = OX_ATTR_INT, .i = 1}};
    ox_node scan = {.op = "Scan", .domain = "", .name = "scan"};
    scan.input_count = 1;
    scan.inputs = &x;
    scan.output_count = 1;
    scan.outputs = &z;
    scan.attr_count = 2;
    scan.attrs = attrs;
    ox_graph_append(m->graph, &scan);
    ox_graph_output(m->graph, y, "y");
    ox_graph_output(m->graph, z, "z");
    ox_model_publish(m);
}

static long file_size(const char *path)
{
    FILE *f = fopen(path, "rb");
    assert(f != NULL && fseek(f, 0, SEEK_END) == 0);
    long size = ftell(f);
    fclose(f);
    return size;
}

static void copy_model(void *user)
{
    ox_model **models = user;
    ox_model_copy(models[0], models[1]);
}

/* A copy keeps the weights of its source, and names inside its bodies stay taken. */
static void test_copy(ox_model *m)
{
    ox_error err = {0};
    ox_model *models[2] = {ox_model_new(&err), m};
    assert(models[0] != NULL && ox_arena_try(models[0]->arena, copy_model, models, &err));
    byte_count = 0;
    assert(ox_serialize(m, collect, NULL, &err));
    size_t size = byte_count;
    unsigned char *before = malloc(size);
    assert(before != NULL);
    memcpy(before, bytes, size);
    ox_free(m);
    assert(!ox_graph_take_name(models[0]->graph, "row_out"));
    byte_count = 0;
    assert(ox_serialize(models[0], collect, NULL, &err));
    assert(byte_count == size && memcmp(before, bytes, size) == 0);
    free(before);
    ox_free(models[0]);
}

/* The path of what is beside the model in its folder. */
static const char *second_file(const char *folder)
{
    static char path[512];
    DIR *list = opendir(folder);
    assert(list != NULL);
    path[0] = '\0';
    for (const struct dirent *e; (e = readdir(list)) != NULL;) {
        if (strstr(e->d_name, ".data") != NULL) {
            snprintf(path, sizeof path, "%s/%.250s", folder, e->d_name);
        }
    }
    closedir(list);
    return path;
}

/* Large weights that the main graph and a body share are stored once, beside the model on request
 * or in it. */
static void test_scan(void)
{
    for (size_t i = 0; i < WEIGHTS; i++) {
        weights[i] = (float)i;
    }
    ox_model *m = make(make_scan_model);
    char folder[] = "/tmp/onnxexplainer.XXXXXX", path[64];
    assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/m.onnx", folder);
    ox_error err = {0};
    assert(ox_write_split(m, path, &err));
    const char *data = second_file(folder);
    assert(file_size(path) < 4096 && file_size(data) == (long)sizeof weights);
    ox_model *again = ox_read(path, &err);
    assert(again != NULL && again->mapping_count == 1);
    const ox_const *w = ox_graph_find(again->graph, "w")->constant;
    assert(w->size == sizeof weights && memcmp(w->data, weights, w->size) == 0);
    ox_free(again);
    assert(remove(data) == 0);
    assert(ox_read(path, &err) == NULL && err.code == OX_INVALID);
    assert(strstr(err.message, "\"w\" has external data in") != NULL);
    assert(ox_write(m, path, &err) && *second_file(folder) == '\0');
    assert(file_size(path) < 4096 + (long)sizeof weights);
    assert(remove(path) == 0 && rmdir(folder) == 0);

    again = through_bytes(m);
    assert(byte_count < 4096 + sizeof weights);
    ox_free(m);
    test_copy(again);
}

/* The same 4 MB under 600 names: 2.4 GB in one file, 4 MB beside the model. */
static void make_huge(void *user)
{
    ox_model *m = user;
    ox_model_set_opset(m, "", 18);
    m->graph = ox_graph_new(m->arena, ox_shape_infer, "main");
    int64_t shape[1] = {sizeof bytes / 2};
    ox_const c = {.type = OX_UINT8, .rank = 1, .dims = shape, .data = bytes};
    c.size = sizeof bytes / 2;
    for (int i = 0; i < 600; i++) {
        const char *name = ox_arena_format(m->arena, "w%d", i);
        ox_graph_output(m->graph, ox_graph_constant(m->graph, name, &c), name);
    }
    ox_model_publish(m);
}

static bool refuse(void *user, const void *data, size_t size)
{
    (void)user;
    (void)data;
    (void)size;
    return false;
}

static void test_huge(void)
{
    ox_model *m = make(make_huge);
    char folder[] = "/tmp/onnxexplainer.XXXXXX", path[64];
    assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/m.onnx", folder);
    ox_error err = {0};
    assert(!ox_serialize(m, refuse, NULL, &err) && err.code == OX_UNSUPPORTED);
    assert(ox_write(m, path, &err));
    const char *data = second_file(folder);
    assert(file_size(path) < 100000 && file_size(data) == (long)sizeof bytes / 2);
    ox_free(m);
    m = ox_read(path, &err);
    assert(m != NULL && m->mapping_count == 1);
    const ox_const *c = ox_graph_find(m->graph, "w599")->constant;
    assert(c->size == sizeof bytes / 2 && memcmp(c->data, bytes, c->size) == 0);
    ox_free(m);
    assert(remove(data) == 0 && remove(path) == 0 && rmdir(folder) == 0);
}

/* Contents that are not known cannot be written. */
static void make_unknown(void *user)
{
    ox_model *m = user;
    ox_model_set_opset(m, "", 18);
    m->graph = ox_graph_new(m->arena, ox_shape_infer, "main");
    int64_t shape[1] = {4};
    ox_const c = {.type = OX_FLOAT, .rank = 1, .dims = shape, .size = 16};
    ox_graph_output(m->graph, ox_graph_constant(m->graph, "cache", &c), "cache");
    ox_model_publish(m);
}

static void test_unknown(void)
{
    ox_model *m = make(make_unknown);
    ox_error err = {0};
    assert(!ox_serialize(m, collect, NULL, &err) && err.code == OX_INVALID);
    assert(strcmp(err.message, "constant \"cache\" has no contents") == 0);
    ox_free(m);
    ox_free(NULL);
}

int main(void)
{
    test_function();
    test_scan();
    test_huge();
    test_unknown();
    return 0;
}
