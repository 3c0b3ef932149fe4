/* Plans beside the models that they are of: whether the values are the same, and which is faster.
 */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "os.h"
#include "run/plan.h"

/* Random numbers for every input; free dimensions are 1. False without memory. */
static bool make_inputs(const ox_model *m, ox_tensor *inputs, size_t count)
{
    const ox_value_info *infos = ox_inputs(m, &count);
    uint64_t state = 1;
    for (size_t i = 0; i < count; i++) {
        size_t size = 1, rank = infos[i].rank < 0 ? 0 : (size_t)infos[i].rank;
        int64_t *dims = calloc(rank + 1, sizeof *dims);
        bool fits = true;
        for (size_t d = 0; dims != NULL && d < rank; d++) {
            dims[d] = infos[i].dims[d] < 0 ? 1 : infos[i].dims[d];
            fits = fits && ox_size_mul(size, (size_t)dims[d], &size);
        }
        inputs[i] = (ox_tensor){infos[i].name, infos[i].type, (int)rank, dims, NULL};
        size_t each = ox_type_size(infos[i].type) + sizeof(float);
        float *data = fits && ox_size_add(size, 1, &size) ? calloc(size--, each) : NULL;
        inputs[i].data = data;
        if (dims == NULL || data == NULL) {
            return false;
        }
        for (size_t k = 0; infos[i].type == OX_STRING && k < size; k++) {
            ((const char **)(void *)data)[k] = "";
        }
        for (size_t k = 0; infos[i].type == OX_FLOAT && k < size; k++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            data[k] = (float)(state >> 40) / (float)(1 << 23) - 1.0F;
        }
    }
    return true;
}

static size_t count_of(const ox_tensor *t)
{
    size_t count = 1;
    for (int d = 0; d < t->rank; d++) {
        count *= (size_t)t->dims[d];
    }
    return count;
}

/* The sum of (x - y)^2, or of x^2 where y is NULL; 0 for what is no float32. */
static double squares(const ox_tensor *x, const ox_tensor *y)
{
    const float *a = x->data, *b = y == NULL ? NULL : y->data;
    size_t size = x->type == OX_FLOAT ? count_of(x) : 0;
    double sum = 0;
    for (size_t k = 0; k < size; k++) {
        double d = (double)a[k] - (b == NULL ? 0 : (double)b[k]);
        sum += d * d;
    }
    return sum;
}

/* Whether the outputs are the same but for rounding, by the norm of the difference. The gap is
 * rounding itself, and is measured by all that it is the difference of. `moved`, where it is known,
 * are outputs of the model for inputs whose last bits are others: where it takes these as badly, a
 * plan may round as it likes. */
static bool same_outputs(const ox_model *explained, const ox_tensor *a, const ox_tensor *b,
                         const ox_tensor *moved, size_t count)
{
    const double near = 1e-4, roundings = 1e3; /* of squares */
    const char *prefix = ox_metadata(explained, "onnxexplainer.prefix");
    size_t before = prefix == NULL ? 0 : strlen(prefix);
    double whole = 0;
    for (size_t i = 0; i < count; i++) {
        whole += squares(&a[i], NULL);
    }
    for (size_t i = 0; i < count; i++) {
        bool gap =
            strlen(a[i].name) > before && strcmp(a[i].name + before, "completeness_gap") == 0;
        if (count_of(&a[i]) != count_of(&b[i]) || a[i].type != b[i].type) {
            return false;
        }
        double most = near * (gap ? whole : squares(&a[i], NULL));
        double own = moved == NULL ? 0 : roundings * squares(&a[i], &moved[i]);
        /* written so that it is false where either is not a number */
        if (!(squares(&a[i], &b[i]) <= (own > most ? own : most))) {
            return false;
        }
    }
    return true;
}

/* ---- both sessions ------------------------------------------------------------------------- */

static void free_outputs(ox_tensor *outputs, size_t count)
{
    for (size_t i = 0; outputs != NULL && i < count; i++) {
        ox_tensor_free(&outputs[i]);
    }
}

static bool run(const ox_trial *t, int side, ox_tensor *outputs, ox_error *err)
{
    return ox_session_run(t->sessions[side], t->inputs, t->input_count, NULL, outputs,
                          t->output_count, err);
}

/* Other last bits, up and down. */
static void move_inputs(const ox_trial *t)
{
    for (size_t i = 0; i < t->input_count; i++) {
        float *data = (float *)(uintptr_t)t->inputs[i].data;
        size_t size = t->inputs[i].type == OX_FLOAT ? count_of(&t->inputs[i]) : 0;
        for (size_t k = 0; k < size; k++) {
            data[k] *= 1 + ((k * 7 + i) % 5 < 2 ? FLT_EPSILON : -FLT_EPSILON);
        }
    }
}

