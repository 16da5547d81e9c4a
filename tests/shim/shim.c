/*
 * Faults of disk and clock for the process under test, by interposing libc calls (LD_PRELOAD).
 *
 *   MILLRACE_SHIM_ROOT     only files below this folder are watched (absolute path; required)
 *   MILLRACE_SHIM_JOURNAL  file to which writes and syncs are appended, one line each:
 *                            W <inode> <birth ns> <from> <bytes>   written, not yet safe
 *                            B <inode> <birth ns> <size>           a sync begins
 *                            S <inode> <birth ns> <size>           it succeeded: what was written
 *                                                                  before its B is safe
 *   MILLRACE_SHIM_RULES    rules, one a line (see below), in force from the start
 *   MILLRACE_SHIM_CONTROL  a file of rules that replaces those above whenever it changes
 *   MILLRACE_SHIM_CLOCK_S  seconds added to CLOCK_REALTIME (may be negative)
 *
 * A rule is `<what> <part of a path> <number>`; it concerns watched files whose path contains the
 * part (`*`: all of them). Counting starts when the rules are read.
 *
 *   sync-eio  P N    the N-th sync and all later ones fail with EIO (0: all of them)
 *   sync-lie  P 0    syncs answer 0 and do nothing
 *   sync-kill P N    SIGKILL instead of the N-th sync
 *   synced-kill P N  SIGKILL right after the N-th sync succeeded
 *   write-enospc P N writes fail with ENOSPC once N bytes have been written (the last one is short)
 *   write-eio P N    the same with EIO
 *
 * Files are known by inode and birth time, so renames need no watching; folders are not watched. Not seen: writes through
 * a mapping, io_uring, raw system calls (only `tempfile` makes some, for creating and renaming).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

enum what { SYNC_EIO, SYNC_LIE, SYNC_KILL, SYNCED_KILL, WRITE_ENOSPC, WRITE_EIO, WHATS };
static const char *const NAMES[WHATS] = {"sync-eio",    "sync-lie",     "sync-kill",
                                         "synced-kill", "write-enospc", "write-eio"};

struct rule {
    enum what what;
    char part[128];
    long long number;
    long long seen; /* syncs or bytes so far */
};

static struct rule rules[16];
static int rule_count;
static int journal = -1;
static char root[PATH_MAX];
static size_t root_length;
static const char *control;
static struct timespec control_time;
static long long clock_offset_s;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void read_rules(const char *text) {
    rule_count = 0;
    while (*text && rule_count < 16) {
        char name[32], part[128];
        long long number = 0;
        if (sscanf(text, "%31s %127s %lld", name, part, &number) == 3) {
            for (int w = 0; w < WHATS; w++) {
                if (strcmp(name, NAMES[w]) != 0) continue;
                struct rule *rule = &rules[rule_count++];
                rule->what = (enum what)w;
                strcpy(rule->part, part);
                rule->number = number;
                rule->seen = 0;
                break;
            }
        }
        const char *next = strchr(text, '\n');
        if (!next) return;
        text = next + 1;
    }
}

/* With the lock held. */
static void refresh(void) {
    struct stat now;
    if (!control || stat(control, &now) != 0) return;
    if (now.st_mtim.tv_sec == control_time.tv_sec && now.st_mtim.tv_nsec == control_time.tv_nsec)
        return;
    control_time = now.st_mtim;
    int fd = open(control, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    char text[4096];
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    read_rules(text);
}

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("MILLRACE_SHIM_ROOT");
    if (folder && realpath(folder, root)) root_length = strlen(root);
    const char *path = getenv("MILLRACE_SHIM_JOURNAL");
    if (path) journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    const char *text = getenv("MILLRACE_SHIM_RULES");
    if (text) read_rules(text);
    control = getenv("MILLRACE_SHIM_CONTROL");
    const char *seconds = getenv("MILLRACE_SHIM_CLOCK_S");
    if (seconds) clock_offset_s = atoll(seconds);
}

/* Whether the file is watched; its path. */
static int watched(int fd, char path[PATH_MAX]) {
    if (root_length == 0) return 0;
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return strncmp(path, root, root_length) == 0 &&
           (path[root_length] == '/' || path[root_length] == 0);
}

static int concerns(const struct rule *rule, const char *path) {
    return strcmp(rule->part, "*") == 0 || strstr(path + root_length, rule->part) != NULL;
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static void note(const char *format, ...) {
    if (journal < 0) return;
    char line[PATH_MAX + 128];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (n > 0) syscall(SYS_write, journal, line, (size_t)n);
}

static void record(char what, int fd, long long first, long long second) {
    struct statx x;
    if (journal < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &x) != 0) return;
    long long birth = (long long)x.stx_btime.tv_sec * 1000000000LL + x.stx_btime.tv_nsec;
    note("%c %llu %lld %lld %lld\n", what, (unsigned long long)x.stx_ino, birth, first, second);
}

