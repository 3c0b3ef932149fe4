/* A target without libFuzzer: `fuzz_TARGET ROUNDS FILE...` gives it the files, then ROUNDS times
 * one of them, changed once or more, always in the same way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

enum { ROOM = 1 << 17 };

typedef struct piece {
    uint8_t *data;
    size_t size;
} piece;

static piece read_piece(const char *path)
{
    piece p = {malloc(ROOM), 0};
    FILE *file = fopen(path, "rb");
    if (file == NULL || p.data == NULL) {
        perror(path);
        exit(1);
    }
    p.size = fread(p.data, 1, ROOM, file);
    fclose(file);
    return p;
}

/* On a block of its own exact size, so that the address sanitizer sees who reads beyond it. */
static void give(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size + (size == 0));
    if (exact == NULL) {
        exit(1);
    }
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: fuzz_TARGET ROUNDS FILE...\n", stderr);
        return 2;
    }
    size_t count = (size_t)argc - 2, rounds = (size_t)strtoul(argv[1], NULL, 10);
    piece *pieces = calloc(count, sizeof *pieces);
    uint8_t *changed = malloc(ROOM);
    if (pieces == NULL || changed == NULL) {
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        pieces[i] = read_piece(argv[2 + i]);
        give(pieces[i].data, pieces[i].size);
    }
    for (size_t i = 0; i < rounds; i++) {
        const piece *p = &pieces[fuzz_draw(count)];
        size_t size = p->size;
        memcpy(changed, p->data, size);
        for (size_t n = 1 + fuzz_draw(3); n > 0; n--) {
            size = LLVMFuzzerCustomMutator(changed, size, ROOM, (unsigned)(i * 4 + n));
        }
        give(changed, size);
    }
    for (size_t i = 0; i < count; i++) {
        free(pieces[i].data);
    }
    free(changed);
    free(pieces);
    return 0;
}
