/* Explains again and again, with results and with errors, and holds no more memory after the last
 * time than after the first hundred. With a number as argument, that many times and without looking
 * at memory: for valgrind, which does. */
#include <stdio.h>

#include "small.h"

enum { ROUNDS = 300, WARM = 100, PAGES = 64, REFERENCES = 3, PIXELS = 16 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool keeps = true; /* a sanitizer keeps for a while what was freed */
#else
static const bool keeps = false;
#endif

/* Pages of the process in memory; 0 where the system does not say. */
static long resident(void)
{
    long all = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL && fscanf(file, "%ld %ld", &all, &pages) != 2) {
        pages = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return pages;
}

/* What round i does: one of several kinds of explaining, every sixth of them refused. */
static bool explain(const small_bytes *bytes, int i)
{
    static const char *const methods[] = {"deepshap", "permutation", "integrated-gradients",
                                          "deepshap", "exact",       "deepshap"};
    static const float numbers[REFERENCES * PIXELS] = {1, 0, -1, 0.5F};
    const int64_t dims[] = {REFERENCES, 1, 4, 4};
    const ox_tensor given = {.type = OX_FLOAT, .rank = 4, .dims = dims, .data = numbers};
    int kind = i % 6;
    ox_options options = OX_OPTIONS_INIT;
    ox_error err;
    options.references = &given;
    options.reference_count = 1;
    options.method = methods[kind];
    options.order = kind == 3 ? 2 : 1;
    options.target = kind == 5 ? "99" : NULL;
    ox_model *model = ox_parse(bytes->data, bytes->size, NULL, &err);
    ox_report_free(model == NULL ? NULL : ox_inspect(model, &options, NULL));
    ox_model *made = model == NULL ? NULL : ox_explain(model, &options, &err);
    small_bytes out = {NULL, 0};
    bool good = made != NULL && ox_serialize(made, small_collect, &out, &err);
    ox_free(made == NULL ? NULL : ox_original(made, NULL));
    free(out.data);
    ox_free(made);
    ox_free(model);
    if (good == (kind == 5)) {
        printf("%s: %s\n", methods[kind], good ? "a target that is not there" : err.message);
    }
    return good != (kind == 5);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;
    small_bytes bytes = small_model(false);
    bool good = bytes.data != NULL;
    long before = 0;
    for (int i = 0; good && i < rounds; i++) {
        before = i == WARM ? resident() : before;
        good = explain(&bytes, i);
    }
    free(bytes.data);
    long grown = argc > 1 || keeps ? 0 : resident() - before;
    if (good && grown > PAGES) {
        printf("%ld pages more after %d rounds than after %d\n", grown, rounds, WARM);
        good = false;
    }
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
