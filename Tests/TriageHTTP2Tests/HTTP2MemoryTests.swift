// The blocks that sessions share: they come back, are used again, and do not pile up.

import CNghttp2
import Testing

@testable import TriageHTTP2

private let call = HeaderFields(request.map { .init($0.0, $0.1) })

@Suite struct HTTP2MemoryTests {
    /// Opens `count` streams at once on a session of their own, and resets them.
    private func burst(_ count: Int, _ pool: HTTP2Memory) throws {
        let link = try LinkedSessions(serverPool: pool)
        let streams = try (0..<count).map {
            try link.client.submitRequest(call, userData: $0, endStream: false)
        }
        try link.settle()
        #expect(link.server.openStreamCount == count)
        for stream in streams { link.client.reset(stream, .cancel) }
        try link.settle()
        #expect(link.server.openStreamCount == 0)
    }

    @Test func blocks_areUsedAgainByTheNextSession() throws {
        let pool = HTTP2Memory()
        #expect(pool.freeBlocks == 0)
        try burst(50, pool)
        let kept = pool.freeBlocks
        #expect(kept >= 50)
        try burst(50, pool)
        #expect(pool.freeBlocks == kept)
    }

    /// A page that is new to the process has to be zeroed by the kernel first.
    @Test func buffersOfSessions_areUsedAgainUpToALimit() throws {
        let pool = HTTP2Memory()
        let memory = unsafe pool.table.pointee
        let user = unsafe memory.mem_user_data
        let bytes = 16_394  // what nghttp2 asks for
        let blocks = unsafe (0..<20).map { _ in unsafe memory.malloc(bytes, user) }
        unsafe blocks.forEach { unsafe memory.free($0, user) }
        #expect(pool.freeBlocks == HTTP2Memory.buffersKeptMax)
        let again = unsafe memory.malloc(bytes, user)
        #expect(unsafe blocks.contains(again))
        #expect(pool.freeBlocks == HTTP2Memory.buffersKeptMax - 1)
        unsafe memory.free(again, user)
    }

    /// Free blocks after so many sessions with 90 open streams each have gone.
    private func freeBlocks(after count: Int) throws -> Int {
        let pool = HTTP2Memory()
        var sessions = try (0..<count).map { _ in try LinkedSessions(serverPool: pool) }
        for link in sessions {
            for number in 0..<90 {
                _ = try link.client.submitRequest(call, userData: number, endStream: false)
            }
            try link.settle()
            #expect(link.server.openStreamCount == 90)
        }
        sessions = []
        return pool.freeBlocks
    }

    @Test func blocks_beyondTheLimitGoBack() throws {
        // Kept without a limit, 180 more streams would leave at least 180 blocks more.
        let few = try freeBlocks(after: 3)
        let many = try freeBlocks(after: 5)
        #expect(few > 128)
        #expect(many - few < 180)
    }

    /// Sizes on both sides of every kind of step: within a class, to another, to and from the C
    /// library.
    @Test(arguments: [
        (1, 64), (60, 70), (1_000, 1_024), (1_000, 5_000), (5_000, 9_000), (9_000, 40),
        (5_000, 16_394), (16_394, 20_000), (16_394, 30_000), (30_000, 16_394), (16_394, 40),
    ])
    func blockThatChangesItsSize_keepsWhatItHeld(before: Int, after: Int) {
        let pool = HTTP2Memory()
        let memory = unsafe pool.table.pointee
        let user = unsafe memory.mem_user_data
        guard let first = unsafe memory.calloc(1, before, user) else {
            Issue.record("no memory")
            return
        }
        for index in 0..<before {
            #expect(unsafe first.load(fromByteOffset: index, as: UInt8.self) == 0)
            unsafe first.storeBytes(
                of: UInt8(truncatingIfNeeded: index), toByteOffset: index, as: UInt8.self)
        }
        guard let second = unsafe memory.realloc(first, after, user) else {
            Issue.record("no memory")
            return
        }
        for index in 0..<min(before, after) {
            let byte = unsafe second.load(fromByteOffset: index, as: UInt8.self)
            #expect(byte == UInt8(truncatingIfNeeded: index))
        }
        unsafe memory.free(second, user)
    }

    @Test func moreThanThereIs_isNil() {
        let pool = HTTP2Memory()
        let memory = unsafe pool.table.pointee
        let user = unsafe memory.mem_user_data
        #expect(unsafe memory.calloc(.max, 2, user) == nil)
        #expect(unsafe memory.malloc(.max, user) == nil)
    }
}
