// One client's connection as a byte machine: ciphertext in, calls to the handler, ciphertext out.
// Joins TLS, HTTP/2 and gRPC. No socket, no clock: the reactor moves the bytes and sets the time,
// so that the machine can be tested and fuzzed without either.
//
//     handshaking ──complete──▶ open ──end(…)──▶ ending (output leaves, nothing is read) ──▶
//     removed
//          └────────────────end(…)────────────────┘

import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageTLS

/// The server's side of one connection.
///
/// - Isolation: confined to its reactor's thread.
final class Connection {
    /// A stream with more queued bytes than this asks its handler to wait.
    static let highWaterBytes = 64 << 10

    let core: ServerCore
    let wire: Wire
    let admission: Admission
    /// Place in the core's table.
    private(set) var index = -1
    /// Without a principal until the handshake is complete, and after it if none was presented.
    private(set) var peer: PeerContext
    /// What the peer's identity has of this reactor.
    private(set) var share: IdentityShare
    /// What it counts as.
    private var place = Admission.Place.unidentified
    /// Its socket is shut down first and waits a little for the peer's end; false: closed at once.
    private(set) var mayLinger = true
    /// Calls whose streams have not closed.
    var openCallCount = 0
    /// Its number among the connections of this reactor, for channelz.
    let serial: UInt64
    var messagesSent: UInt64 = 0
    var messagesReceived: UInt64 = 0
    var keepAlivesSent = 0
    /// Requests that are not gRPC, until their streams close.
    var plainRequests: [PlainRequest] = []
    var longLivedCount = 0
    /// A reply has told the client which encodings we accept: once a connection is enough, because
    /// that never changes.
    var hasAdvertised = false
    /// What the known header blocks of plain calls say, see ``callBegan(_:_:)``.
    var plainHeads = InlineArray<4, PlainHead>(repeating: PlainHead())
    /// Listed in `core.dirty`.
    private var isDirty = false
    /// Nothing is read any more; the connection goes when its output has left.
    private(set) var isEnding = false
    /// Since when.
    private var endedAt = MonotonicTime(nanoseconds: 0)

    private var abuse: AbuseLimits
    private var heldOutput = 0
    private var turn: UInt64 = 0
    private var newCalls = 0
    /// A batch that brought more new calls than a turn may: its bytes, and the event that is next.
    private var deferred: [UInt8]?
    private var nextEvent = 0

    // What the sweep compares, see Connection+Sweep.swift.
    let acceptedAt: MonotonicTime
    var openedAt: MonotonicTime
    var activeAt: MonotonicTime
    var headersSince: MonotonicTime?
    var headersSeen = 0
    var sentAt: MonotonicTime
    var hasSettings = false
    var streamsSeen = 0
    var drainPhase = DrainPhase.none
    /// Debug text of the last GOAWAY of a connection that retires.
    var farewell: StaticString = "draining"
    var keepalive: Keepalive
    /// Drawn when the handshake is complete.
    var age: ConnectionAge?

    /// Headers that name a method which answers them without extras; nothing else is remembered.
    struct PlainHead {
        /// Number of the header block; 0: free.
        var known: UInt32 = 0
        var method: Int32 = 0
    }

    /// How far a drain has come on this connection.
    enum DrainPhase {
        case none
        /// The notice is out; streams on their way are still taken until the answer to our ping.
        case noticed(since: MonotonicTime)
        /// The final GOAWAY is out.
        case final
    }

    /// Puts a connection into the core's table; its SETTINGS wait for the handshake.
    init(
        _ core: ServerCore, _ wire: Wire, _ admission: Admission, _ audience: Audience = .internal
    ) {
        self.core = core
        peer = PeerContext(principal: nil, audience: audience)
        self.wire = wire
        self.admission = admission
        share = core.shares.stranger(now: core.now)
        abuse = AbuseLimits(now: core.now)
        keepalive = Keepalive(now: core.now)
        acceptedAt = core.now
        openedAt = core.now
        activeAt = core.now
        sentAt = core.now
        serial = core.metrics.connectionsAccepted + 1
        index = core.add(self)
    }

