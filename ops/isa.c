/* Which instruction set to use. */
#include "ops.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What the processor and the system have, best first. */
static size_t available(const ops_isa **list)
{
    size_t count = 0;
#if defined(OPS_X86)
    __builtin_cpu_init();
    bool fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
        list[count++] = &ops_avx512;
    }
    if (fma) {
        list[count++] = &ops_avx2;
    }
#elif defined(OPS_ARM)
    list[count++] = &ops_neon;
#endif
    list[count++] = &ops_plain;
    list[count++] = &ops_naive;
    return count;
}

const ops_isa *ops_isa_choose(void)
{
    const ops_isa *list[5];
    size_t count = available(list);
    const char *wanted = getenv("ONNXEXPLAINER_ISA");
    for (size_t i = 0; wanted != NULL && i < count; i++) {
        if (strcmp(list[i]->name, wanted) == 0) {
            return list[i];
        }
    }
    return list[0];
}
