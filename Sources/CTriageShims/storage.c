#include "CTriageShimsStorage.h"

#include <stdio.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

// ---- CRC32C ----

static uint32_t crc_table[8][256];
static int has_crc, has_sha, force_portable_sha;

__attribute__((constructor)) static void prepare(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = (c & 1) ? (c >> 1) ^ 0x82F63B78u : c >> 1;
        crc_table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            crc_table[t][i] = (crc_table[t - 1][i] >> 8) ^ crc_table[0][crc_table[t - 1][i] & 255];
#if defined(__x86_64__)
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d)) has_crc = (c >> 20) & 1;
    int sse41 = has_crc;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) has_sha = sse41 && ((b >> 29) & 1);
#endif
}

uint32_t CTriageShims_crc32c_portable(uint32_t crc, const uint8_t *p, size_t n) {
    crc = ~crc;
    while (n >= 8) {
        uint32_t word = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
        uint32_t lo = crc ^ (word | (uint32_t)p[3] << 24);
        crc = crc_table[7][lo & 255] ^ crc_table[6][(lo >> 8) & 255];
        crc ^= crc_table[5][(lo >> 16) & 255] ^ crc_table[4][lo >> 24];
        crc ^= crc_table[3][p[4]] ^ crc_table[2][p[5]] ^ crc_table[1][p[6]] ^ crc_table[0][p[7]];
        p += 8;
        n -= 8;
    }
    while (n--) crc = (crc >> 8) ^ crc_table[0][(crc ^ *p++) & 255];
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(
    uint32_t crc, const uint8_t *p, size_t n) {
    uint64_t c = (uint32_t)~crc;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
    }
    uint32_t d = (uint32_t)c;
    while (n--) d = _mm_crc32_u8(d, *p++);
    return ~d;
}
#endif

uint32_t CTriageShims_crc32c(uint32_t crc, const uint8_t *bytes, size_t count) {
#if defined(__x86_64__)
    if (has_crc) return crc32c_sse42(crc, bytes, count);
#endif
    return CTriageShims_crc32c_portable(crc, bytes, count);
}

// ---- SHA-256 (FIPS 180-4) ----

static const uint32_t K[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t ror(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void blocks_portable(uint32_t s[8], const uint8_t *p, size_t blocks) {
    for (; blocks--; p += 64) {
        uint32_t w[64];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16
                 | (uint32_t)p[4 * i + 2] << 8 | (uint32_t)p[4 * i + 3];
        for (int i = 16; i < 64; i++) {
            uint32_t s0 = ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ (w[i - 15] >> 3);
            uint32_t s1 = ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ (w[i - 2] >> 10);
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        uint32_t v[8];
        memcpy(v, s, 32);
        // The eight variables stay where they are and change their names instead.
        for (int i = 0; i < 64; i += 8)
            for (int j = 0; j < 8; j++) {
                uint32_t a = v[(8 - j) & 7], b = v[(9 - j) & 7], c = v[(10 - j) & 7];
                uint32_t e = v[(12 - j) & 7], f = v[(13 - j) & 7], g = v[(14 - j) & 7];
                uint32_t t = v[(15 - j) & 7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25))
                           + ((e & f) ^ (~e & g)) + K[i + j] + w[i + j];
                v[(11 - j) & 7] += t;
                v[(15 - j) & 7] = t + (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22))
                                + ((a & b) ^ (a & c) ^ (b & c));
            }
        for (int i = 0; i < 8; i++) s[i] += v[i];
    }
}

#if defined(__x86_64__)
// One group of four rounds; `m` holds its four message words.
#define ROUNDS4(g, m)                                                                   \
    do {                                                                                \
        __m128i t = _mm_add_epi32(m, _mm_load_si128((const __m128i *)(K + 4 * (g))));   \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, t);                                    \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(t, 0x0E));           \
    } while (0)
// The next four message words from the last sixteen, in place of the oldest four.
#define SCHEDULE(a, b, c, d)                                                            \
    a = _mm_sha256msg2_epu32(                                                           \
        _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4)), d)

