// A lean HTTP/2 client over mutual TLS for the load generator: what it costs must stay well below
// what a server costs. Frames by hand, header blocks encoded once a connection; only HPACK is
// nghttp2's. One thread, loopback only.
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PATCHES_MAX = 4, HEAD = 64 };

// What is sent again and again: a GET, or a gRPC message in which the call's number is written as
// decimal digits at some places, and of which the reply may repeat the first.
struct request {
    const char *path;
    bool is_get, checks_echo;
    uint8_t *bytes;  // with gRPC's prefix of five bytes
    size_t count, patch_count, echo_at;
    struct {
        size_t at, width;
    } patches[PATCHES_MAX];
};

// A call that is open.
struct stream {
    bool is_open, is_200, is_ok, has_status;
    uint32_t id;
    uint64_t number, began_ns, messages;
    uint32_t message_count, message_at;  // of the message that is coming: its size, what has come
    uint8_t prefix[5], prefix_count;
    uint8_t head[HEAD];  // the first bytes of the last message, or of a GET's reply
};

struct connection {
    int fd, index;
    unsigned opened;  // how often
    enum { CONNECTING, HANDSHAKING, GREETING, READY, CLOSED } state;
    bool is_raw;  // no HTTP/2: bytes
    SSL *ssl;
    uint64_t opened_ns;
    const struct request *request;
    struct stream *streams;
    uint32_t mask, next_id, open_count, open_max;
    int64_t send_window;
    uint64_t received_unsaid;
    void *deflater, *inflater;
    uint8_t block[256];
    size_t block_count;
    bool block_is_final;
    uint8_t *out, *rest;
    size_t out_count, out_capacity, rest_count;
};

// What the load generator does when something happened; a connection is flushed after its events.
struct client_events {
    void (*ready)(struct connection *);
    void (*message)(struct connection *, struct stream *);
    void (*ended)(struct connection *, struct stream *, const char *error);
    void (*bytes)(struct connection *, size_t count);
    void (*readable)(int fd);  // of client_watch
};

// Once, before everything else.
void client_prepare(const struct client_events *events);
// The TLS of connections that show CERTS/IDENTITY.crt.
SSL_CTX *client_tls(const char *certs, const char *identity, bool is_raw);
// Whether connections resume the session that came last.
void client_resume(bool resumes);
bool client_has_session(void);
void client_watch(int fd);

// Begins to connect `c`, which is zeroed or was closed; room for `streams` calls at once.
void connection_open(struct connection *c, SSL_CTX *tls, int port, int streams);
// Closes it with a reset, so that the port is free at once.
void connection_close(struct connection *c);
bool connection_resumed(const struct connection *c);
// Whether a further call fits.
bool connection_has_room(const struct connection *c);
// Queues a call of `c->request`.
void connection_call(struct connection *c, uint64_t number, uint64_t began_ns);
// Queues bytes.
void connection_write(struct connection *c, const void *bytes, size_t count);
void connection_flush(struct connection *c);

// Handles what has happened; waits for at most so long for it. False: nothing had.
bool client_turn(uint64_t wait_ns);
