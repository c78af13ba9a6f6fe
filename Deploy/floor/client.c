#define _GNU_SOURCE
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

enum { DATA, HEADERS, RST_STREAM = 3, SETTINGS, PING = 6, GOAWAY, WINDOW_UPDATE };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, PRIORITY = 32 };
enum { FRAME = 9, PREFIX = 5, PAYLOAD_MAX = 16384, BUFFER = 131072, EVENTS = 512 };

static const struct client_events *on;
static int epoll;
static bool resumes;
static SSL_SESSION *session;
static uint8_t buffer[BUFFER];

// ---- Opening and closing ----------------------------------------------------------------------

void client_prepare(const struct client_events *events) {
    on = events;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) fail("epoll");
}

static int keep_session(SSL *ssl, SSL_SESSION *latest) {
    (void)ssl;
    if (session) SSL_SESSION_free(session);
    session = latest;
    return 1;
}

SSL_CTX *client_tls(const char *certs, const char *identity, bool is_raw) {
    SSL_CTX *tls = tls_context(TLS_client_method(), certs, identity);
    // The same for every server, so that they differ in their own work alone.
    if (SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256") != 1 ||
        SSL_CTX_set1_groups_list(tls, "P-256") != 1)
        fail("ciphers");
    if (!is_raw && SSL_CTX_set_alpn_protos(tls, (const unsigned char *)"\x02h2", 3)) fail("ALPN");
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, 65536);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls, keep_session);
    return tls;
}

void client_resume(bool value) { resumes = value; }

bool client_has_session(void) { return session != NULL; }

void client_watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)fd << 1 | 1};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

void connection_open(struct connection *c, SSL_CTX *tls, int port, int streams) {
    uint32_t table = 16;
    while (table < 8u * (uint32_t)streams) table *= 2;
    struct connection fresh = {.index = c->index, .opened = c->opened + 1, .is_raw = c->is_raw,
                               .request = c->request, .streams = c->streams, .out = c->out,
                               .mask = table - 1, .out_capacity = c->out_capacity, .next_id = 1,
                               .open_max = (uint32_t)streams, .send_window = 65535};
    *c = fresh;
    if (!c->streams) c->streams = calloc(table, sizeof *c->streams);
    if (!c->streams) fail("calloc");
    memset(c->streams, 0, table * sizeof *c->streams);
    c->opened_ns = now_ns();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (c->fd < 0) fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) fail("connect");
    c->ssl = SSL_new(tls);
    nghttp2_hd_deflater *deflater;
    nghttp2_hd_inflater *inflater;
    if (!c->ssl || nghttp2_hd_deflate_new(&deflater, 4096) || nghttp2_hd_inflate_new(&inflater))
        fail("connection");
    c->deflater = deflater, c->inflater = inflater;
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_connect_state(c->ssl);
    SSL_set_tlsext_host_name(c->ssl, "localhost");
    SSL_set1_host(c->ssl, "localhost");
    if (resumes && session) {
        // A copy, because OpenSSL offers a TLS 1.3 session only once.
        SSL_SESSION *copy = SSL_SESSION_dup(session);
        SSL_set_session(c->ssl, copy);
        SSL_SESSION_free(copy);
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl");
}

