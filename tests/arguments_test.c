/* What careless programs pass: every argument of the public functions is refused by name where it
 * cannot be used, and NULL is either that or does what the header says. */
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "small.h"

static int failures;

/* Counts what is not as the message says; "" stands for success. */
static void expect(const char *what, bool good, const ox_error *err, const char *message)
{
    bool right = message[0] == '\0' ? good : !good && strcmp(err->message, message) == 0;
    if (!right) {
        printf("%s: expected %s\n    got %s\n", what, message[0] == '\0' ? "success" : message,
               good ? "success" : err->message);
        failures++;
    }
}

static float data[96];
static const int64_t dims[4] = {3, 1, 4, 4};
static const ox_tensor reference = {"x", OX_FLOAT, 4, dims, data};

static bool nothing(void *user, const ox_model *model, const ox_tensor *inputs, size_t input_count,
                    ox_tensor *outputs, size_t output_count, ox_error *err)
{
    (void)user, (void)model, (void)inputs, (void)input_count, (void)err;
    memset(outputs, 0, output_count * sizeof *outputs);
    return true;
}

static bool gives_up(void *user, const ox_model *model, const ox_tensor *inputs, size_t input_count,
                     ox_tensor *outputs, size_t output_count, ox_error *err)
{
    (void)user, (void)model, (void)inputs, (void)input_count, (void)outputs, (void)output_count;
    (void)err;
    return false;
}

/* ---- options ---------------------------------------------------------------------------- */

static void explain(const ox_model *model, const ox_options *options, const char *what,
                    const char *message)
{
    ox_error err = {.code = OX_OK};
    ox_model *explained = ox_explain(model, options, &err);
    expect(what, explained != NULL, &err, message);
    ox_free(explained);
}