__attribute__((target("sha,sse4.1,ssse3"))) static void blocks_ni(
    uint32_t s[8], const uint8_t *p, size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)s), 0xB1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(s + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(low, high, 8);
    __m128i cdgh = _mm_blend_epi16(high, low, 0xF0);
    for (; blocks--; p += 64) {
        __m128i abef0 = abef, cdgh0 = cdgh;
        __m128i m0 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p)), swap);
        __m128i m1 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16)), swap);
        __m128i m2 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 32)), swap);
        __m128i m3 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 48)), swap);
        ROUNDS4(0, m0);
        ROUNDS4(1, m1);
        ROUNDS4(2, m2);
        ROUNDS4(3, m3);
        for (int g = 4; g < 16; g += 4) {
            SCHEDULE(m0, m1, m2, m3);
            ROUNDS4(g, m0);
            SCHEDULE(m1, m2, m3, m0);
            ROUNDS4(g + 1, m1);
            SCHEDULE(m2, m3, m0, m1);
            ROUNDS4(g + 2, m2);
            SCHEDULE(m3, m0, m1, m2);
            ROUNDS4(g + 3, m3);
        }
        abef = _mm_add_epi32(abef, abef0);
        cdgh = _mm_add_epi32(cdgh, cdgh0);
    }
    low = _mm_shuffle_epi32(abef, 0x1B);
    high = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)s, _mm_blend_epi16(low, high, 0xF0));
    _mm_storeu_si128((__m128i *)(s + 4), _mm_alignr_epi8(high, low, 8));
}

#define ROUNDS4X2(g, m, n)                                                              \
    do {                                                                                \
        __m128i k = _mm_load_si128((const __m128i *)(K + 4 * (g)));                     \
        __m128i t = _mm_add_epi32(m, k), u = _mm_add_epi32(n, k);                       \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, t);                                    \
        CDGH = _mm_sha256rnds2_epu32(CDGH, ABEF, u);                                    \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(t, 0x0E));           \
        ABEF = _mm_sha256rnds2_epu32(ABEF, CDGH, _mm_shuffle_epi32(u, 0x0E));           \
    } while (0)
#define SCHEDULEX2(a, b, c, d)                                                          \
    SCHEDULE(m##a, m##b, m##c, m##d);                                                   \
    SCHEDULE(n##a, n##b, n##c, n##d)

// The same over two messages at once: one's rounds hide the other's latency.
__attribute__((target("sha,sse4.1,ssse3"))) static void blocks_ni_pair(
    uint32_t s[8], uint32_t S[8], const uint8_t *p, const uint8_t *q, size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)s), 0xB1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(s + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xF0);
    low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)S), 0xB1);
    high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(S + 4)), 0x1B);
    __m128i ABEF = _mm_alignr_epi8(low, high, 8), CDGH = _mm_blend_epi16(high, low, 0xF0);
    for (; blocks--; p += 64, q += 64) {
        __m128i abef0 = abef, cdgh0 = cdgh, ABEF0 = ABEF, CDGH0 = CDGH;
        __m128i m0 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p)), swap);
        __m128i m1 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16)), swap);
        __m128i m2 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 32)), swap);
        __m128i m3 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 48)), swap);
        __m128i n0 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(q)), swap);
        __m128i n1 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(q + 16)), swap);
        __m128i n2 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(q + 32)), swap);
        __m128i n3 = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(q + 48)), swap);
        ROUNDS4X2(0, m0, n0);
        ROUNDS4X2(1, m1, n1);
        ROUNDS4X2(2, m2, n2);
        ROUNDS4X2(3, m3, n3);
        for (int g = 4; g < 16; g += 4) {
            SCHEDULEX2(0, 1, 2, 3);
            ROUNDS4X2(g, m0, n0);
            SCHEDULEX2(1, 2, 3, 0);
            ROUNDS4X2(g + 1, m1, n1);
            SCHEDULEX2(2, 3, 0, 1);
            ROUNDS4X2(g + 2, m2, n2);
            SCHEDULEX2(3, 0, 1, 2);
            ROUNDS4X2(g + 3, m3, n3);
        }
        abef = _mm_add_epi32(abef, abef0);
        cdgh = _mm_add_epi32(cdgh, cdgh0);
        ABEF = _mm_add_epi32(ABEF, ABEF0);
        CDGH = _mm_add_epi32(CDGH, CDGH0);
    }
    low = _mm_shuffle_epi32(abef, 0x1B);
    high = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)s, _mm_blend_epi16(low, high, 0xF0));
    _mm_storeu_si128((__m128i *)(s + 4), _mm_alignr_epi8(high, low, 8));
    low = _mm_shuffle_epi32(ABEF, 0x1B);
    high = _mm_shuffle_epi32(CDGH, 0xB1);
    _mm_storeu_si128((__m128i *)S, _mm_blend_epi16(low, high, 0xF0));
    _mm_storeu_si128((__m128i *)(S + 4), _mm_alignr_epi8(high, low, 8));
}
#endif

