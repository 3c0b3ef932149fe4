/* Files and folders of Windows 10 and newer, whose code page for programs is UTF-8 by the manifest
 * of the command line. A file that is open can be renamed and removed, as POSIX has it, where the
 * file system knows such renames; else that is an error. */
#define WIN32_LEAN_AND_MEAN
#include "os.h"

#include <windows.h>

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SHARED = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE };

/* errno of what failed last. */
static bool fail(void)
{
    static const struct {
        DWORD code;
        int number;
    } known[] = {
        {ERROR_FILE_NOT_FOUND, ENOENT},      {ERROR_PATH_NOT_FOUND, ENOENT},
        {ERROR_INVALID_NAME, ENOENT},        {ERROR_BAD_PATHNAME, ENOENT},
        {ERROR_ACCESS_DENIED, EACCES},       {ERROR_SHARING_VIOLATION, EACCES},
        {ERROR_LOCK_VIOLATION, EACCES},      {ERROR_FILE_EXISTS, EEXIST},
        {ERROR_ALREADY_EXISTS, EEXIST},      {ERROR_NOT_ENOUGH_MEMORY, ENOMEM},
        {ERROR_OUTOFMEMORY, ENOMEM},         {ERROR_DISK_FULL, ENOSPC},
        {ERROR_HANDLE_DISK_FULL, ENOSPC},    {ERROR_DIRECTORY, ENOTDIR},
        {ERROR_DIR_NOT_EMPTY, ENOTEMPTY},    {ERROR_FILENAME_EXCED_RANGE, ENAMETOOLONG},
        {ERROR_NOT_A_REPARSE_POINT, EINVAL}, {ERROR_TOO_MANY_OPEN_FILES, EMFILE},
    };
    DWORD code = GetLastError();
    errno = EIO;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        errno = known[i].code == code ? known[i].number : errno;
    }
    return false;
}

/* ---- what a path stands for ------------------------------------------------------------- */

static bool describe(HANDLE handle, ox_os_info *info)
{
    BY_HANDLE_FILE_INFORMATION i;
    if (GetFileType(handle) != FILE_TYPE_DISK) {
        *info = (ox_os_info){.kind = OX_OS_OTHER, .inode = (uintptr_t)handle, .links = 1};
        return true;
    }
    if (!GetFileInformationByHandle(handle, &i)) {
        return fail();
    }
    /* hundreds of nanoseconds since 1601 */
    uint64_t time =
        (uint64_t)i.ftLastWriteTime.dwHighDateTime << 32 | i.ftLastWriteTime.dwLowDateTime;
    *info = (ox_os_info){
        .kind = i.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY ? OX_OS_FOLDER : OX_OS_FILE,
        .device = i.dwVolumeSerialNumber,
        .inode = (uint64_t)i.nFileIndexHigh << 32 | i.nFileIndexLow,
        .size = (uint64_t)i.nFileSizeHigh << 32 | i.nFileSizeLow,
        .links = i.nNumberOfLinks,
        .seconds = (int64_t)(time / 10000000) - INT64_C(11644473600),
        .nanoseconds = (int64_t)(time % 10000000) * 100,
    };
    return true;
}

static HANDLE open_to_look(const char *path, DWORD flags)
{
    return CreateFileA(path, FILE_READ_ATTRIBUTES, SHARED, NULL, OPEN_EXISTING,
                       FILE_FLAG_BACKUP_SEMANTICS | flags, NULL);
}

static bool look(const char *path, DWORD flags, ox_os_info *info)
{
    HANDLE handle = open_to_look(path, flags);
    if (handle == INVALID_HANDLE_VALUE) {
        return fail();
    }
    bool good = describe(handle, info);
    CloseHandle(handle);
    return good;
}

bool ox_os_stat(const char *path, ox_os_info *info)
{
    return look(path, 0, info);
}

bool ox_os_entry(const char *path, ox_os_info *info)
{
    return look(path, FILE_FLAG_OPEN_REPARSE_POINT, info);
}

static HANDLE handle_of(int fd)
{
    return (HANDLE)_get_osfhandle(fd);
}

