/* The quadrature of Gauss and Legendre. */
#ifndef OX_EXPLAIN_GAUSS_H
#define OX_EXPLAIN_GAUSS_H

/* Point i of `count` on [0, 1] and its weight: the i-th root of the Legendre polynomial, by
 * Newton's method from a guess that is close. */
void ox_gauss_legendre(int i, int count, double *at, double *weight);

#endif
