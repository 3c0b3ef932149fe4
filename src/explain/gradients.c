/* Methods that take gradients at points: at the sample, on the line from a reference to it, or
 * around it. Where both sides are the same every rule is the gradient, so that the walk goes
 * through the points with both sides there. */
#include "explain/gradients.h"

#include <string.h>

#include "base/random.h"
#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/extra.h"
#include "explain/gauss.h"
#include "explain/grid.h"
#include "explain/method.h"
#include "explain/plan.h"
#include "explain/references.h"
#include "explain/result.h"
#include "explain/target.h"
#include "explain/walk.h"
#include "explain/weights.h"
#include "rules/side.h"

enum { STEPS = 32, DRAWS = 200, NOISES = 32, NOISE_PERCENT = 15, MOST_ROWS = 1 << 20 };

/* The stream of each kind of numbers that are drawn. */
enum { STREAM_DRAWS, STREAM_NOISE };

/* Points: row k is at r + t (x + noise - r). */
typedef struct path {
    int64_t rows;
    double *t, *weight, *own; /* NULL for own: the reference is not drawn */
    int64_t noises;           /* 0: none; row k has noise k % noises */
    bool times_way;           /* gradients are taken times x - r */
    ox_pairing pairing;
} path;

void ox_gradient_check(const ox_explain_state *s)
{
    bool inputs = s->bind->points == s->bind->inputs;
    if (!inputs && strcmp(s->method->name, "gradient") != 0) {
        ox_fail(s->arena, OX_ARGUMENT,
                "at: tensors inside can be explained by the methods deepshap and gradient");
    }
    for (size_t i = 0; inputs && i < s->bind->input_count; i++) {
        ox_val x = s->bind->inputs[i].x;
        if (!ox_type_is_float(x->type)) {
            ox_fail(s->arena, OX_ARGUMENT,
                    "method %s: input \"%s\" holds %s, between which there is nothing; hold=%s "
                    "keeps it at the sample's value",
                    s->options->method, x->name, ox_type_name(x->type), x->name);
        }
    }
}

/* ---- the sample ----------------------------------------------------------------------------- */

/* The multiplier of point i, 0 where none arrived. */
static ox_val multiplier(ox_explain_state *s, size_t i)
{
    ox_val x = s->bind->points[i].x, m = ox_side_of(x)->m;
    if (m != NULL) {
        return m;
    }
    ox_dim dims[OX_MAX_RANK] = {ox_dim_of(s->target->count)};
    memcpy(dims + s->target->many, x->dims, (size_t)x->rank * sizeof *dims);
    return ox_zeros(s->branch->flow, ox_side_type(x->type), x->rank + s->target->many, dims);
}

/* The mean of the references, in the model's graph: own shape with 1 in place of N; or each of
 * them, where they are kept. */
static ox_val mean_reference(ox_explain_state *s, size_t i)
{
    const ox_fed *fed = &s->branch->fed[i];
    int64_t first = 0;
    if (ox_feed_is_own(s)) {
        return s->options->keep_references ? ox_unsqueeze(fed->all, 0) : fed->all;
    }
    bool padded = s->bind->refs_count > 0 && s->plan->padded > s->bind->refs_count;
    ox_val all = padded ? ox_slice(fed->slices, 0, 0, s->bind->refs_count, 1) : fed->slices;
    all = ox_cast(all, ox_side_type(all->type));
    if (s->options->keep_references) {
        return all;
    }
    if (s->options->weight_count > 0) {
        ox_dim dims[OX_MAX_RANK] = {ox_dim_of(s->bind->refs_count)};
        for (int d = 1; d < all->rank; d++) {
            dims[d] = ox_dim_of(1);
        }
        const double *weights = ox_weights_find(s, s->bind->refs_count);
        ox_type type = all->type == OX_DOUBLE ? OX_DOUBLE : OX_FLOAT;
        ox_val w = ox_floats(s->g, type, 1, &s->bind->refs_count, weights);
        all = ox_mul(all, ox_cast(ox_reshape(w, all->rank, dims), all->type));
    }
    return ox_reduce("ReduceMean", all, 1, &first, false);
}

static ox_val *mean_references(ox_explain_state *s)
{
    ox_val *means = ox_arena_alloc(s->arena, s->bind->input_count, sizeof *means);
    for (size_t i = 0; i < s->bind->input_count; i++) {
        means[i] = mean_reference(s, i);
    }
    return means;
}

