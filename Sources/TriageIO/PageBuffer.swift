// Owned memory that starts at a page boundary, handed out only as spans with checked bounds, and
// little-endian numbers in spans. Where storage formats meet raw memory; knows no format.

internal import Glibc

/// Memory aligned to 4096 bytes, zeroed when made; writable past the page cache.
///
/// `@safe`: the pointer never leaves the value, every access goes through a span of checked bounds,
/// and the memory lives exactly as long as the value.
@safe package struct PageBuffer: ~Copyable, @unchecked Sendable {
    private var memory: UnsafeMutableRawPointer
    /// Bytes; a multiple of 4096.
    package private(set) var capacity: Int

    /// The page size that direct input and output need.
    package static let pageBytes = 4096
    /// From so many bytes on, pages of 2 MiB are asked for.
    private static let hugeFrom = 8 << 20

    /// Allocates at least `capacity` zero bytes.
    package init(capacity: Int) {
        self.capacity = roundUp(max(capacity, 1), to: Self.pageBytes)
        unsafe memory = Self.allocate(self.capacity)
    }

    deinit { unsafe free(memory) }

    private static func allocate(_ count: Int) -> UnsafeMutableRawPointer {
        guard let memory = unsafe aligned_alloc(pageBytes, count) else {
            fatalError("out of memory: \(count) bytes")
        }
        // A large one is touched from end to end: a fault for 2 MiB instead of one for every page.
        // Where the kernel has no such pages, nothing is lost.
        if count >= hugeFrom { _ = unsafe madvise(memory, count, MADV_HUGEPAGE) }
        unsafe memset(memory, 0, count)
        return unsafe memory
    }

    /// Makes room for at least `capacity` bytes, keeping the first `kept`.
    package mutating func grow(to capacity: Int, keeping kept: Int) {
        guard capacity > self.capacity else { return }
        precondition(kept <= self.capacity)
        let rounded = roundUp(capacity, to: Self.pageBytes)
        let fresh = unsafe Self.allocate(rounded)
        unsafe memcpy(fresh, memory, kept)
        unsafe free(memory)
        unsafe memory = fresh
        self.capacity = rounded
    }

    /// The bytes in `range`.
    @inline(__always)
    @_lifetime(borrow self)
    package func span(_ range: Range<Int>) -> Span<UInt8> {
        precondition(range.lowerBound >= 0 && range.upperBound <= capacity)
        let bytes = unsafe UnsafeRawBufferPointer(
            start: memory + range.lowerBound, count: range.count)
        let span = unsafe Span<UInt8>(_unsafeBytes: bytes)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    /// The bytes in `range`, to be changed.
    @inline(__always)
    @_lifetime(&self)
    package mutating func mutableSpan(_ range: Range<Int>) -> MutableSpan<UInt8> {
        precondition(range.lowerBound >= 0 && range.upperBound <= capacity)
        let bytes = unsafe UnsafeMutableRawBufferPointer(
            start: memory + range.lowerBound, count: range.count)
        let span = unsafe MutableSpan<UInt8>(_unsafeBytes: bytes)
        return unsafe _overrideLifetime(span, mutating: &self)
    }

    /// Copies `bytes` to `offset`.
    @inline(__always)
    package mutating func copy(_ bytes: Span<UInt8>, to offset: Int) {
        precondition(offset >= 0 && bytes.count <= capacity - offset)
        unsafe bytes.withUnsafeBytes { source in
            guard let base = source.baseAddress else { return }
            unsafe memcpy(memory + offset, base, source.count)
        }
    }

    /// Moves `count` bytes from `source` to `target`; the ranges may overlap.
    package mutating func move(from source: Int, to target: Int, count: Int) {
        precondition(source >= 0 && target >= 0 && count >= 0)
        precondition(source <= capacity - count && target <= capacity - count)
        unsafe memmove(memory + target, memory + source, count)
    }

    /// Zeroes the bytes in `range`.
    @inline(__always)
    package mutating func zero(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= capacity)
        unsafe memset(memory + range.lowerBound, 0, range.count)
    }

    /// Stores a number with its lowest byte first.
    @inline(__always)
    package mutating func store(_ value: UInt32, at offset: Int) {
        precondition(offset >= 0 && offset <= capacity - 4)
        unsafe (memory + offset).storeBytes(of: value.littleEndian, as: UInt32.self)
    }

    /// Stores a number with its lowest byte first.
    @inline(__always)
    package mutating func store(_ value: UInt64, at offset: Int) {
        precondition(offset >= 0 && offset <= capacity - 8)
        unsafe (memory + offset).storeBytes(of: value.littleEndian, as: UInt64.self)
    }

    /// Hands out `count` bytes at `offset` to be filled from the front.
    ///
    /// - Returns: How many were filled.
    @inline(__always)
    package mutating func fill(
        at offset: Int, count: Int, _ body: (inout OutputSpan<UInt8>) -> Void
    ) -> Int {
        precondition(offset >= 0 && count >= 0 && offset <= capacity - count)
        let bytes = unsafe UnsafeMutableBufferPointer(
            start: (memory + offset).assumingMemoryBound(to: UInt8.self), count: count)
        var output = unsafe OutputSpan<UInt8>(buffer: bytes, initializedCount: 0)
        body(&output)
        return unsafe output.finalize(for: bytes)
    }
}

extension Span<UInt8> {
    /// Four bytes at `offset`, lowest first.
    @inline(__always)
    package func loadUInt32(at offset: Int) -> UInt32 {
        precondition(offset >= 0 && offset <= count - 4)
        return unsafe withUnsafeBytes { bytes in
            unsafe UInt32(
                littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
    }

    /// Eight bytes at `offset`, lowest first.
    @inline(__always)
    package func loadUInt64(at offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset <= count - 8)
        return unsafe withUnsafeBytes { bytes in
            unsafe UInt64(
                littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
    }

    /// Whether every byte is zero.
    package var isZero: Bool { zeroPrefixCount == count }

    /// How many bytes at the front are zero.
    package var zeroPrefixCount: Int {
        var index = 0
        while index + 8 <= count {
            if loadUInt64(at: index) != 0 { break }
            index += 8
        }
        while index < count, self[index] == 0 { index += 1 }
        return index
    }
}

/// The smallest multiple of `unit` that is not below `value`.
@inline(__always)
package func roundUp(_ value: Int, to unit: Int) -> Int {
    (value + unit - 1) / unit * unit
}
