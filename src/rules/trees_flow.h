/* The function that some leaves of an ensemble are explained by. A kernel takes its place: the
 * operands stand in base/ours.h. */
#ifndef OX_RULES_TREES_FLOW_H
#define OX_RULES_TREES_FLOW_H

#include "base/ours.h"
#include "rules/rules.h"

/* acc + sum(m phi) over the targets, [K, B, R, N, columns], of the operands of OX_TREE_..;
 * `narrow`: no path has more than OX_TREE_SIDES features. */
ox_val ox_tree_call(bool narrow, const ox_val *in);

#endif
