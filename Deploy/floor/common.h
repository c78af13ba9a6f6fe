// What the C programs beside this file share: time, failure, TLS contexts, and a latency histogram.
#pragma once

#include <openssl/ssl.h>
#include <stdint.h>

// Prints what failed, with errno's and OpenSSL's reasons, and ends the process.
_Noreturn void fail(const char *what);

uint64_t now_ns(void);

// A TLS 1.3 context with mutual authentication from CERTS/NAME.crt, CERTS/NAME.key, CERTS/ca.crt.
SSL_CTX *tls_context(const SSL_METHOD *method, const char *certs, const char *name);

// `name=value` among the arguments, or what is taken without it.
const char *option(int argc, char **argv, const char *name, const char *otherwise);
// The same as a number; a text that is none, or outside of the range, ends the process.
double number(int argc, char **argv, const char *name, double otherwise, double least, double most);

// Latencies in nanoseconds, in steps of at most 1.6 %.
enum { STEPS = 64, OCTAVES = 36 };
struct histogram {
    uint64_t counts[OCTAVES * STEPS], total, largest;
};
void record(struct histogram *h, uint64_t ns);
// Adds all of another one's.
void merge(struct histogram *into, const struct histogram *of);
// The latency in microseconds that the share `quantile` of all does not exceed.
double quantile_us(const struct histogram *h, double quantile);

// CPU time that a process has used so far, all threads, in microseconds; 0 without a process.
double process_cpu_us(int pid);
