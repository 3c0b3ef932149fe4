/* Names inside the subgraphs of a node: bodies of If, Loop and Scan, which stay as they were read.
 */
#ifndef OX_MODEL_SCOPE_H
#define OX_MODEL_SCOPE_H

#include "base/table.h"
#include "model/proto.h"

/* Gives up where a subgraph of the attribute uses a name that neither it nor the graph around it
 * defines before, and where one of its nodes is not as its operator's schema says; `label` names
 * the node. */
void ox_scope_check(const ox_model *m, const Onnx__AttributeProto *p, const char *label);

/* What a name stands for: another name and, in the graph itself, its value. */
typedef struct ox_binding {
    const char *from, *to; /* to: "" where it is left out */
    ox_val value;
} ox_binding;

/* The names of a subgraph or function body, and of what is around it. */
typedef struct ox_scope {
    const struct ox_scope *outer;
    ox_table names;
} ox_scope;

/* Enters a name, NULL where it is there already. */
ox_binding *ox_scope_add(ox_scope *s, const char *from, const char *to, ox_val value);

/* The innermost binding of a name, NULL where there is none. */
const ox_binding *ox_scope_find(const ox_scope *s, const char *name);

#endif
