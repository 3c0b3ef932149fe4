/* The methods: a row each. */
#include <string.h>

#include "explain/explain.h"

static const ox_method methods[] = {
    {
        .name = "deepshap",
        .needs_rules = true,
        .steps = ox_plan_steps,
        .feed = ox_feed_references,
        .attribute = ox_result_walk,
    },
    {
        .name = "deepshap", /* with options.integrate */
        .needs_rules = true,
        .check = ox_integrate_check,
        .steps = ox_plan_steps,
        .feed = ox_feed_references,
        .attribute = ox_result_walk,
        .replaces = ox_integrate_wants,
        .replace = ox_integrate,
    },
};

const ox_method *ox_method_find(const ox_options *o)
{
    bool integrates = o->integrate > 0 || o->integrate_op_count > 0;
    return &methods[integrates];
}
