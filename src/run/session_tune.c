/* Opening sessions, which tune explained models on their own. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "os.h"
#include "run/plan.h"
#include "run/run.h"
#include "run/steady.h"
#include "run/tail.h"

static const char VERSION_KEY[] = "onnxexplainer.version", PLAN_KEY[] = "onnxexplainer.plan";

/* Whether a file is worth reading. */
static bool looks_explained(const char *path, ox_error *err)
{
    ox_tail tail;
    size_t left;
    if (!ox_tail_read(&tail, path)) {
        if (errno == ENOMEM) {
            ox_error_set(err, OX_MEMORY, "out of memory");
        }
        return false;
    }
    bool explained = ox_tail_find(&tail, VERSION_KEY, &left) != NULL &&
                     ox_tail_find(&tail, PLAN_KEY, &left) == NULL;
    ox_tail_free(&tail);
    return explained;
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

/* The tuned form of an explained model, of a file too where path is not NULL. NULL without an error
 * where none is wanted. */
static ox_model *make_plan(const char *path, const ox_model *model,
                           const ox_session_options *options, ox_error *err)
{
    bool wanted = model != NULL && !options->no_tune && !options->no_kernels &&
                  !options->no_optimization && is_explained(model);
    return wanted ? ox_tune_checked(model, path, options, err) : NULL;
}

/* Where there is no plan, options->note is told why; want of memory is an error. */
static ox_session *open_best(const char *path, const ox_model *model,
                             const ox_session_options *options, ox_error *err)
{
    ox_error why = {.code = OX_OK};
    ox_model *plan = make_plan(path, model, options, &why);
    ox_session *session = plan != NULL ? ox_session_plain(NULL, plan, options, &why) : NULL;
    ox_free(plan);
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
    return open_best(NULL, model, options, err);
}

/* A session for programs: one whose references come in finds out where these stay the same. */
static ox_session *open_steady(const char *path, const ox_model *model,
                               const ox_session_options *options, ox_error *err)
{
    ox_session *session = open_best(path, model, options, err);
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

ox_session *ox_session_open(const char *path, const ox_session_options *options, ox_error *err)
{
    ox_session_options own;
    if (!ox_check_path("path", path, err) || !ox_check_session_options(options, &own, err)) {
        return NULL;
    }
    if (!ox_os_can_read(path)) {
        ox_error_set(err, OX_IO, "%s: %s", path, strerror(errno));
        return NULL;
    }
    ox_error why = {.code = OX_OK};
    bool may_change = !own.no_tune && !own.no_optimization;
    ox_model *read = may_change && looks_explained(path, &why) ? ox_read(path, &why) : NULL;
    if (read == NULL && why.code == OX_MEMORY) {
        ox_error_set(err, why.code, "%s", why.message);
        return NULL;
    }
    tell(&own, &why);
    ox_session *session = open_steady(path, read, &own, err);
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
    return open_steady(NULL, model, &own, err);
}
