/* What commands write: files that appear whole or not at all, and standard output. */
#ifndef OX_CLI_OUTPUT_H
#define OX_CLI_OUTPUT_H

#include "options.h"
#include "os.h"

#include <stdio.h>

typedef struct ox_sheet {
    FILE *file; /* to write to */
    ox_output *output;
    ox_os_stream *stream;
    bool direct;     /* standard output, a device or a pipe: nothing that can be sought in */
    ox_os_held held; /* signals that wait */
} ox_sheet;

/* Begins a file; "-" is standard output. Signals that end the process wait until its end, and cut
 * it short: a file under way is removed before. */
bool ox_sheet_begin(ox_sheet *sheet, const char *path, ox_error *err);

/* Closes the file and puts it in its place, or, if not `good` or on failure, removes it. Returns
 * false and fills err where writing failed; returns false and leaves err where not `good`. */
bool ox_sheet_end(ox_sheet *sheet, bool good, ox_error *err);

/* Writes a model, with weights in a file of their own if `split`; "-" is standard output. */
bool ox_sheet_model(const ox_model *model, const char *path, bool split, ox_error *err);

/* Whether a path is standard output or written directly as ox_output_is_direct says. */
bool ox_sheet_is_direct(const char *path);

/* Refuses an output that would replace one of the input files, whatever name or link it goes by.
 * They are given as to options: FILE or NAME=FILE, "-" for standard input. Returns -1 to go on,
 * else the exit code after the message; `what` are the inputs in it. */
int ox_sheet_refuse(const char *command, const char *output, const char *what,
                    const char *const *inputs, size_t count);

/* Whether an output leaves the files of the model's weights alone; err where not. */
bool ox_sheet_keeps(const ox_model *model, const char *output, ox_error *err);

#endif