/* The same for each reference, where these are kept. */
static ox_val for_references(ox_explain_state *s, size_t i, ox_val terms, const void *user)
{
    const ox_value *x0 = user;
    if (!s->options->keep_references) {
        return terms;
    }
    ox_val x = s->bind->points[i].x;
    ox_dim dims[OX_MAX_RANK] = {ox_dim_of(s->target->count)};
    int lead = s->target->many;
    dims[lead++] = x0->dims[0];
    memcpy(dims + lead, x->dims, (size_t)x->rank * sizeof *dims);
    return ox_expand(terms, x->rank + lead, dims);
}

/* Gradients of the samples themselves, times x - mean r where there is a mean. */
static void at_samples(ox_explain_state *s, const ox_val *means)
{
    ox_result_base(s);
    ox_fork *former = s->branch;
    ox_fork_samples(s);
    ox_val targets = ox_transpose(s->target->flat, (int[]){1, 0});
    ox_walk(s, ox_target_seed(s, targets));
    for (size_t i = 0; i < s->bind->point_count; i++) {
        ox_val m = multiplier(s, i), x0 = means == NULL ? NULL : ox_cast(means[i], m->type);
        s->found->phi[i] = m;
        if (means != NULL) {
            ox_val x = ox_cast(ox_sample(s, s->bind->points[i].x), m->type);
            m = s->options->keep_references ? ox_unsqueeze(m, s->target->many) : m;
            s->found->phi[i] = ox_mul(m, ox_sub(x, x0));
            ox_extra_put(s, i, m, x0, for_references, x0);
        }
    }
    s->branch = former;
}

void ox_gradient(ox_explain_state *s)
{
    at_samples(s, NULL);
}

void ox_gradient_times_input(ox_explain_state *s)
{
    at_samples(s, mean_references(s));
}

/* R, as grid->weight is 1/R. */
static ox_val count_of_references(ox_explain_state *s, const ox_grid *grid)
{
    return ox_number(grid->weight, (double)s->bind->refs_count);
}

/* ---- paths ---------------------------------------------------------------------------------- */

/* Noise for input i of deviation 1, and, as each draw comes with both signs, of mean 0: [noises,
 * own shape]. */
static ox_val noise_table(ox_explain_state *s, const path *p, size_t i)
{
    const ox_explained *e = &s->bind->inputs[i];
    int64_t dims[OX_MAX_RANK] = {p->noises};
    size_t count = (size_t)p->noises;
    for (int d = 0; d < e->x->rank; d++) {
        ox_dim own = d == e->batch_axis ? ox_dim_of(1) : e->x->dims[d];
        if (!ox_dim_is_static(own) || !ox_size_mul(count, (size_t)own.size, &count)) {
            ox_fail(s->arena, OX_UNSUPPORTED, "smoothgrad: the shape of input \"%s\" is not known",
                    e->x->name);
        }
        dims[d + 1] = own.size;
    }
    ox_random r = ox_random_begin(s->options->seed, STREAM_NOISE + 16 * i);
    double *numbers = ox_arena_alloc(s->arena, count, sizeof *numbers);
    size_t each = count / (size_t)p->noises;
    for (size_t k = 0; k < count; k++) {
        numbers[k] = k / each % 2 == 0 ? ox_random_normal(&r) : -numbers[k - each];
    }
    return ox_floats(s->branch->flow, ox_side_type(e->x->type), e->x->rank + 1, dims, numbers);
}

/* The sample of input i with noise: its deviation is a part of the sample's range. */
static ox_val with_noise(ox_explain_state *s, const ox_grid *grid, const path *p, size_t i,
                         ox_val x)
{
    ox_graph *g = s->branch->flow;
    int axis = s->bind->inputs[i].batch_axis, rank = s->bind->inputs[i].x->rank;
    int64_t axes[OX_MAX_RANK];
    size_t count = 0;
    for (int d = 0; d < rank; d++) {
        if (d != axis) {
            axes[count++] = d - rank;
        }
    }
    int64_t percent = s->options->noise > 0 ? s->options->noise : NOISE_PERCENT;
    ox_val range = ox_sub(ox_reduce("ReduceMax", x, count, axes, true),
                          ox_reduce("ReduceMin", x, count, axes, true));
    ox_val which = ox_binary("Mod", grid->row, ox_int_scalar(g, p->noises));
    ox_val noise = ox_unsqueeze(ox_gather(noise_table(s, p, i), which, 0), 1);
    return ox_add(x, ox_mul(noise, ox_scale(range, (double)percent / 100)));
}

typedef struct step {
    const ox_grid *grid;
    const path *path;
} step;

