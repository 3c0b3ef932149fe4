/* Players, mixtures of sample and reference, and what the model gives for them. Nothing is asked of
 * the model but that it runs. */
#include "explain/players.h"

#include <string.h>

#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/grid.h"
#include "explain/result.h"
#include "explain/target.h"

/* How many values a sample has of each input. */
static ox_team *sized_teams(const ox_explain_state *s)
{
    ox_team *teams = ox_arena_alloc(s->arena, s->bind->input_count, sizeof *teams);
    for (size_t i = 0; i < s->bind->input_count; i++) {
        const ox_explained *e = &s->bind->inputs[i];
        teams[i].size = 1;
        for (int d = 0; d < e->x->rank; d++) {
            if (d != e->batch_axis &&
                (!ox_dim_is_static(e->x->dims[d]) ||
                 !ox_int_mul(teams[i].size, e->x->dims[d].size, &teams[i].size))) {
                ox_fail(s->arena, OX_UNSUPPORTED,
                        "the shape of input \"%s\" is not known: references that are given say it",
                        e->x->name);
            }
        }
        teams[i].count = teams[i].size;
    }
    return teams;
}

void ox_players_count(const ox_explain_state *s, ox_players *p)
{
    p->count = 0;
    for (size_t i = 0; i < s->bind->input_count; i++) {
        p->teams[i].first = p->count;
        p->count += p->teams[i].count;
    }
}

ox_players ox_players_find(const ox_explain_state *s)
{
    ox_players p = {.teams = sized_teams(s)};
    ox_groups_find(s, p.teams);
    ox_players_count(s, &p);
    return p;
}

/* ---- mixtures ------------------------------------------------------------------------------- */

/* Where has kernels for these types only. */
static ox_type chosen_type(ox_type type)
{
    switch (type) {
    case OX_FLOAT16:
    case OX_BFLOAT16: return OX_FLOAT;
    case OX_INT8:
    case OX_INT16:
    case OX_UINT16:
    case OX_BOOL: return OX_INT32;
    case OX_UINT32:
    case OX_UINT64: return OX_INT64;
    default: return type;
    }
}

/* [rows, N, own shape without N] with N along the batch axis. */
static ox_val mask_by_sample(const ox_explained *e, ox_val mask)
{
    ox_dim dims[OX_MAX_RANK] = {mask->dims[0], mask->dims[1]};
    int order[OX_MAX_RANK] = {0}, rank = e->batch_axis < 0 ? 1 : 2;
    for (int d = 0; d < e->x->rank; d++) {
        order[1 + d] = e->batch_axis < 0 ? 1 + d : d == e->batch_axis ? 1 : rank;
        if (d != e->batch_axis) {
            dims[rank++] = e->x->dims[d];
        }
    }
    return ox_transpose(ox_reshape(mask, rank, dims), order);
}

/* The columns of an input's players for each of its values: [rows, references or 1, own shape with
 * 1 for N], or with N where each sample has its own. */
static ox_val mask_of(ox_explain_state *s, const ox_team *t, size_t i, ox_val mask)
{
    const ox_explained *e = &s->bind->inputs[i];
    bool by_reference = mask->rank == 4;
    ox_dim dims[OX_MAX_RANK] = {mask->dims[0], by_reference ? mask->dims[1] : ox_dim_of(1)};
    mask = by_reference ? ox_squeeze(mask, 2) : mask;
    int axis = mask->rank - 1;
    mask = ox_slice(mask, axis, t->first, t->first + t->count, 1);
    if (t->labels != NULL) {
        mask = ox_gather(mask, ox_ints(mask->graph, (size_t)t->size, t->labels), axis);
    }
    if (axis == 2 && !by_reference) {
        return ox_unsqueeze(mask_by_sample(e, mask), 1);
    }
    for (int d = 0; d < e->x->rank; d++) {
        dims[2 + d] = d == e->batch_axis ? ox_dim_of(1) : e->x->dims[d];
    }
    return ox_reshape(mask, e->x->rank + 2, dims);
}

static ox_val mixture(ox_explain_state *s, const ox_grid *grid, const ox_players *p, size_t i,
                      ox_val mask)
{
    ox_type type = chosen_type(grid->x[i]->type);
    ox_val x = ox_cast(grid->x[i], type), x0 = ox_cast(grid->x0[i], type);
    return ox_where(mask_of(s, &p->teams[i], i, mask), x, x0);
}

void ox_players_mix(ox_explain_state *s, const ox_grid *grid, const ox_players *p, ox_val mask)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        ox_grid_feed(s, grid, i, mixture(s, grid, p, i, mask));
    }
}

void ox_players_mix_once(ox_explain_state *s, const ox_grid *grid, const ox_players *p, ox_val mask)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        ox_grid_feed_once(s, grid, i, mixture(s, grid, p, i, mask));
    }
}

/* ---- values --------------------------------------------------------------------------------- */

