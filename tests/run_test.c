/* Sessions and runs: the library found or missed with a clear line, tensors of every shape in and
 * out, wrong ones refused by name, nothing printed. Exits with 77 (skipped) where there is no ONNX
 * Runtime and ONNXRUNTIME_LIBRARY does not demand one. */
#define _POSIX_C_SOURCE 200809L

#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnxexplainer.h"

static int failures;

#define CHECK(what) check_that(what, #what, __LINE__)

static bool check_that(bool holds, const char *what, int line)
{
    if (!holds) {
        printf("%s:%d: %s\n", __FILE__, line, what);
        failures++;
    }
    return holds;
}

static void check_error(const ox_error *err, ox_code code, const char *message, int line)
{
    if (err->code != code || strcmp(err->message, message) != 0) {
        printf("%s:%d: expected %d: %s\n    got %d: %s\n", __FILE__, line, (int)code, message,
               (int)err->code, err->message);
        failures++;
    }
}

#define CHECK_ERROR(code, message) check_error(&err, code, message, __LINE__)

/* ---- a model, in the wire format of protobuf ------------------------------------------- */

typedef struct bytes {
    unsigned char data[2048];
    size_t size;
} bytes;

static void put_varint(bytes *b, size_t value)
{
    for (; value >= 128; value >>= 7) {
        b->data[b->size++] = (unsigned char)(value | 128);
    }
    b->data[b->size++] = (unsigned char)value;
}

static void put_int(bytes *b, size_t field, size_t value)
{
    put_varint(b, field << 3);
    put_varint(b, value);
}

static void put_bytes(bytes *b, size_t field, const void *data, size_t size)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, size);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_text(bytes *b, size_t field, const char *text)
{
    put_bytes(b, field, text, strlen(text));
}

static void put_message(bytes *b, size_t field, const bytes *message)
{
    put_bytes(b, field, message->data, message->size);
}

/* A ValueInfoProto. `dims` is like "N,3": letters are symbolic. */
static void put_value(bytes *graph, size_t field, const char *name, ox_type type, const char *dims)
{
    bytes shape = {.size = 0}, tensor = {.size = 0}, holder = {.size = 0}, value = {.size = 0};
    for (const char *c = dims; *c != '\0'; c++) {
        bytes dim = {.size = 0};
        if (*c == ',') {
            continue;
        }
        if (*c >= '0' && *c <= '9') {
            put_int(&dim, 1, (size_t)(*c - '0'));
        } else {
            put_bytes(&dim, 2, c, 1);
        }
        put_message(&shape, 1, &dim);
    }
    put_int(&tensor, 1, (size_t)type);
    put_message(&tensor, 2, &shape);
    put_message(&holder, 1, &tensor);
    if (strcmp(name, "list") == 0) { /* a sequence of such tensors */
        bytes sequence = {.size = 0};
        put_message(&sequence, 1, &holder);
        holder.size = 0;
        put_message(&holder, 4, &sequence);
    }
    put_text(&value, 1, name);
    put_message(&value, 2, &holder);
    put_message(graph, field, &value);
}

static void put_node(bytes *graph, const char *op, const char *a, const char *b, const char *y)
{
    bytes node = {.size = 0};
    put_text(&node, 1, a);
    if (b != NULL) {
        put_text(&node, 1, b);
    }
    put_text(&node, 2, y);
    put_text(&node, 4, op);
    put_message(graph, 1, &node);
}

enum { INPUTS = 5, OUTPUTS = 6 };

static bytes make_model(void)
{
    bytes graph = {.size = 0}, opset = {.size = 0}, model = {.size = 0};
    put_node(&graph, "Add", "a", "b", "sum");
    put_node(&graph, "Shape", "a", NULL, "size");
    put_node(&graph, "Neg", "scalar", NULL, "negative");
    put_node(&graph, "Not", "flags", NULL, "others");
    put_node(&graph, "Reshape", "a", "shape", "shaped");
    put_node(&graph, "SequenceConstruct", "a", "b", "list");
    put_text(&graph, 2, "test");
    put_value(&graph, 11, "a", OX_FLOAT, "N,3");
    put_value(&graph, 11, "b", OX_FLOAT, "N,3");
    put_value(&graph, 11, "scalar", OX_FLOAT16, "");
    put_value(&graph, 11, "flags", OX_BOOL, "2");
    put_value(&graph, 11, "shape", OX_INT64, "2");
    put_value(&graph, 12, "sum", OX_FLOAT, "N,3");
    put_value(&graph, 12, "size", OX_INT64, "2");
    put_value(&graph, 12, "negative", OX_FLOAT16, "");
    put_value(&graph, 12, "others", OX_BOOL, "2");
    put_value(&graph, 12, "shaped", OX_FLOAT, "P,Q");
    put_value(&graph, 12, "list", OX_FLOAT, "N,3");
    put_int(&opset, 2, 13);
    put_int(&model, 1, 8);
    put_message(&model, 7, &graph);
    put_message(&model, 8, &opset);
    return model;
}

