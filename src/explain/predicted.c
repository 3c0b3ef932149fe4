/* References as ONNX Runtime predicts them, in a Scan of one step. It packs weights of a product
 * (ox_side_packed) only while one node reads them, and shares equal constants of a graph: beside
 * the model's own nodes there is room for no others like them, but in a body, which has constants
 * of its own. */
#include "explain/predicted.h"

#include "explain/branch.h"
#include "explain/copies.h"
#include "explain/order.h"
#include "rules/side.h"

bool ox_predicted_inside(const ox_explain_state *s)
{
    bool found = false;
    for (size_t i = 0; s->branch->refs == s->g && i < s->order->count; i++) {
        found = found || ox_side_packed(s->order->nodes[i]);
    }
    return found;
}

ox_val ox_predicted_enter(ox_explain_state *s, ox_val outside)
{
    ox_inside *b = s->branch->inside;
    ox_val v = ox_graph_value(b->body, NULL, outside->type, outside->rank, outside->dims);
    v->is_input = true;
    b->entries = ox_arena_grow(s->arena, b->entries, b->count, sizeof *b->entries);
    b->entries[b->count++] = (ox_entry){.outside = ox_unsqueeze(outside, 0), .inside = v};
    return v;
}

static ox_val emit(ox_explain_state *s, ox_inside *b, ox_val y)
{
    ox_graph_output(b->body, y, y->name);
    ox_graph_prune(b->body);
    ox_graph_sort(b->body);
    ox_val *in = ox_arena_alloc(s->arena, b->count, sizeof *in);
    b->body->inputs = ox_arena_alloc(s->arena, b->count, sizeof *in);
    b->body->input_count = b->count;
    for (size_t i = 0; i < b->count; i++) {
        in[i] = b->entries[i].outside;
        b->body->inputs[i] = b->entries[i].inside;
    }
    ox_attr attrs[] = {
        {.name = "body", .kind = OX_ATTR_GRAPH, .graph = b->body},
        ox_attr_int("num_scan_inputs", (int64_t)b->count),
    };
    return ox_graph_emit_node(s->g, "", "Scan", b->count, in, 1, 2, attrs)->outputs[0];
}

ox_val ox_predicted_references(ox_explain_state *s, ox_val v)
{
    ox_val *known = &ox_side_of(ox_made_as(v))->raw;
    if (*known != NULL) {
        return *known;
    }
    ox_inside b = {.body = ox_graph_inside(s->g, "onnxexplainer/predicted")};
    s->branch->inside = &b;
    ox_val y = ox_copy(&(ox_copying){.s = s, .graph = b.body, .references = true}, v);
    s->branch->inside = NULL;
    ox_val out = emit(s, &b, y);
    ox_dim *dims = ox_arena_alloc(s->arena, (size_t)y->rank + 1, sizeof *dims);
    dims[0] = ox_dim_of(1);
    for (int d = 0; d < y->rank; d++) {
        dims[d + 1] = y->dims[d];
    }
    out->type = y->type;
    out->rank = y->rank + 1;
    out->dims = dims;
    *known = ox_squeeze(out, 0);
    return *known;
}
