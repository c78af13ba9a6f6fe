// Unpacks gzip messages within bounds that hold while it unpacks: a bomb is given up when it passes
// its bound, not when it has gone off. Knows nothing of gRPC, streams or budgets.

internal import CZlib
internal import TriageBase

/// Why a message could not be unpacked.
package enum InflateError: Error, Equatable, Sendable {
    /// Not one whole gzip member: damaged, cut off, or followed by something.
    case corrupt
    /// More than this many bytes would come out.
    case tooLarge(limit: Int)
    /// More bytes would come out than this many times what went in.
    case ratio(limit: Int)
    /// Memory ran out.
    case outOfMemory
}

/// The bounds of one unpacked message.
package struct InflateLimits: Sendable {
    /// Most bytes that may come out.
    package var bytesMax: Int
    /// Most bytes that may come out for one that went in.
    package var ratioMax: Int
    /// Up to this many bytes may come out whatever the ratio: small repetitive messages are usual,
    /// and harmless.
    package var ratioFreeBytes: Int

    /// Groups the bounds.
    package init(bytesMax: Int, ratioMax: Int, ratioFreeBytes: Int) {
        self.bytesMax = bytesMax
        self.ratioMax = ratioMax
        self.ratioFreeBytes = ratioFreeBytes
    }
}

/// Unpacks gzip, one message after another, with one zlib state.
///
/// - Isolation: confined to one thread.
@safe package final class Inflater {
    /// Owned; zlib keeps a pointer back to it, so that it must not move.
    private let stream: UnsafeMutablePointer<z_stream>
    private var scratch = [UInt8](repeating: 0, count: stepBytes)

    /// Bytes that one step may bring out before the bounds are looked at.
    private static let stepBytes = 16 << 10
    /// A window of 32 KiB, and only the gzip format (RFC 1952).
    private static let gzipWindow = 15 + 16

    /// Makes zlib's state, about 40 KiB.
    ///
    /// - Returns: nil when memory ran out.
    package convenience init?() { unsafe self.init(z_stream()) }

    /// - Parameter empty: All zero, or says where zlib's memory comes from.
    init?(_ empty: z_stream) {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: empty)
        let code = unsafe inflateInit2_(
            stream, Int32(Self.gzipWindow), ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        // deinit runs all the same: every property has its value.
        guard code == Z_OK else { return nil }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Unpacks one message.
    ///
    /// - Parameters:
    ///   - bytes: One gzip member, whole.
    ///   - limits: What may come out.
    /// - Returns: The message.
    /// - Throws: ``InflateError``; the next message is not affected.
    ///
    /// Source: inflate, zlib.h.
    package func inflate(
        _ bytes: Span<UInt8>, _ limits: InflateLimits
    ) throws(InflateError) -> [UInt8] {
        guard unsafe inflateReset(stream) == Z_OK else { throw .corrupt }
        let (byRatio, overflow) = bytes.count.multipliedReportingOverflow(by: limits.ratioMax)
        let ratioBytes = max(limits.ratioFreeBytes, overflow ? .max : byRatio)
        let allowed = min(limits.bytesMax, ratioBytes)
        let result = unsafe bytes.withUnsafeBufferPointer { input in
            unsafe run(input, allowed)
        }
        switch result {
        case .success(let output): return output
        case .failure(.tooLarge) where allowed < limits.bytesMax:
            throw .ratio(limit: limits.ratioMax)
        case .failure(let error): throw error
        }
    }

    private func run(
        _ input: UnsafeBufferPointer<UInt8>, _ allowed: Int
    ) -> Result<[UInt8], InflateError> {
        guard let base = input.baseAddress, let count = UInt32(exactly: input.count) else {
            return .failure(.corrupt)
        }
        // zlib does not write through next_in; the type is older than const.
        unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: base)
        unsafe stream.pointee.avail_in = count
        var output: [UInt8] = []
        while true {
            // One byte more than allowed tells a message at its bound from one above it.
            let room = min(Self.stepBytes, allowed - output.count + 1)
            let (code, made) = step(room)
            let inflated = scratch
            output.append(copying: inflated.span.extracting(first: made))
            if output.count > allowed { return .failure(.tooLarge(limit: allowed)) }
            switch code {
            case Z_STREAM_END:
                return unsafe stream.pointee.avail_in == 0
                    ? .success(output) : .failure(.corrupt)
            case Z_OK where made == room: continue
            case Z_MEM_ERROR: return .failure(.outOfMemory)
            // Input is used up before the end, wants a dictionary, or is no gzip at all.
            default: return .failure(.corrupt)
            }
        }
    }

    private func step(_ room: Int) -> (code: Int32, made: Int) {
        unsafe scratch.withUnsafeMutableBufferPointer { buffer in
            unsafe stream.pointee.next_out = buffer.baseAddress
            unsafe stream.pointee.avail_out = UInt32(room)
            let code = unsafe CZlib.inflate(stream, Z_NO_FLUSH)
            return unsafe (code, room - Int(stream.pointee.avail_out))
        }
    }
}
