// What nghttp2's callbacks write to: events, header blocks, stream slots, counters. Each method
// turns one callback into at most a few events; none sends, receives or runs anybody else's code.

internal import CNghttp2
internal import TriageBase

/// The context of one session's callbacks, in memory that the session owns until
/// `nghttp2_session_del`.
///
/// A struct behind a pointer, because a class would check every access for exclusivity: a sixth of
/// the time of a call. nghttp2 calls back only inside `mem_recv` and `mem_send`, and the session
/// holds no access to it then, so that no two accesses overlap.
@safe struct SessionState: ~Copyable {
    let role: HTTP2Role
    let settings: HTTP2Settings

    var events: [HTTP2Event] = []
    var headers = HeaderStore()
    var streams: StreamTable
    var counters = HTTP2Counters()
    /// Queued body bytes of all streams.
    var bufferedBytes = 0
    /// A header block has begun and not ended.
    var isReceivingHeaders = false
    /// A CONTINUATION must follow, also where the block itself was refused.
    var blockGoesOn = false
    /// The bytes that `receive` was given, while it runs.
    var input: UnsafePointer<UInt8>?
    var inputCount = 0
    /// What nghttp2 skips without a word, see FrameLedger.swift.
    var ledger = FrameLedger()
    var closedStreams = ClosedStreams()
    /// The stream that was looked at last; perhaps closed.
    private var last = HTTP2Stream(id: 0, slot: 0)
    /// The peer broke a rule that nghttp2 does not look at: the connection ends with this code.
    var violation: HTTP2ErrorCode?
    /// What the last GOAWAY said for people to read (client).
    var goAwayDebug: [UInt8] = []
    private static let goAwayDebugBytesMax = 64
    /// Source: RFC 9113 §6.5.1.
    private static let settingsEntryBytes = 6

    /// Request header blocks that came before.
    var known: KnownBlocks
    /// The block that is being received.
    var block = HeaderBlock(start: 0, count: 0, isOversize: false)
    var blockBytes = 0
    var blockFields = 0
    private var blockIsInformational = false
    /// The oversize blocks of this turn that came to their end.
    private var oversizeBlocks: [(stream: Int32, size: HeaderBlockSize)] = []

    /// Memory ran out in the library: nothing is asked of it any more.
    var isSpent = false
    /// Streams whose source is `.draining`.
    private var drainingCount = 0

    private let pool: UnsafeMutablePointer<HTTP2Pool>

    /// Starts with nothing seen; the pool outlives the session.
    init(role: HTTP2Role, settings: HTTP2Settings, pool: UnsafeMutablePointer<HTTP2Pool>) {
        self.role = role
        self.settings = settings
        unsafe self.pool = unsafe pool
        streams = unsafe StreamTable(pool)
        known = KnownBlocks(isOn: role == .server && settings.knowsBlocks)
    }

    // MARK: Received

    mutating func frameBegan(_ session: OpaquePointer?, _ header: nghttp2_frame_hd) {
        counters.frames += 1
        let at = role == .server ? account(header) : 0
        switch UInt32(header.type) {
        case NGHTTP2_DATA.rawValue: counters.dataFrames += 1
        case NGHTTP2_HEADERS.rawValue:
            counters.headers += 1
            blockGoesOn = header.flags & UInt8(NGHTTP2_FLAG_END_HEADERS.rawValue) == 0
            guard role == .server else { return }
            if header.stream_id > closedStreams.highestOpened {
                closedStreams.highestOpened = header.stream_id
            } else {
                unsafe oldHeadersBegan(session, header.stream_id)
            }
        case NGHTTP2_PRIORITY.rawValue:
            counters.priorities += 1
            if role == .server { priorityBegan(header.stream_id, at: at) }
        case NGHTTP2_RST_STREAM.rawValue: counters.resets += 1
        case NGHTTP2_SETTINGS.rawValue:
            if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 {
                counters.settings += 1
                if header.length / Self.settingsEntryBytes > Limits.settingsEntriesMax {
                    counters.settingsEntriesExceeded += 1
                }
            }
        case NGHTTP2_PING.rawValue:
            if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 { counters.pings += 1 }
        case NGHTTP2_WINDOW_UPDATE.rawValue: counters.windowUpdates += 1
        case NGHTTP2_CONTINUATION.rawValue:
            counters.continuations += 1
            blockGoesOn = header.flags & UInt8(NGHTTP2_FLAG_END_HEADERS.rawValue) == 0
        default: break
        }
    }

