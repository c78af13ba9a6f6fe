// What the load generator's kinds of measurement share.
#pragma once

#include "client.h"
#include "common.h"

struct plan {
    int port, connections, streams, pid;
    double warmup, seconds, rate;  // calls or connections a second; 0: closed loop
    uint64_t first, calls;         // number of the first call; how many, 0: until the time is over
    bool until_input_ends;
    uint64_t wait_ns;              // the longest sleep; 0: it asks for events without ever sleeping
    SSL_CTX *tls, *other_tls;
    struct request request, watch;
    struct connection *all;
};

// Each prints one JSON object on one line.
void measure_calls(struct plan *plan);
void measure_echo(struct plan *plan);
void measure_connects(struct plan *plan);
void hold(struct plan *plan);
void measure_fanout(struct plan *plan);

// Opens the connections `from` to `to`, sixteen at a time, until `ready` has counted all of them.
void open_all(struct plan *plan, int from, int to, const int *ready);
// Ends the process: a measurement with errors is none.
void check(const char *error);
// The common end of a line: latencies.
void print_latency(const struct histogram *latency);
