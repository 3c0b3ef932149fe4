/* Plans that are kept on disk, for the next session on the same model: in the folder onnxexplainer
 * of the user's caches, or the one that ONNXEXPLAINER_CACHE names, where an empty name keeps none.
 * A plan is found by the model's bytes, the processor, the threads, and the libraries that made it.
 * Whatever goes wrong here, there is no plan, and a session makes its own. */
#ifndef OX_RUN_KEPT_H
#define OX_RUN_KEPT_H

#include "onnxexplainer.h"
#include "os.h"

typedef struct ox_kept {
    ox_os_folder *folder; /* NULL: nothing is kept */
    uint64_t secret;      /* what names and checks are made with */
    uint64_t of;          /* hash of the file that holds the model */
    char name[48];        /* of the plan's file */
    int lock;             /* -1: none */
    void *mapping;        /* of the file that was found, or NULL */
    size_t mapped;
} ox_kept;

#define OX_KEPT_INIT                                                                               \
    {                                                                                              \
        .lock = -1                                                                                 \
    }

typedef enum ox_kept_what {
    OX_KEPT_NOTHING, /* not tried yet */
    OX_KEPT_PLAN,
    OX_KEPT_NO_PLAN /* there is none that gains */
} ox_kept_what;

void ox_kept_open(ox_kept *k, const ox_model *explained, const ox_session_options *options);

/* The same by the bytes of a file, which is not parsed; nothing is kept so of one that other files
 * belong to. */
void ox_kept_open_file(ox_kept *k, const char *path, const ox_session_options *options);

/* Whether it is found by these bytes, still. */
bool ox_kept_is_of(const ox_kept *k, const char *path);

void ox_kept_close(ox_kept *k);

/* The bytes of a plan live until ox_kept_close. */
ox_kept_what ox_kept_find(ox_kept *k, const void **data, size_t *size);

/* Waits until no other process makes a plan; until ox_kept_close none does. */
void ox_kept_lock(ox_kept *k);

/* Whether the plan may be kept: one that is larger from the start is not worth optimising for it.
 */
bool ox_kept_takes(const ox_kept *k, const ox_model *plan);

/* The file of a plan as ONNX Runtime has it after its optimisations. NULL: there is none that
 * gains.
 */
void ox_kept_write(const ox_kept *k, const char *path);

/* A file that cannot be used. */
void ox_kept_drop(const ox_kept *k);

#endif
