/* options.splits: for a half S of the players, the rules from a reference r to x_S, the mixture
 * that has S from the sample, and from x_S to the sample. What S and the others do together is then
 * told apart by values of the model, and only what is done inside of each by rules. The sum is f(x)
 * - f(r) for each half; a half and its complement make a pair, whose mean is one draw.
 *
 * Steps of a Scan over blocks of four rows and the references. Where samples stay apart, the model
 * runs on x_S and that of the complement for each block and reference, and on each x and r of a
 * step once, and each leg takes two of these points; where the model or what references are asks
 * for as many points as legs, a block has x and r of its own. Else the model is in the body twice,
 * once for each end of a leg. */
#include "explain/splits.h"

#include <string.h>

#include "base/random.h"
#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/grid.h"
#include "explain/order.h"
#include "explain/players.h"
#include "explain/references.h"
#include "explain/rest.h"
#include "explain/result.h"
#include "explain/standin.h"
#include "explain/target.h"
#include "explain/walk.h"
#include "rules/side.h"

enum { LEGS = 4, STREAM_SPLITS = 3, MOST_CELLS = 1 << 22 };

/* ---- halves --------------------------------------------------------------------------------- */

/* For each pair, and each reference up to `own` (the others take theirs in turn), who is in S. */
typedef struct halves {
    int64_t pairs, own, players;
    unsigned char *member; /* [pairs own, players] */
} halves;

/* How many references have halves of their own: tables are to stay small. */
static int64_t own_halves(const ox_explain_state *s, int64_t pairs, int64_t players)
{
    int64_t refs = s->bind->refs_count, cells = 0, fit = 1;
    if (ox_int_mul(pairs, players > 0 ? players : 1, &cells) && cells > 0) {
        fit = MOST_CELLS / cells;
    }
    return refs < 1 || fit < 1 ? 1 : refs < fit ? refs : fit;
}

static halves draw(const ox_explain_state *s, int64_t pairs, int64_t players)
{
    halves h = {.pairs = pairs, .players = players, .own = own_halves(s, pairs, players)};
    int64_t rows = pairs * h.own;
    size_t cells = 0;
    if (!ox_size_mul((size_t)rows, (size_t)players, &cells)) {
        ox_fail(s->arena, OX_LIMIT, "splits: %lld players are too many", (long long)players);
    }
    h.member = ox_arena_alloc(s->arena, cells, 1);
    int64_t *order = ox_arena_alloc(s->arena, (size_t)players, sizeof *order);
    ox_random r = ox_random_begin(s->options->seed, STREAM_SPLITS);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t k = 0; k < players; k++) {
            order[k] = k;
        }
        ox_random_shuffle(&r, order, players);
        for (int64_t k = 0; k < players / 2; k++) {
            h.member[i * players + order[k]] = 1;
        }
    }
    return h;
}

/* What a row of a block is: S from the sample, what is not in S from it. */
typedef struct mixture {
    unsigned char half[LEGS], others[LEGS];
} mixture;

static const mixture points = {{1, 0, 1, 0}, {0, 1, 1, 0}}; /* x_S, of the complement, x, r */
static const int64_t ends[2][LEGS] = {{0, 2, 1, 2}, {3, 0, 3, 1}}; /* of the legs, among these */
static const mixture to = {{1, 1, 0, 1}, {0, 1, 1, 1}}, from = {{0, 1, 0, 0}, {0, 0, 0, 1}};

static ox_val place_in_block(const ox_grid *grid)
{
    return ox_binary("Mod", grid->row, ox_int_scalar(grid->row->graph, LEGS));
}

/* Flags of the rows, [rows, 1, 1]. */
static ox_val flags_of(const ox_grid *grid, const unsigned char *flags)
{
    int64_t count = LEGS;
    ox_const table = {.type = OX_BOOL, .rank = 1, .dims = &count, .size = LEGS};
    table.data = flags;
    ox_val each = ox_graph_constant(grid->row->graph, NULL, &table);
    return ox_unsqueeze(ox_unsqueeze(ox_gather(each, place_in_block(grid), 0), 1), 1);
}

