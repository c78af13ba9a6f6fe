// Unpacks and packs messages for one thread, with zlib states that are made when the first message
// needs them. Turns what went wrong into the errors of the wire. Knows no connection.

import TriageBase
import TriageGRPC
import TriageGzip

/// The gzip of one reactor or client loop.
///
/// - Isolation: confined to its thread.
final class MessageGzip {
    private let limits: InflateLimits
    private var inflater: Inflater?
    private var deflater: Deflater?

    init(_ limits: InflateLimits) { self.limits = limits }

    /// Unpacks a message.
    ///
    /// - Parameters:
    ///   - message: One gzip member.
    ///   - bytesMax: What it may unpack to at most, where that is not this thread's usual bound.
    /// - Returns: The message.
    /// - Throws: `RPCError`: RESOURCE_EXHAUSTED above a bound, INTERNAL for no whole gzip member.
    func inflate(_ message: Span<UInt8>, bytesMax: Int? = nil) throws(RPCError) -> [UInt8] {
        var limits = limits
        if let bytesMax { limits.bytesMax = bytesMax }
        if inflater == nil { inflater = Inflater() }
        guard let inflater else { throw WireError.memoryExhausted }
        do throws(InflateError) {
            return try inflater.inflate(message, limits)
        } catch {
            switch error {
            case .corrupt: throw WireError.messageCorrupt
            case .tooLarge(let limit): throw WireError.messageUnpacksTooLarge(limit: limit)
            case .ratio: throw WireError.messageRatio
            case .outOfMemory: throw WireError.memoryExhausted
            }
        }
    }

    /// Packs a message; nil when that is not possible, and the message has to leave as it is.
    func deflate(_ message: [UInt8]) -> [UInt8]? {
        if deflater == nil { deflater = Deflater() }
        return deflater?.deflate(message.span)
    }
}
