// One HTTP/2 connection as a byte machine over nghttp2: plaintext in, events out; replies in,
// plaintext out. Knows nothing of sockets, TLS, clocks or gRPC.
//
//            receive(bytes)                     submit…, consume, reset, goAway, ping
//                 │                                          │
//                 ▼                                          ▼
//        nghttp2_session_mem_recv                     nghttp2's queues
//                 │ callbacks                                │
//                 ▼                                          ▼
//        events, headers (this turn) ◀── callbacks ── drain(into:) = nghttp2_session_mem_send

internal import CNghttp2
internal import CTriageShims
internal import TriageBase

/// One side of one HTTP/2 connection.
///
/// - Isolation: confined to the thread of its reactor.
@safe package final class HTTP2Session {
    private let session: OpaquePointer
    /// Owned; nghttp2's callbacks write to it while `receive` and `drain` run.
    private let memory: UnsafeMutablePointer<SessionState>
    /// nghttp2's; kept until the session is gone.
    private let pool: HTTP2Memory

    // Not `_read`: 6.3.1 then copies the state into the coroutine's frame and uses it after the
    // frame is freed (found by the address sanitizer in a debug build).
    private var state: SessionState {
        unsafeAddress { unsafe UnsafePointer(memory) }
        unsafeMutableAddress { unsafe memory }
    }

    /// Starts a session; its SETTINGS wait to be drained.
    ///
    /// - Parameters:
    ///   - role: Which side this is. A client's preface is sent by the session.
    ///   - settings: What to announce and enforce.
    ///   - pool: Where nghttp2's memory comes from; one for all sessions of a thread.
    /// - Throws: ``HTTP2Error``: `.outOfMemory`.
    package init(
        role: HTTP2Role, settings: HTTP2Settings = HTTP2Settings(),
        pool: HTTP2Memory = HTTP2Memory()
    ) throws(HTTP2Error) {
        let memory = UnsafeMutablePointer<SessionState>.allocate(capacity: 1)
        unsafe memory.initialize(to: SessionState(role: role, settings: settings, pool: pool.pool))
        guard let made = unsafe Self.makeSession(role, settings, memory, pool) else {
            unsafe memory.deinitialize(count: 1)
            unsafe memory.deallocate()
            throw .outOfMemory
        }
        unsafe session = made
        unsafe self.memory = memory
        self.pool = pool
        try announce(settings)
    }

    deinit {
        // Without memory for its queue, 1.52 frees a stream's item and keeps a pointer to it, and
        // frees it again here: such a session is rather lost (found by MemoryFaultTests).
        if !isSpent { unsafe nghttp2_session_del(session) }
        unsafe memory.deinitialize(count: 1)
        unsafe memory.deallocate()
    }

    private static func makeSession(
        _ role: HTTP2Role, _ settings: HTTP2Settings, _ context: UnsafeMutableRawPointer,
        _ pool: HTTP2Memory
    ) -> OpaquePointer? {
        var option: OpaquePointer?
        guard let table = unsafe HTTP2Callbacks.table.pointer,
            unsafe nghttp2_option_new(&option) == 0, let option = unsafe option
        else { return nil }
        defer { unsafe nghttp2_option_del(option) }
        unsafe nghttp2_option_set_no_auto_window_update(option, 1)
        unsafe nghttp2_option_set_no_closed_streams(option, 1)
        unsafe nghttp2_option_set_peer_max_concurrent_streams(
            option, UInt32(settings.concurrentStreamsMax))
        unsafe nghttp2_option_set_max_deflate_dynamic_table_size(option, Limits.headerTableBytes)
        unsafe nghttp2_option_set_max_continuations(option, Limits.continuationsMax)
        // Of a client's frames the owner is told, see `settingsEntriesExceeded`: nghttp2 would end
        // the session without a word to us.
        unsafe nghttp2_option_set_max_settings(
            option, role == .server ? frameBytesMax : Limits.settingsEntriesMax)
        unsafe nghttp2_option_set_max_outbound_ack(option, Limits.queuedAnswersMax)
        // The owner's own limit, which has the owner's clock, comes first; this is the last resort.
        unsafe nghttp2_option_set_stream_reset_rate_limit(option, 1_000, 100)
        var made: OpaquePointer?
        let code =
            switch role {
            case .server:
                unsafe nghttp2_session_server_new3(&made, table, context, option, pool.table)
            case .client:
                unsafe nghttp2_session_client_new3(&made, table, context, option, pool.table)
            }
        return code == 0 ? unsafe made : nil
    }

    /// Bytes of a received frame; we announce no other figure.
    ///
    /// Source: RFC 9113 §6.5.2.
    private static let frameBytesMax = 16_384

    private func announce(_ settings: HTTP2Settings) throws(HTTP2Error) {
        func entry(_ id: nghttp2_settings_id, _ value: Int) -> nghttp2_settings_entry {
            nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(value))
        }
        var entries = [
            entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.streamWindowBytes),
            entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.headerListBytesMax),
            entry(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1),
        ]
        switch state.role {
        case .server:
            entries.append(
                entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.concurrentStreamsMax))
        case .client: entries.append(entry(NGHTTP2_SETTINGS_ENABLE_PUSH, 0))
        }
        try check(
            unsafe nghttp2_submit_settings(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), entries, entries.count))
        try check(
            unsafe nghttp2_session_set_local_window_size(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Int32(settings.connectionWindowBytes)
            ))
    }

    // MARK: In

    /// What happened since the last ``clearEvents()``, oldest first.
    package var events: [HTTP2Event] { state.events }

    /// The header blocks that ``events`` refer to.
    package var headers: HeaderStore { state.headers }

    /// Gives a known block all its fields.
    ///
    /// - Parameter block: Of an event of this turn, with ``HeaderBlock/known`` not 0.
    /// - Returns: A block of ``headers``, valid until the next call or ``clearEvents()``.
    package func expand(_ block: HeaderBlock) -> HeaderBlock { state.expand(block) }

    /// How large a stream's header block was.
    ///
    /// - Parameter stream: Of an event of this turn whose block has ``HeaderBlock/isOversize``.
    /// - Returns: The size, with what was dropped; nil for another stream.
    package func oversizeBlock(_ stream: HTTP2Stream) -> HeaderBlockSize? {
        state.oversizeBlock(stream)
    }

    /// Forgets the handled events, their header blocks and the slots of closed streams.
    package func clearEvents() {
        state.events.removeAll(keepingCapacity: state.events.capacity <= Self.eventsKept)
        state.clearHeaders()
        state.streams.releaseClosed()
    }

    private static let eventsKept = 256

    /// Feeds plaintext; what it means is in ``events`` afterwards.
    ///
    /// DATA is not copied: `.data` events are ranges of `bytes`, so handle them before these go
    /// away. A violation for which the protocol wants a GOAWAY does not throw: it queues the
    /// GOAWAY.
    ///
    /// - Throws: ``HTTP2Error``; the session is dead.
    ///
    /// Source: nghttp2_session_mem_recv(3).
    package func receive(_ bytes: Span<UInt8>) throws(HTTP2Error) {
        if isSpent { throw .outOfMemory }
        let result = unsafe bytes.withUnsafeBufferPointer { buffer -> Int in
            guard let base = buffer.baseAddress else { return 0 }
            unsafe state.input = base
            state.inputCount = buffer.count
            defer { unsafe state.input = nil }
            let result = unsafe nghttp2_session_mem_recv(session, base, buffer.count)
            state.batchEnded()
            return result
        }
        if result < 0 { throw error(Int32(truncatingIfNeeded: result)) }
        if let violation = state.violation {
            state.violation = nil
            state.counters.invalidFrames += 1
            try terminate(violation)
        }
    }

    /// Says that received body bytes were used, so that the windows may open again.
    ///
    /// What a closed stream had not consumed is returned by the session; later calls for it do
    /// nothing.
    package func consume(_ stream: HTTP2Stream, _ count: Int) {
        guard !isSpent, state.streams.isCurrent(stream) else { return }
        let used = min(count, state.streams[stream.slot].unconsumed)
        guard used > 0 else { return }
        state.streams[stream.slot].unconsumed -= used
        let held = min(used, state.streams[stream.slot].held)
        if held > 0 {
            state.streams[stream.slot].held -= held
            unsafe state.note(nghttp2_session_consume_stream(session, stream.id, held))
        }
        if used > held {
            unsafe state.note(nghttp2_session_consume(session, stream.id, used - held))
        }
    }

    /// Says that received body bytes stay with the owner for a while: they go on counting against
    /// the stream's window, and no longer against the connection's, which the other streams need.
    package func hold(_ stream: HTTP2Stream) {
        guard !isSpent, state.streams.isCurrent(stream) else { return }
        let more = state.streams[stream.slot].unconsumed - state.streams[stream.slot].held
        guard more > 0 else { return }
        state.streams[stream.slot].held += more
        unsafe state.note(nghttp2_session_consume_connection(session, more))
    }

    // MARK: Out

    /// Sends response headers; with `endStream` they are the whole response.
    ///
    /// - Throws: ``HTTP2Error``: `.outOfMemory`, or `.library` when headers were sent already.
    package func submitHeaders(
        _ stream: HTTP2Stream, _ fields: HeaderFields, endStream: Bool
    ) throws(HTTP2Error) {
        guard state.streams.isCurrent(stream) else { return }
        if endStream {
            state.streams[stream.slot].end = .submitted
            return try check(
                unsafe nghttp2_submit_response(
                    session, stream.id, fields.pointer, fields.count, nil))
        }
        // Without a source: it comes with the first bytes.
        try check(
            unsafe nghttp2_submit_headers(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, nil, fields.pointer,
                fields.count, nil))
    }

    /// Sends a whole answer: headers, one message, trailers.
    ///
    /// - Parameters:
    ///   - stream: The stream; nothing happens when it is closed.
    ///   - head: The response headers.
    ///   - message: Copied.
    ///   - prefix: Five bytes to send before it.
    ///   - trailers: What comes after it.
    /// - Throws: ``HTTP2Error``: `.outOfMemory`, or `.library` when headers were sent already.
    package func submitReply(
        _ stream: HTTP2Stream, _ head: HeaderFields, _ message: Span<UInt8>, prefix: DataPrefix,
        trailers: HeaderFields
    ) throws(HTTP2Error) {
        guard state.streams.isCurrent(stream) else { return }
        var source = unsafe SessionState.dataSource(stream.slot)
        try check(
            unsafe nghttp2_submit_response(session, stream.id, head.pointer, head.count, &source))
        guard state.streams[stream.slot].end == .open else { return }
        state.streams[stream.slot].source = .attached
        if !state.appendSmall(stream.slot, message, prefix) {
            submitData(stream, [UInt8](copying: message), prefix: prefix)
        }
        state.endWithTrailers(stream.slot, trailers)
    }

    /// Opens a stream with request headers (client).
    ///
    /// - Parameters:
    ///   - fields: The request's fields, pseudo-header fields first.
    ///   - userData: The owner's number for the stream.
    ///   - endStream: True when no body follows.
    /// - Returns: The stream's handle. When the peer refuses it, `.streamClosed` says so.
    /// - Throws: ``HTTP2Error``: `.outOfMemory`, or `.library` when stream ids are used up.
    package func submitRequest(
        _ fields: HeaderFields, userData: Int, endStream: Bool
    ) throws(HTTP2Error) -> HTTP2Stream {
        // Id -1 until nghttp2 has given one: it never matches a handle.
        let slot = state.streams.open(id: -1).slot
        state.streams[slot].userData = userData
        var source = unsafe SessionState.dataSource(slot)
        if !endStream { state.streams[slot].source = .attached }
        let id =
            if endStream {
                unsafe nghttp2_submit_request(
                    session, nil, fields.pointer, fields.count, nil, SessionState.tag(slot))
            } else {
                unsafe nghttp2_submit_request(
                    session, nil, fields.pointer, fields.count, &source, SessionState.tag(slot))
            }
        guard id > 0 else {
            state.streams.close(slot)
            throw error(id)
        }
        state.counters.streamsOpened += 1
        if endStream { state.streams[slot].end = .submitted }
        return state.streams.rename(slot, id: id)
    }

    /// Queues body bytes; they leave as the peer's windows open.
    ///
    /// - Parameters:
    ///   - stream: The stream; nothing happens when it is closed or its output has ended.
    ///   - bytes: Shared, not copied, until they are framed, unless they are few.
    ///   - prefix: Five bytes to send before them.
    package func submitData(_ stream: HTTP2Stream, _ bytes: [UInt8], prefix: DataPrefix? = nil) {
        guard state.streams.isCurrent(stream) else { return }
        guard state.streams[stream.slot].end == .open else { return }
        if let prefix, state.appendSmall(stream.slot, bytes.span, prefix) {
            // A short message with nothing before it needs no queue.
        } else {
            let chunk = OutputChunk(prefix: prefix, bytes: bytes)
            guard chunk.count > 0 else { return }
            state.bufferedBytes += chunk.count
            state.streams[stream.slot].append(chunk)
        }
        noteQueued(stream)
    }

    /// Queues whole messages that other streams get too; they leave as the peer's windows open.
    ///
    /// - Parameters:
    ///   - stream: The stream; nothing happens when it is closed or its output has ended.
    ///   - framed: Each with its prefix. Shared, not copied, until they are framed, unless they are
    ///     few.
    /// - Returns: Queued body bytes of the stream.
    package func submitFramed(_ stream: HTTP2Stream, _ framed: [UInt8]) -> Int {
        guard state.streams.isCurrent(stream), state.streams[stream.slot].end == .open
        else { return 0 }
        if !state.appendSmall(stream.slot, framed: framed.span) {
            guard !framed.isEmpty else { return state.streams[stream.slot].buffered }
            state.bufferedBytes += framed.count
            state.streams[stream.slot].append(OutputChunk(prefix: nil, bytes: framed))
        }
        noteQueued(stream)
        return state.streams[stream.slot].buffered
    }

    @inline(__always)
    private func noteQueued(_ stream: HTTP2Stream) {
        let buffered = state.streams[stream.slot].buffered
        if buffered > state.settings.highWaterBytes {
            state.streams[stream.slot].isAboveHighWater = true
        }
        if buffered > Self.fairShareBytes { shareFairly(stream) }
        unsafe state.offer(session, stream)
    }

    /// Ends the output with trailers, after everything queued.
    package func submitTrailers(_ stream: HTTP2Stream, _ fields: HeaderFields) {
        guard state.streams.isCurrent(stream), state.streams[stream.slot].end == .open
        else { return }
        state.endWithTrailers(stream.slot, fields)
        unsafe state.offer(session, stream)
    }

    /// Ends the output, after everything queued.
    package func endStream(_ stream: HTTP2Stream) {
        guard state.streams.isCurrent(stream), state.streams[stream.slot].end == .open
        else { return }
        state.streams[stream.slot].end = .endStream
        unsafe state.offer(session, stream)
    }

    /// Above this many queued bytes a stream takes turns with the others instead of going first.
    private static let fairShareBytes = 32 << 10

    /// By default nghttp2 sends one stream's queue to its end before the next (RFC 9218 §10).
    private func shareFairly(_ stream: HTTP2Stream) {
        guard state.role == .server, !state.streams[stream.slot].isIncremental else {
            return
        }
        state.streams[stream.slot].isIncremental = true
        var priority = nghttp2_extpri(urgency: UInt32(NGHTTP2_EXTPRI_DEFAULT_URGENCY), inc: 1)
        unsafe state.note(
            nghttp2_session_change_extpri_stream_priority(session, stream.id, &priority, 1))
    }

    /// Whether there is, or may come, more to send on a stream that is open.
    package func isOutputOpen(_ stream: HTTP2Stream) -> Bool {
        guard state.streams.isCurrent(stream), !state.streams[stream.slot].resetByUs else {
            return false
        }
        return state.streams[stream.slot].end == .open || state.streams[stream.slot].buffered > 0
    }

    /// Serialises what may be sent now.
    ///
    /// Events may be added: streams close when their last frame leaves.
    ///
    /// - Parameters:
    ///   - output: Receives whole frames behind what it has.
    ///   - limit: Serialising stops once `output` has at least this many bytes.
    /// - Returns: True when more could be sent at once.
    /// - Throws: ``HTTP2Error``; the session is dead.
    ///
    /// Source: nghttp2_session_mem_send(3).
    package func drain(into output: FrameBuffer, atMost limit: Int) throws(HTTP2Error) -> Bool {
        if isSpent { throw .outOfMemory }
        while output.count < limit {
            var frame: UnsafePointer<UInt8>?
            let count = unsafe nghttp2_session_mem_send(session, &frame)
            if isSpent { throw .outOfMemory }
            guard count > 0, let frame = unsafe frame else {
                if count == 0 { return false }
                throw error(Int32(truncatingIfNeeded: count))
            }
            unsafe output.append(frame, count)
        }
        return wantsWrite
    }

    /// Ends a stream at once; what it had queued is dropped.
    ///
    /// - Returns: False when it is over, or was reset by us before: nothing is sent.
    @discardableResult package func reset(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) -> Bool {
        guard !isSpent, state.streams.isCurrent(stream), !state.streams[stream.slot].resetByUs
        else { return false }
        state.streams[stream.slot].resetByUs = true
        unsafe state.note(
            nghttp2_submit_rst_stream(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, code.rawValue))
        return true
    }

    /// Announces a drain: the peer should open no further stream, those on their way are still
    /// served.
    ///
    /// Source: RFC 9113 §6.8; nghttp2_submit_shutdown_notice(3).
    package func shutdownNotice() throws(HTTP2Error) {
        try check(unsafe nghttp2_submit_shutdown_notice(session))
    }

    /// Refuses streams above `lastStream`; those below it go on.
    ///
    /// - Parameters:
    ///   - lastStream: nil for the last one that was received.
    ///   - code: Why.
    ///   - debug: A short public text, as in `too_many_pings`.
    /// - Throws: ``HTTP2Error``: `.outOfMemory`.
    package func goAway(
        lastStream: Int32? = nil, _ code: HTTP2ErrorCode, debug: StaticString = ""
    ) throws(HTTP2Error) {
        let last = unsafe lastStream ?? nghttp2_session_get_last_proc_stream_id(session)
        try check(
            unsafe nghttp2_submit_goaway(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, code.rawValue, debug.utf8Start,
                debug.utf8CodeUnitCount))
    }

    /// Ends the connection: GOAWAY, and nothing of the peer is heard any more.
    package func terminate(_ code: HTTP2ErrorCode) throws(HTTP2Error) {
        try check(unsafe nghttp2_session_terminate_session(session, code.rawValue))
    }

    /// Asks the peer for a sign of life; the answer is `.pingAcknowledged` with the same value.
    package func ping(_ opaque: UInt64) throws(HTTP2Error) {
        let bytes = (0..<8).map { UInt8(truncatingIfNeeded: opaque >> UInt64(56 - $0 * 8)) }
        try check(unsafe nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), bytes))
    }

    // MARK: State

    /// False once a stream is over, also when this turn's events only come to that.
    package func isOpen(_ stream: HTTP2Stream) -> Bool { state.streams.isCurrent(stream) }

    /// Attaches the owner's number to a stream; readable until the stream's events are cleared.
    package func setUserData(_ stream: HTTP2Stream, _ userData: Int) {
        guard state.streams.isCurrent(stream) else { return }
        state.streams[stream.slot].userData = userData
    }

    /// The owner's number for a stream, 0 until set; valid for every stream of this turn's events.
    package func userData(_ stream: HTTP2Stream) -> Int {
        state.streams[stream.slot].userData
    }

    /// Queued body bytes of one stream.
    package func bufferedBytes(_ stream: HTTP2Stream) -> Int {
        state.streams.isCurrent(stream) ? state.streams[stream.slot].buffered : 0
    }

    /// Body bytes of one stream that were framed so far.
    package func framedBytes(_ stream: HTTP2Stream) -> Int {
        state.streams.isCurrent(stream) ? state.streams[stream.slot].taken : 0
    }

    /// Queued body bytes of all streams.
    package var bufferedBytes: Int { state.bufferedBytes }

    /// Received body bytes of one stream that were not consumed.
    package func unconsumedBytes(_ stream: HTTP2Stream) -> Int {
        state.streams.isCurrent(stream) ? state.streams[stream.slot].unconsumed : 0
    }

    /// False once the protocol has nothing more to hear: after GOAWAY, when all streams are done.
    package var wantsRead: Bool { unsafe nghttp2_session_want_read(session) != 0 }

    /// True when ``drain(into:atMost:)`` may have something.
    package var wantsWrite: Bool { unsafe nghttp2_session_want_write(session) != 0 }

    /// Streams that are open, in either direction.
    package var openStreamCount: Int { state.streams.openCount }

    /// Whether the server may have seen a request: false only while its headers wait to be framed
    /// (client).
    package func mayHaveSent(_ stream: HTTP2Stream) -> Bool {
        !state.streams.isCurrent(stream) || state.streams[stream.slot].headersSent
    }

    /// How many streams the peer lets us have open at once; what it announced, once it has.
    ///
    /// Source: RFC 9113 §6.5.2; nghttp2_session_get_remote_settings(3).
    package var peerStreamsMax: Int {
        Int(
            unsafe nghttp2_session_get_remote_settings(
                session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    }

    /// What the peer's last GOAWAY said for people to read, such as `too_many_pings`; its first 64
    /// bytes (client).
    package var goAwayDebug: [UInt8] { state.goAwayDebug }

    /// True while a header block has begun and not ended: slow peers are timed out by the owner.
    package var isReceivingHeaders: Bool { state.isReceivingHeaders || state.blockGoesOn }

    /// What the peer has done so far.
    package var counters: HTTP2Counters { state.counters }

    // MARK: Errors

    /// Memory ran out in the library: nothing is asked of it any more.
    private(set) var isSpent: Bool {
        get { state.isSpent }
        set { state.isSpent = newValue }
    }

    private func check(_ code: Int32) throws(HTTP2Error) {
        if code < 0 { throw error(code) }
    }

    private func error(_ code: Int32) -> HTTP2Error {
        if code == NGHTTP2_ERR_NOMEM.rawValue { isSpent = true }
        return switch code {
        case NGHTTP2_ERR_BAD_CLIENT_MAGIC.rawValue: .badPreface
        case NGHTTP2_ERR_FLOODED.rawValue: .flooded
        case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS.rawValue: .continuationFlood
        case NGHTTP2_ERR_NOMEM.rawValue: .outOfMemory
        default: .library(code)
        }
    }
}