void connection_close(struct connection *c) {
    struct linger reset = {1, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    // Without this OpenSSL holds the session for one that must not be resumed.
    SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    close(c->fd);
    nghttp2_hd_deflate_del(c->deflater);
    nghttp2_hd_inflate_del(c->inflater);
    free(c->rest);
    c->rest = NULL;
    c->state = CLOSED;
}

bool connection_resumed(const struct connection *c) { return SSL_session_reused(c->ssl); }

// ---- Sending ----------------------------------------------------------------------------------

void connection_write(struct connection *c, const void *bytes, size_t count) {
    if (c->out_count + count > c->out_capacity) {
        c->out_capacity = 2 * (c->out_count + count);
        if (!(c->out = realloc(c->out, c->out_capacity))) fail("realloc");
    }
    memcpy(c->out + c->out_count, bytes, count);
    c->out_count += count;
}

void connection_flush(struct connection *c) {
    size_t at = 0;
    while (c->state >= GREETING && c->state != CLOSED && at < c->out_count) {
        int sent = SSL_write(c->ssl, c->out + at, (int)(c->out_count - at));
        if (sent > 0) at += (size_t)sent;
        else if (SSL_get_error(c->ssl, sent) == SSL_ERROR_WANT_WRITE) break;
        else fail("the server ended a connection");
    }
    c->out_count -= at;
    if (c->out_count > 0 && at > 0) memmove(c->out, c->out + at, c->out_count);
}

static void write_frame(struct connection *c, int type, int flags, uint32_t id, const void *payload,
                        size_t count) {
    uint8_t head[FRAME] = {(uint8_t)(count >> 16), (uint8_t)(count >> 8), (uint8_t)count,
                           (uint8_t)type, (uint8_t)flags, (uint8_t)(id >> 24),
                           (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    connection_write(c, head, FRAME);
    if (count > 0) connection_write(c, payload, count);
}

static void greet(struct connection *c) {
    // No push, and windows that never close: 2^31 - 1 a stream and a connection.
    static const uint8_t settings[] = {0, 2, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff};
    static const uint8_t window[] = {0x7f, 0xff, 0, 0};
    connection_write(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    write_frame(c, SETTINGS, 0, 0, settings, sizeof settings);
    write_frame(c, WINDOW_UPDATE, 0, 0, window, sizeof window);
}

#define FIELD(name, value)                                                                         \
    {(uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, strlen(value), \
     0}

// Encodes the request's headers until that gives the same bytes again: indices alone, which later
// calls repeat as they are.
static void encode_headers(struct connection *c) {
    const nghttp2_nv call[] = {
        FIELD(":method", "POST"),         FIELD(":scheme", "https"),
        FIELD(":path", c->request->path), FIELD(":authority", "localhost"),
        FIELD("te", "trailers"),          FIELD("content-type", "application/grpc"),
        FIELD("user-agent", "floor-load")};
    const nghttp2_nv get[] = {
        FIELD(":method", "GET"), FIELD(":scheme", "https"), FIELD(":path", c->request->path),
        FIELD(":authority", "localhost"), FIELD("user-agent", "floor-load")};
    uint8_t block[sizeof c->block];
    ssize_t count = nghttp2_hd_deflate_hd(c->deflater, block, sizeof block,
                                          c->request->is_get ? get : call,
                                          c->request->is_get ? 5 : 7);
    if (count < 0) fail("the headers are too long");
    c->block_is_final = (size_t)count == c->block_count && !memcmp(block, c->block, (size_t)count);
    memcpy(c->block, block, (size_t)count);
    c->block_count = (size_t)count;
}

bool connection_has_room(const struct connection *c) {
    return c->state == READY && c->open_count < c->open_max &&
           !c->streams[c->next_id >> 1 & c->mask].is_open &&
           (c->request->is_get || c->send_window >= (int64_t)c->request->count);
}

void connection_call(struct connection *c, uint64_t number, uint64_t began_ns) {
    const struct request *request = c->request;
    uint32_t id = c->next_id;
    c->next_id += 2;
    struct stream *stream = &c->streams[id >> 1 & c->mask];
    *stream = (struct stream){.is_open = true, .id = id, .number = number, .began_ns = began_ns};
    c->open_count++;
    if (!c->block_is_final) encode_headers(c);
    write_frame(c, HEADERS, END_HEADERS | (request->is_get ? END_STREAM : 0), id, c->block,
                c->block_count);
    if (request->is_get) return;
    for (size_t i = 0; i < request->patch_count; i++) {
        uint64_t left = number;
        uint8_t *first = request->bytes + PREFIX + request->patches[i].at;
        for (uint8_t *p = first + request->patches[i].width; p > first; left /= 10)
            *--p = (uint8_t)('0' + left % 10);
    }
    write_frame(c, DATA, END_STREAM, id, request->bytes, request->count);
    c->send_window -= (int64_t)request->count;
}

// ---- Receiving --------------------------------------------------------------------------------

static uint32_t big_endian(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// What is wrong with a reply that has ended, or null.
static const char *verdict(const struct request *request, const struct stream *s) {
    if (!s->is_200) return "the status is not 200";
    if (request->is_get) return s->message_at > 0 ? NULL : "the file is empty";
    if (!s->has_status || !s->is_ok) return "grpc-status is not 0";
    if (s->messages != 1 || s->prefix_count != 0) return "not exactly one message";
    if (!request->checks_echo) return NULL;
    uint64_t number = 0;
    for (size_t i = 0; i < request->patches[0].width; i++)
        number = number * 10 + (uint64_t)(s->head[request->echo_at + i] - '0');
    return number == s->number ? NULL : "the reply is another call's";
}

static void end_stream(struct connection *c, struct stream *stream, const char *error) {
    stream->is_open = false;
    c->open_count--;
    on->ended(c, stream, error ? error : verdict(c->request, stream));
}

static void take_headers(struct connection *c, struct stream *stream, const uint8_t *from,
                         size_t count) {
    for (int flags = 0; !(flags & NGHTTP2_HD_INFLATE_FINAL);) {
        nghttp2_nv nv;
        ssize_t used = nghttp2_hd_inflate_hd2(c->inflater, &nv, &flags, from, count, 1);
        if (used < 0) fail("the server's headers cannot be decoded");
        from += used, count -= (size_t)used;
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT) || !stream) continue;
        if (nv.namelen == 7 && !memcmp(nv.name, ":status", 7)) {
            stream->is_200 = nv.valuelen == 3 && !memcmp(nv.value, "200", 3);
        } else if (nv.namelen == 11 && !memcmp(nv.name, "grpc-status", 11)) {
            stream->has_status = true;
            stream->is_ok = nv.valuelen == 1 && nv.value[0] == '0';
        }
    }
    nghttp2_hd_inflate_end_headers(c->inflater);
}

static void take_data(struct connection *c, struct stream *s, const uint8_t *from, size_t count) {
    if (c->request->is_get) {
        s->message_at += (uint32_t)count;
        return;
    }
    while (count > 0) {
        if (s->prefix_count < PREFIX) {
            s->prefix[s->prefix_count++] = *from++;
            count--;
            if (s->prefix_count < PREFIX) continue;
            s->message_count = big_endian(s->prefix + 1), s->message_at = 0;
        }
        size_t part = s->message_count - s->message_at;
        if (part > count) part = count;
        if (s->message_at < HEAD) {
            size_t kept = HEAD - s->message_at < part ? HEAD - s->message_at : part;
            memcpy(s->head + s->message_at, from, kept);
        }
        s->message_at += (uint32_t)part, from += part, count -= part;
        if (s->message_at < s->message_count) continue;
        s->prefix_count = 0, s->messages++;
        if (on->message) on->message(c, s);
    }
}

static void take_settings(struct connection *c, const uint8_t *from, size_t count) {
    for (; count >= 6; from += 6, count -= 6) {
        uint32_t value = big_endian(from + 2);
        if (from[1] == NGHTTP2_SETTINGS_HEADER_TABLE_SIZE && value < 4096) {
            nghttp2_hd_deflate_change_table_size(c->deflater, value);
            c->block_is_final = false;
        }
        if (from[1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS && value < c->open_max)
            c->open_max = value;
    }
    write_frame(c, SETTINGS, ACK, 0, NULL, 0);
    if (c->state != GREETING) return;
    c->state = READY;
    on->ready(c);
}

static void take_frame(struct connection *c, const uint8_t *head, const uint8_t *from,
                       size_t count) {
    int type = head[3], flags = head[4];
    uint32_t id = big_endian(head + 5) & 0x7fffffff;
    struct stream *stream = &c->streams[id >> 1 & c->mask];
    if (id == 0 || !stream->is_open || stream->id != id) stream = NULL;
    if (type == DATA && (c->received_unsaid += count) > 1u << 30) {
        uint8_t window[4] = {0x40, 0, 0, 0};
        write_frame(c, WINDOW_UPDATE, 0, 0, window, sizeof window);
        c->received_unsaid -= 1u << 30;
    }
    if (type <= HEADERS && (flags & PADDED)) count -= 1u + from[0], from++;
    if (type == HEADERS && (flags & PRIORITY)) count -= 5, from += 5;
    if (type == DATA && stream) take_data(c, stream, from, count);
    else if (type == HEADERS && (flags & END_HEADERS)) take_headers(c, stream, from, count);
    else if (type == HEADERS) fail("a header block in several frames");
    else if (type == RST_STREAM && stream) end_stream(c, stream, "the stream was reset");
    else if (type == SETTINGS && !(flags & ACK)) take_settings(c, from, count);
    else if (type == PING && !(flags & ACK)) write_frame(c, PING, ACK, 0, from, count);
    else if (type == GOAWAY) fail("the server sent GOAWAY");
    else if (type == WINDOW_UPDATE && id == 0) c->send_window += big_endian(from) & 0x7fffffff;
    if (type <= HEADERS && (flags & END_STREAM) && stream) end_stream(c, stream, NULL);
}

// Whether it is still the connection that it was: an event's handler may close it, and may open
// it again at once, and what was read before is none of the new one's.
static bool is_same(const struct connection *c, unsigned opened) {
    return c->state != CLOSED && c->opened == opened;
}

// Takes whole frames off the buffer; returns how many bytes they had.
static size_t take_frames(struct connection *c, size_t count) {
    unsigned opened = c->opened;
    size_t at = 0;
    while (is_same(c, opened) && count - at >= FRAME) {
        const uint8_t *head = buffer + at;
        size_t payload = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        if (payload > PAYLOAD_MAX) fail("a frame is too large");
        if (count - at < FRAME + payload) break;
        take_frame(c, head, head + FRAME, payload);
        at += FRAME + payload;
    }
    return at;
}

static void receive(struct connection *c) {
    unsigned opened = c->opened;
    size_t count = c->rest_count;
    if (count > 0) memcpy(buffer, c->rest, count);
    c->rest_count = 0;
    for (;;) {
        int got = SSL_read(c->ssl, buffer + count, (int)(BUFFER - count));
        if (got <= 0 && SSL_get_error(c->ssl, got) == SSL_ERROR_WANT_READ) break;
        if (got <= 0) fail("the server ended a connection");
        count += (size_t)got;
        size_t used = count;
        if (c->is_raw) on->bytes(c, count);
        else used = take_frames(c, count);
        if (!is_same(c, opened)) return;
        count -= used;
        memmove(buffer, buffer + used, count);
    }
    if (count == 0) return;
    if (!c->rest && !(c->rest = malloc(FRAME + PAYLOAD_MAX))) fail("malloc");
    memcpy(c->rest, buffer, count);
    c->rest_count = count;
}

static void progress(struct connection *c) {
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if ((errno = error)) fail("connect");
        c->state = HANDSHAKING;
    }
    if (c->state == HANDSHAKING) {
        int result = SSL_do_handshake(c->ssl);
        if (result != 1) {
            int error = SSL_get_error(c->ssl, result);
            if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) fail("handshake");
            return;
        }
        c->state = c->is_raw ? READY : GREETING;
        if (c->is_raw) on->ready(c);
        else greet(c);
        connection_flush(c);
    }
    unsigned opened = c->opened;
    receive(c);
    if (is_same(c, opened)) connection_flush(c);
}

bool client_turn(uint64_t wait_ns) {
    struct epoll_event events[EVENTS];
    struct timespec wait = {(time_t)(wait_ns / 1000000000), (long)(wait_ns % 1000000000)};
    int count = epoll_pwait2(epoll, events, EVENTS, &wait, NULL);
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].data.u64 & 1) on->readable((int)(events[i].data.u64 >> 1));
        else if (c->state != CLOSED) progress(c);
    }
    return count > 0;
}
