/* A folder of temporary files, for models that ONNX Runtime can only read from files. */
#ifndef OX_SCRATCH_H
#define OX_SCRATCH_H

#include "onnxexplainer.h"
#include "os.h"

typedef struct ox_scratch {
    char *path;
    ox_os_folder *folder; /* its lock says that it is in use */
} ox_scratch;

/* Makes an empty folder among temporary files, and removes those that killed runs have left there.
 * False and err on failure. */
bool ox_scratch_open(ox_scratch *s, ox_error *err);

/* Removes it with what is in it. */
void ox_scratch_close(ox_scratch *s);

#endif
