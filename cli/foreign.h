/* Model files of other frameworks. */
#ifndef OX_CLI_FOREIGN_H
#define OX_CLI_FOREIGN_H

#include "cli.h"

/* Says in err, which tells why a path could not be read as ONNX, whose file it is by its name, and
 * how to export that; leaves err where the name says nothing. */
void ox_foreign_explain(const char *path, ox_error *err);

#endif
