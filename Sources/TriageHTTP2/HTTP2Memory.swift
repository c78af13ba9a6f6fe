// Where nghttp2's memory comes from: blocks of closed streams are kept for the next ones, because
// a call makes and frees seven of them and the C library's own cache holds seven of a size. Knows
// nothing of what the blocks hold.

internal import CNghttp2
internal import CTriageShims

/// Free blocks in classes of 64 bytes, shared by the sessions of one thread.
///
/// Blocks above 1 KiB go straight to the C library (large ones on pages of their own, see
/// `CTriageShims_allocate`), and so does what a class holds beyond
/// ``blocksKeptMax``: after a burst at most 1.1 MiB stays.
///
/// - Isolation: confined to one thread, like all sessions that use it.
@safe package final class HTTP2Memory {
    /// For the session's own blocks.
    let pool: UnsafeMutablePointer<HTTP2Pool>
    /// What nghttp2 is given; points to ``pool``.
    let table: UnsafeMutablePointer<nghttp2_mem>

    /// Free blocks that a class keeps.
    static let blocksKeptMax = 128

    /// Makes an empty pool.
    package init() {
        unsafe pool = .allocate(capacity: 1)
        unsafe pool.initialize(to: HTTP2Pool())
        unsafe table = .allocate(capacity: 1)
        unsafe table.initialize(
            to: nghttp2_mem(
                mem_user_data: pool,
                malloc: { unsafe HTTP2Pool.of($1).pointee.allocate($0) },
                free: { unsafe HTTP2Pool.of($1).pointee.free($0) },
                calloc: { unsafe HTTP2Pool.of($2).pointee.allocateZeroed($0, $1) },
                realloc: { unsafe HTTP2Pool.of($2).pointee.reallocate($0, $1) }))
    }

    deinit {
        unsafe pool.pointee.empty()
        unsafe pool.deallocate()
        unsafe table.deallocate()
    }

    /// Blocks that wait for their next use.
    package var freeBlocks: Int { unsafe pool.pointee.freeBlocks }
}

/// The free lists.
///
/// Each block has a header of 16 bytes, so that what follows is aligned for any type: the class, or
/// ``HTTP2Pool/large``; while the block is free, the next free one.
@safe struct HTTP2Pool {
    /// The largest block that is kept for its next use.
    static let blockBytesMax = 1 << 10

    private static let classBytes = 64
    private static let classCount = blockBytesMax / classBytes
    private static let headerBytes = 16
    private static let large = UInt32.max

    private var heads = unsafe InlineArray<16, UnsafeMutableRawPointer?>(repeating: nil)
    private var counts = InlineArray<16, Int>(repeating: 0)

    static func of(_ context: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<HTTP2Pool> {
        guard let context = unsafe context else { preconditionFailure("nghttp2 hands it back") }
        return unsafe context.assumingMemoryBound(to: HTTP2Pool.self)
    }

    var freeBlocks: Int { counts.indices.reduce(0) { $0 + counts[$1] } }

    mutating func allocate(_ size: Int) -> UnsafeMutableRawPointer? {
        // 0 bytes are class 0 too: nghttp2 may ask for them and free the result.
        let row = (max(size, 1) - 1) / Self.classBytes
        guard size >= 0, row < Self.classCount else { return unsafe Self.allocateLarge(size) }
        if let block = unsafe heads[row] {
            unsafe heads[row] = unsafe block.load(as: UnsafeMutableRawPointer?.self)
            counts[row] -= 1
            unsafe block.storeBytes(of: UInt32(row), as: UInt32.self)
            return unsafe block + Self.headerBytes
        }
        let bytes = Self.headerBytes + (row + 1) * Self.classBytes
        guard let block = unsafe CTriageShims_allocate(bytes) else { return nil }
        unsafe block.storeBytes(of: UInt32(row), as: UInt32.self)
        return unsafe block + Self.headerBytes
    }

    private static func allocateLarge(_ size: Int) -> UnsafeMutableRawPointer? {
        guard size >= 0, size <= Int.max - headerBytes,
            let block = unsafe CTriageShims_allocate(headerBytes + size)
        else { return nil }
        unsafe block.storeBytes(of: large, as: UInt32.self)
        return unsafe block + headerBytes
    }

    mutating func free(_ memory: UnsafeMutableRawPointer?) {
        guard let memory = unsafe memory else { return }
        let block = unsafe memory - Self.headerBytes
        let row = unsafe block.load(as: UInt32.self)
        guard row != Self.large, counts[Int(row)] < HTTP2Memory.blocksKeptMax else {
            return unsafe CTriageShims_free(block)
        }
        unsafe block.storeBytes(of: heads[Int(row)], as: UnsafeMutableRawPointer?.self)
        unsafe heads[Int(row)] = unsafe block
        counts[Int(row)] += 1
    }

    mutating func allocateZeroed(_ count: Int, _ size: Int) -> UnsafeMutableRawPointer? {
        let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
        guard !overflow, let memory = unsafe allocate(bytes) else { return nil }
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        return unsafe memory
    }

    mutating func reallocate(
        _ memory: UnsafeMutableRawPointer?, _ size: Int
    ) -> UnsafeMutableRawPointer? {
        guard let memory = unsafe memory else { return unsafe allocate(size) }
        let row = unsafe (memory - Self.headerBytes).load(as: UInt32.self)
        if row == Self.large, size > Self.classCount * Self.classBytes {
            guard size <= Int.max - Self.headerBytes,
                let block = unsafe CTriageShims_reallocate(
                    memory - Self.headerBytes, Self.headerBytes + size)
            else { return nil }
            return unsafe block + Self.headerBytes
        }
        let room = row == Self.large ? size : (Int(row) + 1) * Self.classBytes
        if row != Self.large, size <= room { return unsafe memory }
        guard let fresh = unsafe allocate(size) else { return nil }
        unsafe fresh.copyMemory(from: memory, byteCount: min(size, room))
        unsafe free(memory)
        return unsafe fresh
    }

    mutating func empty() {
        for row in 0..<Self.classCount {
            while let block = unsafe heads[row] {
                unsafe heads[row] = unsafe block.load(as: UnsafeMutableRawPointer?.self)
                unsafe CTriageShims_free(block)
            }
        }
    }
}
