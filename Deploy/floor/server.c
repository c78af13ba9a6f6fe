// The floor under triaged's transport: the same libraries (nghttp2, OpenSSL, protobuf-c, epoll) and
// the same answer as triage-echo gives, in plain C, and nothing else: one path, no limits, no
// deadlines, no metrics. What triage-echo costs above this is our own doing. A connection without
// ALPN is echoed byte for byte instead: the floor of TLS alone. A stream of /bench.Triage/Watch
// gets a message at once and another for every call that anybody makes: the floor of a fan-out.
// Deploy/bench compiles and runs it.
//
//   floor-server PORT CERTS     PORT 0: the kernel chooses; prints `listening 127.0.0.1:PORT`
//
// As in triaged, TLS runs over memory that all connections share, so that an idle one holds no
// buffers and whatever one wake-up gave costs one record and one send; sessions are kept here.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "CBenchEcho.h"
#include "common.h"

enum { RECORD = 16384, WIRE = 131072, REQUEST = 1024, REPLY = 1280, PREFIX = 5, EVENTS = 256 };
enum { WATCHED = 118 };  // bytes of a watch's message: as many as a new case has on the board

struct stream {
    struct stream *next_free;
    struct stream *next_watch;  // of the same connection
    int32_t id;
    size_t request_count, reply_count, reply_sent;
    bool is_known, is_watch;
    uint8_t request[REQUEST], reply[REPLY];
};

struct connection {
    int fd;
    bool is_open, is_watched;
    SSL *ssl;
    nghttp2_session *session;  // none on a connection that is echoed
    struct connection *next_watched;
    struct stream *watches;
    uint8_t *unsent;
    size_t unsent_count;
};

static SSL_CTX *tls;
static BIO_METHOD *memory;
static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options;
static struct stream *free_streams;
static struct connection *watched;
static bool has_news;
// Between the socket and TLS, for whichever connection has its turn.
static uint8_t received[WIRE], sealed[WIRE], plain[2 * RECORD + 64];
static size_t received_at, received_count, sealed_count;

// ---- TLS over memory --------------------------------------------------------------------------

static int memory_read(BIO *bio, char *to, int count) {
    BIO_clear_retry_flags(bio);
    size_t left = received_count - received_at;
    if (left == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t taken = left < (size_t)count ? left : (size_t)count;
    memcpy(to, received + received_at, taken);
    received_at += taken;
    return (int)taken;
}

static int memory_write(BIO *bio, const char *from, int count) {
    BIO_clear_retry_flags(bio);
    if (sealed_count + (size_t)count > sizeof sealed) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(sealed + sealed_count, from, (size_t)count);
    sealed_count += (size_t)count;
    return count;
}

static long memory_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int memory_create(BIO *bio) {
    BIO_set_init(bio, 1);
    return 1;
}

static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *count,
                           const unsigned char *offered, unsigned offered_count, void *context) {
    (void)ssl, (void)context;
    return nghttp2_select_next_protocol((unsigned char **)(uintptr_t)chosen, count, offered,
                                        offered_count) == 1
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void prepare_tls(const char *certs) {
    tls = tls_context(TLS_server_method(), certs, "server");
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    // Kept sessions resume at half the cost of tickets, which hold the client's certificate.
    SSL_CTX_set_options(tls, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(tls, 1);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_SERVER);
    SSL_CTX_set_session_id_context(tls, (const unsigned char *)"floor", 5);
    SSL_CTX_set_alpn_select_cb(tls, choose_protocol, NULL);
    memory = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "memory");
    BIO_meth_set_read(memory, memory_read);
    BIO_meth_set_write(memory, memory_write);
    BIO_meth_set_ctrl(memory, memory_control);
    BIO_meth_set_create(memory, memory_create);
}

// ---- HTTP/2: one method, one message each way -------------------------------------------------

#define FIELD(name, value)                                                      \
    {(uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, \
     sizeof(value) - 1, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE}
static const nghttp2_nv reply_headers[] = {FIELD(":status", "200"),
                                           FIELD("content-type", "application/grpc")};
static const nghttp2_nv reply_trailers[] = {FIELD("grpc-status", "0")};
static const nghttp2_nv refusal[] = {FIELD(":status", "200"),
                                     FIELD("content-type", "application/grpc"),
                                     FIELD("grpc-status", "12")};

static ssize_t read_reply(nghttp2_session *session, int32_t id, uint8_t *to, size_t capacity,
                          uint32_t *flags, nghttp2_data_source *source, void *context) {
    (void)context;
    struct stream *stream = source->ptr;
    size_t count = stream->reply_count - stream->reply_sent;
    if (count == 0 && stream->is_watch) return NGHTTP2_ERR_DEFERRED;
    if (count > capacity) count = capacity;
    memcpy(to, stream->reply + stream->reply_sent, count);
    stream->reply_sent += count;
    if (stream->is_watch) return (ssize_t)count;
    if (stream->reply_sent == stream->reply_count) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, id, reply_trailers, 1);
    }
    return (ssize_t)count;
}

