/* The state of an explanation, split by who writes it: what a pass reads of another one's, it
 * includes that one's header for. */
#ifndef OX_EXPLAIN_STATE_H
#define OX_EXPLAIN_STATE_H

#include "model/model.h"
#include "rules/rules.h"

/* Each is written by one pass, and const to all that come after. */
typedef struct ox_method ox_method;   /* explain/method.h */
typedef struct ox_binding ox_binding; /* explain/bind.h */
typedef struct ox_order ox_order;     /* explain/order.h */
typedef struct ox_plan ox_plan;       /* explain/plan.h */
typedef struct ox_target ox_target;   /* explain/target.h */
typedef struct ox_fork ox_fork;       /* explain/branch.h */
typedef struct ox_found ox_found;     /* explain/result.h */

struct ox_explain_state {
    ox_model *model; /* the result in the making */
    const ox_options *options;
    ox_arena *arena;
    ox_graph *g;
    bool blank;      /* the references have no contents: nothing is run */
    bool no_output;  /* there is none that could be explained */
    const char *aim; /* the target's text, but for what objective.c has taken of it */
    uint64_t too_large[OX_CACHE_NONE + 1]; /* bytes of a cache that was tried and does not fit */
    bool again;                            /* start once more, with another cache */

    const ox_method *method;
    const ox_binding *bind; /* in the order in which they are made */
    const ox_order *order;
    const ox_plan *plan;
    const ox_target *target;
    ox_fork *branch;
    ox_found *found;
};

#endif
