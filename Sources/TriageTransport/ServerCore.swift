// The calls of one reactor: who answers them, until when, and what they cost. Implements the
// handler's side of the seam. Knows connections, but no sockets and no epoll; time is handed in.

import TriageBase
import TriageGRPC
import TriageHTTP2
import TriageIO

/// State that all connections of one reactor share.
///
/// - Isolation: confined to the reactor's thread.
final class ServerCore: CallResponder {
    let reactor: Int
    let table: MethodTable
    let limits: ServerLimits
    /// From ``limits``, at hand for every message.
    let messageBytesMax: Int
    let fields = ReplyFields.shared
    let gzip: MessageGzip
    private(set) var handler: (any CallHandler)?

    /// The clock as it stood when the turn began.
    var now: MonotonicTime
    let calls: CallTable
    let timers: TimerWheel
    /// The server stops: connections that still come are told so.
    var isDraining = false
    /// For the ages of connections.
    var random: SeededRandom
    var metrics: ServerMetrics
    /// What each method counts; the last one is for calls that no method matches.
    let counters: [MethodCounters]
    /// Connections by index; nil: free.
    private(set) var connections: [Connection?] = []
    private var freeConnections: [Int] = []
    /// Indices of connections that have something to send, or to close.
    var dirty: [Int] = []
    /// Bytes of unfinished requests.
    var inputBytesHeld = 0
    /// Bytes of unsent replies.
    var outputBytesHeld = 0
    /// This reactor's share of the bytes that may be held.
    let bytesHeldMax: Int
    let shares: IdentityShares
    /// Set by every call into the handler, so that `turnEnded` follows.
    var handlerWasCalled = false
    /// Calls whose handler asked for a message that waits.
    var deliveries: [CallID] = []
    /// Buffers of one batch; taken out while in use.
    var plaintext = [UInt8](repeating: 0, count: plaintextBytes)
    var staging: [UInt8] = []

    /// Plaintext of one batch: about ``TriageBase/Limits/newCallsPerTurnMax`` calls of usual size.
    private static let plaintextBytes = 8 << 10

    private let ended = EndedCalls()
    private var expired: [Int] = []

    init(
        reactor: Int, reactorCount: Int, table: MethodTable, limits: ServerLimits,
        now: MonotonicTime, seed: UInt64 = 0
    ) {
        self.reactor = reactor
        self.table = table
        self.limits = limits
        messageBytesMax = limits.messageBytesMax
        gzip = MessageGzip(limits.inflate)
        self.now = now
        calls = CallTable(messageBytesMax: limits.messageBytesMax)
        timers = TimerWheel(now: now)
        random = SeededRandom(seed: seed)
        metrics = ServerMetrics(methodCount: table.methods.count)
        counters = (0...table.methods.count).map { _ in MethodCounters() }
        bytesHeldMax = limits.messageBytesInFlightMax / reactorCount
        shares = IdentityShares(limits: limits, reactorBytesMax: bytesHeldMax, now: now)
    }

    /// Sets who answers; once, before the first connection.
    func start(_ handler: any CallHandler) { self.handler = handler }

    /// Breaks the cycle of core and handler when the reactor is done.
    func stop() { handler = nil }

    // MARK: Connections

    func add(_ connection: Connection) -> Int {
        metrics.connectionsAccepted += 1
        metrics.connectionsOpen += 1
        if let index = freeConnections.popLast() {
            connections[index] = connection
            return index
        }
        connections.append(connection)
        return connections.count - 1
    }

    func remove(_ index: Int) {
        metrics.connectionsOpen -= 1
        connections[index] = nil
        freeConnections.append(index)
    }

    // MARK: Calls

    /// The id of a call.
    @inline(__always)
    func id(_ call: Call) -> CallID {
        CallID(reactor: reactor, slot: call.slot, generation: call.generation)
    }

    /// A call that may still be answered, and its connection.
    @inline(__always)
    private func open(_ id: CallID) -> (Call, Connection)? {
        guard let call = calls.find(id), call.machine.isOpen, let connection = call.connection
        else { return nil }
        return (call, connection)
    }

