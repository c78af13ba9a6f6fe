#include "common.h"

#include <dirent.h>
#include <math.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void fail(const char *what) {
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

SSL_CTX *tls_context(const SSL_METHOD *method, const char *certs, const char *name) {
    char path[4096];
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1) fail("SSL_CTX_new");
    snprintf(path, sizeof path, "%s/%s.crt", certs, name);
    if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1) fail(path);
    snprintf(path, sizeof path, "%s/%s.key", certs, name);
    if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) != 1) fail(path);
    snprintf(path, sizeof path, "%s/ca.crt", certs);
    if (SSL_CTX_load_verify_locations(ctx, path, NULL) != 1) fail(path);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    // Else OpenSSL verifies our own certificate in each handshake, to send its root along.
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    return ctx;
}

const char *option(int argc, char **argv, const char *name, const char *otherwise) {
    size_t length = strlen(name);
    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], name, length) && argv[i][length] == '=') return argv[i] + length + 1;
    return otherwise;
}

double number(int argc, char **argv, const char *name, double otherwise, double least,
              double most) {
    const char *text = option(argc, argv, name, NULL);
    if (!text) return otherwise;
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most)) {
        fprintf(stderr, "%s=%s: a number from %g to %g is needed\n", name, text, least, most);
        exit(64);
    }
    return value;
}

void record(struct histogram *h, uint64_t ns) {
    if (ns < STEPS) ns = STEPS;
    int octave = 63 - __builtin_clzll(ns) - 6;
    int at = octave * STEPS + (int)(ns >> octave & (STEPS - 1));
    if (at >= OCTAVES * STEPS) at = OCTAVES * STEPS - 1;
    h->counts[at]++;
    h->total++;
    if (ns > h->largest) h->largest = ns;
}

void merge(struct histogram *into, const struct histogram *of) {
    for (int at = 0; at < OCTAVES * STEPS; at++) into->counts[at] += of->counts[at];
    into->total += of->total;
    if (of->largest > into->largest) into->largest = of->largest;
}

double quantile_us(const struct histogram *h, double quantile) {
    uint64_t rank = (uint64_t)ceil(quantile * (double)h->total), seen = 0;
    for (int at = 0; at < OCTAVES * STEPS; at++) {
        seen += h->counts[at];
        if (seen >= rank && seen > 0)
            return ldexp(STEPS + at % STEPS + 0.5, at / STEPS) / 1000;
    }
    return 0;
}

double process_cpu_us(int pid) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = pid > 0 ? opendir(path) : NULL;
    if (!tasks) return 0;
    double sum = 0;
    for (struct dirent *task; (task = readdir(tasks));) {
        unsigned long long ns = 0;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (!file) continue;
        if (fscanf(file, "%llu", &ns) == 1) sum += (double)ns / 1000;
        fclose(file);
    }
    closedir(tasks);
    return sum;
}
