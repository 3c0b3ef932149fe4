/* Linear systems by LAPACK. Nothing here takes memory of its own. */
#include "explain/cholesky.h"

#if defined(OX_NO_LAPACK)

bool ox_cholesky_is_there(void)
{
    return false;
}

bool ox_cholesky(double *matrix, int64_t n, double norm, double *work, int32_t *more)
{
    (void)matrix, (void)n, (void)norm, (void)work, (void)more;
    return false;
}

bool ox_cholesky_invert(double *factor, int64_t n)
{
    (void)factor, (void)n;
    return false;
}

#else

#include <lapacke.h>

_Static_assert(sizeof(lapack_int) == 4, "LAPACK with integers of 32 bits");

/* What LAPACK calls for arguments that are out of range. Its own prints and ends the program, and
 * for that needs Fortran's library; this one returns, and so does the function with its error. */
void xerbla_(const char *name, const lapack_int *argument, size_t length);
void xerbla_(const char *name, const lapack_int *argument, size_t length)
{
    (void)name, (void)argument, (void)length;
}

/* By which it puts two short texts together, to ask how large blocks are to be: Fortran's library
 * has it, too. */
void _gfortran_concat_string(size_t size, char *to, size_t first_size, const char *first,
                             size_t second_size, const char *second);
void _gfortran_concat_string(size_t size, char *to, size_t first_size, const char *first,
                             size_t second_size, const char *second)
{
    for (size_t i = 0; i < size; i++) {
        bool beyond = i >= first_size + second_size;
        to[i] = i < first_size ? first[i] : beyond ? ' ' : second[i - first_size];
    }
}

bool ox_cholesky_is_there(void)
{
    return true;
}

bool ox_cholesky(double *matrix, int64_t n, double norm, double *work, int32_t *more)
{
    lapack_int size = (lapack_int)n;
    double rcond = 0;
    return LAPACKE_dpotrf2_work(LAPACK_COL_MAJOR, 'U', size, matrix, size) == 0 &&
           LAPACKE_dpocon_work(LAPACK_COL_MAJOR, 'U', size, matrix, size, norm, &rcond, work,
                               more) == 0 &&
           rcond > 1e-12;
}

bool ox_cholesky_invert(double *factor, int64_t n)
{
    lapack_int size = (lapack_int)n;
    if (LAPACKE_dpotri_work(LAPACK_COL_MAJOR, 'U', size, factor, size) != 0) {
        return false;
    }
    for (int64_t k = 0; k < n; k++) {
        for (int64_t l = 0; l < k; l++) {
            factor[l * n + k] = factor[k * n + l];
        }
    }
    return true;
}

#endif
