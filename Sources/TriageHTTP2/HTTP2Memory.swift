// Where nghttp2's memory comes from: blocks of closed streams are kept for the next ones, because
// a call makes and frees seven of them and the C library's own cache holds seven of a size. Knows
// nothing of what the blocks hold.

internal import CNghttp2
internal import CTriageShims

/// Free blocks in classes of 64 bytes, shared by the sessions of one thread.
///
/// One more class is for the buffer that each session packs frames into: five pages of its own, see
/// `CTriageShims_allocate`, of which the next session finds those in memory that it needs. Other
/// blocks go straight to the C library, and so does what a class holds beyond ``blocksKeptMax`` or
/// ``buffersKeptMax``: after a burst at most 1.4 MiB stays.
///
/// - Isolation: confined to one thread, like all sessions that use it.
@safe package final class HTTP2Memory {
    /// For the session's own blocks.
    let pool: UnsafeMutablePointer<HTTP2Pool>
    /// What nghttp2 is given; points to ``pool``.
    let table: UnsafeMutablePointer<nghttp2_mem>

    /// Free blocks that a class keeps.
    static let blocksKeptMax = 128
    /// Free buffers of sessions that are kept.
    static let buffersKeptMax = 16

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
/// ``HTTP2Pool/large`` and the size; while the block is free, the next free one.
@safe struct HTTP2Pool {
    /// The largest block that is kept for its next use.
    static let blockBytesMax = 1 << 10

    private static let classBytes = 64
    private static let classCount = blockBytesMax / classBytes
    private static let headerBytes = 16
    private static let large = UInt32.max
    /// Sizes of the last class: nghttp2 asks for 16 KiB and 10 bytes.
    private static let bufferBytes = (16 << 10)...((20 << 10) - headerBytes)

    private var heads = unsafe InlineArray<17, UnsafeMutableRawPointer?>(repeating: nil)
    private var counts = InlineArray<17, Int>(repeating: 0)

    static func of(_ context: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<HTTP2Pool> {
        guard let context = unsafe context else { preconditionFailure("nghttp2 hands it back") }
        return unsafe context.assumingMemoryBound(to: HTTP2Pool.self)
    }

    var freeBlocks: Int { counts.indices.reduce(0) { $0 + counts[$1] } }

    /// The class for blocks of a size; nil where there is none.
    private static func row(_ size: Int) -> Int? {
        // 0 bytes are class 0 too: nghttp2 may ask for them and free the result.
        let row = (max(size, 1) - 1) / classBytes
        if row < classCount { return size >= 0 ? row : nil }
        return bufferBytes.contains(size) ? classCount : nil
    }

    /// Bytes that a block of a class has room for.
    private static func room(_ row: Int) -> Int {
        row < classCount ? (row + 1) * classBytes : bufferBytes.upperBound
    }

    mutating func allocate(_ size: Int) -> UnsafeMutableRawPointer? {
        guard let row = Self.row(size) else { return unsafe Self.allocateLarge(size) }
        if let block = unsafe heads[row] {
            unsafe heads[row] = unsafe block.load(as: UnsafeMutableRawPointer?.self)
            counts[row] -= 1
            unsafe block.storeBytes(of: UInt32(row), as: UInt32.self)
            return unsafe block + Self.headerBytes
        }
        let bytes = Self.headerBytes + Self.room(row)
        guard let block = unsafe CTriageShims_allocate(bytes) else { return nil }
        unsafe block.storeBytes(of: UInt32(row), as: UInt32.self)
        return unsafe block + Self.headerBytes
    }

    private static func allocateLarge(_ size: Int) -> UnsafeMutableRawPointer? {
        guard size >= 0, size <= Int.max - headerBytes,
            let block = unsafe CTriageShims_allocate(headerBytes + size)
        else { return nil }
        return unsafe markLarge(block, size)
    }

    /// Fills the header of a block without a class.
    private static func markLarge(
        _ block: UnsafeMutableRawPointer, _ size: Int
    ) -> UnsafeMutableRawPointer {
        unsafe block.storeBytes(of: large, as: UInt32.self)
        unsafe block.storeBytes(of: size, toByteOffset: 8, as: Int.self)
        return unsafe block + headerBytes
    }

    private static func keptMax(_ row: Int) -> Int {
        row < classCount ? HTTP2Memory.blocksKeptMax : HTTP2Memory.buffersKeptMax
    }

    mutating func free(_ memory: UnsafeMutableRawPointer?) {
        guard let memory = unsafe memory else { return }
        let block = unsafe memory - Self.headerBytes
        let row = unsafe block.load(as: UInt32.self)
        guard row != Self.large, counts[Int(row)] < Self.keptMax(Int(row)) else {
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
        let block = unsafe memory - Self.headerBytes
        let row = unsafe block.load(as: UInt32.self)
        if row == Self.large, Self.row(size) == nil {
            guard size <= Int.max - Self.headerBytes,
                let fresh = unsafe CTriageShims_reallocate(block, Self.headerBytes + size)
            else { return nil }
            return unsafe Self.markLarge(fresh, size)
        }
        let room =
            row == Self.large
            ? unsafe block.load(fromByteOffset: 8, as: Int.self) : Self.room(Int(row))
        if row != Self.large, size <= room { return unsafe memory }
        guard let fresh = unsafe allocate(size) else { return nil }
        unsafe fresh.copyMemory(from: memory, byteCount: min(size, room))
        unsafe free(memory)
        return unsafe fresh
    }

    mutating func empty() {
        for row in 0...Self.classCount {
            while let block = unsafe heads[row] {
                unsafe heads[row] = unsafe block.load(as: UnsafeMutableRawPointer?.self)
                unsafe CTriageShims_free(block)
            }
        }
    }
}
