// Memory that runs out while protobuf-c unpacks: its n-th allocation fails, for every n of every
// request. The request is refused or read right; nothing traps, and the next one is read right.

import CProtobufC
import Testing
import TriageBase

@testable import TriageCodec

/// Puts itself in front of an arena's allocator.
@safe private final class FailingAllocator {
    @unsafe private struct State {
        var count = 0
        var failsAt: Int
        let inner: ProtobufCAllocator
    }

    private let arena: Arena
    private let state: UnsafeMutablePointer<State>

    init(_ arena: Arena) {
        self.arena = arena
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(to: State(failsAt: 0, inner: arena.allocator.pointee))
        unsafe arena.allocator.pointee = ProtobufCAllocator(
            alloc: { data, size in
                guard let state = unsafe data?.assumingMemoryBound(to: State.self) else {
                    return nil
                }
                unsafe state.pointee.count += 1
                if unsafe state.pointee.count == state.pointee.failsAt { return nil }
                let inner = unsafe state.pointee.inner
                return unsafe inner.alloc?(inner.allocator_data, size)
            },
            free: { _, _ in }, allocator_data: state)
    }

    /// Fails the n-th allocation from now on; 0: none.
    func arm(_ number: Int) {
        unsafe state.pointee.count = 0
        unsafe state.pointee.failsAt = number
    }

    var count: Int { unsafe state.pointee.count }

    deinit {
        unsafe arena.allocator.pointee = state.pointee.inner
        unsafe state.deallocate()
    }
}

@Suite("Memory faults") struct MemoryFaultTests {
    @Test("every allocation may fail", arguments: Decoding.valid.keys.sorted())
    func everyAllocation(_ method: String) throws {
        let bytes = try request(method, #require(Decoding.valid[method]))
        let decoding = Decoding()
        let memory = FailingAllocator(decoding.decoder.arena)
        memory.arm(0)
        #expect(FuzzTests.outcome(method, bytes, decoding) == nil)
        let count = memory.count
        for number in 0..<count {
            memory.arm(number + 1)
            let refused = FuzzTests.outcome(method, bytes, decoding)
            guard case .malformed(let fault) = refused else {
                Issue.record("allocation \(number + 1) of \(count): \(String(describing: refused))")
                continue
            }
            #expect(fault.kind == .notUnpacked)
            memory.arm(0)
            #expect(FuzzTests.outcome(method, bytes, decoding) == nil, "the next one is read")
        }
    }
}
