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
    private static let reader = root.appendingPathComponent("Tests/Interop/read_data_directory.py")
        .path

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
    private func listing(_ path: String, keys: KeyRing? = nil) throws -> String {
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
        _ path: String, key: String? = nil
    ) throws -> (output: String, status: Int32) {
        // Deploy/test prepares an interpreter with what the reader needs to decrypt.
        let prepared = Self.root.appendingPathComponent("Deploy/.venv/bin/python").path
        let isPrepared = FileManager.default.isExecutableFile(atPath: prepared)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [isPrepared ? prepared : "python3", Self.reader, path] + (key.map { [$0] } ?? [])
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (String(decoding: bytes, as: UTF8.self), process.terminationStatus)
    }

    /// The keys of a kept directory.
    private func keys(_ golden: Golden) throws -> KeyRing? {
        guard let keyPath = golden.keyPath else { return nil }
        return try TestKeys.open(golden.path, keyFile: keyPath)
    }

    /// A directory with three segments, leaves, a torn tail, an erased field and a snapshot, on the
    /// real disk.
    private func makeDirectory(_ path: String, keys: KeySource?) throws {
        var options = StorageOptions()
        options.segmentBytes = 16384
        options.preparesInBackground = false
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
        journal.close()
    }
}
