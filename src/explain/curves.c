/* The model on the way from a sample to its references: values leave one step after the other, as
 * an input says of each. What deletion and insertion curves are made of. */
#include "explain/curves.h"

#include "explain/bind.h"
#include "explain/grid.h"
#include "explain/ours.h"
#include "explain/players.h"
#include "explain/result.h"
#include "explain/target.h"

enum { STEPS = 16 };

typedef struct way {
    ox_val step; /* int64 [N, players], in the model's graph */
} way;

/* Whose step is after the row's: [rows, N, players]. */
static ox_val still_there(ox_explain_state *s, const ox_grid *grid, const void *user)
{
    const way *w = user;
    int axis = s->bind->output_batch_axis < 0 ? -1 : 0;
    ox_val step = ox_grid_enter(s, grid, w->step, axis);
    ox_val row = ox_unsqueeze(ox_unsqueeze(grid->row, 1), 2);
    return ox_binary("Greater", ox_unsqueeze(step, 0), row);
}

/* The input, [N, players]. */
static ox_val step_input(ox_explain_state *s, int64_t players)
{
    ox_dim dims[2] = {ox_target_batch(s), ox_dim_of(players)};
    bool batch = s->bind->output_batch_axis >= 0;
    ox_val given = ox_ours_input(s, "shap_step", batch ? 2 : 1, batch ? dims : dims + 1);
    return ox_reshape(given, 2, dims);
}

void ox_curves_values(ox_explain_state *s)
{
    ox_players p = ox_players_find(s);
    int64_t rows = 1 + (s->options->steps > 0 ? s->options->steps : STEPS);
    way w = {.step = step_input(s, p.count)};
    ox_result_base(s);
    ox_val values = ox_players_values(s, &p, rows, still_there, &w); /* [rows, N K] */
    ox_dim dims[3] = {ox_dim_of(rows), ox_target_batch(s), ox_dim_of(s->target->count)};
    values = ox_transpose(ox_reshape(values, 3, dims), (int[]){1, 2, 0});
    ox_dim result[3];
    int rank = 0;
    if (s->bind->output_batch_axis >= 0) {
        result[rank++] = dims[1];
    }
    if (s->target->many) {
        result[rank++] = dims[2];
    }
    result[rank++] = dims[0];
    s->found->curve = ox_reshape(values, rank, result);
}

void ox_curves_outputs(ox_explain_state *s)
{
    const char *former = ox_graph_scope(s->g, "onnxexplainer/result");
    ox_result_targets(s);
    ox_ours_output(s, s->found->curve, "shap_curve");
    ox_graph_scope(s->g, former);
}
