/* Faults in the results of an explained model. */
#ifndef OX_CLI_FAULTS_H
#define OX_CLI_FAULTS_H

#include "array.h"

/* Checks outputs of a session as ox_session_check does; `stacked` are those that ox_batch_run has
 * put one behind the other. `note` is told what is wrong (NULL: nobody). */
bool ox_faults_find(const ox_session *session, const ox_arrays *outputs, const bool *stacked,
                    ox_findings *found, ox_note note, void *user, ox_error *err);

#endif
