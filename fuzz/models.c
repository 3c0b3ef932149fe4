#include "models.h"

#include <stdio.h>
#include <stdlib.h>

enum { LIMIT = 1 << 25 };

static double numbers[FUZZ_ELEMENTS];
static const char *texts[FUZZ_ELEMENTS];

ox_model *fuzz_read(const uint8_t *data, size_t size, fuzz_draws *draws)
{
    size_t choices = size < FUZZ_CHOICES ? 0 : FUZZ_CHOICES;
    *draws = (fuzz_draws){data + size - choices, choices};
    ox_error err = {.code = OX_OK};
    ox_model *model = ox_parse_limited(data, size - choices, NULL, LIMIT, &err);
    if (model == NULL) {
        fuzz_check_error(&err);
    }
    return model;
}

/* ---- tensors ------------------------------------------------------------------------------- */

static void fill_numbers(fuzz_draws *draws)
{
    static const double special[] = {0, 1, -1, 0.5, 3, 1e-40, 1e30, -1e30};
    static double filled = -1; /* they are the same in most calls */
    double scale = special[fuzz_below(draws, sizeof special / sizeof *special)];
    if (memcmp(&scale, &filled, sizeof scale) == 0 && texts[0] != NULL) {
        return;
    }
    filled = scale;
    for (size_t i = 0; i < FUZZ_ELEMENTS; i++) {
        numbers[i] = scale * (double)(i % 7);
        texts[i] = i % 3 == 0 ? "a" : "text";
    }
}

static int64_t length_of(const ox_value_info *info, int axis, fuzz_draws *draws)
{
    if (fuzz_chance(draws, 64)) {
        return (int64_t)fuzz_below(draws, 4);
    }
    int64_t length = info->rank < 0 ? -1 : info->dims[axis];
    return length >= 0 && axis > 0 ? length : 1 + (int64_t)fuzz_below(draws, 3);
}

static bool make_tensor(ox_tensor *t, int64_t *dims, const ox_value_info *info, fuzz_draws *draws)
{
    int rank = info->rank < 0 ? (int)fuzz_below(draws, 5) : info->rank;
    if (ox_type_size(info->type) == 0 || rank > FUZZ_RANK) {
        return false;
    }
    size_t elements = 1;
    for (int i = 0; i < rank; i++) {
        dims[i] = length_of(info, i, draws);
        if (dims[i] > FUZZ_ELEMENTS || (elements *= (size_t)dims[i]) > FUZZ_ELEMENTS) {
            return false;
        }
    }
    *t = (ox_tensor){.name = info->name, .type = info->type, .rank = rank, .dims = dims};
    t->data = info->type == OX_STRING ? (const void *)texts : numbers;
    return true;
}

void fuzz_make(fuzz_tensors *tensors, const ox_value_info *infos, size_t count, fuzz_draws *draws)
{
    fill_numbers(draws);
    tensors->count = 0;
    for (size_t i = 0; i < count && tensors->count < FUZZ_TENSORS; i++) {
        size_t k = tensors->count;
        tensors->count += make_tensor(&tensors->all[k], tensors->dims[k], &infos[i], draws);
    }
}

const char *fuzz_value(const ox_model *model, fuzz_draws *draws, const ox_node_list *nodes)
{
    size_t inputs = 0;
    const ox_value_info *infos = ox_inputs(model, &inputs);
    size_t which = fuzz_byte(draws);
    if (which < 64 && inputs > 0) {
        return infos[which % inputs].name;
    }
    if (which < 240 && nodes != NULL && nodes->count > 0) {
        const ox_node_info *n = &nodes->nodes[fuzz_below(draws, nodes->count)];
        return n->output_count > 0 ? n->outputs[which % n->output_count] : n->name;
    }
    return FUZZ_ONE_OF(draws, "", "x", "y", "nowhere");
}

/* ---- what must hold ------------------------------------------------------------------------ */

void fuzz_check_error(const ox_error *err)
{
    if (err->code == OX_OK || err->message[0] == '\0' || strchr(err->message, '\n') != NULL) {
        fprintf(stderr, "an error of code %d says: %s\n", (int)err->code, err->message);
        abort();
    }
}

typedef struct written {
    uint8_t *data;
    size_t size;
} written;

static bool collect(void *user, const void *data, size_t size)
{
    enum { MOST = 1 << 26 };
    written *w = user;
    uint8_t *larger = w->size + size > MOST ? NULL : realloc(w->data, w->size + size + 1);
    if (larger == NULL) {
        return false;
    }
    w->data = larger;
    if (size > 0) {
        memcpy(larger + w->size, data, size);
    }
    w->size += size;
    return true;
}

/* What this machine, or the limits, are too small for. */
static bool is_want(const ox_error *err)
{
    return err->code == OX_LIMIT || err->code == OX_MEMORY || err->code == OX_IO;
}

void fuzz_check_made(ox_model *made, const ox_error *err)
{
    if (made == NULL) {
        fuzz_check_error(err);
        return;
    }
    written w = {NULL, 0};
    ox_error again = {.code = OX_OK};
    bool done = ox_serialize(made, collect, &w, &again);
    ox_model *read = done ? ox_parse(w.data, w.size, NULL, &again) : NULL;
    if (read == NULL) {
        fuzz_check_error(&again);
        if (done && !is_want(&again)) {
            fprintf(stderr, "what was written cannot be read: %s\n", again.message);
            abort();
        }
    }
    ox_free(read);
    free(w.data);
    ox_free(made);
}
