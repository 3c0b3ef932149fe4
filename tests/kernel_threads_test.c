/* One kernel called from several threads at once, each call divided among threads of its own, as
 * ONNX Runtime does: the same bits as from one thread. The thread sanitizer sees all of it. */
#include <pthread.h>
#include <stdatomic.h>

#include "kernel_trial.h"

OrtStatus *ORT_API_CALL RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base);

enum { CALLERS = 4, HELPERS = 2, ROUNDS = 3 };

static int failures;

/* ---- parts of a call, each by whichever thread comes first -------------------------------------
 */

typedef struct division {
    void (*part)(void *, size_t);
    size_t total;
    void *user;
    atomic_size_t next;
} division;

static void *take_parts(void *user)
{
    division *d = user;
    for (size_t i = atomic_fetch_add(&d->next, 1); i < d->total;
         i = atomic_fetch_add(&d->next, 1)) {
        d->part(d->user, i);
    }
    return NULL;
}

static OrtStatus *divide(const OrtKernelContext *context, void (*part)(void *, size_t),
                         size_t total, size_t batches, void *user)
{
    (void)context;
    (void)batches;
    division d = {.part = part, .total = total, .user = user};
    pthread_t helpers[HELPERS];
    int started = 0;
    while (started < HELPERS && pthread_create(&helpers[started], NULL, take_parts, &d) == 0) {
        started++;
    }
    take_parts(&d);
    for (int i = 0; i < started; i++) {
        pthread_join(helpers[i], NULL);
    }
    return NULL;
}

/* ONNX Runtime asks for its functions once, before there are threads. */
static OrtApi api;

static const OrtApi *get_api(uint32_t version)
{
    (void)version;
    return &api;
}

static const OrtApiBase base = {.GetApi = get_api, .GetVersionString = fake_version};

/* ---- calls ----------------------------------------------------------------------------------- */

typedef struct caller {
    const trial *t;
    void *kernel;
    const OrtValue *values;
    OrtValue out[FAKE_OUTPUTS]; /* of the last call */
    char message[512];
} caller;

static void free_outputs(caller *c)
{
    for (int i = 0; i < FAKE_OUTPUTS; i++) {
        free(c->out[i].data);
    }
}

static void call(caller *c)
{
    OrtKernelContext context = {.count = c->t->count, .pattern = 0xAB};
    for (size_t i = 0; i < c->t->count; i++) {
        context.in[i] = c->t->in[i].given ? &c->values[i] : NULL;
    }
    OrtStatus *status = c->t->op->KernelComputeV2(c->kernel, &context);
    if (status != NULL) {
        memcpy(c->message, status->message, sizeof c->message);
        free(status);
    }
    free_outputs(c);
    memcpy(c->out, context.out, sizeof c->out);
}

static void *call_often(void *user)
{
    for (int round = 0; round < ROUNDS; round++) {
        call(user);
    }
    return NULL;
}

static bool same_output(const OrtValue *a, const OrtValue *b)
{
    bool made = a->data != NULL && b->data != NULL;
    bool shaped = a->info.rank == b->info.rank &&
                  memcmp(a->info.dims, b->info.dims, a->info.rank * sizeof *a->info.dims) == 0;
    size_t size = made && shaped ? (size_t)fake_size(&a->info) * sizeof(float) : 0;
    return shaped && (made ? memcmp(a->data, b->data, size) == 0 : a->data == b->data);
}

static bool same(const caller *a, const caller *b)
{
    bool is = strcmp(a->message, b->message) == 0;
    for (int i = 0; i < FAKE_OUTPUTS; i++) {
        is = is && same_output(&a->out[i], &b->out[i]);
    }
    return is;
}

static void call_from_threads(const caller *like)
{
    caller callers[CALLERS];
    pthread_t threads[CALLERS];
    int started = 0;
    for (; started < CALLERS; started++) {
        callers[started] = (caller){.t = like->t, .kernel = like->kernel, .values = like->values};
        if (pthread_create(&threads[started], NULL, call_often, &callers[started]) != 0) {
            break;
        }
    }
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        if (!same(like, &callers[i])) {
            printf("%s: another result in thread %d\n", name_of(like->t), i);
            failures++;
        }
        free_outputs(&callers[i]);
    }
    failures += started < CALLERS;
}

static void check_trial(const trial *t, const char *isa)
{
    setenv("ONNXEXPLAINER_ISA", isa, 1);
    OrtValue values[FAKE_INPUTS];
    caller alone = {.t = t, .values = values};
    for (size_t i = 0; i < t->count; i++) {
        values[i].info = t->in[i].info;
        values[i].data = fill_operand(&t->in[i], i, (size_t)fake_size(&t->in[i].info));
    }
    OrtStatus *status = t->op->CreateKernelV2(t->op, &api, &t->info, &alone.kernel);
    if (status != NULL) {
        printf("%s: %s\n", name_of(t), status->message);
        free(status);
        failures++;
    } else {
        call(&alone);
        call_from_threads(&alone);
        free_outputs(&alone);
        t->op->KernelDestroy(alone.kernel);
    }
    for (size_t i = 0; i < t->count; i++) {
        free(values[i].data);
    }
}

int main(void)
{
    static const char *const sets[] = {"plain", "avx2", "best"};
    api = fake_api;
    api.KernelContext_ParallelFor = divide;
    OrtStatus *status = RegisterCustomOps(NULL, &base);
    if (status != NULL || fake_domain.count == 0) {
        printf("the library registers nothing\n");
        return EXIT_FAILURE;
    }
    long trials = 0;
    for (size_t i = 0; i < fake_domain.count; i++) {
        trial t = {.op = fake_domain.ops[i]};
        for (int form = 0; form < FORMS && make_trial(&t, form); form++) {
            for (size_t k = 0; k < sizeof sets / sizeof *sets; k++, trials++) {
                check_trial(&t, sets[k]);
            }
            t = (trial){.op = fake_domain.ops[i]};
        }
    }
    printf("%zu operators, %ld trials, %d failures\n", fake_domain.count, trials, failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
