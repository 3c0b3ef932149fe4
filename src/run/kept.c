#include "run/kept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/table.h"
#include "run/plan.h"
#include "run/run.h"
#include "run/tail.h"

static const char FOLDER[] = "onnxexplainer", LOCK[] = "lock", KEY[] = "key";
static const char ENDING[] = ".plan", PART[] = ".part", MAGIC[8] = "oxplan3";

/* Bytes of one plan, of all; seconds that one may take to be written. */
static const uint64_t MOST = UINT64_C(1) << 30, MOST_OF_ALL = UINT64_C(4) << 30;
enum { MOST_SECONDS = 24 * 60 * 60 };

/* What stands behind a plan. */
typedef struct ending {
    char magic[sizeof MAGIC];
    uint64_t size, hash;
} ending;

/* ---- the folder ------------------------------------------------------------------------- */

static ox_os_folder *open_folder(void)
{
    char path[OX_OS_PATH];
    const char *named = getenv("ONNXEXPLAINER_CACHE");
    if (named != NULL) {
        if (named[0] != '\0') {
            ox_os_make_folder(named);
        }
        return named[0] == '\0' ? NULL : ox_os_folder_open(named);
    }
    if (!ox_os_caches(path)) {
        return NULL;
    }
    ox_os_make_folder(path);
    size_t length = strlen(path);
    int added = snprintf(path + length, sizeof path - length, "/%s", FOLDER);
    if (added < 0 || length + (size_t)added >= sizeof path) {
        return NULL;
    }
    ox_os_make_folder(path);
    return ox_os_folder_open(path);
}

static bool write_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        int64_t count = ox_os_write(fd, at, size);
        if (count <= 0) {
            return false;
        }
        at += count;
        size -= (size_t)count;
    }
    return true;
}

static bool read_all(int fd, void *data, size_t size)
{
    char *at = data;
    while (size > 0) {
        int64_t count = ox_os_read(fd, at, size);
        if (count <= 0) {
            return false;
        }
        at += count;
        size -= (size_t)count;
    }
    return true;
}

/* A new file beside `name`, into `part`. */
static int begin_file(const ox_os_folder *f, const char *name, char *part, size_t size)
{
    uint32_t number = 0;
    ox_os_random(&number, sizeof number);
    snprintf(part, size, "%s.%08lx%s", name, (unsigned long)number, PART);
    return ox_os_folder_create(f, part, true);
}

/* Its place, where it is whole. */
static void end_file(const ox_os_folder *f, int fd, bool good, const char *part, const char *name)
{
    good = ox_os_close(fd) && good;
    if (!good || !ox_os_folder_rename(f, part, name)) {
        ox_os_folder_remove(f, part);
    }
}

static bool read_secret(const ox_os_folder *f, uint64_t *secret)
{
    int fd = ox_os_folder_read(f, KEY);
    bool good = fd >= 0 && read_all(fd, secret, sizeof *secret);
    if (fd >= 0) {
        ox_os_close(fd);
    }
    return good;
}

/* Waits for it; -1 where there is none. */
static int take_lock(const ox_os_folder *f)
{
    int fd = ox_os_folder_create(f, LOCK, true);
    if (fd < 0 && errno == EEXIST) {
        fd = ox_os_folder_read(f, LOCK);
    }
    if (fd >= 0) {
        ox_os_lock(fd);
    }
    return fd;
}

static void make_secret(const ox_os_folder *f)
{
    char part[64];
    uint64_t secret;
    int fd = ox_os_random(&secret, sizeof secret) ? begin_file(f, KEY, part, sizeof part) : -1;
    if (fd >= 0) {
        end_file(f, fd, write_all(fd, &secret, sizeof secret), part, KEY);
    }
}

/* With it, nobody but the user can make a model that is found under another's name. */
static bool find_secret(const ox_os_folder *f, uint64_t *secret)
{
    if (read_secret(f, secret)) {
        return true;
    }
    int lock = take_lock(f);
    bool there = read_secret(f, secret); /* by now */
    if (!there) {
        make_secret(f);
    }
    if (lock >= 0) {
        ox_os_close(lock);
    }
    return there || read_secret(f, secret);
}

/* ---- names ------------------------------------------------------------------------------ */

static uint64_t hash_file(uint64_t hash, const char *path)
{
    ox_os_info info;
    if (ox_os_stat(path, &info)) {
        const uint64_t of[] = {info.size, (uint64_t)info.seconds, (uint64_t)info.nanoseconds};
        hash = ox_hash(hash, of, sizeof of);
    }
    return ox_hash(hash, path, strlen(path));
}

