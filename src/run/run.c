/* Runs: named tensors in, copies of the results out. Inputs are used where they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/names.h"
#include "run/plan.h"
#include "run/run.h"
#include "run/steady.h"

_Static_assert((int)OX_FLOAT == (int)ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT &&
                   (int)OX_BOOL == (int)ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL &&
                   (int)OX_BFLOAT16 == (int)ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
               "both number element types as ONNX does");

/* One run. Threads that share a session have one each. */
typedef struct call {
    ox_arena *arena;
    const ox_session *session;
    const ox_tensor *given;
    size_t given_count, wanted_count;
    const char *const *wanted; /* names of outputs */
    const char **given_names;
    OrtValue **values;  /* of inputs, on the caller's data */
    OrtValue **results; /* of outputs */
    OrtTensorTypeAndShapeInfo *shape;
    ox_tensor *copies; /* of results */
} call;

static void check(const call *c, OrtStatus *status)
{
    ox_runtime_check(c->arena, c->session->api, status);
}

static const ox_port *find_port(const ox_port *ports, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(ports[i].name, name) == 0) {
            return &ports[i];
        }
    }
    return NULL;
}

/* "[N, 3, ?]", cut to `size`. Without symbols dimensions are printed as they are. */
static void print_shape(char *text, size_t size, size_t rank, const int64_t *dims,
                        const char *const *symbols)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (size_t i = 0; i < rank && used < size; i++) {
        const char *comma = i > 0 ? ", " : "";
        int added;
        if (dims[i] >= 0 || symbols == NULL) {
            added = snprintf(text + used, size - used, "%s%lld", comma, (long long)dims[i]);
        } else {
            const char *symbol = symbols[i][0] != '\0' ? symbols[i] : "?";
            added = snprintf(text + used, size - used, "%s%s", comma, symbol);
        }
        used += added > 0 ? (size_t)added : 0;
    }
    if (used < size) {
        snprintf(text + used, size - used, "]");
    }
}

static bool shape_matches(const ox_port *p, const ox_tensor *t)
{
    if (p->rank == 0) {
        return true; /* no shape in the model, or a scalar: ONNX Runtime checks */
    }
    if ((size_t)t->rank != p->rank) {
        return false;
    }
    for (size_t i = 0; i < p->rank; i++) {
        if (p->dims[i] >= 0 && p->dims[i] != t->dims[i]) {
            return false;
        }
    }
    return true;
}

static size_t element_size(const call *c, const char *name, ox_type type)
{
    size_t size = ox_type_size(type);
    if (size == 0) {
        ox_fail(c->arena, OX_UNSUPPORTED,
                "output \"%s\": elements of type %s (%d) are not supported", name,
                ox_type_name(type), (int)type);
    }
    return size;
}

/* Of a tensor that is in memory, so that they fit. */
static size_t count_bytes(const ox_tensor *t)
{
    size_t bytes = ox_type_size(t->type);
    for (int i = 0; i < t->rank; i++) {
        bytes *= (size_t)t->dims[i];
    }
    return bytes;
}

static const char *port_name(const void *of, size_t index)
{
    return ((const ox_port *)of)[index].name;
}

static const char *list_ports(const call *c, const ox_port *ports, size_t count)
{
    return ox_names_list(c->arena, port_name, ports, count);
}

static void check_input(const call *c, const ox_tensor *t)
{
    const ox_session *s = c->session;
    const ox_port *p = find_port(s->inputs, s->input_count, t->name);
    if (p == NULL) {
        ox_fail(c->arena, OX_ARGUMENT, "input \"%s\": the model has none of this name, it has %s",
                t->name, list_ports(c, s->inputs, s->input_count));
    }
    if (p->type == OX_NONE) {
        ox_fail(c->arena, OX_UNSUPPORTED, "input \"%s\": the model takes no tensor there", t->name);
    }
    if (p->type != t->type) {
        ox_fail(c->arena, OX_ARGUMENT, "input \"%s\": expected type %s, given %s", t->name,
                ox_type_name(p->type), ox_type_name(t->type));
    }
    if (!shape_matches(p, t)) {
        char expected[160], given[160];
        print_shape(expected, sizeof expected, p->rank, p->dims, p->symbols);
        print_shape(given, sizeof given, (size_t)t->rank, t->dims, NULL);
        ox_fail(c->arena, OX_ARGUMENT, "input \"%s\": expected shape %s, given %s", t->name,
                expected, given);
    }
}

