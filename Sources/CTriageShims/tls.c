#include "CTriageShims_tls.h"

#include <openssl/ssl.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

int CTriageShims_SSL_CTX_set_min_proto_version(SSL_CTX *context, int version) {
    return SSL_CTX_set_min_proto_version(context, version);
}

int CTriageShims_SSL_CTX_set_max_proto_version(SSL_CTX *context, int version) {
    return SSL_CTX_set_max_proto_version(context, version);
}

int CTriageShims_SSL_CTX_set1_groups_list(SSL_CTX *context, const char *groups) {
    return SSL_CTX_set1_groups_list(context, groups);
}

long CTriageShims_SSL_CTX_set_mode(SSL_CTX *context, long mode) {
    return SSL_CTX_set_mode(context, mode);
}

long CTriageShims_SSL_CTX_set_session_cache_mode(SSL_CTX *context, long mode) {
    return SSL_CTX_set_session_cache_mode(context, mode);
}

long CTriageShims_SSL_CTX_sess_set_cache_size(SSL_CTX *context, long sessions) {
    return SSL_CTX_sess_set_cache_size(context, sessions);
}

long CTriageShims_SSL_set_tlsext_host_name(SSL *ssl, const char *name) {
    return SSL_set_tlsext_host_name(ssl, name);
}

long CTriageShims_SSL_CTX_set_max_cert_list(SSL_CTX *context, long bytes) {
    return SSL_CTX_set_max_cert_list(context, bytes);
}

uint64_t CTriageShims_SSL_OP_NO_TICKET(void) { return SSL_OP_NO_TICKET; }

uint64_t CTriageShims_SSL_OP_NO_RENEGOTIATION(void) { return SSL_OP_NO_RENEGOTIATION; }

int CTriageShims_file_mode(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) return -errno;
    if (!S_ISREG(status.st_mode)) return -EISDIR;
    return (int)(status.st_mode & 07777);
}

void CTriageShims_strerror(int error, char *buffer, size_t size) {
    snprintf(buffer, size, "%s", strerrordesc_np(error) ? strerrordesc_np(error) : "unknown error");
}

int64_t CTriageShims_time(void) { return (int64_t)time(NULL); }