    var http2: HTTP2Session { wire.http2 }

    /// Whether a call is one of this connection's.
    func isMine(_ call: Int) -> Bool { core.calls[call].connection == Int32(index) }

    // MARK: Input

    /// What is left to do after ``process()``.
    enum Progress {
        /// Nothing, until bytes come.
        case idle
        /// More of what came, in the next turn: this one is used up.
        case more
    }

    /// Goes on with the handshake; true when it is over, one way or the other.
    func advanceHandshake() -> Bool {
        guard wire.isHandshaking, !isEnding else { return true }
        markDirty()
        switch wire.handshake() {
        case .needsInput: return false
        case .complete:
            openedAt = core.now
            activeAt = core.now
            handshakeCompleted()
            lifeBegan()
        case .failed(let error):
            core.metrics.handshakesFailed += 1
            if case .peerRefused(let refusal) = error {
                core.metrics.refusals[refusal.index] += 1
                if refusal == .chainTooLong { core.metrics.count(.certificateChain) }
            }
            end(error.description)
        }
        return true
    }

    private func handshakeCompleted() {
        if wire.tls.resumed {
            core.metrics.handshakesResumed += 1
        } else {
            core.metrics.handshakesFull += 1
        }
        if wire.tls.isTooLargeToResume { core.metrics.count(.sessionBytes) }
        let principal = wire.tls.peerPrincipal
        peer = PeerContext(principal: principal, audience: peer.audience)
        guard let principal else { return strangerCame() }
        share = core.shares.share(of: principal, now: core.now)
        share.connectionCount += 1
        if admission.identify(principal) {
            place = .identity(principal)
        } else {
            core.metrics.count(.connectionsPerIdentity)
            end(
                "too many connections of one identity", .enhanceYourCalm,
                debug: LimitKind.connectionsPerIdentity.farewell)
        }
    }

    /// The peer has shown no certificate: where there are too many of those, the oldest goes.
    ///
    /// Not the newcomer, who may be a probe: connections that are only kept open would else make
    /// the server look dead.
    private func strangerCame() {
        place = .stranger(peer.audience)
        guard !admission.admitStranger(at: peer.audience) else { return }
        core.metrics.count(.strangers)
        core.oldestStranger(besides: self)?.makeRoom()
    }

    /// Connected without a certificate, at this door.
    func isStranger(at door: Audience) -> Bool { place == .stranger(door) }

    /// Ended before it was anybody's: told why, it keeps a place from those whose turn it is.
    var isTurnedAway: Bool { isEnding && place == .unidentified }

    private func makeRoom() {
        end(
            "another connection needs its place", .enhanceYourCalm,
            debug: LimitKind.strangers.farewell)
        mayLinger = false
    }

    /// Decrypts and handles what has come, up to what one turn may bring.
    func process() -> Progress {
        if turn != core.metrics.turns {
            turn = core.metrics.turns
            newCalls = 0
        }
        var buffer: [UInt8] = []
        swap(&buffer, &core.plaintext)
        defer { swap(&buffer, &core.plaintext) }
        while !isEnding {
            guard share.mayInflate(in: turn) else {
                core.metrics.count(.inflatedPerTurn)
                return .more
            }
            if let rest = deferred {
                if newCalls >= core.limits.newCallsPerTurnMax { return .more }
                deferred = nil
                batchReceived(rest.span)
                continue
            }
            switch wire.read(into: &buffer) {
            case .events(let count):
                batchReceived(buffer.span.extracting(first: count))
            case .needsInput:
                return .idle
            case .closed:
                end("the peer closed TLS")
            case .failed(let reason):
                end(reason)
            case .overLimit(let kind, let reason):
                core.metrics.count(kind)
                end(reason, kind == .keyUpdates ? nil : .enhanceYourCalm, debug: kind.farewell)
            }
        }
        return .idle
    }

