/* Values of a body that is written once for all of its steps. */
#include "lift/batch.h"

_Noreturn void ox_batch_give_up(const ox_batch *b, const ox_node *n)
{
    ox_control_fail(b->c, ox_arena_format(n->graph->arena, "%s has no form for all steps at once",
                                          ox_node_label(n)));
}

ox_batch_mark *ox_batch_mark_of(const ox_batch *b, ox_val v)
{
    size_t at = OX_TABLE_START;
    uint64_t hash = ox_hash(0, &v, sizeof v);
    for (ox_batch_mark *m; (m = ox_table_next(&b->marks, hash, &at)) != NULL;) {
        if (m->value == v) {
            return m;
        }
    }
    return NULL;
}

/* The same node may stand for both kinds, as equal ones are shared: then steps are written out. */
ox_val ox_batch_note(ox_batch *b, ox_val v, bool by_step)
{
    ox_batch_mark *m = ox_batch_mark_of(b, v);
    if (m == NULL) {
        m = ox_arena_alloc(b->marks.arena, 1, sizeof *m);
        *m = (ox_batch_mark){.value = v, .by_step = by_step};
        ox_table_add(&b->marks, ox_hash(0, &v, sizeof v), m);
    }
    if (m->by_step != by_step || (by_step && v->rank < 1)) {
        ox_control_fail(b->c, "what differs from step to step cannot be told");
    }
    return v;
}

bool ox_batch_by_step(const ox_batch *b, ox_val v)
{
    const ox_batch_mark *m = v == NULL ? NULL : ox_batch_mark_of(b, v);
    return m != NULL && m->by_step;
}

int ox_batch_rank(const ox_batch *b, ox_val v)
{
    return v->rank - ox_batch_by_step(b, v);
}

ox_val ox_batch_aligned(const ox_batch *b, ox_val v, int rank)
{
    int64_t axes[OX_MAX_RANK];
    int missing = rank - ox_batch_rank(b, v);
    if (!ox_batch_by_step(b, v) || missing <= 0) {
        return v;
    }
    for (int i = 0; i < missing; i++) {
        axes[i] = i + 1;
    }
    return ox_binary("Unsqueeze", v, ox_ints(v->graph, (size_t)missing, axes));
}

ox_val ox_batch_repeated(const ox_batch *b, ox_val v)
{
    ox_graph *g = v->graph;
    int64_t ones[OX_MAX_RANK];
    if (ox_batch_by_step(b, v)) {
        return v;
    }
    for (int i = 0; i < v->rank; i++) {
        ones[i] = 1;
    }
    ox_attr first[] = {ox_attr_int("start", 0), ox_attr_int("end", 1)};
    ox_val like = b->like, steps = ox_graph_emit(g, "Shape", 1, &like, 2, first);
    ox_val parts[] = {steps, ox_ints(g, (size_t)(v->rank < 0 ? 0 : v->rank), ones)};
    return ox_binary("Expand", v, ox_concat(g, 2, parts, 0));
}
