/* A file system that fails: loaded before libc, it lets calls below some folders end with an error.

   Unarmed it does nothing. `fault_arm` names the folders, which call is to fail (the n-th, counted from 1; 0: none),
   how many from there on, with which errno, and whether what was asked for is done all the same (the answer got lost).
   Each call below the folders is written to a log as "NUMBER KIND PATH", one that failed as "NUMBER! KIND PATH". */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static char roots[4][PATH_MAX];
static int root_count, log_to = -1, failing_call, failing_calls, failing_errno, is_done_anyway, is_armed;
static int calls;
static __thread int is_paused;

void fault_arm(const char **folders, int count, int call, int times, int error, int done_anyway, int log) {
    root_count = count;
    for (int i = 0; i < count; i++) snprintf(roots[i], PATH_MAX, "%s", folders[i]);
    failing_call = call; failing_calls = times; failing_errno = error; is_done_anyway = done_anyway; log_to = log;
    calls = 0;
    is_armed = 1;
}
void fault_pause(int pauses) { is_paused = pauses; }

static int is_below(const char *path) {
    for (int i = 0; i < root_count; i++) {
        size_t length = strlen(roots[i]);
        if (!strncmp(path, roots[i], length) && (path[length] == '/' || !path[length])) return 1;
    }
    return 0;
}

static int path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0;
}

