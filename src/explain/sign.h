/* Which values are above 0. */
#ifndef OX_EXPLAIN_SIGN_H
#define OX_EXPLAIN_SIGN_H

#include "explain/state.h"
#include "rules/side.h"

ox_sign ox_sign_of(ox_explain_state *s, ox_val v);

#endif
