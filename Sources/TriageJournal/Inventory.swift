// What a data directory holds, by name: segments, snapshots, leftovers. Reads names and the
// identity, nothing else, and changes nothing.

internal import TriageBase
internal import TriageIO

/// The files of a data directory.
struct Inventory {
    /// First sequences of segments, rising.
    var segments: [UInt64] = []
    /// First sequences of segments whose leaves are there, rising.
    var leaves: [UInt64] = []
    /// Sequences of snapshots, rising.
    var snapshots: [UInt64] = []
    /// Names under which nothing was finished.
    var temporaries: [String] = []
    var hasIdentity = false
    var hasKeys = false
    var hasMark = false
    var hasHeads = false
    /// Whether it is a backup, which no server writes into.
    var isBackup = false

    /// Lists `directory`.
    ///
    /// - Throws: `.foreignFile`, `.io`.
    init(_ disk: any Disk, _ directory: String) throws(JournalError) {
        let entries = try TriageJournal.disk { () throws(IOError) in try disk.list(directory) }
        for entry in entries {
            switch FileName.meaning(of: entry) {
            case .segment(let first): segments.append(first)
            case .leaves(let first): leaves.append(first)
            case .snapshot(let sequence): snapshots.append(sequence)
            case .identity: hasIdentity = true
            case .keys: hasKeys = true
            case .mark: hasMark = true
            case .temporary: temporaries.append(entry.name)
            case .heads: hasHeads = true
            case .backup: isBackup = true
            case .ignored: break
            case .foreign: throw .foreignFile(file: entry.name)
            }
        }
    }

    /// First sequences of the segments in an archive, rising; what else is there is its owner's.
    ///
    /// - Throws: `.io`.
    static func archived(
        _ disk: any Disk, _ archive: String
    ) throws(JournalError) -> [UInt64] {
        let entries = try TriageJournal.disk { () throws(IOError) in try disk.list(archive) }
        return entries.compactMap { entry in
            guard case .segment(let first) = FileName.meaning(of: entry) else { return nil }
            return first
        }.sorted()
    }

    /// Whether nothing was ever finished here.
    var isEmpty: Bool {
        segments.isEmpty && leaves.isEmpty && snapshots.isEmpty && !hasIdentity && !hasKeys
            && !hasMark && !hasHeads
    }

    /// First sequences of segments that are complete and have no leaves, rising.
    var withoutLeaves: [UInt64] {
        let known = Set(leaves)
        return segments.dropLast().filter { !known.contains($0) }
    }

    /// The fault when segments are gone from the end; nil: nothing tells so.
    ///
    /// Leaves are there whose segment is the last one, or is behind it.
    var lostEnd: JournalError? {
        guard let first = leaves.first(where: { $0 >= segments.last ?? 0 }) else { return nil }
        return .dataLoss(
            file: FileName.leaves(first), offset: 0,
            what: "the segment of that name was complete, and none follows it any more")
    }
}

/// Reads the identity file.
func readIdentity(_ disk: any Disk, _ directory: String) throws(JournalError) -> ClusterID {
    let path = directory + "/" + FileName.identity
    let file = try TriageJournal.disk { () throws(IOError) in try disk.open(path, .read) }
    let size = try TriageJournal.disk { () throws(IOError) in try file.size() }
    let header = try readHeader(of: file, .identity, FileName.identity, nil)
    guard size == Format.blockBytes else {
        throw .dataLoss(
            file: FileName.identity, offset: min(size, Format.blockBytes),
            what: "it is longer than an identity")
    }
    return header.cluster
}

/// Makes the identity file: without it no server starts where anything else is.
///
/// - Durability: on disk when this returns
func makeIdentity(
    _ disk: any Disk, _ directory: String, _ cluster: ClusterID, _ time: WallTime
) throws(JournalError) {
    try TriageJournal.disk { () throws(IOError) in
        try makeFile(
            disk, directory, FileName.identity,
            HeaderBlock(kind: .identity, cluster: cluster, time: time), bytes: Format.blockBytes)
    }
}