/* Who is in S, bool [rows, references or 1, players]. */
static ox_val half_of(const ox_grid *grid, const halves *h)
{
    ox_graph *g = grid->row->graph;
    int64_t dims[] = {h->pairs * h->own, h->players};
    ox_const table = {.type = OX_BOOL, .rank = 2, .dims = dims, .data = h->member};
    table.size = (size_t)(dims[0] * dims[1]);
    ox_val at = ox_unsqueeze(ox_div(grid->row, ox_int_scalar(g, LEGS)), 1);
    if (h->own > 1) {
        ox_val own = ox_int_scalar(g, h->own);
        at = ox_add(ox_mul(at, own), ox_unsqueeze(ox_binary("Mod", grid->ref, own), 0));
    }
    return ox_gather(ox_graph_constant(g, NULL, &table), at, 0);
}

static void mix(ox_explain_state *s, const ox_grid *grid, const ox_players *p, ox_val half,
                const mixture *of)
{
    ox_val in = ox_binary("And", half, flags_of(grid, of->half));
    ox_val out = ox_binary("And", ox_unary("Not", half), flags_of(grid, of->others));
    ox_players_mix(s, grid, p, ox_unsqueeze(ox_binary("Or", in, out), 2));
}

/* ---- legs ----------------------------------------------------------------------------------- */

/* For each point of a step, the one that is its leg's end: [N]. */
static ox_val ends_of(ox_explain_state *s, const ox_grid *grid, const int64_t *places)
{
    ox_graph *g = s->branch->flow;
    ox_val size = ox_reshape(g->batch_size, 0, NULL), rows = ox_int_scalar(g, grid->row_chunk);
    ox_val range[] = {ox_int_scalar(g, 0), size, ox_int_scalar(g, 1)};
    ox_val at = ox_graph_emit(g, "Range", 3, range, 0, NULL), each = ox_div(size, rows);
    ox_val in_block = ox_binary("Mod", ox_div(at, each), ox_int_scalar(g, LEGS));
    ox_val end = ox_gather(ox_ints(g, LEGS, places), in_block, 0);
    ox_val moved = ox_add(at, ox_mul(ox_sub(end, in_block), each));
    return ox_reshape(moved, 1, (ox_dim[]){{.size = 1, .batch = 1}});
}

/* What else than values that vary would have as many rows as there are points, but for the shape
 * of a Reshape, of which rules have the result. */
static bool counts_points(const ox_explain_state *s)
{
    for (size_t i = 0; i < s->order->count; i++) {
        const ox_node *n = s->order->nodes[i];
        bool reshape = strcmp(n->op, "Reshape") == 0;
        for (size_t k = 0; k < n->input_count; k++) {
            const ox_side *side = n->inputs[k] == NULL ? NULL : ox_side_of(n->inputs[k]);
            if (side != NULL && side->depends && !side->varies && !(reshape && k == 1)) {
                return true;
            }
        }
    }
    return false;
}

static bool shares_ends(const ox_explain_state *s, const ox_grid *grid)
{
    return grid->folded && grid->ref != NULL && !ox_feed_is_own(s) && !counts_points(s);
}

/* Of the ends of a block's legs: x_S, that of the complement, x, r. */
enum { END_HALF, END_OTHERS, END_SAMPLE, END_REFERENCE };
static const int shared_ends[2][LEGS] = {
    {END_HALF, END_SAMPLE, END_OTHERS, END_SAMPLE},
    {END_REFERENCE, END_HALF, END_REFERENCE, END_OTHERS},
};

/* The points of [rows, references, N] legs' ends among the mixtures [both kinds of the blocks,
 * references, N], x [N] and r [references]: [legs]. */
static ox_val shared_ends_of(ox_explain_state *s, const ox_grid *grid, const int *kinds)
{
    ox_graph *g = s->branch->flow;
    int64_t blocks = grid->row_chunk / LEGS, refs = grid->ref_chunk, mixed = 2 * blocks * refs;
    size_t count = (size_t)(grid->row_chunk * refs);
    int64_t *times = ox_arena_alloc(s->arena, count, sizeof *times); /* of N before, */
    int64_t *more = ox_arena_alloc(s->arena, count, sizeof *more);   /* others, */
    int64_t *each =
        ox_arena_alloc(s->arena, count, sizeof *each); /* and of the own sample's number */
    for (int64_t i = 0; i < (int64_t)count; i++) {
        int64_t row = i / refs, r = i % refs, block = row / LEGS;
        int kind = kinds[row % LEGS];
        bool mixed_end = kind == END_HALF || kind == END_OTHERS;
        int64_t half = (kind == END_OTHERS ? blocks : 0) + block;
        times[i] = mixed_end ? half * refs + r : mixed + (kind == END_REFERENCE);
        more[i] = kind == END_REFERENCE ? r : 0;
        each[i] = kind != END_REFERENCE;
    }
    ox_dim dims[3] = {ox_dim_of(grid->row_chunk), ox_dim_of(refs), ox_dim_of(1)};
    ox_val size = ox_div(ox_reshape(g->batch_size, 0, NULL), ox_int_scalar(g, (int64_t)count));
    ox_val n = ox_unsqueeze(ox_unsqueeze(ox_iota_of(size), 0), 0);
    ox_val at = ox_mul(ox_reshape(ox_ints(g, count, times), 3, dims), size);
    at = ox_add(at, ox_reshape(ox_ints(g, count, more), 3, dims));
    at = ox_add(at, ox_mul(ox_reshape(ox_ints(g, count, each), 3, dims), n));
    return ox_reshape(at, 1, (ox_dim[]){{.size = 1, .batch = 1}});
}

