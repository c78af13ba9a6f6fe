// The blocks that OpenSSL is given: as large as it asks for, used again, and not without end. Each
// test stays on one thread from end to end, because it awaits nothing.

import CTriageShims
import Testing

@Suite struct TLSMemoryTests {
    private static func allocate(_ size: Int) -> UnsafeMutableRawPointer? {
        unsafe CTriageShims_tls_allocate(size, nil, 0)
    }

    private static func free(_ memory: UnsafeMutableRawPointer?) {
        unsafe CTriageShims_tls_free(memory, nil, 0)
    }

    /// Whether every byte of a block has this value.
    private static func isFilled(_ block: UnsafeMutableRawPointer, _ size: Int, _ byte: UInt8)
        -> Bool
    {
        let bytes = unsafe UnsafeRawBufferPointer(start: block, count: size)
        return unsafe bytes.allSatisfy { $0 == byte }
    }

    /// Sizes on both sides of every step; what is freed comes back for other sizes of its list.
    @Test func blocks_areAsLargeAsAskedForAndApart() throws {
        let sizes = Array(1...1_300) + stride(from: 1_301, to: 34_000, by: 61)
        for size in sizes + sizes.reversed() {
            let first = unsafe try #require(unsafe Self.allocate(size))
            let second = unsafe try #require(unsafe Self.allocate(size))
            unsafe first.initializeMemory(as: UInt8.self, repeating: 1, count: size)
            unsafe second.initializeMemory(as: UInt8.self, repeating: 2, count: size)
            #expect(unsafe Self.isFilled(first, size, 1) && Self.isFilled(second, size, 2))
            unsafe Self.free(first)
            unsafe Self.free(second)
        }
    }

    @Test(arguments: [1, 16, 17, 1_024, 1_025, 6_000, 16_713, 32_768])
    func freedBlock_isTheNextOfItsSize(size: Int) {
        let first = unsafe Self.allocate(size)
        unsafe Self.free(first)
        let second = unsafe Self.allocate(size)
        #expect(unsafe second == first)
        unsafe Self.free(second)
    }

    /// 128 KiB of a size, and 512 of the small ones.
    @Test(arguments: [(16, 512 * 24), (1_024, 128 << 10), (20_000, 128 << 10)])
    func whatIsKept_hasALimit(size: Int, most: Int) {
        let before = CTriageShims_tls_kept()
        let blocks = unsafe (0..<1_000).map { _ in unsafe Self.allocate(size) }
        unsafe blocks.forEach { unsafe Self.free($0) }
        let kept = CTriageShims_tls_kept() - before
        // A block may be a little larger than asked for.
        #expect(kept > most / 2 && kept <= most + 32_768)
    }

    @Test func largerBlocks_areNotKept() {
        let before = CTriageShims_tls_kept()
        unsafe Self.free(unsafe Self.allocate(40_000))
        #expect(CTriageShims_tls_kept() == before)
    }

    @Test func nothingAndNull_areAsWithoutUs() {
        #expect(unsafe Self.allocate(0) == nil)
        unsafe Self.free(nil)
    }
}
