// What storage needs from C: checksums that use the processor's own instructions, and Linux calls
// that glibc hides without _GNU_SOURCE.
#ifndef C_TRIAGE_SHIMS_STORAGE_H
#define C_TRIAGE_SHIMS_STORAGE_H

#include <stddef.h>
#include <stdint.h>

// CRC32C. `crc` is the CRC of what came before, 0 at the start.
uint32_t CTriageShims_crc32c(uint32_t crc, const uint8_t *bytes, size_t count);
// The same without the processor's instruction; for tests, and for processors without it.
uint32_t CTriageShims_crc32c_portable(uint32_t crc, const uint8_t *bytes, size_t count);

// SHA-256 state: eight words, bytes hashed so far, and the block that is not yet full.
typedef struct {
    uint32_t state[8];
    uint64_t count;
    uint8_t block[64];
} CTriageShims_sha256;

void CTriageShims_sha256_init(CTriageShims_sha256 *context);
void CTriageShims_sha256_update(CTriageShims_sha256 *context, const uint8_t *bytes, size_t count);
void CTriageShims_sha256_final(CTriageShims_sha256 *context, uint8_t digest[32]);
// SHA-256 of a head followed by `bytes`, which need not stand together.
void CTriageShims_sha256_joined(
    const uint8_t *head, size_t head_count, const uint8_t *bytes, size_t count, uint8_t digest[32]);
// Two such messages, faster than one after the other.
void CTriageShims_sha256_joined_pair(
    const uint8_t *head, size_t head_count, const uint8_t *bytes, size_t count,
    const uint8_t *other_head, size_t other_head_count, const uint8_t *other_bytes,
    size_t other_count, uint8_t digest[32], uint8_t other_digest[32]);
// For each pair of 32-byte digests that stand at `children` the SHA-256 of the byte 1 and the pair:
// nodes of an RFC 9162 tree. `nodes` may be where the children are, or up to 32 bytes behind them:
// no pair is overwritten before it was read.
void CTriageShims_sha256_nodes(const uint8_t *children, size_t count, uint8_t *nodes);
// Makes later calls use the portable code, or the processor's again; for tests.
void CTriageShims_sha256_force_portable(int portable);

int CTriageShims_open(const char *path, int flags, uint32_t mode);
int CTriageShims_O_DIRECT(void);
// Makes a file of mode 0600 without a name, in a directory: its descriptor, or -1 with errno.
int CTriageShims_open_unnamed(const char *directory);
// Gives it one that is not there: 0, or -1 with errno.
int CTriageShims_give_name(int fd, const char *path);
int CTriageShims_fallocate(int fd, int64_t offset, int64_t count);
// Takes an exclusive open-file-description lock on the whole file: 0, or -1 with errno.
int CTriageShims_ofd_lock(int fd);
int CTriageShims_getrandom(uint8_t *bytes, size_t count);

#endif
