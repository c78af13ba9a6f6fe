// The folder that a backup is in: a run that ends anywhere leaves the backup of before whole, and
// the next one goes on where it ended.

import Foundation
import TestSupport
import Testing
import TriageBase
import TriageIO

@testable import triagectl

@Suite struct BackupFolderTests {
    private let directory: TempDirectory

    init() throws { directory = try TempDirectory() }

    private var path: String { directory.path + "/backup" }

    private static let identity = ListedFile(
        name: "identity", count: 3, size: 3, isFinal: false)

    private func final(_ name: String, _ bytes: [UInt8]) -> (ListedFile, [UInt8]) {
        (ListedFile(name: name, count: bytes.count, size: bytes.count, isFinal: true), bytes)
    }

    private func open(_ name: String, _ bytes: [UInt8], size: Int) -> (ListedFile, [UInt8]) {
        (ListedFile(name: name, count: bytes.count, size: size, isFinal: false), bytes)
    }

    @discardableResult
    private func copy(
        _ file: ListedFile, _ bytes: [UInt8], into folder: BackupFolder
    ) throws -> ManifestFile {
        let incoming = try folder.begin(file)
        try incoming.append(bytes)
        try incoming.end(sha256: SHA256.hash(bytes.span).description)
        return try folder.take(incoming)
    }

