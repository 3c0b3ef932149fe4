/* Opening sessions, which tune explained models on their own. */
#define _GNU_SOURCE /* memmem */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/check.h"
#include "run/plan.h"

static const char VERSION_KEY[] = "onnxexplainer.version", PLAN_KEY[] = "onnxexplainer.plan";

/* Metadata stands behind the graph: whether its keys are near the end of a file says, without
 * parsing the weights, if it is worth reading. */
static bool looks_explained(const char *path, ox_error *err)
{
    enum { TAIL = 1 << 20 };
    bool explained = false;
    errno = 0;
    FILE *file = fopen(path, "rb");
    char *tail = malloc(TAIL);
    if (tail == NULL || (file == NULL && errno == ENOMEM)) {
        ox_error_set(err, OX_MEMORY, "out of memory");
    } else if (file != NULL && fseeko(file, 0, SEEK_END) == 0) {
        off_t size = ftello(file), from = size > TAIL ? size - TAIL : 0;
        if (fseeko(file, from, SEEK_SET) == 0) {
            size_t count = fread(tail, 1, TAIL, file);
            explained = memmem(tail, count, VERSION_KEY, strlen(VERSION_KEY)) != NULL &&
                        memmem(tail, count, PLAN_KEY, strlen(PLAN_KEY)) == NULL;
        }
    }
    free(tail);
    if (file != NULL) {
        fclose(file);
    }
    return explained;
}

static bool is_explained(const ox_model *m)
{
    return ox_metadata(m, VERSION_KEY) != NULL && ox_metadata(m, PLAN_KEY) == NULL &&
           ox_opset(m, "onnxexplainer") != 0;
}

static void pass_memory(const ox_error *err, ox_error *given)
{
    if (err->code == OX_MEMORY) {
        *given = *err;
    }
}

static void tell(const ox_session_options *options, const ox_error *err)
{
    char message[sizeof err->message + 32];
    if (options->note != NULL && err->code != OX_UNSUPPORTED && err->code != OX_MEMORY) {
        snprintf(message, sizeof message, "not tuned: %s", err->message);
        options->note(options->note_user, message);
    }
}

/* A session on the tuned form of an explained model. NULL where it is not explained, does not gain
 * by it, or cannot be tuned, which options->note is told. Want of memory is another matter: `given`
 * has the code OX_MEMORY then, and is as it was otherwise. */
static ox_session *open_tuned(const char *path, const ox_model *model,
                              const ox_session_options *options, ox_error *given)
{
    ox_error err = {.code = OX_OK};
    bool wanted = !options->no_tune && !options->no_kernels && !options->no_optimization &&
                  (path != NULL ? looks_explained(path, &err) : is_explained(model));
    if (!wanted) {
        pass_memory(&err, given);
        return NULL;
    }
    ox_model *read = path != NULL ? ox_read(path, &err) : NULL;
    ox_model *tuned = NULL;
    if (path == NULL || read != NULL) {
        tuned = ox_tune_checked(path != NULL ? read : model, path, options, &err);
    }
    ox_free(read);
    ox_session *session = tuned != NULL ? ox_session_plain(NULL, tuned, options, &err) : NULL;
    ox_free(tuned);
    if (session == NULL) {
        pass_memory(&err, given);
        tell(options, &err);
    }
    return session;
}

static ox_session *open_best(const char *path, const ox_model *model,
                             const ox_session_options *options, ox_error *err)
{
    ox_error error = {.code = OX_OK};
    ox_session *tuned = open_tuned(path, model, options, &error);
    if (tuned == NULL && error.code == OX_MEMORY) {
        ox_error_set(err, error.code, "%s", error.message);
        return NULL;
    }
    return tuned != NULL ? tuned : ox_session_plain(path, model, options, err);
}

ox_session *ox_session_open(const char *path, const ox_session_options *options, ox_error *err)
{
    ox_session_options own;
    if (!ox_check_path("path", path, err) || !ox_check_session_options(options, &own, err)) {
        return NULL;
    }
    if (access(path, R_OK) != 0) {
        ox_error_set(err, OX_IO, "%s: %s", path, strerror(errno));
        return NULL;
    }
    return open_best(path, NULL, &own, err);
}

ox_session *ox_session_open_model(const ox_model *model, const ox_session_options *options,
                                  ox_error *err)
{
    ox_session_options own;
    if (!ox_check_given("model", model, err) || !ox_check_session_options(options, &own, err)) {
        return NULL;
    }
    return open_best(NULL, model, &own, err);
}
