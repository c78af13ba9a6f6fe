// Received header blocks: one arena of bytes a session, fields as ranges in it, and tokens for the
// names that gRPC uses, so that nobody compares strings. Knows nothing of what the values mean.

/// The name of a header field, if it is one that this system knows.
package enum HeaderToken: UInt8, Sendable, CaseIterable {
    case other
    case authority
    case method
    case path
    case scheme
    case status
    case contentType
    case contentLength
    case te
    case userAgent
    case grpcTimeout
    case grpcEncoding
    case grpcAcceptEncoding
    case grpcStatus
    case grpcMessage
    case grpcStatusDetailsBin
    case grpcPreviousRPCAttempts
    case grpcRetryPushbackMs
    case traceparent
    case tracestate

    /// The name on the wire; empty for ``other``.
    package var name: StaticString {
        switch self {
        case .other: ""
        case .authority: ":authority"
        case .method: ":method"
        case .path: ":path"
        case .scheme: ":scheme"
        case .status: ":status"
        case .contentType: "content-type"
        case .contentLength: "content-length"
        case .te: "te"
        case .userAgent: "user-agent"
        case .grpcTimeout: "grpc-timeout"
        case .grpcEncoding: "grpc-encoding"
        case .grpcAcceptEncoding: "grpc-accept-encoding"
        case .grpcStatus: "grpc-status"
        case .grpcMessage: "grpc-message"
        case .grpcStatusDetailsBin: "grpc-status-details-bin"
        case .grpcPreviousRPCAttempts: "grpc-previous-rpc-attempts"
        case .grpcRetryPushbackMs: "grpc-retry-pushback-ms"
        case .traceparent: "traceparent"
        case .tracestate: "tracestate"
        }
    }

    /// Recognises a name by its length, one letter, and then all of it.
    static func recognise(_ name: UnsafePointer<UInt8>, _ count: Int) -> HeaderToken {
        let candidate: HeaderToken
        switch count {
        case 2: candidate = .te
        case 5: candidate = .path
        case 7:
            switch unsafe name[2] {
            case UInt8(ascii: "e"): candidate = .method
            case UInt8(ascii: "c"): candidate = .scheme
            default: candidate = .status
            }
        case 10:
            switch unsafe name[0] {
            case UInt8(ascii: ":"): candidate = .authority
            case UInt8(ascii: "u"): candidate = .userAgent
            default: candidate = .tracestate
            }
        case 11: candidate = unsafe name[0] == UInt8(ascii: "g") ? .grpcStatus : .traceparent
        case 12:
            switch unsafe name[5] {
            case UInt8(ascii: "t"):
                candidate = unsafe name[0] == UInt8(ascii: "g") ? .grpcTimeout : .contentType
            case UInt8(ascii: "m"): candidate = .grpcMessage
            default: candidate = .contentType
            }
        case 13: candidate = .grpcEncoding
        case 14: candidate = .contentLength
        case 20: candidate = .grpcAcceptEncoding
        case 22: candidate = .grpcRetryPushbackMs
        case 23: candidate = .grpcStatusDetailsBin
        case 26: candidate = .grpcPreviousRPCAttempts
        default: return .other
        }
        return unsafe isEqual(candidate.name.utf8Start, name, count) ? candidate : .other
    }

    /// Compares eight bytes at a time, the last eight overlapping.
    static func isEqual(
        _ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, _ count: Int
    ) -> Bool {
        guard count >= 8 else {
            for index in 0..<count where unsafe a[index] != b[index] { return false }
            return true
        }
        let a = unsafe UnsafeRawPointer(a)
        let b = unsafe UnsafeRawPointer(b)
        var at = 0
        while at < count {
            let offset = min(at, count - 8)
            let first = unsafe a.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            guard unsafe first == b.loadUnaligned(fromByteOffset: offset, as: UInt64.self) else {
                return false
            }
            at += 8
        }
        return true
    }
}

/// One received field: a token and two ranges of ``HeaderStore``.
package struct HeaderField: Sendable {
    /// The name, or ``HeaderToken/other``.
    package let token: HeaderToken
    /// True when the sender asked never to index it: a secret.
    package let isSensitive: Bool
    fileprivate(set) var nameStart: UInt32
    let nameCount: UInt32
    fileprivate(set) var valueStart: UInt32
    let valueCount: UInt32
}

/// One header block: a range of ``HeaderStore/fields``.
///
/// Of a known block only the fields that may differ each time are there; the others are what they
/// were when a block of the same number was expanded (``HTTP2Session/expand(_:)``).
package struct HeaderBlock: Equatable, Sendable {
    /// Index of the first field.
    package var start: Int32
    /// How many fields were kept.
    package var count: Int32
    /// True when the block exceeded the limits: what came after the excess was dropped.
    package var isOversize: Bool
    /// Which of the session's known blocks it is; 0: none.
    ///
    /// The same number is the same fields, as long as the session lives. The numbers of all blocks
    /// that are known at one time differ modulo ``knownMax``.
    package var known: UInt32 = 0

    /// How many blocks a session knows.
    package static var knownMax: Int { KnownBlocks.capacity }

    /// Indices of the block's fields in ``HeaderStore/fields``.
    package var range: Range<Int> { Int(start)..<Int(start + count) }
}

