/* Arrays for the inputs of a model, from the files that the user names. */
#ifndef OX_CLI_LOAD_H
#define OX_CLI_LOAD_H

#include "array.h"
#include "images.h"
#include "options.h"

/* "NAME=PATH" or "PATH". */
typedef struct ox_spec {
    const char *text;
    size_t name; /* length of the name; 0: none */
    const char *path;
} ox_spec;

ox_spec ox_spec_of(const char *text);

/* What the arrays are for. */
typedef struct ox_loader {
    const char *option; /* "--input" or "--references", for messages */
    const ox_value_info *inputs;
    size_t count;
    const char *sole;      /* the input that a file without NAME= belongs to; NULL: none */
    bool nameless;         /* without one, such an array is taken as it is, its name NULL */
    const bool *ignored;   /* inputs whose arrays in an .npz are left out; NULL: none */
    const ox_model *model; /* whose references what is loaded is compared with; NULL: it is not */
    ox_note note;          /* told of what is left out or on another scale; NULL: nobody */
    const bool *featured;  /* inputs whose columns in a .csv are named by `features` */
    char *const *features; /* over those inputs; may be missing */
    size_t feature_count;
    ox_pixels pixels; /* what those of pictures become */
    bool stacked;     /* pictures for an input without batch axis get one in front */
} ox_loader;

/* Reads each of `specs`: X.npy, NAME=X.npy, X.npz with one array per input, X.csv with a header,
 * pictures and folders of them, which make one array for each input; and converts to the types of
 * the inputs. */
bool ox_load(const ox_loader *loader, const ox_texts *specs, ox_arrays *arrays, ox_error *err);

/* Takes over an array that was read, which is for input `name`; NULL: the file does not say. */
bool ox_load_array(const ox_loader *loader, ox_array *array, const char *name, ox_arrays *arrays,
                   ox_error *err);

/* Takes the columns of a .csv, see ox_csv_read. */
bool ox_load_csv(const ox_loader *loader, const char *path, ox_bytes *bytes, size_t before,
                 ox_arrays *arrays, ox_error *err);

#endif
