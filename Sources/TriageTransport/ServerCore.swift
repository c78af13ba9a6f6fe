// The calls of one reactor: who answers them, until when, and what they cost. Implements the handler's
// side of the seam. Knows connections, but no sockets and no epoll; time is handed in.

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
    let fields = ReplyFields.shared
    private(set) var handler: (any CallHandler)?

    /// The clock as it stood when the turn began.
    var now: MonotonicTime
    var calls: CallTable
    var timers: TimerWheel
    var metrics: ServerMetrics
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
    /// Set by every call into the handler, so that `turnEnded` follows.
    var handlerWasCalled = false
    /// Calls that began in this batch and may need a timer.
    var fresh: [Int] = []
    /// Calls whose handler asked for a message that waits.
    var deliveries: [CallID] = []
    /// Buffers of one batch; taken out while in use.
    var plaintext = [UInt8](repeating: 0, count: plaintextBytes)
    var staging: [UInt8] = []

    /// Plaintext of one batch: about ``TriageBase/Limits/newCallsPerTurnMax`` calls of usual size.
    private static let plaintextBytes = 8 << 10

    private struct Ended {
        let method: Int32
        let code: StatusCode
        let startedAt: MonotonicTime
    }
    private var ended: [Ended] = []
    private var expired: [Int] = []

    init(
        reactor: Int, reactorCount: Int, table: MethodTable, limits: ServerLimits,
        now: MonotonicTime
    ) {
        self.reactor = reactor
        self.table = table
        self.limits = limits
        self.now = now
        calls = CallTable(messageBytesMax: limits.messageBytesMax)
        timers = TimerWheel(now: now)
        metrics = ServerMetrics(methodCount: table.methods.count)
        bytesHeldMax = limits.messageBytesInFlightMax / reactorCount
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

    /// The id of the call in a slot.
    @inline(__always)
    func id(_ slot: Int) -> CallID {
        CallID(reactor: reactor, slot: slot, generation: calls[slot].generation)
    }

    /// The slot of a call that may still be answered, and its connection.
    @inline(__always)
    private func open(_ call: CallID) -> (Int, Connection, HTTP2Stream)? {
        guard let slot = calls.find(call), calls[slot].machine.isOpen,
            let connection = connections[Int(calls[slot].connection)],
            let stream = calls[slot].stream
        else { return nil }
        return (slot, connection, stream)
    }

    func respond(_ call: CallID, _ message: [UInt8]) {
        guard let (slot, connection, stream) = open(call) else { return }
        guard calls[slot].machine.messageSent() == .headersAndMessage else {
            return finish(call, WireError.replyCardinality)
        }
        _ = calls[slot].machine.finished(ok: true)
        metrics.sent[Int(calls[slot].method)] += 1
        noteEnd(slot, .ok)
        connection.reply(stream, fields.head, message, trailers: fields.ok)
    }

    func send(_ call: CallID, _ message: [UInt8]) -> SendOutcome {
        guard let (slot, connection, stream) = open(call) else { return .gone }
        switch calls[slot].machine.messageSent() {
        case .drop: return .gone
        case .refuse:
            finish(call, WireError.replyCardinality)
            return .gone
        case .headersAndMessage: connection.sendHead(stream, fields.head)
        case .message: break
        }
        metrics.sent[Int(calls[slot].method)] += 1
        let buffered = connection.send(stream, message)
        return buffered > Connection.highWaterBytes ? .full : .queued
    }

    func finish(_ call: CallID, _ error: RPCError?) {
        guard let (slot, connection, stream) = open(call) else { return }
        end(slot, connection, stream, error)
    }

    /// Ends an open call with a status.
    func end(_ slot: Int, _ connection: Connection, _ stream: HTTP2Stream, _ error: RPCError?) {
        var error = error
        let action = calls[slot].machine.finished(ok: error == nil)
        if action == .refuse { error = WireError.replyCardinality }
        noteEnd(slot, error?.code ?? .ok)
        switch action {
        case .drop: break
        case .trailers: connection.sendTrailers(stream, error.map(fields.trailers) ?? fields.ok)
        case .headersAndTrailers:
            connection.sendHead(stream, fields.head)
            connection.sendTrailers(stream, fields.ok)
        case .trailersOnly, .refuse:
            connection.sendWhole(stream, fields.trailersOnly(error ?? WireError.replyCardinality))
        }
    }

    func requestMore(_ call: CallID) {
        guard let (slot, _, _) = open(call), calls[slot].machine.isClientStreaming else { return }
        calls[slot].hasCredit = true
        if calls[slot].isHolding { deliveries.append(call) }
    }

    func markLongLived(_ call: CallID) {
        guard let (slot, connection, stream) = open(call), !calls[slot].isLongLived else { return }
        guard connection.longLivedCount < limits.longLivedStreamsMax else {
            metrics.count(.longLivedStreams)
            return end(slot, connection, stream, WireError.longLivedStreams)
        }
        calls[slot].isLongLived = true
        connection.longLivedCount += 1
        calls[slot].deadline = calls[slot].clientDeadline
        timers.set(slot, calls[slot].deadline)
    }

    /// Books the end of a call: its latency is measured when the turn ends.
    private func noteEnd(_ slot: Int, _ code: StatusCode) {
        timers.clear(slot)
        ended.append(
            Ended(method: calls[slot].method, code: code, startedAt: calls[slot].startedAt))
    }

    /// Books a call that was refused before it was one.
    func noteRefusal(_ code: StatusCode, method: Int?) {
        let row = method ?? table.methods.count
        metrics.started[row] += 1
        ended.append(Ended(method: Int32(row), code: code, startedAt: now))
    }

    /// Tells the handler that a call is over before it was answered.
    func cancelled(_ slot: Int, _ reason: CancelReason) {
        let code: StatusCode =
            switch reason {
            case .byClient: .cancelled
            case .deadlineExceeded: .deadlineExceeded
            case .drained: .unavailable
            }
        _ = calls[slot].machine.streamClosed()
        noteEnd(slot, code)
        notifyCancelled(slot, reason)
    }

    func notifyCancelled(_ slot: Int, _ reason: CancelReason) {
        handlerWasCalled = true
        handler?.callCancelled(id(slot), reason)
    }

    // MARK: Time

    /// Ends the calls whose deadlines have passed.
    func expireCalls() {
        timers.advance(to: now, into: &expired)
        guard !expired.isEmpty else { return }
        let slots = expired
        expired.removeAll(keepingCapacity: true)
        for slot in slots {
            guard calls[slot].isUsed, calls[slot].machine.isOpen,
                let connection = connections[Int(calls[slot].connection)],
                let stream = calls[slot].stream
            else { continue }
            if calls[slot].deadline != calls[slot].clientDeadline { metrics.count(.unaryTime) }
            end(slot, connection, stream, WireError.deadlineExceeded)
            notifyCancelled(slot, .deadlineExceeded)
        }
    }

    /// Sets the timers of the calls that began in this batch and were not answered in it.
    func startTimers() {
        guard !fresh.isEmpty else { return }
        for slot in fresh where calls[slot].isUsed && calls[slot].machine.isOpen {
            timers.set(slot, calls[slot].deadline)
        }
        fresh.removeAll(keepingCapacity: true)
    }

    /// Gives handlers the messages that they asked for since the last turn.
    func deliver() {
        guard !deliveries.isEmpty else { return }
        let wanted = deliveries
        deliveries = []
        for call in wanted {
            guard let (slot, connection, stream) = open(call) else { continue }
            connection.deliverMessages(slot, stream)
        }
    }

    /// Books what ended in this turn.
    func observe(at time: MonotonicTime) {
        metrics.turns += 1
        metrics.bytesHeld = UInt64(inputBytesHeld + outputBytesHeld)
        metrics.callsOpen = UInt64(calls.count)
        guard !ended.isEmpty else { return }
        for call in ended {
            metrics.callEnded(
                method: Int(call.method), call.code,
                nanoseconds: time.nanoseconds(since: call.startedAt))
        }
        ended.removeAll(keepingCapacity: true)
    }

    /// True when another message of so many bytes may be held.
    func hasRoom(for bytes: Int) -> Bool {
        inputBytesHeld + outputBytesHeld + bytes <= bytesHeldMax
    }
}

