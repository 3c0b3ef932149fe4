/* Opening sessions, which tune explained models on their own. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/scratch.h"
#include "os.h"
#include "run/kept.h"
#include "run/plan.h"
#include "run/run.h"
#include "run/steady.h"
#include "run/tail.h"

static const char VERSION_KEY[] = "onnxexplainer.version", PLAN_KEY[] = "onnxexplainer.plan";

/* What the end of a file tells before it is read. */
typedef struct ending {
    bool explained; /* and no plan */
    bool changes;   /* its sessions may make another of the model, see run/steady.h */
} ending;

static ending look_at(const char *path, ox_error *err)
{
    char text[128];
    ox_tail tail;
    size_t left;
    if (!ox_tail_read(&tail, path)) {
        if (errno == ENOMEM) {
            ox_error_set(err, OX_MEMORY, "out of memory");
        }
        return (ending){.explained = false};
    }
    ending is = {.explained = ox_tail_find(&tail, VERSION_KEY, &left) != NULL &&
                              ox_tail_find(&tail, PLAN_KEY, &left) == NULL};
    bool told =
        ox_tail_text(&tail, "onnxexplainer.memory", text, sizeof text) && strchr(text, ' ') != NULL;
    is.changes = !told || ox_steady_keeps(text) > 0 ||
                 !ox_tail_text(&tail, "onnxexplainer.references", text, sizeof text) ||
                 strcmp(text, "input") == 0;
    ox_tail_free(&tail);
    return is;
}

static bool is_explained(const ox_model *m)
{
    return ox_metadata(m, VERSION_KEY) != NULL && ox_metadata(m, PLAN_KEY) == NULL &&
           ox_opset(m, "onnxexplainer") != 0;
}

static void tell(const ox_session_options *options, const ox_error *err)
{
    char message[sizeof err->message + 32];
    if (options->note != NULL && err->code != OX_OK && err->code != OX_UNSUPPORTED) {
        snprintf(message, sizeof message, "not tuned: %s", err->message);
        options->note(options->note_user, message);
    }
}

/* A session on a kept plan; NULL also where there is none, *known where that is known. */
static ox_session *open_kept(ox_kept *kept, bool large, const ox_session_options *options,
                             bool *known)
{
    const void *data;
    size_t size;
    ox_kept_what what = ox_kept_find(kept, &data, &size);
    ox_session *session =
        what == OX_KEPT_PLAN ? ox_session_optimised(data, size, large, options, NULL) : NULL;
    if (what == OX_KEPT_PLAN && session == NULL) {
        ox_kept_drop(kept);
    }
    *known = session != NULL || what == OX_KEPT_NO_PLAN;
    return session;
}

/* What a plan may take of the time of the model on one sample: less by more than chance, or, where
 * it is sooner loaded, as much but for chance. */
static const double FASTER = 0.98, AS_FAST = 1.05;

/* The name of a file in the folder; NULL where there is none. */
static char *file_in(const ox_scratch *scratch)
{
    static const char name[] = "/plan.onnx";
    char *path = scratch->path == NULL ? NULL : malloc(strlen(scratch->path) + sizeof name);
    return path == NULL ? NULL : strcat(strcpy(path, scratch->path), name);
}

/* Sessions on the model, which is `open` where that is not NULL, and on the plan, and whether it
 * gains; false and err where it cannot be used. What gains is kept as ONNX Runtime optimised it for
 * this session. */
static bool try_plan(ox_trial *trial, const ox_kept *kept, const char *path, const ox_model *model,
                     ox_session *open, const ox_model *plan, const ox_session_options *options,
                     bool *gains, ox_error *err)
{
    ox_scratch scratch = {.path = NULL};
    if (ox_kept_takes(kept, plan) && !ox_scratch_open(&scratch, NULL)) {
        scratch.path = NULL;
    }
    char *file = file_in(&scratch);
    bool good = ox_trial_open(trial, model, path, open, plan, file, options, err);
    if (good) {
        *gains = ox_trial_keeps_to(trial, ox_plan_is_blocked(plan) ? FASTER : AS_FAST);
    }
    if (good && *gains && file != NULL) {
        ox_kept_write(kept, file);
    }
    free(file);
    if (scratch.path != NULL) {
        ox_scratch_close(&scratch);
    }
    return good;
}

/* Where a blocked plan does not gain, the model with its constants computed is still sooner
 * loaded than the model, on which there is a session. */
static void keep_other(const ox_kept *kept, const ox_model *model, ox_session *open,
                       const ox_model *plan, const ox_session_options *options)
{
    bool other = ox_plan_is_blocked(plan) && kept->folder != NULL, gains = false;
    ox_model *constants = other ? ox_plan_constants(model, options, NULL) : NULL;
    ox_trial trial;
    if (constants != NULL &&
        try_plan(&trial, kept, NULL, model, open, constants, options, &gains, NULL)) {
        ox_trial_take(&trial, false);
        ox_trial_close(&trial);
    }
    ox_free(constants);
    if (!gains) {
        ox_kept_write(kept, NULL);
    }
}

/* A session on a plan that is made here, or on the model where that is as fast; which of them is
 * kept. NULL and err where there is no plan. */
