// The `keys` file (FORMAT.md §4): wrapped keys in two equal copies, replaced as a whole. Reads and
// writes it; unwraps nothing.

package import TriageBase
internal import TriageCrypto
package import TriageIO

/// One key as it lies in `keys`.
package struct KeyEntry: Equatable, Sendable {
    /// What a key is for.
    package enum Kind: UInt16, CaseIterable, Sendable, CustomStringConvertible {
        /// File keys and objects' keys come from it.
        case data = 1
        /// It signs heads.
        case signing = 2

        package var description: String {
            switch self {
            case .data: "data"
            case .signing: "signing"
            }
        }
    }

    /// Whether new things are made with it.
    package enum State: UInt16, CaseIterable, Sendable {
        /// For new files or heads.
        case inUse = 1
        /// To read or verify what is older.
        case kept = 2
    }

    /// Its number; never used twice in a directory.
    package let number: UInt32
    /// What it is for.
    package let kind: Kind
    /// Whether new things are made with it.
    package var state: State
    /// When it was made.
    package var made: WallTime
    /// Which KEK wraps it.
    package var kek: KeyID
    var nonce = Nonce(0, 0)
    /// 32 bytes.
    var sealed: [UInt8] = []
    var tag = Tag(0, 0)
    /// 32 bytes; zero for a data key.
    var publicKey: [UInt8]

    /// What is authenticated with the wrapped key: its place in this deployment, and what it is.
    func additional(_ cluster: ClusterID) -> [UInt8] {
        var buffer = PageBuffer(capacity: KeyFile.entryBytes)
        buffer.store(cluster.low, at: 0)
        buffer.store(cluster.high, at: 8)
        let prefix = [UInt8](copying: buffer.span(0..<16))
        store(in: &buffer, at: 0, crcKey: 0)
        return prefix + [UInt8](copying: buffer.span(4..<32))
            + [UInt8](copying: buffer.span(92..<124))
    }

    func store(in buffer: inout PageBuffer, at offset: Int, crcKey: UInt32) {
        buffer.zero(offset..<offset + KeyFile.entryBytes)
        buffer.store(number, at: offset + 4)
        buffer.store(UInt32(kind.rawValue) | UInt32(state.rawValue) << 16, at: offset + 8)
        buffer.store(UInt64(bitPattern: made.milliseconds), at: offset + 16)
        buffer.store(kek.value, at: offset + 24)
        buffer.store(nonce.low, at: offset + 32)
        buffer.store(nonce.high, at: offset + 40)
        buffer.copy(sealed.span, to: offset + 44)
        buffer.store(tag.low, at: offset + 76)
        buffer.store(tag.high, at: offset + 84)
        buffer.copy(publicKey.span, to: offset + 92)
        let crc = crc32c(buffer.span(offset + 4..<offset + KeyFile.entryBytes), after: crcKey)
        buffer.store(crc, at: offset)
    }
}

extension KeyEntry {
    /// Reads an entry; nil when it does not verify.
    init?(_ bytes: Span<UInt8>, crcKey: UInt32) {
        guard
            bytes.loadUInt32(at: 0)
                == crc32c(bytes.extracting(4..<KeyFile.entryBytes), after: crcKey),
            let kind = Kind(rawValue: UInt16(truncatingIfNeeded: bytes.loadUInt32(at: 8))),
            let state = State(rawValue: UInt16(truncatingIfNeeded: bytes.loadUInt32(at: 8) >> 16)),
            bytes.loadUInt32(at: 12) == 0, bytes.loadUInt32(at: 124) == 0,
            kind == .signing || bytes.extracting(92..<124).isZero
        else { return nil }
        self.init(
            number: bytes.loadUInt32(at: 4), kind: kind, state: state,
            made: WallTime(milliseconds: Int64(bitPattern: bytes.loadUInt64(at: 16))),
            kek: KeyID(bytes.loadUInt64(at: 24)),
            nonce: Nonce(bytes.loadUInt64(at: 32), bytes.loadUInt32(at: 40)),
            sealed: [UInt8](copying: bytes.extracting(44..<76)),
            tag: Tag(bytes.loadUInt64(at: 76), bytes.loadUInt64(at: 84)),
            publicKey: [UInt8](copying: bytes.extracting(92..<124)))
    }
}

