// The load generator of Deploy/bench: mutual TLS 1.3, HTTP/2, and a check of every reply. Loads
// 127.0.0.1 only, from one thread, and stops by itself. Prints one JSON object.
//
//   floor-load calls|echo|connects|hold|fanout port=N certs=DIR identity=NAME [name=value ...]
//
//   calls      unary calls: connections= streams= warmup= seconds= (or calls=, or input=1: until
//              standard input ends), rate= for open loop
//   echo       the same with bytes and no HTTP/2: streams= messages of 256 at a time
//   connects   connect, handshake, SETTINGS, close: connections= at a time, or rate= a second, or
//              calls= of them; resume=1 resumes the latest session
//   hold       opens connections=, makes one call on each, and keeps them until standard input ends
//   fanout     opens streams= watches on each of connections=, then makes calls= calls one by one,
//              each of which every watch must hear of
//
//   path= get=1      what is called; a GET without message
//   message=FILE     the serialised request; patch=AT+WIDTH,... where the call's number goes,
//                    first= the first number, echo=AT where the reply repeats it
//   watch=PATH watch-message=FILE caller=NAME   fanout: the watched method, and who makes the calls
//   pid=N            whose CPU is measured
//   poll=1           never sleeps, so that waking the client is no part of the latency
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_MAX = 1 << 16, ECHO_BYTES = 256 };

static struct plan plan;

void check(const char *error) {
    if (!error) return;
    fprintf(stderr, "floor-load: %s\n", error);
    exit(1);
}

void open_all(struct plan *p, int from, int to, const int *ready) {
    uint64_t until = now_ns() + 120000000000u;
    for (int opened = from; from + *ready < to;) {
        while (opened < to && opened - (from + *ready) < 16)
            connection_open(&p->all[opened], p->tls, p->port, p->streams), opened++;
        client_turn(100000000);
        if (now_ns() > until) check("the connections do not get ready");
    }
}

void print_latency(const struct histogram *latency) {
    printf("\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f}\n",
           quantile_us(latency, 0.5), quantile_us(latency, 0.9), quantile_us(latency, 0.99),
           quantile_us(latency, 0.999), (double)latency->largest / 1000);
}

// ---- Calls and echoes -------------------------------------------------------------------------

static struct {
    int ready, turn;
    uint64_t next, due, interval, from, until, started, ended;
    bool is_measuring, is_over;
    double server_cpu, client_cpu;
    struct histogram latency;
} run;

static void begin_measuring(uint64_t now) {
    run.is_measuring = true;
    run.from = now;
    bool has_other_end = plan.calls || plan.until_input_ends;
    run.until = has_other_end ? UINT64_MAX : now + (uint64_t)(plan.seconds * 1e9);
    run.server_cpu = process_cpu_us(plan.pid);
    run.client_cpu = process_cpu_us(getpid());
}

static bool may_start(void) {
    return !run.is_over && (plan.calls == 0 || run.started < plan.calls);
}

static void start_calls(struct connection *c, uint64_t now) {
    for (; may_start() && connection_has_room(c); run.started++)
        connection_call(c, run.next++, now);
}

static void call_ready(struct connection *c) {
    (void)c;
    run.ready++;
}

static void call_ended(struct connection *c, struct stream *stream, const char *error) {
    check(error);
    uint64_t now = now_ns();
    run.ended++;
    if (run.is_measuring && !run.is_over) record(&run.latency, now - stream->began_ns);
    if (plan.rate == 0) start_calls(c, now);
}

// Starts what is due on the connections in turn; what finds no room stays due, and its wait counts.
static void start_due(uint64_t now) {
    for (int tried = 0; run.due <= now && tried < plan.connections && may_start();) {
        struct connection *c = &plan.all[run.turn];
        run.turn = (run.turn + 1) % plan.connections;
        if (!connection_has_room(c)) {
            tried++;
            continue;
        }
        connection_call(c, run.next++, run.due);
        connection_flush(c);
        run.started++, run.due += run.interval, tried = 0;
    }
}

static void input_ended(int fd) {
    char byte;
    if (read(fd, &byte, 1) <= 0) run.until = 0;
}

static void print_run(void) {
    double seconds = (double)(now_ns() - run.from) / 1e9;
    double server = process_cpu_us(plan.pid) - run.server_cpu;
    double client = process_cpu_us(getpid()) - run.client_cpu;
    printf("{\"calls\":%llu,\"seconds\":%.4f,\"server_cpu_us\":%.0f,\"client_cpu_us\":%.0f,",
           (unsigned long long)run.latency.total, seconds, server, client);
    print_latency(&run.latency);
}

void measure_calls(struct plan *p) {
    static const struct client_events events = {
        .ready = call_ready, .ended = call_ended, .readable = input_ended};
    client_prepare(&events);
    open_all(p, 0, p->connections, &run.ready);
    if (p->until_input_ends) client_watch(STDIN_FILENO);
    uint64_t now = now_ns(), measured = now + (uint64_t)(p->warmup * 1e9);
    run.next = p->first, run.due = now;
    run.interval = p->rate > 0 ? (uint64_t)(1e9 / p->rate) : 0;
    if (p->calls) begin_measuring(now);
    for (int i = 0; p->rate == 0 && i < p->connections; i++)
        start_calls(&p->all[i], now), connection_flush(&p->all[i]);
    while (p->calls ? run.ended < p->calls : now < run.until || !run.is_measuring) {
        uint64_t wait = p->wait_ns;
        if (p->rate > 0) wait = run.due > now ? run.due - now : 0;
        client_turn(wait < p->wait_ns ? wait : p->wait_ns);
        now = now_ns();
        if (!run.is_measuring && now >= measured) begin_measuring(now);
        if (p->rate > 0) start_due(now);
    }
    run.is_over = true;
    print_run();
}

