#include "CBenchEcho.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "triage.pb-c.h"

static _Thread_local uint8_t arena[8192];
static _Thread_local size_t arena_at;
static _Thread_local int64_t sequence;

static void *arena_alloc(void *data, size_t count) {
    (void)data;
    size_t at = (arena_at + 15) & ~(size_t)15;
    if (at + count > sizeof arena) return NULL;
    arena_at = at + count;
    return arena + at;
}

static void arena_free(void *data, void *pointer) { (void)data, (void)pointer; }

static ProtobufCAllocator allocator = {arena_alloc, arena_free, NULL};

size_t bench_submit(const uint8_t *request, size_t count, uint8_t *reply, size_t capacity) {
    arena_at = 0;
    Bench__SubmitRequest *r = bench__submit_request__unpack(&allocator, count, request);
    if (!r) return 0;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    char queue[128];
    snprintf(queue, sizeof queue, "q/%s", r->source);
    Bench__SubmitResponse p = BENCH__SUBMIT_RESPONSE__INIT;
    p.id = r->id;
    p.sequence = ++sequence;
    p.priority = (int64_t)r->severity * 1000000 + (int64_t)r->n_labels;
    p.accepted_at_us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    p.queue = queue;
    // Besides the two texts: 5 tags, 2 lengths of 2 bytes, 3 numbers of 10.
    if (strlen(p.id) + strlen(queue) + 39 > capacity) return 0;
    return bench__submit_response__pack(&p, reply);
}
