// Each version as it was first written, kept for ever, and a reader in another language that knows
// nothing but FORMAT.md.

import Foundation
import TestSupport
import Testing
import TriageBase
import TriageCrypto
import TriageIO
import TriageJournal

@Suite struct GoldenTests {
    static let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    static let root = here.deletingLastPathComponent().deletingLastPathComponent()
    /// Python programs that know FORMAT.md alone: one that reads what is plain in about a page, and
    /// one that adds everything else to it.
    private enum Reader: String { case plain = "data", every }

    /// A directory that was kept, and what is in it.
    struct Golden: Sendable, CustomTestStringConvertible {
        let name: String
        /// The key file's name; it is no secret, and says so.
        var key: String?

        var path: String { GoldenTests.here.appendingPathComponent("Fixtures/" + name).path }
        var keyPath: String? {
            key.map { GoldenTests.here.appendingPathComponent("Fixtures/" + $0).path }
        }
        var testDescription: String { name }

        func listing() throws -> String {
            try String(contentsOfFile: path + ".txt", encoding: .utf8)
        }
    }

    static let goldens = [
        Golden(name: "v1"), Golden(name: "v2"),
        Golden(name: "v2-encrypted", key: "v2-test-key-no-secret.kek"),
    ]

    /// The directory's content as the Python reader prints it.
    private func listing(_ path: String, keys: KeySource? = nil) throws -> String {
        let inspection = try Inspection(path: path, keys: keys)
        var state = Recorded()
        let statistics = try inspection.readJournal(into: &state)
        var lines = state.records.map { record in
            let parts = [hex(record.body)] + record.sealed.map { $0.map(hex) ?? "erased" }
            return "r \(record.sequence) \(record.milliseconds) " + parts.joined(separator: " ")
        }
        if let torn = statistics.tornTail { lines.append("torn \(torn.file) \(torn.offset)") }
        for snapshot in statistics.snapshots {
            state = Recorded()
            _ = try inspection.readSnapshot(after: snapshot.head.sequence, into: &state)
            for (section, record) in zip(state.sections, state.snapshot) {
                lines.append("s \(snapshot.file) \(section) \(hex(record))")
            }
        }
        if let head = statistics.head { lines.append("head \(head.sequence) \(head.root)") }
        return lines.map { $0 + "\n" }.joined()
    }

    private func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private func python(
        _ path: String, key: String? = nil, with reader: Reader = .every
    ) throws -> (output: String, status: Int32) {
        // Deploy/test prepares an interpreter with what the reader needs to decrypt.
        let prepared = Self.root.appendingPathComponent("Deploy/.venv/bin/python").path
        let isPrepared = FileManager.default.isExecutableFile(atPath: prepared)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        let name = "Tests/Interop/read_\(reader.rawValue)_directory.py"
        process.arguments =
            [
                isPrepared ? prepared : "python3", Self.root.appendingPathComponent(name).path,
                path,
            ] + (key.map { [$0] } ?? [])
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (String(decoding: bytes, as: UTF8.self), process.terminationStatus)
    }

