/* Models with a second file, written by processes that are killed, stopped or refused at each of
 * their system calls in turn: there is always a whole model with its own data, and the next run
 * leaves nothing but what it wrote. */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/scratch.h"
#include "model/model.h"
#include "shape/shape.h"

/* ---- system calls ---------------------------------------------------------------------- */

static int calls_left;   /* until the one that something happens at; 0: nothing */
static int signal_there; /* that ends or stops the process, 0: the call fails with errno_there */
static int errno_there;

static bool refused(void)
{
    if (calls_left == 0 || --calls_left > 0) {
        return false;
    }
    if (signal_there != 0) {
        raise(signal_there);
        return false;
    }
    errno = errno_there;
    return true;
}

int __real_flock(int fd, int operation);
ssize_t __real_write(int fd, const void *data, size_t size);
int __real_fsync(int fd);
int __real_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __real_unlinkat(int folder, const char *path, int flags);
int __wrap_flock(int fd, int operation);
ssize_t __wrap_write(int fd, const void *data, size_t size);
int __wrap_fsync(int fd);
int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __wrap_unlinkat(int folder, const char *path, int flags);

int __wrap_flock(int fd, int operation)
{
    return refused() ? -1 : __real_flock(fd, operation);
}

ssize_t __wrap_write(int fd, const void *data, size_t size)
{
    return refused() ? -1 : __real_write(fd, data, size);
}

int __wrap_fsync(int fd)
{
    return refused() ? -1 : __real_fsync(fd);
}

int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return refused() ? -1 : __real_renameat(from_folder, from, to_folder, to);
}

int __wrap_unlinkat(int folder, const char *path, int flags)
{
    return refused() ? -1 : __real_unlinkat(folder, path, flags);
}

/* ---- models ---------------------------------------------------------------------------- */

enum { WEIGHTS = 100000 };
static unsigned char weights[WEIGHTS];

static char folder[] = "/tmp/onnxexplainer.XXXXXX", path[64];

/* `value` stands in the model itself and in every byte of its data. */
static void make_model(void *user)
{
    ox_model *m = user;
    ox_model_set_opset(m, "", 18);
    m->graph = ox_graph_new(m->arena, ox_shape_infer, "main");
    int64_t shape[1] = {WEIGHTS};
    ox_const w = {.type = OX_UINT8, .rank = 1, .dims = shape, .data = weights, .size = WEIGHTS};
    ox_const tag = {.type = OX_UINT8, .rank = 0, .data = weights, .size = 1};
    ox_graph_output(m->graph, ox_graph_constant(m->graph, "w", &w), "w");
    ox_graph_output(m->graph, ox_graph_constant(m->graph, "tag", &tag), "tag");
    ox_model_publish(m);
}

static bool write_value(unsigned char value, ox_error *err)
{
    memset(weights, value, sizeof weights);
    ox_model *m = ox_model_new(err);
    assert(m != NULL && ox_arena_try(m->arena, make_model, m, err));
    bool good = ox_write_split(m, path, err);
    ox_free(m);
    return good;
}

/* The value of the model that stands there, which must be whole. */
static unsigned char read_value(void)
{
    ox_error err = {0};
    ox_model *m = ox_read(path, &err);
    if (m == NULL) {
        fprintf(stderr, "%s\n", err.message);
    }
    assert(m != NULL);
    const unsigned char *w = ox_graph_find(m->graph, "w")->constant->data;
    unsigned char tag = *(const unsigned char *)ox_graph_find(m->graph, "tag")->constant->data;
    for (size_t i = 0; i < WEIGHTS; i++) {
        assert(w[i] == tag);
    }
    ox_free(m);
    return tag;
}

/* Files in the folder whose names end so. */
static int count_files(const char *end)
{
    DIR *list = opendir(folder);
    int count = 0;
    assert(list != NULL);
    for (const struct dirent *e; (e = readdir(list)) != NULL;) {
        size_t length = strlen(e->d_name);
        count += length > strlen(end) && strcmp(e->d_name + length - strlen(end), end) == 0;
    }
    closedir(list);
    return count;
}

static void check_folder(void)
{
    assert(count_files(".onnx") == 1 && count_files(".data") == 1 && count_files(".tmp") == 0);
}

/* ---- tests ----------------------------------------------------------------------------- */

/* A process that writes `value` and does so at its call `n`. */
static pid_t begin(unsigned char value, int n, int what)
{
    pid_t pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        ox_error err = {0};
        calls_left = n;
        signal_there = what;
        _exit(write_value(value, &err) ? 0 : 1);
    }
    return pid;
}

