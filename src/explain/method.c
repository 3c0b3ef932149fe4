/* The methods: a row each. */
#include "explain/method.h"

#include <string.h>

#include "base/names.h"
#include "explain/coalitions.h"
#include "explain/curves.h"
#include "explain/gradients.h"
#include "explain/integrate.h"
#include "explain/permutations.h"
#include "explain/plan.h"
#include "explain/references.h"
#include "explain/result.h"
#include "explain/splits.h"

#define BY_RULES                                                                                   \
    "deepshap", .needs_rules = true, .multiplies = true, .keeps = true, .sum = OX_SUM_EXACT,       \
                .steps = ox_plan_steps, .feed = ox_feed_references, .attribute = ox_result_walk

#define BY_GRADIENTS                                                                               \
    .needs_rules = true, .check = ox_gradient_check, .steps = ox_plan_steps,                       \
    .feed = ox_feed_references

#define BY_RUNS                                                                                    \
    .players = true, .check = ox_black_box_check, .steps = ox_plan_steps, .feed = ox_feed_references

static const ox_method methods[] = {
    {BY_RULES},
    {"gradient", BY_GRADIENTS, .attribute = ox_gradient},
    {"input-x-gradient", BY_GRADIENTS, .multiplies = true, .keeps = true,
     .attribute = ox_gradient_times_input},
    {"integrated-gradients", BY_GRADIENTS, .multiplies = true, .keeps = true,
     .sum = OX_SUM_QUADRATURE, .attribute = ox_integrated_gradients},
    {"expected-gradients", BY_GRADIENTS, .attribute = ox_expected_gradients},
    {"smoothgrad", BY_GRADIENTS, .attribute = ox_smooth_gradients},
    {"exact", BY_RUNS, .keeps = true, .sum = OX_SUM_EXACT, .attribute = ox_exact},
    {"kernel", BY_RUNS, .keeps = true, .sum = OX_SUM_EXACT, .attribute = ox_kernel},
    {"permutation", BY_RUNS, .keeps = true, .sum = OX_SUM_EXACT, .attribute = ox_permutation},
    {"occlusion", BY_RUNS, .keeps = true, .attribute = ox_occlusion},
};

/* DeepSHAP with options.integrate. */
static const ox_method integrated = {
    BY_RULES,
    .check = ox_integrate_check,
    .replaces = ox_integrate_wants,
    .replace = ox_integrate,
};

/* No way to values: the model on coalitions that come in as an input. */
static const ox_method curves = {
    "curves",
    BY_RUNS,
    .attribute = ox_curves_values,
    .outputs = ox_curves_outputs,
};

enum { METHODS = sizeof methods / sizeof *methods };

static const char *name_of(const void *of, size_t index)
{
    return ((const ox_method *)of)[index].name;
}

static const ox_method *find(const char *name, size_t length)
{
    for (size_t i = 0; i < METHODS; i++) {
        if (strlen(methods[i].name) == length && strncmp(methods[i].name, name, length) == 0) {
            return &methods[i];
        }
    }
    return NULL;
}

/* "smoothgrad:gradient" and the like. */
static bool smooths(const ox_method *m, const char *inner)
{
    const ox_method *of = find(inner, strlen(inner));
    bool gradients = of != NULL && of->check == ox_gradient_check;
    return gradients && of != m && m->attribute == ox_smooth_gradients;
}

/* The same on both parts of the way over mixtures. */
static const ox_method *with_splits(ox_arena *a, const ox_method *m)
{
    ox_method *split = ox_arena_copy(a, m, 1, sizeof *m);
    split->attribute = ox_splits;
    split->players = true;
    split->multiplies = split->keeps = false;
    return split;
}

const ox_method *ox_method_find(ox_arena *a, const ox_options *o)
{
    const char *name = o->method == NULL ? "deepshap" : o->method;
    size_t length = strcspn(name, ":");
    const ox_method *m = find(name, length);
    if (m == NULL || (name[length] == ':' && !smooths(m, name + length + 1))) {
        ox_fail(a, OX_ARGUMENT, "there is no method \"%s\", these are there: %s", name,
                ox_names_list(a, name_of, methods, METHODS));
    }
    bool integrates = o->integrate > 0 || o->integrate_op_count > 0;
    if (integrates && m != &methods[0]) {
        ox_fail(a, OX_ARGUMENT, "integrate goes with method deepshap");
    }
    if (o->pool != NULL && !m->needs_rules) {
        ox_fail(a, OX_ARGUMENT, "pool: method %s has no rules", o->method);
    }
    if (o->splits > 0 && m != &methods[0]) {
        ox_fail(a, OX_ARGUMENT, "splits go with method deepshap");
    }
    if (o->order > 1 && m != &methods[0]) {
        ox_fail(a, OX_ARGUMENT, "order goes with method deepshap");
    }
    m = integrates ? &integrated : m;
    return o->splits > 0 ? with_splits(a, m) : m;
}

const ox_method *ox_method_curves(void)
{
    return &curves;
}
