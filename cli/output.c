/* Output files that appear whole or not at all: written beside their place, then renamed. */
#define _XOPEN_SOURCE 700
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool ox_output_is_direct(const char *path)
{
    struct stat info;
    return !strcmp(path, "-") || (!stat(path, &info) && !S_ISREG(info.st_mode));
}

static mode_t mode_of(const char *path)
{
    struct stat info;
    if (!stat(path, &info)) {
        return info.st_mode & 0777;
    }
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

static bool open_beside(ox_output *out, const char *path, ox_error *err)
{
    /* Through a symbolic link the file it points to is replaced, not the link. */
    char *real = realpath(path, NULL);
    out->path = real ? real : ox_cli_copy(path, err);
    out->beside = out->path ? ox_cli_format(err, "%s.XXXXXX", out->path) : NULL;
    if (!out->beside) {
        return false;
    }
    int fd = mkstemp(out->beside);
    if (fd < 0) {
        ox_cli_system_error(err, path, "write");
        free(out->beside);
        out->beside = NULL;
        return false;
    }
    if (!fchmod(fd, mode_of(out->path))) {
        out->file = fdopen(fd, "wb");
    }
    if (!out->file) {
        ox_cli_system_error(err, path, "write");
        close(fd);
        return false;
    }
    return true;
}

bool ox_output_begin(ox_output *out, const char *path, ox_error *err)
{
    *out = (ox_output){NULL, NULL, NULL};
    bool good;
    if (!strcmp(path, "-")) {
        out->path = ox_cli_copy("standard output", err);
        out->file = out->path ? stdout : NULL;
        good = out->path != NULL;
    } else if (ox_output_is_direct(path)) {
        out->path = ox_cli_copy(path, err);
        out->file = out->path ? fopen(path, "wb") : NULL;
        good = out->file != NULL;
        if (out->path && !good) {
            ox_cli_system_error(err, path, "write");
        }
    } else {
        good = open_beside(out, path, err);
    }
    if (!good) {
        ox_output_end(out, false, NULL);
    }
    return good;
}

bool ox_output_end(ox_output *out, bool good, ox_error *err)
{
    if (out->file) {
        errno = 0;
        bool written = !ferror(out->file) && !fflush(out->file);
        if (out->file != stdout && fclose(out->file) != 0) {
            written = false;
        }
        if (good && !written) {
            good = ox_cli_system_error(err, out->path, "write");
        }
        /* Reported here; the check at the end of the program shall not say it again. */
        if (!written && out->file == stdout) {
            clearerr(stdout);
        }
    }
    if (out->beside && good && rename(out->beside, out->path) != 0) {
        good = ox_cli_system_error(err, out->path, "write");
    }
    if (out->beside && !good) {
        remove(out->beside);
    }
    free(out->beside);
    free(out->path);
    *out = (ox_output){NULL, NULL, NULL};
    return good;
}
