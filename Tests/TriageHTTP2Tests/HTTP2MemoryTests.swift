// The blocks that sessions share: they come back, are used again, and do not pile up.

import Testing
import TriageHTTP2

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
}
