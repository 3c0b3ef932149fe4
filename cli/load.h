/* Arrays for the inputs of a model, from the files that the user names. */
#ifndef OX_CLI_LOAD_H
#define OX_CLI_LOAD_H

#include "array.h"
#include "images.h"
#include "options.h"

/* What the arrays are for. */
typedef struct ox_loader {
    const char *option; /* "--input" or "--references", for messages */
    const ox_value_info *inputs;
    size_t count;
    const char *sole;      /* the input that a file without NAME= belongs to; NULL: none */
    bool nameless;         /* without one, such an array is taken as it is, its name NULL */
    const bool *ignored;   /* inputs whose arrays in an .npz are left out; NULL: none */
    const ox_model *model; /* whose references what is loaded is compared with */
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

#endif