bool ox_os_stat_of(int fd, ox_os_info *info)
{
    return describe(handle_of(fd), info);
}

bool ox_os_same(const ox_os_info *a, const ox_os_info *b)
{
    return a->device == b->device && a->inode == b->inode;
}

/* Temporary folders are the user's own. */
bool ox_os_is_mine(const ox_os_info *info)
{
    (void)info;
    return true;
}

const ox_os_char *ox_os_native(const char *path, ox_os_char room[OX_OS_PATH])
{
    if (MultiByteToWideChar(CP_ACP, 0, path, -1, room, OX_OS_PATH) == 0) {
        room[0] = L'\0';
    }
    return room;
}

const char *ox_os_last_separator(const char *path)
{
    const char *last = NULL;
    for (const char *c = path; *c != '\0'; c++) {
        bool drive = *c == ':' && c == path + 1;
        last = *c == '/' || *c == '\\' || drive ? c : last;
    }
    return last;
}

bool ox_os_is_absolute(const char *path)
{
    return path[0] == '/' || path[0] == '\\' || (path[0] != '\0' && path[1] == ':');
}

bool ox_os_real_path(const char *path, char *real)
{
    static const char prefix[] = "\\\\?\\";
    HANDLE handle = open_to_look(path, 0);
    if (handle == INVALID_HANDLE_VALUE) {
        return fail();
    }
    DWORD length = GetFinalPathNameByHandleA(handle, real, OX_OS_PATH, FILE_NAME_NORMALIZED);
    bool good = (length > 0 && length < OX_OS_PATH) || fail();
    CloseHandle(handle);
    if (good && strncmp(real, prefix, strlen(prefix)) == 0 && real[5] == ':') {
        memmove(real, real + strlen(prefix), strlen(real + strlen(prefix)) + 1);
    }
    for (char *c = real; good && *c != '\0'; c++) {
        *c = *c == '\\' ? '/' : *c;
    }
    return good;
}

/* Links are followed by the system. */
bool ox_os_read_link(const char *path, char *to)
{
    (void)path;
    to[0] = '\0';
    errno = EINVAL;
    return false;
}

bool ox_os_can_read(const char *path)
{
    return _access(path, 4) == 0;
}

bool ox_os_can_write(const char *path)
{
    return _access(path, 2) == 0;
}

/* A name that an open file may give up, where the file system can. */
static bool rename_as_posix(const char *from, const char *to)
{
    enum { REPLACE = 1, POSIX_SEMANTICS = 2, RENAME_INFO_EX = 22 };
    struct {
        DWORD flags;
        HANDLE root;
        DWORD length;
        WCHAR name[OX_OS_PATH];
    } info = {.flags = REPLACE | POSIX_SEMANTICS};
    WCHAR given[OX_OS_PATH];
    DWORD count = 0;
    if (MultiByteToWideChar(CP_ACP, 0, to, -1, given, OX_OS_PATH) > 0) {
        count = GetFullPathNameW(given, OX_OS_PATH, info.name, NULL);
    }
    if (count == 0 || count >= OX_OS_PATH) {
        return false;
    }
    info.length = count * (DWORD)sizeof(WCHAR);
    HANDLE handle = CreateFileA(from, DELETE | SYNCHRONIZE, SHARED, NULL, OPEN_EXISTING,
                                FILE_FLAG_BACKUP_SEMANTICS, NULL);
    if (handle == INVALID_HANDLE_VALUE) {
        return false;
    }
    bool good = SetFileInformationByHandle(handle, (FILE_INFO_BY_HANDLE_CLASS)RENAME_INFO_EX, &info,
                                           sizeof info);
    CloseHandle(handle);
    return good;
}

bool ox_os_rename(const char *from, const char *to)
{
    return rename_as_posix(from, to) || MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING) || fail();
}

bool ox_os_make_folder(const char *path)
{
    return CreateDirectoryA(path, NULL) || fail();
}

bool ox_os_remove_folder(const char *path)
{
    return RemoveDirectoryA(path) || fail();
}

