// The containers of the state: what an access, a write and a snapshot's copy cost.

import TriageBase
import TriageDomain

/// Chunked array and hash index with `count` entries.
struct ContainerBench {
    let count: Int
    private static let rounds = 500_000

    /// Eight words; a struct of its own, since a generic one (SIMD, InlineArray) is copied through
    /// its run-time description.
    private struct Words {
        var a: UInt64 = 0
        var b: UInt64 = 0
        var c: UInt64 = 0
        var d: UInt64 = 0
        var e: UInt64 = 0
        var f: UInt64 = 0
        var g: UInt64 = 0
        var h: UInt64 = 0
    }

    /// About the size of a case's hot fields, with one reference-counted field.
    private struct Row {
        var number: Int
        var first = Words()
        var second = Words()
        var blob: [UInt8] = []
    }

    func run() {
        measureArray()
        measureHash()
    }

    private func measureArray() {
        var rows = ChunkedArray<Row>()
        let append = nanoseconds {
            for number in 0..<count { rows.append(Row(number: number, blob: [1])) }
        }
        var random = SeededRandom(seed: 4)
        let places = (0..<Self.rounds).map { _ in Int(random.next() % UInt64(count)) }
        let write = nanoseconds { for place in places { rows[place].second.d &+= 1 } }
        var sum: UInt64 = 0
        let read = nanoseconds { for place in places { sum &+= rows[place].second.d } }
        let iterate = nanoseconds { rows.forEach { sum &+= $0.second.d } }
        keep(sum)
        var copies: [ChunkedArray<Row>] = []
        let copy = elapsedNanoseconds {
            for _ in 0..<1_000 { copies.append(rows) }
        }
        copies = [rows]
        let firstWrite = elapsedNanoseconds { rows[count / 2].second.d &+= 1 }
        let secondWrite = elapsedNanoseconds { rows[count / 2].second.d &+= 1 }
        keep(copies.count)
        let rounds = Double(Self.rounds)
        report("array_append", append / Double(count), "ns", reach: 300)
        // From this module the accessors are not specialised; inside the domain they are.
        report("array_write_from_outside", write / rounds, "ns", reach: 400)
        report("array_read_from_outside", read / rounds, "ns", reach: 400)
        report("array_iterate", iterate / Double(count), "ns", reach: 50)
        report("array_snapshot", copy / 1_000_000, "us", reach: 5)
        report("array_first_write_after_snapshot", firstWrite / 1_000, "us", reach: 50)
        report("array_second_write_after_snapshot", secondWrite / 1_000, "us", reach: 5)
    }

    private func measureHash() {
        var table = HashIndex()
        var slowest = 0.0
        var insert = 0.0
        for start in stride(from: 0, to: count, by: 1_000) {
            let time = nanoseconds {
                for number in start..<min(count, start + 1_000) {
                    table.insert(mix64(UInt64(number)), value: UInt64(number))
                }
            }
            insert += time
            slowest = max(slowest, time)
        }
        var random = SeededRandom(seed: 5)
        let keys = (0..<Self.rounds).map { _ in random.next() % UInt64(count) }
        var found = 0
        let hit = nanoseconds {
            for key in keys where table.first(mix64(key), where: { $0 == key }) != nil {
                found += 1
            }
        }
        let miss = nanoseconds {
            for key in keys where table.value(mix64(key &+ 1 << 40)) != nil { found += 1 }
        }
        let remove = nanoseconds {
            for number in 0..<count { table.remove(mix64(UInt64(number)), value: UInt64(number)) }
        }
        keep(found)
        report("hash_insert", insert / Double(count), "ns", reach: 150)
        report("hash_insert_slowest_1000", slowest / 1_000, "us", reach: 1_500)
        report("hash_hit", hit / Double(Self.rounds), "ns", reach: 120)
        report("hash_miss", miss / Double(Self.rounds), "ns", reach: 120)
        report("hash_remove", remove / Double(count), "ns", reach: 150)
    }
}
