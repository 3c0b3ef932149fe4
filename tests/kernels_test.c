/* Kernels and models that nobody would write: every operator that the library registers is given
 * operands that fit, and then one or two things are changed: ranks, lengths, types, counts,
 * attributes, indices. It ends with an error that names the operator, or with the numbers of the
 * naive twin, all of them written; the shape that was told beforehand is that of the output. */
#include <math.h>

#include "kernel_trial.h"

OrtStatus *ORT_API_CALL RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base);

enum { PAIRS = 20 };

/* What came of a trial: `message` is empty where there is an output. */
typedef struct result {
    char message[512];
    OrtValue out[FAKE_OUTPUTS];
} result;

static int failures;
static long runs, refused;

static void free_result(result *r)
{
    for (size_t i = 0; i < FAKE_OUTPUTS; i++) {
        free(r->out[i].data);
    }
}

static void describe(const trial *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const operand *o = &t->in[i];
        printf("    input %zu%s:", i, o->given ? "" : " left out");
        for (size_t d = 0; d < o->info.rank; d++) {
            printf(" %lld", (long long)o->info.dims[d]);
        }
        printf("\n");
    }
    for (size_t i = 0; i < t->info.count; i++) {
        const fake_attribute *a = &t->info.attributes[i];
        printf("    %s:", a->name == NULL ? "an attribute left out" : a->name);
        for (size_t k = 0; k < a->count; k++) {
            printf(" %lld", (long long)a->ints[k]);
        }
        printf("\n");
    }
}

static void fail(const trial *t, const char *what)
{
    if (failures++ < 10) {
        printf("%s: %s\n", name_of(t), what);
        describe(t);
    }
}

static uint64_t state = 88172645463325252U;

static size_t pick(size_t count)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state % count);
}

/* ---- running ------------------------------------------------------------------------------- */

/* Whose data the inputs have: their own; copies of the first, or the first itself, where sizes are
 * the same; their own, the output in the place of the first. */
typedef enum owner { OWN, COPIES, SHARED, IN_PLACE } owner;

static result run(const trial *t, const char *isa, int pattern, owner of)
{
    setenv("ONNXEXPLAINER_ISA", isa, 1);
    result r = {.message = ""};
    void *kernel = NULL;
    OrtStatus *status = t->op->CreateKernelV2(t->op, &fake_api, &t->info, &kernel);
    OrtValue values[FAKE_INPUTS];
    OrtKernelContext context = {.count = t->count, .pattern = (unsigned char)pattern};
    void *made[FAKE_INPUTS] = {NULL};
    for (size_t i = 0; status == NULL && i < t->count; i++) {
        const operand *o = &t->in[i];
        int64_t size = fake_size(&o->info);
        values[i].info = o->info;
        bool same = of != OWN && of != IN_PLACE && o->info.type == t->in[0].info.type &&
                    size == fake_size(&t->in[0].info);
        made[i] = size < 0 ? NULL : fill_operand(o, same ? 0 : i, (size_t)size);
        values[i].data = same && of == SHARED ? made[0] : size == 0 && i % 2 == 0 ? NULL : made[i];
        context.in[i] = o->given ? &values[i] : NULL;
    }
    if (of == IN_PLACE && t->in[0].given) {
        context.place = made[0];
        context.room = (size_t)fake_size(&t->in[0].info);
    }
    status = status != NULL ? status : t->op->KernelComputeV2(kernel, &context);
    if (status != NULL) {
        memcpy(r.message, status->message, sizeof r.message);
        free(status);
    } else if (context.out[t->op->GetOutputTypeCount(t->op) - 1].info.type == 0) {
        fail(t, "neither outputs nor an error");
    }
    if (context.place != NULL && context.out[0].data == context.place) {
        made[0] = NULL;
    }
    memcpy(r.out, context.out, sizeof r.out);
    for (size_t i = 0; i < t->count; i++) {
        free(made[i]);
    }
    if (kernel != NULL) {
        t->op->KernelDestroy(kernel);
    }
    return r;
}

static void check_message(const trial *t, const result *r)
{
    char wanted[96];
    snprintf(wanted, sizeof wanted, "onnxexplainer.%s: ", name_of(t));
    bool named = strncmp(r->message, wanted, strlen(wanted)) == 0;
    if (!named && strcmp(r->message, "out of memory") != 0) {
        fail(t, r->message);
    }
}

static void compare_output(const trial *t, const OrtValue *a, const OrtValue *b, double tolerance)
{
    const OrtTensorTypeAndShapeInfo *info = &b->info;
    if (a->info.rank != info->rank ||
        memcmp(a->info.dims, info->dims, info->rank * sizeof *info->dims) != 0) {
        fail(t, "outputs of different shapes");
        return;
    }
    const float *of_a = a->data, *of_b = b->data;
    size_t size = (size_t)fake_size(info);
    double most = 0.01; /* operands are about 1: less is what rounding leaves of a 0 */
    for (size_t i = 0; i < size; i++) {
        most = isfinite(of_b[i]) ? fmax(most, fabs((double)of_b[i])) : most;
    }
    for (size_t i = 0; i < size; i++) {
        double gap = fabs((double)of_a[i] - (double)of_b[i]);
        bool same = isfinite(of_b[i]) ? gap <= tolerance * most : !isfinite(of_a[i]);
        if (!same) {
            fail(t, "other numbers than those of the naive twin, or some that are not written");
            return;
        }
    }
}

