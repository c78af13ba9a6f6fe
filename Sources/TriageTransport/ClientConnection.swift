// The client's side of one connection, as a byte machine like the server's: calls in, ciphertext
// out; ciphertext in, messages and statuses out. No socket and no clock: ClientLoop has them.
//
//     connecting ──handshake──▶ ready ──GOAWAY──▶ draining ──last call──▶ closed
//          └──────────────────────┴── broken, close() ───────────────────▶ closed

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
        case connecting, ready, draining, closed
    }

    /// Largest message taken from a server, bytes; gRPC's usual default.
    static let messageBytesMax = 4 << 20
    private static let highWaterBytes = 64 << 10
    private static let outputBytesMax = 256 << 10

    /// Where the connection is in its life.
    package private(set) var state = State.connecting
    /// The owner's number for the connection.
    package let tag: Int
    /// Place in the loop's table.
    let index: Int
    let wire: Wire
    private let receiver: any ClientConnectionReceiver
    private unowned let loop: ClientLoopContext
    private var slots: [ClientCallSlot] = []
    private var free: [Int32] = []
    private let timers: TimerWheel
    private var expired: [Int] = []
    private var isDirty = false
    private(set) var endError: TransportError?

    init(
        _ wire: Wire, _ loop: ClientLoopContext, index: Int, tag: Int,
        _ receiver: any ClientConnectionReceiver
    ) {
        self.index = index
        self.wire = wire
        self.loop = loop
        self.tag = tag
        self.receiver = receiver
        timers = TimerWheel(now: loop.now)
    }

    private var http2: HTTP2Session { wire.http2 }

    /// Calls that have not ended.
    package var openCallCount: Int { slots.count - free.count }
    /// True when the handshake resumed an earlier session.
    package var isResumed: Bool { wire.tls.resumed }

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
    ///   - tag: Handed to the receiver.
    ///   - receiver: Hears of the call.
    /// - Returns: nil when the connection takes no calls: it is draining or closed.
    package func open(
        _ method: ClientMethod, deadline: MonotonicTime = .never, tag: Int = 0,
        receiver: any ClientCallReceiver
    ) -> ClientCall? {
        guard state == .ready || state == .connecting else { return nil }
        let timeout = deadline == .never ? nil : deadline.nanoseconds(since: loop.now)
        let slot = takeSlot()
        let stream: HTTP2Stream
        do throws(HTTP2Error) {
            stream = try http2.submitRequest(
                method.headers(timeout: timeout), userData: slot + 1, endStream: false)
        } catch {
            // Stream ids are used up, or memory: no further call fits this connection.
            closeSlot(slot)
            state = .draining
            return nil
        }
        slots[slot].stream = stream
        slots[slot].method = method
        slots[slot].receiver = receiver
        slots[slot].tag = tag
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
        ended(slot, ClientError.cancelled)
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

    private func closeSlot(_ slot: Int) {
        timers.clear(slot)
        slots[slot].generation &+= 1
        slots[slot].isUsed = false
        slots[slot].isEnded = false
        slots[slot].stream = nil
        slots[slot].method = nil
        slots[slot].receiver = nil
        slots[slot].messages = 0
        slots[slot].httpStatus = 0
        slots[slot].isGRPC = false
        slots[slot].status = nil
        slots[slot].isPaused = false
        slots[slot].endHeld = false
        slots[slot].deframer.acceptsCompressed = false
        slots[slot].deframer.reset()
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
    private func ended(_ slot: Int, _ error: RPCError?) {
        guard !slots[slot].isEnded else { return }
        slots[slot].isEnded = true
        timers.clear(slot)
        let call = ClientCall(slot: Int32(slot), generation: slots[slot].generation)
        let receiver = slots[slot].receiver
        slots[slot].receiver = nil
        receiver?.callEnded(call, slots[slot].tag, error)
    }

    // MARK: Input

    /// Handles decrypted bytes until there are no more.
    func process(_ buffer: inout [UInt8]) {
        if wire.isHandshaking {
            switch wire.handshake() {
            case .needsInput: return markDirty()
            case .complete:
                markDirty()
                guard wire.tls.negotiatedH2 else { return end(.tls(.noCommonProtocol)) }
                if state == .connecting { state = .ready }
                receiver.connectionReady(self)
            case .failed(let error):
                return end(.tls(error))
            }
        }
        while state != .closed {
            switch wire.read(into: &buffer) {
            case .events(let count):
                handleEvents(buffer.span.extracting(first: count))
                markDirty()
            case .needsInput: return
            case .closed: end(.closed("the server closed TLS"))
            case .failed(let reason), .overLimit(_, let reason): end(.closed(reason))
            }
        }
    }

    private func handleEvents(_ plaintext: Span<UInt8>) {
        let events = http2.events
        guard !events.isEmpty else { return }
        let headers = http2.headers
        for event in events {
            if state == .closed { break }
            switch event {
            case .headers(let stream, let block): headersReceived(stream, block, headers)
            case .trailers(let stream, let block):
                statusReceived(stream, block, headers)
                let slot = http2.userData(stream) - 1
                if slot >= 0 { metadataReceived(slot, block, headers, isTrailing: true) }
            case .data(let stream, let offset, let count):
                dataReceived(stream, plaintext.extracting(offset..<(offset + count)))
            case .endStream(let stream):
                let slot = http2.userData(stream) - 1
                if slot >= 0 { inputEnded(slot) }
            case .streamClosed(let stream, let code): streamClosed(stream, code)
            case .outputDrained(let stream): drained(stream)
            case .goAwayReceived:
                if state == .ready {
                    state = .draining
                    receiver.connectionDraining(self)
                }
            case .informational, .pingAcknowledged, .settingsReceived, .settingsAcknowledged: break
            }
        }
        http2.clearEvents()
    }

    private func headersReceived(
        _ stream: HTTP2Stream, _ block: HeaderBlock, _ headers: HeaderStore
    ) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return }
        for index in block.range {
            let field = headers.fields[index]
            switch field.token {
            case .status:
                let text = headers.value(field)
                for position in text.indices {
                    slots[slot].httpStatus =
                        slots[slot].httpStatus * 10 + Int(text[position]) - Int(UInt8(ascii: "0"))
                }
            case .contentType:
                slots[slot].isGRPC = RequestHead.isGRPCContentType(headers.value(field))
            case .grpcStatus: statusReceived(stream, block, headers)
            case .grpcEncoding:
                switch MessageEncoding(headers.value(field)) {
                case .identity: break
                case .gzip: slots[slot].deframer.acceptsCompressed = true
                case .unknown:
                    http2.reset(stream, .cancel)
                    return ended(slot, ClientError.encodingUnknown)
                }
            default: break
            }
        }
        metadataReceived(slot, block, headers, isTrailing: false)
    }

    private func metadataReceived(
        _ slot: Int, _ block: HeaderBlock, _ headers: HeaderStore, isTrailing: Bool
    ) {
        guard slots[slot].method?.readsMetadata == true, !slots[slot].isEnded else { return }
        var metadata: [MetadataField] = []
        for index in block.range where headers.fields[index].token == .other {
            let field = headers.fields[index]
            metadata.append(
                MetadataField(
                    name: [UInt8](copying: headers.name(field)),
                    value: [UInt8](copying: headers.value(field))))
        }
        let call = ClientCall(slot: Int32(slot), generation: slots[slot].generation)
        slots[slot].receiver?.metadataReceived(
            call, slots[slot].tag, metadata, isTrailing: isTrailing)
    }

    private func statusReceived(
        _ stream: HTTP2Stream, _ block: HeaderBlock, _ headers: HeaderStore
    ) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0 else { return }
        var status: Int?
        var message: Int?
        var details: Int?
        var pushback: Int?
        for index in block.range {
            switch headers.fields[index].token {
            case .grpcStatus: status = index
            case .grpcMessage: message = index
            case .grpcStatusDetailsBin: details = index
            case .grpcRetryPushbackMs: pushback = index
            default: break
            }
        }
        guard let status else { return }
        let code = headers.value(headers.fields[status])
        if code.count == 1, code[0] == UInt8(ascii: "0") {
            slots[slot].status = .ok
            return
        }
        let messageText = message.map { [UInt8](copying: headers.value(headers.fields[$0])) } ?? []
        let detailsText = details.map { [UInt8](copying: headers.value(headers.fields[$0])) } ?? []
        var error = Status.decode(
            status: code, message: messageText.span, details: detailsText.span)
        if let pushback {
            error?.retryAfterMilliseconds = Status.pushback(
                headers.value(headers.fields[pushback]))
        }
        slots[slot].status = error.map { .error($0) } ?? .ok
    }

    private func dataReceived(_ stream: HTTP2Stream, _ bytes: Span<UInt8>) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0, !slots[slot].isEnded else { return http2.consume(stream, bytes.count) }
        if !slots[slot].isPaused, slots[slot].deframer.isAtBoundary,
            let range = MessageDeframer.wholeMessage(in: bytes, limit: Self.messageBytesMax)
        {
            http2.consume(stream, bytes.count)
            return messageReceived(slot, bytes.extracting(range))
        }
        slots[slot].deframer.append(bytes)
        if !slots[slot].isPaused { deliver(slot, stream) }
    }

    private func deliver(_ slot: Int, _ stream: HTTP2Stream) {
        while slots[slot].isUsed, !slots[slot].isEnded, !slots[slot].isPaused {
            let range: Range<Int>?
            do throws(DeframeError) {
                range = try slots[slot].deframer.next()
            } catch {
                http2.reset(stream, .cancel)
                return ended(slot, WireError.deframe(error))
            }
            guard let range else { break }
            let deframer = slots[slot].deframer
            if deframer.isCompressed {
                do throws(RPCError) {
                    let message = try deframer.withBytes(range) { bytes throws(RPCError) in
                        try loop.gzip.inflate(bytes)
                    }
                    slots[slot].isMessageCompressed = true
                    messageReceived(slot, message.span)
                    slots[slot].isMessageCompressed = false
                } catch {
                    http2.reset(stream, .cancel)
                    return ended(slot, error)
                }
            } else {
                deframer.withBytes(range) { messageReceived(slot, $0) }
            }
        }
        if !slots[slot].isPaused { http2.consume(stream, http2.unconsumedBytes(stream)) }
    }

    @inline(__always)
    private func messageReceived(_ slot: Int, _ message: Span<UInt8>) {
        slots[slot].messages += 1
        if slots[slot].messages > 1, slots[slot].method?.serverStreaming == false {
            if let stream = slots[slot].stream { http2.reset(stream, .cancel) }
            return ended(slot, ClientError.responseCardinality)
        }
        let call = ClientCall(slot: Int32(slot), generation: slots[slot].generation)
        slots[slot].receiver?.messageReceived(call, slots[slot].tag, message)
    }

    private func inputEnded(_ slot: Int) {
        guard slots[slot].isUsed, !slots[slot].isEnded else { return }
        if slots[slot].isPaused {
            slots[slot].endHeld = true
            return
        }
        switch slots[slot].status {
        case .error(let error): ended(slot, error)
        case .ok:
            let isShort = slots[slot].messages == 0 && slots[slot].method?.serverStreaming == false
            let error: RPCError? =
                if !slots[slot].deframer.isAtBoundary {
                    WireError.messageTruncated
                } else if isShort {
                    ClientError.responseCardinality
                } else {
                    nil
                }
            ended(slot, error)
        case nil: ended(slot, ClientError.noStatus(httpStatus: slots[slot].httpStatus))
        }
    }

    private func streamClosed(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0, slots[slot].isUsed else { return }
        if slots[slot].endHeld {
            // The messages that are held die with the stream's slot: deliver what there is first.
            slots[slot].isPaused = false
            deliver(slot, stream)
            inputEnded(slot)
        }
        ended(slot, ClientError.reset(code.rawValue))
        closeSlot(slot)
        if state == .draining, openCallCount == 0 { end(.closed("the server is going away")) }
    }

    private func drained(_ stream: HTTP2Stream) {
        let slot = http2.userData(stream) - 1
        guard slot >= 0, slots[slot].isUsed, !slots[slot].isEnded else { return }
        let call = ClientCall(slot: Int32(slot), generation: slots[slot].generation)
        slots[slot].receiver?.callWritable(call, slots[slot].tag)
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
        if state != .closed, !wire.isHandshaking, !http2.wantsRead, !http2.wantsWrite {
            end(.closed("the server is going away"))
        }
    }

    /// True when more can be framed as soon as the socket has taken what waits.
    var hasMoreOutput: Bool { state != .closed && !wire.isHandshaking && http2.wantsWrite }

    /// When a deadline has to be looked at next.
    var nextExpiry: MonotonicTime { timers.nextExpiry ?? .never }

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
            ended(slot, WireError.deadlineExceeded)
        }
    }

    /// Ends the connection; every call that is open ends with UNAVAILABLE.
    func end(_ error: TransportError) {
        guard state != .closed else { return }
        state = .closed
        endError = error
        wire.tls.close()
        for slot in slots.indices where slots[slot].isUsed {
            ended(slot, ClientError.connectionLost)
            closeSlot(slot)
        }
        loop.ending.append(self)
        markDirty()
        receiver.connectionEnded(self, error)
    }
}