    private func batchReceived(_ plaintext: Span<UInt8>) {
        handleEvents(plaintext)
        core.startTimers()
        let counters = http2.counters
        abuse.countExcesses(counters, in: &core.metrics)
        if let kind = abuse.judge(counters, at: core.now) {
            core.metrics.count(kind)
            end(kind.label, .enhanceYourCalm, debug: kind.farewell)
        }
        // Windows that opened, answers to PING and SETTINGS: there may be something to send.
        markDirty()
    }

    /// Handles the events of one batch; DATA lies in `plaintext`.
    private func handleEvents(_ plaintext: Span<UInt8>) {
        let events = http2.events
        guard !events.isEmpty else { return }
        var position = nextEvent
        nextEvent = 0
        while position < events.count, !isEnding {
            switch events[position] {
            case .headers(let stream, let block):
                if newCalls >= core.limits.newCallsPerTurnMax {
                    core.metrics.count(.newCallsPerTurn)
                    nextEvent = position
                    deferred = [UInt8](copying: plaintext)
                    return
                }
                newCalls += 1
                callBegan(stream, block)
            case .data(let stream, let offset, let count):
                var ended = false
                if position + 1 < events.count, case .endStream(let next) = events[position + 1],
                    next.id == stream.id
                {
                    ended = true
                    position += 1
                }
                bodyReceived(
                    stream, plaintext.extracting(offset..<(offset + count)), ended: ended)
            case .endStream(let stream):
                inputEnded(stream)
            case .streamClosed(let stream, _):
                streamClosed(stream)
            case .outputDrained(let stream):
                let slot = http2.userData(stream) - 1
                if slot >= 0, core.calls[slot].machine.isOpen {
                    core.handlerWasCalled = true
                    core.handler?.streamWritable(core.id(slot))
                }
            case .settingsReceived: hasSettings = true
            case .pingAcknowledged(let ping): pingAcknowledged(ping)
            case .trailers, .informational, .goAwayReceived, .settingsAcknowledged:
                // Request trailers carry nothing that gRPC knows; endStream follows. A client's
                // GOAWAY announces that it opens no more streams: idle time and wantsRead see to
                // the rest.
                break
            }
            position += 1
        }
        http2.clearEvents()
    }

    // MARK: Output

    /// Lists the connection for the flush at the end of the turn.
    @inline(__always)
    func markDirty() {
        guard !isDirty else { return }
        isDirty = true
        core.dirty.append(index)
    }

    /// Frames and encrypts what can be sent, and handles what that brought about.
    func flush() {
        isDirty = false
        if !isEnding, let reason = wire.seal(core.staging, limit: core.limits.outputBytesMax) {
            end(reason)
        }
        // Behind a batch that waits, the new events wait as well: they are in order.
        if deferred == nil { handleEvents(Span()) }
        accountOutput()
        if !isEnding, !wire.isHandshaking, !http2.wantsRead, !http2.wantsWrite {
            end("the streams are done")
        }
    }

    /// Frames and encrypts what can be sent; what that brings about, and what goes wrong, is left
    /// for ``flush()``.
    func seal() {
        guard !isEnding else { return }
        _ = wire.seal(core.staging, limit: core.limits.outputBytesMax)
        accountOutput()
    }

    /// Books what the streams have queued.
    @inline(__always)
    func accountOutput() {
        let held = http2.bufferedBytes
        guard held != heldOutput else { return }
        core.outputBytesHeld += held - heldOutput
        share.bytesHeld += held - heldOutput
        heldOutput = held
    }

    /// The limit that stands against holding so many more bytes for this peer; nil: none.
    @inline(__always)
    func refusal(toHold bytes: Int) -> LimitKind? {
        if !core.hasRoom(for: bytes) { return .messageBytesInFlight }
        return share.bytesHeld + bytes <= share.bytesMax ? nil : .identityBytes
    }

    /// True when more can be framed as soon as the socket has taken what waits.
    var hasMoreOutput: Bool { !isEnding && !wire.isHandshaking && http2.wantsWrite }

