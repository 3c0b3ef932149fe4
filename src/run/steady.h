/* References, and held values, that come in beside every call and mostly are the same again. */
#ifndef OX_RUN_STEADY_H
#define OX_RUN_STEADY_H

#include "onnxexplainer.h"

typedef struct ox_steady ox_steady;

/* How sessions are opened and freed: by those that use this. */
typedef struct ox_opener {
    ox_session *(*open)(const ox_model *model, const ox_session_options *options, ox_error *err);
    void (*free)(ox_session *session);
} ox_opener;

/* Of how many samples a session may keep what held values make of references, as the metadata
 * "onnxexplainer.memory" say: what a run takes of each, while it is loaded and in a run. 0: none.
 */
uint64_t ox_steady_keeps(const char *memory);

/* For a session on a model in which references come in; NULL for all others, and err only without
 * memory. Keeps the model. */
ox_steady *ox_steady_new(const ox_model *explained, const ox_session_options *options,
                         ox_opener opener, ox_error *err);
void ox_steady_free(ox_steady *s);

/* A session whose references are those among the inputs, as constants: NULL where they are new, or
 * have not been the same for long enough. Some of the inputs are then left out: `inputs` and
 * `count` are set to the others, which are to be freed. To be given back. */
typedef struct ox_pin ox_pin;
ox_pin *ox_steady_enter(ox_steady *s, const ox_tensor **inputs, size_t *count);
void ox_steady_leave(ox_steady *s, ox_pin *pin);
ox_session *ox_pin_session(const ox_pin *pin);

#endif
