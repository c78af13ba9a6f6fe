// What two data directories have in common and where they part, from the digests of their trees:
// how far their journals are the same, the first record that differs, which evidence only one has.
// Shows sequences, times and digests, and nothing of what a record says.

package import TriageBase
internal import TriageIO

/// A record as a difference names it.
package struct NamedRecord: Equatable, Sendable {
    /// Its leaf in the tree.
    package let leaf: Digest
    /// Its wall time; nil when its segment is not there any more.
    package let time: WallTime?
}

/// One of two directories that are compared.
package struct ComparedDirectory: Equatable, Sendable {
    /// Which deployment.
    package let cluster: ClusterID
    /// Records of its journal.
    package let records: UInt64
    /// Sequences of its snapshots, rising.
    package let snapshots: [UInt64]
    /// The record behind the common ones; nil when it ends there.
    package let next: NamedRecord?
    /// Objects in its vault that the other one has not.
    package let objects: Int
}

/// How two directories differ.
package struct DirectoryDifference: Equatable, Sendable {
    /// One of them.
    package let a: ComparedDirectory
    /// The other one.
    package let b: ComparedDirectory
    /// Up to this head the journals are the same, record by record.
    package let common: JournalHead

    /// Whether both have the same records and the same evidence.
    package var isNone: Bool {
        a.next == nil && b.next == nil && a.objects == 0 && b.objects == 0
            && a.cluster == b.cluster
    }

    /// Compares two directories.
    ///
    /// Believes leaves and headers: whether each directory is as it was written is
    /// ``Inspection/verify(progress:)``'s to say.
    ///
    /// - Throws: `.olderVersion` for a directory that has no tree; `.dataLoss`, `.gap` for one
    ///   whose digests are missing or contradict each other; `.io`.
    /// - Complexity: O(log n) digests, each from the leaves of one segment
    package init(_ a: Inspection, _ b: Inspection) throws(JournalError) {
        var mine = try Side(a)
        var other = try Side(b)
        let common = try Self.common(&mine.store, &other.store)
        self.common = JournalHead(common)
        self.a = try mine.compared(behind: common.size, objectsOf: other)
        self.b = try other.compared(behind: common.size, objectsOf: mine)
        if let leaf = self.a.next?.leaf, leaf == self.b.next?.leaf {
            throw .dataLoss(
                file: FileName.leaves(common.size + 1), offset: 0,
                what: "digests of one directory contradict each other around record "
                    + "\(common.size + 1): run `triaged inspect verify` on both")
        }
    }

    /// The tree over the records that both begin with.
    private static func common(
        _ a: inout LeafStore, _ b: inout LeafStore
    ) throws(JournalError) -> MerkleTree {
        var tree = MerkleTree()
        let size = min(a.size, b.size)
        var level = 63 - max(1, size).leadingZeroBitCount
        // The perfect subtrees of the smaller one from left to right, and down into the first one
        // that differs: what is compared next always begins behind what is the same.
        var hasDiffered = false
        while level >= 0 {
            defer { level -= 1 }
            guard hasDiffered || size >> UInt64(level) & 1 == 1 else { continue }
            let index = tree.size >> UInt64(level)
            let root = try a.subtree(level: level, index: index)
            if root == (try b.subtree(level: level, index: index)) {
                tree.append(subtree: root, level: level)
            } else {
                hasDiffered = true
            }
        }
        return tree
    }

    /// A directory with its digests.
    private struct Side {
        let inspection: Inspection
        let snapshots: [UInt64]
        let objects: Set<String>
        var store: LeafStore

        init(_ inspection: Inspection) throws(JournalError) {
            guard inspection.version == Format.version else {
                throw .olderVersion(
                    file: FileName.identity, found: inspection.version, supported: Format.version)
            }
            self.inspection = inspection
            let disk = inspection.disk
            snapshots = try Inventory(disk, inspection.path).snapshots
            objects = Set(
                try listVault(disk, inspection.path).map(\.name)
                    .filter { $0.hasSuffix(VaultLayout.suffix) })
            store = try LeafStore(
                disk, inspection.path, try inspection.parts(withLeaves: true),
                inspection.segmentReader)
        }

        mutating func compared(
            behind last: UInt64, objectsOf other: Side
        ) throws(JournalError) -> ComparedDirectory {
            var next: NamedRecord?
            if store.size > last {
                next = NamedRecord(
                    leaf: try store.subtree(level: 0, index: last),
                    time: try inspection.time(of: last + 1))
            }
            return ComparedDirectory(
                cluster: inspection.cluster, records: store.size, snapshots: snapshots,
                next: next, objects: objects.subtracting(other.objects).count)
        }
    }
}

extension Inspection {
    /// The wall time of a record; nil when its segment is not there.
    ///
    /// - Throws: `.dataLoss` when the segment does not verify up to it; `.io`.
    func time(of sequence: UInt64) throws(JournalError) -> WallTime? {
        let part = try parts(withLeaves: true).last { $0.first <= sequence }
        guard let part, let directory = part.directory else { return nil }
        let segment = try segmentReader.read(
            part.first, in: directory, isLast: part.isLast,
            memory: PageBuffer(capacity: Format.blockBytes))
        let batch = segment.batches.last { $0.first <= sequence }
        guard let batch, sequence < batch.first + batch.count else {
            throw segment.problem ?? .gap(file: segment.file, missing: sequence)
        }
        let records = segment.bytes.extracting(0..<batch.records.upperBound)
        var offset = batch.records.lowerBound
        var current = batch.first
        while let record = RecordLayout(records, at: offset) {
            if current == sequence { return record.time(records) }
            current += 1
            offset = record.end
        }
        return nil
    }
}