/// The header blocks of replies: the usual ones made once, the others from an error.
struct ReplyFields: Sendable {
    /// The one instance of the process.
    static let shared = ReplyFields()
    private static let contentType = HeaderFields.Field("content-type", "application/grpc")
    private static let status200 = HeaderFields.Field(":status", "200")

    /// In front of every message.
    let head = HeaderFields.forever([status200, contentType])
    /// After the last one.
    let ok = HeaderFields.forever([HeaderFields.Field("grpc-status", "0")])
    /// Not a gRPC request.
    let notGRPC = HeaderFields.forever([HeaderFields.Field(":status", "415")])
    /// Not a POST.
    let notPost = HeaderFields.forever([
        HeaderFields.Field(":status", "405"), HeaderFields.Field("allow", "POST"),
    ])

    /// The trailers of an error.
    func trailers(_ error: RPCError) -> HeaderFields {
        HeaderFields(Status.trailers(error).map { HeaderFields.Field($0.name, $0.value) })
    }

    /// The one header block of an error without messages.
    func trailersOnly(_ error: RPCError) -> HeaderFields {
        var fields = [Self.status200, Self.contentType]
        if error.reason == WireError.encodingUnsupported.reason {
            fields.append(HeaderFields.Field("grpc-accept-encoding", "identity"))
        }
        fields += Status.trailers(error).map { HeaderFields.Field($0.name, $0.value) }
        return HeaderFields(fields)
    }
}