    /// Takes the identity and then these files; returns the manifest that they make.
    private func copyAll(
        _ files: [(ListedFile, [UInt8])], identity: [UInt8] = [1, 2, 3], sequence: Int64,
        into folder: BackupFolder
    ) throws -> BackupManifest {
        let taken = try copy(Self.identity, identity, into: folder)
        try folder.expect(identity: taken.sha256)
        var entries: [ManifestFile] = []
        for (file, bytes) in files {
            if let kept = try folder.kept(file) {
                entries.append(kept)
            } else {
                entries.append(try copy(file, bytes, into: folder))
            }
        }
        return BackupManifest(sequence: sequence, root: "r", files: entries + [taken])
    }

    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).filter { $0 != "lock" }.sorted()
    }

    private func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: path + "/" + name)))
    }

    private let one = "00000000000000000001.journal"
    private let two = "00000000000000000009.journal"
    private let leaves = "00000000000000000001.leaves"

    @Test(arguments: [
        (0, 0, true, true), (3, 3, true, true), (3, 4, false, true), (3, 4, true, false),
        (4, 3, false, false), (-1, 3, false, false), (1, Int.max, false, false),
        (Int.max, Int.max, true, false),
    ])
    func sizesAreWhatADiskCanHave(count: Int, size: Int, isFinal: Bool, isPossible: Bool) {
        let file = ListedFile(name: one, count: count, size: size, isFinal: isFinal)
        #expect(file.isPossible == isPossible)
    }

    /// A backup that ended well: one segment that goes on.
    private func makeFirst() throws {
        let folder = try BackupFolder(path)
        let manifest = try copyAll(
            [open(one, [5], size: 4)], sequence: 3, into: folder)
        try folder.finish(manifest)
    }

    @Test func whatIsNew_waitsUntilAllOfItIsHere() throws {
        try makeFirst()
        let first = try bytes("backup")
        #expect(try names() == [one, "backup", "identity"] && bytes(one) == [5, 0, 0, 0])
        // The segment is complete by now, and has a successor; the run ends before its end.
        let files = [
            final(leaves, [8]), final(one, [5, 6, 7, 8]), open(two, [9], size: 2),
        ]
        do {
            let folder = try BackupFolder(path)
            _ = try copyAll(Array(files.dropLast()), sequence: 9, into: folder)
        }
        #expect(try bytes("backup") == first && bytes(one) == [5, 0, 0, 0])
        #expect(
            try names().filter { !$0.hasSuffix(".tmp") } == [one, "backup", "identity"],
            "the backup of before is as it was")
        // The next run copies what is missing alone, and gives the names.
        let folder = try BackupFolder(path)
        for (file, _) in files.dropLast() { #expect(try folder.kept(file) != nil) }
        let manifest = try copyAll(files, sequence: 9, into: folder)
        try folder.finish(manifest)
        #expect(try names() == [one, leaves, two, "backup", "identity"])
        #expect(try bytes(one) == [5, 6, 7, 8] && bytes(two) == [9, 0])
        #expect(folder.damaged(manifest) { _ in } == [])
        #expect(BackupManifest(String(decoding: try bytes("backup"), as: UTF8.self)) == manifest)
    }

    @Test func anUnfinishedBackupOfAnotherDirectory_isRefused() throws {
        do {
            let folder = try BackupFolder(path)
            _ = try copyAll([final(one, [1])], sequence: 1, into: folder)
        }
        #expect(throws: BackupProblem.self) {
            let folder = try BackupFolder(path)
            _ = try copyAll(
                [final(one, [2])], identity: [3, 2, 1], sequence: 1, into: folder)
        }
        let folder = try BackupFolder(path)
        let manifest = try copyAll([final(one, [1])], sequence: 1, into: folder)
        try folder.finish(manifest)
        #expect(try names() == [one, "backup", "identity"], "the same one goes on")
    }

    /// Cuts the power at each call of `finish`, over some seeds, looks at what is left, and lets
    /// another run come to its end, by when there are the files `later`.
    private func cutAtEachCall(
        of disk: SimDisk, _ files: [(ListedFile, [UInt8])],
        later: [(ListedFile, [UInt8])]? = nil, look: (Set<String>, Comment) throws -> Void
    ) throws {
        let later = later ?? files
        func names(_ disk: SimDisk) -> Set<String> {
            Set(disk.fileNames.map { String($0.dropFirst("backup/".count)) }).subtracting(["lock"])
        }
        var isDone = false
        var call = 1
        while !isDone {
            for seed in 1...12 as ClosedRange<UInt64> {
                let cut = disk.copy()
                let folder = try BackupFolder("backup", disk: cut)
                let manifest = try copyAll(files, sequence: 9, into: folder)
                cut.cutPower(at: cut.calls + call)
                do {
                    try folder.finish(manifest)
                    isDone = true
                } catch {}
                let what: Comment = "call \(call), seed \(seed)"
                let after = cut.afterPowerCut(seed: seed)
                try look(names(after), what)
                let again = try BackupFolder("backup", disk: after)
                try again.finish(try copyAll(later, sequence: 9, into: again))
                let end = after.afterPowerCut(seed: seed)
                let expected = Set(later.map(\.0.name) + ["backup", "identity"])
                #expect(names(end) == expected, what)
                for (file, bytes) in later {
                    let zeros = [UInt8](repeating: 0, count: file.size - file.count)
                    #expect(end.bytes(of: "backup/" + file.name) == bytes + zeros, what)
                }
            }
            call += 1
        }
        #expect(call > 10)
    }

    /// A directory with an identity and without a manifest is one that a server starts on.
    @Test func aPowerCutLeavesNoIdentityWithoutAManifest() throws {
        try cutAtEachCall(
            of: SimDisk(seed: 1), [final(leaves, [8]), final(one, [5]), open(two, [9], size: 2)]
        ) { names, what in
            #expect(!names.contains("identity") || names.contains("backup"), what)
        }
    }

    /// What was given a name while it was open is not what it is when it is complete.
    @Test(arguments: [false, true])
    func aSegmentThatWasCompletedSince_isCopiedAgain(isRefresh: Bool) throws {
        let disk = SimDisk(seed: 1)
        if isRefresh {
            let folder = try BackupFolder("backup", disk: disk)
            try folder.finish(try copyAll([open(one, [4], size: 1)], sequence: 3, into: folder))
        }
        let three = "00000000000000000012.journal"
        try cutAtEachCall(
            of: disk, [final(one, [5]), open(two, [9], size: 2)],
            later: [final(one, [5]), final(two, [9, 7]), open(three, [6], size: 2)]
        ) { _, _ in }
    }

    /// An archive of segments looks like a part of a backup.
    @Test(arguments: ["00000000000000000001.journal", "mine.tmp", "keys"])
    func aFolderWithNeitherABackupNorTheBeginningOfOne_isRefused(name: String) throws {
        let disk = SimDisk(seed: 1)
        try disk.makeDirectory("backup")
        disk.replace("backup/" + name, with: [1])
        #expect {
            _ = try BackupFolder("backup", disk: disk)
        } throws: { error in
            "\(error)".contains(name) && "\(error)".contains("another folder")
        }
        #expect(disk.bytes(of: "backup/" + name) == [1])
    }

    @Test func aPowerCutLeavesNoGapInWhatGoes() throws {
        let disk = SimDisk(seed: 1)
        let old = (1...4).map { "0000000000000000000\($0).journal" }
        let snapshots = ["00000000000000000002.snapshot", "00000000000000000003.snapshot"]
        do {
            let folder = try BackupFolder("backup", disk: disk)
            let files = (old + snapshots).map { final($0, [5]) }
            try folder.finish(try copyAll(files, sequence: 4, into: folder))
        }
        let kept = "00000000000000000008.snapshot"
        try cutAtEachCall(
            of: disk, [final(kept, [6]), open(two, [9], size: 2)]
        ) { names, what in
            let left = old.filter { names.contains($0) }
            #expect(left == old.suffix(left.count), what)
            #expect(left == old || names.isDisjoint(with: snapshots), what)
        }
    }

    @Test func whatIsNotListedAnyMore_goes() throws {
        try makeFirst()
        let folder = try BackupFolder(path)
        let manifest = try copyAll([open(two, [9], size: 2)], sequence: 9, into: folder)
        try folder.finish(manifest)
        #expect(try names() == [two, "backup", "identity"])
    }
}
