// The folder that a backup is in: what is there already, how a file is taken in, and the manifest
// that makes a whole of them. Knows names and digests, not what is in a file.

internal import TriageBase
internal import TriageIO

/// Why a folder cannot take a backup.
struct BackupProblem: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }

    /// A call of the disk that failed, and what to do.
    init(_ error: IOError) {
        let isFull = error.errno == .noSpace || error.errno == .quotaExceeded
        self.init(
            "\(error)"
                + (isFull ? ": make room and run it again, what was copied stays" : ""))
    }
}

/// A file of a backup, as the server lists it.
struct ListedFile: Equatable {
    let name: String
    /// Bytes to be read from its front.
    let count: Int
    /// Bytes in the folder.
    let size: Int
    /// Whether it never changes any more.
    let isFinal: Bool

    /// No disk has more.
    private static let sizeMax = 1 << 50

    /// Whether there is such a file.
    ///
    /// Only a segment that goes on has more bytes than are read, which are zeros then.
    var isPossible: Bool {
        0 <= count && count <= size && size <= Self.sizeMax
            && size - count <= (isFinal ? 0 : Limits.segmentBytes)
    }
}

/// What the manifest says of a file.
struct ManifestFile: Equatable {
    let name: String
    let sha256: String
    let size: Int
    let isFinal: Bool
}

/// The manifest of a backup (FORMAT.md §16).
struct BackupManifest: Equatable {
    static let magic = "triaged/backup@v1"

    var sequence: Int64
    var root: String
    var files: [ManifestFile]

    init(sequence: Int64, root: String, files: [ManifestFile]) {
        self.sequence = sequence
        self.root = root
        self.files = files
    }

    /// Reads a manifest; nil when it is none.
    init?(_ text: String) {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)[...]
        func value(_ key: String) -> Substring? {
            guard let line = lines.popFirst(), line.hasPrefix(key + " ") else { return nil }
            return line.dropFirst(key.utf8.count + 1)
        }
        guard lines.popFirst() == Substring(Self.magic), lines.popLast() == "",
            let sequence = value("sequence").flatMap({ Int64($0) }), let root = value("root")
        else { return nil }
        self.init(sequence: sequence, root: String(root), files: [])
        for line in lines {
            let words = line.split(separator: " ")
            guard words.count == 4, words[0] == "final" || words[0] == "open",
                let size = Int(words[2])
            else { return nil }
            files.append(
                ManifestFile(
                    name: String(words[3]), sha256: String(words[1]), size: size,
                    isFinal: words[0] == "final"))
        }
    }

    var description: String {
        "\(Self.magic)\nsequence \(sequence)\nroot \(root)\n"
            + files.map {
                "\($0.isFinal ? "final" : "open") \($0.sha256) \($0.size) \($0.name)\n"
            }.joined()
    }
}

/// The folder.
///
/// ```
///   open (locks it) --> take a file, take a file ... --> finish
/// ```
///
/// Everything waits until all of it is here, what never changes under `NAME.whole.tmp` and what may
/// change under `NAME.tmp`, so that the backup of before stays as it is. ``finish(_:)`` gives the
/// names, in an order in which what is there verifies at each moment. A name that no manifest knows
/// says nothing: it may be what a segment was that has gone on since.
///
/// - Isolation: one task at a time.
final class BackupFolder {
    static let manifestName = "backup"
    static let identityName = "identity"

    private let path: String
    private let disk: any Disk
    private let lock: any DiskLock
    private(set) var manifest: BackupManifest?
    /// Name to size of what is there.
    private var sizes: [String: Int] = [:]
    private var known: [String: ManifestFile] = [:]

    /// Of what has come whole, and waits.
    private static let wholeSuffix = ".whole.tmp"
    /// The identity, which comes first; without a manifest it shows whose folder this is.
    private static let waitingIdentity = identityName + wholeSuffix
    private static let manifestBytesMax = 256 << 20
    private static let chunkBytes = 1 << 20