/* ---- its inputs ------------------------------------------------------------------------ */

static const int64_t row_dims[] = {2, 3}, pair_dims[] = {2};
static const float a_data[] = {1, 2, 3, 4, 5, 6}, b_data[] = {10, 20, 30, 40, 50, 60};
static const uint16_t scalar_data[] = {0x3c00}; /* 1 */
static const bool flags_data[] = {true, false};
static const int64_t shape_data[] = {3, 2};

static const ox_tensor inputs[INPUTS] = {
    {.name = "a", .type = OX_FLOAT, .rank = 2, .dims = row_dims, .data = a_data},
    {.name = "b", .type = OX_FLOAT, .rank = 2, .dims = row_dims, .data = b_data},
    {.name = "scalar", .type = OX_FLOAT16, .rank = 0, .dims = NULL, .data = scalar_data},
    {.name = "flags", .type = OX_BOOL, .rank = 1, .dims = pair_dims, .data = flags_data},
    {.name = "shape", .type = OX_INT64, .rank = 1, .dims = pair_dims, .data = shape_data},
};

/* All outputs but the sequence, in another order than the model's. */
static const char *const names[] = {"negative", "sum", "size", "others", "shaped"};

enum { WANTED = 5 };

static void free_tensors(ox_tensor *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ox_tensor_free(&tensors[i]);
    }
}

/* ---- cases ----------------------------------------------------------------------------- */

static void test_values(ox_session *s)
{
    ox_error err;
    ox_tensor y[WANTED];
    if (!CHECK(ox_session_run(s, inputs, INPUTS, names, y, WANTED, &err))) {
        return;
    }
    CHECK(strcmp(y[0].name, "negative") == 0 && y[0].type == OX_FLOAT16 && y[0].rank == 0);
    CHECK(*(const uint16_t *)y[0].data == 0xbc00);
    CHECK(y[1].type == OX_FLOAT && y[1].rank == 2 && y[1].dims[0] == 2 && y[1].dims[1] == 3);
    for (int i = 0; i < 6; i++) {
        CHECK(((const float *)y[1].data)[i] == a_data[i] + b_data[i]);
    }
    CHECK(y[2].type == OX_INT64 && memcmp(y[2].data, row_dims, sizeof row_dims) == 0);
    CHECK(y[3].type == OX_BOOL && !((const bool *)y[3].data)[0] && ((const bool *)y[3].data)[1]);
    CHECK(y[4].dims[0] == 3 && y[4].dims[1] == 2);
    CHECK(memcmp(y[4].data, a_data, sizeof a_data) == 0);
    free_tensors(y, WANTED);
    CHECK(y[1].data == NULL && y[1].rank == 0);
}

static void test_no_rows(ox_session *s)
{
    ox_error err;
    ox_tensor x[INPUTS], y[WANTED];
    const int64_t none[] = {0, 3}, shape[] = {0, 0};
    memcpy(x, inputs, sizeof x);
    x[0].dims = x[1].dims = none;
    x[0].data = x[1].data = NULL;
    x[4].data = shape;
    if (CHECK(ox_session_run(s, x, INPUTS, names, y, WANTED, &err))) {
        CHECK(y[1].rank == 2 && y[1].dims[0] == 0 && y[1].dims[1] == 3);
        free_tensors(y, WANTED);
    } else {
        printf("    %s\n", err.message);
    }
}

