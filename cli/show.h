/* What `show` says of a model for programs. */
#ifndef OX_CLI_SHOW_H
#define OX_CLI_SHOW_H

#include "cli.h"

#include <stdio.h>

/* Domains of operators whose versions are told, and properties of explained models; both end with
 * NULL. */
extern const char *const ox_show_domains[];
extern const char *const ox_show_properties[];

/* The property of an explained model, NULL where it is not there or empty. */
const char *ox_show_property(const ox_model *model, const char *name);

/* Writes one object. `report` is NULL where there is none: of explained models, and where `reason`
 * says why the model cannot be looked into. */
void ox_show_json(FILE *file, const ox_model *model, const ox_report *report, const char *reason);

#endif
