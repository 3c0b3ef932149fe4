/* Permutation sampling: players join one after the other in a drawn order, and in the opposite one;
 * what f gains with a player is one draw of its value. */
#include "explain/permutations.h"

#include "base/random.h"
#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/grid.h"
#include "explain/players.h"
#include "explain/result.h"

enum { PAIRS = 10, STREAM_PERMUTATION = 2 };

typedef struct orders {
    int64_t count, players;
    int64_t *rank; /* [count, players], the place of each player */
} orders;

/* Each order is followed by the opposite one. */
static orders draw(const ox_explain_state *s, int64_t pairs, int64_t players)
{
    orders o = {.players = players};
    size_t cells = 0;
    if (!ox_int_mul(pairs, 2, &o.count) || !ox_size_mul((size_t)o.count, (size_t)players, &cells)) {
        ox_fail(s->arena, OX_LIMIT, "%lld permutations are too many", (long long)pairs);
    }
    o.rank = ox_arena_alloc(s->arena, cells, sizeof *o.rank);
    ox_random r = ox_random_begin(s->options->seed, STREAM_PERMUTATION);
    for (int64_t q = 0; q < o.count; q += 2) {
        int64_t *there = o.rank + q * players, *back = there + players;
        for (int64_t k = 0; k < players; k++) {
            there[k] = k;
        }
        ox_random_shuffle(&r, there, players);
        for (int64_t k = 0; k < players; k++) {
            back[k] = players - 1 - there[k];
        }
    }
    return o;
}

/* Row q (n - 1) + j: the first j + 1 players of order q. */
static ox_val first_players(ox_explain_state *s, const ox_grid *grid, const void *user)
{
    const orders *o = user;
    ox_graph *g = s->branch->flow;
    int64_t dims[] = {o->count, o->players};
    ox_const table = {.type = OX_INT64, .rank = 2, .dims = dims, .data = o->rank};
    table.size = (size_t)(o->count * o->players) * sizeof *o->rank;
    ox_val each = ox_int_scalar(g, o->players - 1);
    ox_val order = ox_div(grid->row, each), last = ox_binary("Mod", grid->row, each);
    ox_val rank = ox_gather(ox_graph_constant(g, NULL, &table), order, 0);
    return ox_binary("LessOrEqual", rank, ox_unsqueeze(last, 1));
}

/* What f gains with each player in each order: [orders, players, N K]. */
static ox_val gains(ox_explain_state *s, const ox_players *p, const orders *o)
{
    int64_t n = o->players;
    ox_val none = ox_players_none(s, p), all = ox_players_all(s);
    ox_dim width = none->dims[1], ends[3] = {ox_dim_of(o->count), ox_dim_of(1), width};
    ox_val parts[3] = {ox_expand(ox_unsqueeze(none, 0), 3, ends)};
    size_t count = 1;
    if (n > 1) {
        ox_val inner = ox_players_values(s, p, o->count * (n - 1), first_players, o);
        parts[count++] = ox_reshape(inner, 3, (ox_dim[]){ends[0], ox_dim_of(n - 1), width});
    }
    parts[count++] = ox_expand(ox_unsqueeze(all, 0), 3, ends);
    ox_val f = ox_concat(s->g, count, parts, 1);
    ox_val gain = ox_sub(ox_slice(f, 1, 1, n + 1, 1), ox_slice(f, 1, 0, n, 1));
    int64_t *place = ox_arena_alloc(s->arena, (size_t)(o->count * n), sizeof *place);
    for (int64_t i = 0; i < o->count * n; i++) {
        place[i] = i / n * n + o->rank[i];
    }
    gain = ox_reshape(gain, 2, (ox_dim[]){ox_dim_of(o->count * n), width});
    gain = ox_gather(gain, ox_ints(s->g, (size_t)(o->count * n), place), 0);
    return ox_reshape(gain, 3, (ox_dim[]){ends[0], ox_dim_of(n), width});
}

void ox_permutation(ox_explain_state *s)
{
    ox_players p = ox_players_find(s);
    int64_t pairs = s->options->samples > 0 ? s->options->samples : PAIRS, axis = 1, first = 0;
    if (pairs < 2) {
        ox_fail(s->arena, OX_ARGUMENT,
                "method permutation: samples: 2 at least, as there is an "
                "error to estimate");
    }
    ox_result_base(s);
    orders o = draw(s, pairs, p.count);
    ox_val gain = gains(s, &p, &o);
    ox_dim dims[4] = {ox_dim_of(pairs), ox_dim_of(2), gain->dims[1], gain->dims[2]};
    ox_val pair = ox_reduce("ReduceMean", ox_reshape(gain, 4, dims), 1, &axis, false);
    ox_val mean = ox_reduce("ReduceMean", pair, 1, &first, false);
    ox_val spread = ox_reduce("ReduceSum", ox_square(ox_sub(pair, mean)), 1, &first, false);
    ox_val error = ox_sqrt(ox_scale(spread, 1 / (double)(pairs * (pairs - 1))));
    s->found->error = ox_arena_alloc(s->arena, s->bind->input_count, sizeof(ox_val));
    for (size_t i = 0; i < s->bind->input_count; i++) {
        s->found->phi[i] = ox_players_part(s, &p, i, mean);
        s->found->error[i] = ox_players_part(s, &p, i, error);
    }
    ox_players_mark(s, &p);
}
