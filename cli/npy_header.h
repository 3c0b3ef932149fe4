/* The header of .npy, a Python dict. */
#ifndef OX_CLI_NPY_HEADER_H
#define OX_CLI_NPY_HEADER_H

#include "array.h"
#include "npy.h"

enum { OX_NPY_UNIT = 4 }; /* bytes of a character of numpy.str_ */

/* What a header says. */
typedef struct ox_npy_dict {
    char kind; /* f i u b, S U for text */
    int bytes; /* of an element */
    bool swapped;
    bool fortran;
    int rank;
    int64_t dims[OX_RANK_MAX];
} ox_npy_dict;

/* Reads the dict; `file` is for messages. */
bool ox_npy_parse(const char *text, ox_npy_dict *h, const char *file, ox_error *err);

/* The type of elements, OX_NONE where there is none. */
ox_type ox_npy_type(char kind, int bytes);

#endif