/* The same error or the same shape, numbers to what single precision leaves of them. */
static void compare(const trial *t, const result *a, const result *b, double tolerance)
{
    if ((a->message[0] != '\0') != (b->message[0] != '\0')) {
        fail(t, a->message[0] != '\0' ? a->message : b->message);
        return;
    }
    for (size_t i = 0; a->message[0] == '\0' && i < t->op->GetOutputTypeCount(t->op); i++) {
        compare_output(t, &a->out[i], &b->out[i], tolerance);
    }
}

/* What is told of the shape is what comes out; `named` hides the lengths behind names. */
static void check_shape(const trial *t, const result *r, bool named)
{
    OrtShapeInferContext context = {.count = t->count};
    for (size_t i = 0; i < t->count; i++) {
        if (!t->in[i].given) {
            return;
        }
        OrtTensorTypeAndShapeInfo *info = &context.in[i];
        *info = t->in[i].info;
        for (size_t d = 0; named && d < info->rank; d++) {
            if (info->dims[d] != 1 && info->dims[d] < 1000) {
                snprintf(info->names[d], sizeof info->names[d], "n%d", (int)info->dims[d] & 1023);
                info->dims[d] = -1;
            }
        }
    }
    if (t->op->InferOutputShapeFn == NULL) {
        return;
    }
    OrtStatus *status = t->op->InferOutputShapeFn(t->op, &context);
    if (status != NULL) {
        fail(t, status->message);
        free(status);
    }
    bool good = status == NULL;
    for (size_t i = 0; good && r->message[0] == '\0' && i < FAKE_OUTPUTS; i++) {
        const OrtTensorTypeAndShapeInfo *told = &context.out[i], *info = &r->out[i].info;
        for (size_t d = 0; good && context.known[i] && d < info->rank; d++) {
            int64_t n = told->dims[d] >= 0 ? told->dims[d] : strtoll(told->names[d] + 1, NULL, 10);
            good = told->rank == info->rank && n == info->dims[d];
        }
    }
    if (!good) {
        fail(t, "another shape than was told");
    }
}

/* Both patterns, and every instruction set where there is an output. */
static bool attempt(const trial *t)
{
    static const char *const sets[] = {"best", "avx2", "plain"};
    result naive = run(t, "naive", 0xAB, OWN);
    bool done = naive.message[0] == '\0';
    if (done) {
        result again = run(t, "naive", 0x54, OWN);
        compare(t, &again, &naive, 0);
        free_result(&again);
    }
    for (size_t i = 0; i < (done ? sizeof sets / sizeof sets[0] : 1); i++) {
        result r = run(t, sets[i], 0x54, OWN);
        if (!done || strstr(r.message, "as on this machine") == NULL) { /* of narrower blocks */
            compare(t, &r, &naive, 1e-3);
        }
        free_result(&r);
    }
    if (!done) {
        check_message(t, &naive);
        refused++;
    }
    check_shape(t, &naive, false);
    check_shape(t, &naive, true);
    runs++;
    free_result(&naive);
    return done;
}

/* ---- what is changed ----------------------------------------------------------------------- */

#define HUGE_LENGTH (INT64_C(1) << 62)

static const int64_t odd[] = {
    0,  -1,        1,         3,           5,  INT64_C(1) << 31,
    -5, INT64_MAX, INT64_MIN, HUGE_LENGTH, 24, INT64_C(6148914691236517206)};
enum { ODD = sizeof odd / sizeof odd[0] };

/* Axes of this length in front, so that there are `rank`. */
static void insert_axes(OrtTensorTypeAndShapeInfo *info, size_t rank, int64_t length)
{
    if (rank <= info->rank || rank > FAKE_RANK) {
        return;
    }
    size_t count = rank - info->rank;
    memmove(info->dims + count, info->dims, info->rank * sizeof *info->dims);
    for (size_t d = 0; d < count; d++) {
        info->dims[d] = length;
    }
    info->rank = rank;
}

/* The kinds of change to one length of a shape. */
enum { LENGTHS = 7, SHAPES = 7 };

static void change_length(OrtTensorTypeAndShapeInfo *info, size_t d, size_t kind)
{
    int64_t *n = &info->dims[d];
    int64_t was = *n > FAKE_SIZE ? FAKE_SIZE : *n;
    const int64_t to[LENGTHS] = {0, 1, was + 1, was * 2, was + BLOCK, -1, HUGE_LENGTH};
    *n = to[kind];
    if (kind == LENGTHS - 1) { /* may exist where another one is 0 */
        info->dims[(d + 1) % info->rank] = info->rank > 1 ? 0 : *n;
    }
}

