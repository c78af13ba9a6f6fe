// Packs messages with gzip. Knows nothing of gRPC, nor of when packing pays.

internal import CZlib
internal import TriageBase

/// Packs gzip, one message after another, with one zlib state.
///
/// - Isolation: confined to one thread.
@safe package final class Deflater {
    /// Owned; zlib keeps a pointer back to it, so that it must not move.
    private let stream: UnsafeMutablePointer<z_stream>

    /// The fastest level: replies are packed on the thread that answers calls.
    private static let level = Z_BEST_SPEED
    /// A window of 32 KiB in the gzip format (RFC 1952).
    private static let gzipWindow = 15 + 16
    /// zlib's default.
    private static let memoryLevel: Int32 = 8

    /// Makes zlib's state, about 256 KiB.
    ///
    /// - Returns: nil when memory ran out.
    package convenience init?() { unsafe self.init(z_stream()) }

    /// - Parameter empty: All zero, or says where zlib's memory comes from.
    init?(_ empty: z_stream) {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: empty)
        let code = unsafe deflateInit2_(
            stream, Self.level, Z_DEFLATED, Int32(Self.gzipWindow), Self.memoryLevel,
            Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        // deinit runs all the same: every property has its value.
        guard code == Z_OK else { return nil }
    }

    deinit {
        // Z_DATA_ERROR only says that a message was not finished.
        _ = unsafe deflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Packs one message.
    ///
    /// - Returns: One gzip member; nil when zlib refuses, which only a message of 4 GiB can bring
    ///   about.
    ///
    /// Source: deflate, zlib.h.
    package func deflate(_ bytes: Span<UInt8>) -> [UInt8]? {
        guard let count = UInt32(exactly: bytes.count), unsafe deflateReset(stream) == Z_OK else {
            return nil
        }
        let bound = unsafe Int(deflateBound(stream, UInt(count)))
        var output = [UInt8](repeating: 0, count: bound)
        let made = unsafe bytes.withUnsafeBufferPointer { input in
            unsafe output.withUnsafeMutableBufferPointer { output -> Int? in
                // zlib does not write through next_in; the type is older than const.
                unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
                unsafe stream.pointee.avail_in = count
                unsafe stream.pointee.next_out = output.baseAddress
                unsafe stream.pointee.avail_out = UInt32(bound)
                guard unsafe CZlib.deflate(stream, Z_FINISH) == Z_STREAM_END else { return nil }
                return unsafe bound - Int(stream.pointee.avail_out)
            }
        }
        guard let made else { return nil }
        output.removeLast(bound - made)
        return output
    }
}
