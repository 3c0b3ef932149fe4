/* ox_check: outputs against the metadata of the model that gave them. */
#include "base/check.h"
#include "explain/check.h"

static const char *property_of_model(ox_arena *a, void *user, const char *key)
{
    (void)a;
    return ox_metadata(user, key);
}

bool ox_check(const ox_model *explained, const ox_tensor *outputs, size_t output_count,
              ox_findings *findings, ox_note note, void *note_user, ox_error *err)
{
    return ox_check_given("model", explained, err) &&
           ox_check_outputs(property_of_model, (void *)(uintptr_t)explained, outputs, output_count,
                            findings, note, note_user, err);
}
