// The queues of one call: order, what is kept for another attempt, when the other side has to wait.

import Testing
import TriageBase

@testable import TriageClient

@Suite struct FifoTests {
    @Test(arguments: 1...10) func anyMixOfOperations_isThatOfAnArray(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var fifo = Fifo<Int>()
        var model: [Int] = []
        for number in 0..<5_000 {
            switch random.next() % 5 {
            case 0, 1:
                fifo.append(number)
                model.append(number)
            case 2:
                fifo.prepend(number)
                model.insert(number, at: 0)
            default: expect(fifo.popFirst() == (model.isEmpty ? nil : model.removeFirst()))
            }
            expect(fifo.count == model.count)
            expect(fifo.first == model.first)
        }
        expect(fifo.removeAll() == model)
        expect(fifo.isEmpty)
    }
}

@Suite struct RequestQueueTests {
    @Test func everything_isSentAgainUntilItIsCommitted() {
        var queue = RequestQueue()
        queue.append([1])
        queue.append([2, 2])
        expect(queue.next() == [1])
        queue.rewind()
        expect(queue.unsentBytes == 3)
        expect(queue.next() == [1])
        queue.append([3])
        queue.commit()
        expect(queue.keptBytes == 3, "what has left is dropped")
        expect(queue.first == nil)
        expect(queue.next() == [2, 2])
        expect(queue.next() == [3])
        expect(queue.next() == nil)
        expect(queue.keptBytes == 0 && queue.unsentBytes == 0)
        expect(!queue.isDone)
        queue.end()
        expect(queue.isDone)
    }
}

@Suite struct ReplyQueueTests {
    @Test func tooManyReplies_holdTheServerBack_untilHalfAreRead() {
        var queue = ReplyQueue()
        var held = 0
        for number in 0..<Limits.unreadRepliesMax + 4 {
            queue.append([UInt8(number)])
            if queue.holdsBack() { held += 1 }
        }
        expect(held == 1 && queue.isHeldBack)
        var read = 0
        while !queue.letsGo() {
            expect(queue.next() == [UInt8(read)])
            read += 1
        }
        expect(read == Limits.unreadRepliesMax / 2 + 4)
        expect(!queue.letsGo(), "once")
    }

    @Test func tooManyBytes_holdTheServerBackToo() {
        var queue = ReplyQueue()
        queue.append([UInt8](repeating: 0, count: Limits.unreadBytesMax))
        expect(queue.holdsBack())
        _ = queue.next()
        expect(queue.letsGo())
        expect(queue.next() == nil)
    }
}