/* Whether this call is to fail: 0 no, 1 instead of being done, 2 after it was done. */
static int judge(const char *kind, int directory, const char *name) {
    if (!is_armed || is_paused) return 0;
    int before = errno, verdict = 0;
    char path[2 * PATH_MAX + 2] = "";
    if (name && name[0] == '/') snprintf(path, sizeof path, "%s", name);
    else if (directory >= 0 && path_of(directory, path) && name) {
        strcat(path, "/");
        strncat(path, name, PATH_MAX);
    }
    if (is_below(path)) {
        pthread_mutex_lock(&guard);
        int number = ++calls;
        int fails = failing_call && number >= failing_call && number < failing_call + failing_calls;
        if (fails) verdict = is_done_anyway ? 2 : 1;
        if (log_to >= 0) {
            char line[2 * PATH_MAX + 64];
            int length = snprintf(line, sizeof line, "%d%s %s %s\n", number, fails ? "!" : "", kind, path);
            syscall(SYS_write, log_to, line, length);
        }
        pthread_mutex_unlock(&guard);
    }
    errno = before;
    return verdict;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL(value) do { errno = failing_errno; return value; } while (0)
#define WRAP(type, bad, name, kind, directory, path, parameters, ...)                                       \
    type name parameters {                                                                                 \
        static __typeof__(&name) real;                                                                     \
        if (!real) real = REAL(name);                                                                      \
        int verdict = judge(kind, directory, path);                                                        \
        if (verdict == 1) FAIL(bad);                                                                       \
        type result = real(__VA_ARGS__);                                                                   \
        if (verdict == 2) FAIL(bad);                                                                       \
        return result;                                                                                     \
    }

/* An open that fails gives no descriptor, and so loses the one that it got. */
#define OPEN(name, directory, parameters, ...)                                                              \
    int name parameters {                                                                                  \
        static int (*real)();                                                                              \
        if (!real) real = (int (*)())dlsym(RTLD_NEXT, #name);                                              \
        va_list rest;                                                                                      \
        va_start(rest, flags);                                                                             \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                            \
        va_end(rest);                                                                                      \
        int verdict = judge(flags & O_CREAT ? "create" : "open", directory, path);                         \
        if (verdict == 1) FAIL(-1);                                                                        \
        int result = real(__VA_ARGS__, flags, mode);                                                       \
        if (verdict == 2) {                                                                                \
            if (result >= 0) syscall(SYS_close, result);                                                   \
            FAIL(-1);                                                                                      \
        }                                                                                                  \
        return result;                                                                                     \
    }

OPEN(open, -1, (const char *path, int flags, ...), path)
OPEN(open64, -1, (const char *path, int flags, ...), path)
OPEN(openat, directory, (int directory, const char *path, int flags, ...), directory, path)
OPEN(openat64, directory, (int directory, const char *path, int flags, ...), directory, path)

int close(int descriptor) {
    int verdict = judge("close", descriptor, NULL);
    int result = syscall(SYS_close, descriptor);
    if (verdict) FAIL(-1);
    return result;
}

WRAP(int, -1, rename, "rename", -1, to, (const char *from, const char *to), from, to)
WRAP(int, -1, renameat, "rename", new, to, (int old, const char *from, int new, const char *to), old, from, new, to)
WRAP(int, -1, renameat2, "rename", new, to,
     (int old, const char *from, int new, const char *to, unsigned int flags), old, from, new, to, flags)
WRAP(int, -1, link, "link", -1, to, (const char *from, const char *to), from, to)
WRAP(int, -1, unlink, "unlink", -1, path, (const char *path), path)
WRAP(int, -1, unlinkat, "unlink", directory, path, (int directory, const char *path, int flags), directory, path, flags)
WRAP(int, -1, mkdir, "mkdir", -1, path, (const char *path, mode_t mode), path, mode)
WRAP(int, -1, mkdirat, "mkdir", directory, path, (int directory, const char *path, mode_t mode), directory, path, mode)
WRAP(int, -1, rmdir, "rmdir", -1, path, (const char *path), path)
WRAP(int, -1, stat, "stat", -1, path, (const char *restrict path, struct stat *restrict to), path, to)
WRAP(int, -1, stat64, "stat", -1, path, (const char *restrict path, struct stat64 *restrict to), path, to)
WRAP(int, -1, lstat, "stat", -1, path, (const char *restrict path, struct stat *restrict to), path, to)
WRAP(int, -1, lstat64, "stat", -1, path, (const char *restrict path, struct stat64 *restrict to), path, to)
WRAP(int, -1, fstat, "fstat", one, NULL, (int one, struct stat *to), one, to)
WRAP(int, -1, fstat64, "fstat", one, NULL, (int one, struct stat64 *to), one, to)
WRAP(int, -1, fstatat, "stat", one, path,
     (int one, const char *restrict path, struct stat *restrict to, int flags), one, path, to, flags)
WRAP(int, -1, fstatat64, "stat", one, path,
     (int one, const char *restrict path, struct stat64 *restrict to, int flags), one, path, to, flags)
WRAP(int, -1, statvfs, "statvfs", -1, path, (const char *restrict path, struct statvfs *restrict to), path, to)
WRAP(int, -1, statvfs64, "statvfs", -1, path, (const char *restrict path, struct statvfs64 *restrict to), path, to)
WRAP(int, -1, access, "access", -1, path, (const char *path, int mode), path, mode)
WRAP(int, -1, fsync, "fsync", one, NULL, (int one), one)
WRAP(int, -1, fdatasync, "fsync", one, NULL, (int one), one)
WRAP(int, -1, sync_file_range, "fsync", one, NULL,
     (int one, off64_t from, off64_t length, unsigned int flags), one, from, length, flags)
WRAP(ssize_t, -1, write, "write", one, NULL, (int one, const void *from, size_t length), one, from, length)
WRAP(ssize_t, -1, read, "read", one, NULL, (int one, void *to, size_t length), one, to, length)
WRAP(ssize_t, -1, pread64, "read", one, NULL, (int one, void *to, size_t length, off64_t at), one, to, length, at)
WRAP(int, -1, flock, "flock", one, NULL, (int one, int operation), one, operation)
WRAP(int, -1, utimensat, "utime", one, path,
     (int one, const char *path, const struct timespec times[2], int flags), one, path, times, flags)
WRAP(int, -1, futimens, "utime", one, NULL, (int one, const struct timespec times[2]), one, times)
WRAP(int, -1, chmod, "chmod", -1, path, (const char *path, mode_t mode), path, mode)
WRAP(int, -1, fchmod, "chmod", one, NULL, (int one, mode_t mode), one, mode)
WRAP(int, -1, fchmodat, "chmod", one, path, (int one, const char *path, mode_t mode, int flags), one, path, mode, flags)
WRAP(int, -1, fchown, "chown", one, NULL, (int one, uid_t user, gid_t group), one, user, group)
WRAP(int, -1, fchownat, "chown", one, path,
     (int one, const char *path, uid_t user, gid_t group, int flags), one, path, user, group, flags)
WRAP(DIR *, NULL, opendir, "list", -1, path, (const char *path), path)
WRAP(DIR *, NULL, fdopendir, "list", one, NULL, (int one), one)
WRAP(struct dirent *, NULL, readdir, "list", dirfd(one), NULL, (DIR *one), one)
WRAP(struct dirent64 *, NULL, readdir64, "list", dirfd(one), NULL, (DIR *one), one)