static size_t echo_left;

static void echo_send(struct connection *c) {
    static uint8_t message[ECHO_BYTES];
    for (int i = 0; i < plan.streams; i++) connection_write(c, message, sizeof message);
    echo_left = (size_t)plan.streams * sizeof message;
    c->opened_ns = now_ns();
}

static void echo_bytes(struct connection *c, size_t count) {
    echo_left -= count;
    if (echo_left > 0) return;
    uint64_t now = now_ns();
    for (int i = 0; run.is_measuring && i < plan.streams; i++)
        record(&run.latency, now - c->opened_ns);
    echo_send(c);
}

void measure_echo(struct plan *p) {
    static const struct client_events events = {.ready = call_ready, .bytes = echo_bytes};
    client_prepare(&events);
    p->all[0].is_raw = true;
    open_all(p, 0, 1, &run.ready);
    uint64_t now = now_ns(), measured = now + (uint64_t)(p->warmup * 1e9);
    echo_send(&p->all[0]);
    connection_flush(&p->all[0]);
    for (; !run.is_measuring || now < run.until; now = now_ns()) {
        client_turn(p->wait_ns);
        if (!run.is_measuring && now >= measured) begin_measuring(now);
    }
    print_run();
}

// ---- Arguments --------------------------------------------------------------------------------

static void read_message(struct request *request, const char *path) {
    FILE *file = path ? fopen(path, "rb") : NULL;
    request->bytes = calloc(1, 5 + MESSAGE_MAX);
    if (!request->bytes || (path && !file)) fail(path);
    size_t count = file ? fread(request->bytes + 5, 1, MESSAGE_MAX, file) : 0;
    if (file) fclose(file);
    for (int i = 0; i < 4; i++) request->bytes[1 + i] = (uint8_t)(count >> 8 * (3 - i));
    request->count = 5 + count;
}

// `at+width,at+width`
static void read_patches(struct request *request, const char *text) {
    for (; text && *text && request->patch_count < PATCHES_MAX; text += *text == ',') {
        char *end;
        size_t at = strtoul(text, &end, 10), width = *end == '+' ? strtoul(end + 1, &end, 10) : 0;
        if (width == 0 || at + width > request->count - 5) check("a patch is not in the message");
        request->patches[request->patch_count].at = at;
        request->patches[request->patch_count++].width = width;
        text = end;
    }
}

static void read_plan(int argc, char **argv) {
    const char *certs = option(argc, argv, "certs", ""), *mode = argv[1];
    bool is_raw = !strcmp(mode, "echo");
    plan.port = (int)number(argc, argv, "port", 0, 1, 65535);
    plan.connections = (int)number(argc, argv, "connections", is_raw ? 1 : 8, 1, 20000);
    plan.streams = (int)number(argc, argv, "streams", 32, 1, 256);
    plan.pid = (int)number(argc, argv, "pid", 0, 1, 1e9);
    plan.warmup = number(argc, argv, "warmup", 0.5, 0, 10);
    plan.seconds = number(argc, argv, "seconds", 3, 0.05, 60);
    plan.rate = number(argc, argv, "rate", 0, 1, 1e6);
    plan.calls = (uint64_t)number(argc, argv, "calls", 0, 1, 1e7);
    plan.until_input_ends = number(argc, argv, "input", 0, 0, 1) > 0;
    plan.first = (uint64_t)number(argc, argv, "first", 1, 0, 1e12);
    plan.tls = client_tls(certs, option(argc, argv, "identity", "classifier"), is_raw);
    const char *caller = option(argc, argv, "caller", NULL);
    plan.other_tls = caller ? client_tls(certs, caller, false) : NULL;
    plan.wait_ns = number(argc, argv, "poll", 0, 0, 1) > 0 ? 0 : 10000000;
    client_resume(number(argc, argv, "resume", 0, 0, 1) > 0);
    plan.request.path = option(argc, argv, "path", "/bench.Triage/Submit");
    plan.request.is_get = number(argc, argv, "get", 0, 0, 1) > 0;
    read_message(&plan.request, option(argc, argv, "message", NULL));
    read_patches(&plan.request, option(argc, argv, "patch", NULL));
    plan.request.echo_at = (size_t)number(argc, argv, "echo", 0, 0, HEAD - 20);
    plan.request.checks_echo = plan.request.echo_at > 0 && plan.request.patch_count > 0;
    plan.watch.path = option(argc, argv, "watch", "");
    read_message(&plan.watch, option(argc, argv, "watch-message", NULL));
    // One more, for the caller of a fan-out.
    plan.all = calloc((size_t)plan.connections + 1, sizeof *plan.all);
    if (!plan.all) fail("calloc");
    for (int i = 0; i <= plan.connections; i++)
        plan.all[i].index = i, plan.all[i].request = &plan.request;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(struct plan *);
    } modes[] = {{"calls", measure_calls},
                 {"echo", measure_echo},
                 {"connects", measure_connects},
                 {"hold", hold},
                 {"fanout", measure_fanout}};
    for (size_t i = 0; argc > 2 && i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argv[1], modes[i].name)) continue;
        read_plan(argc, argv);
        modes[i].run(&plan);
        return 0;
    }
    fprintf(stderr, "usage: floor-load calls|echo|connects|hold|fanout port=N certs=DIR ...\n");
    return 64;
}