static void tell(struct stream *stream) {
    uint32_t length = htonl(WATCHED);
    stream->reply[0] = 0;
    memcpy(stream->reply + 1, &length, sizeof length);
    memset(stream->reply + PREFIX, 'w', WATCHED);
    stream->reply_count = PREFIX + WATCHED;
    stream->reply_sent = 0;
}

static void begin_watch(struct connection *c, int32_t id, struct stream *stream) {
    if (!c->is_watched) c->next_watched = watched, watched = c, c->is_watched = true;
    stream->next_watch = c->watches;
    c->watches = stream;
    tell(stream);
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_reply};
    nghttp2_submit_response(c->session, id, reply_headers, 2, &provider);
}

static void answer(nghttp2_session *session, int32_t id, struct stream *stream) {
    size_t count = 0;
    has_news = watched;
    if (stream->is_known && stream->request_count >= PREFIX && stream->request[0] == 0)
        count = bench_submit(stream->request + PREFIX, stream->request_count - PREFIX,
                             stream->reply + PREFIX, REPLY - PREFIX);
    if (count == 0) {
        nghttp2_submit_response(session, id, refusal, 3, NULL);
        return;
    }
    uint32_t length = htonl((uint32_t)count);
    stream->reply[0] = 0;
    memcpy(stream->reply + 1, &length, sizeof length);
    stream->reply_count = PREFIX + count;
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_reply};
    nghttp2_submit_response(session, id, reply_headers, 2, &provider);
}

static int begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context) {
    (void)context;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    struct stream *stream = free_streams;
    if (stream) free_streams = stream->next_free;
    else if (!(stream = malloc(sizeof *stream))) fail("malloc");
    stream->request_count = stream->reply_count = stream->reply_sent = 0;
    stream->is_known = stream->is_watch = false;
    stream->id = frame->hd.stream_id;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
    return 0;
}

static int take_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                       size_t name_count, const uint8_t *value, size_t value_count, uint8_t flags,
                       void *context) {
    (void)flags, (void)context;
    static const char path[] = "/bench.Triage/Submit", watch[] = "/bench.Triage/Watch";
    if (name_count != 5 || memcmp(name, ":path", 5)) return 0;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!stream) return 0;
    stream->is_known = value_count == sizeof path - 1 && !memcmp(value, path, value_count);
    stream->is_watch = value_count == sizeof watch - 1 && !memcmp(value, watch, value_count);
    return 0;
}

static int take_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *from,
                     size_t count, void *context) {
    (void)flags, (void)context;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
    if (stream && stream->request_count + count <= REQUEST) {
        memcpy(stream->request + stream->request_count, from, count);
        stream->request_count += count;
    }
    return 0;
}

static int take_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context) {
    bool is_request = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (!is_request || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (stream && stream->is_watch) begin_watch(context, frame->hd.stream_id, stream);
    else if (stream) answer(session, frame->hd.stream_id, stream);
    return 0;
}

static int close_stream(nghttp2_session *session, int32_t id, uint32_t code, void *context) {
    (void)code;
    struct connection *c = context;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
    if (!stream) return 0;
    struct stream **place = &c->watches;
    while (stream->is_watch && *place != stream) place = &(*place)->next_watch;
    if (stream->is_watch) *place = stream->next_watch;
    stream->next_free = free_streams;
    free_streams = stream;
    return 0;
}

static void prepare_http2(void) {
    if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&options)) fail("nghttp2");
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, take_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, take_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, take_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, close_stream);
    nghttp2_option_set_no_closed_streams(options, 1);
}

// ---- Connections ------------------------------------------------------------------------------

