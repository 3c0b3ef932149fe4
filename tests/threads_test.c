/* What the header says of threads: models explained in several at once, also one and the same; one
 * session run in several, while its references become constants; sessions opened, tuned and freed
 * beside each other. The results are those of one thread. The thread sanitizer sees all of it but
 * the inside of ONNX Runtime. Without that, and where ONNXRUNTIME_LIBRARY does not demand it, only
 * explaining is tried. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "small.h"

enum { THREADS = 4, ROUNDS = 3, CALLS = 12, SAMPLES = 2, REFERENCES = 3, PIXELS = 16, CLASSES = 3 };

static int failures;

static void fail(const char *what, const char *why)
{
    printf("%s: %s\n", what, why);
    failures++;
}

/* Runs `work` on each of THREADS items, at the same time. */
static void run_all(void *(*work)(void *), void *items, size_t size)
{
    pthread_t threads[THREADS];
    int started = 0;
    while (started < THREADS && pthread_create(&threads[started], NULL, work,
                                               (char *)items + (size_t)started * size) == 0) {
        started++;
    }
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    if (started < THREADS) {
        fail("threads", "cannot be started");
    }
}

/* ---- explaining ---------------------------------------------------------------------------- */

typedef struct explaining {
    const char *path;      /* of the model, or NULL */
    small_bytes bytes;     /* of the model, where there is no path */
    const ox_model *model; /* shared; NULL: each reads its own */
    const ox_options *options;
    small_bytes made;
    ox_error err;
} explaining;

static void explain_once(explaining *e)
{
    ox_model *own = e->model != NULL  ? NULL
                    : e->path != NULL ? ox_read(e->path, &e->err)
                                      : ox_parse(e->bytes.data, e->bytes.size, NULL, &e->err);
    const ox_model *model = e->model != NULL ? e->model : own;
    ox_model *made = model == NULL ? NULL : ox_explain(model, e->options, &e->err);
    ox_report_free(model == NULL ? NULL : ox_inspect(model, e->options, NULL));
    free(e->made.data);
    e->made = (small_bytes){NULL, 0};
    if (made != NULL) {
        ox_serialize(made, small_collect, &e->made, &e->err);
    }
    ox_free(made);
    ox_free(own);
}

static void *explain_often(void *user)
{
    for (int i = 0; i < ROUNDS; i++) {
        explain_once(user);
    }
    return NULL;
}

static void check_explaining(const char *what, const explaining *task)
{
    explaining alone = *task, all[THREADS];
    explain_once(&alone);
    for (int i = 0; i < THREADS; i++) {
        all[i] = *task;
    }
    run_all(explain_often, all, sizeof *all);
    for (int i = 0; i < THREADS; i++) {
        bool same = all[i].made.size == alone.made.size && all[i].err.code == alone.err.code &&
                    (alone.made.size == 0 ||
                     memcmp(all[i].made.data, alone.made.data, alone.made.size) == 0);
        if (!same) {
            fail(what, all[i].err.code != OX_OK ? all[i].err.message : "other bytes");
        }
        free(all[i].made.data);
    }
    free(alone.made.data);
}

static float references[REFERENCES * PIXELS];
static const int64_t reference_dims[] = {REFERENCES, 1, 4, 4};
static const ox_tensor given = {
    .type = OX_FLOAT, .rank = 4, .dims = reference_dims, .data = references};

static void test_explaining(small_bytes bytes)
{
    ox_options plain = OX_OPTIONS_INIT, second = OX_OPTIONS_INIT, exact = OX_OPTIONS_INIT;
    plain.references = second.references = exact.references = &given;
    plain.reference_count = second.reference_count = exact.reference_count = 1;
    second.order = 2;
    second.gap = true;
    exact.method = "permutation";
    const ox_options *const options[] = {&plain, &second, &exact};
    ox_error err;
    ox_model *model = ox_parse(bytes.data, bytes.size, NULL, &err);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        check_explaining("own models", &(explaining){.bytes = bytes, .options = options[i]});
        check_explaining("one model", &(explaining){.model = model, .options = options[i]});
    }
    ox_free(model);
}

static void test_recorded(void)
{
    static const char *const paths[] = {"recorded/cnn.onnx", "recorded/decoder.onnx",
                                        "recorded/two_inputs.onnx", "recorded/trees_pipeline.onnx",
                                        "recorded/trees_random_forest.onnx"};
    ox_options options = OX_OPTIONS_INIT;
    options.reference_source = OX_REFERENCES_FILL;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        check_explaining(paths[i], &(explaining){.path = paths[i], .options = &options});
    }
}

/* ---- sessions ------------------------------------------------------------------------------ */

