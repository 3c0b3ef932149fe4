/* Players: values of the sample that are taken or left together, by default each on its own. */
#ifndef OX_EXPLAIN_PLAYERS_H
#define OX_EXPLAIN_PLAYERS_H

#include "explain/grid.h"

/* Players of one explained input. */
typedef struct ox_team {
    int64_t first, count;  /* among all players */
    int64_t size;          /* values of a sample */
    const int64_t *labels; /* [size], the player of each from 0 on; NULL: each is one */
} ox_team;

typedef struct ox_players {
    int64_t count;
    const ox_team *teams; /* by input */
} ox_players;

ox_players ox_players_find(const ox_explain_state *s);

/* What stands in the body for a mixture of sample and reference, `mask` saying whose values are the
 * sample's: bool [rows, players]. Feeds all inputs. */
void ox_players_mix(ox_explain_state *s, const ox_grid *grid, const ox_players *p, ox_val mask);

/* Values of players [players, N K] as those of input i: [K, own shape], or [K, N, its players]. */
ox_val ox_players_part(ox_explain_state *s, const ox_players *p, size_t i, ox_val all);

/* f of each row's mixture, averaged over the references, [rows, N K] in double. `mask` makes those
 * of the rows at hand. */
typedef ox_val (*ox_mask)(ox_explain_state *s, const ox_grid *grid, const void *user);
ox_val ox_players_values(ox_explain_state *s, const ox_players *p, int64_t rows, ox_mask mask,
                         const void *user);

/* f(x), base value of the targets, [1, N K] in double. */
ox_val ox_players_all(ox_explain_state *s);
ox_val ox_players_none(ox_explain_state *s);

#endif
