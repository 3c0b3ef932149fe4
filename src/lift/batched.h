/* Loops whose steps do not depend on each other, all steps at once. */
#ifndef OX_LIFT_BATCHED_H
#define OX_LIFT_BATCHED_H

#include "lift/control.h"

/* What the attributes of a Scan say; lists have an entry for each input or output it scans. */
typedef struct ox_scan {
    size_t states;
    const int64_t *input_axes, *output_axes;
    const bool *input_backward, *output_backward;
} ox_scan;

/* Fills the outputs of a Scan whose states pass its body unchanged; false where it is another, or
 * its body holds what has no form for all steps at once. */
bool ox_batched_scan(const ox_control *c, const ox_scan *scan, ox_val *outputs);

/* The same of a Loop whose number of steps is known, if only by the number of samples. `going` is
 * the condition as its body takes it. */
bool ox_batched_loop(const ox_control *c, ox_val going, ox_val *outputs);

#endif