    /// A whole unary reply.
    @inline(__always)
    func reply(
        _ stream: HTTP2Stream, _ head: HeaderFields, _ message: Span<UInt8>, trailers: HeaderFields
    ) {
        do throws(HTTP2Error) {
            try http2.submitReply(
                stream, head, message, prefix: DataPrefix(flag: 0, length: UInt32(message.count)),
                trailers: trailers)
        } catch {
            refuseToSend(stream)
        }
        markDirty()
    }

    /// Memory ran out, or the stream cannot take headers: it must not hang.
    private func refuseToSend(_ stream: HTTP2Stream) { http2.reset(stream, .internalError) }

    func sendHead(_ stream: HTTP2Stream, _ head: HeaderFields) {
        submit(stream, head, endStream: false)
    }

    /// One header block that is the whole reply.
    func sendWhole(_ stream: HTTP2Stream, _ fields: HeaderFields) {
        submit(stream, fields, endStream: true)
    }

    private func submit(_ stream: HTTP2Stream, _ fields: HeaderFields, endStream: Bool) {
        do throws(HTTP2Error) {
            try http2.submitHeaders(stream, fields, endStream: endStream)
        } catch {
            refuseToSend(stream)
        }
        markDirty()
    }

    /// Queues one message; returns how many bytes the stream holds now.
    func send(_ stream: HTTP2Stream, _ message: [UInt8], flag: UInt8 = 0) -> Int {
        http2.submitData(
            stream, message, prefix: DataPrefix(flag: flag, length: UInt32(message.count)))
        markDirty()
        return http2.bufferedBytes(stream)
    }

    /// Queues messages that have their prefixes; returns how many bytes the stream holds now.
    @inline(__always)
    func send(_ stream: HTTP2Stream, framed: [UInt8]) -> Int {
        let buffered = http2.submitFramed(stream, framed)
        markDirty()
        return buffered
    }

    func sendTrailers(_ stream: HTTP2Stream, _ fields: HeaderFields) {
        http2.submitTrailers(stream, fields)
        markDirty()
    }

    // MARK: End

    /// Ends the connection: its calls are cancelled, a last GOAWAY and close_notify leave.
    ///
    /// - Parameters:
    ///   - reason: For the log; public.
    ///   - code: Sent as GOAWAY, if given.
    ///   - debug: Its debug text.
    func end(_ reason: String, _ code: HTTP2ErrorCode? = nil, debug: StaticString = "") {
        guard !isEnding else { return }
        if let code, !wire.isHandshaking {
            // Failures mean that memory ran out: then the close alone has to do.
            try? http2.goAway(code, debug: debug)
            _ = wire.seal(core.staging, limit: core.limits.outputBytesMax * 2)
        }
        isEnding = true
        endedAt = core.now
        endReason = reason
        deferred = nil
        wire.tls.close()
        if openCallCount > 0 {
            for call in core.calls.slots where isMine(call) {
                if core.calls[call].machine.isOpen { core.cancelled(call, .byClient) }
                release(call)
            }
        }
        markDirty()
    }

    /// Why the connection ended.
    private(set) var endReason = ""

    /// Whether a connection that ended has had its time to say so: its output does not move, or
    /// moves too slowly, or the peer does not close its side.
    ///
    /// - Parameter lingersSince: Since when our side is shut down; nil: there is output left.
    /// - Returns: Whether it is to be closed now.
    func isOverdue(lingersSince: MonotonicTime?) -> Bool {
        guard isEnding else { return false }
        if let lingersSince { return has(Limits.lingerMilliseconds, passedSince: lingersSince) }
        return has(Limits.lingerMilliseconds, passedSince: max(sentAt, endedAt))
            || has(Limits.farewellMilliseconds, passedSince: endedAt)
    }

    /// Leaves the core's table; the last call on a connection.
    func remove() {
        end("the socket is gone")
        admission.close(place)
        core.outputBytesHeld -= heldOutput
        share.bytesHeld -= heldOutput
        heldOutput = 0
        if peer.principal != nil { share.connectionCount -= 1 }
        core.remove(index)
    }
}
