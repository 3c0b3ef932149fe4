/* The methods: what each needs of the passes, and what it makes of the model. */
#ifndef OX_EXPLAIN_METHOD_H
#define OX_EXPLAIN_METHOD_H

#include "explain/plan.h"

/* Whether values add up to f(x) - base value. */
typedef enum ox_sum {
    OX_SUM_NONE,       /* they are not meant to, or are estimates */
    OX_SUM_EXACT,      /* but for rounding */
    OX_SUM_QUADRATURE, /* but for the error of a sum in place of an integral */
} ox_sum_kind;

/* A method: what is run beside the model, and what is made of it. */
struct ox_method {
    const char *name;
    bool needs_rules;                                  /* multipliers pass through the model */
    bool players;                                      /* its values are those of groups already */
    bool multiplies;                                   /* values are multipliers times a way */
    bool keeps;                                        /* there are values of each reference */
    ox_sum_kind sum;                                   /* what its values add up to */
    void (*check)(const ox_explain_state *s);          /* gives up where options do not fit */
    void (*steps)(ox_explain_state *s, ox_plan *plan); /* cache and chunk */
    void (*feed)(ox_explain_state *s);                 /* what the branch is run on */
    void (*attribute)(ox_explain_state *s);            /* found->phi and found->base */
    void (*outputs)(ox_explain_state *s);              /* others than values; NULL: those */

    /* The nodes whose rule is another one, and that. */
    bool (*replaces)(const ox_explain_state *s, const ox_node *n);
    void (*replace)(ox_explain_state *s, ox_ctx *c);
};

/* The one that the options name; gives up where there is none. */
const ox_method *ox_method_find(ox_arena *a, const ox_options *o);

/* The one of ox_curves. */
const ox_method *ox_method_curves(void);

#endif