static void hash_blocks(uint32_t s[8], const uint8_t *p, size_t blocks) {
#if defined(__x86_64__)
    if (has_sha && !force_portable_sha) {
        blocks_ni(s, p, blocks);
        return;
    }
#endif
    blocks_portable(s, p, blocks);
}

void CTriageShims_sha256_force_portable(int portable) { force_portable_sha = portable; }

static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static void store_digest(const uint32_t s[8], uint8_t digest[32]) {
    for (int i = 0; i < 8; i++) {
        uint32_t word = __builtin_bswap32(s[i]);
        memcpy(digest + 4 * i, &word, 4);
    }
}

void CTriageShims_sha256_init(CTriageShims_sha256 *c) {
    memcpy(c->state, start, sizeof start);
    c->count = 0;
}

void CTriageShims_sha256_update(CTriageShims_sha256 *c, const uint8_t *p, size_t n) {
    size_t held = c->count & 63;
    c->count += n;
    if (held) {
        size_t take = 64 - held < n ? 64 - held : n;
        memcpy(c->block + held, p, take);
        p += take;
        n -= take;
        if (held + take < 64) return;
        hash_blocks(c->state, c->block, 1);
    }
    if (n >= 64) {
        hash_blocks(c->state, p, n / 64);
        p += n & ~(size_t)63;
        n &= 63;
    }
    if (n) memcpy(c->block, p, n);
}

void CTriageShims_sha256_final(CTriageShims_sha256 *c, uint8_t digest[32]) {
    size_t held = c->count & 63;
    uint64_t bits = c->count * 8;
    c->block[held++] = 0x80;
    if (held > 56) {
        memset(c->block + held, 0, 64 - held);
        hash_blocks(c->state, c->block, 1);
        held = 0;
    }
    memset(c->block + held, 0, 56 - held);
    for (int i = 0; i < 8; i++) c->block[56 + i] = (uint8_t)(bits >> (56 - 8 * i));
    hash_blocks(c->state, c->block, 1);
    store_digest(c->state, digest);
}

// A message of `h` bytes followed by `n` bytes as blocks: the first on its own, those in the middle
// where they stand, the padded last ones on their own. Whole blocks of the head are hashed at once.
typedef struct {
    uint8_t first[64], last[128];
    const uint8_t *middle;
    size_t middle_count, last_count;
    int has_first;
    uint32_t state[8];
} message;

static void make_message(message *m, const uint8_t *head, size_t h, const uint8_t *p, size_t n) {
    uint64_t bits = __builtin_bswap64((uint64_t)(h + n) * 8);
    memcpy(m->state, start, sizeof start);
    if (h >= 64) {
        hash_blocks(m->state, head, h / 64);
        head += h & ~(size_t)63;
        h &= 63;
    }
    size_t full = (h + n) / 64, rest = (h + n) % 64;
    m->has_first = full > 0;
    m->middle = p + (64 - h);
    m->middle_count = full > 0 ? full - 1 : 0;
    m->last_count = rest < 56 ? 1 : 2;
    if (full) {
        memcpy(m->first, head, h);
        memcpy(m->first + h, p, 64 - h);
        memcpy(m->last, p + n - rest, rest);
    } else {
        memcpy(m->last, head, h);
        if (n) memcpy(m->last + h, p, n);
    }
    size_t end = 64 * m->last_count;
    m->last[rest] = 0x80;
    memset(m->last + rest + 1, 0, end - 8 - rest - 1);
    memcpy(m->last + end - 8, &bits, 8);
}