    /// Makes the folder if absent, locks it, and looks at what it holds.
    ///
    /// - Throws: ``BackupProblem``.
    init(_ path: String, disk: any Disk = RealDisk()) throws(BackupProblem) {
        self.path = path
        self.disk = disk
        do throws(IOError) {
            try disk.makeDirectory(path)
            for entry in try disk.list(path) where !Self.isPart(entry) {
                throw IOError(.open, path: entry.name, .exists)
            }
            switch try disk.lock(path + "/lock") {
            case .acquired(let lock): self.lock = lock
            case .held(let processID):
                throw IOError(.lock, path: "\(path) (process \(processID ?? 0))", .wouldBlock)
            }
        } catch {
            switch (error.operation, error.errno) {
            case (.open, .exists):
                throw BackupProblem(
                    "\(path) holds \(error.path), which is no part of a backup: name another "
                        + "folder")
            case (.lock, .wouldBlock):
                throw BackupProblem("\(error.path) is in use: wait for the other one to end")
            default: throw BackupProblem(error)
            }
        }
        try look()
    }

    private static func isPart(_ entry: DirectoryEntry) -> Bool {
        if entry.isDirectory { return entry.name == "vault" || entry.name == "lost+found" }
        return ["lock", manifestName, identityName, "keys", "heads"].contains(entry.name)
            || [".journal", ".leaves", ".snapshot", ".tmp"].contains { entry.name.hasSuffix($0) }
    }

    private func look() throws(BackupProblem) {
        do throws(IOError) {
            let entries = try disk.list(path)
            var names = entries.filter { !$0.isDirectory }.map(\.name)
            if entries.contains(where: { $0.name == "vault" }) {
                names += try disk.list(path + "/vault").filter { !$0.isDirectory }
                    .map { "vault/" + $0.name }
            }
            for name in names { sizes[name] = try disk.open(path + "/" + name, .read).size() }
        } catch { throw BackupProblem(error) }
        if sizes[Self.manifestName] != nil {
            do throws(IOError) { manifest = try readManifest() } catch {
                throw BackupProblem(error)
            }
            guard manifest != nil else {
                throw BackupProblem(
                    "\(path)/\(Self.manifestName) is damaged: name another folder, or empty this "
                        + "one and have everything copied again")
            }
        } else if sizes[Self.identityName] != nil {
            throw BackupProblem("\(path) is a data directory and no backup: name another folder")
        } else if sizes[Self.waitingIdentity] == nil, let name = foreignName() {
            throw BackupProblem(
                "\(path) holds \(name), and neither a backup nor the beginning of one: name "
                    + "another folder")
        }
        for file in manifest?.files ?? [] { known[file.name] = file }
    }

    /// Something that was there before a backup was begun, such as segments in an archive.
    private func foreignName() -> String? {
        sizes.keys.sorted().first { $0 != "lock" && $0 != Self.identityName + ".tmp" }
    }

    private func readManifest() throws(IOError) -> BackupManifest? {
        let file = try disk.open(path + "/" + Self.manifestName, .read)
        let size = try file.size()
        guard 0 < size, size <= Self.manifestBytesMax else { return nil }
        var buffer = PageBuffer(capacity: size)
        let count = try file.read(into: &buffer, 0..<size, at: 0)
        let bytes = [UInt8](copying: buffer.span(0..<count))
        return String(validating: bytes, as: UTF8.self).flatMap { BackupManifest($0) }
    }

    /// Refuses files of another directory, or of another line of its history.
    ///
    /// - Parameter digest: Of the identity that the server has.
    /// - Throws: ``BackupProblem``.
    func expect(identity digest: String) throws(BackupProblem) {
        // The latter is of a run that did not come to its end.
        let waiting = Self.waitingIdentity
        for name in [Self.identityName, waiting] where sizes[name] != nil {
            guard try self.digest(name) == digest else {
                throw BackupProblem(
                    "\(path) is the backup of another data directory, or of this one before it was "
                        + "restored: name another folder")
            }
        }
        if sizes[Self.identityName] != nil || sizes[waiting] != nil { return }
        do throws(IOError) {
            try rename(Self.identityName + ".tmp", to: waiting)
            try disk.syncDirectory(path)
        } catch { throw BackupProblem(error) }
    }

