/* What callers are told meanwhile. */
#ifndef OX_EXPLAIN_NOTE_H
#define OX_EXPLAIN_NOTE_H

#include "explain/state.h"

void ox_note_to(const ox_options *options, const char *format, ...);

/* A warning: to options.warn, or, with options.strict, an error. */
void ox_warn(const ox_explain_state *s, const char *format, ...);

#endif
