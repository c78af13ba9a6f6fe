// A sealed field that was taken out of a record: what its reader sees, and that every root stays as
// it was.

import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct ErasedFieldTests {
    /// Records 1 and 2 have one and two fields, in one batch; record 3 has none.
    private func bench() throws -> Workbench { try Workbench.with([[60, 90], [30]]) }

    @Test(arguments: [(1, 0), (2, 0), (2, 1)])
    func theRecordStaysAndTheTreeToo(record: Int, field: Int) throws {
        let bench = try bench()
        let cluster = try bench.inspection().cluster
        let head = try bench.inspection().verify().statistics.head
        let outcome = try bench.recovering(segment1) { bytes in
            eraseField(&bytes, record: record - 1, field: field, cluster: cluster)
        }
        let (state, report) = try outcome.get()
        var expected = bench.durable
        expected[record - 1].sealed[field] = nil
        #expect(state.records == expected)
        #expect(report.head == head)
        #expect(report.tornTail == nil)
    }

    @Test func aCommitmentThatIsNotTheFieldsIsRefused() throws {
        let bench = try bench()
        let cluster = try bench.inspection().cluster
        let outcome = try bench.recovering(segment1) { bytes in
            eraseField(&bytes, record: 0, field: 0, cluster: cluster)
            // Behind body and length: the commitment's first byte.
            bytes[4096 + 32 + 16 + 30 + 4] ^= 1
            sealBatch(&bytes, at: 4096, cluster: cluster)
        }
        guard case .failure(let error) = outcome else {
            Issue.record("a record with another field passed")
            return
        }
        #expect(error.place?.file == segment1)
    }

    /// Lengths that lie, with every checksum right: refused as malformed, and never read past the
    /// record's end.
    @Test func lengthsThatLieAreRefused() throws {
        let bench = try bench()
        let cluster = try bench.inspection().cluster
        let field = 4096 + 32 + 16 + 30
        for length in [UInt32(31), 29, 1 << 20, .max, 1 << 31 | 1, 1 << 31, 0x7FFF_FFFF] {
            let outcome = try bench.recovering(segment1) { bytes in
                for index in 0..<4 {
                    bytes[field + index] = UInt8(truncatingIfNeeded: length >> (8 * UInt32(index)))
                }
                sealBatch(&bytes, at: 4096, cluster: cluster)
            }
            guard case .failure(let error) = outcome else {
                Issue.record("a field of \(length) bytes passed")
                continue
            }
            #expect(error.place == Place(file: segment1, offset: 4096 + 32))
        }
        for (offset, value) in [(0, UInt8(0xFF)), (1, 0xFF), (3, 0xFF), (4, 0xFF), (7, 0xFF)] {
            let outcome = try bench.recovering(segment1) { bytes in
                bytes[4096 + 32 + offset] = value
                sealBatch(&bytes, at: 4096, cluster: cluster)
            }
            guard case .failure(let error) = outcome else {
                Issue.record("byte \(offset) of a record's lengths passed")
                continue
            }
            #expect(error.place?.file == segment1)
        }
    }
}

/// Takes a sealed field out of a record of the first batch, as FORMAT.md §6 and §7 say, and moves
/// up what stands behind.
func eraseField(_ bytes: inout [UInt8], record: Int, field: Int, cluster: ClusterID) {
    let batch = 4096
    let batchEnd = batch + 32 + Int(bytes.span.loadUInt32(at: batch + 4))
    var start = batch + 32
    func padded(_ count: Int) -> Int { (count + 7) / 8 * 8 }
    func size(_ at: Int) -> Int {
        16 + Int(bytes.span.loadUInt32(at: at)) + Int(bytes.span.loadUInt32(at: at + 4))
    }
    for _ in 0..<record { start += padded(size(start)) }
    var place = start + 16 + Int(bytes.span.loadUInt32(at: start))
    for _ in 0..<field { place += 20 + Int(bytes.span.loadUInt32(at: place)) }
    let next = place + 20 + Int(bytes.span.loadUInt32(at: place))
    let salted: [UInt8] = [2] + bytes[place + 4..<next]
    let commitment = SHA256.hash(salted.span).withBytes { [UInt8](copying: $0) }
    let old = size(start)
    var content = Array(bytes[start..<place]) + [0, 0, 0, 0x80] + commitment
    content += bytes[next..<start + old]
    let sealed = content.count - 16 - Int(bytes.span.loadUInt32(at: start))
    for index in 0..<4 { content[4 + index] = UInt8(truncatingIfNeeded: sealed >> (8 * index)) }
    content += [UInt8](repeating: 0, count: padded(content.count) - content.count)
    let grown = content.count - padded(old)
    let rest = bytes.count
    bytes.replaceSubrange(start..<start + padded(old), with: content)
    if grown > 0 { bytes.removeLast(grown) } else { bytes += [UInt8](repeating: 0, count: -grown) }
    precondition(bytes.count == rest)
    let count = batchEnd - batch - 32 + grown
    for index in 0..<4 {
        bytes[batch + 4 + index] = UInt8(truncatingIfNeeded: count >> (8 * index))
    }
    sealBatch(&bytes, at: batch, cluster: cluster)
}
