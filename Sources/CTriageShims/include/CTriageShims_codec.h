// What the codec needs of the C library.
#ifndef C_TRIAGE_SHIMS_CODEC_H
#define C_TRIAGE_SHIMS_CODEC_H

#include <stddef.h>
#include <string.h>

// strlen(3).
static inline size_t CTriageShims_strlen(const char *text) { return strlen(text); }

#endif