    mutating func headersBegan(_ session: OpaquePointer, _ frame: borrowing nghttp2_frame) {
        isReceivingHeaders = true
        block = HeaderBlock(
            start: Int32(headers.fields.count), count: 0, isOversize: headers.isFull)
        blockBytes = 0
        blockFields = 0
        blockIsInformational = false
        let category = unsafe frame.headers.cat
        let isRequest = role == .server && category == NGHTTP2_HCAT_REQUEST
        known.begin(isRequest: isRequest && !block.isOversize)
        guard isRequest else { return }
        let stream = streams.open(id: unsafe frame.hd.stream_id)
        last = stream
        counters.streamsOpened += 1
        unsafe nghttp2_session_set_stream_user_data(session, stream.id, Self.tag(stream.slot))
    }

    /// Keeps a field, unless the block is over its limits.
    ///
    /// - Returns: The name; nil when the block is so far over that the connection must end.
    mutating func fieldReceived(
        name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>, sensitive: Bool
    ) -> HeaderToken? {
        blockBytes += name.count + value.count + 32
        blockFields += 1
        guard blockBytes <= settings.headerListBytesMax,
            blockFields <= settings.headerFieldsMax
        else {
            if !block.isOversize { noteExcess() }
            if blockBytes <= settings.headerListBytesMax * Limits.headerExcessMax,
                blockFields <= settings.headerFieldsMax * Limits.headerExcessMax
            {
                return .other
            }
            isReceivingHeaders = false
            return nil
        }
        guard !block.isOversize, let nameStart = name.baseAddress else { return .other }
        let token = unsafe HeaderToken.recognise(nameStart, name.count)
        if token == .status, unsafe value.first == UInt8(ascii: "1") {
            blockIsInformational = true
        }
        unsafe headers.append(token: token, sensitive: sensitive, name: name, value: value)
        block.count += 1
        return token
    }

    private mutating func noteExcess() {
        block.isOversize = true
        counters.excesses += 1
        if blockFields > settings.headerFieldsMax {
            counters.headerFieldsExceeded += 1
        } else {
            counters.headerBytesExceeded += 1
        }
    }

    mutating func dataReceived(
        _ session: OpaquePointer, id: Int32, data: UnsafePointer<UInt8>, count: Int
    ) {
        guard let stream = unsafe stream(session, id), let input = unsafe input else { return }
        streams[stream.slot].unconsumed += count
        unsafe events.append(.data(stream, offset: data - input, count: count))
    }

    mutating func frameReceived(_ session: OpaquePointer, _ frame: borrowing nghttp2_frame) {
        let header = unsafe frame.hd
        switch UInt32(header.type) {
        case NGHTTP2_DATA.rawValue:
            let padding = unsafe frame.data.padlen
            let ends = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
            let isEmpty = header.length <= padding
            counters.emptyDataFramesInARow =
                isEmpty && !ends ? counters.emptyDataFramesInARow + 1 : 0
            if isEmpty {
                counters.emptyDataFramesLongestRow = max(
                    counters.emptyDataFramesLongestRow, counters.emptyDataFramesInARow)
            }
            if ends { remoteEnded(unsafe stream(session, header.stream_id)) }
        case NGHTTP2_HEADERS.rawValue:
            headersEnded(
                unsafe stream(session, header.stream_id),
                ends: header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0)
        case NGHTTP2_RST_STREAM.rawValue:
            if let stream = unsafe stream(session, header.stream_id) {
                streams[stream.slot].resetByPeer = true
            }
        case NGHTTP2_GOAWAY.rawValue:
            if role == .client {
                unsafe goAwayDebug = [UInt8](
                    UnsafeBufferPointer(
                        start: frame.goaway.opaque_data,
                        count: min(frame.goaway.opaque_data_len, Self.goAwayDebugBytesMax)))
                unsafe refuseQueuedRequests(session)
            }
            unsafe events.append(
                .goAwayReceived(
                    lastStream: unsafe frame.goaway.last_stream_id,
                    HTTP2ErrorCode(rawValue: unsafe frame.goaway.error_code)))
        case NGHTTP2_PING.rawValue where header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0:
            let o = unsafe frame.ping.opaque_data
            let bytes = [o.0, o.1, o.2, o.3, o.4, o.5, o.6, o.7]
            events.append(.pingAcknowledged(bytes.reduce(0) { $0 << 8 | UInt64($1) }))
        case NGHTTP2_SETTINGS.rawValue:
            let isAnswer = header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0
            events.append(isAnswer ? .settingsAcknowledged : .settingsReceived)
        default:
            break
        }
    }

