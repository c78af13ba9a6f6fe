// What a queue of bytes keeps: all that was put in, in order, and not much more memory than that.

import Testing
import TriageBase

@testable import TriageTLS

@Suite struct ByteQueueTests {
    private func append(_ queue: inout ByteQueue, _ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBufferPointer { unsafe queue.append($0) }
    }

    private func take(_ queue: inout ByteQueue, _ count: Int) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: count)
        let taken = unsafe out.withUnsafeMutableBufferPointer {
            guard let base = $0.baseAddress else { return 0 }
            return unsafe queue.take(to: base, capacity: count)
        }
        return Array(out.prefix(taken))
    }

    /// A slow reader that keeps up: it takes as much as comes, and there is always something left.
    @Test(arguments: [1, 5_000, 200_000]) func whatIsNeverQuiteEmpty_doesNotGrow(
        residue: Int
    ) throws {
        var queue = ByteQueue()
        append(&queue, [UInt8](repeating: 0, count: residue))
        let record = [UInt8](repeating: 7, count: 16 << 10)
        var largest = 0
        for _ in 0..<10_000 {
            append(&queue, record)
            queue.consume { _ in record.count }
            largest = max(largest, queue.bytes.capacity)
        }
        #expect(queue.count == residue)
        #expect(largest <= 4 * (residue + 2 * record.count))
        queue.consume { $0.count }
        #expect(queue.bytes.capacity <= 1 << 10)
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>) func whateverIsTakenWhen_theOrderIsKept(
        seed: UInt64
    ) throws {
        var random = SeededRandom(seed: seed)
        var queue = ByteQueue()
        var put: UInt64 = 0
        var taken: UInt64 = 0
        for _ in 0..<2_000 {
            let new = Int(random.next() % 300)
            append(&queue, (0..<new).map { UInt8(truncatingIfNeeded: put &+ UInt64($0)) })
            put += UInt64(new)
            let wanted = Int(random.next() % 300)
            if random.next() % 2 == 0 {
                for byte in take(&queue, wanted) {
                    #expect(byte == UInt8(truncatingIfNeeded: taken), "seed \(seed)")
                    taken += 1
                }
            } else {
                queue.consume { bytes in
                    let count = min(wanted, bytes.count)
                    for index in 0..<count {
                        #expect(bytes[index] == UInt8(truncatingIfNeeded: taken), "seed \(seed)")
                        taken += 1
                    }
                    return count
                }
            }
            #expect(queue.count == Int(put - taken))
        }
    }
}