    /// What is there of a file already; nil: it must be copied.
    ///
    /// - Throws: ``BackupProblem``.
    func kept(_ file: ListedFile) throws(BackupProblem) -> ManifestFile? {
        guard file.isFinal else { return nil }
        if let known = known[file.name], known.isFinal, known.size == file.size,
            sizes[file.name] == file.size
        {
            return known
        }
        // Of a run that did not come to its end.
        let name = file.name + Self.wholeSuffix
        guard sizes[name] == file.size else { return nil }
        return ManifestFile(
            name: file.name, sha256: try digest(name), size: file.size, isFinal: true)
    }

    /// Begins to take a file in.
    ///
    /// - Throws: ``BackupProblem``.
    func begin(_ file: ListedFile) throws(BackupProblem) -> IncomingFile {
        do throws(IOError) {
            if file.name.hasPrefix("vault/") { try disk.makeDirectory(path + "/vault") }
            sizes[file.name + ".tmp"] = nil
            return IncomingFile(
                file, try disk.open(path + "/" + file.name + ".tmp", .create))
        } catch { throw BackupProblem(error) }
    }

    /// Takes a file in that has come whole.
    ///
    /// - Throws: ``BackupProblem``.
    func take(_ incoming: IncomingFile) throws(BackupProblem) -> ManifestFile {
        let taken = try incoming.finish()
        sizes[taken.name + ".tmp"] = taken.size
        guard taken.isFinal else { return taken }
        do throws(IOError) {
            try rename(taken.name + ".tmp", to: taken.name + Self.wholeSuffix)
        } catch { throw BackupProblem(error) }
        return taken
    }

    private func rename(_ name: String, to newName: String) throws(IOError) {
        try disk.rename(path + "/" + name, to: path + "/" + newName)
        sizes[newName] = sizes.removeValue(forKey: name)
    }

    /// Makes the backup: names, manifest, and nothing else stays.
    ///
    /// - Throws: ``BackupProblem``; run again, it goes on.
    /// - Durability: on disk when this returns
    func finish(_ manifest: BackupManifest) throws(BackupProblem) {
        let names = Set(manifest.files.map(\.name))
        let hasVault = names.contains { $0.hasPrefix("vault/") } || sizes["vault/keys"] != nil
        do throws(IOError) {
            let text = Array(manifest.description.utf8)
            let file = try disk.open(path + "/" + Self.manifestName + ".tmp", .create)
            sizes[Self.manifestName + ".tmp"] = text.count
            try file.write(text.span, at: 0)
            try file.sync()
            try sync(hasVault)
            for step in FileStep.allCases {
                if step == .identity {
                    try rename(Self.manifestName + ".tmp", to: Self.manifestName)
                    // Without it, what has an identity is a data directory.
                    try disk.syncDirectory(path)
                }
                try give(names: manifest.files, step, hasVault)
            }
            try removeOthers(names, hasVault)
        } catch { throw BackupProblem(error) }
    }

    /// Removes what the manifest does not name.
    private func removeOthers(_ names: Set<String>, _ hasVault: Bool) throws(IOError) {
        var others = sizes.keys.sorted().filter {
            !names.contains($0) && $0 != Self.manifestName && $0 != "lock"
        }
        // Snapshots before the segments that they stand for, and of these the oldest first: each is
        // gone for good before the next one goes, and so none is missing between others.
        for step in [FileStep.snapshots, .segments] {
            for name in others where FileStep(of: name) == step {
                try disk.remove(path + "/" + name)
                try disk.syncDirectory(path)
            }
            others.removeAll { FileStep(of: $0) == step }
        }
        for name in others { try disk.remove(path + "/" + name) }
        try sync(hasVault)
    }

    private func sync(_ hasVault: Bool) throws(IOError) {
        if hasVault { try disk.syncDirectory(path + "/vault") }
        try disk.syncDirectory(path)
    }

