// Version 1 as it was first written, kept for ever, and a reader in another language that knows
// nothing but FORMAT.md.

import Foundation
import TestSupport
import Testing
import TriageBase
import TriageIO
import TriageJournal

@Suite struct GoldenTests {
    private static let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    private static let golden = here.appendingPathComponent("Fixtures/v1").path
    private static let reader = here.deletingLastPathComponent()
        .appendingPathComponent("Interop/read_data_directory.py").path

    /// The directory's content as the Python reader prints it.
    private func listing(_ path: String) throws -> String {
        let inspection = try Inspection(path: path)
        var state = Recorded()
        let statistics = try inspection.readJournal(into: &state)
        var lines = state.records.map { "r \($0.sequence) \($0.milliseconds) \(hex($0.payload))" }
        if let torn = statistics.tornTail { lines.append("torn \(torn.file) \(torn.offset)") }
        for snapshot in statistics.snapshots {
            state = Recorded()
            _ = try inspection.readSnapshot(after: snapshot.head.sequence, into: &state)
            for (section, record) in zip(state.sections, state.snapshot) {
                lines.append("s \(snapshot.file) \(section) \(hex(record))")
            }
        }
        if let head = statistics.head { lines.append("head \(head.sequence) \(head.chain)") }
        return lines.map { $0 + "\n" }.joined()
    }

    private func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private func python(_ path: String) throws -> (output: String, status: Int32) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", Self.reader, path]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (String(decoding: bytes, as: UTF8.self), process.terminationStatus)
    }

    /// A directory with two segments, a torn tail and a snapshot, on the real disk.
    private func makeDirectory(_ path: String) throws {
        var options = StorageOptions()
        options.segmentBytes = 16384
        options.workers = nil
        options.snapshotBlockBytes = 4096
        let data = try DataDirectory(opening: path, options: options)
        var state = Recorded()
        let report = try data.recover(into: &state)
        let journal = try data.makeJournal(after: report, time: WallTime(milliseconds: 1_000))
        for size in [0, 1, 7, 8, 9, 300, 4000, 5000, 600, 7000] {
            let payload = Workbench.payload(journal.nextSequence, count: size)
            let time = WallTime(milliseconds: 1_763_800_000_000 - Int64(size))
            _ = try journal.append(payload.span, time: time)
            if size % 2 == 0 { try journal.commit() }
        }
        let head = journal.durableHead
        let snapshot = try data.makeSnapshot(at: head, time: WallTime(milliseconds: 2_000))
        for size in [0, 4000, 100, 5000] {
            try snapshot.append(
                section: UInt16(size / 4000), Workbench.payload(9, count: size).span)
        }
        _ = try snapshot.finish()
        _ = try journal.append(Workbench.payload(3, count: 2000).span, time: .epoch)
        try journal.commit()
        journal.close()
    }

    /// Made once by ``makeDirectory(_:)`` in the release that brought version 1; never overwritten.
    @Test func theFirstVersionIsStillRead() throws {
        let expected = try String(contentsOfFile: Self.golden + ".txt", encoding: .utf8)
        #expect(try listing(Self.golden) == expected)
        #expect(try Inspection(path: Self.golden).verify().problems.isEmpty)
    }

    @Test func aReaderOfTheFormatAloneReadsTheGoldenFiles() throws {
        let expected = try String(contentsOfFile: Self.golden + ".txt", encoding: .utf8)
        let (output, status) = try python(Self.golden)
        #expect(status == 0)
        #expect(output == expected)
    }

    @Test func aReaderOfTheFormatAloneReadsWhatIsWrittenToday() throws {
        let directory = try TempDirectory()
        try makeDirectory(directory.path)
        let (output, status) = try python(directory.path)
        #expect(status == 0)
        #expect(output == (try listing(directory.path)))
        #expect(output.split(separator: "\n").count == 11 + 4 + 1)
    }

    @Test func bothReadersAgreeOnEveryTornTail() throws {
        let bench = try Workbench.with([[40], [700, 33]])
        let end = Workbench.ends([[40], [700, 33]])[1]
        let bytes = try #require(bench.disk.bytes(of: Workbench.file(segment1)))
        let identity = try #require(bench.disk.bytes(of: Workbench.file("identity")))
        for cut in stride(from: 4097, to: end, by: 67) {
            let directory = try TempDirectory()
            var torn = bytes
            for index in cut..<end { torn[index] = 0 }
            try Data(torn).write(to: URL(fileURLWithPath: directory.file(segment1)))
            try Data(identity).write(to: URL(fileURLWithPath: directory.file("identity")))
            let (output, status) = try python(directory.path)
            #expect(status == 0)
            #expect(output == (try listing(directory.path)), "cut at \(cut)")
            #expect(output.contains("torn"))
        }
    }

    @Test func theForeignReaderRefusesWhatIsDamaged() throws {
        for (file, offset) in [
            (segment1, 4200), (segment1, 60), ("00000000000000000010.snapshot", 5000),
        ] {
            let directory = try TempDirectory()
            try makeDirectory(directory.path)
            let url = URL(fileURLWithPath: directory.file(file))
            var data = try Data(contentsOf: url)
            data[offset] ^= 4
            try data.write(to: url)
            #expect(try python(directory.path).status == 1, "\(file) \(offset)")
        }
    }
}