const char *ox_os_temporary(void)
{
    static const char *const names[] = {"TMPDIR", "TEMP", "TMP"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *folder = getenv(names[i]);
        if (folder != NULL && folder[0] != '\0') {
            return folder;
        }
    }
    return ".";
}

bool ox_os_caches(char path[OX_OS_PATH])
{
    const char *folder = getenv("XDG_CACHE_HOME");
    if (folder == NULL || !ox_os_is_absolute(folder)) {
        folder = getenv("LOCALAPPDATA");
    }
    bool there = folder != NULL && ox_os_is_absolute(folder);
    int length = there ? snprintf(path, OX_OS_PATH, "%s", folder) : 0;
    return length > 0 && length < OX_OS_PATH;
}

/* ---- files ------------------------------------------------------------------------------ */

/* A descriptor of a file, in binary. */
static int take(HANDLE handle, int flags)
{
    if (handle == INVALID_HANDLE_VALUE) {
        fail();
        return -1;
    }
    int fd = _open_osfhandle((intptr_t)handle, flags | _O_BINARY | _O_NOINHERIT);
    if (fd < 0) {
        CloseHandle(handle);
    }
    return fd;
}

static int open_to_read(const char *path, DWORD flags)
{
    return take(CreateFileA(path, GENERIC_READ, SHARED, NULL, OPEN_EXISTING,
                            FILE_ATTRIBUTE_NORMAL | flags, NULL),
                _O_RDONLY);
}

int ox_os_open(const char *path)
{
    return open_to_read(path, 0);
}

int ox_os_open_file(const char *path)
{
    return open_to_read(path, FILE_FLAG_OPEN_REPARSE_POINT);
}

int ox_os_open_existing(const char *path)
{
    return take(
        CreateFileA(path, GENERIC_WRITE, SHARED, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL),
        _O_WRONLY);
}

int ox_os_duplicate(int fd)
{
    return _dup(fd);
}

bool ox_os_close(int fd)
{
    return _close(fd) == 0;
}

enum { AT_ONCE = 1 << 30 };

int64_t ox_os_read(int fd, void *data, size_t size)
{
    return _read(fd, data, size < AT_ONCE ? (unsigned)size : AT_ONCE);
}

int64_t ox_os_write(int fd, const void *data, size_t size)
{
    return _write(fd, data, size < AT_ONCE ? (unsigned)size : AT_ONCE);
}

bool ox_os_seek(int fd, uint64_t position)
{
    return _lseeki64(fd, (int64_t)position, SEEK_SET) >= 0;
}

bool ox_os_truncate(int fd, uint64_t size)
{
    errno_t number = _chsize_s(fd, (int64_t)size);
    errno = number;
    return number == 0;
}

bool ox_os_sync(int fd)
{
    return _commit(fd) == 0 || errno == EINVAL || errno == EBADF;
}

/* Files have those of their folder. */
bool ox_os_keep_permissions(int fd, const ox_os_info *of)
{
    (void)fd;
    (void)of;
    return true;
}

/* Of one byte far behind the end, so that nothing of the contents is locked. */
static bool lock(HANDLE handle, DWORD flags)
{
    OVERLAPPED at = {.OffsetHigh = 0x40000000};
    return LockFileEx(handle, flags, 0, 1, 0, &at) || fail();
}

bool ox_os_lock_used(int fd)
{
    return lock(handle_of(fd), 0);
}

bool ox_os_lock_unused(int fd)
{
    return lock(handle_of(fd), LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY);
}

bool ox_os_lock(int fd)
{
    return lock(handle_of(fd), LOCKFILE_EXCLUSIVE_LOCK);
}

int ox_os_open_nameless(const char *folder)
{
    char path[MAX_PATH];
    if (strlen(folder) > MAX_PATH - 15 || GetTempFileNameA(folder, "oxe", 0, path) == 0) {
        fail();
        return -1;
    }
    return take(CreateFileA(path, GENERIC_READ | GENERIC_WRITE, SHARED, NULL, CREATE_ALWAYS,
                            FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, NULL),
                _O_RDWR);
}