/* ONNX Runtime has its own copy of text. */
static void wrap_texts(const call *c, const ox_tensor *t, size_t count, OrtValue **value)
{
    const OrtApi *api = c->session->api;
    OrtAllocator *own;
    check(c, api->GetAllocatorWithDefaultOptions(&own));
    check(c, api->CreateTensorAsOrtValue(own, t->dims, (size_t)t->rank,
                                         ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, value));
    check(c, api->FillStringTensor(*value, t->data, count));
}

/* Wraps the given tensors; ONNX Runtime only reads from inputs. */
static void wrap_inputs(call *c)
{
    const ox_session *s = c->session;
    const OrtApi *api = s->api;
    c->given_names = ox_arena_alloc(c->arena, c->given_count, sizeof *c->given_names);
    for (size_t i = 0; i < c->given_count; i++) {
        const ox_tensor *t = &c->given[i];
        check_input(c, t);
        size_t bytes = count_bytes(t);
        c->given_names[i] = t->name;
        void *data = (void *)t->data;
        if (t->type == OX_STRING) {
            wrap_texts(c, t, bytes / sizeof(char *), &c->values[i]);
            continue;
        }
        check(c, api->CreateTensorWithDataAsOrtValue(
                     s->memory, data, bytes, t->dims, (size_t)t->rank,
                     (ONNXTensorElementDataType)t->type, &c->values[i]));
    }
    for (size_t i = 0; i < s->input_count; i++) {
        bool found = false;
        for (size_t k = 0; k < c->given_count && !found; k++) {
            found = strcmp(c->given_names[k], s->inputs[i].name) == 0;
        }
        if (!found) {
            ox_fail(c->arena, OX_ARGUMENT, "input \"%s\": missing", s->inputs[i].name);
        }
    }
}

static void check_outputs(const call *c)
{
    const ox_session *s = c->session;
    for (size_t i = 0; i < c->wanted_count; i++) {
        const char *name = c->wanted[i];
        const ox_port *p = find_port(s->outputs, s->output_count, name);
        if (p == NULL) {
            ox_fail(c->arena, OX_ARGUMENT,
                    "output \"%s\": the model has none of this name, it has %s", name,
                    list_ports(c, s->outputs, s->output_count));
        }
        if (p->type == OX_NONE) {
            ox_fail(c->arena, OX_UNSUPPORTED, "output \"%s\": not a tensor", name);
        }
        element_size(c, name, p->type);
    }
}

static void *copy_room(const call *c, const char *name, size_t bytes)
{
    void *data = malloc(bytes > 0 ? bytes : 1);
    if (data == NULL) {
        ox_fail(c->arena, OX_MEMORY, "output \"%s\": no memory for %zu bytes", name, bytes);
    }
    return data;
}

/* Pointers, and behind them the texts, each with a zero byte: those of ONNX Runtime have none. */
static void copy_texts(const call *c, const OrtValue *value, const char *name, ox_tensor *out)
{
    const OrtApi *api = c->session->api;
    size_t length, count = count_bytes(out) / sizeof(char *), room;
    size_t *starts = ox_arena_alloc(c->arena, count + 1, sizeof *starts);
    check(c, api->GetStringTensorDataLength(value, &length));
    if (!ox_size_mul(count, sizeof(char *) + 1, &room) || !ox_size_add(room, length, &room)) {
        ox_fail(c->arena, OX_MEMORY, "out of memory");
    }
    char **texts = copy_room(c, name, room), *bytes = ox_arena_alloc(c->arena, length + 1, 1);
    out->data = texts;
    check(c, api->GetStringTensorContent(value, bytes, length, starts, count));
    starts[count] = length;
    char *to = (char *)(texts + count);
    for (size_t i = 0; i < count; i++) {
        size_t size = starts[i + 1] - starts[i];
        texts[i] = to;
        memcpy(to, bytes + starts[i], size);
        to[size] = '\0';
        to += size + 1;
    }
}

/* `out` can be released by ox_tensor_free at every moment. */
static void copy_output(call *c, OrtValue *value, const char *name, ox_tensor *out)
{
    const OrtApi *api = c->session->api;
    size_t rank;
    ONNXTensorElementDataType type;
    void *from;
    check(c, api->GetTensorTypeAndShape(value, &c->shape));
    check(c, api->GetTensorElementType(c->shape, &type));
    check(c, api->GetDimensionsCount(c->shape, &rank));
    int64_t *dims = calloc(rank + 1, sizeof *dims);
    char *own_name = malloc(strlen(name) + 1);
    *out = (ox_tensor){.name = own_name, .type = (ox_type)type, .rank = (int)rank, .dims = dims};
    if (dims == NULL || own_name == NULL) {
        ox_fail(c->arena, OX_MEMORY, "out of memory");
    }
    strcpy(own_name, name);
    check(c, api->GetDimensions(c->shape, dims, rank));
    element_size(c, name, out->type);
    if (out->type == OX_STRING) {
        copy_texts(c, value, name, out);
    } else {
        size_t bytes = count_bytes(out);
        void *data = copy_room(c, name, bytes);
        out->data = data;
        check(c, api->GetTensorMutableData(value, &from));
        if (bytes > 0) { /* else `from` may be NULL */
            memcpy(data, from, bytes);
        }
    }
    api->ReleaseTensorTypeAndShapeInfo(c->shape);
    c->shape = NULL;
}

