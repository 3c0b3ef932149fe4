/* Steps over a grid: the model once more on points that are made of the sample, of one of `rows`
 * (points of a path, coalitions) and of a reference, for each pair of the latter two. They are
 * steps of a Scan, many pairs at once where samples stay apart: in its body N stands for all points
 * of a step. */
#ifndef OX_EXPLAIN_GRID_H
#define OX_EXPLAIN_GRID_H

#include "explain/branch.h"
#include "explain/plan.h"

/* What the reference of a row is. */
typedef enum ox_pairing {
    OX_PAIR_ALL,  /* each of the references in turn */
    OX_PAIR_OWN,  /* the one that `own` draws for the row */
    OX_PAIR_MEAN, /* the mean of all */
} ox_pairing;

typedef struct ox_grid {
    ox_pairing pairing;
    int64_t rows;
    const double *own;  /* [rows], a number in [0, 1) that stands for a reference */
    const ox_val *mean; /* of the references, by input, in the model's graph */
    bool backwards;     /* multipliers will pass, which takes more memory */
    bool whole;         /* all references in one step: what comes out is one for each */
    int64_t block; /* rows that have to be in one step where samples stay apart, 0: each alone */

    /* ox_grid_open's. Values of the body have two axes in front: rows and references of a step. */
    bool folded;       /* there may be more than one pair a step */
    int64_t row_chunk; /* rows a step */
    int64_t ref_chunk; /* references a step; 0: all of them, known at run time */
    int64_t ref_parts; /* steps a row; 0: known at run time */
    ox_val row;        /* int64 [rows a step] */
    ox_val ref;        /* int64 [references a step], NULL: all of them */
    ox_val weight;     /* [rows, references]: 1/R, 0 for what fills up the last step */
    ox_val *x, *x0;    /* by input */
    ox_dim samples;    /* N in the model's graph */
    ox_plan plan;
    const ox_plan *former_plan;
    ox_fork *former;
} ox_grid;

void ox_grid_open(ox_explain_state *s, ox_grid *grid);

/* The number of each row at hand, [rows]; and as it meets points of input i. */
ox_val ox_grid_number(ox_explain_state *s, const ox_grid *grid, const double *numbers);
ox_val ox_grid_number_for(ox_explain_state *s, const ox_grid *grid, size_t i,
                          const double *numbers);

/* A value of the model's graph with samples along `axis` (-1: none), whole, in the body. */
ox_val ox_grid_enter(ox_explain_state *s, const ox_grid *grid, ox_val outside, int axis);

/* The points of input i, [rows, references, own shape]: what the model is run on. */
void ox_grid_feed(ox_explain_state *s, const ox_grid *grid, size_t i, ox_val points);

/* The same, `points` [other rows, references, own shape], and behind them, where references of a
 * step are known, x of each sample and each reference once: [all of that, ..]. */
void ox_grid_feed_once(ox_explain_state *s, const ox_grid *grid, size_t i, ox_val points);

/* The flat indices of the targets, [N, K] in the body. */
ox_val ox_grid_targets(ox_explain_state *s, const ox_grid *grid);

/* v, [lead axes, own shape] in the body with samples along `axis` (-1: none) of the own shape, as
 * [lead axes, rows, references, own shape]. */
ox_val ox_grid_unfold(ox_explain_state *s, const ox_grid *grid, ox_val v, int lead, int axis);

/* Closes the body and the grid. Each of `sums` is added up over the steps; `dims`
 * are its in the model's graph. */
void ox_grid_close(ox_explain_state *s, ox_grid *grid, ox_val *sums[], size_t count,
                   const ox_dim *const *dims);

/* The same, but what each row gives, [rows, ..], is put one behind the other, and `dims` is the
 * shape of it without the rows; what the parts of the references give is added up. */
ox_val ox_grid_close_rows(ox_explain_state *s, ox_grid *grid, ox_val each, int rank,
                          const ox_dim *dims);

/* The same for each reference: `each` is [rows, references, ..], what comes out too. */
ox_val ox_grid_close_pairs(ox_explain_state *s, ox_grid *grid, ox_val each, int rank,
                           const ox_dim *dims);

#endif