    /// After GOAWAY no request opens a stream any more: those that still wait end now, not some
    /// day.
    private mutating func refuseQueuedRequests(_ session: OpaquePointer) {
        for stream in streams.all
        where unsafe nghttp2_session_find_stream(session, stream.id) == nil {
            closed(stream, .refusedStream)
        }
    }

    private mutating func headersEnded(_ stream: HTTP2Stream?, ends: Bool) {
        isReceivingHeaders = false
        blockEnded(isComplete: stream != nil)
        guard let stream else { return }
        if block.isOversize {
            counters.oversizeHeaders += 1
            oversizeBlocks.append(
                (stream.id, HeaderBlockSize(bytes: blockBytes, fields: blockFields)))
        }
        if blockIsInformational {
            unsafe events.append(.informational(stream, block))
        } else if streams[stream.slot].headersReceived {
            unsafe events.append(.trailers(stream, block))
        } else {
            streams[stream.slot].headersReceived = true
            unsafe events.append(.headers(stream, block))
        }
        if ends { remoteEnded(stream) }
    }

    private mutating func remoteEnded(_ stream: HTTP2Stream?) {
        guard let stream else { return }
        streams[stream.slot].remoteEnded = true
        events.append(.endStream(stream))
    }

    mutating func invalidFrameReceived(_ frame: borrowing nghttp2_frame, _ code: Int32) {
        counters.invalidFrames += 1
        guard UInt32(unsafe frame.hd.type) == NGHTTP2_HEADERS.rawValue else { return }
        isReceivingHeaders = false
        // Before our limit is known to the peer its stream is refused; after, the connection ends.
        if code == NGHTTP2_ERR_REFUSED_STREAM.rawValue
            || code == NGHTTP2_ERR_PROTO.rawValue
                && streams.openCount >= settings.concurrentStreamsMax
        {
            counters.streamsRefused += 1
            counters.excesses += 1
        }
    }

    /// The size of a stream's last oversize block of this turn; nil when it had none.
    func oversizeBlock(_ stream: HTTP2Stream) -> HeaderBlockSize? {
        oversizeBlocks.last { $0.stream == stream.id }?.size
    }

    /// Forgets the header blocks of this turn, but not one that goes on in the next.
    mutating func clearHeaders() {
        if !oversizeBlocks.isEmpty { oversizeBlocks = [] }
        known.turnEnded()
        headers.dropExpansion()
        guard isReceivingHeaders else { return headers.removeAll() }
        headers.removeAll(before: Int(block.start))
        block.start = 0
    }

    // MARK: Sent and closed

    mutating func frameSent(_ session: OpaquePointer, _ frame: borrowing nghttp2_frame) {
        let header = unsafe frame.hd
        switch UInt32(header.type) {
        case NGHTTP2_DATA.rawValue:
            counters.dataFramesSent += 1
            if header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 {
                unsafe localEnded(session, header.stream_id)
            } else if drainingCount > 0, let stream = unsafe stream(session, header.stream_id) {
                unsafe sourceDrained(session, stream)
            }
        case NGHTTP2_HEADERS.rawValue:
            if role == .client {
                if let stream = unsafe stream(session, header.stream_id) {
                    streams[stream.slot].headersSent = true
                }
            } else if header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 {
                unsafe localEnded(session, header.stream_id)
            }
        case NGHTTP2_RST_STREAM.rawValue:
            let stream = unsafe stream(session, header.stream_id)
            if let stream, streams[stream.slot].resetByUs { return }
            counters.resetsProvoked += 1
            if let stream {
                streams[stream.slot].resetByUs = true
            } else {
                // Refused before it became a stream of ours.
                closedStreams.closed(header.stream_id, .resetByUs)
            }
        default:
            break
        }
    }

