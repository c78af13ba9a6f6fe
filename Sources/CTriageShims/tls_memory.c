#include "CTriageShims_tls.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

// OpenSSL makes and frees some two thousand blocks for a resumed handshake. malloc(3) keeps seven
// of a size for a thread, none above 1 KiB; the rest costs locks, splits and joins: a tenth of the
// handshake. So each thread keeps what it frees in lists by size, steps of 16 bytes to 1 KiB, as
// malloc's own, then of 256 bytes to 32 KiB: up to KEPT bytes in each, and KEPT_COUNT blocks.
// A block is malloc's wherever it goes, so that another thread may free it.
enum {
    SMALL_STEP = 16, SMALL = 1 << 10, SMALL_COUNT = SMALL / SMALL_STEP,
    LARGE_STEP = 256, LARGE = 32 << 10, COUNT = SMALL_COUNT + (LARGE - SMALL) / LARGE_STEP,
    KEPT = 128 << 10, KEPT_COUNT = 512
};

struct block { struct block *next; };
struct list { struct block *head; size_t count; };

static _Thread_local struct list lists[COUNT];
static _Thread_local bool is_known;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t ended;
static bool has_key;

static void give_back(void *own) {
    (void)own;
    for (struct list *list = lists; list < lists + COUNT; list++) {
        for (struct block *block = list->head, *next; block; block = next) {
            next = block->next;
            free(block);
        }
        // What is freed from now on, by other destructors of the thread, is not kept.
        *list = (struct list){NULL, KEPT_COUNT};
    }
}

static void make_key(void) { has_key = pthread_key_create(&ended, give_back) == 0; }

// Has the thread's lists emptied when it ends; false: nothing may be kept for it.
static bool know_thread(void) {
    pthread_once(&once, make_key);
    return is_known = has_key && pthread_setspecific(ended, lists) == 0;
}

// The list whose blocks all have `size` bytes; its size becomes that of a new block.
static size_t list_for(size_t *size) {
    if (*size <= SMALL) {
        size_t step = (*size - 1) / SMALL_STEP;
        *size = (step + 1) * SMALL_STEP;
        return step;
    }
    size_t step = (*size - SMALL - 1) / LARGE_STEP;
    *size = SMALL + (step + 1) * LARGE_STEP;
    return SMALL_COUNT + step;
}

// The list for which a block of `size` bytes is large enough.
static size_t list_of(size_t size) {
    return size < SMALL + LARGE_STEP ? (size < SMALL ? size : SMALL) / SMALL_STEP - 1
                                     : SMALL_COUNT + (size - SMALL) / LARGE_STEP - 1;
}

void *CTriageShims_tls_allocate(size_t size, const char *file, int line) {
    (void)file, (void)line;
    if (size == 0) return NULL;  // as without us
    if (size > LARGE) return malloc(size);
    struct list *list = &lists[list_for(&size)];
    struct block *block = list->head;
    if (!block) return malloc(size);
    list->head = block->next;
    list->count--;
    return block;
}

void CTriageShims_tls_free(void *memory, const char *file, int line) {
    (void)file, (void)line;
    if (!memory) return;
    size_t size = malloc_usable_size(memory);
    if (size >= SMALL_STEP && size < LARGE + LARGE_STEP) {
        struct list *list = &lists[list_of(size)];
        if (list->count < KEPT_COUNT && list->count * size < KEPT && (is_known || know_thread())) {
            struct block *block = memory;
            block->next = list->head;
            list->head = block;
            list->count++;
            return;
        }
    }
    free(memory);
}

static void *reallocate(void *memory, size_t size, const char *file, int line) {
    if (!memory) return CTriageShims_tls_allocate(size, file, line);
    if (size > 0) return realloc(memory, size);
    CTriageShims_tls_free(memory, file, line);
    return NULL;
}

size_t CTriageShims_tls_kept(void) {
    size_t bytes = 0;
    for (struct list *list = lists; list < lists + COUNT; list++)
        for (struct block *block = list->head; block; block = block->next)
            bytes += malloc_usable_size(block);
    return bytes;
}

int CTriageShims_keep_tls_memory(void) {
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return 1;  // which see what is done to a freed block only if it is freed
#else
    return CRYPTO_set_mem_functions(CTriageShims_tls_allocate, reallocate, CTriageShims_tls_free);
#endif
}