static void open_connection(int epoll, int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *c = calloc(1, sizeof *c);
    BIO *bio = BIO_new(memory);
    if (!c || !bio || !(c->ssl = SSL_new(tls))) fail("connection");
    c->fd = fd;
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_accept_state(c->ssl);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

static void close_connection(struct connection *c) {
    struct connection **place = &watched;
    while (*place && *place != c) place = &(*place)->next_watched;
    if (*place) *place = c->next_watched;
    if (c->session) nghttp2_session_del(c->session);
    // Without this a connection that just ended would take its session out of the cache.
    SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    sealed_count = 0;
    close(c->fd);
    free(c->unsent);
    free(c);
}

// Sends what was kept, then what is sealed; keeps what the socket does not take.
static bool send_sealed(struct connection *c) {
    while (c->unsent_count > 0) {
        ssize_t sent = send(c->fd, c->unsent, c->unsent_count, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) break;
        if (sent < 0) return false;
        c->unsent_count -= (size_t)sent;
        memmove(c->unsent, c->unsent + sent, c->unsent_count);
    }
    size_t at = 0;
    while (c->unsent_count == 0 && at < sealed_count) {
        ssize_t sent = send(c->fd, sealed + at, sealed_count - at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) break;
        if (sent < 0) return false;
        at += (size_t)sent;
    }
    size_t rest = sealed_count - at;
    sealed_count = 0;
    if (rest == 0) return true;
    c->unsent = realloc(c->unsent, c->unsent_count + rest);
    if (!c->unsent) fail("realloc");
    memcpy(c->unsent + c->unsent_count, sealed + at, rest);
    c->unsent_count += rest;
    return true;
}

static bool seal(struct connection *c, size_t count) {
    for (size_t at = 0; at < count;) {
        int written = SSL_write(c->ssl, plain + at, (int)(count - at));
        if (written <= 0) return false;
        at += (size_t)written;
    }
    return sealed_count < WIRE - 2 * sizeof plain || send_sealed(c);
}

// Gathers frames into records until the session has no more or the socket takes no more.
static bool flush(struct connection *c) {
    while (c->session && c->unsent_count == 0) {
        size_t count = 0;
        const uint8_t *frame;
        for (ssize_t k; count < RECORD && (k = nghttp2_session_mem_send(c->session, &frame));) {
            if (k < 0) return false;
            memcpy(plain + count, frame, (size_t)k);
            count += (size_t)k;
        }
        if (count == 0) break;
        if (!seal(c, count)) return false;
    }
    return send_sealed(c);
}

static bool finish_handshake(struct connection *c) {
    int result = SSL_accept(c->ssl);
    if (result != 1) return SSL_get_error(c->ssl, result) == SSL_ERROR_WANT_READ;
    c->is_open = true;
    const unsigned char *protocol;
    unsigned count;
    SSL_get0_alpn_selected(c->ssl, &protocol, &count);
    if (count == 0) return true;
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 256}};
    return nghttp2_session_server_new2(&c->session, callbacks, c, options) == 0 &&
           nghttp2_submit_settings(c->session, 0, settings, 1) == 0 &&
           nghttp2_session_set_local_window_size(c->session, 0, 0, 1 << 20) == 0;
}

// What one recv gave, through TLS into the session, or back.
static bool take_received(struct connection *c) {
    if (!c->is_open && !finish_handshake(c)) return false;
    if (!c->is_open) return true;
    for (;;) {
        int count = SSL_read(c->ssl, plain, RECORD);
        if (count <= 0) return SSL_get_error(c->ssl, count) == SSL_ERROR_WANT_READ;
        if (!c->session) {
            if (!seal(c, (size_t)count)) return false;
        } else if (nghttp2_session_mem_recv(c->session, plain, (size_t)count) != count) {
            return false;
        }
    }
}

static bool serve_connection(struct connection *c) {
    for (ssize_t count = WIRE; count == WIRE;) {  // a short one has emptied the socket
        count = recv(c->fd, received, sizeof received, 0);
        if (count == 0 || (count < 0 && errno != EAGAIN)) return false;
        if (count < 0) break;
        received_at = 0;
        received_count = (size_t)count;
        if (!take_received(c)) return false;
    }
    if (!flush(c)) return false;
    return !c->session || nghttp2_session_want_read(c->session) ||
           nghttp2_session_want_write(c->session) || c->unsent_count > 0;
}

// One more message on every watch; a connection that fails is closed when epoll tells of it.
static void tell_watches(void) {
    for (struct connection *c = watched; c; c = c->next_watched) {
        for (struct stream *stream = c->watches; stream; stream = stream->next_watch) {
            tell(stream);
            nghttp2_session_resume_data(c->session, stream->id);
        }
        flush(c);
    }
}

static int listen_on(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1024) ||
        getsockname(listener, (struct sockaddr *)&address, &length))
        fail("listen");
    printf("listening 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: floor-server PORT CERTS\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    prepare_tls(argv[2]);
    prepare_http2();
    int listener = listen_on((uint16_t)atoi(argv[1])), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS] = {{.events = EPOLLIN, .data.ptr = NULL}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, events)) fail("epoll_ctl");
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c && !serve_connection(c)) close_connection(c);
            if (c) continue;
            for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
                open_connection(epoll, fd);
        }
        if (has_news) tell_watches();
        has_news = false;
    }
}