    /// A complete answer to an unfinished request: the rest of the request is not wanted.
    ///
    /// Source: RFC 9113 §8.1.
    private mutating func localEnded(_ session: OpaquePointer, _ id: Int32) {
        guard role == .server, let stream = unsafe stream(session, id),
            !streams[stream.slot].remoteEnded
        else { return }
        streams[stream.slot].resetByUs = true
        // When the stream is gone nothing is owed.
        unsafe note(
            nghttp2_submit_rst_stream(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, HTTP2ErrorCode.noError.rawValue))
    }

    /// A frame could not be sent; a request that never opened its stream must still end.
    mutating func frameNotSent(_ frame: borrowing nghttp2_frame) {
        guard unsafe frame.hd.type == UInt8(NGHTTP2_HEADERS.rawValue),
            unsafe frame.headers.cat == NGHTTP2_HCAT_REQUEST,
            let stream = streams.find(id: unsafe frame.hd.stream_id)
        else { return }
        closed(stream, streams[stream.slot].resetByUs ? .cancel : .refusedStream)
    }

    mutating func streamClosed(_ session: OpaquePointer, id: Int32, code: UInt32) {
        guard let stream = unsafe stream(session, id) else { return }
        let unconsumed = streams[stream.slot].unconsumed - streams[stream.slot].held
        if unconsumed > 0 { unsafe note(nghttp2_session_consume_connection(session, unconsumed)) }
        closedStreams.closed(id, streams[stream.slot].fate)
        closed(stream, HTTP2ErrorCode(rawValue: code))
    }

    private mutating func closed(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        bufferedBytes -= streams[stream.slot].buffered
        if streams[stream.slot].source == .draining { drainingCount -= 1 }
        streams.close(stream.slot)
        unsafe events.append(.streamClosed(stream, code))
    }

    /// What the data source has for a frame.
    @safe struct Pulled {
        var count = 0
        var flags: UInt32 = 0
        var isDeferred = false
        var trailers: UnsafeMutablePointer<nghttp2_nv>?
        var trailersCount = 0
    }

    mutating func pull(slot: Int32, into buffer: UnsafeMutablePointer<UInt8>, capacity: Int)
        -> Pulled
    {
        var pulled = Pulled()
        pulled.count = unsafe streams[slot].take(to: buffer, capacity: capacity, pool)
        bufferedBytes -= pulled.count
        let buffered = streams[slot].buffered
        if streams[slot].isAboveHighWater, buffered <= settings.lowWaterBytes {
            streams[slot].isAboveHighWater = false
            events.append(.outputDrained(HTTP2Stream(id: streams[slot].id, slot: slot)))
        }
        guard buffered == 0 else { return pulled }
        switch streams[slot].end {
        case .open, .submitted:
            if pulled.count == 0 {
                pulled.isDeferred = true
                streams[slot].source = .deferred
                return pulled
            }
            pulled.flags = NGHTTP2_DATA_FLAG_EOF.rawValue | NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
            streams[slot].source = .draining
            drainingCount += 1
            last = HTTP2Stream(id: streams[slot].id, slot: slot)
        case .endStream:
            pulled.flags = NGHTTP2_DATA_FLAG_EOF.rawValue
            streams[slot].end = .submitted
        case .trailers:
            pulled.flags = NGHTTP2_DATA_FLAG_EOF.rawValue | NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
            unsafe pulled.trailers = unsafe streams[slot].trailers
            pulled.trailersCount = streams[slot].trailersCount
            streams[slot].end = .submitted
        }
        return pulled
    }

