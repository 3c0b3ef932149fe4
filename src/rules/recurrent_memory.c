/* The memory that an AttnLSTM of com.microsoft reads after each step: a state scores the places of
 * the memory by v tanh(keys + state QW), and finds the mean of these by their Softmax. */
#include "rules/heads.h"
#include "rules/recurrent.h"

enum { QUERY = 8, KEYS, SCORE, MEMORY, LENGTHS, LAYER };

struct ox_memory {
    ox_val values, keys; /* [N, M, depth], [N, M, a] */
    ox_val query, score; /* [H, a], [a] */
    ox_val hidden;       /* [N, M], added to the scores, or NULL */
    ox_val layer;        /* [H + depth, A], what is made of the state and the mean, or NULL */
};

static ox_val part(const ox_node *n, size_t i, int rank, int d)
{
    ox_val v = ox_made_of_rank(n, i, rank, rank);
    return ox_gather(v, ox_int_scalar(v->graph, d), 0);
}

const ox_memory *ox_recurrent_memory(const ox_node *n, int direction)
{
    ox_memory *m = ox_arena_alloc(n->graph->arena, 1, sizeof *m);
    ox_val lengths = ox_node_input(n, LENGTHS);
    m->values = ox_made_of_rank(n, MEMORY, 3, 3);
    m->keys = ox_matmul(m->values, part(n, KEYS, 3, direction));
    m->query = part(n, QUERY, 3, direction);
    m->score = part(n, SCORE, 2, direction);
    m->layer = ox_node_input(n, LAYER) == NULL ? NULL : part(n, LAYER, 3, direction);
    m->hidden = NULL;
    if (lengths != NULL) {
        ox_val place = ox_made_counted(m->values, 1);
        ox_val last = ox_shift(ox_unsqueeze(ox_cast(lengths, OX_INT64), -1), -1);
        m->hidden = ox_heads_hide(ox_greater(place, last), m->keys);
    }
    return m;
}

ox_val ox_recurrent_read(const ox_memory *m, ox_val h)
{
    const int64_t last = -1;
    const ox_attr axis = ox_attr_int("axis", -1);
    static const int batch_first[] = {1, 0, 2};
    ox_val query = ox_transpose(ox_matmul(h, m->query), batch_first); /* [N, 1, a] */
    ox_val scores = ox_mul(ox_tanh(ox_add(m->keys, query)), m->score);
    scores = ox_made_plus(ox_reduce("ReduceSum", scores, 1, &last, false), m->hidden);
    ox_val shares = ox_graph_emit(h->graph, "Softmax", 1, &scores, 1, &axis);
    ox_val mean = ox_matmul(ox_unsqueeze(shares, 1), m->values); /* [N, 1, depth] */
    mean = ox_transpose(mean, batch_first);
    return m->layer == NULL ? mean
                            : ox_matmul(ox_concat(h->graph, 2, (ox_val[]){h, mean}, -1), m->layer);
}