static void change_shape(operand *o, size_t kind)
{
    OrtTensorTypeAndShapeInfo *info = &o->info;
    bool whole = info->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    switch (kind) {
    case 0: o->given = false; break;
    case 1:
        info->type =
            whole ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
        o->below = 1;
        break;
    case 2: info->rank = 0; break;
    case 3: insert_axes(info, info->rank + 1, 2); break;
    case 4: insert_axes(info, 33, 1); break;
    case 5: insert_axes(info, 32, 1); break;
    default:
        if (info->rank > 0) {
            memmove(info->dims, info->dims + 1, --info->rank * sizeof *info->dims);
        }
    }
}

/* Change number `which` of those that the trial has; false beyond the last. */
static bool change(trial *t, size_t which)
{
    for (size_t i = 0; i < t->count; i++) {
        operand *o = &t->in[i];
        size_t rank = o->info.rank, lengths = rank * LENGTHS;
        size_t values = o->as_fixed ? 4 * ODD : o->below != 0 ? ODD : 0;
        if (which < SHAPES) {
            change_shape(o, which);
            return true;
        }
        which -= SHAPES;
        if (which < lengths) {
            change_length(&o->info, which / LENGTHS, which % LENGTHS);
            return true;
        }
        which -= lengths;
        if (which < values) {
            o->fixed[which / ODD] = odd[which % ODD];
            o->below = odd[which % ODD] != 0 ? odd[which % ODD] : 1;
            return true;
        }
        which -= values;
    }
    for (size_t i = 0; i < t->info.count; i++) {
        fake_attribute *a = &t->info.attributes[i];
        if (which < 2) {
            a->name = which == 0 ? NULL : a->name;
            a->count += which;
            return true;
        }
        which -= 2;
        if (which < a->count * ODD) {
            a->ints[which / ODD] = odd[which % ODD];
            return true;
        }
        which -= a->count * ODD;
    }
    t->count += which == 0 ? (size_t)-1 : 1; /* one input less, and one more */
    return which < 2;
}

static size_t changes(const trial *t)
{
    size_t count = 0;
    for (trial copy = *t; change(&copy, count); copy = *t) {
        count++;
    }
    return count;
}

/* ---- all of them --------------------------------------------------------------------------- */

static void check_same(const trial *t, owner a, owner b)
{
    result one = run(t, "best", 0xAB, a), other = run(t, "best", 0x54, b);
    compare(t, &one, &other, 0);
    free_result(&one);
    free_result(&other);
}

/* Inputs that are one tensor, and the output in the place of the first: the same numbers. */
static void check_aliases(const trial *t)
{
    check_same(t, COPIES, SHARED);
    int *in = NULL, *out = NULL;
    if (t->op->GetMayInplace != NULL && t->op->GetMayInplace(&in, &out) > 0) {
        check_same(t, OWN, IN_PLACE);
        t->op->ReleaseMayInplace(in, out);
    }
}

static void check_operator(const OrtCustomOp *op)
{
    long before = refused;
    int worked = 0;
    for (int form = 0; form < FORMS; form++) {
        trial t = {.op = op};
        if (!make_trial(&t, form)) {
            break;
        }
        worked += attempt(&t);
        check_aliases(&t);
        size_t count = changes(&t);
        for (size_t i = 0; i < count; i++) {
            trial changed = t;
            change(&changed, i);
            attempt(&changed);
        }
        for (int i = 0; i < PAIRS; i++) {
            trial changed = t;
            change(&changed, pick(count));
            change(&changed, pick(count));
            attempt(&changed);
        }
    }
    trial t = {.op = op};
    if (worked == 0) {
        fail(&t, "no operands fit");
    }
    if (refused == before) {
        fail(&t, "nothing was refused");
    }
}

/* How many operators are registered for a session that wants these. */
static size_t count_wanted(const char *wanted)
{
    size_t before = fake_domain.count;
    fake_wanted = wanted;
    OrtStatus *status = RegisterCustomOps(NULL, &fake_base);
    fake_wanted = NULL;
    size_t count = fake_domain.count - before;
    fake_domain.count = before;
    return status == NULL ? count : SIZE_MAX;
}

/* A session takes what it wants, and what was made for another one like it is not made again. */
static void check_wanted(void)
{
    static const struct {
        const char *wanted;
        size_t count;
    } cases[] = {{"ReluFlow,MeanFlow", 2}, {"ReluFlow,MeanFlow", 0},       {"MeanFlow", 1},
                 {"Relu,Mean", 0},         {"ReluFlow,ReluSumFlow,No", 2}, {"", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t count = count_wanted(cases[i].wanted);
        if (count != cases[i].count) {
            printf("of \"%s\" %zu are registered\n", cases[i].wanted, count);
            failures++;
        }
    }
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    OrtStatus *status = RegisterCustomOps(NULL, &fake_base);
    if (status != NULL || fake_domain.count == 0) {
        printf("the library registers nothing\n");
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < fake_domain.count; i++) {
        check_operator(fake_domain.ops[i]);
    }
    check_wanted();
    printf("%zu operators, %ld models, %ld refused, %d failures\n", fake_domain.count, runs,
           refused, failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