bool ox_os_is_terminal(int fd)
{
    return _isatty(fd) != 0;
}

/* There are no streams over functions: what is written goes to a temporary file first. */
struct ox_os_stream {
    ox_os_sink sink;
    FILE *file;
};

ox_os_stream *ox_os_stream_open(ox_os_sink sink)
{
    ox_os_stream *s = calloc(1, sizeof *s);
    int fd = s == NULL ? -1 : ox_os_open_nameless(ox_os_temporary());
    FILE *file = fd < 0 ? NULL : _fdopen(fd, "w+b");
    if (file == NULL) {
        if (fd >= 0) {
            _close(fd);
        }
        free(s);
        return NULL;
    }
    *s = (ox_os_stream){sink, file};
    return s;
}

FILE *ox_os_stream_file(ox_os_stream *stream)
{
    return stream->file;
}

static bool pass_on(ox_os_stream *s)
{
    char data[1 << 16];
    size_t size;
    bool good = fflush(s->file) == 0 && fseek(s->file, 0, SEEK_SET) == 0;
    while (good && (size = fread(data, 1, sizeof data, s->file)) > 0) {
        good = s->sink.write(s->sink.user, data, size);
    }
    return good && !ferror(s->file);
}

bool ox_os_stream_close(ox_os_stream *stream)
{
    bool good = pass_on(stream);
    fclose(stream->file);
    free(stream);
    return good;
}

/* ---- folders ---------------------------------------------------------------------------- */

struct ox_os_folder {
    HANDLE handle; /* keeps it in its place */
    char path[];
};