/* Runs with input `index` replaced. */
static bool run_with(ox_session *s, size_t index, ox_tensor tensor, ox_error *err)
{
    ox_tensor x[INPUTS], y[WANTED];
    memset(y, 7, sizeof y);
    ox_tensor before[WANTED];
    memcpy(before, y, sizeof y);
    memcpy(x, inputs, sizeof x);
    x[index] = tensor;
    bool done = ox_session_run(s, x, INPUTS, names, y, WANTED, err);
    if (done) {
        free_tensors(y, WANTED);
    } else {
        CHECK(memcmp(before, y, sizeof y) == 0);
    }
    return done;
}

static void test_wrong_inputs(ox_session *s)
{
    ox_error err;
    const int64_t wide[] = {2, 4}, negative[] = {-2, 3}, huge[] = {INT64_MAX / 2, 3};
    ox_tensor x = inputs[0];
    x.type = OX_DOUBLE;
    CHECK(!run_with(s, 0, x, &err));
    CHECK_ERROR(OX_ARGUMENT, "input \"a\": expected type float32, given float64");
    x = inputs[0];
    x.dims = wide;
    CHECK(!run_with(s, 0, x, &err));
    CHECK_ERROR(OX_ARGUMENT, "input \"a\": expected shape [N, 3], given [2, 4]");
    x.rank = 0;
    CHECK(!run_with(s, 0, x, &err));
    CHECK_ERROR(OX_ARGUMENT, "input \"a\": expected shape [N, 3], given []");
    x = inputs[0];
    x.dims = negative;
    CHECK(!run_with(s, 0, x, &err));
    CHECK_ERROR(OX_ARGUMENT, "input \"a\": dimension 0 is -2");
    x.dims = huge;
    CHECK(!run_with(s, 0, x, &err));
    CHECK_ERROR(OX_ARGUMENT, "input \"a\": larger than memory by its shape");
    x = inputs[0];
    x.data = NULL;
    CHECK(!run_with(s, 0, x, &err));
    CHECK_ERROR(OX_ARGUMENT, "input \"a\": no data given (NULL)");
    x = inputs[0];
    x.name = "c";
    CHECK(!run_with(s, 0, x, &err));
    CHECK_ERROR(OX_ARGUMENT, "input \"c\": the model has none of this name, it has \"a\", \"b\", "
                             "\"scalar\", \"flags\", \"shape\"");
    CHECK(!run_with(s, 1, inputs[0], &err));
    CHECK_ERROR(OX_ARGUMENT, "input \"a\": given twice");
    x = inputs[0];
    x.dims = NULL;
    CHECK(!run_with(s, 0, x, &err));
    CHECK_ERROR(OX_ARGUMENT, "input \"a\": no dims given (NULL)");
    x = inputs[0];
    x.rank = 1000000;
    CHECK(!run_with(s, 0, x, &err));
    CHECK_ERROR(OX_ARGUMENT, "input \"a\": rank 1000000 is not between 0 and 32");
    x = inputs[0];
    x.name = NULL;
    CHECK(!run_with(s, 0, x, &err));
    CHECK_ERROR(OX_ARGUMENT, "input 0: no name given (NULL)");
    ox_tensor y[WANTED];
    CHECK(!ox_session_run(s, inputs, INPUTS - 1, names, y, WANTED, &err));
    CHECK_ERROR(OX_ARGUMENT, "input \"shape\": missing");
    CHECK(!ox_session_run(s, inputs, INPUTS - 1, names, y, WANTED, NULL));
}

static void test_outputs(ox_session *s)
{
    ox_error err;
    ox_tensor y[OUTPUTS];
    size_t count = 0;
    const char *const *all = ox_session_outputs(s, &count);
    CHECK(count == OUTPUTS && strcmp(all[0], "sum") == 0 && strcmp(all[5], "list") == 0);
    CHECK(!ox_session_run(s, inputs, INPUTS, NULL, y, OUTPUTS, &err));
    CHECK_ERROR(OX_UNSUPPORTED, "output \"list\": not a tensor");
    CHECK(!ox_session_run(s, inputs, INPUTS, NULL, y, 2, &err));
    CHECK_ERROR(OX_ARGUMENT, "room for 2 outputs of 6");
    const char *const other[] = {"sums"};
    CHECK(!ox_session_run(s, inputs, INPUTS, other, y, 1, &err));
    CHECK_ERROR(OX_ARGUMENT, "output \"sums\": the model has none of this name, it has \"sum\", "
                             "\"size\", \"negative\", \"others\", \"shaped\", \"list\"");
    const char *const none[] = {NULL};
    CHECK(!ox_session_run(s, inputs, INPUTS, none, y, 1, &err));
    CHECK_ERROR(OX_ARGUMENT, "output_names: name 0 is missing (NULL)");
    CHECK(!ox_session_run(s, NULL, INPUTS, other, y, 1, &err));
    CHECK_ERROR(OX_ARGUMENT, "inputs: 5 counted, none given (NULL)");
    CHECK(!ox_session_run(s, inputs, INPUTS, other, NULL, 1, &err));
    CHECK_ERROR(OX_ARGUMENT, "outputs: none given (NULL)");
    CHECK(!ox_session_run(NULL, inputs, INPUTS, other, y, 1, &err));
    CHECK_ERROR(OX_ARGUMENT, "session: none given (NULL)");
    CHECK(ox_session_outputs(s, NULL) == all);
}