static void feed_shared(ox_explain_state *s, const ox_grid *grid, const ox_players *p, ox_val half)
{
    half = ox_slice(half, 0, 0, grid->row_chunk, LEGS);
    ox_val both[] = {half, ox_unary("Not", half)};
    ox_val mask = ox_unsqueeze(ox_concat(s->branch->flow, 2, both, 0), 2);
    s->branch->fewer = true;
    ox_players_mix_once(s, grid, p, mask);
    for (int i = 0; i < 2; i++) {
        s->branch->ends[i] = shared_ends_of(s, grid, shared_ends[i]);
    }
}

static void feed(ox_explain_state *s, const ox_grid *grid, const ox_players *p, const halves *h)
{
    s->branch->copies = !grid->folded;
    ox_val half = half_of(grid, h);
    if (shares_ends(s, grid)) {
        feed_shared(s, grid, p, half);
        return;
    }
    if (grid->folded) {
        mix(s, grid, p, half, &points);
        s->branch->ends[0] = ends_of(s, grid, ends[0]);
        s->branch->ends[1] = ends_of(s, grid, ends[1]);
        return;
    }
    mix(s, grid, p, half, &to);
    for (size_t i = 0; i < s->bind->input_count; i++) {
        ox_side *side = ox_side_of(s->bind->inputs[i].x);
        side->sample = side->raw;
    }
    mix(s, grid, p, half, &from);
}

/* What the prediction differs by, over a leg, from the output that the walk starts with. */
static void rest_of_output(ox_explain_state *s, ox_val seed)
{
    ox_val v = s->bind->output, e[2];
    if (!ox_side_of(v)->fusible) {
        return;
    }
    ox_leg_check(s, v);
    ox_type type = s->bind->type;
    ox_val all = ox_sub(ox_cast(ox_reference_output(s), type), ox_cast(ox_point(s, v), type));
    for (int i = 0; i < 2; i++) {
        e[i] = ox_leg_pick(s, v, all, i == 1);
    }
    ox_rest_add(s, s->branch->lead, v, ox_mul(seed, ox_sub(e[0], e[1])));
}

/* m (x - x0) over the legs of a step, for each point, with what no rule passed on. */
static ox_val *terms_of(ox_explain_state *s)
{
    size_t count = s->bind->point_count;
    ox_val *terms = ox_arena_alloc(s->arena, count, sizeof *terms);
    ox_val *dx = ox_arena_alloc(s->arena, count, sizeof *dx);
    for (size_t i = 0; i < count; i++) {
        const ox_explained *e = &s->bind->points[i];
        ox_val x = ox_leg(s, e->x, false), x0 = ox_leg(s, e->x, true);
        dx[i] = ox_result_change(s, e, x, x0).dx;
        terms[i] = ox_mul(ox_result_multiplier(s, e, dx[i]), dx[i]);
    }
    ox_rest_spread(s, terms, dx);
    return terms;
}

/* [1, pairs, rows, 1..]: half where the row is one of the pair's. */
static ox_val of_pair(const ox_grid *grid, int64_t pairs, int lead, int own, ox_type type)
{
    ox_graph *g = grid->row->graph;
    ox_val pair = ox_div(grid->row, ox_int_scalar(g, LEGS));
    ox_val each = ox_unsqueeze(ox_iota(g, OX_INT64, pairs), 1);
    ox_val is = ox_cast(ox_equal(each, ox_unsqueeze(pair, 0)), type);
    ox_dim dims[OX_MAX_RANK] = {ox_dim_of(1)};
    dims[lead] = ox_dim_of(pairs);
    dims[lead + 1] = grid->row->dims[0];
    for (int d = 0; d < own; d++) {
        dims[lead + 2 + d] = ox_dim_of(1);
    }
    return ox_scale(ox_reshape(is, lead + own + 2, dims), 0.5);
}

