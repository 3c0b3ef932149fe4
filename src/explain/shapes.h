/* Shapes that are computed with. */
#ifndef OX_EXPLAIN_SHAPES_H
#define OX_EXPLAIN_SHAPES_H

#include "explain/bind.h"

/* Finds out whether shapes are computed with that the reference branch has not. */
void ox_shapes_check(ox_explain_state *s, ox_binding *b);

#endif