/* What the rules say of a sync: 0 go on, 1 lie, else the error. */
static int judge_sync(const char *path, int *kill_after) {
    int verdict = 0;
    pthread_mutex_lock(&lock);
    refresh();
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (rule->what >= WRITE_ENOSPC || !concerns(rule, path)) continue;
        rule->seen++;
        if (rule->what == SYNC_LIE) verdict = 1;
        if (rule->what == SYNC_EIO && rule->seen >= rule->number) verdict = EIO;
        if (rule->what == SYNC_KILL && rule->seen == rule->number) die();
        if (rule->what == SYNCED_KILL && rule->seen == rule->number) *kill_after = 1;
    }
    pthread_mutex_unlock(&lock);
    return verdict;
}

static int synced(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    char path[PATH_MAX];
    if (!watched(fd, path)) return real(fd);
    int kill_after = 0;
    int verdict = judge_sync(path, &kill_after);
    if (verdict == 1) return 0;
    if (verdict != 0) {
        errno = verdict;
        return -1;
    }
    /* The size before: what is written meanwhile is not promised. */
    struct stat before;
    int known = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
    if (known) record('B', fd, (long long)before.st_size, 0);
    int result = real(fd);
    if (result == 0 && known) record('S', fd, (long long)before.st_size, 0);
    if (kill_after) die();
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

/* How many of `wanted` bytes may be written; -1 with errno set if none. */
static ssize_t allowed(int fd, size_t wanted) {
    if (rule_count == 0 && !control) return (ssize_t)wanted;
    char path[PATH_MAX];
    if (wanted == 0 || !watched(fd, path)) return (ssize_t)wanted;
    ssize_t may = (ssize_t)wanted;
    pthread_mutex_lock(&lock);
    refresh();
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (rule->what < WRITE_ENOSPC || !concerns(rule, path)) continue;
        long long left = rule->number - rule->seen;
        if (left <= 0) {
            errno = rule->what == WRITE_EIO ? EIO : ENOSPC;
            may = -1;
            break;
        }
        if (may > left) may = (ssize_t)left;
        rule->seen += may;
    }
    pthread_mutex_unlock(&lock);
    return may;
}

/* Notes what was written at `at` (-1: where the file's position was). */
static ssize_t written(int fd, ssize_t n, off_t at) {
    char path[PATH_MAX];
    if (n <= 0 || journal < 0 || !watched(fd, path)) return n;
    int error = errno;
    off_t from = at >= 0 ? at : lseek(fd, 0, SEEK_CUR) - n;
    if (from >= 0) record('W', fd, (long long)from, (long long)n);
    errno = error;
    return n;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    ssize_t may = allowed(fd, n);
    return may < 0 ? -1 : written(fd, syscall(SYS_write, fd, bytes, (size_t)may), -1);
}

static ssize_t pwritten(int fd, const void *bytes, size_t n, off_t at) {
    ssize_t may = allowed(fd, n);
    return may < 0 ? -1 : written(fd, syscall(SYS_pwrite64, fd, bytes, (size_t)may, at), at);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) { return pwritten(fd, bytes, n, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at) { return pwritten(fd, bytes, n, at); }

static size_t total(const struct iovec *parts, int count) {
    size_t n = 0;
    for (int i = 0; i < count; i++) n += parts[i].iov_len;
    return n;
}

/* All parts, or some of the first. */
static ssize_t written_parts(int fd, const struct iovec *parts, int count, off_t at) {
    size_t n = total(parts, count);
    ssize_t may = allowed(fd, n);
    if (may < 0) return -1;
    if ((size_t)may == n) {
        long done = at < 0 ? syscall(SYS_writev, fd, parts, count)
                           : syscall(SYS_pwritev, fd, parts, count, at, 0);
        return written(fd, done, at);
    }
    size_t some = parts[0].iov_len < (size_t)may ? parts[0].iov_len : (size_t)may;
    long done = at < 0 ? syscall(SYS_write, fd, parts[0].iov_base, some)
                       : syscall(SYS_pwrite64, fd, parts[0].iov_base, some, at);
    return written(fd, done, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) { return written_parts(fd, parts, count, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return written_parts(fd, parts, count, at); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) { return written_parts(fd, parts, count, at); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += clock_offset_s;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

/* Waits until a time of the shifted clock; librdkafka computes it. */
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    int (*real)(cnd_t *, mtx_t *, const struct timespec *) =
        (int (*)(cnd_t *, mtx_t *, const struct timespec *))dlsym(RTLD_NEXT, "cnd_timedwait");
    struct timespec kernels = *until;
    kernels.tv_sec -= clock_offset_s;
    return real(condition, mutex, &kernels);
}