static ox_os_folder *open_folder(const char *path, DWORD share, DWORD flags)
{
    ox_os_folder *f = malloc(sizeof *f + strlen(path) + 1);
    if (f == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    strcpy(f->path, path);
    f->handle = CreateFileA(path, FILE_LIST_DIRECTORY, share, NULL, OPEN_EXISTING,
                            FILE_FLAG_BACKUP_SEMANTICS | flags, NULL);
    ox_os_info info;
    bool good = f->handle == INVALID_HANDLE_VALUE ? fail() : describe(f->handle, &info);
    if (good && info.kind != OX_OS_FOLDER) {
        errno = ENOTDIR;
        good = false;
    }
    if (!good) {
        ox_os_folder_close(f);
        return NULL;
    }
    return f;
}

ox_os_folder *ox_os_folder_open(const char *path)
{
    return open_folder(path, SHARED, 0);
}

/* "FOLDER/NAME"; false where that is too long. */
static bool join(char path[OX_OS_PATH], const char *folder, const char *name)
{
    int length = snprintf(path, OX_OS_PATH, "%s/%s", folder, name);
    if (length < 0 || length >= OX_OS_PATH) {
        errno = ENAMETOOLONG;
        return false;
    }
    return true;
}

ox_os_folder *ox_os_folder_open_in(const ox_os_folder *f, const char *name)
{
    char path[OX_OS_PATH];
    return join(path, f->path, name) ? open_folder(path, SHARED, FILE_FLAG_OPEN_REPARSE_POINT)
                                     : NULL;
}

void ox_os_folder_close(ox_os_folder *f)
{
    if (f != NULL) {
        if (f->handle != INVALID_HANDLE_VALUE) {
            CloseHandle(f->handle);
        }
        free(f);
    }
}

bool ox_os_folder_stat(const ox_os_folder *f, ox_os_info *info)
{
    return describe(f->handle, info);
}

bool ox_os_folder_entry(const ox_os_folder *f, const char *name, ox_os_info *info)
{
    char path[OX_OS_PATH];
    return join(path, f->path, name) && ox_os_entry(path, info);
}

size_t ox_os_folder_name_limit(const ox_os_folder *f)
{
    (void)f;
    return 0;
}

int ox_os_folder_read(const ox_os_folder *f, const char *name)
{
    char path[OX_OS_PATH];
    return join(path, f->path, name) ? ox_os_open_file(path) : -1;
}

int ox_os_folder_create(const ox_os_folder *f, const char *name, bool secret)
{
    (void)secret; /* files have the permissions of their folder */
    char path[OX_OS_PATH];
    return join(path, f->path, name)
               ? take(CreateFileA(path, GENERIC_READ | GENERIC_WRITE, SHARED, NULL, CREATE_NEW,
                                  FILE_ATTRIBUTE_NORMAL, NULL),
                      _O_RDWR)
               : -1;
}

bool ox_os_folder_rename(const ox_os_folder *f, const char *from, const char *to)
{
    char before[OX_OS_PATH], after[OX_OS_PATH];
    return join(before, f->path, from) && join(after, f->path, to) && ox_os_rename(before, after);
}

bool ox_os_folder_remove(const ox_os_folder *f, const char *name)
{
    char path[OX_OS_PATH];
    return join(path, f->path, name) && (DeleteFileA(path) || fail());
}

bool ox_os_folder_remove_folder(const ox_os_folder *f, const char *name)
{
    char path[OX_OS_PATH];
    return join(path, f->path, name) && ox_os_remove_folder(path);
}

/* Entries are written with their file. */
bool ox_os_folder_sync(const ox_os_folder *f)
{
    (void)f;
    return true;
}

/* A folder is locked by a handle that shares less than others ask for. */
static bool lock_folder(const ox_os_folder *f, DWORD share)
{
    ox_os_folder *own = (ox_os_folder *)(uintptr_t)f;
    CloseHandle(own->handle);
    own->handle = CreateFileA(f->path, FILE_LIST_DIRECTORY, share, NULL, OPEN_EXISTING,
                              FILE_FLAG_BACKUP_SEMANTICS, NULL);
    return own->handle != INVALID_HANDLE_VALUE || fail();
}

bool ox_os_folder_lock_used(const ox_os_folder *f)
{
    return lock_folder(f, SHARED);
}

bool ox_os_folder_lock_unused(const ox_os_folder *f)
{
    return lock_folder(f, FILE_SHARE_DELETE);
}

ox_os_folder *ox_os_folder_make_unique(char *path)
{
    enum { ATTEMPTS = 100, DIGITS = 6 };
    char *end = path + strlen(path) - DIGITS;
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        unsigned number = (unsigned)GetTickCount64() * 2654435761U + GetCurrentProcessId() + i;
        snprintf(end, DIGITS + 1, "%06x", number & 0xffffffU);
        if (CreateDirectoryA(path, NULL)) {
            return open_folder(path, SHARED, 0);
        }
        if (GetLastError() != ERROR_ALREADY_EXISTS) {
            break;
        }
    }
    fail();
    return NULL;
}

struct ox_os_list {
    HANDLE handle;
    WIN32_FIND_DATAA entry;
    bool first; /* its entry is still to be given */
    char pattern[];
};

static bool begin_list(ox_os_list *list)
{
    list->handle = FindFirstFileA(list->pattern, &list->entry);
    list->first = list->handle != INVALID_HANDLE_VALUE;
    return list->first || fail();
}

ox_os_list *ox_os_list_open(const char *path)
{
    ox_os_list *list = calloc(1, sizeof *list + strlen(path) + 3);
    if (list == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    strcat(strcpy(list->pattern, path), "/*");
    if (!begin_list(list)) {
        free(list);
        return NULL;
    }
    return list;
}

ox_os_list *ox_os_list_of(const ox_os_folder *f)
{
    return ox_os_list_open(f->path);
}

const char *ox_os_list_next(ox_os_list *list)
{
    errno = 0;
    if (list->first) {
        list->first = false;
        return list->entry.cFileName;
    }
    if (FindNextFileA(list->handle, &list->entry)) {
        return list->entry.cFileName;
    }
    if (GetLastError() != ERROR_NO_MORE_FILES) {
        fail();
    }
    return NULL;
}

void ox_os_list_again(ox_os_list *list)
{
    FindClose(list->handle);
    begin_list(list);
}

void ox_os_list_close(ox_os_list *list)
{
    if (list != NULL) {
        FindClose(list->handle);
        free(list);
    }
}
