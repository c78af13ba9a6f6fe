// Checks a vault from outside: every object is read whole, every key has its object. May run beside
// a server that puts and erases meanwhile. Changes nothing.

package import TriageBase
internal import TriageIO

/// What a vault holds that no record accounts for by itself.
package struct VaultCount: Equatable, Sendable {
    /// Objects that are set aside.
    package var aside = 0
    /// Objects without a key, as a kill between the two syncs of a put or an erasure leaves them,
    /// and lost keys do: the next start tells which, because the state says what must be there.
    package var withoutKey = 0
    /// Keys without an object; in a directory that is no copy each of them is a problem.
    package var withoutObject = 0

    /// Nothing.
    package init() {}
}

/// What must be in a vault.
package enum VaultDemand {
    /// The object of each key.
    case everything
    /// These objects: a backup's, whose table of keys is of a later moment than they are.
    case listed([ObjectName])
    /// What was copied from there, whatever that is.
    case nothing
}

extension Vault {
    /// Reads every object whole, those that are aside too.
    ///
    /// - Parameters:
    ///   - demand: What must be there.
    ///   - each: Called with the bytes of each object that was read.
    /// - Returns: Counts, and what does not verify or is missing. An object that is erased
    ///   meanwhile is neither.
    package func check(
        _ demand: VaultDemand, each: (Int) -> Void
    ) -> (count: VaultCount, problems: [JournalError]) {
        var count = VaultCount()
        count.aside = aside.count
        var problems = table.damage.damaged.map { slot, name in
            JournalError.dataLoss(
                file: SlotTable.file, offset: Format.blockBytes + slot * VaultLayout.slotBytes,
                what: "the slot of object \(name) does not verify")
        }
        for name in inOrder(table.names) {
            do throws(JournalError) {
                each(try readWhole(name))
            } catch {
                guard !table.isErased(name) else { continue }
                if aside[name] == nil, !isThere(name) {
                    count.withoutObject += 1
                    guard case .everything = demand else { continue }
                }
                problems.append(error)
            }
        }
        for name in inOrder(files) where !table.contains(name) && isThere(name) {
            count.withoutKey += 1
        }
        if case .listed(let names) = demand {
            problems += names.filter { !files.contains($0) }.map { name in
                .dataLoss(
                    file: FileName.vault + "/" + VaultLayout.fileName(name), offset: 0,
                    what: "the manifest names it, and it is missing")
            }
        }
        return (count, problems)
    }

    /// Reads an object, or what is aside under its name.
    ///
    /// - Returns: Bytes of its file.
    private func readWhole(_ name: ObjectName) throws(JournalError) -> Int {
        var reader = try read(name, fileName: fileName(name))
        while try reader.next({ _ in }) {}
        return VaultLayout.fileBytes(reader.size)
    }

    private func fileName(_ name: ObjectName) -> String {
        guard !files.contains(name), let since = aside[name] else {
            return VaultLayout.fileName(name)
        }
        return VaultLayout.fileName(name, asideSince: since)
    }

    /// Whether an object's file is there now.
    private func isThere(_ name: ObjectName) -> Bool {
        do {
            _ = try disk.open(directory + "/" + fileName(name), .read)
            return true
        } catch { return error.errno != .notFound }
    }
}

/// The objects that the manifest of a backup names (FORMAT.md §16).
///
/// - Throws: `.dataLoss` when it is none, `.io`.
func listedObjects(_ disk: any Disk, _ directory: String) throws(JournalError) -> [ObjectName] {
    let name = FileName.backup
    let bytes = try TriageJournal.disk { () throws(IOError) -> [UInt8] in
        let file = try disk.open(directory + "/" + name, .read)
        var buffer = PageBuffer(capacity: max(1, try file.size()))
        let count = try file.read(into: &buffer, 0..<buffer.capacity, at: 0)
        return [UInt8](copying: buffer.span(0..<count))
    }
    let lines = String(decoding: bytes, as: UTF8.self)
        .split(separator: "\n", omittingEmptySubsequences: false)
    guard lines.first == "triaged/backup@v1", lines.last == "" else {
        throw .dataLoss(
            file: name, offset: 0, what: "it is not the manifest of a backup, or not whole")
    }
    return lines.compactMap { line in
        guard line.hasSuffix(VaultLayout.suffix), let slash = line.lastIndex(of: "/") else {
            return nil
        }
        let file = DirectoryEntry(
            name: String(line[line.index(after: slash)...]), isDirectory: false)
        guard case .object(let name) = VaultLayout.meaning(of: file) else { return nil }
        return name
    }
}
