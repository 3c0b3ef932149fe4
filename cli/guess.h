/* What a mistyped word was meant to be. */
#ifndef OX_CLI_GUESS_H
#define OX_CLI_GUESS_H

#include <stddef.h>

typedef struct ox_guess {
    const char *word; /* need not end with a NUL */
    size_t length;
    const char *best; /* the nearest candidate; NULL where none is near */
    size_t distance;
} ox_guess;

ox_guess ox_guess_begin(const char *word, size_t length);

/* Keeps the candidate where it is nearer than those before. */
void ox_guess_try(ox_guess *guess, const char *candidate);

#endif
