// Memory of nghttp2 sessions.
#ifndef C_TRIAGE_SHIMS_HTTP2_H
#define C_TRIAGE_SHIMS_HTTP2_H

// An nghttp2_mem of the C library's heap, except that a session's send buffer lies on pages of its
// own: an idle session keeps the one page that small frames touch, not all five. Never freed.
void *CTriageShims_http2_memory(void);

#endif
