/* A mutator for protobuf as it is on the wire: fields are changed, taken out, doubled, moved, and
 * exchanged with those of other files, so that most of what comes out can still be read. */
#ifndef FUZZ_WIRE_H
#define FUZZ_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Changes the message of `size` bytes in place, at most `room`; returns the new size. */
size_t fuzz_wire_mutate(uint8_t *data, size_t size, size_t room, unsigned seed);

/* A model with FUZZ_CHOICES bytes behind it: either is changed. */
size_t fuzz_model_mutate(uint8_t *data, size_t size, size_t room, unsigned seed);

/* A number below `limit`, always the same ones: what mutate.c draws. */
size_t fuzz_draw(size_t limit);

/* libFuzzer's, AFL++'s, or that of mutate.c. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
