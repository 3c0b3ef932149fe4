/* Linear systems with a positive definite matrix, by LAPACK. */
#ifndef OX_CHOLESKY_H
#define OX_CHOLESKY_H

#include <stdbool.h>
#include <stdint.h>

/* Whether this library was built with LAPACK: what follows is false without. */
bool ox_cholesky_is_there(void);

/* Factorises a matrix of n x n in place, of which the upper part by columns is read; `norm` is its
 * largest sum of a row. False where it is singular, or nearly so. `work` has room for 3 n numbers,
 * `more` for n. */
bool ox_cholesky(double *matrix, int64_t n, double norm, double *work, int32_t *more);

/* The inverse in place of the factors, both its halves. */
bool ox_cholesky_invert(double *factor, int64_t n);

#endif
