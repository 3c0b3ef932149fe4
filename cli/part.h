/* Results that grow row by row: a .csv, or a folder of .npy, which appear when they are whole.
 * Until then they lie in OUTPUT.part, beside a file that says what of them is complete, so that a
 * run that ended can be gone on with. */
#ifndef OX_CLI_PART_H
#define OX_CLI_PART_H

#include "columns.h"
#include "summary.h"

typedef struct ox_part ox_part;

/* How far a run has come. */
typedef struct ox_reached {
    size_t rows; /* written, of those to write */
    ox_findings found;
    ox_worst worst;
} ox_reached;

/* Whether a path is such a result: X.csv, or FOLDER/. */
bool ox_part_can(const char *path);

/* Begins or, with `resume`, goes on, where the earlier run was `of` the same: a line that says what
 * results depend on. `reached` is how far that came. `rows` is how many there will be. NULL and err
 * on failure; NULL and err->code OX_OK with `resume` where the result is there. */
ox_part *ox_part_begin(const char *path, bool resume, const char *of, size_t rows,
                       ox_reached *reached, ox_error *err);

/* Appends rows, and notes that they are complete. */
bool ox_part_add(ox_part *part, ox_arrays *outputs, const ox_signature *signature,
                 const ox_reached *reached, ox_error *err);

/* Puts the result in its place where `good`, else leaves what there is, to be gone on with. */
bool ox_part_end(ox_part *part, bool good, ox_error *err);

#endif
