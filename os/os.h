/* What the operating system gives beyond C11: files with locks, folders, mappings, signals,
 * libraries that are opened, a clock. posix_*.c have it for Linux, macOS and WebAssembly,
 * windows_*.c for Windows; no other file calls a system. Beyond C11 the others use what the C
 * libraries of all of these have: fdopen, fileno, fseeko, ftello and strcasecmp.
 *
 * What fails sets errno, of which ox_file_error and ox_cli_system_error make the message. */
#ifndef OX_OS_H
#define OX_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if !defined(_WIN32)
#include <signal.h>
#endif

#if defined(_WIN32)
#define OX_OS_LIBRARY(name) name ".dll"
#elif defined(__APPLE__)
#define OX_OS_LIBRARY(name) "lib" name ".dylib"
#else
#define OX_OS_LIBRARY(name) "lib" name ".so"
#endif

/* A stream is read by one thread. */
#if defined(_WIN32)
#define ox_os_getc(file) getc(file)
typedef wchar_t ox_os_char;
#else
#define ox_os_getc(file) getc_unlocked(file)
typedef char ox_os_char;
#endif

enum { OX_OS_INPUT, OX_OS_OUTPUT, OX_OS_ERRORS };
enum { OX_OS_PATH = 4096 };

/* ---- what a path stands for ------------------------------------------------------------- */

typedef enum ox_os_kind { OX_OS_FILE, OX_OS_FOLDER, OX_OS_OTHER } ox_os_kind;

typedef struct ox_os_info {
    ox_os_kind kind;
    uint64_t device, inode; /* the same of the same file */
    uint64_t size, links;
    int64_t seconds, nanoseconds; /* when it was changed */
    unsigned owner, group, mode;  /* 0 where a system has no such */
} ox_os_info;

/* False and errno where there is none. Links are followed, by ox_os_entry they are not. */
bool ox_os_stat(const char *path, ox_os_info *info);
bool ox_os_entry(const char *path, ox_os_info *info);
bool ox_os_stat_of(int fd, ox_os_info *info);

bool ox_os_same(const ox_os_info *a, const ox_os_info *b);

/* A path as the system spells it, in `room` where that is not as it is; what is too long for it is
 * cut. */
const ox_os_char *ox_os_native(const char *path, ox_os_char room[OX_OS_PATH]);

/* The last separator of folders, NULL where there is none. */
const char *ox_os_last_separator(const char *path);

/* Whether a path does not depend on the folder at hand. */
bool ox_os_is_absolute(const char *path);

/* The path without links and "..", separated by "/", into OX_OS_PATH bytes. */
bool ox_os_real_path(const char *path, char *real);

/* What a link says, into OX_OS_PATH bytes; false and errno EINVAL for what is none. */
bool ox_os_read_link(const char *path, char *to);

bool ox_os_can_read(const char *path);
bool ox_os_can_write(const char *path);

/* Replaces `to`. */
bool ox_os_rename(const char *from, const char *to);

bool ox_os_make_folder(const char *path);

/* An empty one. */
bool ox_os_remove_folder(const char *path);

/* TMPDIR, or what the system has in its place. */
const char *ox_os_temporary(void);

/* The folder of the user's caches: XDG_CACHE_HOME, or what the system has in its place; false where
 * there is none, or its path is too long. */
bool ox_os_caches(char path[OX_OS_PATH]);

/* ---- files ------------------------------------------------------------------------------ */

/* Descriptors; -1 and errno. */
int ox_os_open(const char *path);
int ox_os_open_file(const char *path);     /* no link; what is no file makes none wait */
int ox_os_open_existing(const char *path); /* to write to: a device, a pipe */
int ox_os_duplicate(int fd);
bool ox_os_close(int fd);

/* How many bytes, -1 and errno. */
int64_t ox_os_read(int fd, void *data, size_t size);
int64_t ox_os_write(int fd, const void *data, size_t size);

bool ox_os_seek(int fd, uint64_t position);
bool ox_os_truncate(int fd, uint64_t size);

/* Onto the disk. True where the file is of a kind that cannot be. */
bool ox_os_sync(int fd);

/* Gives it the owner, as far as the system lets us, and permissions of another. */
bool ox_os_keep_permissions(int fd, const ox_os_info *of);

/* A lock that its holder's end releases: on a file that is in use (shared), or that is about to be
 * removed (exclusive, false where it is in use). */
bool ox_os_lock_used(int fd);
bool ox_os_lock_unused(int fd);

/* The second kind, for which it waits. */
bool ox_os_lock(int fd);

/* A file in a folder that has no name, and goes with its last user. */
int ox_os_open_nameless(const char *folder);

bool ox_os_is_terminal(int fd);

/* A stream over functions; `seek` gets SEEK_SET alone. NULL without memory. It ends by
 * ox_os_stream_close: false where what it still held could not be written. */
typedef struct ox_os_stream ox_os_stream;
typedef struct ox_os_sink {
    bool (*write)(void *user, const void *data, size_t size);
    bool (*seek)(void *user, uint64_t position);
    void *user;
} ox_os_sink;
ox_os_stream *ox_os_stream_open(ox_os_sink sink);
FILE *ox_os_stream_file(ox_os_stream *stream);
bool ox_os_stream_close(ox_os_stream *stream);

