// The files that make up a backup of a directory that is being written to, in an order in which
// they can be copied one after the other, and their bytes as they lie on disk. Every file is
// verified before its bytes are handed out.

package import TriageBase
internal import TriageCrypto
internal import TriageIO

/// A file of a backup.
package struct BackupFile: Hashable, Sendable {
    /// Its path below the data directory.
    package let name: String
    /// Bytes to be copied from its front.
    package let count: Int
    /// Bytes of the file in the backup: zeros follow what was copied.
    package let size: Int
    /// Whether the file is complete, so that a copy of that name and size is good.
    package let isFinal: Bool

    /// Describes a file.
    package init(name: String, count: Int, size: Int? = nil, isFinal: Bool) {
        self.name = name
        self.count = count
        self.size = size ?? count
        self.isFinal = isFinal
    }
}

/// The files of a backup, and where its journal ends.
package struct BackupListing: Sendable {
    /// Where the journal of the backup ends.
    package let head: JournalHead
    /// In the order in which they are to be copied: nothing refers to what comes later.
    package let files: [BackupFile]
}

extension DataDirectory {
    /// Lists what a backup of this moment consists of; may run beside a ``JournalWriter``.
    ///
    /// The journal is cut behind its last durable record, signed heads behind that are left out,
    /// and the vault is looked at afterwards: it has everything that those records refer to, unless
    /// it was erased since.
    ///
    /// - Precondition: ``makeJournal(after:time:)`` was called.
    /// - Throws: `.dataLoss` and the like when the last segment does not verify; `.io`.
    package func listBackup() throws(JournalError) -> BackupListing {
        let inventory = try Inventory(disk, path)
        guard let last = inventory.segments.last else {
            throw .gap(file: FileName.segment(1), missing: 1)
        }
        // In this order: all before that segment is durable by now, and what is asked to be durable
        // stands in the file by the time it is read.
        guard let durable = durable.value else {
            preconditionFailure("a backup is made beside a journal that is open")
        }
        let content = try SegmentReader(disk: disk, cluster: cluster, keys: keys).read(
            last, in: path, isLast: true, memory: PageBuffer(capacity: Format.blockBytes))
        let end = try end(of: content, durable)
        let segment = try SegmentCut(content, upTo: end)
        let head = JournalHead(segment.tree)
        var files = try list(inventory.leaves.filter { $0 < last }.map(FileName.leaves))
        files += try list(inventory.snapshots.filter { $0 <= head.sequence }.map(FileName.snapshot))
        files += try list(inventory.segments.dropLast().map(FileName.segment))
        files.append(
            BackupFile(
                name: FileName.segment(last), count: segment.end, size: segment.bytes,
                isFinal: false))
        if inventory.hasHeads {
            let heads = try HeadsFile.read(disk, path, cluster).heads
            let count = heads.prefix { $0.head.sequence <= head.sequence }.count
            files.append(
                BackupFile(
                    name: FileName.heads, count: HeadsFile.offset(of: count), isFinal: false))
        }
        if keys != nil { files += try listVaultAndKeys() }
        files.append(
            BackupFile(name: FileName.identity, count: Format.blockBytes, isFinal: false))
        return BackupListing(head: head, files: files)
    }

    /// The record at which the segment is cut; nil when another one was begun since: then all of it
    /// is durable.
    private func end(
        of segment: borrowing SegmentContent, _ durable: UInt64
    ) throws(JournalError) -> UInt64? {
        let first = segment.header.sequence
        let next = first + UInt64(segment.leaves.count)
        if durable < next { return durable }
        if let last = try Inventory(disk, path).segments.last, last > first { return nil }
        throw segment.problem
            ?? .dataLoss(
                file: segment.file, offset: segment.end,
                what: "record \(next) is not readable, which was made durable")
    }

    private func list(_ names: [String]) throws(JournalError) -> [BackupFile] {
        var files: [BackupFile] = []
        for name in names {
            files.append(
                BackupFile(
                    name: name, count: try fileBytes(disk, path + "/" + name), isFinal: true))
        }
        return files
    }

    /// Objects, then the table of their keys, which has those of all of them, then what wraps it.
    private func listVaultAndKeys() throws(JournalError) -> [BackupFile] {
        var files: [BackupFile] = []
        var table: [String] = []
        for entry in try listVault(disk, path) where !entry.isDirectory {
            let name = FileName.vault + "/" + entry.name
            if entry.name == VaultLayout.keysName { table.append(name) }
            guard entry.name.hasSuffix(VaultLayout.suffix) else { continue }
            do throws(JournalError) { files += try list([name]) } catch {
                guard error.isMissingFile else { throw error }
            }
        }
        for name in table + [FileName.keys] {
            files.append(
                BackupFile(
                    name: name, count: try fileBytes(disk, path + "/" + name), isFinal: false))
        }
        return files
    }

