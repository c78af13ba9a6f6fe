// Memory that runs out in zlib: its n-th allocation fails, for every n of packing and unpacking.
// The message is refused, nothing traps or is lost, and the next one goes through.

import CZlib
import Glibc
import Testing
import TriageBase

@testable import TriageGzip

/// zlib's allocator, with a count.
@safe private final class FailingMemory {
    private struct Counter {
        var count = 0
        var outstanding = 0
        var failsAt = 0
    }

    private let counter: UnsafeMutablePointer<Counter>

    init() {
        unsafe counter = .allocate(capacity: 1)
        unsafe counter.initialize(to: Counter())
    }

    deinit { unsafe counter.deallocate() }

    /// Fails the n-th allocation from now on; 0: none.
    func arm(_ number: Int) {
        unsafe counter.pointee.count = 0
        unsafe counter.pointee.failsAt = number
    }

    /// Allocations asked for since ``arm(_:)``.
    var count: Int { unsafe counter.pointee.count }
    /// Allocations that were not freed.
    var outstanding: Int { unsafe counter.pointee.outstanding }

    /// What zlib starts from.
    var stream: z_stream {
        var stream = unsafe z_stream()
        unsafe stream.opaque = UnsafeMutableRawPointer(counter)
        unsafe stream.zalloc = { counter, count, size in
            guard let counter = unsafe counter?.assumingMemoryBound(to: Counter.self) else {
                return nil
            }
            unsafe counter.pointee.count += 1
            if unsafe counter.pointee.count == counter.pointee.failsAt { return nil }
            unsafe counter.pointee.outstanding += 1
            return unsafe malloc(Int(count) * Int(size))
        }
        unsafe stream.zfree = { counter, memory in
            unsafe counter?.assumingMemoryBound(to: Counter.self).pointee.outstanding -= 1
            unsafe free(memory)
        }
        return unsafe stream
    }
}

@Suite struct MemoryFaultTests {
    private static let limits = InflateLimits(
        bytesMax: 1 << 20, ratioMax: 1_000, ratioFreeBytes: 1 << 20)
    /// More than zlib's window, so that one is made.
    private static let message = (0..<200_000).map { UInt8($0 / 700 % 251) }

    private static func unpack(_ packed: [UInt8], _ inflater: Inflater?) throws -> [UInt8] {
        let inflater = try #require(inflater)
        return try inflater.inflate(packed.span, limits)
    }

    @Test func everyAllocationOfAPacker_mayFail() throws {
        let memory = FailingMemory()
        let whole = unsafe Deflater(memory.stream)?.deflate(Self.message.span)
        let unpacked = try Self.unpack(whole ?? [], Inflater())
        #expect(unpacked == Self.message)
        let count = memory.count
        #expect(count > 3 && memory.outstanding == 0)
        for number in 1...count {
            memory.arm(number)
            let deflater = unsafe Deflater(memory.stream)
            #expect(deflater == nil, "allocation \(number) of \(count)")
            #expect(memory.outstanding == 0, "allocation \(number) of \(count)")
        }
    }

    @Test func everyAllocationOfAnUnpacker_mayFail() throws {
        let packed = Deflater()?.deflate(Self.message.span) ?? []
        let memory = FailingMemory()
        let whole = try Self.unpack(packed, unsafe Inflater(memory.stream))
        #expect(whole == Self.message)
        let count = memory.count
        #expect(count > 1 && memory.outstanding == 0)
        var late = 0
        for number in 1...count {
            memory.arm(number)
            if let inflater = unsafe Inflater(memory.stream) {
                late += 1
                #expect(throws: InflateError.outOfMemory) { try Self.unpack(packed, inflater) }
                let next = try Self.unpack(packed, inflater)
                #expect(next == Self.message, "only one allocation failed")
            }
            #expect(memory.outstanding == 0, "allocation \(number) of \(count)")
        }
        #expect(late > 0, "the window comes with the first message")
    }
}
