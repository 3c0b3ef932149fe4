/* Linear systems by LAPACK. Nothing here takes memory of its own. */
#include "explain/cholesky.h"

#include <lapacke.h>

_Static_assert(sizeof(lapack_int) == sizeof(int32_t), "LAPACK with integers of 32 bits");

/* What LAPACK calls for arguments that are out of range. Its own prints and ends the program, and
 * for that needs Fortran's library; this one returns, and so does the function with its error. */
void xerbla_(const char *name, const lapack_int *argument, size_t length);
void xerbla_(const char *name, const lapack_int *argument, size_t length)
{
    (void)name, (void)argument, (void)length;
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

bool ox_cholesky_solve(const double *factor, int64_t n, double *right, int64_t columns)
{
    lapack_int size = (lapack_int)n;
    return LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'U', size, (lapack_int)columns, factor, size,
                               right, size) == 0;
}
