/* Inputs and outputs that explaining adds: their names, none of which the model uses already. */
#include "explain/ours.h"

const char *ox_ours_name(ox_explain_state *s, const char *name)
{
    const char *prefix = s->options->prefix == NULL ? "" : s->options->prefix;
    const char *full = ox_arena_format(s->arena, "%s%s", prefix, name);
    if (ox_graph_find(s->g, full) != NULL) {
        ox_fail(s->arena, OX_ARGUMENT,
                "the model has a value called \"%s\" already, as explained ones have; --prefix "
                "changes ours",
                full);
    }
    return full;
}

ox_val ox_ours_input(ox_explain_state *s, const char *name, int rank, const ox_dim *dims)
{
    return ox_graph_input(s->g, ox_ours_name(s, name), OX_INT64, rank, dims);
}

void ox_ours_output(ox_explain_state *s, ox_val v, const char *name)
{
    ox_graph_output(s->g, v, ox_ours_name(s, name));
}
