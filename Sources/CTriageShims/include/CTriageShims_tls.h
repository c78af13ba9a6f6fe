// OpenSSL names that are macros and therefore invisible to Swift, one function each.
#ifndef C_TRIAGE_SHIMS_TLS_H
#define C_TRIAGE_SHIMS_TLS_H

#include <stddef.h>
#include <stdint.h>

struct ssl_ctx_st;
struct ssl_st;

int CTriageShims_SSL_CTX_set_min_proto_version(struct ssl_ctx_st *context, int version);
int CTriageShims_SSL_CTX_set_max_proto_version(struct ssl_ctx_st *context, int version);
int CTriageShims_SSL_CTX_set1_groups_list(struct ssl_ctx_st *context, const char *groups);
long CTriageShims_SSL_CTX_set_mode(struct ssl_ctx_st *context, long mode);
long CTriageShims_SSL_CTX_set_session_cache_mode(struct ssl_ctx_st *context, long mode);
long CTriageShims_SSL_CTX_sess_set_cache_size(struct ssl_ctx_st *context, long sessions);
long CTriageShims_SSL_set_tlsext_host_name(struct ssl_st *ssl, const char *name);
long CTriageShims_SSL_CTX_set_max_cert_list(struct ssl_ctx_st *context, long bytes);
uint64_t CTriageShims_SSL_OP_NO_TICKET(void);
uint64_t CTriageShims_SSL_OP_NO_RENEGOTIATION(void);

// stat(2) without Glibc's struct: the permission bits of a regular file, or a negative errno
// (-EISDIR for anything that is not a regular file).
int CTriageShims_file_mode(const char *path);
// strerror(3) into the caller's buffer.
void CTriageShims_strerror(int error, char *buffer, size_t size);
// Keeps what a thread frees in OpenSSL for what it allocates there next; 0 if OpenSSL has allocated
// before. The other three are what OpenSSL is given, and how many bytes this thread keeps.
int CTriageShims_keep_tls_memory(void);
void *CTriageShims_tls_allocate(size_t size, const char *file, int line);
void CTriageShims_tls_free(void *memory, const char *file, int line);
size_t CTriageShims_tls_kept(void);
// time(2).
int64_t CTriageShims_time(void);

#endif