    /// Has nghttp2 take what a stream has queued, or its trailers, if it does not do so anyway.
    ///
    /// A source is let go of when the queue has drained: to be asked once more, deferred and told
    /// to go on would cost as much again as the message itself.
    ///
    /// Source: nghttp2_submit_data(3), which takes one source of a stream at a time.
    mutating func offer(_ session: OpaquePointer, _ stream: HTTP2Stream) {
        guard !isSpent else { return }
        let slot = stream.slot
        var code: Int32 = 0
        switch streams[slot].source {
        case .attached, .draining: return
        case .deferred:
            streams[slot].source = .attached
            code = unsafe nghttp2_session_resume_data(session, stream.id)
        case .idle:
            if streams[slot].buffered > 0 || streams[slot].end == .endStream {
                streams[slot].source = .attached
                var source = unsafe Self.dataSource(slot)
                code = unsafe nghttp2_submit_data(
                    session, UInt8(NGHTTP2_FLAG_END_STREAM.rawValue), stream.id, &source)
            } else if streams[slot].end == .trailers {
                streams[slot].end = .submitted
                code = unsafe nghttp2_submit_trailer(
                    session, stream.id, streams[slot].trailers, streams[slot].trailersCount)
            }
        }
        // Everything else means that the stream is on its way out.
        note(code)
    }

    /// Looks at what nghttp2 made of a call: without memory it may have done half of it, so that a
    /// stream would stay open for ever, and what it holds cannot be trusted.
    @inline(__always)
    mutating func note(_ code: Int32) {
        if code == NGHTTP2_ERR_NOMEM.rawValue { isSpent = true }
    }

    /// A stream's last queued byte is sent: what was queued since begins anew.
    private mutating func sourceDrained(_ session: OpaquePointer, _ stream: HTTP2Stream) {
        guard streams[stream.slot].source == .draining else { return }
        drainingCount -= 1
        streams[stream.slot].source = .idle
        unsafe offer(session, stream)
    }

    /// What a stream's queue is to nghttp2.
    static func dataSource(_ slot: Int32) -> nghttp2_data_provider {
        unsafe nghttp2_data_provider(
            source: nghttp2_data_source(ptr: tag(slot)), read_callback: onReadData)
    }

    /// Queues a small body, or says that it has to be queued in another way.
    @inline(__always)
    mutating func appendSmall(
        _ slot: Int32, _ bytes: Span<UInt8>, _ prefix: DataPrefix
    ) -> Bool {
        guard unsafe streams[slot].appendSmall(bytes, prefix, pool) else { return false }
        bufferedBytes += streams[slot].buffered
        return true
    }

    /// The same with its prefix.
    @inline(__always)
    mutating func appendSmall(_ slot: Int32, framed bytes: Span<UInt8>) -> Bool {
        guard unsafe streams[slot].appendSmall(framed: bytes, pool) else { return false }
        bufferedBytes += streams[slot].buffered
        return true
    }

    /// Trailers follow what is queued.
    @inline(__always)
    mutating func endWithTrailers(_ slot: Int32, _ fields: HeaderFields) {
        streams[slot].end = .trailers
        unsafe streams[slot].trailers = unsafe fields.pointer
        streams[slot].trailersCount = fields.count
        if !fields.isForever { streams[slot].trailersOwner = fields }
    }

    // MARK: Slots and pointers

    /// The handle of an open stream, or nil when nghttp2 or we hold it for closed.
    ///
    /// Mostly it is the stream that was asked for last: nghttp2's look-up costs 50 instructions.
    @inline(__always)
    mutating func stream(_ session: OpaquePointer, _ id: Int32) -> HTTP2Stream? {
        if streams.isCurrent(last), last.id == id { return last }
        return unsafe find(session, id)
    }

    private mutating func find(_ session: OpaquePointer, _ id: Int32) -> HTTP2Stream? {
        guard let tag = unsafe nghttp2_session_get_stream_user_data(session, id) else { return nil }
        let stream = HTTP2Stream(id: id, slot: unsafe Self.slot(tag))
        guard streams.isCurrent(stream) else { return nil }
        last = stream
        return stream
    }

    /// A slot as the pointer that nghttp2 keeps for a stream; never dereferenced.
    static func tag(_ slot: Int32) -> UnsafeMutableRawPointer? {
        unsafe UnsafeMutableRawPointer(bitPattern: Int(slot) + 1)
    }

    static func slot(_ tag: UnsafeMutableRawPointer) -> Int32 {
        Int32(truncatingIfNeeded: Int(bitPattern: tag) - 1)
    }
}