/* References that have values of their own, or 1. */
static ox_dim kept_references(const ox_explain_state *s)
{
    bool known = !s->options->keep_references || s->bind->refs_count > 0;
    return !known ? (ox_dim){.size = 1, .refs = 1}
                  : ox_dim_of(s->options->keep_references ? s->bind->refs_count : 1);
}

/* N K in the model's graph, R times where references are kept. */
static ox_dim pairs(const ox_explain_state *s)
{
    ox_dim each = ox_dim_mul(s->g, ox_target_batch(s), ox_dim_of(s->target->count));
    return ox_dim_mul(s->g, kept_references(s), each);
}

/* What each step gives, y [rows, references, N, K], as [rows, N K]: averaged over the references,
 * or of each. */
static ox_val over_references(ox_explain_state *s, ox_grid *grid, ox_val y)
{
    int64_t references = 1, rows = grid->rows;
    ox_dim each[2] = {ox_target_batch(s), ox_dim_of(s->target->count)};
    ox_val all = ox_cast(y, OX_DOUBLE);
    if (s->options->keep_references) {
        all = ox_grid_close_pairs(s, grid, all, 2, each);
    } else {
        ox_dim dims[4] = {grid->weight->dims[0], grid->weight->dims[1], ox_dim_of(1), ox_dim_of(1)};
        all = ox_mul(all, ox_cast(ox_reshape(grid->weight, 4, dims), OX_DOUBLE));
        all = ox_reduce("ReduceSum", all, 1, &references, false);
        all = ox_grid_close_rows(s, grid, all, 2, each);
    }
    return ox_reshape(all, 2, (ox_dim[]){ox_dim_of(rows), pairs(s)});
}

ox_val ox_players_values(ox_explain_state *s, const ox_players *p, int64_t rows, ox_mask mask,
                         const void *user)
{
    ox_grid grid = {.pairing = OX_PAIR_ALL, .rows = rows};
    ox_grid_open(s, &grid);
    ox_players_mix(s, &grid, p, mask(s, &grid, user));
    ox_val y = ox_target_read(s, ox_reference_output(s), ox_grid_targets(s, &grid)); /* [N, K] */
    int axis = s->bind->output_batch_axis < 0 ? -1 : 0;
    y = ox_grid_unfold(s, &grid, y, 0, axis); /* [rows, references, N, K] */
    return over_references(s, &grid, y);
}

/* [K, N] as [1, N K] in double, the same for each reference. */
static ox_val as_row(ox_explain_state *s, ox_val v)
{
    ox_val row = ox_transpose(ox_cast(v, OX_DOUBLE), (int[]){1, 0});
    if (s->options->keep_references) {
        ox_dim dims[3] = {kept_references(s), row->dims[0], row->dims[1]};
        row = ox_expand(ox_unsqueeze(row, 0), 3, dims);
    }
    return ox_reshape(row, 2, (ox_dim[]){ox_dim_of(1), pairs(s)});
}

ox_val ox_players_all(ox_explain_state *s)
{
    return as_row(s, ox_target_value(s));
}

static ox_val nobody(ox_explain_state *s, const ox_grid *grid, const void *user)
{
    const ox_players *p = user;
    (void)grid;
    ox_graph *g = s->branch->flow;
    return ox_unsqueeze(ox_less(ox_iota(g, OX_INT64, p->count), ox_int_scalar(g, 0)), 0);
}

/* The base value of each reference is f there, as of a coalition of nobody. */
ox_val ox_players_none(ox_explain_state *s, const ox_players *p)
{
    return s->options->keep_references ? ox_players_values(s, p, 1, nobody, p)
                                       : as_row(s, ox_result_base_by_target(s));
}

/* ---- results -------------------------------------------------------------------------------- */

ox_val ox_players_part(ox_explain_state *s, const ox_players *p, size_t i, ox_val all)
{
    const ox_explained *e = &s->bind->inputs[i];
    const ox_team *t = &p->teams[i];
    ox_dim n = ox_target_batch(s), k = ox_dim_of(s->target->count), dims[OX_MAX_RANK];
    bool keep = s->options->keep_references;
    int order[OX_MAX_RANK], lead = s->target->many + keep, rank = lead;
    ox_dim refs = kept_references(s);
    ox_val own = ox_slice(all, 0, t->first, t->first + t->count, 1);
    own = ox_reshape(own, 4, (ox_dim[]){ox_dim_of(t->count), refs, n, k});
    own = ox_transpose(own, (int[]){3, 1, 2, 0}); /* [K, R, N, players] */
    own = keep ? own : ox_squeeze(own, 1);
    dims[0] = k;
    dims[lead > 0 ? lead - 1 : 0] = keep ? refs : k;
    if (e->batch_axis >= 0) {
        dims[rank++] = n;
    }
    if (t->labels != NULL && !t->spread) {
        dims[rank++] = ox_dim_of(t->count);
        return ox_reshape(own, rank, dims);
    }
    if (t->labels != NULL) {
        own = ox_gather(own, ox_ints(s->g, (size_t)t->size, t->labels), own->rank - 1);
    }
    for (int d = 0; d < e->x->rank; d++) {
        if (d != e->batch_axis) {
            dims[rank++] = e->x->dims[d];
        }
    }
    own = ox_reshape(own, rank, dims);
    for (int d = 0; d < lead; d++) {
        order[d] = d;
    }
    for (int d = 0, at = 1; d < e->x->rank; d++) {
        order[lead + d] = lead + (e->batch_axis < 0 ? d : d == e->batch_axis ? 0 : at++);
    }
    return ox_transpose(own, order);
}

