// Format version 1, for reading only (FORMAT-1.md): its header block, snapshots and mark. What
// version 2 has in common with it is used from there.

internal import TriageBase
internal import TriageIO

/// Sizes of version 1, and its header block.
enum OldFormat {
    static let version: UInt32 = 1
    static let batchHeaderBytes = 16
    static let batchTrailerBytes = 40
    static let recordHeaderBytes = 24
    static let snapshotBlockHeaderBytes = 32

    /// The first block of a file (FORMAT-1.md §3).
    struct Header {
        let cluster: ClusterID
        let sequence: UInt64
        let time: WallTime
        let size: UInt64
        let chain: Digest
    }

    /// The chain hash before the first record.
    static func genesis(_ cluster: ClusterID) -> Digest {
        var bytes = PageBuffer(capacity: Format.blockBytes)
        bytes.store(cluster, at: 0)
        return SHA256.hash(prefix: 2, bytes.span(0..<16))
    }

    /// Reads a file's header block and checks whose it is.
    ///
    /// - Throws: `.dataLoss`, `.foreignCluster`, `.newerVersion` when the file is of a later
    ///   version than its directory, `.io`.
    static func header(
        of file: any DiskFile, _ kind: FileKind, _ name: String, _ cluster: ClusterID?,
        at offset: Int = 0
    ) throws(JournalError) -> Header {
        var buffer = PageBuffer(capacity: Format.blockBytes)
        var target = buffer.mutableSpan(0..<Format.blockBytes)
        let count = try disk { () throws(IOError) in try file.read(into: &target, at: offset) }
        let block = buffer.span(0..<count)
        guard count == Format.blockBytes else {
            throw .dataLoss(
                file: name, offset: offset + count, what: "the file ends in its header")
        }
        guard block.loadUInt64(at: 0) == kind.magic, let found = HeaderBlock.version(block) else {
            throw .dataLoss(
                file: name, offset: offset, what: "this is not the header of a \(kind) file")
        }
        guard found <= version else {
            throw .newerVersion(file: name, found: found, supported: version)
        }
        guard found == version, block.extracting(56..<64).isZero,
            block.extracting(96..<Format.blockBytes).isZero
        else {
            throw .dataLoss(file: name, offset: offset, what: "the header is of no known version")
        }
        let header = Header(
            cluster: ClusterID(low: block.loadUInt64(at: 16), high: block.loadUInt64(at: 24)),
            sequence: block.loadUInt64(at: 32),
            time: WallTime(milliseconds: Int64(bitPattern: block.loadUInt64(at: 40))),
            size: block.loadUInt64(at: 48), chain: block.loadDigest(at: 64))
        if let cluster, header.cluster != cluster {
            throw .foreignCluster(file: name, expected: cluster, found: header.cluster)
        }
        return header
    }

    /// Opens a snapshot.
    static func snapshot(
        _ disk: any Disk, _ directory: String, _ sequence: UInt64, _ cluster: ClusterID
    ) throws(JournalError) -> SnapshotReader {
        let name = FileName.snapshot(sequence)
        let path = directory + "/" + name
        let file = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
        let header = try header(of: file, .snapshot, name, cluster)
        guard header.sequence == sequence else {
            throw .dataLoss(file: name, offset: 32, what: "its name and its header differ")
        }
        let head = SnapshotHead(
            head: JournalHead(sequence: sequence, root: header.chain), time: header.time,
            cluster: cluster, blockBytes: header.size)
        return try SnapshotReader(file, name, head) {
            SnapshotLayout(headerBytes: snapshotBlockHeaderBytes, unused: 24..<32, cipher: nil)
        }
    }

    /// The head that the mark remembers; nil for that of a journal without records.
    static func mark(
        _ file: any DiskFile, _ cluster: ClusterID
    ) throws(JournalError) -> JournalHead? {
        let header = try MarkFile.newer(generation: { (header: Header) in header.size }) {
            offset throws(JournalError) in
            try OldFormat.header(of: file, .mark, FileName.mark, cluster, at: offset)
        }
        return header.sequence == 0
            ? nil : JournalHead(sequence: header.sequence, root: header.chain)
    }
}
