/* options.weights: how much each reference counts in all means over them. */
#include "explain/weights.h"

#include <math.h>

#include "explain/bind.h"

void ox_weights_check(const ox_explain_state *s)
{
    const ox_options *o = s->options;
    double sum = 0;
    if (o->weight_count == 0) {
        return;
    }
    if (s->bind->refs_count == 0 || o->reference_source != OX_REFERENCES_GIVEN) {
        ox_fail(s->arena, OX_ARGUMENT, "weights go with references that are given");
    }
    if ((int64_t)o->weight_count != s->bind->refs_count) {
        ox_fail(s->arena, OX_ARGUMENT, "%zu weights for %lld references", o->weight_count,
                (long long)s->bind->refs_count);
    }
    for (size_t i = 0; i < o->weight_count; i++) {
        if (!(o->weights[i] >= 0) || !isfinite(o->weights[i])) {
            ox_fail(s->arena, OX_ARGUMENT, "weight %zu is %g: weights are 0 or above", i,
                    o->weights[i]);
        }
        sum += o->weights[i];
    }
    if (!(sum > 0) || !isfinite(sum)) {
        ox_fail(s->arena, OX_ARGUMENT, "the weights add up to %g", sum);
    }
}

const double *ox_weights_find(ox_explain_state *s, int64_t padded)
{
    const ox_options *o = s->options;
    int64_t count = s->bind->refs_count;
    double *weights = ox_arena_alloc(s->arena, (size_t)padded, sizeof *weights), sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += o->weight_count > 0 ? o->weights[i] : 1;
    }
    for (int64_t i = 0; i < count; i++) {
        weights[i] = o->weight_count > 0 ? o->weights[i] * (double)count / sum : 1;
    }
    return weights;
}

int64_t ox_weights_draw(ox_explain_state *s, const double *weights, double place)
{
    int64_t count = s->bind->refs_count, i = 0;
    if (s->options->weight_count == 0) {
        return (int64_t)(place * (double)count);
    }
    double left = place * (double)count;
    while (i + 1 < count && (left >= weights[i] || weights[i] == 0)) {
        left -= weights[i++];
    }
    while (i > 0 && weights[i] == 0) { /* rounding */
        i--;
    }
    return i;
}