/* Explains with options that hold one reference but for what is assigned. */
#define OPTIONS(message, ...)                                                                      \
    do {                                                                                           \
        ox_options o = OX_OPTIONS_INIT;                                                            \
        o.references = &reference;                                                                 \
        o.reference_count = 1;                                                                     \
        __VA_ARGS__;                                                                               \
        explain(model, &o, #__VA_ARGS__, message);                                                 \
    } while (0)

/* The same with a reference that is changed. */
#define REFERENCE(message, ...)                                                                    \
    do {                                                                                           \
        ox_options o = OX_OPTIONS_INIT;                                                            \
        ox_tensor t = reference;                                                                   \
        int64_t d[4] = {3, 1, 4, 4};                                                               \
        t.dims = d;                                                                                \
        o.references = &t;                                                                         \
        o.reference_count = 1;                                                                     \
        __VA_ARGS__;                                                                               \
        explain(model, &o, #__VA_ARGS__, message);                                                 \
    } while (0)

static void test_references(const ox_model *model)
{
    REFERENCE("", t.name = NULL);
    REFERENCE("reference \"\": its name is empty", t.name = "");
    REFERENCE("reference \"\xff\": its name is not UTF-8", t.name = "\xff");
    REFERENCE("reference \"x\": no data given (NULL)", t.data = NULL);
    REFERENCE("reference \"x\": no dims given (NULL)", t.dims = NULL);
    REFERENCE("reference \"x\": rank -1 is not between 0 and 32", t.rank = -1);
    REFERENCE("reference \"x\": rank 1000000 is not between 0 and 32", t.rank = 1000000);
    REFERENCE("reference \"x\": dimension 0 is -1", d[0] = -1);
    REFERENCE("reference \"x\": larger than memory by its shape", d[0] = INT64_MAX);
    REFERENCE("reference \"x\": larger than memory by its shape", d[0] = INT64_MAX, d[1] = 0);
    REFERENCE("references for \"x\" are empty", d[0] = 0, t.data = NULL);
    REFERENCE("reference \"x\": elements of type ? (999) are not supported", t.type = (ox_type)999);
    REFERENCE("reference \"x\": elements of type ? (-1) are not supported", t.type = (ox_type)-1);
    static const char *const texts[16] = {"a", "\xff"}, *const words[16] = {
                                                            "a", "b", "c", "d", "e", "f", "g", "h",
                                                            "i", "j", "k", "l", "m", "n", "o", "p"};
    REFERENCE("reference \"x\": element 1 is not UTF-8", t.type = OX_STRING, t.data = texts);
    REFERENCE("reference \"x\": element 0 is missing (NULL)", t.type = OX_STRING,
              t.data = texts + 2);
    REFERENCE("references for \"x\" are str, the input is float32", t.type = OX_STRING,
              t.data = words, d[0] = 1);
    REFERENCE("references for \"x\" are float64, the input is float32", t.type = OX_DOUBLE);
    const ox_tensor twice[2] = {reference, reference};
    OPTIONS("reference \"x\": given twice", o.references = twice, o.reference_count = 2);
    OPTIONS("references: 1 counted, none given (NULL)", o.references = NULL);
    OPTIONS("no references", o.reference_count = 0);
    OPTIONS("reference_source: 9 is none", o.reference_source = (ox_reference_source)9);
    OPTIONS("references: given, but reference_source says otherwise",
            o.reference_source = OX_REFERENCES_INPUT);
    OPTIONS("", o.reference_count = 0, o.reference_source = OX_REFERENCES_FILL, o.fill = 1);
    OPTIONS("fill: nan is not finite", o.fill = (double)NAN);
    OPTIONS("fill: input \"x\" of type float32 cannot hold 1e+300", o.reference_count = 0,
            o.reference_source = OX_REFERENCES_FILL, o.fill = 1e300);
}

static void test_names(const ox_model *model)
{
    const char *const none[1] = {NULL}, *const empty[1] = {""}, *const odd[1] = {"\xc0\x80"};
    const char *const twice[2] = {"x", "x"};
    OPTIONS("hold: 1 counted, none given (NULL)", o.hold_count = 1);
    OPTIONS("hold: name 0 is missing (NULL)", o.hold = none, o.hold_count = 1);
    OPTIONS("hold: name 0 is empty", o.hold = empty, o.hold_count = 1);
    OPTIONS("hold: name 0 is not UTF-8", o.hold = odd, o.hold_count = 1);
    OPTIONS("hold: \"x\" is given twice", o.hold = twice, o.hold_count = 2);
    OPTIONS("at: 3 counted, none given (NULL)", o.at_count = 3);
    OPTIONS("at: name 0 is missing (NULL)", o.at = none, o.at_count = 1);
    OPTIONS("at: \"x\" is given twice", o.at = twice, o.at_count = 2);
    OPTIONS("target: not UTF-8", o.target = "\xe4");
    char *many = malloc(200002);
    for (size_t i = 0; many != NULL && i < 200002; i++) {
        many[i] = i == 200001 ? '\0' : i % 2 == 0 ? '1' : ',';
    }
    OPTIONS("target: a list of 100001, 65536 can be explained at most", o.target = many);
    free(many);
    OPTIONS("output_name: not UTF-8", o.output_name = "\xed\xa0\x80");
    OPTIONS("the model has no output or tensor \"\" to explain, its outputs are \"y\"",
            o.output_name = "");
    OPTIONS("prefix: not UTF-8", o.prefix = "\xf4\x90\x80\x80");
    OPTIONS("prefix: has control characters", o.prefix = "a\n");
    OPTIONS("", o.prefix = "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
}

static void test_features(const ox_model *model)
{
    char texts[16][16];
    const char *names[16];
    for (int i = 0; i < 16; i++) {
        snprintf(texts[i], sizeof texts[i], "f%d", i);
        names[i] = texts[i];
    }
    OPTIONS("", o.feature_names = names, o.feature_count = 16);
    OPTIONS("", o.feature_names = names, o.feature_count = 4); /* along the last axis */
    OPTIONS("3 feature names, but a sample has 16 values, 4 along the last axis",
            o.feature_names = names, o.feature_count = 3);
    OPTIONS("feature_names: 16 counted, none given (NULL)", o.feature_count = 16);
    names[2] = "f1";
    OPTIONS("feature name \"f1\" is given twice", o.feature_names = names, o.feature_count = 16);
    names[2] = "a\nb";
    OPTIONS("feature_names: name 2 has control characters", o.feature_names = names,
            o.feature_count = 16);
    names[2] = NULL;
    OPTIONS("feature_names: name 2 is missing (NULL)", o.feature_names = names,
            o.feature_count = 16);
}

static void test_numbers(const ox_model *model)
{
    OPTIONS("cache: 77 is none", o.cache = (ox_cache)77);
    OPTIONS("cache: -1 is none", o.cache = (ox_cache)-1);
    OPTIONS("cache_dtype: ? (77) is neither float32 nor float16", o.cache_dtype = (ox_type)77);
    OPTIONS("cache_dtype: str (8) is neither float32 nor float16", o.cache_dtype = OX_STRING);
    OPTIONS("cache file needs ONNX Runtime to run the references", o.cache = OX_CACHE_FILE);
    OPTIONS("the references cannot be run", o.cache = OX_CACHE_FILE, o.evaluate = gives_up);
    OPTIONS("evaluate: what it gives for \"y\" is not of the type and shape that it has",
            o.cache = OX_CACHE_FILE, o.evaluate = nothing);
    OPTIONS("chunk: -1 is negative", o.chunk = -1);
    OPTIONS("chunk: -9223372036854775808 is negative", o.chunk = INT64_MIN);
    OPTIONS("", o.chunk = INT64_MAX);
    OPTIONS("", o.memory = 1);
    OPTIONS("", o.memory = UINT64_MAX);
    OPTIONS("integrate: -1 points are not between 1 and 64", o.integrate = -1);
    OPTIONS("integrate: 2147483647 points are not between 1 and 64", o.integrate = INT_MAX);
    const char *const unknown[1] = {"Nope"}, *const twice[2] = {"Softmax", "Softmax"};
    OPTIONS("order: 4 is none of 1, 2 and 3", o.order = 4);
    OPTIONS("order: -1 is none of 1, 2 and 3", o.order = -1);
    OPTIONS("splits: 65 are not between 1 and 64", o.splits = 65);
    OPTIONS("splits: -1 are not between 1 and 64", o.splits = -1);
    OPTIONS("pool: \"mean\" is neither cross nor tree", o.pool = "mean");
    OPTIONS("integrate_ops: integrate gives no points", o.integrate_ops = twice,
            o.integrate_op_count = 1);
    OPTIONS("integrate_ops: 2 counted, none given (NULL)", o.integrate = 2,
            o.integrate_op_count = 2);
    OPTIONS("integrate_ops: \"Softmax\" is given twice", o.integrate = 2, o.integrate_ops = twice,
            o.integrate_op_count = 2);
    OPTIONS("integrate: operator \"Nope\" cannot be integrated, these can: \"GlobalMaxPool\", "
            "\"LayerNormalization\", \"LogSoftmax\", \"MaxPool\", \"Softmax\"",
            o.integrate = 2, o.integrate_ops = unknown, o.integrate_op_count = 1);
}

/* What is explained, and by which references: arrays that go with it. */
static void test_arrays(const ox_model *model)
{
    const double weights[4] = {1, 0, 2, 3}, nan[3] = {1, (double)NAN, 1}, none[3] = {0, 0, 0},
                 below[3] = {1, 1, -1}, huge[3] = {1e308, 1e308, 1e308};
    OPTIONS("", o.weights = weights, o.weight_count = 3);
    OPTIONS("", o.weights = weights); /* none are counted */
    OPTIONS("weights: 3 of them, but none is given", o.weight_count = 3);
    OPTIONS("4 weights for 3 references", o.weights = weights, o.weight_count = 4);
    OPTIONS("weight 1 is nan: weights are 0 or above", o.weights = nan, o.weight_count = 3);
    OPTIONS("weight 2 is -1: weights are 0 or above", o.weights = below, o.weight_count = 3);
    OPTIONS("the weights add up to 0", o.weights = none, o.weight_count = 3);
    OPTIONS("the weights add up to inf", o.weights = huge, o.weight_count = 3);
    OPTIONS("weights go with references that are given", o.weights = weights, o.weight_count = 3,
            o.reference_count = 0, o.reference_source = OX_REFERENCES_INPUT);
    const int64_t three = 3, less = -3, five = 5;
    const float mask[5] = {1, 0, 1}, odd[3] = {1, (float)NAN, 0};
    const bool truth[3] = {true, false, true};
    ox_tensor t = {NULL, OX_FLOAT, 1, &three, mask};
    OPTIONS("target \"mask\": the array is missing, target_array", o.target = "mask");
    OPTIONS("target array 0: no data given (NULL)", o.target = "mask", t.data = NULL,
            o.target_array = &t);
    t.data = mask, t.dims = &less;
    OPTIONS("target array 0: dimension 0 is -3", o.target = "mask", o.target_array = &t);
    t.dims = &five;
    OPTIONS("target \"mask\": the array has 5 values, the output 3", o.target = "mask",
            o.target_array = &t);
    t.dims = &three, t.data = odd;
    OPTIONS("target \"mask\": the array holds values that are not finite", o.target = "mask",
            o.target_array = &t);
    t.type = OX_BOOL, t.data = truth;
    OPTIONS("", o.target = "mask", o.target_array = &t);
    t.type = OX_FLOAT, t.data = mask;
    OPTIONS("", o.target = "mask", o.target_array = &t);
    OPTIONS("", o.target_array = &t); /* which other targets do not look at */
    t.data = none;
    OPTIONS("target \"cosine\": the array is all 0", o.target = "cosine", o.target_array = &t);
}

/* Programs built with other versions of the header. */
static void test_sizes(const ox_model *model)
{
    OPTIONS("ox_options: size is 0, start from its INIT macro", o.size = 0);
    OPTIONS("ox_options: size is 3, start from its INIT macro", o.size = 3);
    OPTIONS("ox_options: size is 1000000, start from its INIT macro", o.size = 1000000);
    /* What came later has its default, whatever stands there. */
    OPTIONS("", o.size = offsetof(ox_options, cache), o.cache = (ox_cache)77, o.chunk = -1);
    OPTIONS("no references", o.size = sizeof o.size);
    struct {
        ox_options known;
        size_t unknown;
    } later = {.known = OX_OPTIONS_INIT};
    later.known.size = sizeof later;
    later.known.references = &reference;
    later.known.reference_count = 1;
    explain(model, &later.known, "later header", "");
    later.unknown = 1;
    explain(model, &later.known, "later header, field set",
            "ox_options: has fields set that version " OX_VERSION " does not know");
    ox_session_options s = {.size = 0};
    ox_error err = {.code = OX_OK};
    expect("session size 0", ox_session_open_model(model, &s, &err) != NULL, &err,
           "ox_session_options: size is 0, start from its INIT macro");
    expect("tune size 0", ox_tune(model, &s, &err) != NULL, &err,
           "ox_session_options: size is 0, start from its INIT macro");
}

/* ---- sessions --------------------------------------------------------------------------- */

#define SESSION(message, ...)                                                                      \
    do {                                                                                           \
        ox_session_options o = OX_SESSION_OPTIONS_INIT;                                            \
        ox_error err = {.code = OX_OK};                                                            \
        __VA_ARGS__;                                                                               \
        ox_session *s = ox_session_open_model(model, &o, &err);                                    \
        expect(#__VA_ARGS__, s != NULL, &err, message);                                            \
        ox_session_free(s);                                                                        \
    } while (0)

static void test_sessions(const ox_model *model)
{
    SESSION("threads: -1 is not between 0 and 4096", o.threads = -1);
    SESSION("threads: 100000 is not between 0 and 4096", o.threads = 100000);
    SESSION("runtime: is empty", o.runtime = "");
    SESSION("profile: is empty", o.profile = "");
    SESSION("provider: is empty", o.provider = "");
    SESSION("provider: \"fast\" is not KEY=VALUE", o.provider = "CPU,fast");
    SESSION("provider: CPU takes no options", o.provider = "CPU,a=b");
    ox_error err = {.code = OX_OK};
    size_t count = 1;
    expect("open NULL", ox_session_open(NULL, NULL, &err) != NULL, &err, "path: none given (NULL)");
    expect("open empty", ox_session_open("", NULL, &err) != NULL, &err, "path: is empty");
    expect("open NULL model", ox_session_open_model(NULL, NULL, &err) != NULL, &err,
           "model: none given (NULL)");
    expect("outputs of NULL", ox_session_outputs(NULL, &count) == NULL && count == 0, &err, "");
    expect("run NULL", ox_session_run(NULL, NULL, 0, NULL, NULL, 0, &err), &err,
           "session: none given (NULL)");
    expect("evaluate NULL", ox_evaluate_runtime(NULL, NULL, NULL, 0, NULL, 0, &err), &err,
           "model: none given (NULL)");
    expect("evaluate into NULL", ox_evaluate_runtime(NULL, model, NULL, 0, NULL, 0, &err), &err,
           "outputs: none given (NULL)");
    expect("tune NULL", ox_tune(NULL, NULL, &err) != NULL, &err, "model: none given (NULL)");
    expect("tune a plain model", ox_tune(model, NULL, &err) != NULL, &err,
           "not an explained model");
    char version[32];
    expect("version NULL", ox_runtime_version(NULL, NULL, 32, &err), &err,
           "version: none given (NULL)");
    expect("runtime empty", ox_runtime_version("", version, sizeof version, &err), &err,
           "runtime: is empty");
}

/* ---- models ----------------------------------------------------------------------------- */

static bool stop(void *user, const void *bytes, size_t size)
{
    (void)user, (void)bytes, (void)size;
    return false;
}

static void test_models(const ox_model *model)
{
    ox_error err = {.code = OX_OK};
    expect("read NULL", ox_read(NULL, &err) != NULL, &err, "path: none given (NULL)");
    expect("read empty", ox_read("", &err) != NULL, &err,
           "\"\": cannot read: no such file or directory");
    expect("read without err", ox_read("/no/such/file", NULL) == NULL, &err, "");
    expect("parse NULL", ox_parse(NULL, 10, NULL, &err) != NULL, &err, "data: none given (NULL)");
    expect("parse nothing", ox_parse(NULL, 0, NULL, &err) != NULL, &err, "not an ONNX model");
    expect("write NULL", ox_write(NULL, "/tmp/x", &err), &err, "model: none given (NULL)");
    expect("write to NULL", ox_write(model, NULL, &err), &err, "path: none given (NULL)");
    expect("write to empty", ox_write(model, "", &err), &err,
           "\"\": cannot write: no such file or directory");
    expect("serialize NULL", ox_serialize(NULL, stop, NULL, &err), &err,
           "model: none given (NULL)");
    expect("no sink", ox_serialize(model, NULL, NULL, &err), &err, "sink: none given (NULL)");
    expect("a sink that stops", ox_serialize(model, stop, NULL, &err), &err,
           "cannot write the model");
    expect("uses of NULL", !ox_uses(NULL, "/tmp") && !ox_uses(model, NULL), &err, "");
    expect("output to NULL", ox_output_open(NULL, &err) != NULL, &err, "path: none given (NULL)");
    expect("direct NULL", !ox_output_is_direct(NULL), &err, "");
    expect("write to NULL", !ox_output_write(NULL, "a", 1), &err, "");
    expect("seek in NULL", !ox_output_seek(NULL, 0), &err, "");
    expect("close NULL", ox_output_close(NULL, true, &err), &err, "output: none given (NULL)");
    ox_output *output = ox_output_open("/dev/null", &err);
    expect("write NULL", !ox_output_write(output, NULL, 1), &err, "");
    expect("close after NULL", ox_output_close(output, true, &err), &err,
           "/dev/null: cannot write: bad address");
    explain(NULL, NULL, "explain NULL", "model: none given (NULL)");
    explain(model, NULL, "no options", "no references");
    const ox_model *const two[2] = {model, NULL};
    const char *const missing[1] = {NULL}, *const unknown[1] = {"y:z"};
    expect("stack NULL", ox_stack(NULL, 2, NULL, 0, &err) != NULL, &err,
           "models: none given (NULL)");
    expect("stack nothing", ox_stack(two, 0, NULL, 0, &err) != NULL, &err,
           "a stack is of 1 to 64 models, not of 0");
    expect("stack a NULL", ox_stack(two, 2, NULL, 0, &err) != NULL, &err,
           "a model: none given (NULL)");
    expect("connect NULL", ox_stack(two, 1, NULL, 1, &err) != NULL, &err,
           "connect: 1 counted, none given (NULL)");
    expect("connect a NULL", ox_stack(two, 1, missing, 1, &err) != NULL, &err,
           "connect: name 0 is missing (NULL)");
    expect("connect unknown", ox_stack(two, 1, unknown, 1, &err) != NULL, &err,
           "connect \"y:z\": no output of a model and input of a later one; 1 gives \"y\"");
    ox_model *alone = ox_stack(two, 1, NULL, 0, &err);
    expect("stack of one", alone != NULL, &err, "");
    ox_free(alone);
    expect("nodes NULL", ox_nodes(NULL, &err) != NULL, &err, "model: none given (NULL)");
    ox_nodes_free(NULL);
    expect("inspect NULL", ox_inspect(NULL, NULL, &err) != NULL, &err, "model: none given (NULL)");
    ox_report *report = ox_inspect(model, NULL, &err);
    expect("inspect without options", report != NULL && report->explainable, &err, "");
    ox_report_free(report);
    ox_report_free(NULL);
}

/* References that come out again, into too little room; and what fixes an input. */
static void test_recovered(const ox_model *model)
{
    ox_options options = OX_OPTIONS_INIT;
    options.references = &reference;
    options.reference_count = 1;
    ox_error err = {.code = OX_OK};
    ox_model *explained = ox_explain(model, &options, &err);
    ox_tensor found[1];
    size_t count = 7;
    expect("no room", ox_references(explained, found, 0, &count, &err), &err,
           "room for 0 references is not enough");
    expect("room", ox_references(explained, found, 1, &count, &err) && count == 1, &err, "");
    expect("the same", memcmp(found[0].data, data, 48 * sizeof *data) == 0, &err, "");
    ox_tensor_free(found);
    ox_free(explained);
    static const double doubles[48];
    const ox_tensor wide = {"x", OX_DOUBLE, 4, dims, doubles},
                    flat = {"x", OX_FLOAT, 1, dims, data};
    OPTIONS("the value that fixes input \"x\" is float64, the input is float32", o.fix = &wide,
            o.fix_count = 1);
    OPTIONS("the value that fixes input \"x\" has not the shape of the input", o.fix = &flat,
            o.fix_count = 1);
}

static void test_accessors(const ox_model *model)
{
    ox_error err = {.code = OX_OK};
    size_t count = 7;
    expect("inputs of NULL", ox_inputs(NULL, &count) == NULL && count == 0, &err, "");
    count = 7;
    expect("outputs of NULL", ox_outputs(NULL, &count) == NULL && count == 0, &err, "");
    expect("uncounted inputs", ox_inputs(model, NULL) == ox_inputs(model, &count), &err, "");
    expect("uncounted outputs", ox_outputs(model, NULL) == ox_outputs(model, &count), &err, "");
    expect("rules", ox_rules(NULL) == ox_rules(&count), &err, "");
    expect("opsets", ox_opset(NULL, "") == 0 && ox_opset(model, NULL) == 18, &err, "");
    expect("IR version of NULL", ox_ir_version(NULL) == 0, &err, "");
    expect("metadata of NULL", ox_metadata(NULL, "a") == NULL, &err, "");
    expect("metadata at NULL", ox_metadata(model, NULL) == NULL, &err, "");
    ox_free(NULL);
    ox_tensor_free(NULL);
    ox_session_free(NULL);
}

int main(void)
{
    small_bytes bytes = small_model(false);
    ox_model *model = ox_parse(bytes.data, bytes.size, NULL, NULL);
    if (model == NULL) {
        return 1;
    }
    for (size_t i = 0; i < 96; i++) {
        data[i] = (float)i / 96;
    }
    test_references(model);
    test_names(model);
    test_features(model);
    test_numbers(model);
    test_arrays(model);
    test_sizes(model);
    test_sessions(model);
    test_models(model);
    test_recovered(model);
    test_accessors(model);
    ox_free(model);
    free(bytes.data);
    return failures > 0;
}