/* Terms of input i in one step, [K, rows, references, own shape], weighted and added up over the
 * step's pairs; over its rows where references are kept. */
static ox_val step_sum(ox_explain_state *s, size_t i, ox_val terms, const void *user)
{
    const step *at = user;
    const ox_grid *grid = at->grid;
    bool keep = s->options->keep_references;
    int rank = s->bind->inputs[i].x->rank;
    int64_t axes[] = {-2 - rank, -1 - rank};
    ox_val rows = ox_unsqueeze(ox_grid_number(s, grid, at->path->weight), 1);
    ox_val pairs = keep ? ox_mul(grid->weight, count_of_references(s, grid)) : grid->weight;
    ox_val weight = ox_mul(pairs, rows);
    ox_dim dims[OX_MAX_RANK] = {weight->dims[0], weight->dims[1]};
    for (int d = 0; d < rank; d++) {
        dims[2 + d] = ox_dim_of(1);
    }
    weight = ox_cast(ox_reshape(weight, rank + 2, dims), terms->type);
    return ox_reduce("ReduceSum", ox_mul(terms, weight), keep ? 1 : 2, axes, false);
}

/* What input i gets in one step: phi, the multipliers times the way, and what options ask for. */
static void step_values(ox_explain_state *s, const step *at, size_t i, ox_val way, ox_val x0)
{
    int lead = s->target->many;
    ox_val m = ox_grid_unfold(s, at->grid, multiplier(s, i), lead, s->bind->inputs[i].batch_axis);
    ox_val terms = way == NULL ? m : ox_mul(m, ox_cast(way, m->type));
    s->found->phi[i] = step_sum(s, i, terms, at);
    ox_extra_put(s, i, m, ox_cast(x0, m->type), step_sum, at);
}

/* [K, R, own shape of input i] in the model's graph, as far as these axes exist. */
static const ox_dim *shape_of(ox_explain_state *s, size_t i)
{
    ox_val x = s->bind->inputs[i].x;
    ox_dim *dims = ox_arena_alloc(s->arena, OX_MAX_RANK, sizeof *dims);
    int lead = s->target->many;
    dims[0] = ox_dim_of(s->target->count);
    if (s->options->keep_references) {
        dims[lead++] = ox_dim_of(s->bind->refs_count);
    }
    memcpy(dims + lead, x->dims, (size_t)x->rank * sizeof *dims);
    return dims;
}

/* Adds up over all steps what they give. */
static void close_steps(ox_explain_state *s, ox_grid *grid)
{
    ox_found *f = s->found;
    ox_val *lists[] = {f->phi, f->multipliers, f->hypothetical};
    size_t inputs = s->bind->input_count, count = 0;
    ox_val **sums = ox_arena_alloc(s->arena, 3 * inputs, sizeof *sums);
    const ox_dim **shapes = ox_arena_alloc(s->arena, 3 * inputs, sizeof *shapes);
    for (size_t i = 0; i < 3 * inputs; i++) {
        if (lists[i / inputs] != NULL) {
            sums[count] = &lists[i / inputs][i % inputs];
            shapes[count++] = shape_of(s, i % inputs);
        }
    }
    ox_grid_close(s, grid, sums, count, shapes);
}

/* Walks through all points, step by step. */
static void along(ox_explain_state *s, const path *p)
{
    size_t count = s->bind->input_count;
    ox_result_base(s);
    ox_grid grid = {.pairing = p->pairing, .rows = p->rows, .own = p->own, .backwards = true};
    grid.mean = p->pairing == OX_PAIR_MEAN ? mean_references(s) : NULL;
    grid.whole = s->options->keep_references;
    ox_grid_open(s, &grid);
    if (grid.whole && s->bind->refs_count != 1 && (!grid.folded || s->bind->refs_count == 0)) {
        ox_fail(s->arena, OX_ARGUMENT,
                "keep_references: method %s takes all references at once, which needs references "
                "that are given and a free batch; one reference at a time, or deepshap",
                s->options->method);
    }
    ox_val *ways = ox_arena_alloc(s->arena, count, sizeof *ways);
    for (size_t i = 0; i < count; i++) {
        ox_type type = ox_side_type(s->bind->inputs[i].x->type);
        ox_val x = ox_cast(grid.x[i], type), x0 = ox_cast(grid.x0[i], type), t;
        x = p->noises > 0 ? with_noise(s, &grid, p, i, x) : x;
        ways[i] = p->times_way ? ox_sub(x, x0) : NULL;
        if (p->t != NULL) {
            t = ox_cast(ox_grid_number_for(s, &grid, i, p->t), type);
            x = ox_add(x0, ox_mul(ox_sub(x, x0), t));
        }
        ox_grid_feed(s, &grid, i, x);
    }
    ox_val targets = ox_transpose(ox_grid_targets(s, &grid), (int[]){1, 0});
    ox_walk(s, ox_target_seed(s, targets));
    const step at = {&grid, p};
    for (size_t i = 0; i < count; i++) {
        step_values(s, &at, i, ways[i], grid.x0[i]);
    }
    close_steps(s, &grid);
}

