/* Several Slices, or Gathers of one index, that cut a value into parts along one axis, as PyTorch's
 * exporters write unbind and chunk: walked as one Split, whose rule puts the parts' multipliers one
 * behind the other, where each on its own would be padded with zeros and all added up. */
#include "rules/cut.h"

#include <string.h>

#include "rules/decompose.h"
#include "rules/side.h"
#include "shape/shape.h"

/* More parts than that are left to their own rules: what is found is compared with all others. */
enum { MOST = 32 };

typedef struct part {
    int axis;
    int64_t start, end;
    bool squeezed; /* the axis is not in the result */
} part;

/* The number that input i is, or the only one in it. */
static bool only_number(const ox_node *n, size_t i, int64_t otherwise, int64_t *number)
{
    ox_val v = ox_node_input(n, i);
    size_t count = 0;
    *number = otherwise;
    if (v == NULL) {
        return true;
    }
    const ox_dim *e = ox_shape_elements(v);
    if (e == NULL || !ox_shape_count(v->rank, v->dims, &count) || count != 1 ||
        !ox_dim_is_static(e[0])) {
        return false;
    }
    *number = e[0].size;
    return true;
}

/* What n takes of its first input, where it is a run along one axis. */
static bool read_part(const ox_node *n, part *p)
{
    ox_val x = ox_node_input(n, 0);
    bool slice = ox_node_is(n, "Slice"), gather = ox_node_is(n, "Gather");
    int64_t axis = 0, step = 1;
    if (x == NULL || x->rank < 1 || (!slice && !gather) || n->input_count < 2) {
        return false;
    }
    bool read = slice ? only_number(n, 1, 0, &p->start) && only_number(n, 2, 0, &p->end) &&
                            only_number(n, 3, 0, &axis) && only_number(n, 4, 1, &step)
                      : only_number(n, 1, 0, &p->start);
    p->axis = ox_axis_front(gather ? ox_node_int(n, "axis", 0) : axis, x->rank);
    if (!read || step != 1 || p->axis < 0 || !ox_dim_is_static(x->dims[p->axis])) {
        return false;
    }
    int64_t size = x->dims[p->axis].size;
    if (gather && (p->start < -size || p->start >= size || n->inputs[1]->rank > 1)) {
        return false;
    }
    ox_run run = ox_run_of(size, p->start, gather ? size : p->end, 1);
    p->start = run.first;
    p->end = run.first + (gather ? 1 : run.count);
    p->squeezed = gather && n->inputs[1]->rank == 0;
    return p->start < p->end;
}

void ox_cut_find(ox_graph *g)
{
    for (size_t i = 0; i < g->node_count; i++) {
        ox_node *n = g->nodes[i];
        if (n->output_count == 1 && (ox_node_is(n, "Slice") || ox_node_is(n, "Gather")) &&
            n->inputs[0] != NULL) {
            ox_side *x = ox_side_of(n->inputs[0]);
            ox_side_of(n->outputs[0])->cut_before = x->last_cut;
            x->last_cut = n;
        }
    }
}

/* The parts of x along an axis, by their start; 0 where they overlap or are too many. */
static size_t all_parts(ox_val x, int axis, part *parts)
{
    size_t count = 0, seen = 0;
    for (const ox_node *n = ox_side_of(x)->last_cut; n != NULL;
         n = ox_side_of(n->outputs[0])->cut_before) {
        part p;
        if (++seen > MOST) {
            return 0;
        }
        if (!ox_side_of(n->outputs[0])->varies || !read_part(n, &p) || p.axis != axis) {
            continue;
        }
        size_t at = count++;
        for (; at > 0 && parts[at - 1].start > p.start; at--) {
            parts[at] = parts[at - 1];
        }
        parts[at] = p;
    }
    for (size_t i = 1; i < count; i++) {
        if (parts[i].start < parts[i - 1].end) {
            return 0;
        }
    }
    return count;
}

ox_val ox_cut_part(const ox_node *n)
{
    part own, parts[MOST];
    int64_t sizes[2 * MOST + 1], at = 0;
    ox_val x = ox_node_input(n, 0);
    size_t count = read_part(n, &own) ? all_parts(x, own.axis, parts) : 0, size_count = 0, mine = 0;
    if (count < 2) {
        return NULL;
    }
    for (size_t i = 0; i <= count; i++) {
        int64_t start = i < count ? parts[i].start : x->dims[own.axis].size;
        if (start > at) { /* a gap before it */
            sizes[size_count++] = start - at;
        }
        if (i < count) {
            mine = start == own.start ? size_count : mine;
            sizes[size_count++] = parts[i].end - start;
            at = parts[i].end;
        }
    }
    ox_attr axis = ox_attr_int("axis", own.axis);
    ox_val in[] = {x, ox_ints(x->graph, size_count, sizes)};
    const ox_node *all = ox_graph_emit_node(x->graph, "", "Split", 2, in, size_count, 1, &axis);
    ox_val y = all->outputs[mine];
    return own.squeezed ? ox_squeeze(y, own.axis) : y;
}

void decompose_slice(const ox_node *n, ox_val *outputs)
{
    outputs[0] = ox_cut_part(n);
}
