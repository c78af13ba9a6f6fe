#include "CTriageShims_http2.h"

#include <stdlib.h>
#include <sys/mman.h>

// Allocations from here on get pages of their own. nghttp2 has one such for each session: the
// buffer that it packs frames into, 16 KiB and 10 bytes, for the session's whole life.
enum { LARGE = 8 << 10, PAGE = 4 << 10 };

void *CTriageShims_allocate(size_t size) {
    if (size < LARGE) return malloc(size);
    void *bytes;
    if (posix_memalign(&bytes, PAGE, size) != 0) return NULL;
    // What the heap last used these pages for need not stay in memory.
    madvise(bytes, size & ~(size_t)(PAGE - 1), MADV_DONTNEED);
    return bytes;
}

void *CTriageShims_reallocate(void *memory, size_t size) { return realloc(memory, size); }
void CTriageShims_free(void *memory) { free(memory); }