    func respond(_ id: CallID, _ message: [UInt8]) {
        guard let (call, connection) = open(id) else { return }
        let isLarge = message.count > Limits.smallReplyBytesMax
        if isLarge, let refusal = connection.refusal(toHold: message.count) {
            return end(call, connection, refuse(refusal))
        }
        var machine = call.machine
        guard case .headersAndMessage = machine.messageSent() else {
            return finish(id, WireError.replyCardinality)
        }
        _ = machine.finished(ok: true)
        call.machine = machine
        call.counters.sent += 1
        connection.messagesSent += 1
        noteEnd(call, .ok)
        if let extras = call.extras {
            reply(call, connection, extras, message)
        } else {
            connection.reply(call.stream, fields.head, message, trailers: fields.ok)
        }
        if isLarge { connection.accountOutput() }
    }

    func send(_ id: CallID, _ message: [UInt8]) -> SendOutcome {
        guard let (call, connection) = open(id) else { return .gone }
        if let refusal = connection.refusal(toHold: message.count) {
            end(call, connection, refuse(refusal))
            return .gone
        }
        switch call.machine.messageSent() {
        case .drop: return .gone
        case .refuse:
            finish(id, WireError.replyCardinality)
            return .gone
        case .headersAndMessage: sendHead(call, connection)
        case .message: break
        }
        call.counters.sent += 1
        connection.messagesSent += 1
        let buffered =
            if let extras = call.extras {
                send(call, connection, extras, message)
            } else {
                connection.send(call.stream, message)
            }
        connection.accountOutput()
        return buffered > Connection.highWaterBytes ? .full : .queued
    }

    func finish(_ id: CallID, _ error: RPCError?) {
        guard let (call, connection) = open(id) else { return }
        if let error, let limit = LimitKind(namedIn: error) { metrics.count(limit) }
        end(call, connection, error)
    }

    /// Ends an open call with a status.
    func end(_ call: Call, _ connection: Connection, _ error: RPCError?) {
        var error = error
        let action = call.machine.finished(ok: error == nil)
        if case .refuse = action { error = WireError.replyCardinality }
        noteEnd(call, error?.code ?? .ok)
        switch action {
        case .drop: break
        case .trailers:
            let metadata = call.extras?.trailingMetadata ?? []
            connection.sendTrailers(
                call.stream,
                error.map { fields.trailers($0, metadata: metadata) } ?? okTrailers(call.extras))
        case .headersAndTrailers:
            sendHead(call, connection)
            connection.sendTrailers(call.stream, okTrailers(call.extras))
        case .trailersOnly, .refuse:
            let metadata =
                (call.extras?.initialMetadata ?? []) + (call.extras?.trailingMetadata ?? [])
            connection.sendWhole(
                call.stream,
                fields.trailersOnly(error ?? WireError.replyCardinality, metadata: metadata))
        }
    }

    private func sendHead(_ call: Call, _ connection: Connection) {
        if let extras = call.extras {
            return sendHead(call, connection, extras, isGzip: extras.mayCompress)
        }
        connection.sendHead(call.stream, fields.head)
    }

    func requestMore(_ id: CallID) {
        guard let (call, _) = open(id), call.machine.isClientStreaming else { return }
        call.hasCredit = true
        if call.isHolding { deliveries.append(id) }
    }

    @discardableResult func markLongLived(_ id: CallID) -> Bool {
        guard let (call, connection) = open(id) else { return false }
        if call.isLongLived { return true }
        guard connection.longLivedCount < limits.longLivedStreamsMax else {
            metrics.count(.longLivedStreams)
            end(call, connection, WireError.longLivedStreams)
            return false
        }
        call.isLongLived = true
        connection.longLivedCount += 1
        setDeadline(call, call.clientDeadline)
        return true
    }

    /// Counts a limit that refuses a call; what the call is told.
    func refuse(_ kind: LimitKind) -> RPCError {
        metrics.count(kind)
        return switch kind {
        case .identityBytes: WireError.identityMemoryExhausted
        case .callRate: WireError.callRateExceeded
        default: WireError.memoryExhausted
        }
    }

    /// Books the end of a call: its latency is measured when the turn ends.
    @inline(__always)
    private func noteEnd(_ call: Call, _ code: StatusCode) {
        if call.hasTimer {
            call.hasTimer = false
            timers.clear(call.slot)
        }
        ended.add(call.method, code, call.startedAt)
    }

    /// Books a call that was refused before it was one.
    func noteRefusal(_ code: StatusCode, method: Int?) {
        let row = method ?? table.methods.count
        counters[row].started += 1
        ended.add(row, code, now)
    }