    /// Gives what waits its name, if it is of this step.
    private func give(
        names files: [ManifestFile], _ step: FileStep, _ hasVault: Bool
    ) throws(IOError) {
        let mine = files.filter { FileStep(of: $0.name) == step }.sorted { $0.name < $1.name }
        for file in mine {
            let whole = file.name + Self.wholeSuffix
            let waiting = sizes[whole] != nil ? whole : file.isFinal ? nil : file.name + ".tmp"
            guard let waiting else { continue }
            try rename(waiting, to: file.name)
            if step == .segments { try disk.syncDirectory(path) }
        }
        try sync(hasVault)
    }

    /// Reads everything back.
    ///
    /// - Parameters:
    ///   - manifest: What there should be.
    ///   - each: Called with the bytes of each file that was read.
    /// - Returns: Names of what is not as the manifest says.
    func damaged(_ manifest: BackupManifest, each: (Int) -> Void) -> [String] {
        manifest.files.compactMap { file in
            defer { each(file.size) }
            let found = try? digest(file.name)
            return found == file.sha256 ? nil : file.name
        }
    }

    /// SHA-256 of a file.
    private func digest(_ name: String) throws(BackupProblem) -> String {
        do throws(IOError) {
            let file = try disk.open(path + "/" + name, .read)
            var hash = SHA256()
            var buffer = PageBuffer(capacity: Self.chunkBytes)
            var offset = 0
            while true {
                let count = try file.read(into: &buffer, 0..<Self.chunkBytes, at: offset)
                if count == 0 { return hash.finalize().description }
                hash.update(buffer.span(0..<count))
                offset += count
            }
        } catch { throw BackupProblem(error) }
    }
}

/// In which order files get their names.
private enum FileStep: CaseIterable {
    /// What opens the others; objects before what refers to them; the journal before what tells of
    /// its records; last what says that there is a directory.
    case keys, objects, objectKeys, segments, heads, snapshots, leaves, identity

    init?(of name: String) {
        switch name {
        case "keys": self = .keys
        case "vault/keys": self = .objectKeys
        case "heads": self = .heads
        case BackupFolder.identityName: self = .identity
        default:
            guard let dot = name.lastIndex(of: ".") else { return nil }
            switch name[dot...] {
            case ".object": self = .objects
            case ".journal": self = .segments
            case ".snapshot": self = .snapshots
            case ".leaves": self = .leaves
            default: return nil
            }
        }
    }
}

/// A file that comes piece by piece.
final class IncomingFile {
    private let listed: ListedFile
    private let file: any DiskFile
    private var hash = SHA256()
    private var offset = 0
    private var isWhole = false

    init(_ listed: ListedFile, _ file: any DiskFile) {
        self.listed = listed
        self.file = file
    }

    /// Takes the next bytes.
    func append(_ bytes: [UInt8]) throws(BackupProblem) {
        hash.update(bytes.span)
        try write(bytes)
    }

    private func write(_ bytes: [UInt8]) throws(BackupProblem) {
        do throws(IOError) { try file.write(bytes.span, at: offset) } catch {
            throw BackupProblem(error)
        }
        offset += bytes.count
    }

    /// Compares what came with the server's digest.
    func end(sha256: String) throws(BackupProblem) {
        guard hash.finalize().description == sha256 else {
            throw BackupProblem("other bytes of \(listed.name) came than the server has read")
        }
        isWhole = true
    }

    /// Makes the content durable.
    fileprivate func finish() throws(BackupProblem) -> ManifestFile {
        guard isWhole else {
            throw BackupProblem("the server did not send all of \(listed.name): run it again")
        }
        // A segment that is not full yet has its length from the start.
        while listed.size > listed.count, offset < listed.size {
            let zeros = [UInt8](repeating: 0, count: min(1 << 20, listed.size - offset))
            try append(zeros)
        }
        do throws(IOError) { try file.sync() } catch { throw BackupProblem(error) }
        return ManifestFile(
            name: listed.name, sha256: hash.finalize().description, size: offset,
            isFinal: listed.isFinal)
    }
}