    /// Opens a file of a backup, once it verifies.
    ///
    /// - Parameters:
    ///   - name: Its path below the directory.
    ///   - count: Bytes to be copied from its front; at most those there are.
    ///   - listed: Its ``BackupFile/size``; nil: whatever it is. A segment that was written anew
    ///     since (``Redaction``) has another length.
    /// - Returns: Gives its bytes; nil when there is no such file (any more).
    /// - Throws: `.dataLoss` and the like when it does not verify; `.io`.
    package func openBackupFile(
        _ name: String, count: Int, listed: Int? = nil
    ) throws(JournalError) -> BackupReader? {
        do throws(JournalError) {
            guard try checkBackupFile(name) else { return nil }
            return try BackupReader(
                disk, path, name, count: count, listed: listed,
                bytesPerSecond: options.snapshotBytesPerSecond)
        } catch {
            if error.isMissingFile { return nil }
            throw error
        }
    }

    /// Verifies a snapshot, a segment with its leaves, or leaves alone; an object is verified by
    /// its name while it is read, and the rest by whoever opens the directory.
    ///
    /// - Returns: False for what is no part of a backup.
    private func checkBackupFile(_ name: String) throws(JournalError) -> Bool {
        if name.hasPrefix(FileName.vault + "/") {
            let entry = DirectoryEntry(
                name: String(name.dropFirst(FileName.vault.utf8.count + 1)), isDirectory: false)
            switch VaultLayout.meaning(of: entry) {
            case .keys, .object: return true
            case .aside, .temporary, .foreign: return false
            }
        }
        switch FileName.meaning(of: DirectoryEntry(name: name, isDirectory: false)) {
        case .segment(let first):
            let inventory = try Inventory(disk, path)
            let part = JournalPart(
                first: first, directory: path, hasLeaves: inventory.leaves.contains(first),
                isLast: first == inventory.segments.last)
            var segments = try Segments(Inspection(self, archive: nil), [part])
            var none = NoTarget()
            _ = try segments.scan(part, into: &none)
        case .leaves(let first): _ = try LeavesFile(disk, path, first, cluster)
        case .snapshot(let sequence): try readBack(sequence)
        case .identity, .keys, .heads: break
        case .mark, .backup, .temporary, .ignored, .foreign: return false
        }
        return true
    }
}

/// Gives the bytes of a file of a backup, as fast as snapshots are written.
///
/// - Isolation: one thread at a time.
package final class BackupReader {
    private let file: any DiskFile
    private let name: String
    private let count: Int
    private var offset = 0
    private var hash = SHA256()
    private var buffer = PageBuffer(capacity: VaultLayout.chunkBytes)
    private var pacer: Pacer

    /// Opens a file; nil when it is a segment or a snapshot of another length than it was listed
    /// with.
    init?(
        _ disk: any Disk, _ directory: String, _ name: String, count: Int, listed: Int?,
        bytesPerSecond: Int?
    ) throws(JournalError) {
        let path = directory + "/" + name
        let (file, size) = try TriageJournal.disk {
            () throws(IOError) -> (any DiskFile, Int) in
            let file = try disk.open(path, .read)
            return (file, try file.size())
        }
        if let listed, listed != size {
            switch FileName.meaning(of: DirectoryEntry(name: name, isDirectory: false)) {
            case .segment, .snapshot: return nil
            default: break
            }
        }
        self.file = file
        self.name = name
        // The one file that is replaced as a whole, and can have grown since it was listed.
        self.count = name == FileName.keys ? size : min(count, size)
        pacer = Pacer(disk, bytesPerSecond: bytesPerSecond)
    }

    /// The next bytes, 65,536 at most; nil at the end.
    ///
    /// - Throws: `.dataLoss` at the end of an object whose bytes are not those of its name; `.io`.
    package func next() throws(JournalError) -> [UInt8]? {
        guard offset < count else {
            guard name.hasSuffix(VaultLayout.suffix) else { return nil }
            guard name == FileName.vault + "/" + VaultLayout.fileName(ObjectName(digest)) else {
                throw .dataLoss(file: name, offset: 0, what: "its name is not its digest")
            }
            return nil
        }
        let wanted = min(buffer.capacity, count - offset)
        let read: Int
        do throws(IOError) { read = try file.read(into: &buffer, 0..<wanted, at: offset) } catch {
            throw .io(error)
        }
        guard read == wanted else {
            throw .dataLoss(file: name, offset: offset + read, what: "the file ends here")
        }
        let bytes = [UInt8](copying: buffer.span(0..<read))
        hash.update(bytes.span)
        offset += read
        pacer.wrote(read)
        return bytes
    }

    /// The SHA-256 of what was given.
    package var digest: Digest {
        hash.finalize()
    }
}

extension JournalError {
    /// Whether a file that was listed is not there any more.
    package var isMissingFile: Bool {
        guard case .io(let error) = self else { return false }
        return error.operation == .open && error.errno == .notFound
    }
}
