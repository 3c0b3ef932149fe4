/* Memory, signals, threads and libraries of Windows. */
#define _CRT_RAND_S
#define WIN32_LEAN_AND_MEAN
#define PSAPI_VERSION 2 /* of kernel32 */
#include "os.h"

#include <windows.h>

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <psapi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ----------------------------------------------------------------------------- */

static void *map(int fd, size_t size, DWORD protection, DWORD access)
{
    const uint64_t bytes = size;
    HANDLE file = (HANDLE)_get_osfhandle(fd);
    HANDLE mapping =
        CreateFileMappingA(file, NULL, protection, (DWORD)(bytes >> 32), (DWORD)bytes, NULL);
    void *data = mapping == NULL ? NULL : MapViewOfFile(mapping, access, 0, 0, size);
    DWORD code = GetLastError();
    if (mapping != NULL) {
        CloseHandle(mapping);
    }
    errno = code == ERROR_DISK_FULL ? ENOSPC : ENOMEM;
    return data;
}

void *ox_os_map(int fd, size_t size)
{
    return map(fd, size, PAGE_READONLY, FILE_MAP_READ);
}

/* The mapping makes the file as long, and fails where the disk is full. */
void *ox_os_map_nameless(const char *folder, size_t size)
{
    int fd = ox_os_open_nameless(folder);
    if (fd < 0) {
        return NULL;
    }
    void *data = map(fd, size, PAGE_READWRITE, FILE_MAP_WRITE);
    int number = errno;
    ox_os_close(fd);
    errno = number;
    return data;
}

void ox_os_unmap(void *data, size_t size)
{
    (void)size;
    UnmapViewOfFile(data);
}

/* To unlock what is not locked takes it out of the working set. */
void ox_os_drop(const void *mapping, size_t mapped, const void *data, size_t size)
{
    (void)mapping;
    (void)mapped;
    VirtualUnlock((void *)(uintptr_t)data, size);
}

static PROCESS_MEMORY_COUNTERS counters(void)
{
    PROCESS_MEMORY_COUNTERS c = {.cb = sizeof c};
    GetProcessMemoryInfo(GetCurrentProcess(), &c, sizeof c);
    return c;
}

uint64_t ox_os_memory_most(void)
{
    return counters().PeakWorkingSetSize;
}

uint64_t ox_os_memory_now(void)
{
    return counters().WorkingSetSize;
}

uint64_t ox_os_memory_free(void)
{
    MEMORYSTATUSEX status = {.dwLength = sizeof status};
    return GlobalMemoryStatusEx(&status) ? status.ullAvailPhys : 0;
}

/* ---- the process ------------------------------------------------------------------------ */

static const char *cut_message;
static int cut_code;

static LONG CALLBACK report_cut(EXCEPTION_POINTERS *e)
{
    if (e->ExceptionRecord->ExceptionCode == EXCEPTION_IN_PAGE_ERROR &&
        _write(OX_OS_ERRORS, cut_message, (unsigned)strlen(cut_message)) > 0) {
        ExitProcess((UINT)cut_code);
    }
    return EXCEPTION_CONTINUE_SEARCH;
}

bool ox_os_begin(const char *cut, int code)
{
    cut_message = cut;
    cut_code = code;
    AddVectoredExceptionHandler(1, report_cut);
    for (int fd = OX_OS_INPUT; fd <= OX_OS_ERRORS; fd++) { /* bytes as they are */
        _setmode(fd, _O_BINARY);
    }
    return true;
}

static volatile LONG ended; /* by the console */

static BOOL WINAPI note_end(DWORD event)
{
    bool interrupt = event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT;
    InterlockedExchange(&ended, interrupt ? SIGINT : SIGTERM);
    return TRUE;
}

static BOOL WINAPI note_first(DWORD event)
{
    return ended == 0 && note_end(event);
}

void ox_os_hold(ox_os_held *held, bool none)
{
    held->held = !none;
    if (held->held) {
        SetConsoleCtrlHandler(note_end, TRUE);
    }
}

void ox_os_let(const ox_os_held *held)
{
    if (held->held) {
        SetConsoleCtrlHandler(note_end, FALSE);
        if (ended != 0) {
            ExitProcess((UINT)STATUS_CONTROL_C_EXIT);
        }
    }
}

bool ox_os_is_to_end(void)
{
    return ended != 0;
}

void ox_os_watch(ox_os_held *before)
{
    before->held = true;
    ended = 0;
    SetConsoleCtrlHandler(note_first, TRUE);
}

int ox_os_watched(void)
{
    return (int)ended;
}

void ox_os_unwatch(const ox_os_held *before)
{
    (void)before;
    SetConsoleCtrlHandler(note_first, FALSE);
    ended = 0;
}

const char *ox_os_reason(int number, char *room, size_t size)
{
    if (strerror_s(room, size, number) != 0) {
        snprintf(room, size, "error %d", number);
    }
    return room;
}

long ox_os_process(void)
{
    return (long)GetCurrentProcessId();
}

void ox_os_processor(char *text, size_t size)
{
    static const char *const names[] = {"PROCESSOR_IDENTIFIER", "PROCESSOR_ARCHITECTURE",
                                        "NUMBER_OF_PROCESSORS"};
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names && used < size; i++) {
        const char *value = getenv(names[i]);
        used += (size_t)snprintf(text + used, size - used, "%s ", value == NULL ? "" : value);
    }
}

bool ox_os_random(void *data, size_t size)
{
    unsigned char *to = data;
    for (size_t i = 0; i < size; i++) {
        unsigned int number;
        if (rand_s(&number) != 0) {
            return false;
        }
        to[i] = (unsigned char)number;
    }
    return true;
}

double ox_os_seconds(void)
{
    LARGE_INTEGER now, second;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&second);
    return (double)now.QuadPart / (double)second.QuadPart;
}

struct ox_os_mutex {
    SRWLOCK lock;
};

ox_os_mutex *ox_os_mutex_new(void)
{
    return calloc(1, sizeof(ox_os_mutex)); /* SRWLOCK_INIT */
}

void ox_os_mutex_lock(ox_os_mutex *m)
{
    AcquireSRWLockExclusive(&m->lock);
}

void ox_os_mutex_unlock(ox_os_mutex *m)
{
    ReleaseSRWLockExclusive(&m->lock);
}

void ox_os_mutex_free(ox_os_mutex *m)
{
    free(m);
}

/* ---- libraries -------------------------------------------------------------------------- */

void *ox_os_library_open(const char *path, char *why, size_t size)
{
    HMODULE library = LoadLibraryA(path);
    if (library == NULL) {
        snprintf(why, size, "cannot be opened (error %lu of Windows)", GetLastError());
    }
    return library;
}

void *ox_os_library_symbol(void *library, const char *name)
{
    FARPROC function = GetProcAddress(library, name);
    void *symbol;
    memcpy(&symbol, &function, sizeof symbol); /* ISO C has no cast from function to object */
    return symbol;
}

bool ox_os_library_path(char *path, size_t size)
{
    static const char here[] = "";
    HMODULE module;
    DWORD from =
        GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
    DWORD length =
        GetModuleHandleExA(from, here, &module) ? GetModuleFileNameA(module, path, (DWORD)size) : 0;
    return length > 0 && length < size;
}