/// What was read of `keys`, still wrapped.
package struct KeyFile: Equatable, Sendable {
    /// Which deployment it belongs to.
    package var cluster: ClusterID
    /// How often it was written.
    package var generation: UInt64
    /// When it was written.
    package var written: WallTime
    /// The keys, in the order in which they were made.
    package var entries: [KeyEntry]
    /// What is wrong with the other copy: the file is to be written anew; nil when both are equal.
    package var damage: Damage?

    /// A copy that does not verify, or that differs from the first.
    package struct Damage: Equatable, Sendable {
        /// Where in the file.
        package let offset: Int
        /// What was found.
        package let what: String
    }

    static let entryBytes = 128
    /// Keys in a file at most: a new data key a day for more than five years.
    package static let entriesMax = 2_048

    /// Reads the file of a data directory.
    ///
    /// - Returns: nil when the directory has none: it is not encrypted.
    /// - Throws: `.dataLoss` when neither copy is good, `.newerVersion`, `.io`.
    package static func read(
        _ directory: String, disk: any Disk = RealDisk()
    ) throws(JournalError) -> KeyFile? {
        let isThere = try TriageJournal.disk { () throws(IOError) in
            try disk.list(directory).contains { $0.name == FileName.keys }
        }
        return isThere ? try KeyFile(disk, directory) : nil
    }

    /// Reads the file.
    ///
    /// - Returns: What the first good copy says.
    /// - Throws: `.dataLoss` when neither is good, `.newerVersion`, `.io`.
    package init(_ disk: any Disk, _ directory: String) throws(JournalError) {
        let content: PageBuffer
        let size: Int
        do {
            let file = try disk.open(directory + "/" + FileName.keys, .read)
            size = try file.size()
            let half = Self.copyBytes(entryCount: Self.entriesMax)
            var buffer = PageBuffer(capacity: min(size, 2 * half))
            guard size <= 2 * half, size % (2 * Format.blockBytes) == 0,
                size >= 4 * Format.blockBytes,
                try file.read(into: &buffer, 0..<size, at: 0) == size
            else {
                throw JournalError.dataLoss(
                    file: FileName.keys, offset: size, what: "the file has an impossible length")
            }
            content = buffer
        } catch let error as JournalError {
            throw error
        } catch let error as IOError {
            throw .io(error)
        } catch {
            throw .dataLoss(file: FileName.keys, offset: 0, what: "unreadable")
        }
        let half = size / 2
        let first = try Self.copy(content.span(0..<half), at: 0)
        let second = try Self.copy(content.span(half..<size), at: half)
        switch (first, second) {
        case (.good(let file), .good(let other)):
            self = file
            if other != file {
                damage = Damage(offset: half, what: "the second copy differs from the first")
            }
        case (.good(let file), .bad(let damage)), (.bad(let damage), .good(let file)):
            self = file
            self.damage = damage
        case (.bad(let damage), .bad):
            throw .dataLoss(file: FileName.keys, offset: damage.offset, what: damage.what)
        }
    }

    private enum Copy {
        case good(KeyFile)
        case bad(Damage)
    }

    private static func copy(_ bytes: Span<UInt8>, at offset: Int) throws(JournalError) -> Copy {
        let header: HeaderBlock
        do throws(JournalError) {
            header = try HeaderBlock(
                bytes.extracting(0..<Format.blockBytes), .keys, file: FileName.keys, offset: offset)
        } catch .dataLoss(_, let offset, let what) {
            return .bad(Damage(offset: offset, what: what))
        }
        let crcKey = Format.key(header.cluster)
        var entries: [KeyEntry] = []
        var at = Format.blockBytes
        while at < bytes.count, bytes.loadUInt32(at: at + 4) != 0 {
            let entry = KeyEntry(bytes.extracting(at..<at + entryBytes), crcKey: crcKey)
            guard let entry, entry.number > entries.last?.number ?? 0 else {
                return .bad(Damage(offset: offset + at, what: "a key's entry does not verify"))
            }
            entries.append(entry)
            at += entryBytes
        }
        guard bytes.extracting(at..<bytes.count).isZero else {
            return .bad(Damage(offset: offset + at, what: "something stands behind the last key"))
        }
        for kind in KeyEntry.Kind.allCases
        where entries.filter({ $0.kind == kind && $0.state == .inUse }).count != 1 {
            return .bad(
                Damage(
                    offset: offset + Format.blockBytes, what: "not one \(kind) key is in use"))
        }
        return .good(
            KeyFile(
                cluster: header.cluster, generation: header.size, written: header.time,
                entries: entries))
    }

    init(cluster: ClusterID, generation: UInt64, written: WallTime, entries: [KeyEntry]) {
        self.cluster = cluster
        self.generation = generation
        self.written = written
        self.entries = entries
    }

    private static func copyBytes(entryCount: Int) -> Int {
        Format.blockBytes + roundUp(max(entryCount, 1) * entryBytes, to: Format.blockBytes)
    }

    /// Replaces the file as a whole.
    ///
    /// - Durability: on disk when this returns; after an error the old or the new file is
    func write(_ disk: any Disk, _ directory: String) throws(IOError) {
        let half = Self.copyBytes(entryCount: entries.count)
        var buffer = PageBuffer(capacity: 2 * half)
        let crcKey = Format.key(cluster)
        for start in [0, half] {
            HeaderBlock(kind: .keys, cluster: cluster, time: written, size: generation)
                .store(in: &buffer, at: start)
            for (index, entry) in entries.enumerated() {
                let offset = start + Format.blockBytes + index * Self.entryBytes
                entry.store(in: &buffer, at: offset, crcKey: crcKey)
            }
        }
        let name = directory + "/" + FileName.keys
        let file = try disk.open(name + ".tmp", .create)
        try file.write(buffer, 0..<2 * half, at: 0)
        try file.sync()
        try disk.rename(name + ".tmp", to: name)
        try disk.syncDirectory(directory)
    }
}