    /// What opens a kept directory.
    private func keys(_ golden: Golden) throws -> KeySource? {
        guard let keyPath = golden.keyPath else { return nil }
        var text = Array(try Data(contentsOf: URL(fileURLWithPath: keyPath)))
        return KeySource(current: try #require(KeyEncryptionKey(wiping: &text)))
    }

    /// A directory with three segments, leaves and a snapshot, on the real disk.
    private func makeDirectory(_ path: String, keys: KeySource?) throws {
        var options = StorageOptions()
        options.segmentBytes = 16384
        options.workers = nil
        options.snapshotBlockBytes = 4096
        let data = try DataDirectory(opening: path, options: options, keys: keys)
        var state = Recorded()
        let report = try data.recover(into: &state)
        let journal = try data.makeJournal(after: report, time: WallTime(milliseconds: 1_000))
        for size in [0, 1, 7, 8, 9, 300, 4000, 5000, 600, 7000, 8000] {
            let parts = Workbench.parts(journal.nextSequence, count: size)
            let time = WallTime(milliseconds: 1_763_800_000_000 - Int64(size))
            _ = try journal.append(parts, time: time)
            if size % 2 == 0 { try journal.commit() }
        }
        let snapshot = try data.makeSnapshot(
            at: journal.durableTree, time: WallTime(milliseconds: 2_000))
        for size in [0, 4000, 100, 5000] {
            try snapshot.append(
                section: UInt16(size / 4000), Workbench.payload(9, count: size).span)
        }
        _ = try snapshot.finish()
        _ = try journal.append(Workbench.parts(3, count: 2000), time: .epoch)
        try journal.commit()
        journal.close(time: .epoch)
    }

    /// Made once by ``makeDirectory(_:keys:)`` in the release that brought the version; never
    /// overwritten.
    @Test(arguments: goldens) func everyVersionIsStillRead(golden: Golden) throws {
        let source = try keys(golden)
        #expect(try listing(golden.path, keys: source) == golden.listing())
        let inspection = try Inspection(path: golden.path, keys: source)
        #expect(try inspection.verify().problems.isEmpty)
    }

    @Test(arguments: goldens)
    func aReaderOfTheFormatAloneReadsTheGoldenFiles(golden: Golden) throws {
        let (output, status) = try python(golden.path, key: golden.keyPath)
        #expect(status == 0)
        #expect(output == (try golden.listing()))
        let plain = try python(golden.path, with: .plain)
        #expect((plain.status == 0) == (golden.name == "v2"))
        if golden.name == "v2" { #expect(plain.output == output) }
    }

    @Test func theServerRefusesTheFirstVersionAndSaysWhatToDo() throws {
        let directory = try TempDirectory()
        let old = directory.path + "/old"
        try FileManager.default.copyItem(
            atPath: Golden(name: "v1").path, toPath: old)
        #expect {
            _ = try DataDirectory(opening: old)
        } throws: { error in
            "\(error)".contains("identity has format version 1")
                && "\(error)".contains("upgrade --from")
        }
    }

    @Test(arguments: [nil, "v2-test-key-no-secret.kek"])
    func aReaderOfTheFormatAloneReadsWhatIsWrittenToday(key: String?) throws {
        let directory = try TempDirectory()
        let golden = Golden(name: "v2", key: key)
        let source = try keys(golden)
        try makeDirectory(directory.path, keys: source)
        let (output, status) = try python(directory.path, key: golden.keyPath)
        #expect(status == 0)
        #expect(output == (try listing(directory.path, keys: source)))
        #expect(output.split(separator: "\n").count == 12 + 4 + 1)
        let plain = try python(directory.path, with: .plain)
        #expect(key == nil ? plain.output == output : plain.status == 1)
    }

    @Test(arguments: [false, true])
    func bothReadersAgreeOnEveryTornTail(encrypted: Bool) throws {
        let bench = try Workbench.with([[40], [700, 33]], encrypted: encrypted)
        let end = Workbench.ends([[40], [700, 33]])[1]
        let key = try TempDirectory()
        try Data([UInt8](repeating: 0x42, count: 32)).write(
            to: URL(fileURLWithPath: key.file("key")))
        for cut in stride(from: 4097, to: end, by: 67) {
            let directory = try TempDirectory()
            try save(bench, to: directory) { bytes in
                for index in cut..<end { bytes[index] = 0 }
            }
            let (output, status) = try python(
                directory.path, key: encrypted ? key.file("key") : nil)
            #expect(status == 0)
            #expect(output == (try listing(directory.path, keys: bench.keys)), "cut at \(cut)")
            #expect(output.contains("torn"))
        }
    }

    @Test func bothReadersAgreeOnErasedFields() throws {
        let bench = try Workbench.with([[60, 90], [30]])
        let cluster = try bench.inspection().cluster
        let directory = try TempDirectory()
        try save(bench, to: directory) { bytes in
            eraseField(&bytes, record: 1, field: 1, cluster: cluster)
        }
        for reader in [Reader.plain, .every] {
            let (output, status) = try python(directory.path, with: reader)
            #expect(status == 0)
            #expect(output == (try listing(directory.path)))
            #expect(output.contains("erased"))
        }
    }

    /// Saves a simulated directory with a changed first segment on the real disk.
    private func save(
        _ bench: Workbench, to directory: TempDirectory, _ change: (inout [UInt8]) -> Void
    ) throws {
        for name in ["identity", "keys", segment1] {
            guard var bytes = bench.disk.bytes(of: Workbench.file(name)) else { continue }
            if name == segment1 { change(&bytes) }
            try Data(bytes).write(to: URL(fileURLWithPath: directory.file(name)))
        }
    }

    /// Damage of every kind of file: the foreign reader refuses what ours refuses.
    @Test(arguments: [
        (segment1, 4200), (segment1, 60), (segment1, 4097), (segment1, 140),
        ("00000000000000000001.leaves", 5000), ("00000000000000000001.leaves", 4100),
        ("00000000000000000011.snapshot", 5000), ("00000000000000000011.snapshot", 4128),
        ("identity", 20),
    ])
    func theForeignReaderRefusesWhatIsDamaged(file: String, offset: Int) throws {
        let directory = try TempDirectory()
        try makeDirectory(directory.path, keys: nil)
        let url = URL(fileURLWithPath: directory.file(file))
        var data = try Data(contentsOf: url)
        data[offset] ^= 4
        try data.write(to: url)
        #expect(try python(directory.path).status == 1)
        // Leaves stand beside what the plain one reads.
        let plain = try python(directory.path, with: .plain)
        #expect(plain.status == (file.hasSuffix(".leaves") ? 0 : 1))
        let problems = try? Inspection(path: directory.path).verify().problems
        #expect(problems?.isEmpty != true)
    }

    /// Makes the golden files of this version, once: with TRIAGED_MAKE_FIXTURES set, and only those
    /// that are not there.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["TRIAGED_MAKE_FIXTURES"] != nil))
    func goldenFilesAreMadeOnce() throws {
        for golden in Self.goldens.dropFirst()
        where !FileManager.default.fileExists(atPath: golden.path) {
            let source = try keys(golden)
            try makeDirectory(golden.path, keys: source)
            try FileManager.default.removeItem(atPath: golden.path + "/lock")
            if source == nil {
                let url = URL(fileURLWithPath: golden.path + "/" + segment1)
                var bytes = [UInt8](try Data(contentsOf: url))
                let cluster = try Inspection(path: golden.path).cluster
                eraseField(&bytes, record: 0, field: 0, cluster: cluster)
                try Data(bytes).write(to: url)
            }
            try listing(golden.path, keys: source).write(
                toFile: golden.path + ".txt", atomically: true, encoding: .utf8)
        }
    }
}