static uint64_t hash_machine(uint64_t hash, const ox_session_options *options)
{
    char text[8192] = "";
    ox_os_processor(text, sizeof text);
    hash = ox_hash(hash, text, strlen(text));
    ox_runtime runtime;
    if (ox_runtime_find(options->runtime, &runtime, NULL)) {
        hash = ox_hash(hash, runtime.version, strlen(runtime.version));
    }
    if (ox_os_library_path(text, sizeof text)) {
        hash = hash_file(hash, text);
    }
    if (ox_kernels_path(text, sizeof text)) {
        hash = hash_file(hash, text);
    }
    const char *isa = getenv("ONNXEXPLAINER_ISA");
    hash = ox_hash(hash, isa == NULL ? "" : isa, isa == NULL ? 0 : strlen(isa));
    return ox_hash(hash, &options->threads, sizeof options->threads);
}

static bool add_to_hash(void *user, const void *data, size_t size)
{
    uint64_t *hash = user;
    *hash = ox_hash(*hash, data, size);
    return true;
}

/* The bytes of a file into *hash; false where it cannot be read, or other files belong to it: these
 * have their place under a key "location". */
static bool hash_contents(uint64_t *hash, const char *path)
{
    static const char elsewhere[] = "location";
    enum { BEFORE = sizeof elsewhere - 2, ROOM = 1 << 16 };
    char *room = calloc(BEFORE + ROOM, 1);
    int fd = room == NULL ? -1 : ox_os_open(path);
    int64_t size = fd < 0 ? -1 : 1;
    size_t left;
    for (size_t before = 0; size > 0; before = BEFORE) {
        size = ox_os_read(fd, room + BEFORE, ROOM);
        size_t known = size < 0 ? 0 : (size_t)size;
        const ox_tail part = {room + BEFORE - before, before + known};
        if (ox_tail_find(&part, elsewhere, &left) != NULL) {
            size = -1;
        }
        *hash = ox_hash_large(*hash, room + BEFORE, known);
        memmove(room, room + known, BEFORE);
    }
    if (fd >= 0) {
        ox_os_close(fd);
    }
    free(room);
    return size == 0;
}

/* The folder, with the name of what is found by `hash`. */
static void open_named(ox_kept *k, const ox_session_options *options, ox_os_folder *f,
                       uint64_t hash)
{
    k->folder = f;
    snprintf(k->name, sizeof k->name, "%016llx%016llx%s", (unsigned long long)hash,
             (unsigned long long)hash_machine(k->secret, options), ENDING);
}

/* NULL where nothing can be kept. */
static ox_os_folder *open_mine(ox_kept *k)
{
    *k = (ox_kept)OX_KEPT_INIT;
    ox_os_folder *f = open_folder();
    ox_os_info info;
    if (f != NULL && ox_os_folder_stat(f, &info) && ox_os_is_mine(&info) &&
        find_secret(f, &k->secret)) {
        return f;
    }
    ox_os_folder_close(f);
    return NULL;
}

void ox_kept_open(ox_kept *k, const ox_model *explained, const ox_session_options *options)
{
    ox_os_folder *f = open_mine(k);
    uint64_t hash = k->secret;
    if (f != NULL && ox_serialize(explained, add_to_hash, &hash, NULL)) {
        open_named(k, options, f, hash);
    } else {
        ox_os_folder_close(f);
    }
}

void ox_kept_open_file(ox_kept *k, const char *path, const ox_session_options *options)
{
    ox_os_folder *f = open_mine(k);
    uint64_t hash = k->secret;
    if (f != NULL && hash_contents(&hash, path)) {
        open_named(k, options, f, hash);
        k->of = hash;
    } else {
        ox_os_folder_close(f);
    }
}

bool ox_kept_is_of(const ox_kept *k, const char *path)
{
    uint64_t hash = k->secret;
    return k->folder != NULL && hash_contents(&hash, path) && hash == k->of;
}

void ox_kept_close(ox_kept *k)
{
    if (k->mapping != NULL) {
        ox_os_unmap(k->mapping, k->mapped);
    }
    if (k->lock >= 0) {
        ox_os_close(k->lock);
    }
    ox_os_folder_close(k->folder);
    *k = (ox_kept)OX_KEPT_INIT;
}

void ox_kept_lock(ox_kept *k)
{
    if (k->folder != NULL) {
        k->lock = take_lock(k->folder);
    }
}

/* ---- plans ------------------------------------------------------------------------------ */