static void hash_message(message *m, size_t middle_done, int first_done) {
    if (m->has_first && !first_done) hash_blocks(m->state, m->first, 1);
    hash_blocks(m->state, m->middle + 64 * middle_done, m->middle_count - middle_done);
    hash_blocks(m->state, m->last, m->last_count);
}

void CTriageShims_sha256_joined(
    const uint8_t *head, size_t h, const uint8_t *p, size_t n, uint8_t digest[32]) {
    message m;
    make_message(&m, head, h, p, n);
    hash_message(&m, 0, 0);
    store_digest(m.state, digest);
}

void CTriageShims_sha256_joined_pair(
    const uint8_t *head, size_t h, const uint8_t *p, size_t n, const uint8_t *other_head, size_t g,
    const uint8_t *q, size_t k, uint8_t digest[32], uint8_t other[32]) {
    message a, b;
    make_message(&a, head, h, p, n);
    make_message(&b, other_head, g, q, k);
    size_t middle = 0;
    int first = 0;
#if defined(__x86_64__)
    if (has_sha && !force_portable_sha && a.has_first == b.has_first) {
        if (a.has_first) {
            first = 1;
            blocks_ni_pair(a.state, b.state, a.first, b.first, 1);
            middle = a.middle_count < b.middle_count ? a.middle_count : b.middle_count;
            blocks_ni_pair(a.state, b.state, a.middle, b.middle, middle);
        }
        if (middle == a.middle_count && middle == b.middle_count && a.last_count == b.last_count) {
            blocks_ni_pair(a.state, b.state, a.last, b.last, a.last_count);
            store_digest(a.state, digest);
            store_digest(b.state, other);
            return;
        }
    }
#endif
    hash_message(&a, middle, first);
    hash_message(&b, middle, first);
    store_digest(a.state, digest);
    store_digest(b.state, other);
}

// The two blocks of a node of RFC 9162: one byte, two digests, padding.
static void make_node(uint8_t blocks[128], const uint8_t children[64]) {
    blocks[0] = 1;
    memcpy(blocks + 1, children, 64);
    blocks[65] = 0x80;
    memset(blocks + 66, 0, 60);
    blocks[126] = 520 >> 8;
    blocks[127] = 520 & 255;
}

void CTriageShims_sha256_nodes(const uint8_t *children, size_t count, uint8_t *nodes) {
    uint8_t a[128];
    uint32_t s[8];
#if defined(__x86_64__)
    uint8_t b[128];
    uint32_t t[8];
    if (has_sha && !force_portable_sha)
        for (; count >= 2; count -= 2, children += 128, nodes += 64) {
            make_node(a, children);
            make_node(b, children + 64);
            memcpy(s, start, sizeof start);
            memcpy(t, start, sizeof start);
            blocks_ni_pair(s, t, a, b, 2);
            store_digest(s, nodes);
            store_digest(t, nodes + 32);
        }
#endif
    for (; count; count--, children += 64, nodes += 32) {
        make_node(a, children);
        memcpy(s, start, sizeof start);
        hash_blocks(s, a, 2);
        store_digest(s, nodes);
    }
}

// ---- Linux calls ----

int CTriageShims_open(const char *path, int flags, uint32_t mode) {
    return open(path, flags, mode);
}

int CTriageShims_O_DIRECT(void) { return O_DIRECT; }

int CTriageShims_open_unnamed(const char *directory) {
    return open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

int CTriageShims_give_name(int fd, const char *path) {
    char own[64];
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, own, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

int CTriageShims_fallocate(int fd, int64_t offset, int64_t count) {
    return fallocate(fd, 0, offset, count);
}

int CTriageShims_ofd_lock(int fd) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &lock);
}

int CTriageShims_getrandom(uint8_t *bytes, size_t count) {
    return getrandom(bytes, count, 0) == (ssize_t)count ? 0 : -1;
}