static ox_session *make_plan(const ox_kept *kept, const char *path, const ox_model *model,
                             const ox_session_options *options, ox_error *err)
{
    ox_error why = {.code = OX_OK};
    ox_model *plan = ox_plan_make(model, kept->folder != NULL, options, &why);
    bool gains = false;
    ox_session *session = NULL;
    ox_trial trial;
    if (plan != NULL && try_plan(&trial, kept, path, model, NULL, plan, options, &gains, &why)) {
        session = ox_trial_take(&trial, gains);
        ox_trial_close(&trial);
    }
    if (session != NULL && !gains) {
        keep_other(kept, model, session, plan, options);
    } else if (session == NULL && why.code == OX_UNSUPPORTED) {
        ox_kept_write(kept, NULL);
    }
    ox_free(plan);
    if (session == NULL) {
        ox_error_set(err, why.code, "%s", why.message);
    }
    return session;
}

/* `kept`: NULL where the same model is not opened once more. */
static ox_session *open_planned(const char *path, const ox_model *model, ox_kept *kept,
                                const ox_session_options *options, ox_error *err)
{
    bool large = ox_runs_large(NULL, model), known;
    ox_kept none = OX_KEPT_INIT;
    if (kept != NULL && kept->folder == NULL) {
        ox_kept_open(kept, model, options);
    }
    kept = kept == NULL ? &none : kept;
    ox_session *session = open_kept(kept, large, options, &known);
    if (!known) { /* of processes that start at a time one makes it */
        ox_kept_lock(kept);
        session = open_kept(kept, large, options, &known);
    }
    return known ? session : make_plan(kept, path, model, options, err);
}

/* Where there is no plan, options->note is told why; want of memory is an error. */
static ox_session *open_best(const char *path, const ox_model *model, ox_kept *kept,
                             const ox_session_options *options, ox_error *err)
{
    bool wanted = model != NULL && !options->no_tune && !options->no_kernels &&
                  !options->no_optimization && is_explained(model);
    ox_error why = {.code = OX_OK};
    ox_session *session = wanted ? open_planned(path, model, kept, options, &why) : NULL;
    if (session == NULL && why.code == OX_MEMORY) {
        ox_error_set(err, why.code, "%s", why.message);
        return NULL;
    }
    if (session == NULL) {
        tell(options, &why);
        session = ox_session_plain(path, model, options, err);
    }
    return session;
}

static ox_session *open_fixed(const ox_model *model, const ox_session_options *options,
                              ox_error *err)
{
    return open_best(NULL, model, NULL, options, err);
}

/* A session for programs: one whose references come in finds out where these stay the same. */
static ox_session *open_steady(const char *path, const ox_model *model, ox_kept *kept,
                               const ox_session_options *options, ox_error *err)
{
    ox_session *session = open_best(path, model, kept, options, err);
    ox_kept_close(kept);
    ox_error why = {.code = OX_OK};
    if (session != NULL && model != NULL) {
        session->steady =
            ox_steady_new(model, options, (ox_opener){open_fixed, ox_session_free}, &why);
    }
    if (why.code == OX_MEMORY) {
        ox_session_free(session);
        ox_error_set(err, why.code, "%s", why.message);
        return NULL;
    }
    return session;
}

/* A session on what an earlier start found for a file of these bytes, which then is not read:
 * *known. */
static ox_session *open_known(const char *path, const ending *is, ox_kept *kept,
                              const ox_session_options *options, bool *known, ox_error *err)
{
    if (options->no_kernels) {
        return NULL;
    }
    ox_kept_open_file(kept, path, options);
    if (is->changes) {
        return NULL;
    }
    ox_session *session = open_kept(kept, ox_runs_large(path, NULL), options, known);
    return *known && session == NULL ? ox_session_plain(path, NULL, options, err) : session;
}

ox_session *ox_session_open(const char *path, const ox_session_options *options, ox_error *err)
{
    ox_session_options own;
    if (!ox_check_path("path", path, err) || !ox_check_session_options(options, &own, err)) {
        return NULL;
    }
    if (!ox_os_can_read(path)) {
        char reason[128];
        ox_error_set(err, OX_IO, "%s: %s", path, ox_os_reason(errno, reason, sizeof reason));
        return NULL;
    }
    ox_error why = {.code = OX_OK};
    bool may_change = !own.no_tune && !own.no_optimization, known = false;
    ending is = may_change ? look_at(path, &why) : (ending){.explained = false};
    ox_kept kept = OX_KEPT_INIT;
    ox_session *session = is.explained ? open_known(path, &is, &kept, &own, &known, err) : NULL;
    if (known) {
        ox_kept_close(&kept);
        return session;
    }
    ox_model *read = is.explained ? ox_read(path, &why) : NULL;
    if (read == NULL && why.code == OX_MEMORY) {
        ox_kept_close(&kept);
        ox_error_set(err, why.code, "%s", why.message);
        return NULL;
    }
    if (!ox_kept_is_of(&kept, path)) { /* it was replaced meanwhile */
        ox_kept_close(&kept);
    }
    tell(&own, &why);
    session = open_steady(path, read, &kept, &own, err);
    ox_free(read);
    return session;
}

ox_session *ox_session_open_model(const ox_model *model, const ox_session_options *options,
                                  ox_error *err)
{
    ox_session_options own;
    if (!ox_check_given("model", model, err) || !ox_check_session_options(options, &own, err)) {
        return NULL;
    }
    ox_kept kept = OX_KEPT_INIT;
    return open_steady(NULL, model, &kept, &own, err);
}