static void run_body(void *user)
{
    call *c = user;
    const ox_session *s = c->session;
    c->values = ox_arena_alloc(c->arena, c->given_count, sizeof *c->values);
    c->results = ox_arena_alloc(c->arena, c->wanted_count, sizeof *c->results);
    c->copies = ox_arena_alloc(c->arena, c->wanted_count, sizeof *c->copies);
    check_outputs(c);
    wrap_inputs(c);
    check(c, s->api->Run(s->session, NULL, c->given_names, (const OrtValue *const *)c->values,
                         c->given_count, c->wanted, c->wanted_count, c->results));
    for (size_t i = 0; i < c->wanted_count; i++) {
        copy_output(c, c->results[i], c->wanted[i], &c->copies[i]);
        s->api->ReleaseValue(c->results[i]); /* two copies of one output at a time, not of all */
        c->results[i] = NULL;
    }
}

/* Releases what a run held, after success and after failure at any point. */
static void end_call(call *c, bool keep_copies)
{
    const OrtApi *api = c->session->api;
    for (size_t i = 0; c->values != NULL && i < c->given_count; i++) {
        api->ReleaseValue(c->values[i]);
    }
    for (size_t i = 0; c->results != NULL && i < c->wanted_count; i++) {
        api->ReleaseValue(c->results[i]);
    }
    for (size_t i = 0; c->copies != NULL && !keep_copies && i < c->wanted_count; i++) {
        ox_tensor_free(&c->copies[i]);
    }
    api->ReleaseTensorTypeAndShapeInfo(c->shape);
    ox_arena_free(c->arena);
}

static bool run_call(const ox_session *session, const ox_tensor *inputs, size_t input_count,
                     const char *const *output_names, ox_tensor *outputs, size_t output_count,
                     ox_error *err)
{
    call c = {.arena = ox_arena_new(),
              .session = session,
              .given = inputs,
              .given_count = input_count,
              .wanted = output_names != NULL ? output_names : session->output_names,
              .wanted_count = output_count};
    if (c.arena == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    bool done = ox_arena_try(c.arena, run_body, &c, err);
    if (done) {
        memcpy(outputs, c.copies, output_count * sizeof *outputs);
    }
    end_call(&c, done);
    return done;
}

bool ox_session_run(ox_session *session, const ox_tensor *inputs, size_t input_count,
                    const char *const *output_names, ox_tensor *outputs, size_t output_count,
                    ox_error *err)
{
    if (!ox_check_given("session", session, err) || !ox_check_given("outputs", outputs, err) ||
        !ox_check_tensors("input", inputs, input_count, false, err) ||
        (output_names != NULL &&
         !ox_check_names("output_names", output_names, output_count, err))) {
        return false;
    }
    if (output_count == 0 || (output_names == NULL && output_count != session->output_count)) {
        return ox_error_set(err, OX_ARGUMENT, "room for %zu outputs of %zu", output_count,
                            session->output_count);
    }
    const ox_tensor *others = inputs;
    ox_pin *pin = ox_steady_enter(session->steady, &others, &input_count);
    bool done = run_call(pin == NULL ? session : ox_pin_session(pin), others, input_count,
                         output_names, outputs, output_count, err);
    if (pin != NULL) {
        free((void *)(uintptr_t)others);
        ox_steady_leave(session->steady, pin);
    }
    return done;
}

bool ox_evaluate_runtime(void *user, const ox_model *model, const ox_tensor *inputs,
                         size_t input_count, ox_tensor *outputs, size_t output_count, ox_error *err)
{
    ox_session_options own;
    if (!ox_check_given("model", model, err) || !ox_check_given("outputs", outputs, err) ||
        !ox_check_session_options(user, &own, err)) {
        return false;
    }
    ox_session *session = ox_session_plain(NULL, model, &own, err);
    bool done = session != NULL &&
                ox_session_run(session, inputs, input_count, NULL, outputs, output_count, err);
    ox_session_free(session);
    return done;
}