/* What only ONNX Runtime notices comes back as one line. */
static void test_refusal(ox_session *s)
{
    ox_error err;
    const int64_t shape[] = {7, 7};
    ox_tensor x = inputs[4];
    x.data = shape;
    CHECK(!run_with(s, 4, x, &err));
    CHECK(err.code == OX_RUNTIME && strncmp(err.message, "onnxruntime: ", 13) == 0);
    CHECK(strstr(err.message, "Reshape") != NULL && strchr(err.message, '\n') == NULL);
}

static void *run_often(void *session)
{
    bool done = true;
    for (int i = 0; i < 50 && done; i++) {
        ox_tensor y[WANTED];
        done = ox_session_run(session, inputs, INPUTS, names, y, WANTED, NULL);
        if (done) {
            done = ((const float *)y[1].data)[5] == 66;
            free_tensors(y, WANTED);
        }
    }
    return done ? session : NULL;
}

static void test_threads(ox_session *s)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, run_often, s) == 0);
    }
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        CHECK(pthread_join(threads[i], &result) == 0 && result == s);
    }
}

static void test_model(const bytes *model)
{
    ox_error err;
    ox_session_options options = OX_SESSION_OPTIONS_INIT;
    options.threads = 1;
    options.no_optimization = true;
    ox_model *parsed = ox_parse(model->data, model->size, NULL, &err);
    if (!CHECK(parsed != NULL)) {
        return;
    }
    ox_session *s = ox_session_open_model(parsed, &options, &err);
    if (CHECK(s != NULL)) {
        test_values(s);
    }
    ox_session_free(s);
    ox_tensor y[OUTPUTS];
    CHECK(!ox_evaluate_runtime(&options, parsed, inputs, INPUTS, y, OUTPUTS, &err));
    CHECK_ERROR(OX_UNSUPPORTED, "output \"list\": not a tensor");
    ox_free(parsed);
}

/* `folder` is empty but for the model; `path` is the model's. */
static void test_search(const char *folder, const char *path)
{
    ox_error err;
    char version[32];
    ox_session_options options = OX_SESSION_OPTIONS_INIT;
    options.runtime = "libm.so.6";
    CHECK(ox_session_open(path, &options, &err) == NULL);
    CHECK_ERROR(OX_RUNTIME, "libm.so.6: not an onnxruntime library");
    CHECK(!ox_runtime_version(NULL, version, 2, &err) && err.code == OX_ARGUMENT);
    setenv("ONNXRUNTIME_ROOT", folder, 1);
    setenv("ONNXRUNTIME_LIBRARY", "/nowhere/libonnxruntime.so", 1);
    CHECK(!ox_runtime_version(NULL, version, sizeof version, &err) && err.code == OX_RUNTIME);
    CHECK(strncmp(err.message, "ONNXRUNTIME_LIBRARY: /nowhere/libonnxruntime.so: ", 48) == 0);
    setenv("ONNXRUNTIME_LIBRARY", "", 1);
    CHECK(!ox_runtime_version(NULL, version, sizeof version, &err) && err.code == OX_RUNTIME);
    CHECK(strncmp(err.message, "ONNXRUNTIME_ROOT: no libonnxruntime.so in ", 42) == 0);
    char file[128];
    snprintf(file, sizeof file, "%s/libonnxruntime.so.1.21.0", folder);
    CHECK(symlink(path, file) == 0);
    CHECK(!ox_runtime_version(NULL, version, sizeof version, &err) && err.code == OX_RUNTIME);
    CHECK(strstr(err.message, "libonnxruntime.so.1.21.0") != NULL);
    unlink(file);
}