/* Both have run, the outputs are there: [3, output_count]. */
static bool agree(const ox_trial *t, const ox_model *explained)
{
    const ox_tensor *a = t->outputs, *b = a + t->output_count;
    ox_tensor *moved = t->outputs + 2 * t->output_count;
    if (same_outputs(explained, a, b, NULL, t->output_count)) {
        return true;
    }
    move_inputs(t);
    return run(t, 0, moved, NULL) && same_outputs(explained, a, b, moved, t->output_count);
}

void ox_trial_close(ox_trial *t)
{
    for (size_t i = 0; t->inputs != NULL && i < t->input_count; i++) {
        free((void *)(uintptr_t)t->inputs[i].dims);
        free((void *)(uintptr_t)t->inputs[i].data);
    }
    free(t->inputs);
    free(t->outputs);
    ox_session_free(t->sessions[0]);
    ox_session_free(t->sessions[1]);
    *t = (ox_trial){.inputs = NULL};
}

static ox_session *open_plan(const ox_model *plan, const char *optimised_to,
                             const ox_session_options *options, ox_error *err)
{
    ox_session *session =
        optimised_to == NULL ? NULL : ox_session_of(plan, optimised_to, options, NULL);
    return session != NULL ? session : ox_session_of(plan, NULL, options, err);
}

/* As a model may that looks its inputs up in a list. */
static void refuse_drawn(ox_error *err)
{
    if (err != NULL && err->code == OX_RUNTIME) {
        char why[sizeof err->message];
        memcpy(why, err->message, sizeof why);
        ox_error_set(err, OX_UNSUPPORTED,
                     "the model does not take inputs that are drawn, so that no plan is measured: "
                     "%s",
                     why);
    }
}

bool ox_trial_open(ox_trial *t, const ox_model *explained, const char *path, ox_session *open,
                   const ox_model *plan, const char *optimised_to,
                   const ox_session_options *options, ox_error *err)
{
    *t = (ox_trial){.sessions = {open, NULL}};
    ox_inputs(explained, &t->input_count);
    ox_outputs(explained, &t->output_count);
    size_t count = t->output_count;
    t->inputs = calloc(t->input_count + 1, sizeof *t->inputs);
    t->outputs = calloc(3 * count + 1, sizeof *t->outputs);
    bool good = t->inputs != NULL && t->outputs != NULL &&
                make_inputs(explained, t->inputs, t->input_count);
    if (!good) {
        ox_error_set(err, OX_MEMORY, "out of memory");
    }
    for (int side = 0; good && side < 2; side++) {
        if (t->sessions[side] == NULL) {
            t->sessions[side] = side == 0 ? ox_session_plain(path, explained, options, err)
                                          : open_plan(plan, optimised_to, options, err);
        }
        good = t->sessions[side] != NULL && run(t, side, t->outputs + (size_t)side * count, err);
        if (!good && side == 0 && t->sessions[0] != NULL) {
            refuse_drawn(err);
        }
    }
    if (good && !agree(t, explained)) {
        good = ox_error_set(err, OX_RUNTIME, "the tuned model gives other values");
    }
    free_outputs(t->outputs, t->outputs == NULL ? 0 : 3 * count);
    if (!good) {
        t->sessions[0] = t->sessions[0] == open ? NULL : t->sessions[0];
        ox_trial_close(t);
    }
    return good;
}

/* Seconds of a run; negative where it fails. */
static double time_run(const ox_trial *t, int side)
{
    double before = ox_os_seconds();
    if (!run(t, side, t->outputs, NULL)) {
        return -1;
    }
    double after = ox_os_seconds();
    free_outputs(t->outputs, t->output_count);
    return after - before;
}

/* Whether it takes clearly less or more than that. */
static bool is_plain(const double least[2], double times)
{
    const double clear = 1.04;
    return least[1] * clear < times * least[0] || least[1] > clear * times * least[0];
}

/* Both take turns, as the machine has other things to do now and then. */
bool ox_trial_keeps_to(const ox_trial *t, double times)
{
    enum { FEWEST = 5, ROUNDS = 12 };
    const double enough = 0.4;
    double least[2] = {1e30, 1e30}, sum = 0;
    for (int round = 0; round < ROUNDS && sum < enough; round++) {
        if (round >= FEWEST && is_plain(least, times)) {
            break;
        }
        for (int side = 0; side < 2; side++) {
            double seconds = time_run(t, side);
            if (seconds < 0) {
                return false;
            }
            least[side] = seconds < least[side] ? seconds : least[side];
            sum += seconds;
        }
    }
    return least[1] <= times * least[0];
}

ox_session *ox_trial_take(ox_trial *t, bool plan)
{
    ox_session *s = t->sessions[plan];
    t->sessions[plan] = NULL;
    return s;
}