    /// Tells the handler that a call is over before it was answered.
    func cancelled(_ call: Call, _ reason: CancelReason) {
        let code: StatusCode =
            switch reason {
            case .byClient: .cancelled
            case .deadlineExceeded: .deadlineExceeded
            case .drained: .unavailable
            }
        _ = call.machine.streamClosed()
        noteEnd(call, code)
        notifyCancelled(call, reason)
    }

    func notifyCancelled(_ call: Call, _ reason: CancelReason) {
        handlerWasCalled = true
        handler?.callCancelled(id(call), reason)
    }

    // MARK: Time

    /// Moves the end of a call.
    func setDeadline(_ call: Call, _ deadline: MonotonicTime) {
        call.deadline = deadline
        timers.set(call.slot, deadline)
        call.hasTimer = deadline != .never
    }

    /// Ends the calls whose deadlines have passed.
    func expireCalls() {
        timers.advance(to: now, into: &expired)
        guard !expired.isEmpty else { return }
        let slots = expired
        expired.removeAll(keepingCapacity: true)
        for slot in slots {
            let call = calls[slot]
            call.hasTimer = false
            guard call.machine.isOpen, let connection = call.connection else { continue }
            if call.deadline != call.clientDeadline {
                metrics.count(call.machine.isInputEnded ? .unaryTime : .bodyTime)
            }
            end(call, connection, WireError.deadlineExceeded)
            notifyCancelled(call, .deadlineExceeded)
        }
    }

    /// Sets the timers of the calls that began in this batch and were not answered in it.
    func startTimers() {
        calls.forEachFresh { call in
            if call.connection != nil, call.machine.isOpen { setDeadline(call, call.deadline) }
        }
    }

    /// Gives handlers the messages that they asked for since the last turn.
    func deliver() {
        guard !deliveries.isEmpty else { return }
        let wanted = deliveries
        deliveries = []
        for id in wanted {
            if let (call, connection) = open(id) { connection.deliverMessages(call) }
        }
    }

    /// Resets the streams that have bytes to send and have not moved for too long.
    func resetStalledStreams() {
        guard outputBytesHeld > 0 else { return }
        let limit = UInt64(limits.stalledStreamMillisecondsMax) * 1_000_000
        for call in calls.all {
            guard let connection = call.connection, !connection.isEnding else { continue }
            // Not the queue's length: one that is refilled as it drains looks the same each time.
            let framed = connection.http2.framedBytes(call.stream)
            if connection.http2.bufferedBytes(call.stream) == 0 || framed != call.framedBytes {
                call.framedBytes = framed
                call.movedAt = now
            } else if now.nanoseconds(since: call.movedAt) > limit {
                metrics.count(.stalledStream)
                connection.http2.reset(call.stream, .cancel)
                connection.markDirty()
            }
        }
    }

    /// Books what ended in this turn.
    func observe(at time: MonotonicTime) {
        metrics.turns += 1
        ended.take { method, code, startedAt in
            counters[method].ended(code, nanoseconds: time.nanoseconds(since: startedAt))
        }
    }

    /// A copy of everything that was counted.
    func snapshot() -> ServerMetrics {
        metrics.bytesHeld = UInt64(max(0, inputBytesHeld + outputBytesHeld))
        metrics.callsOpen = UInt64(calls.count)
        metrics.methods = counters.map(\.copy)
        return metrics
    }

    /// True when another message of so many bytes may be held.
    func hasRoom(for bytes: Int) -> Bool {
        inputBytesHeld + outputBytesHeld + bytes <= bytesHeldMax
    }
}

/// The calls that ended in this turn, until their latency can be measured.
private final class EndedCalls {
    // Trivial on purpose: an array of these needs no reference counting.
    private struct Ended {
        let method: Int32
        let code: StatusCode
        let startedAt: MonotonicTime
    }

    private var ended: [Ended] = []

    @inline(__always)
    func add(_ method: Int, _ code: StatusCode, _ startedAt: MonotonicTime) {
        ended.append(Ended(method: Int32(method), code: code, startedAt: startedAt))
    }

    @inline(__always)
    func take(_ body: (Int, StatusCode, MonotonicTime) -> Void) {
        guard !ended.isEmpty else { return }
        for call in ended { body(Int(call.method), call.code, call.startedAt) }
        ended.removeAll(keepingCapacity: true)
    }
}