/// The errors that a client makes itself.
private enum ClientError {
    static let cancelled = RPCError(
        .cancelled, reason: "CANCELLED", message: "The caller cancelled the call.")
    static let connectionLost = RPCError(
        .unavailable, reason: "CONNECTION_LOST",
        message: "The connection ended before the call was answered.")
    static let responseCardinality = RPCError(
        .unimplemented, reason: "RESPONSE_CARDINALITY",
        message: "The server sent none or several replies where one is due.")

    static let encodingUnknown = RPCError(
        .internal, reason: "ENCODING_UNSUPPORTED",
        message: "The server answered in a message encoding that was not offered to it.")

    static func noStatus(httpStatus: Int) -> RPCError {
        if httpStatus == 200 {
            return RPCError(
                .internal, reason: "STATUS_MISSING", message: "The server sent no grpc-status.")
        }
        return RPCError(
            Status.code(httpStatus: httpStatus), reason: "HTTP_STATUS",
            message: "The server answered with HTTP status \(httpStatus).",
            metadata: ["http_status": String(httpStatus)])
    }

    static func reset(_ code: UInt32) -> RPCError {
        RPCError(
            Status.code(http2Error: code), reason: "STREAM_RESET",
            message: "The server reset the call with HTTP/2 error code \(code).",
            metadata: ["http2_error": String(code)])
    }
}
