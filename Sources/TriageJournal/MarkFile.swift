// The second mark: the journal's head, remembered in another file, so that a journal that was cut
// at a batch's end does not pass for a shorter one (FORMAT.md §11).

internal import TriageBase
internal import TriageIO

/// The mark file: two slots, written in turn.
final class MarkFile: Sendable {
    private let file: any DiskFile
    private let cluster: ClusterID
    private let housekeeping: Housekeeping
    /// That of the newer slot, which is known to be on disk.
    private let generation: Lock<UInt64>

    /// Goes on with a file, of which the newer slot is written once more as it was read.
    ///
    /// A killed process, or one whose sync failed, may have left it in a cache alone: it must stay
    /// true while the other one, which is on disk, is overwritten.
    ///
    /// - Throws: `.io`; `.dataLoss` and the like when neither slot verifies.
    /// - Durability: on disk when this returns
    init(
        settling file: any DiskFile, _ cluster: ClusterID, _ housekeeping: Housekeeping
    ) throws(JournalError) {
        self.file = file
        self.cluster = cluster
        self.housekeeping = housekeeping
        let newer = try Self.read(file, cluster)
        generation = Lock(newer.size)
        do { try Self.write(newer, to: file) } catch { throw .io(error) }
    }

    /// The generation of a new file, whose first slot has it.
    private static let firstGeneration: UInt64 = 2

    /// Makes the file, with the head of `tree` in it.
    ///
    /// - Durability: on disk when this returns
    static func make(
        _ disk: any Disk, _ directory: String, _ cluster: ClusterID, _ tree: MerkleTree,
        _ time: WallTime
    ) throws(IOError) {
        try makeFile(
            disk, directory, FileName.mark,
            HeaderBlock(
                kind: .mark, cluster: cluster, sequence: tree.size, time: time,
                size: firstGeneration, tree: tree),
            bytes: 2 * Format.blockBytes)
    }

    /// Overwrites the older slot with the head of `tree`.
    ///
    /// An error is counted; the newer slot stays true, and the next write is into the same slot,
    /// of which nobody knows what is on disk.
    ///
    /// - Isolation: one thread at a time; the helper's if there is one
    func write(_ tree: MerkleTree, _ time: WallTime) {
        let generation = self.generation.withLock { $0 } + 1
        let mark = HeaderBlock(
            kind: .mark, cluster: cluster, sequence: tree.size, time: time, size: generation,
            tree: tree)
        do {
            try Self.write(mark, to: file)
            self.generation.withLock { $0 = generation }
            housekeeping.markWritten(nil)
        } catch {
            housekeeping.markWritten(error)
        }
    }

    /// Writes the slot of its generation.
    private static func write(_ mark: HeaderBlock, to file: any DiskFile) throws(IOError) {
        var block = PageBuffer(capacity: Format.blockBytes)
        mark.store(in: &block)
        let offset = Int(mark.size % 2) * Format.blockBytes
        try file.write(block.span(0..<Format.blockBytes), at: offset)
        try file.sync()
    }

    /// The head that the newer good slot names; nil for that of a journal without records.
    static func head(
        _ file: any DiskFile, _ cluster: ClusterID
    ) throws(JournalError) -> JournalHead? {
        let header = try read(file, cluster)
        return header.sequence == 0 ? nil : header.tree.map { JournalHead($0) }
    }

    /// Reads the newer good slot.
    static func read(
        _ file: any DiskFile, _ cluster: ClusterID
    ) throws(JournalError) -> HeaderBlock {
        try newer(generation: \.size) { offset throws(JournalError) in
            try readHeader(of: file, .mark, FileName.mark, cluster, at: offset)
        }
    }

    /// The newer good slot, however a slot is read.
    ///
    /// One bad slot is what a crash while writing leaves behind; two are damage.
    static func newer<Header>(
        generation: (Header) -> UInt64, _ read: (Int) throws(JournalError) -> Header
    ) throws(JournalError) -> Header {
        var best: Header?
        var error: JournalError?
        for slot in 0..<2 {
            do {
                let header = try read(slot * Format.blockBytes)
                if generation(header) > best.map(generation) ?? 0 { best = header }
            } catch .dataLoss(let file, let offset, let what) {
                error = .dataLoss(file: file, offset: offset, what: what)
            }
        }
        if let best { return best }
        throw error ?? .dataLoss(file: FileName.mark, offset: 0, what: "no mark in it")
    }
}
