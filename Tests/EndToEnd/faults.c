/* Lets calls of the C library fail, and sets the clock, for test_faults.py: loaded into the real
   triaged by LD_PRELOAD.
   Which calls, on which files, how many and how is read at each call from a page that the test
   shares with it (the file named by TRIAGED_FAULTS), so that a running server can be hit. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    PWRITE = 1, FDATASYNC = 2, PREAD = 4, FALLOCATE = 8, RENAME = 16, OPEN = 32, FSYNC = 64,
    UNLINK = 128
};

/* As test_faults.py packs it. */
struct plan {
    uint32_t calls;  /* which calls, a bit each */
    int32_t skip;    /* of those on the file, so many succeed first; goes down */
    int32_t count;   /* then so many fail; negative: all */
    int32_t error;   /* with this; 0: a read or write ends early instead */
    uint32_t hits;   /* how many did */
    int32_t early;   /* so many of them, the first ones, end early instead: a short write, and then
                        the error */
    char suffix[104];  /* on paths that end in this */
    int64_t clock;   /* so many seconds the time of day is ahead */
};

static struct plan *plan;

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("TRIAGED_FAULTS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) plan = page;
    close(file);
}

static int ends(const char *path) {
    size_t length = strlen(path), wanted = strlen(plan->suffix);
    return length >= wanted && strcmp(path + length - wanted, plan->suffix) == 0;
}

/* Whether this call is one of those that fail; with errno 0 it is to end early. */
static int fails(uint32_t call, const char *path) {
    if (!plan || !(__atomic_load_n(&plan->calls, __ATOMIC_ACQUIRE) & call) || !ends(path)) return 0;
    if (__atomic_fetch_sub(&plan->skip, 1, __ATOMIC_RELAXED) > 0) return 0;
    uint32_t hits = __atomic_fetch_add(&plan->hits, 1, __ATOMIC_RELAXED);
    if (plan->count >= 0 && hits >= (uint32_t)plan->count) {
        __atomic_fetch_sub(&plan->hits, 1, __ATOMIC_RELAXED);
        return 0;
    }
    errno = (int32_t)hits < plan->early ? 0 : plan->error;
    return 1;
}

static int file_fails(uint32_t call, int file) {
    if (!plan || !(plan->calls & call)) return 0;
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* Half of it; whole pages of a file that is open past the page cache, which takes nothing else. */
static size_t half(int file, size_t count) {
    if (fcntl(file, F_GETFL) & O_DIRECT) return count >= 8192 ? count / 8192 * 4096 : count;
    return count > 1 ? count / 2 : count;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    REAL(pwrite);
    if (!file_fails(PWRITE, file)) return real(file, bytes, count, offset);
    return errno ? -1 : real(file, bytes, half(file, count), offset);
}

ssize_t pread(int file, void *bytes, size_t count, off_t offset) {
    REAL(pread);
    if (!file_fails(PREAD, file)) return real(file, bytes, count, offset);
    return errno ? -1 : real(file, bytes, half(file, count), offset);
}

int fdatasync(int file) {
    REAL(fdatasync);
    return file_fails(FDATASYNC, file) ? -1 : real(file);
}

int fsync(int file) {
    REAL(fsync);
    return file_fails(FSYNC, file) ? -1 : real(file);
}

int fallocate(int file, int mode, off_t offset, off_t length) {
    REAL(fallocate);
    return file_fails(FALLOCATE, file) ? -1 : real(file, mode, offset, length);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    return fails(RENAME, to) ? -1 : real(from, to);
}

int unlink(const char *path) {
    REAL(unlink);
    return fails(UNLINK, path) ? -1 : real(path);
}

int open(const char *path, int flags, ...) {
    REAL(open);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return fails(OPEN, path) ? -1 : real(path, flags, mode);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int result = real(clock, time);
    if (plan && clock == CLOCK_REALTIME)
        time->tv_sec += __atomic_load_n(&plan->clock, __ATOMIC_RELAXED);
    return result;
}
