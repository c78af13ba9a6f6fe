// Measurements of connections themselves: how much making one costs, and holding many.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "load.h"

static struct {
    struct plan *plan;
    bool is_measuring, is_over, is_done;
    uint64_t due, resumed, opened;
    int ready;
    double server_cpu;
    struct histogram latency;
} run;

// ---- Connecting -------------------------------------------------------------------------------

static void reopen(struct connection *c) {
    connection_open(c, run.plan->tls, run.plan->port, run.plan->streams);
}

// Counts the connection that is opened next; false: there is to be none.
static bool may_open(void) {
    return !run.is_over && (run.plan->calls == 0 || run.opened++ < run.plan->calls);
}

// The server's SETTINGS have come: it is a connection, and is closed again.
static void connected(struct connection *c) {
    if (run.plan->all == c && !run.is_measuring && run.ready++ == 0) return;  // for its session
    if (run.is_measuring && !run.is_over) {
        record(&run.latency, now_ns() - c->opened_ns);
        run.resumed += connection_resumed(c);
    }
    connection_close(c);
    if (run.plan->rate == 0 && may_open()) reopen(c);
}

static void connect_due(uint64_t now, uint64_t interval) {
    for (int i = 0; i < run.plan->connections && run.due <= now; i++) {
        if (run.plan->all[i].state != CLOSED) continue;
        reopen(&run.plan->all[i]);
        run.due += interval;
    }
}

static void begin_measuring(void) {
    run.is_measuring = true;
    run.server_cpu = process_cpu_us(run.plan->pid);
}

void measure_connects(struct plan *p) {
    static const struct client_events events = {.ready = connected};
    run.plan = p;
    client_prepare(&events);
    reopen(&p->all[0]);
    // TLS 1.3 sends a session after the handshake.
    for (uint64_t until = now_ns() + 10000000000u; run.ready == 0 || !client_has_session();) {
        client_turn(100000000);
        if (now_ns() > until) check("the server gave no session");
    }
    connection_close(&p->all[0]);
    for (int i = 0; i < p->connections; i++) {
        p->all[i].state = CLOSED;
        if (p->rate == 0 && may_open()) reopen(&p->all[i]);
    }
    uint64_t now = now_ns(), from = now + (uint64_t)(p->warmup * 1e9), interval = 0;
    run.due = now;
    if (p->rate > 0) interval = (uint64_t)(1e9 / p->rate);
    if (p->calls) begin_measuring();
    while (p->calls ? run.latency.total < p->calls
                    : !run.is_measuring || now < from + (uint64_t)(p->seconds * 1e9)) {
        uint64_t wait = p->rate > 0 ? (run.due > now ? run.due - now : 0) : 10000000;
        client_turn(wait < 10000000 ? wait : 10000000);
        now = now_ns();
        if (p->rate > 0) connect_due(now, interval);
        if (!run.is_measuring && now >= from) from = now, begin_measuring();
    }
    run.is_over = true;
    printf("{\"connects\":%llu,\"resumed\":%llu,\"seconds\":%.4f,\"server_cpu_us\":%.0f,",
           (unsigned long long)run.latency.total, (unsigned long long)run.resumed,
           (double)(now - from) / 1e9, process_cpu_us(p->pid) - run.server_cpu);
    print_latency(&run.latency);
}

// ---- Holding ----------------------------------------------------------------------------------

static void hold_ready(struct connection *c) { connection_call(c, run.plan->first++, 0); }

static void hold_answered(struct connection *c, struct stream *stream, const char *error) {
    (void)c, (void)stream;
    check(error);
    run.ready++;
}

static void input_ended(int fd) {
    char byte;
    if (read(fd, &byte, 1) <= 0) run.is_done = true;
}

void hold(struct plan *p) {
    static const struct client_events events = {
        .ready = hold_ready, .ended = hold_answered, .readable = input_ended};
    run.plan = p;
    client_prepare(&events);
    open_all(p, 0, p->connections, &run.ready);
    printf("{\"held\":%d}\n", run.ready);
    fflush(stdout);
    client_watch(STDIN_FILENO);
    while (!run.is_done) client_turn(1000000000);
}
