/* ox_check: outputs against the metadata of the model that gave them. */
#include "base/check.h"
#include "explain/check.h"

typedef struct job {
    const ox_model *model;
    ox_arena *arena;
    const ox_tensor *outputs;
    size_t output_count;
    ox_findings *findings;
    ox_note note;
    void *note_user;
} job;

static const char *property_of_model(void *user, const char *key)
{
    return ox_metadata(user, key);
}

static void run_job(void *user)
{
    job *j = user;
    ox_check_outputs(j->arena, property_of_model, (void *)(uintptr_t)j->model, j->outputs,
                     j->output_count, j->findings, j->note, j->note_user);
}

bool ox_check(const ox_model *explained, const ox_tensor *outputs, size_t output_count,
              ox_findings *findings, ox_note note, void *note_user, ox_error *err)
{
    ox_findings ignored;
    if (!ox_check_given("model", explained, err) ||
        !ox_check_tensors("output", outputs, output_count, false, err)) {
        return false;
    }
    job j = {explained, ox_arena_new(), outputs, output_count, findings, note, note_user};
    j.findings = findings != NULL ? findings : &ignored;
    if (j.arena == NULL) {
        return ox_error_set(err, OX_MEMORY, "out of memory");
    }
    bool good = ox_arena_try(j.arena, run_job, &j, err);
    ox_arena_free(j.arena);
    return good;
}
