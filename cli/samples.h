/* Samples of a model, and how it is run on them: what `run` and `check` both take. */
#ifndef OX_CLI_SAMPLES_H
#define OX_CLI_SAMPLES_H

#include "batch.h"
#include "load.h"

typedef struct ox_samples {
    ox_texts inputs;
    const char *pixel_text;
    ox_pixels pixels;
    ox_batch batch;
    int64_t threads;
    uint64_t limit;
    const char *runtime;
    bool quiet;
} ox_samples;

/* Its rows in a table of options. */
#define OX_SAMPLES_INPUT(s)                                                                        \
    {                                                                                              \
        "input", 'i', OX_OPTION_LIST, &(s)->inputs, "[NAME=]FILE",                                 \
            "samples: .npy, .npz, .csv with a header, .png, .jpg, a folder of pictures"            \
    }
#define OX_SAMPLES_RUN(s)                                                                          \
    {"memory",           0,       OX_OPTION_BYTES,                                                 \
     &(s)->batch.memory, "BYTES", "what a batch may take, such as 800M (default: at most 64M)"},   \
        OX_ROW_LIMIT(&(s)->limit), OX_ROW_THREADS(&(s)->threads), OX_ROW_RUNTIME(&(s)->runtime)

/* Whether they can be used; -1, else the exit code of what has been reported. */
int ox_samples_check(const char *command, ox_samples *s);

/* How a session is opened for them. */
ox_session_options ox_samples_session(const ox_samples *s);

/* What loads them for the inputs of a model. */
ox_loader ox_samples_loader(const ox_samples *s, const ox_model *model,
                            const ox_signature *signature);

bool ox_samples_load(const ox_samples *s, const ox_model *model, const ox_signature *signature,
                     ox_arrays *arrays, ox_error *err);

#endif
