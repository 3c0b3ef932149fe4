/* Inside of output files: what the writer of models needs beyond the public functions. */
#ifndef OX_OUTPUT_H
#define OX_OUTPUT_H

#include <stdint.h>

#include "base/arena.h"
#include "os.h"

enum { OX_NAME_ROOM = 320, OX_OUTPUT_BUFFER = 64 * 1024 };

/* A file that is being written. */
typedef struct ox_output_file {
    int fd;                    /* -1: none */
    char beside[OX_NAME_ROOM]; /* its name until it is done; "" where it has its own */
    unsigned char *buffer;
    size_t used;
} ox_output_file;

struct ox_output {
    ox_arena *arena;
    char *path;                /* as given, for messages */
    char *folder_path, *name;  /* links followed */
    char stem[OX_NAME_ROOM];   /* what the names of the other files begin with */
    ox_os_folder *folder;      /* NULL: written directly */
    int number;                /* errno of what failed first */
    bool exists, temporary;    /* temporary: need not outlast the machine's */
    ox_os_info before;         /* of the file that is replaced, where one exists */
    ox_output_file main, data; /* data: of a model */
    char data_name[OX_NAME_ROOM];
    /* Whether a file that was made for the model before may go, NULL: none may. */
    bool (*may_go)(void *user, const ox_os_info *file);
    void *user;
};

/* "PATH: cannot VERB: no space left on device"; returns false. */
bool ox_file_error(ox_error *err, const char *path, const char *verb, int number);

/* Begins a second file in the same folder, which takes its place before the main one does. False
 * and err on failure. */
bool ox_output_add_data(ox_output *o, ox_error *err);

/* A sink for it. */
bool ox_output_write_data(void *output, const void *data, size_t size);

/* Names it after its contents: STEM.HASH.data. */
void ox_output_name_data(ox_output *o, uint64_t hash);

/* ox_write of a file that need not outlast the process: it is not synced. */
bool ox_write_temporary(const ox_model *model, const char *path, ox_error *err);

#endif
