#include "CTriageShims_http2.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <sys/mman.h>

// Allocations from here on get pages of their own. nghttp2 has one such for each session: the
// buffer that it packs frames into, 16 KiB and 10 bytes, for the session's whole life.
enum { LARGE = 8 << 10, PAGE = 4 << 10 };

static void *allocate(size_t size, void *user) {
    (void)user;
    if (size < LARGE) return malloc(size);
    void *bytes;
    if (posix_memalign(&bytes, PAGE, size) != 0) return NULL;
    // What the heap last used these pages for need not stay in memory.
    madvise(bytes, size & ~(size_t)(PAGE - 1), MADV_DONTNEED);
    return bytes;
}

static void release(void *bytes, void *user) {
    (void)user;
    free(bytes);
}

static void *allocate_zeroed(size_t count, size_t size, void *user) {
    (void)user;
    return calloc(count, size);
}

static void *resize(void *bytes, size_t size, void *user) {
    return bytes == NULL ? allocate(size, user) : realloc(bytes, size);
}

void *CTriageShims_http2_memory(void) {
    static nghttp2_mem memory = {NULL, allocate, release, allocate_zeroed, resize};
    return &memory;
}