typedef struct running {
    ox_session *session; /* shared; NULL: each opens its own, for each call */
    const ox_model *model;
    float sample[SAMPLES * PIXELS];
    float references[2][REFERENCES * PIXELS]; /* the second ones come later */
    float wanted[2][SAMPLES * PIXELS];
    int number;
} running;

static bool run_once(running *r, ox_session *s, int which, float *values, ox_error *err)
{
    const int64_t sample_dims[] = {SAMPLES, 1, 4, 4};
    const ox_tensor in[] = {
        {.name = "x", .type = OX_FLOAT, .rank = 4, .dims = sample_dims, .data = r->sample},
        {.name = "x_references",
         .type = OX_FLOAT,
         .rank = 4,
         .dims = reference_dims,
         .data = r->references[which]}};
    const char *const names[] = {"x_shap"};
    ox_tensor out;
    if (!ox_session_run(s, in, 2, names, &out, 1, err)) {
        return false;
    }
    memcpy(values, out.data, sizeof r->wanted[0]);
    ox_tensor_free(&out);
    return true;
}

static void compare(const running *r, int which, const float *values)
{
    for (size_t i = 0; i < SAMPLES * PIXELS; i++) {
        if (!(fabsf(values[i] - r->wanted[which][i]) <= 1e-5F)) {
            fail("a session in several threads", "other values");
            return;
        }
    }
}

static void *run_often(void *user)
{
    running *r = user;
    for (int i = 0; i < CALLS; i++) {
        ox_error err = {.code = OX_OK};
        int which = i >= CALLS / 2;
        float values[SAMPLES * PIXELS];
        ox_session *own = r->session == NULL ? ox_session_open_model(r->model, NULL, &err) : NULL;
        ox_session *s = r->session == NULL ? own : r->session;
        if (s == NULL || !run_once(r, s, which, values, &err)) {
            fail("a session in several threads", err.message);
        } else {
            compare(r, which, values);
        }
        ox_session_free(own);
    }
    return NULL;
}

/* What a thread of its own gives, without tuning. */
static bool prepare(running *r, int number, const ox_model *model, ox_session *s)
{
    ox_error err;
    *r = (running){.model = model, .number = number};
    for (int i = 0; i < SAMPLES * PIXELS; i++) {
        r->sample[i] = (float)((i * 7 + number * 3) % 11) / 5 - 1;
    }
    for (int which = 0; which < 2; which++) {
        for (int i = 0; i < REFERENCES * PIXELS; i++) {
            r->references[which][i] = (float)((i * 5 + which) % 13) / 6 - 1;
        }
        if (!run_once(r, s, which, r->wanted[which], &err)) {
            fail("a session", err.message);
            return false;
        }
    }
    return true;
}

static void test_sessions(const ox_model *explained)
{
    ox_session_options options = OX_SESSION_OPTIONS_INIT;
    ox_error err;
    options.no_tune = true;
    ox_session *plain = ox_session_open_model(explained, &options, &err);
    options.no_tune = false;
    options.threads = 2;
    ox_session *shared = ox_session_open_model(explained, &options, &err);
    if (plain == NULL || shared == NULL) {
        fail("a session", err.message);
        ox_session_free(plain);
        ox_session_free(shared);
        return;
    }
    running *all = calloc(THREADS, sizeof *all);
    bool good = all != NULL;
    for (int i = 0; good && i < THREADS; i++) {
        good = prepare(&all[i], i, explained, plain);
    }
    if (good) {
        run_all(run_often, all, sizeof *all);
        for (int i = 0; i < THREADS; i++) {
            all[i].session = shared;
        }
        run_all(run_often, all, sizeof *all);
    }
    free(all);
    ox_session_free(plain);
    ox_session_free(shared);
}

/* ---- all of it ------------------------------------------------------------------------------ */

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    small_bytes bytes = small_model(false);
    ox_error err;
    for (size_t i = 0; i < REFERENCES * PIXELS; i++) {
        references[i] = (float)(i % 9) / 5 - 1;
    }
    test_explaining(bytes);
    test_recorded();
    char version[32];
    if (ox_runtime_version(NULL, version, sizeof version, &err)) {
        ox_options options = OX_OPTIONS_INIT;
        options.reference_source = OX_REFERENCES_INPUT;
        ox_model *model = ox_parse(bytes.data, bytes.size, NULL, &err);
        ox_model *explained = ox_explain(model, &options, &err);
        test_sessions(explained);
        ox_free(explained);
        ox_free(model);
    } else if (getenv("ONNXRUNTIME_LIBRARY") != NULL) {
        fail("ONNX Runtime", err.message);
    }
    free(bytes.data);
    printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
