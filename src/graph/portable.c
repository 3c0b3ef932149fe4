/* Spellings that other runtimes than ONNX Runtime need, for graphs without functions
 * (docs/runtimes.md). */
#include <string.h>

#include "graph/build.h"

bool ox_is_portable(ox_val v)
{
    return ox_graph_outermost(v->graph)->elsewhere;
}

/* OpenVINO (2026.4) moves a Reshape behind a ReduceMean, where an axis that is counted from the
 * end is another one, or none. */
void ox_front_axes(ox_val v, size_t count, int64_t *axes)
{
    for (size_t i = 0; ox_is_portable(v) && v->rank >= 0 && i < count; i++) {
        axes[i] += axes[i] < 0 ? v->rank : 0;
    }
}

/* Whether v is a matrix of weights, as it is or moved by nodes of ours. */
static bool is_weight(ox_val v)
{
    while (v->constant == NULL) {
        const ox_node *n = v->node;
        if (n == NULL || n->original ||
            !(ox_only_moves(n->op) || strcmp(n->op, "Split") == 0 ||
              strcmp(n->op, "Gather") == 0)) {
            return false;
        }
        v = n->inputs[0];
    }
    return v->type == OX_FLOAT || v->type == OX_DOUBLE;
}

/* OpenVINO (2026.4) computes x W for x W^T where a model has both and W is square: it looks up
 * weights that it has laid out by where they lie and by their shape. So they are moved: by a
 * maximum, as a sum of one term or a product with 1 leaves them where they are. */
static ox_val own(ox_val v, int row, int column)
{
    bool square = ox_dim_equal(v->dims[row], v->dims[column]);
    ox_val twice[] = {v, v};
    bool moved = ox_is_portable(v) && square && is_weight(v);
    return moved ? ox_graph_emit(v->graph, "Max", 2, twice, 0, NULL) : v;
}

ox_val ox_own_factor(ox_val v)
{
    return v->rank >= 2 ? own(v, v->rank - 2, v->rank - 1) : v;
}

ox_val ox_own_filters(ox_val v)
{
    return v->rank >= 2 ? own(v, 0, 1) : v;
}
