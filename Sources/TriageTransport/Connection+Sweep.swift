// What time does to a connection: once a second each is looked at for what it failed to do. Time is
// handed in, as everywhere in this machine. How a connection ends in peace is in
// Connection+Life.swift.

import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageTLS

extension Connection {
    func has(_ milliseconds: Int64, passedSince start: MonotonicTime) -> Bool {
        core.now.nanoseconds(since: start) > UInt64(milliseconds) * 1_000_000
    }

    /// Checks everything on this connection that has a time limit of its own but no timer.
    func sweep() {
        guard !isEnding else { return }
        if wire.isHandshaking { return sweepHandshake() }
        if !hasSettings {
            if has(core.limits.prefaceMillisecondsMax, passedSince: openedAt) { time(.prefaceTime) }
            return
        }
        sweepHeaders()
        sweepOutput()
        sweepPlain()
        sweepIdle()
        sweepLife()
    }

    private func sweepHandshake() {
        if has(core.limits.handshakeMillisecondsMax, passedSince: acceptedAt) {
            time(.handshakeTime)
        } else if core.isDraining, wire.tls.bytesReceived == 0,
            has(Self.noticeMilliseconds, passedSince: acceptedAt)
        {
            end("draining")
        }
    }

    func time(_ kind: LimitKind) {
        core.metrics.count(kind)
        end(kind.label, .noError, debug: kind.farewell)
    }

    private func sweepHeaders() {
        guard http2.isReceivingHeaders else {
            headersSince = nil
            return
        }
        // Another block than the one that the last look met begins its own time.
        let block = http2.counters.headers
        let since = block == headersSeen ? headersSince ?? core.now : core.now
        headersSince = since
        headersSeen = block
        if has(core.limits.headerBlockMillisecondsMax, passedSince: since) {
            time(.headerBlockTime)
        }
    }

    private func sweepOutput() {
        if wire.tls.outputCount > 0,
            has(core.limits.stalledSocketMillisecondsMax, passedSince: sentAt)
        {
            time(.stalledSocket)
        }
    }

    private func sweepIdle() {
        let opened = http2.counters.streamsOpened
        if http2.openStreamCount > 0 || opened != streamsSeen {
            streamsSeen = opened
            activeAt = core.now
        } else if has(core.limits.idleMillisecondsMax, passedSince: activeAt) {
            time(.idleTime)
        }
    }
}