static void test_broken_files(const char *folder, const bytes *model)
{
    ox_error err;
    char path[128];
    snprintf(path, sizeof path, "%s/broken.onnx", folder);
    CHECK(ox_session_open(path, NULL, &err) == NULL && err.code == OX_IO);
    CHECK(strncmp(err.message, path, strlen(path)) == 0);
    FILE *file = fopen(path, "wb");
    if (CHECK(file != NULL)) {
        fwrite(model->data, 1, model->size / 2, file);
        fclose(file);
        CHECK(ox_session_open(path, NULL, &err) == NULL && err.code == OX_INVALID);
        unlink(path);
    }
    ox_session_options options = OX_SESSION_OPTIONS_INIT;
    options.threads = -1;
    CHECK(ox_session_open("/", &options, &err) == NULL);
    CHECK_ERROR(OX_ARGUMENT, "threads: -1 is not between 0 and 4096");
    options.threads = 1;
    options.profile = "/no/such/folder/prefix";
    options.no_tune = true;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    CHECK(ox_session_open(path, &options, &err) == NULL);
    CHECK_ERROR(OX_IO, "profile: /no/such/folder/prefix: No such file or directory");
}

static void test_profile(const char *folder, const char *path)
{
    char prefix[128], pattern[160];
    snprintf(prefix, sizeof prefix, "%s/profile", folder);
    snprintf(pattern, sizeof pattern, "%s*.json", prefix);
    ox_session_options options = OX_SESSION_OPTIONS_INIT;
    options.profile = prefix;
    ox_session *s = ox_session_open(path, &options, NULL);
    CHECK(s != NULL);
    ox_session_free(s);
    glob_t found;
    if (CHECK(glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc == 1)) {
        unlink(found.gl_pathv[0]);
    }
    globfree(&found);
}

static void test_all(const char *folder, const char *path, const bytes *model)
{
    ox_error err;
    ox_session *s = ox_session_open(path, NULL, &err);
    if (CHECK(s != NULL)) {
        test_values(s);
        test_no_rows(s);
        test_wrong_inputs(s);
        test_outputs(s);
        test_refusal(s);
        test_threads(s);
    } else {
        printf("    %s\n", err.message);
    }
    ox_session_free(s);
    ox_session_free(NULL);
    ox_tensor_free(NULL);
    CHECK(ox_type_size(OX_DOUBLE) == 8 && ox_type_size(OX_STRING) == sizeof(char *) &&
          ox_type_size((ox_type)99) == 0);
    CHECK(strcmp(ox_type_name(OX_FLOAT16), "float16") == 0);
    CHECK(strcmp(ox_type_name((ox_type)14), "?") == 0);
    test_model(model);
    test_profile(folder, path);
    test_broken_files(folder, model);
    test_search(folder, path);
}

int main(void)
{
    ox_error err;
    char version[32], folder[] = "/tmp/onnxexplainer-run-test-XXXXXX", path[64], quiet[64];
    if (!ox_runtime_version(NULL, version, sizeof version, &err)) {
        printf("%s\n", err.message);
        return getenv("ONNXRUNTIME_LIBRARY") != NULL ? 1 : 77;
    }
    printf("onnxruntime %s\n", version);
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    snprintf(quiet, sizeof quiet, "%s/stderr", folder);
    bytes model = make_model();
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(model.data, 1, model.size, file) != model.size ||
        fclose(file) != 0) {
        return 1;
    }
    int stderr_before = dup(STDERR_FILENO);
    if (CHECK(freopen(quiet, "w", stderr) != NULL)) {
        test_all(folder, path, &model);
    }
    struct stat printed = {.st_size = 0};
    CHECK(stat(quiet, &printed) == 0 && printed.st_size == 0);
    dup2(stderr_before, STDERR_FILENO); /* for what sanitizers report at the end */
    unlink(quiet);
    unlink(path);
    CHECK(rmdir(folder) == 0);
    printf(failures == 0 ? "ok\n" : "%d failures\n", failures);
    return failures != 0;
}
