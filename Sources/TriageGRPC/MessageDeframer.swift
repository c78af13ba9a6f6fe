// Takes length-prefixed messages out of the bytes of one direction of a call, and puts the prefix
// in front of those that are sent. Knows nothing of streams, windows, compression or what a message
// says.

import TriageBase

/// What is wrong with the bytes of a stream of messages.
package enum DeframeError: Error, Equatable, Sendable {
    /// The compressed flag is neither 0 nor 1.
    case invalidFlag(UInt8)
    /// The compressed flag is 1 although no message encoding was announced.
    case compressedWithoutEncoding
    /// The announced length is above the limit, in bytes.
    case tooLarge(announced: Int, limit: Int)
}

/// Assembles the messages of one direction of a call.
///
/// The buffer grows with the bytes that arrived, never with the length that a prefix promises.
///
/// | offset | bytes | type | meaning |
/// | --- | --- | --- | --- |
/// | 0 | 1 | flag | 0 as it is, 1 compressed; anything else is an error |
/// | 1 | 4 | big-endian | length of the message that follows |
///
/// Source: gRPC PROTOCOL-HTTP2 "Length-Prefixed-Message".
package struct MessageDeframer: Sendable {
    /// Bytes of the prefix in front of every message.
    package static var prefixBytes: Int { 5 }
    // A slot's buffer is kept for the next call up to this size; a larger one goes back to malloc.
    private static let keptBytesMax = 8 << 10

    /// Largest message accepted, in bytes.
    package var limit: Int
    private var buffer: [UInt8] = []
    private var start = 0
    /// An encoding was announced, so that messages may be compressed.
    package var acceptsCompressed = false
    /// The message that ``next()`` found last is compressed.
    package private(set) var isCompressed = false

    /// Makes an empty deframer.
    ///
    /// - Parameter limit: Largest message accepted, in bytes.
    package init(limit: Int = Limits.messageBytesMax) {
        self.limit = limit
    }

    /// Bytes held: incomplete messages, and complete ones that were not taken yet.
    package var bufferedCount: Int { buffer.count - start }

    /// True when the input may end here: no message is cut off.
    package var isAtBoundary: Bool { buffer.count == start }

    /// Finds the message when `bytes` are exactly one uncompressed message within the limit.
    ///
    /// The common case of a unary call; it needs no copy. Everything else goes through
    /// ``append(_:)``.
    package static func wholeMessage(
        in bytes: Span<UInt8>, limit: Int = Limits.messageBytesMax
    ) -> Range<Int>? {
        guard bytes.count >= prefixBytes, bytes[0] == 0 else { return nil }
        let length = readLength(bytes, at: 1)
        guard length == bytes.count - prefixBytes, length <= limit else { return nil }
        return prefixBytes..<bytes.count
    }

    /// Appends bytes that arrived.
    ///
    /// - Complexity: O(count) amortised.
    package mutating func append(_ bytes: Span<UInt8>) {
        if start > 0 {
            if start == buffer.count {
                buffer.removeAll(keepingCapacity: true)
                start = 0
            } else if start >= buffer.count - start {
                buffer.removeFirst(start)
                start = 0
            }
        }
        buffer.append(copying: bytes)
    }

    /// Takes the next complete message.
    ///
    /// - Returns: Its place in ``withBytes(_:_:)``, valid until the next ``append(_:)``; nil when
    ///   more bytes are needed.
    /// - Throws: ``DeframeError`` as soon as a prefix is wrong; the call must end.
    package mutating func next() throws(DeframeError) -> Range<Int>? {
        let available = buffer.count - start
        guard available >= 1 else { return nil }
        switch buffer[start] {
        case 0: isCompressed = false
        case 1:
            guard acceptsCompressed else { throw .compressedWithoutEncoding }
            isCompressed = true
        case let flag: throw .invalidFlag(flag)
        }
        guard available >= Self.prefixBytes else { return nil }
        let length = Self.readLength(buffer.span, at: start + 1)
        guard length <= limit else { throw .tooLarge(announced: length, limit: limit) }
        guard available - Self.prefixBytes >= length else { return nil }
        let first = start + Self.prefixBytes
        start = first + length
        return first..<start
    }

    /// Lends the bytes of a message that ``next()`` found.
    package func withBytes<R, E: Error>(
        _ range: Range<Int>, _ body: (Span<UInt8>) throws(E) -> R
    ) throws(E) -> R {
        try body(buffer.span.extracting(range))
    }

    /// Forgets everything, for the slot's next call.
    package mutating func reset() {
        acceptsCompressed = false
        if buffer.isEmpty { return }
        clear()
    }

    mutating func clear() {
        start = 0
        buffer.removeAll(keepingCapacity: buffer.capacity <= Self.keptBytesMax)
    }

    static func readLength(_ bytes: Span<UInt8>, at index: Int) -> Int {
        Int(bytes[index]) << 24 | Int(bytes[index + 1]) << 16 | Int(bytes[index + 2]) << 8
            | Int(bytes[index + 3])
    }
}

/// Puts the prefix in front of messages.
package enum MessageFramer {
    /// The five bytes in front of an uncompressed message of `count` bytes.
    ///
    /// - Precondition: `count` fits 32 bits.
    @inline(__always)
    package static func prefix(count: Int) -> (UInt8, UInt8, UInt8, UInt8, UInt8) {
        let length = UInt32(count)
        return (
            0, UInt8(truncatingIfNeeded: length >> 24), UInt8(truncatingIfNeeded: length >> 16),
            UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length)
        )
    }

    /// A framed copy of a message, for tests and for paths where a copy does not matter.
    package static func frame(_ message: Span<UInt8>) -> [UInt8] {
        let prefix = prefix(count: message.count)
        var out: [UInt8] = [prefix.0, prefix.1, prefix.2, prefix.3, prefix.4]
        out.append(copying: message)
        return out
    }
}