/// How large a header block was that exceeded the limits.
package struct HeaderBlockSize: Equatable, Sendable {
    /// Decoded bytes, 32 added a field.
    package var bytes: Int
    /// Fields.
    package var fields: Int
}

/// The header blocks of this turn, valid until `clearEvents()`.
package struct HeaderStore: Sendable {
    /// Every field of every block of this turn.
    package internal(set) var fields: [HeaderField] = []
    /// Filled up to ``used``: appending to an array costs four times as much a field.
    private var bytes: [UInt8] = []
    private var used = 0
    /// Bytes that all blocks of one turn may occupy; past it further blocks are marked oversize.
    ///
    /// HPACK makes kilobytes out of one byte, and a read brings thousands: this bounds their
    /// product.
    static let bytesMax = 1 << 20
    /// Storage kept between turns; a burst's excess is given back.
    private static let bytesKept = 8 << 10
    /// Where the fields and bytes of an expanded block begin, if there is one.
    private var expansion: (fields: Int, bytes: Int)?

    init() {}

    /// The value of a field.
    @_lifetime(borrow self)
    package func value(_ field: HeaderField) -> Span<UInt8> {
        bytes.span.extracting(Int(field.valueStart)..<Int(field.valueStart + field.valueCount))
    }

    /// The name of a field that has no token; empty when it has one.
    @_lifetime(borrow self)
    package func name(_ field: HeaderField) -> Span<UInt8> {
        bytes.span.extracting(Int(field.nameStart)..<Int(field.nameStart + field.nameCount))
    }

    /// True when nothing more may be stored in this turn.
    var isFull: Bool { used + fields.count * 32 >= Self.bytesMax }

    mutating func append(
        token: HeaderToken, sensitive: Bool, name: UnsafeBufferPointer<UInt8>,
        value: UnsafeBufferPointer<UInt8>
    ) {
        let nameStart = used
        if token == .other { unsafe store(name) }
        let valueStart = used
        unsafe store(value)
        fields.append(
            HeaderField(
                token: token, isSensitive: sensitive, nameStart: UInt32(nameStart),
                nameCount: UInt32(valueStart - nameStart), valueStart: UInt32(valueStart),
                valueCount: UInt32(value.count)))
    }

    /// Appends a field that this store has the bytes of.
    mutating func append(_ field: HeaderField) { fields.append(field) }

    /// Takes the last fields back; their bytes stay.
    mutating func takeLast(_ count: Int) -> [HeaderField] {
        let taken = Array(fields.suffix(count))
        fields.removeLast(count)
        return taken
    }

    /// Begins a block behind all that was received; ``dropExpansion()`` removes it.
    mutating func beginExpansion() -> HeaderBlock {
        expansion = (fields.count, used)
        return HeaderBlock(start: Int32(fields.count), count: 0, isOversize: false)
    }

    /// Removes the block that was expanded last.
    mutating func dropExpansion() {
        guard let start = expansion else { return }
        expansion = nil
        used = start.bytes
        fields.removeLast(fields.count - start.fields)
    }

    @inline(__always)
    private mutating func store(_ source: UnsafeBufferPointer<UInt8>) {
        guard let start = source.baseAddress else { return }
        let end = used + source.count
        if end > bytes.count { grow(to: end) }
        unsafe bytes.withUnsafeMutableBytes { target in
            unsafe target.baseAddress?.advanced(by: used)
                .copyMemory(from: start, byteCount: source.count)
        }
        used = end
    }

    private mutating func grow(to count: Int) {
        let size = max(count, 2 * bytes.count, 1 << 10)
        bytes.append(contentsOf: repeatElement(0, count: size - bytes.count))
    }

    /// Keeps the fields from `start` on, moved to the front: a block that is still being received.
    mutating func removeAll(before start: Int) {
        guard start < fields.count else { return removeAll() }
        // Not the first one's, where a block was compared: its fixed fields' bytes come last.
        let shift = fields[start...].reduce(.max) { min($0, $1.nameStart) }
        bytes.removeFirst(Int(shift))
        used -= Int(shift)
        fields.removeFirst(start)
        for index in fields.indices {
            fields[index].nameStart -= shift
            fields[index].valueStart -= shift
        }
    }

    mutating func removeAll() {
        expansion = nil
        used = 0
        if bytes.count > Self.bytesKept { bytes = [] }
        fields.removeAll(keepingCapacity: fields.capacity <= Self.bytesKept / 32)
    }
}
