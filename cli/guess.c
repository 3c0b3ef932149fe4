/* Edit distance, with two neighbours that are swapped counted as one slip. */
#include "guess.h"

#include <string.h>

enum { LENGTH_MAX = 40 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* d[i][j] = distance of a[..i] and b[..j]; three rows are kept. */
static size_t distance(const char *a, size_t m, const char *b, size_t n)
{
    size_t rows[3][LENGTH_MAX + 1];
    for (size_t j = 0; j <= n; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= m; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            row[j] = least(above[j - 1] + (a[i - 1] != b[j - 1]), least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = least(row[j], higher[j - 2] + 1);
            }
        }
    }
    return rows[m % 3][n];
}

ox_guess ox_guess_begin(const char *word, size_t length)
{
    return (ox_guess){.word = word, .length = length, .distance = 1 + (length + 1) / 3};
}

void ox_guess_try(ox_guess *guess, const char *candidate)
{
    size_t length = strlen(candidate);
    if (guess->length > LENGTH_MAX || length > LENGTH_MAX || !guess->length) {
        return;
    }
    /* what was cut short is one slip */
    size_t d = guess->length > 2 && !strncmp(candidate, guess->word, guess->length)
                   ? 1
                   : distance(guess->word, guess->length, candidate, length);
    if (d < guess->distance && d < length) {
        guess->distance = d;
        guess->best = candidate;
    }
}