/* phi [K, own shape] of input i as [K, N, values of a sample]. */
static ox_val by_value(ox_explain_state *s, const ox_team *t, size_t i, ox_val phi)
{
    const ox_explained *e = &s->bind->inputs[i];
    int order[OX_MAX_RANK], lead = s->target->many, at = lead;
    for (int d = 0; d < lead; d++) {
        order[d] = d;
    }
    if (e->batch_axis >= 0) {
        order[at++] = lead + e->batch_axis;
    }
    for (int d = 0; d < e->x->rank; d++) {
        if (d != e->batch_axis) {
            order[at++] = lead + d;
        }
    }
    ox_dim dims[3] = {ox_dim_of(s->target->count), ox_dim_of(1), ox_dim_of(t->size)};
    dims[1] = e->batch_axis >= 0 ? e->x->dims[e->batch_axis] : dims[1];
    return ox_reshape(ox_transpose(phi, order), 3, dims);
}

/* Such values, added up by their labels: [K, N, groups]. */
static ox_val by_label(ox_explain_state *s, const ox_team *t, ox_val values)
{
    ox_dim sums[3] = {values->dims[0], values->dims[1], ox_dim_of(t->count)};
    ox_dim one[3] = {ox_dim_of(1), ox_dim_of(1), ox_dim_of(t->size)};
    ox_val labels = ox_reshape(ox_ints(s->g, (size_t)t->size, t->labels), 3, one);
    ox_val zeros = ox_zeros(s->g, values->type, 3, sums);
    return ox_scatter_add(zeros, ox_expand(labels, 3, values->dims), values, 2);
}

ox_val ox_players_sum(ox_explain_state *s, const ox_players *p, size_t i, ox_val phi)
{
    const ox_team *t = &p->teams[i];
    if (t->labels == NULL) {
        return phi;
    }
    ox_val sums = by_label(s, t, by_value(s, t, i, phi));
    ox_dim dims[3];
    int rank = 0;
    if (s->target->many) {
        dims[rank++] = sums->dims[0];
    }
    if (s->bind->inputs[i].batch_axis >= 0) {
        dims[rank++] = sums->dims[1];
    }
    dims[rank++] = sums->dims[2];
    return ox_reshape(sums, rank, dims);
}

void ox_players_sum_all(ox_explain_state *s)
{
    ox_players p = ox_players_find(s);
    for (size_t i = 0; i < s->bind->input_count; i++) {
        s->found->phi[i] = ox_players_sum(s, &p, i, s->found->phi[i]);
    }
    ox_players_mark(s, &p);
}

/* The name of a player; of an input without groups the number of its value. */
static const char *name_of(ox_explain_state *s, const ox_team *t, int64_t k)
{
    return t->names != NULL ? t->names[k] : ox_arena_format(s->arena, "%lld", (long long)k);
}

/* Lines, one for each player. */
static const char *names_of(ox_explain_state *s, const ox_players *p)
{
    const char **names = ox_arena_alloc(s->arena, (size_t)p->count, sizeof *names);
    size_t count = 0, length = 1;
    for (size_t i = 0; i < s->bind->input_count; i++) {
        for (int64_t k = 0; k < p->teams[i].count; k++) {
            names[count] = name_of(s, &p->teams[i], k);
            length += strlen(names[count++]) + 1;
        }
    }
    char *all = ox_arena_alloc(s->arena, length, 1), *at = all;
    for (size_t k = 0; k < count; k++) {
        size_t size = strlen(names[k]);
        memcpy(at, names[k], size);
        at += size;
        *at++ = k + 1 < count ? '\n' : '\0';
    }
    return all;
}

void ox_players_mark(ox_explain_state *s, const ox_players *p)
{
    s->found->grouped = ox_arena_alloc(s->arena, s->bind->input_count, sizeof(int64_t));
    for (size_t i = 0; i < s->bind->input_count; i++) {
        const ox_team *t = &p->teams[i];
        s->found->grouped[i] = t->labels != NULL && !t->spread ? t->count : 0;
        bool first = s->found->grouped[i] > 0 && s->found->group_names == NULL;
        s->found->group_names = first ? names_of(s, p) : s->found->group_names;
    }
}
