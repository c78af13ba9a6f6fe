// Memory of nghttp2 sessions.
#ifndef C_TRIAGE_SHIMS_HTTP2_H
#define C_TRIAGE_SHIMS_HTTP2_H

#include <stddef.h>

/// malloc(3), except that a large block lies on pages of its own: an idle session keeps the one
/// page of its send buffer that small frames touch, not all five.
void *CTriageShims_allocate(size_t size);
/// realloc(3).
void *CTriageShims_reallocate(void *memory, size_t size);
/// free(3).
void CTriageShims_free(void *memory);

#endif
