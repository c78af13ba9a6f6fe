// The client's side of one connection, as a byte machine like the server's: calls in, ciphertext
// out; ciphertext in, messages and statuses out. No socket and no clock: ClientLoop has them. Here
// are calls, output and time; what the server sends is in ClientConnection+Input.swift.
//
//     connecting ──SETTINGS──▶ ready ──GOAWAY, retire()──▶ draining ──last call──▶ closed
//          └─────────────────────┴── broken, close() ─────────────────────────────▶ closed

package import TriageBase
package import TriageGRPC
import TriageHTTP2
import TriageIO
import TriageTLS

/// One connection to a server, with any number of calls.
///
/// - Isolation: confined to its loop's thread.
package final class ClientConnection {
    /// Where the connection is in its life.
    package enum State: Sendable {
        /// Until the server's SETTINGS have come: a TLS 1.3 server that refuses our certificate
        /// says so after the handshake.
        case connecting
        case ready, draining, closed
    }

    private static let highWaterBytes = 64 << 10
    private static let outputBytesMax = 256 << 10
    private static let keepalivePing: UInt64 = 0x616C_6976_653F_0000  // "alive?"

    /// Where the connection is in its life.
    package internal(set) var state = State.connecting
    /// Where it leads to: the address and port that were connected to.
    package let address: Endpoint
    /// The owner's number for the connection.
    package let tag: Int
    /// Place in the loop's table.
    let index: Int
    let wire: Wire
    let receiver: any ClientConnectionReceiver
    unowned let loop: ClientLoopContext
    var slots: [ClientCallSlot] = []
    private var free: [Int32] = []
    private let timers: TimerWheel
    private var expired: [Int] = []
    private var isDirty = false
    /// Why a connection that drains ends.
    private(set) var farewell = "the server is going away"
    private let keepaliveTimes: KeepaliveTimes?
    private var keepalive: Keepalive

    init(
        _ wire: Wire, _ loop: ClientLoopContext, _ address: Endpoint, index: Int, tag: Int,
        _ keepaliveTimes: KeepaliveTimes?, _ receiver: any ClientConnectionReceiver
    ) {
        self.index = index
        self.wire = wire
        self.loop = loop
        self.address = address
        self.tag = tag
        self.keepaliveTimes = keepaliveTimes
        self.receiver = receiver
        timers = TimerWheel(now: loop.now)
        keepalive = Keepalive(now: loop.now)
    }

    var http2: HTTP2Session { wire.http2 }

    /// Calls that have not ended, those included whose streams have yet to close.
    package var openCallCount: Int { slots.count - free.count }
    /// How many calls the server lets us have open at once.
    package var callsMax: Int { http2.peerStreamsMax }
    /// True when the handshake resumed an earlier session.
    package var isResumed: Bool { wire.tls.resumed }
    /// The server has ended the connection because we pinged it more often than it likes.
    package var isPingedTooMuch: Bool { http2.goAwayDebug == Self.tooManyPings }
    private static let tooManyPings = Array("too_many_pings".utf8)

    // MARK: Calls

    /// Starts a call whose request is one message.
    ///
    /// - Parameters:
    ///   - method: What to call.
    ///   - message: The serialised request.
    ///   - deadline: Sent to the server and enforced here; ``TriageBase/MonotonicTime/never`` for
    ///     none.
    ///   - tag: Handed to the receiver.
    ///   - receiver: Hears of the call.
    /// - Returns: nil when the connection takes no calls: it is draining or closed.
    package func call(
        _ method: ClientMethod, _ message: [UInt8], deadline: MonotonicTime = .never, tag: Int = 0,
        receiver: any ClientCallReceiver
    ) -> ClientCall? {
        guard let call = open(method, deadline: deadline, tag: tag, receiver: receiver) else {
            return nil
        }
        _ = send(call, message)
        endInput(call)
        return call
    }

    /// Starts a call whose messages follow with ``send(_:_:)`` and ``endInput(_:)``.
    ///
    /// - Parameters:
    ///   - method: What to call.
    ///   - deadline: Sent to the server and enforced here.
    ///   - extra: What its headers carry besides the method's.
    ///   - tag: Handed to the receiver.
    ///   - receiver: Hears of the call.
    /// - Returns: nil when the connection takes no calls: it is draining or closed.
    package func open(
        _ method: ClientMethod, deadline: MonotonicTime = .never, extra: ClientCallExtra? = nil,
        tag: Int = 0, receiver: any ClientCallReceiver
    ) -> ClientCall? {
        guard state == .ready || state == .connecting else { return nil }
        let timeout = deadline == .never ? nil : deadline.nanoseconds(since: loop.now)
        if openCallCount == 0 { keepalive.heard(loop.now) }
        let slot = takeSlot()
        let stream: HTTP2Stream
        do throws(HTTP2Error) {
            stream = try http2.submitRequest(
                method.headers(timeout: timeout, extra: extra), userData: slot + 1,
                endStream: false)
        } catch {
            // Stream ids are used up, or memory: no further call fits this connection.
            closeSlot(slot)
            state = .draining
            // If it was the only one, nothing else brings the connection to its end.
            markDirty()
            return nil
        }
        slots[slot].stream = stream
        slots[slot].method = method
        slots[slot].receiver = receiver
        slots[slot].tag = tag
        slots[slot].deframer.limit = method.replyBytesMax
        if deadline != .never { timers.set(slot, deadline) }
        markDirty()
        return ClientCall(slot: Int32(slot), generation: slots[slot].generation)
    }

    /// Sends a message of an open call.
    ///
    /// - Parameters:
    ///   - call: The call.
    ///   - message: The serialised message.
    ///   - compressed: Pack it with gzip; only for a method that says so.
    /// - Returns: `.full` when the receiver's `callWritable` should be waited for.
    package func send(
        _ call: ClientCall, _ message: [UInt8], compressed: Bool = false
    ) -> SendOutcome {
        guard let slot = find(call), let stream = slots[slot].stream else { return .gone }
        let packed = compressed ? loop.gzip.deflate(message) : nil
        let bytes = packed ?? message
        http2.submitData(
            stream, bytes,
            prefix: DataPrefix(flag: packed == nil ? 0 : 1, length: UInt32(bytes.count)))
        markDirty()
        return http2.bufferedBytes(stream) > Self.highWaterBytes ? .full : .queued
    }

    /// Says that no further message follows.
    package func endInput(_ call: ClientCall) {
        guard let slot = find(call), let stream = slots[slot].stream else { return }
        http2.endStream(stream)
        markDirty()
    }

    /// Ends a call at once; the receiver is told CANCELLED.
    package func cancel(_ call: ClientCall) {
        guard let slot = find(call), let stream = slots[slot].stream else { return }
        http2.reset(stream, .cancel)
        markDirty()
        ended(slot, ClientCallEnd(error: ClientError.cancelled))
    }

    /// Whether the message that is being delivered came compressed.
    package func isMessageCompressed(_ call: ClientCall) -> Bool {
        find(call).map { slots[$0].isMessageCompressed } ?? false
    }

    /// Stops delivering a call's messages: the server is held back once the window is used up.
    package func pause(_ call: ClientCall) {
        if let slot = find(call) { slots[slot].isPaused = true }
    }

    /// Goes on delivering a call's messages; never call it from `messageReceived`.
    package func resume(_ call: ClientCall) {
        guard let slot = find(call), slots[slot].isPaused, let stream = slots[slot].stream else {
            return
        }
        slots[slot].isPaused = false
        deliver(slot, stream)
        if find(call) != nil, !slots[slot].isPaused, slots[slot].endHeld { inputEnded(slot) }
        markDirty()
    }

    /// Takes no further calls; ends with the last one that is open.
    package func retire() {
        guard state == .ready || state == .connecting else { return }
        farewell = "it was retired"
        if openCallCount == 0 { return end(.closed(farewell)) }
        state = .draining
    }

    /// Ends the connection and all its calls.
    package func close() { end(.closed("closed by us")) }

    // MARK: Slots

    private func takeSlot() -> Int {
        if let slot = free.popLast() {
            slots[Int(slot)].isUsed = true
            return Int(slot)
        }
        slots.append(ClientCallSlot())
        slots[slots.count - 1].isUsed = true
        return slots.count - 1
    }

    func closeSlot(_ slot: Int) {
        timers.clear(slot)
        slots[slot].clear()
        free.append(Int32(slot))
    }

    private func find(_ call: ClientCall) -> Int? {
        let slot = Int(call.slot)
        guard slot < slots.count, slots[slot].isUsed, !slots[slot].isEnded,
            slots[slot].generation == call.generation
        else { return nil }
        return slot
    }

    /// Tells the receiver that a call is over; its slot goes when the stream has closed.
    func ended(_ slot: Int, _ end: ClientCallEnd) {
        guard !slots[slot].isEnded else { return }
        slots[slot].isEnded = true
        timers.clear(slot)
        let call = ClientCall(slot: Int32(slot), generation: slots[slot].generation)
        let receiver = slots[slot].receiver
        slots[slot].receiver = nil
        receiver?.callEnded(call, slots[slot].tag, end)
    }

    // MARK: Output and time

    func markDirty() {
        guard !isDirty else { return }
        isDirty = true
        loop.dirty.append(self)
    }

    /// Frames and encrypts what can be sent.
    func flush(_ staging: FrameBuffer) {
        isDirty = false
        guard state != .closed else { return }
        if let reason = wire.seal(staging, limit: Self.outputBytesMax) {
            return end(.closed(reason))
        }
        handleEvents(Span())
        guard state != .closed else { return }
        let isEmpty = state == .draining && openCallCount == 0
        let isDone = !wire.isHandshaking && !http2.wantsRead && !http2.wantsWrite
        if isEmpty || isDone { end(.closed(farewell)) }
    }

    /// True when more can be framed as soon as the socket has taken what waits.
    var hasMoreOutput: Bool { state != .closed && !wire.isHandshaking && http2.wantsWrite }

    /// When time has to be looked at next.
    var nextExpiry: MonotonicTime {
        let deadline = timers.nextExpiry ?? .never
        guard let keepaliveTimes, openCallCount > 0 else { return deadline }
        return min(deadline, keepalive.nextLook(keepaliveTimes))
    }

    /// The server has sent something.
    func heard() { keepalive.heard(loop.now) }

    /// Asks a silent server for a sign of life, or gives it up.
    func askIfSilent() {
        guard let keepaliveTimes, openCallCount > 0, state == .ready || state == .draining else {
            return
        }
        switch keepalive.judge(loop.now, keepaliveTimes) {
        case .nothing: break
        case .ping:
            // Fails only for want of memory; then the next look ends the connection.
            try? http2.ping(Self.keepalivePing)
            markDirty()
        case .dead: end(.closed("the server gave no sign of life"))
        }
    }

    /// Ends the calls whose deadlines have passed.
    func expireCalls() {
        timers.advance(to: loop.now, into: &expired)
        guard !expired.isEmpty else { return }
        let slots = expired
        expired.removeAll(keepingCapacity: true)
        for slot in slots {
            guard self.slots[slot].isUsed, !self.slots[slot].isEnded,
                let stream = self.slots[slot].stream
            else { continue }
            http2.reset(stream, .cancel)
            markDirty()
            ended(slot, ClientCallEnd(error: WireError.deadlineExceeded))
        }
    }

    /// Ends the connection; every call that is open ends with UNAVAILABLE.
    func end(_ error: TransportError) {
        guard state != .closed else { return }
        state = .closed
        wire.tls.close()
        let lost = ClientError.connectionLost(error)
        for slot in slots.indices where slots[slot].isUsed {
            let isUnsent = slots[slot].stream.map { !http2.mayHaveSent($0) } ?? true
            ended(slot, ClientCallEnd(error: lost, isUnprocessed: isUnsent))
            closeSlot(slot)
        }
        loop.ending.append(self)
        markDirty()
        receiver.connectionEnded(self, error)
    }
}