static path path_of(ox_explain_state *s, int64_t rows)
{
    if (rows > MOST_ROWS) {
        ox_fail(s->arena, OX_ARGUMENT, "%lld points are too many, %d can be taken at most",
                (long long)rows, MOST_ROWS);
    }
    path p = {.rows = rows, .pairing = OX_PAIR_ALL, .times_way = true};
    p.weight = ox_arena_alloc(s->arena, (size_t)rows, sizeof *p.weight);
    for (int64_t k = 0; k < rows; k++) {
        p.weight[k] = 1 / (double)rows;
    }
    return p;
}

/* The next even number. */
static int64_t even(int64_t count)
{
    return count + count % 2;
}

static int64_t or_default(int64_t given, int64_t otherwise)
{
    return given > 0 ? given : otherwise;
}

/* Gradients on the whole way from each reference, once for each noise. */
static path integrated(ox_explain_state *s, int64_t noises)
{
    int64_t steps = or_default(s->options->steps, STEPS), times = noises > 0 ? noises : 1;
    path p = path_of(s, steps * times);
    p.noises = noises;
    p.t = ox_arena_alloc(s->arena, (size_t)p.rows, sizeof *p.t);
    for (int64_t k = 0; k < p.rows; k++) {
        ox_gauss_legendre((int)(k / times), (int)steps, &p.t[k], &p.weight[k]);
        p.weight[k] /= (double)times;
    }
    return p;
}

/* Draws of a reference and a place on the way from it, each reference as often as the others, and a
 * place in each part of the way; with options.steps the same places for each reference. */
static path expected(ox_explain_state *s, int64_t noises)
{
    int64_t steps = s->options->steps, refs = s->bind->refs_count;
    int64_t draws = noises > 0 ? noises : or_default(s->options->samples, DRAWS);
    int64_t part_of = (refs > 0 ? refs : 1) * (noises > 0 ? 1 + refs % 2 : 1);
    draws = (draws + part_of - 1) / part_of * part_of;
    path p = path_of(s, steps > 0 ? noises > 0 ? even(steps) : steps : draws);
    ox_random r = ox_random_begin(s->options->seed, STREAM_DRAWS);
    int64_t *part = ox_arena_alloc(s->arena, (size_t)p.rows, sizeof *part);
    p.noises = noises > 0 ? p.rows : 0;
    p.t = ox_arena_alloc(s->arena, (size_t)p.rows, sizeof *p.t);
    p.own = ox_arena_alloc(s->arena, (size_t)p.rows, sizeof *p.own);
    p.pairing = steps > 0 ? OX_PAIR_ALL : OX_PAIR_OWN;
    for (int64_t k = 0; k < p.rows; k++) {
        part[k] = k;
        p.own[k] = ((double)k + 0.5) / (double)p.rows;
    }
    ox_random_shuffle(&r, part, p.rows);
    for (int64_t k = 0; k < p.rows; k++) {
        p.t[k] = ((double)part[k] + ox_random_unit(&r)) / (double)p.rows;
    }
    return p;
}

void ox_integrated_gradients(ox_explain_state *s)
{
    path p = integrated(s, 0);
    along(s, &p);
}

void ox_expected_gradients(ox_explain_state *s)
{
    path p = expected(s, 0);
    along(s, &p);
}

void ox_smooth_gradients(ox_explain_state *s)
{
    int64_t noises = even(or_default(s->options->samples, NOISES));
    const char *colon = strchr(s->options->method, ':'), *of = colon == NULL ? "" : colon + 1;
    path p;
    if (strcmp(of, "integrated-gradients") == 0) {
        p = integrated(s, noises);
    } else if (strcmp(of, "expected-gradients") == 0) {
        p = expected(s, noises);
    } else {
        p = path_of(s, noises);
        p.noises = noises;
        p.pairing = OX_PAIR_MEAN;
        p.times_way = strcmp(of, "input-x-gradient") == 0;
    }
    along(s, &p);
}
