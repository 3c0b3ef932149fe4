/* Schemas of operators: how many inputs and outputs they have, which may be left out, and which
 * attributes of which types. Those of the standard and of ONNX Runtime's own operators, from a
 * table that the build makes of their Python packages, and of our functions (cmake/schemas.py). */
#ifndef OX_SCHEMA_H
#define OX_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OX_SCHEMA_ANY = 0xffff }; /* as many as one likes */

/* The newest opset of the standard that there are schemas of. */
int64_t ox_schema_newest(void);

/* Inputs or outputs. Of the first `fixed` those in `needed` must be there, a bit each; after them
 * comes one that repeats, all of which must be. */
typedef struct ox_schema_side {
    uint16_t least, most, fixed;
    uint64_t needed;
} ox_schema_side;

typedef struct ox_schema_attr {
    const char *name;
    int type; /* AttributeProto.AttributeType, ox_attr_kind */
    bool required;
} ox_schema_attr;

typedef struct ox_schema {
    const char *domain, *op;
    int64_t since; /* version of its domain that it came with */
    ox_schema_side inputs, outputs;
    const ox_schema_attr *attrs;
    size_t attr_count; /* at most 64 */
    bool open;         /* takes others, too, and ignores them */
} ox_schema;

/* The schema of an operator at a version of its domain: that of the newest one which is not later.
 * NULL where none is; *first is then the first version with the operator, 0 if it is not known. */
const ox_schema *ox_schema_find(const char *domain, const char *op, int64_t version,
                                int64_t *first);

/* Whether input or output i must be there where there are that many. */
bool ox_schema_needs(const ox_schema_side *side, size_t i);

#endif
