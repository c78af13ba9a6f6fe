// The containers of the state: what an access, a write and a snapshot's copy cost.

import TriageBase
import TriageDomain

/// Chunked array and hash index with `count` entries.
struct ContainerBench {
    let count: Int
    private static let rounds = 500_000

    /// About the size of a case's hot fields, with one reference-counted field.
    private struct Row {
        var number: Int
        var fields: InlineArray<16, UInt64> = .init(repeating: 0)
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
        let write = nanoseconds { for place in places { rows[place].fields[3] &+= 1 } }
        var sum: UInt64 = 0
        let read = nanoseconds { for place in places { sum &+= rows[place].fields[3] } }
        let iterate = nanoseconds { rows.forEach { sum &+= $0.fields[3] } }
        keep(sum)
        var copies: [ChunkedArray<Row>] = []
        let copy = nanoseconds { copies.append(rows) }
        let firstWrite = nanoseconds { rows[count / 2].fields[3] &+= 1 }
        let secondWrite = nanoseconds { rows[count / 2].fields[3] &+= 1 }
        keep(copies.count)
        let rounds = Double(Self.rounds)
        report("index.array_append", append / Double(count), "ns", reach: 300)
        report("index.array_write", write / rounds, "ns", reach: 150)
        report("index.array_read", read / rounds, "ns", reach: 150)
        report("index.array_iterate", iterate / Double(count), "ns", reach: 50)
        report("index.array_snapshot", copy / 1_000, "us", reach: 20)
        report("index.array_first_write_after_snapshot", firstWrite / 1_000, "us", reach: 50)
        report("index.array_second_write_after_snapshot", secondWrite / 1_000, "us", reach: 5)
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
        report("index.hash_insert", insert / Double(count), "ns", reach: 150)
        report("index.hash_insert_slowest_1000", slowest / 1_000, "us", reach: 1_500)
        report("index.hash_hit", hit / Double(Self.rounds), "ns", reach: 120)
        report("index.hash_miss", miss / Double(Self.rounds), "ns", reach: 120)
        report("index.hash_remove", remove / Double(count), "ns", reach: 150)
    }
}
