// What this machine does without triaged: the disk's write+fdatasync, and a bare TLS echo. Figures
// of triaged are read as ratios to these, taken in the same run. Deploy/bench compiles and runs it.
//
//   floor disk FILE COUNT          one write of 4 KiB and one fdatasync, COUNT times: at the end of
//                                  the file, and over blocks that were written before
//   floor tls CERTS COUNT WINDOW   mutual TLS 1.3 echo of 256 bytes, COUNT times, WINDOW in flight;
//                                  server on CPU 0, client on CPU 1
// Prints `name value` lines; times in microseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, MESSAGE = 256, COUNT_MAX = 10000000 };

static void fail(const char *what) {
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_percentiles(const char *name, double *times, int count) {
    qsort(times, (size_t)count, sizeof *times, by_value);
    printf("%s_p50 %.2f\n%s_p99 %.2f\n", name, times[count / 2], name, times[count * 99 / 100]);
}

// How the journal writes: into a file whose blocks were written before (`zeroed`), or at its end.
static void disk(const char *path, int count, int zeroed, const char *name) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) fail(path);
    static char block[BLOCK];
    memset(block, 'x', sizeof block);
    if (zeroed) {
        for (int i = 0; i < count; i++)
            if (write(fd, block, BLOCK) != BLOCK) fail("write");
        if (fsync(fd) || lseek(fd, 0, SEEK_SET) != 0) fail("fsync");
    }
    double *times = calloc((size_t)count, sizeof *times);
    if (!times) fail("calloc");
    for (int i = 0; i < count; i++) {
        double began = now_us();
        if (write(fd, block, BLOCK) != BLOCK || fdatasync(fd)) fail("write");
        times[i] = now_us() - began;
    }
    print_percentiles(name, times, count);
    free(times);
    close(fd);
    unlink(path);
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    // On a machine with one core both share it; the figure is then what it is.
    (void)sched_setaffinity(0, sizeof set, &set);
}

static SSL_CTX *context(const char *certs, const char *name, int server) {
    char path[4096];
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!ctx) fail("SSL_CTX_new");
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    snprintf(path, sizeof path, "%s/%s.crt", certs, name);
    if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1) fail(path);
    snprintf(path, sizeof path, "%s/%s.key", certs, name);
    if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) != 1) fail(path);
    snprintf(path, sizeof path, "%s/ca.crt", certs);
    if (SSL_CTX_load_verify_locations(ctx, path, NULL) != 1) fail(path);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_read_ahead(ctx, 1);
    return ctx;
}

static void exchange_all(SSL *ssl, char *bytes, int count, int sending) {
    for (int done = 0; done < count;) {
        int n = sending ? SSL_write(ssl, bytes + done, count - done)
                        : SSL_read(ssl, bytes + done, count - done);
        if (n <= 0) fail(sending ? "SSL_write" : "SSL_read");
        done += n;
    }
}

// Answers whatever a read gave in one write, as a server that batches does, until the peer is gone.
static void serve(SSL_CTX *ctx, int listener, int count) {
    pin(0);
    int fd = accept(listener, NULL, NULL);
    int one = 1;
    if (fd < 0) fail("accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) != 1) fail("SSL_accept");
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    static char bytes[1 << 16];
    long left = (long)count * MESSAGE;
    while (left > 0) {
        int n = SSL_read(ssl, bytes, sizeof bytes);
        if (n <= 0) fail("SSL_read");
        exchange_all(ssl, bytes, n, 1);
        left -= n;
    }
    getrusage(RUSAGE_SELF, &after);
    double cpu = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1e6 +
                 (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec) +
                 (double)(after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1e6 +
                 (double)(after.ru_stime.tv_usec - before.ru_stime.tv_usec);
    printf("tls_echo_server_cpu %.3f\n", cpu / count);
    fflush(stdout);
    SSL_free(ssl);
}

static void tls(const char *certs, int count, int window) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) ||
        listen(listener, 1) || getsockname(listener, (struct sockaddr *)&address, &length))
        fail("listen");
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        serve(context(certs, "server", 1), listener, count);
        exit(0);
    }
    pin(1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL *ssl = SSL_new(context(certs, "classifier", 0));
    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) != 1) fail("SSL_connect");
    char *bytes = calloc((size_t)window, MESSAGE);
    int turns = count / window;
    double *times = calloc((size_t)turns, sizeof *times);
    if (!bytes || !times) fail("calloc");
    double began = now_us();
    for (int i = 0; i < turns; i++) {
        double sent = now_us();
        exchange_all(ssl, bytes, window * MESSAGE, 1);
        exchange_all(ssl, bytes, window * MESSAGE, 0);
        times[i] = now_us() - sent;
    }
    printf("tls_echo_per_second %.0f\n", 1e6 * (double)turns * window / (now_us() - began));
    print_percentiles("tls_echo", times, turns);
    fflush(stdout);
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) fail("the echo server failed");
    SSL_free(ssl);
}

int main(int argc, char **argv) {
    int count = argc > 3 ? atoi(argv[3]) : 0, window = argc > 4 ? atoi(argv[4]) : 1;
    if (argc == 4 && !strcmp(argv[1], "disk") && count > 0 && count <= 100000) {
        disk(argv[2], count, 0, "disk_append");
        disk(argv[2], count, 1, "disk_rewrite");
        return 0;
    }
    if (argc == 5 && !strcmp(argv[1], "tls") && window > 0 && window <= 64 && count >= window &&
        count <= COUNT_MAX) {
        tls(argv[2], count - count % window, window);
        return 0;
    }
    fprintf(stderr, "usage: floor disk FILE COUNT | floor tls CERTS COUNT WINDOW\n");
    return 64;
}
