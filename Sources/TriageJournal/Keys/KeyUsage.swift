// Which keys of `keys` something in the directory still needs: read from the headers of its files
// and from the vault's table, without opening anything.

internal import TriageBase
package import TriageIO

/// What needs a data key, by the key's number.
package struct KeyUsage: Equatable, Sendable {
    /// Segments, those in the archive included if it was looked at.
    package var segments: [UInt32: Int] = [:]
    package var snapshots: [UInt32: Int] = [:]
    /// Objects of the vault.
    package var objects: [UInt32: Int] = [:]
    /// Segments of which only the leaves are here: retention took them.
    ///
    /// They may need any key.
    package var elsewhere = 0

    /// Whether nothing needs the key.
    package func isFree(_ number: UInt32) -> Bool {
        segments[number] == nil && snapshots[number] == nil && objects[number] == nil
    }

    /// Looks at a directory.
    ///
    /// - Parameters:
    ///   - data: The data directory.
    ///   - archive: Where older segments were moved; nil: they are not looked at.
    ///   - disk: The file system.
    /// - Throws: `.dataLoss` for a file whose header does not verify, `.foreignFile`, `.io`.
    package init(
        of data: String, archive: String? = nil, disk: any Disk = RealDisk()
    ) throws(JournalError) {
        let inventory = try Inventory(disk, data)
        let cluster = try readIdentity(disk, data)
        for first in inventory.segments {
            let header = try Self.header(disk, data, FileName.segment(first), .segment, cluster)
            segments[header.keyNumber, default: 0] += 1
        }
        var leaves = Set(inventory.leaves).subtracting(inventory.segments)
        for sequence in inventory.snapshots {
            let header = try Self.header(
                disk, data, FileName.snapshot(sequence), .snapshot, cluster)
            snapshots[header.keyNumber, default: 0] += 1
        }
        if let archive {
            for first in try Inventory.archived(disk, archive) {
                let header = try Self.header(
                    disk, archive, FileName.segment(first), .segment, cluster)
                segments[header.keyNumber, default: 0] += 1
                leaves.remove(first)
            }
        }
        elsewhere = leaves.count
        let vault = data + "/" + FileName.vault
        let hasTable = try TriageJournal.disk { () throws(IOError) in
            guard
                try disk.list(data).contains(where: { $0.isDirectory && $0.name == FileName.vault })
            else { return false }
            return try disk.list(vault).contains { $0.name == VaultLayout.keysName }
        }
        guard hasTable else { return }
        objects = try SlotTable(disk, vault, cluster: cluster, exists: true).keyNumbers
    }

    private static func header(
        _ disk: any Disk, _ directory: String, _ name: String, _ kind: FileKind,
        _ cluster: ClusterID
    ) throws(JournalError) -> HeaderBlock {
        let file = try TriageJournal.disk { () throws(IOError) in
            try disk.open(directory + "/" + name, .read)
        }
        return try readHeader(of: file, kind, name, cluster)
    }
}
