// What Swift cannot reach: C macros and calls that need _GNU_SOURCE. No logic lives here.
#ifndef C_TRIAGE_SHIMS_H
#define C_TRIAGE_SHIMS_H

#include <stddef.h>
#include <stdint.h>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "CTriageShimsStorage.h"
#include "CTriageShimsIO.h"
#include "CTriageShims_codec.h"
#include "CTriageShims_http2.h"
#include "CTriageShims_tls.h"

#endif
