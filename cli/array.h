/* Dense arrays that the command line reads, converts and writes. */
#ifndef OX_CLI_ARRAY_H
#define OX_CLI_ARRAY_H

#include "cli.h"

enum { OX_RANK_MAX = 32 };

/* Row-major elements in the machine's byte order; of text pointers, with the texts behind them. */
typedef struct ox_array {
    char *name; /* of the input or output it belongs to; NULL: not said */
    char *file; /* where it was read, for messages; may be NULL */
    ox_type type;
    int rank;
    int64_t dims[OX_RANK_MAX];
    void *data;
} ox_array;

typedef struct ox_arrays {
    ox_array *items;
    size_t count;
} ox_arrays;

void ox_array_free(ox_array *array);
void ox_arrays_free(ox_arrays *arrays);

/* Takes over what `array` owns; frees it on failure. */
bool ox_arrays_add(ox_arrays *arrays, ox_array *array, ox_error *err);

/* The array of that name, NULL where there is none. */
ox_array *ox_arrays_find(const ox_arrays *arrays, const char *name);

/* The same by a name in three parts. */
ox_array *ox_arrays_find_joined(const ox_arrays *arrays, const char *first, const char *second,
                                const char *third);

/* Number of elements; false where it or the number of bytes does not fit. */
bool ox_array_count(const int64_t *dims, int rank, size_t size, size_t *count);

/* Elements of a valid array from axis `from` on. */
size_t ox_array_elements(const ox_array *array, int from);

/* Allocates the elements for the type and dims that are set. */
bool ox_array_allocate(ox_array *array, ox_error *err);

/* The same for text, with room for `bytes` of it behind the pointers, which begins at the result
 * and holds zeros. NULL and err on failure. */
char *ox_array_allocate_text(ox_array *array, size_t bytes, ox_error *err);

/* Copies a tensor of the library. */
bool ox_array_from_tensor(ox_array *array, const ox_tensor *tensor, ox_error *err);

/* The array as an argument of the library; it borrows everything. */
ox_tensor ox_array_tensor(const ox_array *array);

/* Element i as a double. */
double ox_array_at(const ox_array *array, size_t i);

/* How often its samples are gone through: the axes before theirs; 1 where `axis` is none with as
 * many. */
size_t ox_array_outer(const ox_array *array, long axis, size_t samples);

/* Element i of sample n, over all axes but that of the samples. */
double ox_array_of_sample(const ox_array *array, long axis, size_t samples, size_t n, size_t i);

/* Whether elements of `from` may stand for elements of `to`: numbers become floating point, whole
 * numbers other whole numbers. Ranges are checked by the conversion. */
bool ox_array_convertible(ox_type from, ox_type to);

/* Converts the elements in place. Values that do not fit, and with `whole` false every change
 * from floating point to whole numbers, are errors. */
bool ox_array_convert(ox_array *array, ox_type type, bool whole, ox_error *err);

/* bfloat16, which .npy cannot hold, becomes float32. */
bool ox_arrays_widen(ox_arrays *arrays, ox_error *err);

bool ox_cli_type_is_float(ox_type type);
bool ox_type_is_whole(ox_type type);

/* "[3,224,224]" into text; -1 is written as the symbol, or as "?" without one. Returns text. */
char *ox_dims_text(char *text, size_t size, const int64_t *dims, int rank,
                   const char *const *symbols);

/* What may be wrong with an array that an input does not take, as "; ..."; "" where that is not
 * clear. */
const char *ox_shape_hint(const ox_array *array, const ox_value_info *input);

/* "[3,0,17]": where element `index` stands. */
char *ox_index_text(char *text, size_t size, const int64_t *dims, int rank, size_t index);

#endif
