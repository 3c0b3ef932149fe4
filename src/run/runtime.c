/* Finding and opening ONNX Runtime: search order, versions, and its errors in our form.
 *
 * The library is never closed. Its worker threads and thread-local objects outlive the last session
 * by a moment and their code must stay mapped; opening it again costs a reference count. */
#include "base/check.h"
#include "run/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first version that runs opset 18 and inlines model-local functions. */
enum { OLDEST_MINOR = 15 };

static const char LIBRARY[] = OX_OS_LIBRARY("onnxruntime");

/* As its packages name it for programs that are linked with it. */
#if defined(_WIN32) || defined(__APPLE__)
static const char NAMED[] = OX_OS_LIBRARY("onnxruntime");
#else
static const char NAMED[] = OX_OS_LIBRARY("onnxruntime") ".1";
#endif

typedef const OrtApiBase *(ORT_API_CALL *get_base)(void);

/* Takes an opened library; `name` is for messages. */
static bool take_library(void *library, const char *name, ox_runtime *runtime, ox_error *err)
{
    void *symbol = ox_os_library_symbol(library, "OrtGetApiBase");
    if (symbol == NULL) {
        return ox_error_set(err, OX_RUNTIME, "%s: not an onnxruntime library", name);
    }
    get_base function;
    memcpy(&function, &symbol, sizeof function); /* ISO C has no cast from object to function */
    const OrtApiBase *base = function();
    const char *version = base->GetVersionString();
    char *end;
    long major = strtol(version, &end, 10);
    long minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    if (major < 1 || (major == 1 && minor < OLDEST_MINOR)) {
        return ox_error_set(err, OX_RUNTIME,
                            "%s: onnxruntime %s is too old, 1.%d or newer is needed", name, version,
                            OLDEST_MINOR);
    }
    bool older = major == 1 && minor < ORT_API_VERSION;
    const OrtApi *api = base->GetApi(older ? (uint32_t)minor : ORT_API_VERSION);
    if (api == NULL) {
        return ox_error_set(err, OX_RUNTIME, "%s: onnxruntime %s does not offer API version %d",
                            name, version, ORT_API_VERSION);
    }
    *runtime = (ox_runtime){.api = api, .version = version};
    return true;
}

/* NULL and err where it cannot be opened. */
static void *open_library(const char *path, const char *origin, ox_error *err)
{
    char why[sizeof err->message];
    void *library = ox_os_library_open(path, why, sizeof why);
    if (library != NULL) {
        return library;
    }
    bool memory = strstr(why, "annot allocate memory") != NULL || strstr(why, "out of memory");
    ox_error_set(err, memory ? OX_MEMORY : OX_RUNTIME, "%s: %s", origin, why);
    return NULL;
}

/* Opens what `origin` (a variable or an option) asked for. */
static bool open_file(const char *origin, const char *path, ox_runtime *runtime, ox_error *err)
{
    void *library = open_library(path, origin, err);
    return library != NULL && take_library(library, path, runtime, err);
}

/* Finds libonnxruntime.so or libonnxruntime.so.VERSION (or as the system names libraries) in
 * `folder` and puts its path into `path`. Of several the longest name wins, then the last in order,
 * which is the newest version. A folder that cannot be read has none, but for want of memory, which
 * is in `err`. */
static bool find_in_folder(const char *folder, char *path, size_t size, ox_error *err)
{
    errno = 0;
    ox_os_list *entries = ox_os_list_open(folder);
    if (entries == NULL) {
        return errno == ENOMEM && ox_error_set(err, OX_MEMORY, "%s: out of memory", folder);
    }
    char best[256] = "";
    for (const char *name; (name = ox_os_list_next(entries)) != NULL;) {
        size_t length = strlen(name), held = strlen(best);
        bool newer = length > held || (length == held && strcmp(name, best) > 0);
        if (strncmp(name, LIBRARY, strlen(LIBRARY)) == 0 && newer && length < sizeof best) {
            memcpy(best, name, length + 1);
        }
    }
    ox_os_list_close(entries);
    int length = snprintf(path, size, "%s/%s", folder, best);
    return best[0] != '\0' && length > 0 && (size_t)length < size;
}

static bool open_root(const char *root, ox_runtime *runtime, ox_error *err)
{
    static const char *const folders[] = {"/lib", "/lib64", ""};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char folder[4096], path[4096];
        ox_error error = {.code = OX_OK};
        int length = snprintf(folder, sizeof folder, "%s%s", root, folders[i]);
        if (length > 0 && (size_t)length < sizeof folder &&
            find_in_folder(folder, path, sizeof path, &error)) {
            return open_file("ONNXRUNTIME_ROOT", path, runtime, err);
        }
        if (error.code == OX_MEMORY) {
            return ox_error_set(err, error.code, "%s", error.message);
        }
    }
    return ox_error_set(err, OX_RUNTIME, "ONNXRUNTIME_ROOT: no %s in %s/lib", LIBRARY, root);
}

bool ox_runtime_folder(char *path, size_t size)
{
    if (!ox_os_library_path(path, size)) {
        return false;
    }
    char *separator = (char *)(uintptr_t)ox_os_last_separator(path);
    if (separator != NULL) {
        *separator = '\0';
    } else {
        snprintf(path, size, ".");
    }
    return true;
}

