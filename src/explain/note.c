/* What callers are told while a model is explained. */
#include "explain/note.h"

#include <stdarg.h>
#include <stdio.h>

void ox_note_to(const ox_options *options, const char *format, ...)
{
    char message[512];
    if (options->note == NULL) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    options->note(options->note_user, message);
}

void ox_warn(const ox_explain_state *s, const char *format, ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (s->options->strict) {
        ox_fail(s->arena, OX_INVALID, "%s", message);
    }
    if (s->options->warn != NULL) {
        s->options->warn(s->options->warn_user, message);
    }
}