/* ---- folders ---------------------------------------------------------------------------- */

/* A folder that stays the same whatever becomes of its path; NULL and errno. */
typedef struct ox_os_folder ox_os_folder;
ox_os_folder *ox_os_folder_open(const char *path);
ox_os_folder *ox_os_folder_open_in(const ox_os_folder *f, const char *name); /* no link */
void ox_os_folder_close(ox_os_folder *f);

bool ox_os_folder_stat(const ox_os_folder *f, ox_os_info *info);
bool ox_os_folder_entry(const ox_os_folder *f, const char *name, ox_os_info *info);

/* Most bytes of a name in it, 0 where that is not known. */
size_t ox_os_folder_name_limit(const ox_os_folder *f);

int ox_os_folder_read(const ox_os_folder *f, const char *name); /* no link */
int ox_os_folder_create(const ox_os_folder *f, const char *name, bool secret);
bool ox_os_folder_rename(const ox_os_folder *f, const char *from, const char *to);
bool ox_os_folder_remove(const ox_os_folder *f, const char *name);
bool ox_os_folder_remove_folder(const ox_os_folder *f, const char *name);
bool ox_os_folder_sync(const ox_os_folder *f);
bool ox_os_folder_lock_used(const ox_os_folder *f);
bool ox_os_folder_lock_unused(const ox_os_folder *f);

/* Makes one under a name that ends in XXXXXX, which are replaced. */
ox_os_folder *ox_os_folder_make_unique(char *path);

/* Whether it belongs to the user of this process. */
bool ox_os_is_mine(const ox_os_info *info);

/* The names in a folder, in no order; NULL and errno. The next is NULL at the end, and where errno
 * is no longer 0. */
typedef struct ox_os_list ox_os_list;
ox_os_list *ox_os_list_open(const char *path);
ox_os_list *ox_os_list_of(const ox_os_folder *f);
const char *ox_os_list_next(ox_os_list *list);
void ox_os_list_again(ox_os_list *list);
void ox_os_list_close(ox_os_list *list);

/* ---- memory ----------------------------------------------------------------------------- */

/* The contents of a file, to read; NULL and errno. It may be closed afterwards. */
void *ox_os_map(int fd, size_t size);

/* As many bytes of zeros in a file without a name. A full disk is an error here, and not a signal
 * later. */
void *ox_os_map_nameless(const char *folder, size_t size);

void ox_os_unmap(void *data, size_t size);

/* Lets the system take the pages that lie within out of memory: of a mapping it has them in a
 * file. */
void ox_os_drop(const void *mapping, size_t mapped, const void *data, size_t size);

/* Resident bytes of this process at most so far, at the moment; bytes of the machine that are free.
 * 0 where that is not known. Nothing is allocated. */
uint64_t ox_os_memory_most(void);
uint64_t ox_os_memory_now(void);
uint64_t ox_os_memory_free(void);

/* ---- the process ------------------------------------------------------------------------ */

/* What a program does first: standard streams that are closed stay unusable, a pipe that nobody
 * reads and a file that is too large are errors of writing, and a mapped file that is cut ends the
 * process with that message and exit code. Memory that is freed is given back in large blocks. */
bool ox_os_begin(const char *cut, int code);

/* Signals that end the process wait until they are let through, so that a file under way can be
 * removed before. `none`: nothing waits. */
typedef struct ox_os_held {
#if defined(_WIN32)
    bool held;
#else
    sigset_t mask;
    struct sigaction actions[3];
    size_t count;
#endif
} ox_os_held;
void ox_os_hold(ox_os_held *held, bool none);
void ox_os_let(const ox_os_held *held);

/* Whether one waits. */
bool ox_os_is_to_end(void);

/* The first signal that would end the process is noted, the next does what it did before. */
void ox_os_watch(ox_os_held *before);
int ox_os_watched(void);
void ox_os_unwatch(const ox_os_held *before);

/* What a number of errno stands for, into `size` bytes, which are returned. strerror may be called
 * by one thread only. */
const char *ox_os_reason(int number, char *room, size_t size);

/* Its number. */
long ox_os_process(void);

/* What the processor is called and can do, cut to `size`; what a program was made for where the
 * system says nothing. */
void ox_os_processor(char *text, size_t size);

/* Bytes that nobody can guess. */
bool ox_os_random(void *data, size_t size);

/* Seconds on a clock that only goes forward. */
double ox_os_seconds(void);

/* NULL without memory. */
typedef struct ox_os_mutex ox_os_mutex;
ox_os_mutex *ox_os_mutex_new(void);
void ox_os_mutex_lock(ox_os_mutex *m);
void ox_os_mutex_unlock(ox_os_mutex *m);
void ox_os_mutex_free(ox_os_mutex *m);

/* ---- libraries -------------------------------------------------------------------------- */

/* NULL, and why. A library is never closed. */
void *ox_os_library_open(const char *path, char *why, size_t size);
void *ox_os_library_symbol(void *library, const char *name);

/* The path of the file that this code is in. */
bool ox_os_library_path(char *path, size_t size);

#endif