ox_kept_what ox_kept_find(ox_kept *k, const void **data, size_t *size)
{
    int fd = k->folder == NULL ? -1 : ox_os_folder_read(k->folder, k->name);
    ox_os_info info;
    ending end;
    bool good = fd >= 0 && ox_os_stat_of(fd, &info) && info.kind == OX_OS_FILE &&
                ox_os_is_mine(&info) && info.size >= sizeof end && info.size < SIZE_MAX;
    if (good) {
        k->mapped = (size_t)info.size;
        k->mapping = ox_os_map(fd, k->mapped);
    }
    if (fd >= 0) {
        ox_os_close(fd);
    }
    if (!good || k->mapping == NULL) {
        return OX_KEPT_NOTHING;
    }
    *data = k->mapping;
    *size = k->mapped - sizeof end;
    memcpy(&end, (const char *)k->mapping + *size, sizeof end);
    if (memcmp(end.magic, MAGIC, sizeof MAGIC) != 0 || end.size != *size ||
        end.hash != ox_hash_large(k->secret, *data, *size)) {
        ox_os_unmap(k->mapping, k->mapped);
        k->mapping = NULL;
        ox_kept_drop(k);
        return OX_KEPT_NOTHING;
    }
    return *size == 0 ? OX_KEPT_NO_PLAN : OX_KEPT_PLAN;
}

void ox_kept_drop(const ox_kept *k)
{
    if (k->folder != NULL) {
        ox_os_folder_remove(k->folder, k->name);
    }
}

/* ---- writing ---------------------------------------------------------------------------- */

static bool ends_in(const char *name, const char *with)
{
    size_t length = strlen(name), tail = strlen(with);
    return length > tail && strcmp(name + length - tail, with) == 0;
}

/* The oldest plan but our own into `oldest`; removes parts of such as ended before they were
 * written. Returns the bytes of all. */
static uint64_t look_around(const ox_kept *k, char *oldest, size_t size)
{
    uint64_t sum = 0;
    int64_t least = INT64_MAX;
    ox_os_list *list = ox_os_list_of(k->folder);
    for (const char *name; list != NULL && (name = ox_os_list_next(list)) != NULL;) {
        ox_os_info info;
        bool plan = ends_in(name, ENDING), part = ends_in(name, PART);
        if (!(plan || part) || !ox_os_folder_entry(k->folder, name, &info)) {
            continue;
        }
        if (part && info.seconds + MOST_SECONDS < (int64_t)time(NULL)) {
            ox_os_folder_remove(k->folder, name);
        }
        sum += plan ? info.size : 0;
        if (plan && info.seconds < least && strcmp(name, k->name) != 0 && strlen(name) < size) {
            least = info.seconds;
            strcpy(oldest, name);
        }
    }
    ox_os_list_close(list);
    return sum;
}

static void make_room(const ox_kept *k)
{
    char oldest[128];
    do {
        oldest[0] = '\0';
    } while (look_around(k, oldest, sizeof oldest) > MOST_OF_ALL && oldest[0] != '\0' &&
             ox_os_folder_remove(k->folder, oldest));
}

typedef struct stream {
    int fd;
    uint64_t size;
} stream;

static bool append(stream *s, const void *data, size_t size)
{
    s->size += size;
    return s->size <= MOST && write_all(s->fd, data, size);
}

static bool count(void *user, const void *data, size_t size)
{
    uint64_t *sum = user;
    (void)data;
    *sum += size;
    return *sum <= MOST;
}

bool ox_kept_takes(const ox_kept *k, const ox_model *plan)
{
    uint64_t size = 0;
    return k->folder != NULL && ox_serialize(plan, count, &size, NULL);
}

static bool write_plan(stream *s, const char *path)
{
    enum { ROOM = 1 << 16 };
    FILE *file = fopen(path, "rb");
    char *room = malloc(ROOM);
    size_t size = ROOM;
    bool good = file != NULL && room != NULL;
    while (good && size == ROOM) {
        size = fread(room, 1, ROOM, file);
        good = append(s, room, size) && !ferror(file);
    }
    if (file != NULL) {
        fclose(file);
    }
    free(room);
    return good;
}

/* The hash of what was written, read back as the next session will: of all bytes at once. */
static bool write_ending(const ox_kept *k, const stream *s)
{
    ending end = {.size = s->size};
    memcpy(end.magic, MAGIC, sizeof MAGIC);
    void *data = s->size == 0 ? NULL : ox_os_map(s->fd, (size_t)s->size);
    if (s->size > 0 && data == NULL) {
        return false;
    }
    end.hash = ox_hash_large(k->secret, data == NULL ? "" : data, (size_t)s->size);
    if (data != NULL) {
        ox_os_unmap(data, (size_t)s->size);
    }
    return write_all(s->fd, &end, sizeof end);
}

void ox_kept_write(const ox_kept *k, const char *path)
{
    char part[sizeof k->name + 32];
    int fd = k->folder == NULL ? -1 : begin_file(k->folder, k->name, part, sizeof part);
    if (fd < 0) {
        return;
    }
    stream s = {.fd = fd};
    bool good = path == NULL || write_plan(&s, path);
    end_file(k->folder, fd, good && write_ending(k, &s), part, k->name);
    make_room(k);
}
