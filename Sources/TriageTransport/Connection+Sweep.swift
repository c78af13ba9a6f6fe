// What time does to a connection: once a second each is looked at for what it failed to do. And
// drain, which ends a connection without losing a call. Time is handed in, as everywhere in this
// machine.

import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageTLS

extension Connection {
    private func has(_ milliseconds: Int64, passedSince start: MonotonicTime) -> Bool {
        core.now.nanoseconds(since: start) > UInt64(milliseconds) * 1_000_000
    }

    /// Checks everything on this connection that has a time limit of its own but no timer.
    func sweep() {
        guard !isEnding else { return }
        if wire.isHandshaking {
            if has(core.limits.handshakeMillisecondsMax, passedSince: acceptedAt) {
                time(.handshakeTime)
            }
            return
        }
        if !hasSettings {
            if has(core.limits.prefaceMillisecondsMax, passedSince: openedAt) { time(.prefaceTime) }
            return
        }
        sweepHeaders()
        sweepOutput()
        sweepPlain()
        sweepIdle()
        if case .noticed(let since) = drainPhase, has(Self.noticeMilliseconds, passedSince: since) {
            drainAcknowledged()
        }
    }

    private func time(_ kind: LimitKind) {
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

    // MARK: Drain

    /// How long the answer to the notice's ping may take, milliseconds.
    private static let noticeMilliseconds: Int64 = 1_000
    private static let drainPing: UInt64 = 0x6472_6169_6E00_0000  // "drain"

    /// Announces the end: streams on their way are still served.
    ///
    /// Source: RFC 9113 §6.8; grpc-go's server drains in the same two steps.
    func beginDrain() {
        guard case .none = drainPhase, !isEnding else { return }
        if wire.isHandshaking { return end("draining") }
        drainPhase = .noticed(since: core.now)
        do throws(HTTP2Error) {
            try http2.shutdownNotice()
            try http2.ping(Self.drainPing)
        } catch {
            end("draining")
        }
        markDirty()
    }

    /// A round trip after the notice: no stream opened before it is on its way any more.
    func drainAcknowledged() {
        guard case .noticed = drainPhase, !isEnding else { return }
        drainPhase = .final
        do throws(HTTP2Error) {
            try http2.goAway(.noError, debug: "draining")
        } catch {
            end("draining")
        }
        markDirty()
    }

    /// The grace is over: what is still open ends now.
    func finishDrain() {
        guard !isEnding else { return }
        for call in core.calls.all where call.connection === self && call.machine.isOpen {
            core.metrics.count(.drainTime)
            core.end(call, self, WireError.draining)
            core.notifyCancelled(call, .drained)
        }
        flush()
        end("drained", .noError, debug: "draining")
    }
}
