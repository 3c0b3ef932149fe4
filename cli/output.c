/* Output files of the commands, as streams over the library's writer. */
#define _GNU_SOURCE /* fopencookie */
#include "output.h"

#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool ox_sheet_is_direct(const char *path)
{
    return !strcmp(path, "-") || ox_output_is_direct(path);
}

/* ---- signals --------------------------------------------------------------------------- */

static const int ending[OX_ENDING] = {SIGINT, SIGTERM, SIGHUP};

static pthread_t writer; /* the thread that writes; a handler has no other way to know it */

/* ONNX Runtime has threads that block nothing: what reaches them is passed on. */
static void pass_on(int number)
{
    pthread_kill(writer, number);
}

/* A file under way is removed before the signal ends the process: it waits, and the library's
 * writer looks whether one does. Where nothing is to be removed a pipe that nobody reads must not
 * make it wait. */
static void hold_signals(ox_held *held, bool direct)
{
    struct sigaction pass = {.sa_handler = pass_on};
    sigset_t set;
    sigemptyset(&set);
    held->count = direct ? 0 : OX_ENDING;
    for (size_t i = 0; i < held->count; i++) {
        sigaddset(&set, ending[i]);
    }
    writer = pthread_self();
    pthread_sigmask(SIG_BLOCK, &set, &held->mask);
    for (size_t i = 0; i < held->count; i++) {
        sigaction(ending[i], NULL, &held->actions[i]);
        if (held->actions[i].sa_handler != SIG_IGN) {
            sigaction(ending[i], &pass, NULL);
        }
    }
}

static void let_signals(const ox_held *held)
{
    for (size_t i = 0; i < held->count; i++) {
        sigaction(ending[i], &held->actions[i], NULL);
    }
    pthread_sigmask(SIG_SETMASK, &held->mask, NULL);
}

/* ---- files ----------------------------------------------------------------------------- */

static ssize_t write_sheet(void *cookie, const char *data, size_t size)
{
    ox_sheet *sheet = cookie;
    if (!ox_output_write(sheet->output, data, size)) {
        return 0;
    }
    sheet->position += size;
    return (ssize_t)size;
}

static int seek_sheet(void *cookie, off64_t *offset, int whence)
{
    ox_sheet *sheet = cookie;
    if (whence == SEEK_END) {
        return -1;
    }
    uint64_t to = (uint64_t)*offset + (whence == SEEK_CUR ? sheet->position : 0);
    if (to != sheet->position && !ox_output_seek(sheet->output, to)) {
        return -1;
    }
    sheet->position = to;
    *offset = (off64_t)to;
    return 0;
}

/* What was printed before comes first. */
static const char *prepare(const char *path)
{
    if (ox_sheet_is_direct(path)) {
        fflush(stdout);
    }
    return !strcmp(path, "-") ? "/dev/stdout" : path;
}

bool ox_sheet_begin(ox_sheet *sheet, const char *path, ox_error *err)
{
    *sheet = (ox_sheet){.direct = ox_sheet_is_direct(path)};
    hold_signals(&sheet->held, sheet->direct);
    sheet->output = ox_output_open(prepare(path), err);
    if (sheet->output) {
        sheet->file = fopencookie(
            sheet, "wb", (cookie_io_functions_t){.write = write_sheet, .seek = seek_sheet});
    }
    if (!sheet->file) {
        if (sheet->output) {
            ox_output_close(sheet->output, false, NULL);
            ox_cli_system_error(err, path, "write");
        }
        let_signals(&sheet->held);
        return false;
    }
    return true;
}

bool ox_sheet_end(ox_sheet *sheet, bool good, ox_error *err)
{
    if (fclose(sheet->file) != 0 && good) {
        good = ox_cli_system_error(err, "output", "write");
    }
    good = ox_output_close(sheet->output, good, err);
    let_signals(&sheet->held);
    return good;
}

bool ox_sheet_model(const ox_model *model, const char *path, bool split, ox_error *err)
{
    ox_held held;
    hold_signals(&held, ox_sheet_is_direct(path));
    const char *at = prepare(path);
    bool good = split ? ox_write_split(model, at, err) : ox_write(model, at, err);
    let_signals(&held);
    return good;
}

/* ---- what must not be replaced --------------------------------------------------------- */

static bool would_replace(const char *output, const char *input)
{
    struct stat out, in;
    return !stat(output, &out) && S_ISREG(out.st_mode) &&
           !(strcmp(input, "-") ? stat(input, &in) : fstat(STDIN_FILENO, &in)) &&
           in.st_dev == out.st_dev && in.st_ino == out.st_ino;
}

int ox_sheet_refuse(const char *command, const char *output, const char *what,
                    const char *const *inputs, size_t count)
{
    for (size_t i = 0; output && i < count; i++) {
        const char *equals = strchr(inputs[i], '=');
        if (would_replace(output, inputs[i]) || (equals && would_replace(output, equals + 1))) {
            return ox_cli_usage(command, "%s: the output would replace the %s", output, what);
        }
    }
    return -1;
}

bool ox_sheet_keeps(const ox_model *model, const char *output, ox_error *err)
{
    return !output || !ox_uses(model, output) ||
           ox_cli_error(err, OX_ARGUMENT, "%s: the output would replace weights of the model",
                        output);
}