/* The values of each pair of halves in a step: [K, pairs, own shape]. */
static ox_val pair_values(ox_explain_state *s, const ox_grid *grid, int64_t pairs, size_t i,
                          ox_val terms)
{
    const ox_explained *e = &s->bind->points[i];
    int lead = s->target->many, own = e->x->rank;
    int64_t axis = -1 - own;
    terms = ox_grid_unfold(s, grid, terms, lead, e->batch_axis); /* [K, rows, references, own] */
    ox_dim dims[OX_MAX_RANK] = {grid->weight->dims[0], grid->weight->dims[1]};
    for (int d = 0; d < own; d++) {
        dims[2 + d] = ox_dim_of(1);
    }
    ox_val weight = ox_cast(ox_reshape(grid->weight, own + 2, dims), terms->type);
    terms = ox_reduce("ReduceSum", ox_mul(terms, weight), 1, &axis, false);
    ox_val each = ox_mul(ox_unsqueeze(terms, lead), of_pair(grid, pairs, lead, own, terms->type));
    return ox_reduce("ReduceSum", each, 1, &axis, false);
}

/* ---- results -------------------------------------------------------------------------------- */

/* values [K, pairs, own shape]: their mean, and its standard error. Values of groups are those of
 * each pair, added up. */
static void conclude(ox_explain_state *s, const ox_players *p, int64_t pairs, size_t i,
                     ox_val values)
{
    ox_val *each = ox_arena_alloc(s->arena, (size_t)pairs, sizeof *each), sum = NULL, spread = NULL;
    bool inputs = s->bind->points == s->bind->inputs;
    for (int64_t k = 0; k < pairs; k++) {
        ox_val one = ox_squeeze(ox_slice(values, s->target->many, k, k + 1, 1), s->target->many);
        each[k] = inputs ? ox_players_sum(s, p, i, one) : one;
        sum = sum == NULL ? each[k] : ox_add(sum, each[k]);
    }
    s->found->phi[i] = ox_scale(sum, 1 / (double)pairs);
    for (int64_t k = 0; pairs > 1 && k < pairs; k++) {
        ox_val square = ox_square(ox_sub(each[k], s->found->phi[i]));
        spread = spread == NULL ? square : ox_add(spread, square);
    }
    if (pairs > 1) {
        s->found->error[i] = ox_sqrt(ox_scale(spread, 1 / (double)(pairs * (pairs - 1))));
    }
}

void ox_splits(ox_explain_state *s)
{
    int64_t pairs = s->options->splits;
    size_t count = s->bind->point_count;
    ox_players p = ox_players_find(s);
    const halves h = draw(s, pairs, p.count);
    ox_result_base(s);
    ox_grid grid = {.pairing = OX_PAIR_ALL, .block = LEGS, .backwards = true};
    grid.rows = LEGS * pairs;
    ox_grid_open(s, &grid);
    s->branch->legs = true;
    feed(s, &grid, &p, &h);
    ox_val seed = ox_target_seed(s, ox_transpose(ox_grid_targets(s, &grid), (int[]){1, 0}));
    rest_of_output(s, seed);
    ox_walk(s, seed);
    ox_val *terms = terms_of(s);
    ox_val **sums = ox_arena_alloc(s->arena, count, sizeof *sums);
    const ox_dim **shapes = ox_arena_alloc(s->arena, count, sizeof *shapes);
    for (size_t i = 0; i < count; i++) {
        ox_val x = s->bind->points[i].x;
        ox_dim *dims = ox_arena_alloc(s->arena, OX_MAX_RANK, sizeof *dims);
        terms[i] = pair_values(s, &grid, pairs, i, terms[i]);
        dims[0] = ox_dim_of(s->target->count);
        dims[s->target->many] = ox_dim_of(pairs);
        memcpy(dims + s->target->many + 1, x->dims, (size_t)x->rank * sizeof *dims);
        sums[i] = &terms[i];
        shapes[i] = dims;
    }
    ox_grid_close(s, &grid, sums, count, shapes);
    s->found->error = pairs > 1 ? ox_arena_alloc(s->arena, count, sizeof(ox_val)) : NULL;
    for (size_t i = 0; i < count; i++) {
        conclude(s, &p, pairs, i, terms[i]);
    }
    if (s->bind->points == s->bind->inputs) {
        ox_players_mark(s, &p);
    }
}
