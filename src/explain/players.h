/* Players: values of the sample that are taken or left together, by default each on its own. */
#ifndef OX_EXPLAIN_PLAYERS_H
#define OX_EXPLAIN_PLAYERS_H

#include "explain/grid.h"

/* Players of one explained input. */
typedef struct ox_team {
    int64_t first, count;  /* among all players */
    int64_t size;          /* values of a sample */
    const int64_t *labels; /* [size], the player of each from 0 on; NULL: each is one */
    const char **names;    /* [count], with labels */
    bool spread;           /* each value gets its player's, in the shape of the input */
} ox_team;

typedef struct ox_players {
    int64_t count;
    ox_team *teams; /* by input */
} ox_players;

/* The players of a method that runs the model on mixtures. */
ox_players ox_players_find(const ox_explain_state *s);

/* explain/groups.c: gives teams, of which the sizes are known, labels as the options say. */
void ox_groups_find(const ox_explain_state *s, ox_team *teams);

/* Makes patches of a picture, `parts` along each side; false for what is none. */
bool ox_groups_patches(const ox_explain_state *s, size_t i, ox_team *t, int64_t parts);

/* Counts the players over all teams. */
void ox_players_count(const ox_explain_state *s, ox_players *p);

/* Says in s->found which inputs have values per group. */
void ox_players_mark(ox_explain_state *s, const ox_players *p);

/* Values of input i [K, own shape] as those of its groups, where it has any. */
ox_val ox_players_sum(ox_explain_state *s, const ox_players *p, size_t i, ox_val phi);

/* What stands in the body for a mixture of sample and reference, `mask` saying whose values are the
 * sample's: bool [rows, players] for all samples, [rows, N, players], or [rows, references, 1,
 * players]. Feeds all inputs. */
void ox_players_mix(ox_explain_state *s, const ox_grid *grid, const ox_players *p, ox_val mask);

/* The same, of which ox_grid_feed_once makes points. */
void ox_players_mix_once(ox_explain_state *s, const ox_grid *grid, const ox_players *p,
                         ox_val mask);

/* Where values are kept for each reference, R N K stands for N K from here on, and [K, R, ..] for
 * [K, ..].
 *
 * Values of players [players, N K] as those of input i: [K, own shape], or [K, N, its players]. */
ox_val ox_players_part(ox_explain_state *s, const ox_players *p, size_t i, ox_val all);

/* f of each row's mixture, averaged over the references, [rows, N K] in double. `mask` makes those
 * of the rows at hand. */
typedef ox_val (*ox_mask)(ox_explain_state *s, const ox_grid *grid, const void *user);
ox_val ox_players_values(ox_explain_state *s, const ox_players *p, int64_t rows, ox_mask mask,
                         const void *user);

/* f(x), base value of the targets, [1, N K] in double. */
ox_val ox_players_all(ox_explain_state *s);
ox_val ox_players_none(ox_explain_state *s, const ox_players *p);

/* Sums found->phi over the groups of options. */
void ox_players_sum_all(ox_explain_state *s);

#endif
