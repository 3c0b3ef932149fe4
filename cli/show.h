/* What `show` says of a model for programs. */
#ifndef OX_CLI_SHOW_H
#define OX_CLI_SHOW_H

#include "json.h"

/* Domains of operators whose versions are told, and properties of explained models; both end with
 * NULL. */
extern const char *const ox_show_domains[];
extern const char *const ox_show_properties[];

/* The property of an explained model, NULL where it is not there or empty. */
const char *ox_show_property(const ox_model *model, const char *name);

/* Writes inputs, outputs or tensors as a list. */
void ox_show_values(ox_json *json, const char *key, const ox_value_info *infos, size_t count);

/* Writes one object. `report` is NULL where there is none: of explained models, and where `reason`
 * says why the model cannot be looked into. */
void ox_show_json(FILE *file, const ox_model *model, const ox_report *report, const char *reason);

#endif
