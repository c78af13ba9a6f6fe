// Knows where every frame of a client begins, so that frames that nghttp2 skips without a word are
// seen: DATA for a stream that is over, and PRIORITY, which it no longer reads. Costs a comparison
// a frame; what is skipped is walked over.
//
// Source: RFC 9113 §5.1, §6.1, §6.3; RFC 7540 §5.3.1.

internal import CNghttp2

/// Where the next frame begins.
///
/// Positions count from the start of the batch that is being received; what is negative lay in the
/// batch before.
struct FrameLedger {
    static let headerBytes = 9
    private static let prefaceBytes = 24

    /// Where the next frame's header begins.
    var next = prefaceBytes
    /// The bytes of a header that the last batch ended within.
    var carry: [UInt8] = []
}

extension SessionState {
    /// nghttp2 has begun a frame: walks over those in front of it that it skipped.
    ///
    /// - Returns: Where the frame begins.
    @inline(__always)
    mutating func account(_ header: nghttp2_frame_hd) -> Int {
        let at = ledger.next
        if at >= 0, at + FrameLedger.headerBytes <= inputCount, let input = unsafe input {
            let bytes = unsafe UnsafeRawPointer(input + at)
            let front = unsafe UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self))
            let back = unsafe UInt32(
                bigEndian: bytes.loadUnaligned(fromByteOffset: 5, as: UInt32.self))
            if front == UInt32(truncatingIfNeeded: header.length << 8) | UInt32(header.type),
                back & 0x7FFF_FFFF == UInt32(bitPattern: header.stream_id)
            {
                ledger.next = at + FrameLedger.headerBytes + header.length
                return at
            }
        }
        return walk(to: header)
    }

    private mutating func walk(to header: nghttp2_frame_hd) -> Int {
        while ledger.next + FrameLedger.headerBytes <= inputCount {
            let at = ledger.next
            let length = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2)
            ledger.next = at + FrameLedger.headerBytes + length
            if length == header.length, byte(at + 3) == Int(header.type),
                streamID(at) == header.stream_id
            {
                return at
            }
            skipped(at)
        }
        return inputCount
    }

    /// The end of a batch: what has not begun by now was skipped.
    @inline(__always)
    mutating func batchEnded() {
        guard role == .server else { return }
        if ledger.next < inputCount { settle() }
        // All of the block is here, and nghttp2 did not tell of its end: we have closed the stream.
        if isReceivingHeaders, !blockGoesOn, ledger.next <= inputCount {
            isReceivingHeaders = false
        }
        ledger.next -= inputCount
    }

    private mutating func settle() {
        while ledger.next + FrameLedger.headerBytes <= inputCount {
            let at = ledger.next
            let length = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2)
            ledger.next = at + FrameLedger.headerBytes + length
            skipped(at)
        }
        // The batch may end within a header: its bytes are needed to know what it was.
        guard ledger.next < inputCount else { return ledger.carry = [] }
        ledger.carry = (ledger.next..<inputCount).map { UInt8(byte($0)) }
    }

    private func streamID(_ at: Int) -> Int32 {
        Int32(byte(at + 5) & 0x7F) << 24
            | Int32(byte(at + 6) << 16 | byte(at + 7) << 8 | byte(at + 8))
    }

    private func byte(_ at: Int) -> Int {
        if at >= 0 {
            guard let input = unsafe input else { return 0 }
            return unsafe Int(input[at])
        }
        let index = ledger.carry.count + at
        return ledger.carry.indices.contains(index) ? Int(ledger.carry[index]) : 0
    }

    /// A frame that nghttp2 did not care for.
    private mutating func skipped(_ at: Int) {
        let type = UInt32(byte(at + 3))
        if type == NGHTTP2_CONTINUATION.rawValue {
            // Of a block that was refused.
            blockGoesOn = byte(at + 4) & Int(NGHTTP2_FLAG_END_HEADERS.rawValue) == 0
        }
        guard type == NGHTTP2_DATA.rawValue, violation == nil else { return }
        switch closedStreams.fate(streamID(at)) {
        case .ended, .resetByPeer: violation = .streamClosed
        case .skipped, .resetByUs, nil: break
        }
    }

    /// A client's PRIORITY frame must name a stream, and not make it depend on itself.
    ///
    /// - Parameters:
    ///   - stream: The stream that it names.
    ///   - at: Where the frame begins in the input.
    mutating func priorityBegan(_ stream: Int32, at: Int) {
        if stream == 0 { return violation = .protocolError }
        let payload = at + FrameLedger.headerBytes
        // A payload in the next batch goes unread: the rule is of RFC 7540, and harmless to break.
        guard payload + 4 <= inputCount else { return }
        var dependency = 0
        for offset in 0..<4 { dependency = dependency << 8 | byte(payload + offset) }
        if dependency & 0x7FFF_FFFF == Int(stream) { violation = .protocolError }
    }

    /// A HEADERS frame for a stream with an id that is not new: trailers, or a mistake.
    mutating func oldHeadersBegan(_ session: OpaquePointer?, _ id: Int32) {
        guard unsafe nghttp2_session_find_stream(session, id) == nil else { return }
        switch closedStreams.fate(id) {
        case .ended, .resetByPeer: violation = .streamClosed
        case .skipped:
            // One above those that were ever let in was not skipped: behind our GOAWAY, or above
            // the limit of streams, and its trailers were on their way.
            if unsafe id < nghttp2_session_get_last_proc_stream_id(session) {
                violation = .protocolError
            }
        case .resetByUs, nil: break
        }
    }
}