static void test_killed(void)
{
    ox_error err = {0};
    int status = 0, n = 0, left = 0;
    do {
        assert(write_value(1, &err));
        check_folder();
        pid_t pid = begin(2, ++n, SIGKILL);
        assert(waitpid(pid, &status, 0) == pid);
        assert(read_value() <= 2);
        left += count_files(".tmp") > 0 || count_files(".data") > 1;
    } while (WIFSIGNALED(status));
    assert(WEXITSTATUS(status) == 0 && read_value() == 2);
    check_folder();
    assert(n > 10 && left > 5);
    printf("killed at %d calls, %d times something was left to clean\n", n - 1, left);
}

/* What is stopped is alive: another run takes nothing from it. */
static void test_stopped(void)
{
    ox_error err = {0};
    int status = 0;
    for (int n = 1;; n++) {
        assert(write_value(1, &err));
        pid_t pid = begin(2, n, SIGSTOP);
        assert(waitpid(pid, &status, WUNTRACED) == pid);
        if (WIFEXITED(status)) {
            break;
        }
        assert(write_value(3, &err) && read_value() == 3);
        assert(kill(pid, SIGCONT) == 0 && waitpid(pid, &status, 0) == pid);
        assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        unsigned char last = read_value();
        assert(last == 2 || last == 3);
    }
    assert(write_value(1, &err));
    check_folder();
}

/* A call that fails: one line, and either model whole. */
static void test_refused(void)
{
    bool good = false;
    signal_there = 0;
    errno_there = ENOSPC;
    for (int n = 1; calls_left == 0; n++) {
        ox_error err = {0};
        assert(write_value(1, &err));
        calls_left = n;
        good = write_value(2, &err);
        if (calls_left > 0) {
            break;
        }
        assert(good || strstr(err.message, "m.onnx: cannot write: no space left on device"));
        assert(count_files(".tmp") <= 1); /* where removing it failed */
        assert(read_value() == 2 || !good);
    }
    calls_left = 0;
    assert(good);
    ox_error err = {0};
    assert(write_value(1, &err));
    check_folder();
}

/* The data of a model with another name goes on being used. */
static void test_own_data_stays(void)
{
    ox_error err = {0};
    char moved[80];
    snprintf(moved, sizeof moved, "%s/moved.onnx", folder);
    assert(write_value(1, &err) && rename(path, moved) == 0);
    ox_model *m = ox_read(moved, &err);
    assert(m != NULL && !ox_uses(m, moved) && write_value(2, &err));
    ox_free(m);
    /* written from it, the model shares its data; written by others it does not */
    assert(ox_read(moved, &err) == NULL && err.code == OX_INVALID);
    assert(rename(path, moved) == 0);
    m = ox_read(moved, &err);
    assert(m != NULL && ox_write(m, path, &err));
    ox_free(m);
    assert(read_value() == 2 && count_files(".data") == 1 && remove(moved) == 0);
}

/* Folders for ONNX Runtime: those of killed runs go, those in use stay. */
static void test_scratch(void)
{
    ox_error err = {0};
    ox_scratch alive, s;
    char left[sizeof folder + 32], file[sizeof left + 16];
    assert(setenv("TMPDIR", folder, 1) == 0 && ox_scratch_open(&alive, &err));
    snprintf(left, sizeof left, "%s/onnxexplainer-abcdef", folder);
    snprintf(file, sizeof file, "%s/model.onnx", left);
    assert(mkdir(left, 0700) == 0 && symlink("nothing", file) == 0);
    assert(ox_scratch_open(&s, &err) && access(left, F_OK) != 0 && access(alive.path, F_OK) == 0);
    snprintf(file, sizeof file, "%s/model.onnx", s.path);
    assert(symlink("nothing", file) == 0);
    ox_scratch_close(&s);
    ox_scratch_close(&alive);
    assert(count_files(".onnx") == 1 && count_files("abcdef") == 0);
    assert(setenv("TMPDIR", "/none", 1) == 0 && !ox_scratch_open(&s, &err));
    assert(strcmp(err.message, "/none: cannot write: no such file or directory") == 0);
}

int main(void)
{
    assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/m.onnx", folder);
    test_killed();
    test_stopped();
    test_refused();
    test_own_data_stays();
    test_scratch();
    ox_error err = {0};
    char command[128];
    assert(write_value(1, &err));
    check_folder();
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) == 0 ? 0 : 1;
}
