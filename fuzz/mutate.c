/* Changes of bytes where there is no libFuzzer to make them, always the same ones. */
#include "wire.h"

#include <string.h>

static uint32_t state = 1;

size_t fuzz_draw(size_t limit)
{
    state = state * 1664525 + 1013904223;
    return limit == 0 ? 0 : (size_t)(state >> 8) % limit;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room)
{
    if (size > 0) {
        data[fuzz_draw(size)] = (uint8_t)fuzz_draw(256);
    }
    size_t at = fuzz_draw(size), length = 1 + fuzz_draw(8);
    switch (fuzz_draw(4)) {
    case 0:
        if (length < size - at) {
            memmove(data + at, data + at + length, size - at - length);
            return size - length;
        }
        return size;
    case 1:
        if (length <= room - size) {
            memmove(data + at + length, data + at, size - at);
            return size + length;
        }
        return size;
    default: return size;
    }
}
