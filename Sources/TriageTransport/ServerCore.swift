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
    var counters = Slab<MethodCounters>()
    /// Connections by index; nil: free.
    private(set) var connections: [Connection?] = []
    private var freeConnections: [Int] = []
    /// Indices of connections that have something to send, or to close.
    var dirty: [Int] = []
    /// Bytes of unfinished requests.
    var inputBytesHeld = 0
    /// Bytes of unsent replies.
    var outputBytesHeld = 0
    /// The last sweep has looked at the streams that have bytes to send.
    private var looksAtStreams = false
    /// This reactor's share of the bytes that may be held.
    let bytesHeldMax: Int
    let shares: IdentityShares
    /// Set by every call into the handler, so that `turnEnded` follows.
    var handlerWasCalled = false
    /// Writes what a connection has to its socket now.
    var push: ((_ connection: Int) -> Void)?
    /// Whether ``push`` may be used; else all waits for the end of the turn.
    var mayPush = false
    /// Calls whose handler asked for a message that waits.
    var deliveries: [CallID] = []
    /// Plaintext of one batch; taken out while in use.
    var plaintext = [UInt8](repeating: 0, count: plaintextBytes)
    /// Plaintext of one record on its way out.
    let staging = FrameBuffer()

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
        for _ in 0...table.methods.count { counters.append(MethodCounters()) }
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

    /// Who has been connected longest of those without a certificate at a connection's door.
    func oldestStranger(besides newcomer: Connection) -> Connection? {
        let door = newcomer.peer.audience
        return connections.lazy.compactMap { $0 }
            .filter { $0 !== newcomer && $0.isStranger(at: door) && !$0.isEnding }
            .min { $0.openedAt < $1.openedAt }
    }

    // MARK: Calls

    /// The id of a call.
    @inline(__always)
    func id(_ call: Int) -> CallID {
        CallID(reactor: reactor, slot: call, generation: calls[call].generation)
    }

    /// The connection of a call; nil: the place is free.
    private func connection(of call: Int) -> Connection? {
        let index = Int(calls[call].connection)
        return index >= 0 ? connections[index] : nil
    }

    /// A call that may still be answered, and its connection.
    @inline(__always)
    func open(_ id: CallID) -> (Int, Connection)? {
        guard let call = calls.find(id), calls[call].machine.isOpen,
            let connection = connections[Int(calls[call].connection)]
        else { return nil }
        return (call, connection)
    }

    func respond(_ id: CallID, _ message: [UInt8]) {
        guard message.count > Limits.smallReplyBytesMax else {
            return respond(id, copying: message.span)
        }
        guard let (call, connection) = open(id) else { return }
        if let refusal = connection.refusal(toHold: message.count) {
            return end(call, connection, refuse(refusal))
        }
        guard noteReply(call, connection) else { return }
        if let extras = calls[call].extras {
            reply(call, connection, extras, message)
        } else {
            connection.sendHead(calls[call].stream, fields.head)
            _ = connection.send(calls[call].stream, message)
            connection.sendTrailers(calls[call].stream, fields.ok)
        }
        connection.accountOutput()
    }

    func respond(_ id: CallID, copying message: Span<UInt8>) {
        guard message.count <= Limits.smallReplyBytesMax else {
            return respond(id, [UInt8](copying: message))
        }
        guard let (call, connection) = open(id), noteReply(call, connection) else { return }
        if let extras = calls[call].extras {
            reply(call, connection, extras, [UInt8](copying: message))
        } else {
            connection.reply(calls[call].stream, fields.head, message, trailers: fields.ok)
        }
    }

    /// Books the one message of a call and its end; false when the handler sends another.
    @inline(__always)
    private func noteReply(_ call: Int, _ connection: Connection) -> Bool {
        var machine = calls[call].machine
        guard case .headersAndMessage = machine.messageSent() else {
            end(call, connection, WireError.replyCardinality)
            return false
        }
        _ = machine.finished(ok: true)
        calls[call].machine = machine
        counters[Int(calls[call].method)].sent += 1
        connection.messagesSent += 1
        noteEnd(call, .ok)
        return true
    }

    func send(_ id: CallID, _ message: [UInt8]) -> SendOutcome {
        guard let (call, connection) = open(id) else { return .gone }
        return send(call, connection, message)
    }

    func send(_ call: Int, _ connection: Connection, _ message: [UInt8]) -> SendOutcome {
        if let refusal = connection.refusal(toHold: message.count) {
            end(call, connection, refuse(refusal))
            return .gone
        }
        switch calls[call].machine.messageSent() {
        case .drop: return .gone
        case .refuse:
            end(call, connection, WireError.replyCardinality)
            return .gone
        case .headersAndMessage: sendHead(call, connection)
        case .message: break
        }
        counters[Int(calls[call].method)].sent += 1
        connection.messagesSent += 1
        let buffered =
            if let extras = calls[call].extras {
                send(call, connection, extras, message)
            } else {
                connection.send(calls[call].stream, message)
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
    func end(_ call: Int, _ connection: Connection, _ error: RPCError?) {
        var error = error
        let action = calls[call].machine.finished(ok: error == nil)
        if case .refuse = action { error = WireError.replyCardinality }
        noteEnd(call, error?.code ?? .ok)
        switch action {
        case .drop: break
        case .trailers:
            let metadata = calls[call].extras?.trailingMetadata ?? []
            connection.sendTrailers(
                calls[call].stream,
                error.map { fields.trailers($0, metadata: metadata) }
                    ?? okTrailers(calls[call].extras))
        case .headersAndTrailers:
            sendHead(call, connection)
            connection.sendTrailers(calls[call].stream, okTrailers(calls[call].extras))
        case .trailersOnly, .refuse:
            let metadata =
                (calls[call].extras?.initialMetadata ?? [])
                + (calls[call].extras?.trailingMetadata ?? [])
            connection.sendWhole(
                calls[call].stream,
                fields.trailersOnly(error ?? WireError.replyCardinality, metadata: metadata))
        }
    }

    private func sendHead(_ call: Int, _ connection: Connection) {
        if let extras = calls[call].extras {
            sendHead(call, connection, extras, isGzip: extras.mayCompress)
            return headSent(call, extras)
        }
        connection.sendHead(calls[call].stream, fields.head)
    }

    func hold(_ id: CallID, bytes: Int) -> Bool {
        guard let (call, connection) = open(id) else { return false }
        if let refusal = connection.refusal(toHold: bytes) {
            end(call, connection, refuse(refusal))
            return false
        }
        connection.holdInput(call, bytes)
        return true
    }

    func requestMore(_ id: CallID) {
        guard let (call, connection) = open(id), calls[call].machine.isClientStreaming else {
            return
        }
        calls[call].hasCredit = true
        if !calls[call].machine.isInputEnded { connection.extendCap(call) }
        if calls[call].isHolding { deliveries.append(id) }
    }

    @discardableResult func markLongLived(_ id: CallID) -> Bool {
        guard let (call, connection) = open(id) else { return false }
        if calls[call].isLongLived { return true }
        guard connection.longLivedCount < limits.longLivedStreamsMax else {
            metrics.count(.longLivedStreams)
            end(call, connection, WireError.longLivedStreams)
            return false
        }
        calls[call].isLongLived = true
        connection.longLivedCount += 1
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
    private func noteEnd(_ call: Int, _ code: StatusCode) {
        if calls[call].hasTimer {
            calls[call].hasTimer = false
            timers.clear(call)
        }
        ended.add(calls[call].method, code, calls[call].startedAt)
    }

    /// Books a call that was refused before it was one.
    func noteRefusal(_ code: StatusCode, method: Int?) {
        let row = method ?? table.methods.count
        counters[row].started += 1
        ended.add(Int32(row), code, now)
    }

    /// Tells the handler that a call is over before it was answered.
    func cancelled(_ call: Int, _ reason: CancelReason) {
        let code: StatusCode =
            switch reason {
            case .byClient: .cancelled
            case .deadlineExceeded: .deadlineExceeded
            case .drained: .unavailable
            }
        _ = calls[call].machine.streamClosed()
        noteEnd(call, code)
        notifyCancelled(call, reason)
    }

    func notifyCancelled(_ call: Int, _ reason: CancelReason) {
        handlerWasCalled = true
        handler?.callCancelled(id(call), reason)
    }

    // MARK: Time

    /// Moves the end of a call.
    func setDeadline(_ call: Int, _ deadline: MonotonicTime) {
        calls[call].deadline = deadline
        timers.set(call, deadline)
        calls[call].hasTimer = deadline != .never
    }

    /// Ends the calls whose deadlines have passed.
    func expireCalls() {
        timers.advance(to: now, into: &expired)
        guard !expired.isEmpty else { return }
        let late = expired
        expired.removeAll(keepingCapacity: true)
        for call in late {
            calls[call].hasTimer = false
            guard calls[call].machine.isOpen, let connection = connection(of: call) else {
                continue
            }
            if connection.isOurTurn(call) {
                connection.extendCap(call)
                continue
            }
            if calls[call].deadline != calls[call].clientDeadline {
                metrics.count(calls[call].machine.isInputEnded ? .unaryTime : .bodyTime)
            }
            end(call, connection, WireError.deadlineExceeded)
            notifyCancelled(call, .deadlineExceeded)
        }
    }

    /// Sets the timers of the calls that began in this batch and were not answered in it.
    func startTimers() {
        calls.forEachFresh { call in
            if calls[call].connection >= 0, calls[call].machine.isOpen {
                setDeadline(call, calls[call].deadline)
            }
        }
    }

    /// Gives handlers the messages that they asked for since the last turn.
    func deliver() {
        guard !deliveries.isEmpty else { return }
        let wanted = deliveries
        deliveries = []
        for id in wanted {
            guard let (call, connection) = open(id) else { continue }
            if connection.share.mayInflate(in: metrics.turns) {
                connection.deliverMessages(call)
            } else {
                metrics.count(.inflatedPerTurn)
                deliveries.append(id)
            }
        }
    }

    /// Resets the streams that have bytes to send and have not moved for too long.
    func resetStalledStreams() {
        guard outputBytesHeld > 0 else { return looksAtStreams = false }
        // Nothing waited at the last sweep: what an earlier one noted of a stream says nothing of
        // how long it has stood still.
        let isFirstLook = !looksAtStreams
        looksAtStreams = true
        let limit = UInt64(limits.stalledStreamMillisecondsMax) * 1_000_000
        for call in calls.slots {
            guard let connection = connection(of: call), !connection.isEnding else { continue }
            let stream = calls[call].stream
            // Not the queue's length: one that is refilled as it drains looks the same each time.
            let framed = connection.http2.framedBytes(stream)
            if isFirstLook || connection.http2.bufferedBytes(stream) == 0
                || framed != calls[call].framedBytes
            {
                calls[call].framedBytes = framed
                calls[call].movedAt = now
            } else if now.nanoseconds(since: calls[call].movedAt) > limit {
                // Behind a full socket it stays until that moves, and is one stream all the same.
                guard connection.http2.reset(stream, .cancel) else { continue }
                metrics.count(.stalledStream)
                connection.markDirty()
            }
        }
    }

    /// Books what ended in this turn.
    func observe(at time: MonotonicTime) {
        metrics.turns += 1
        ended.take { ended in
            counters[Int(ended.method)].ended(
                UInt64(ended.count), ended.code,
                nanoseconds: time.nanoseconds(since: ended.startedAt))
        }
    }

    /// What each method counted.
    var methodCounts: [ServerMetrics.PerMethod] {
        (0..<counters.count).map { counters[$0].copy }
    }

    /// A copy of everything that was counted.
    func snapshot() -> ServerMetrics {
        metrics.bytesHeld = UInt64(max(0, inputBytesHeld + outputBytesHeld))
        metrics.callsOpen = UInt64(calls.count)
        metrics.methods = methodCounts
        return metrics
    }

    /// True when another message of so many bytes may be held.
    func hasRoom(for bytes: Int) -> Bool {
        inputBytesHeld + outputBytesHeld + bytes <= bytesHeldMax
    }
}

/// The calls that ended in this turn, until their latency can be measured: those that began and
/// ended alike together.
private final class EndedCalls {
    // Trivial on purpose: an array of these needs no reference counting.
    struct Ended {
        let method: Int32
        let code: StatusCode
        var count: UInt32
        let startedAt: MonotonicTime
    }

    private var ended: [Ended] = []
    private var last = Ended(
        method: 0, code: .ok, count: 0, startedAt: MonotonicTime(nanoseconds: 0))

    @inline(__always)
    func add(_ method: Int32, _ code: StatusCode, _ startedAt: MonotonicTime) {
        if last.startedAt == startedAt, last.method == method, last.code == code {
            last.count += 1
            return
        }
        if last.count > 0 { ended.append(last) }
        last = Ended(method: method, code: code, count: 1, startedAt: startedAt)
    }

    func take(_ body: (Ended) -> Void) {
        if last.count > 0 { body(last) }
        last.count = 0
        guard !ended.isEmpty else { return }
        for calls in ended { body(calls) }
        ended.removeAll(keepingCapacity: true)
    }
}
