// How a connection ends in peace: because the server drains, or because it has reached its age. And
// the question whether its peer is still there. Time is handed in, as everywhere in this machine.

import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageTLS

extension Connection {
    /// How long the answer to the notice's ping may take, milliseconds.
    static let noticeMilliseconds: Int64 = 1_000
    private static let drainPing: UInt64 = 0x6472_6169_6E00_0000  // "drain"
    private static let keepalivePing: UInt64 = 0x616C_6976_653F_0000  // "alive?"

    /// The handshake is complete: draws the span of the connection's life.
    ///
    /// It is told to end when the peer's certificate expires at the latest; its calls then have the
    /// grace of any age.
    func lifeBegan() {
        guard !isEnding else { return }
        if core.isDraining { beginDrain() }
        age = ConnectionAge(
            now: core.now, limits: core.limits,
            certificateMilliseconds: wire.tls.peerMillisecondsLeft,
            random: &core.random)
    }

    /// Does what is due: asks a silent peer, retires an old connection, ends one that was told to.
    func sweepLife() {
        if case .noticed(let since) = drainPhase, has(Self.noticeMilliseconds, passedSince: since) {
            goAwayForGood()
        }
        switch age?.judge(core.now) ?? .nothing {
        case .nothing: break
        case .retire:
            guard case .none = drainPhase else { break }
            core.metrics.count(.connectionAge)
            retire(LimitKind.connectionAge.farewell)
        case .finish: return finish(.ageGrace, WireError.connectionAged)
        }
        guard !isEnding else { return }
        switch keepalive.judge(
            bytes: wire.tls.bytesReceived, hasStreams: http2.openStreamCount > 0, now: core.now,
            limits: core.limits)
        {
        case .nothing: break
        case .ping:
            // Fails only for want of memory; then the next step ends the connection.
            try? http2.ping(Self.keepalivePing)
            keepAlivesSent += 1
            markDirty()
        case .dead: time(.keepalive)
        }
    }

    // MARK: Trust

    /// Ends the connection if its peer would not be let in any more.
    func recheck(under context: TLSContext) {
        guard !isEnding, !wire.isHandshaking else { return }
        guard let refusal = wire.tls.refusal(under: context) else { return }
        core.metrics.peersRefused += 1
        core.metrics.refusals[refusal.index] += 1
        end(TLSError.peerRefused(refusal).description, .noError, debug: "certificate_refused")
    }

    // MARK: Retiring

    /// Announces the end because the server stops.
    func beginDrain() {
        guard case .final = drainPhase, !isEnding else { return retire("draining") }
        // It was told before, because of its age: its watches do not wait for that grace now.
        endLongLived()
        markDirty()
    }

    /// Announces the end: streams on their way are still served.
    ///
    /// Source: RFC 9113 §6.8; grpc-go's server drains in the same two steps.
    private func retire(_ reason: StaticString) {
        guard case .none = drainPhase, !isEnding else { return }
        farewell = reason
        // A client that connects right now is told properly, after its handshake: see `lifeBegan`.
        // One that says nothing does not hold the drain up: see `sweepHandshake`.
        if wire.isHandshaking { return }
        drainPhase = .noticed(since: core.now)
        do throws(HTTP2Error) {
            try http2.shutdownNotice()
            // nghttp2 sends a PING before any GOAWAY that waits: only behind one that has left does
            // its answer say that the client has read the notice.
            flush()
            if !isEnding { try http2.ping(Self.drainPing) }
        } catch {
            end("draining")
        }
        markDirty()
    }

    /// The answer to a ping of ours.
    func pingAcknowledged(_ ping: UInt64) {
        if ping == Self.drainPing { goAwayForGood() }
    }

    /// A round trip after the notice: no stream opened before it is on its way any more.
    private func goAwayForGood() {
        guard case .noticed = drainPhase, !isEnding else { return }
        drainPhase = .final
        do throws(HTTP2Error) {
            try http2.goAway(.noError, debug: farewell)
        } catch {
            end("draining")
        }
        if core.isDraining { endLongLived() }
        markDirty()
    }

    /// A watch is resumed elsewhere: it would only make the drain last as long as it may.
    private func endLongLived() {
        guard longLivedCount > 0 else { return }
        for call in core.calls.slots
        where isMine(call) && core.calls[call].isLongLived && core.calls[call].machine.isOpen {
            core.end(call, self, WireError.draining)
            core.notifyCancelled(call, .drained)
        }
    }

    /// The grace of a drain is over: what is still open ends now.
    func finishDrain() { finish(.drainTime, WireError.draining) }

    private func finish(_ kind: LimitKind, _ error: RPCError) {
        guard !isEnding else { return }
        for call in core.calls.slots where isMine(call) && core.calls[call].machine.isOpen {
            core.metrics.count(kind)
            core.end(call, self, error)
            core.notifyCancelled(call, .drained)
        }
        flush()
        end(kind.label, .noError, debug: farewell)
    }
}
