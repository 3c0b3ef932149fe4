/* Methods that run the model on coalitions: some of the players are the sample's, the others a
 * reference's. What they make of f over the coalitions is linear, one constant matrix. */
#include "explain/coalitions.h"

#include "explain/bind.h"
#include "explain/branch.h"
#include "explain/coalition_solve.h"
#include "explain/grid.h"
#include "explain/players.h"
#include "explain/result.h"

/* Players of exact, and of kernel, whose equations take time by the third power of them; patches
 * along each side of a picture for occlusion. */
enum { MOST_EXACT = 16, MOST_KERNEL = 4096, PATCHES = 14 };

void ox_black_box_check(const ox_explain_state *s)
{
    const char *wrong = s->bind->points != s->bind->inputs ? "at"
                        : s->options->force                ? "force"
                                                           : NULL;
    if (wrong != NULL) {
        ox_fail(s->arena, OX_ARGUMENT,
                "%s: method %s looks at inputs and outputs of the model only", wrong,
                s->options->method);
    }
}

/* ---- coalitions and a matrix ---------------------------------------------------------------- */

static ox_val mask_by_table(ox_explain_state *s, const ox_grid *grid, const void *user)
{
    const ox_coalitions *c = user;
    int64_t dims[] = {c->count, c->players};
    ox_const table = {.type = OX_BOOL, .rank = 2, .dims = dims, .data = c->member};
    table.size = (size_t)(c->count * c->players);
    return ox_gather(ox_graph_constant(s->branch->flow, NULL, &table), grid->row, 0);
}

static void give(ox_explain_state *s, const ox_players *p, ox_val all)
{
    for (size_t i = 0; i < s->bind->input_count; i++) {
        s->found->phi[i] = ox_players_part(s, p, i, all);
    }
    ox_players_mark(s, p);
}

/* phi = inner (f(coalitions) - base) + outer (f(x) - base). */
static void by_matrix(ox_explain_state *s, const ox_players *p, const ox_coalitions *c)
{
    int64_t dims[] = {p->count, c->count}, column[] = {p->count, 1};
    ox_val base = ox_players_none(s, p), gain = ox_sub(ox_players_all(s), base);
    ox_val phi = ox_mul(ox_floats(s->g, OX_DOUBLE, 2, column, c->outer), gain);
    if (c->count > 0) {
        ox_val values = ox_players_values(s, p, c->count, mask_by_table, c);
        ox_val inner = ox_floats(s->g, OX_DOUBLE, 2, dims, c->inner);
        phi = ox_add(phi, ox_matmul(inner, ox_sub(values, base)));
    }
    give(s, p, phi);
}

static ox_coalitions room_for(ox_explain_state *s, const ox_players *p, int64_t count)
{
    ox_coalitions c = {.players = p->count, .count = count};
    size_t cells = 0;
    if (!ox_size_mul((size_t)count, (size_t)p->count, &cells)) {
        ox_fail(s->arena, OX_LIMIT, "%lld coalitions of %lld players are too many",
                (long long)count, (long long)p->count);
    }
    c.member = ox_arena_alloc(s->arena, cells, 1);
    c.weight = ox_arena_alloc(s->arena, (size_t)count, sizeof *c.weight);
    c.inner = ox_arena_alloc(s->arena, cells, sizeof *c.inner);
    c.outer = ox_arena_alloc(s->arena, (size_t)p->count, sizeof *c.outer);
    return c;
}

/* ---- exact ---------------------------------------------------------------------------------- */

/* (|S| - 1)! (n - |S|)!/n! f(S) for each S with the player, - |S|! (n - |S| - 1)!/n! f(S) for those
 * without. */
static void shapley_weights(ox_coalitions *c)
{
    int64_t n = c->players;
    double factorial[MOST_EXACT + 1] = {1};
    for (int64_t k = 1; k <= n; k++) {
        factorial[k] = factorial[k - 1] * (double)k;
    }
    for (int64_t i = 0; i < c->count; i++) {
        int64_t size = 0;
        for (int64_t k = 0; k < n; k++) {
            c->member[i * n + k] = (unsigned char)((i + 1) >> k & 1);
            size += c->member[i * n + k];
        }
        for (int64_t k = 0; k < n; k++) {
            bool in = c->member[i * n + k] != 0;
            int64_t others = in ? size - 1 : size;
            double share = factorial[others] * factorial[n - 1 - others] / factorial[n];
            c->inner[k * c->count + i] = in ? share : -share;
        }
    }
    for (int64_t k = 0; k < n; k++) {
        c->outer[k] = 1 / (double)n;
    }
}

void ox_exact(ox_explain_state *s)
{
    ox_players p = ox_players_find(s);
    if (p.count > MOST_EXACT) {
        ox_fail(s->arena, OX_ARGUMENT,
                "method exact: %lld values are more than %d; groups makes fewer of them, method "
                "kernel or permutation estimates",
                (long long)p.count, MOST_EXACT);
    }
    ox_result_base(s);
    ox_coalitions c = room_for(s, &p, (INT64_C(1) << p.count) - 2);
    shapley_weights(&c);
    by_matrix(s, &p, &c);
}

/* ---- kernel --------------------------------------------------------------------------------- */

void ox_kernel(ox_explain_state *s)
{
    ox_players p = ox_players_find(s);
    int64_t most = s->options->samples > 0 ? s->options->samples : 2 * p.count + 2048;
    if (p.count > MOST_KERNEL) {
        ox_fail(s->arena, OX_ARGUMENT,
                "method kernel: %lld values are more than %d, whose least squares would take too "
                "long; groups makes fewer of them, method permutation solves nothing",
                (long long)p.count, MOST_KERNEL);
    }
    int64_t all = p.count < 40 ? (INT64_C(1) << p.count) - 2 : INT64_MAX;
    ox_result_base(s);
    ox_coalitions c = room_for(s, &p, most < all ? most : all);
    ox_coalitions_choose(&c, s->options->seed, s->arena);
    if (c.count > 0 && !ox_coalitions_solve(&c, s->arena)) {
        ox_fail(s->arena, OX_ARGUMENT,
                "method kernel: %lld coalitions do not tell %lld players apart: samples takes more",
                (long long)c.count, (long long)p.count);
    }
    if (c.count == 0) {
        c.outer[0] = 1;
    }
    by_matrix(s, &p, &c);
}

/* ---- one left out --------------------------------------------------------------------------- */

static ox_val all_but_one(ox_explain_state *s, const ox_grid *grid, const void *user)
{
    const ox_players *p = user;
    ox_val player = ox_iota(s->branch->flow, OX_INT64, p->count);
    return ox_unary("Not", ox_equal(player, ox_unsqueeze(grid->row, 1)));
}

/* Pictures without groups are covered patch by patch, and each place gets its patch's value. */
void ox_occlusion(ox_explain_state *s)
{
    ox_players p = ox_players_find(s);
    for (size_t i = 0; i < s->bind->input_count; i++) {
        ox_team *t = &p.teams[i];
        t->spread = t->labels == NULL && ox_groups_patches(s, i, t, PATCHES);
    }
    ox_players_count(s, &p);
    ox_result_base(s);
    ox_val values = ox_players_values(s, &p, p.count, all_but_one, &p);
    give(s, &p, ox_sub(ox_players_all(s), values));
}
