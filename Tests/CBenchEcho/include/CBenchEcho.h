// The work of bench.Triage/Submit, done exactly as the yardstick "c-floor" does it, so that the two
// servers differ in nothing but the transport.
#ifndef C_BENCH_ECHO_H
#define C_BENCH_ECHO_H

#include <stddef.h>
#include <stdint.h>

/// Decodes a SubmitRequest and packs its SubmitResponse; returns the reply's size, or 0 if either
/// fails.
size_t bench_submit(const uint8_t *request, size_t count, uint8_t *reply, size_t capacity);

#endif