/* What the loader finds, then what lies beside this library, as in the build folder. A library that
 * cannot be used is passed over for the next, and is the error when there is no better one. */
static bool open_default(ox_runtime *runtime, ox_error *err)
{
    char folder[4096], beside[4096];
    ox_error error = {.code = OX_OK};
    bool found = ox_runtime_folder(folder, sizeof folder) &&
                 find_in_folder(folder, beside, sizeof beside, &error);
    if (error.code == OX_MEMORY) {
        return ox_error_set(err, error.code, "%s", error.message);
    }
    const char *const names[] = {NAMED, LIBRARY, beside};
    ox_error_set(
        &error, OX_RUNTIME,
        "onnxruntime library not found: set ONNXRUNTIME_LIBRARY to a %s, or ONNXRUNTIME_ROOT",
        LIBRARY);
    for (size_t i = 0; i < (found ? 3 : 2); i++) {
        ox_error why = {.code = OX_OK};
        void *library = open_library(names[i], names[i], &why);
        if (why.code == OX_MEMORY) {
            return ox_error_set(err, why.code, "%s", why.message); /* it may be the one */
        }
        if (library != NULL && take_library(library, names[i], runtime, &error)) {
            return true;
        }
    }
    return ox_error_set(err, error.code, "%s", error.message);
}

/* A variable of the environment, NULL where it is unset or empty. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

bool ox_runtime_find(const char *path, ox_runtime *runtime, ox_error *err)
{
    const char *library = variable("ONNXRUNTIME_LIBRARY"), *root = variable("ONNXRUNTIME_ROOT");
    if (path != NULL) {
        return open_file("onnxruntime library", path, runtime, err);
    }
    if (library != NULL) {
        return open_file("ONNXRUNTIME_LIBRARY", library, runtime, err);
    }
    if (root != NULL) {
        return open_root(root, runtime, err);
    }
    return open_default(runtime, err);
}

static const char OWN[] = "onnxexplainer/";

/* Whether `name` begins with one of `parts`, as "flow/"; how long that is, else 0. */
static size_t begins(const char *name, const char *const *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strncmp(name, parts[i], strlen(parts[i])) == 0) {
            return strlen(parts[i]);
        }
    }
    return 0;
}

/* Our nodes are called "onnxexplainer/flow/conv1/Mul", for "conv1" of the model: where "conv1"
 * begins in such a name, and how long it is in `size`; NULL for those that are for no node. */
static const char *origin_in(const char *name, const char *end, size_t *size)
{
    static const char *const parts[] = {"flow/", "reference/", "sample/"};
    static const char *const general[] = {"kept/", "result/", "target/", "weights/"};
    while (strncmp(name, OWN, strlen(OWN)) == 0) { /* one in another */
        name += strlen(OWN);
        if (begins(name, general, sizeof general / sizeof *general) > 0) {
            return NULL;
        }
        name += begins(name, parts, sizeof parts / sizeof *parts);
        do {
            end--;
        } while (end > name && *end != '/');
    }
    *size = end > name ? (size_t)(end - name) : 0;
    return *size > 0 ? name : NULL;
}

/* The same of the last quoted name in the text: those before are of Scans around it. */
static const char *find_origin(const char *text, size_t *size)
{
    const char *found = NULL;
    for (const char *at = text; (at = strstr(at, OWN)) != NULL; at += strlen(OWN)) {
        char before = at == text ? '\0' : at[-1];
        bool quoted = before == '\'' || before == '"' || before == '(';
        const char *end = quoted ? strchr(at, before == '(' ? ')' : before) : NULL;
        size_t length = 0;
        const char *origin = end == NULL ? NULL : origin_in(at, end, &length);
        if (origin != NULL) {
            found = origin;
            *size = length;
        }
    }
    return found;
}

void ox_runtime_check(ox_arena *a, const OrtApi *api, OrtStatus *status)
{
    if (status == NULL) {
        return;
    }
    ox_code code = api->GetErrorCode(status) == ORT_INVALID_PROTOBUF ? OX_INVALID : OX_RUNTIME;
    char text[sizeof((ox_error *)NULL)->message];
    snprintf(text, sizeof text, "%s", api->GetErrorMessage(status));
    api->ReleaseStatus(status);
    for (size_t end = strlen(text); end > 0 && strchr(" .\r\n", text[end - 1]) != NULL; end--) {
        text[end - 1] = '\0';
    }
    code = strstr(text, OX_NO_MEMORY) != NULL ? OX_MEMORY : code;
    size_t size = 0;
    const char *origin = find_origin(text, &size);
    if (origin == NULL) {
        ox_fail(a, code, "onnxruntime: %s", text);
    }
    ox_fail(a, code, "a node that explains \"%.*s\" of the model fails: onnxruntime: %s", (int)size,
            origin, text);
}

bool ox_runtime_version(const char *runtime, char *version, size_t size, ox_error *err)
{
    ox_runtime found;
    if (!ox_check_given("version", version, err) ||
        (runtime != NULL && !ox_check_path("runtime", runtime, err))) {
        return false;
    }
    if (!ox_runtime_find(runtime, &found, err)) {
        return false;
    }
    if (strlen(found.version) >= size) {
        return ox_error_set(err, OX_ARGUMENT, "no room for version %s of onnxruntime",
                            found.version);
    }
    memcpy(version, found.version, strlen(found.version) + 1);
    return true;
}
