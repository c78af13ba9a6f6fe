// Measures how one event reaches many watches. The watches are opened first and have had what they
// get at the beginning; then calls are made one by one, each when all watches have heard of the one
// before. An event's time counts from when its call is sent, and also from the first sign that it
// is committed, its reply or the first watch that hears of it; to each watch, and to the last.
// An event in which the system took this program off its processor tells of that and not of the
// server: such are counted and left out, unless they are the most.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "load.h"

static struct {
    struct plan *plan;
    struct connection *caller;
    int ready, watches, heard;
    bool is_answered;
    uint64_t sent, committed, last;
    struct histogram each, sent_to_each;
} run;

static void watch_ready(struct connection *c) {
    if (c == run.caller) {
        run.ready++;
        return;
    }
    for (int i = 0; i < run.plan->streams; i++) {
        if (!connection_has_room(c)) check("the server takes fewer streams");
        connection_call(c, 0, 0);
    }
    run.ready++;
}

static void watch_message(struct connection *c, struct stream *stream) {
    (void)stream;
    if (c == run.caller) return;
    run.last = now_ns();
    if (run.committed == 0) run.committed = run.last;
    record(&run.each, run.last - run.committed);
    record(&run.sent_to_each, run.last - run.sent);
    run.heard++;
}

static void watch_ended(struct connection *c, struct stream *stream, const char *error) {
    (void)stream;
    if (c != run.caller) check("the server ended a watch");
    check(error);
    run.is_answered = true;
    if (run.committed == 0) run.committed = now_ns();
}

static void await(bool answered, const char *what) {
    uint64_t until = now_ns() + 30000000000u;
    while (run.heard < run.watches || run.is_answered != answered) {
        client_turn(run.plan->wait_ns);
        if (now_ns() > until) check(what);
    }
    if (run.heard > run.watches) check("a watch got more than one message of an event");
}

// How often the system took the processor away.
static long preemptions(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage)) fail("getrusage");
    return usage.ru_nivcsw;
}

static void publish(uint64_t number) {
    run.heard = 0, run.is_answered = false, run.committed = 0;
    run.each = run.sent_to_each = (struct histogram){0};
    if (!connection_has_room(run.caller)) check("the caller's connection has no room");
    run.sent = now_ns();
    connection_call(run.caller, number, run.sent);
    connection_flush(run.caller);
    await(true, "not every watch heard of an event");
}

struct figures {
    struct histogram whole, last, each, sent_to_each;
};

static void add_event(struct figures *figures) {
    record(&figures->whole, run.last - run.sent);
    record(&figures->last, run.last - run.committed);
    merge(&figures->each, &run.each);
    merge(&figures->sent_to_each, &run.sent_to_each);
}

void measure_fanout(struct plan *p) {
    static const struct client_events events = {
        .ready = watch_ready, .message = watch_message, .ended = watch_ended};
    run.plan = p;
    run.caller = &p->all[p->connections];
    run.watches = p->connections * p->streams;
    client_prepare(&events);
    for (int i = 0; i < p->connections; i++) p->all[i].request = &p->watch;
    open_all(p, 0, p->connections, &run.ready);
    await(false, "not every watch had its beginning");
    run.ready = 0;
    connection_open(run.caller, p->other_tls, p->port, 1);
    for (uint64_t until = now_ns() + 10000000000u; run.ready == 0;) {
        client_turn(100000000);
        if (now_ns() > until) check("the caller does not connect");
    }
    uint64_t number = p->first;
    for (uint64_t i = 0; i < p->calls / 10 + 1; i++) publish(number++);  // warms up
    static struct figures all, alone;
    double server = process_cpu_us(p->pid);
    for (uint64_t i = 0; i < p->calls; i++) {
        long before = preemptions();
        publish(number++);
        if (preemptions() == before) add_event(&alone);
        add_event(&all);
    }
    const struct figures *shown = 2 * alone.whole.total >= p->calls ? &alone : &all;
    printf("{\"events\":%llu,\"left_out\":%llu,\"watches\":%d,\"server_cpu_us\":%.0f,"
           "\"each_p99_us\":%.1f,\"last_p50_us\":%.1f,\"last_p99_us\":%.1f,"
           "\"sent_to_last_p50_us\":%.1f,\"sent_to_last_p99_us\":%.1f,"
           "\"sent_to_each_p99_us\":%.1f}\n",
           (unsigned long long)p->calls, (unsigned long long)(p->calls - shown->whole.total),
           run.watches, process_cpu_us(p->pid) - server, quantile_us(&shown->each, 0.99),
           quantile_us(&shown->last, 0.5), quantile_us(&shown->last, 0.99),
           quantile_us(&shown->whole, 0.5), quantile_us(&shown->whole, 0.99),
           quantile_us(&shown->sent_to_each, 0.99));
}
