// The vault of a data directory (VAULT.md): encrypted objects with a key each. Puts, reads, erases,
// and brings the directory in line with what the journal says at the start. Whether something may
// be erased is decided elsewhere.

package import TriageBase
package import TriageCrypto
package import TriageIO

/// What was found in a vault that is not as the journal says, and what was done about it.
package struct VaultReport: Equatable, Sendable {
    /// Stored objects that have no key or no file: reads of them answer DATA_LOSS.
    package var missing: [ObjectName] = []
    /// Objects that were destroyed: erased before, or aside for long enough.
    package var removed: [ObjectName] = []
    /// Objects that nothing refers to, set aside now.
    package var setAside: [ObjectName] = []
    /// Objects that were set aside earlier, and stay so.
    package var aside = 0
    /// Objects that had been set aside, and that the state names as stored.
    package var takenBack: [ObjectName] = []
    /// Slots whose write had been interrupted; free again.
    package var tornSlots = 0
    /// Slots that do not verify; left as they are.
    package var damagedSlots = 0

    /// Nothing was found.
    package init() {}

    /// One line for each kind of find; empty when all is well.
    package var lines: [String] {
        var lines = missing.map { "vault: object \($0) is missing: restore it from a backup" }
        let days = Limits.objectAsideMilliseconds / 86_400_000
        if !setAside.isEmpty {
            lines.append(
                "vault: set aside \(setAside.count) objects that nothing refers to, for \(days) "
                    + "days: if a newer journal does, stop and restore that one")
        }
        if aside > 0 { lines.append("vault: \(aside) objects are aside since earlier starts") }
        if !takenBack.isEmpty {
            lines.append("vault: took back \(takenBack.count) objects that had been set aside")
        }
        if !removed.isEmpty {
            lines.append(
                "vault: destroyed \(removed.count) objects that were erased, or aside for "
                    + "\(days) days")
        }
        if tornSlots > 0 { lines.append("vault/keys: zeroed \(tornSlots) torn slots") }
        if damagedSlots > 0 { lines.append("vault/keys: \(damagedSlots) slots do not verify") }
        return lines
    }
}

/// The encrypted objects of a data directory.
///
/// ```
///   open (changes nothing) --> reconcile --> beginPut, finish, read, erase, rewrap
/// ```
///
/// - Isolation: one thread at a time. `@unchecked Sendable`: whoever opens it hands it to the
///   vault's thread and does not touch it again.
package final class Vault: @unchecked Sendable {
    let disk: any Disk
    let directory: String
    private let keys: KeyRing
    private var random: RandomBytes
    private(set) var table: SlotTable
    private(set) var files: Set<ObjectName>
    /// Since when objects are set aside.
    private(set) var aside: [ObjectName: WallTime]
    /// What the state names as stored, and was not there at the start.
    private var missing: Set<ObjectName> = []
    private var temporaryCount = 0
    /// Why nothing is put or erased any more: a change of the table failed, and nobody knows what
    /// of it is on disk.
    private var failure: IOError?

    /// Looks at the vault of a data directory; changes nothing.
    ///
    /// - Parameters:
    ///   - data: The data directory.
    ///   - disk: The file system.
    ///   - keys: The directory's, which wrap the objects' keys.
    ///   - random: For objects' keys and nonces.
    /// - Throws: `.foreignFile`; `.dataLoss` when the table of keys is damaged as a whole, or
    ///   missing although there are objects; `.foreignCluster`, `.newerVersion`, `.io`.
    package init(
        opening data: String, disk: any Disk, keys: KeyRing, random: consuming RandomBytes
    ) throws(JournalError) {
        self.disk = disk
        directory = data + "/" + FileName.vault
        self.keys = keys
        self.random = random
        var hasTable = false
        var files: Set<ObjectName> = []
        var aside: [ObjectName: WallTime] = [:]
        for entry in try listVault(disk, data) {
            switch VaultLayout.meaning(of: entry) {
            case .keys: hasTable = true
            case .object(let name): files.insert(name)
            case .aside(let name, let since): aside[name] = min(since, aside[name] ?? since)
            case .temporary: break
            case .foreign: throw .foreignFile(file: FileName.vault + "/" + entry.name)
            }
        }
        guard hasTable || (files.isEmpty && aside.isEmpty) else {
            throw .dataLoss(
                file: SlotTable.file, offset: 0, what: "it is missing, and there are objects")
        }
        self.files = files
        self.aside = aside
        table = try SlotTable(disk, directory, cluster: keys.cluster, exists: hasTable)
    }

    // MARK: Start

    /// Brings the vault in line with the journal: makes what is not there yet, destroys what was
    /// erased, sets aside what nothing refers to, and reports what is missing.
    ///
    /// What nothing refers to was put by a process that stopped before its event, or the journal is
    /// an older one than the vault: nobody can tell here. It is destroyed by the first start that
    /// is ``Limits/objectAsideMilliseconds`` later, and taken back by one whose state names it. A
    /// clock that is wrong at one start must not shorten that: it is set aside at the later of both
    /// times below, and its time is over when it is over by both.
    ///
    /// - Parameters:
    ///   - stored: The objects that the state names as stored.
    ///   - erased: Those that it names as erased.
    ///   - time: Wall time now.
    ///   - stateTime: When the state's last record was made.
    /// - Returns: What was found and done.
    /// - Throws: `.io`.
    /// - Durability: on disk when this returns
    package func reconcile(
        stored: Set<ObjectName>, erased: Set<ObjectName> = [], time: WallTime,
        stateTime: WallTime
    ) throws(JournalError) -> VaultReport {
        var report = VaultReport()
        report.tornSlots = table.damage.torn.count
        report.damagedSlots = table.damage.damaged.count
        do throws(IOError) {
            try disk.makeDirectory(directory)
            for entry in try disk.list(directory) where entry.name.hasSuffix(".tmp") {
                try disk.remove(directory + "/" + entry.name)
            }
            try table.prepare(time)
            try lookAside(stored, erased, min(time, stateTime), &report)
            let unknown = files.union(table.names).subtracting(stored).subtracting(aside.keys)
            for name in inOrder(unknown) {
                if files.contains(name), !erased.contains(name) {
                    try setAside(name, max(time, stateTime))
                    report.setAside.append(name)
                } else {
                    try remove(name)
                    report.removed.append(name)
                }
            }
            try disk.syncDirectory(directory)
        } catch { throw .io(error) }
        missing = stored.filter { !table.contains($0) || !files.contains($0) }
        report.missing = inOrder(missing)
        return report
    }

    func inOrder(_ names: some Sequence<ObjectName>) -> [ObjectName] {
        names.sorted { $0.description < $1.description }
    }

    /// Decides about each object that was set aside, at a time that has surely come.
    private func lookAside(
        _ stored: Set<ObjectName>, _ erased: Set<ObjectName>, _ time: WallTime,
        _ report: inout VaultReport
    ) throws(IOError) {
        for name in inOrder(aside.keys) {
            guard let since = aside[name] else { continue }
            let path = directory + "/" + VaultLayout.fileName(name, asideSince: since)
            // Under one name there are the same bytes.
            if files.contains(name) || stored.contains(name) {
                try disk.rename(path, to: directory + "/" + VaultLayout.fileName(name))
                files.insert(name)
                aside[name] = nil
                if stored.contains(name) { report.takenBack.append(name) }
            } else if erased.contains(name)
                || time.milliseconds - since.milliseconds >= Limits.objectAsideMilliseconds
            {
                try table.erase(name)
                try disk.remove(path)
                aside[name] = nil
                report.removed.append(name)
            } else {
                report.aside += 1
            }
        }
    }

    private func setAside(_ name: ObjectName, _ time: WallTime) throws(IOError) {
        try disk.rename(
            directory + "/" + VaultLayout.fileName(name),
            to: directory + "/" + VaultLayout.fileName(name, asideSince: time))
        files.remove(name)
        aside[name] = time
    }

    // MARK: Putting

    /// Begins to put an object.
    ///
    /// - Parameters:
    ///   - size: Bytes that will follow; ``Limits/objectBytesMax`` at most.
    ///   - time: Wall time now.
    /// - Returns: Takes the bytes; to be finished or discarded.
    /// - Throws: `.noSpace`, `.io`, `.crypto`, `.poisoned`.
    package func beginPut(size: Int, time: WallTime) throws(JournalError) -> ObjectWriter {
        precondition(size >= 0 && size <= Limits.objectBytesMax)
        if let failure { throw .poisoned(failure) }
        temporaryCount += 1
        let name = "put-\(temporaryCount).tmp"
        let writer: ObjectWriter
        do {
            writer = try ObjectWriter(
                disk, directory + "/" + name, temporaryName: name, cluster: keys.cluster,
                size: size, time: time, key: SecretKey(random: &random))
        } catch {
            removeTemporary(name)
            throw error
        }
        return writer
    }

    /// Makes an object durable: file first, then its key.
    ///
    /// - Precondition: as many bytes were taken as were announced.
    /// - Throws: `.noSpace`, `.io`, `.crypto`: there is no object then; `.poisoned` from when the
    ///   table of keys could not be written.
    /// - Durability: on disk when this returns
    package func finish(_ writer: consuming ObjectWriter) throws(JournalError) -> StoredObject {
        if let failure { throw .poisoned(failure) }
        let temporaryName = writer.temporaryName
        let object: StoredObject
        do throws(JournalError) {
            do throws(IOError) { try table.reserve() } catch {
                throw ObjectWriter.refusal(error)
            }
            object = try writer.seal()
            try place(temporaryName, object.name)
        } catch {
            removeTemporary(temporaryName)
            throw error
        }
        files.insert(object.name)
        let slot: VaultSlot
        do throws(JournalError) {
            slot = try self.slot(writer.key, object.name, under: keys.dataKeyInUse)
        } catch {
            try? disk.remove(directory + "/" + VaultLayout.fileName(object.name))
            files.remove(object.name)
            throw error
        }
        // After a failure the file stays: its key may be on disk, and no key is without its object.
        // The next start sets it aside.
        try change { table throws(IOError) in try table.insert(slot) }
        return object
    }

    private func place(_ temporaryName: String, _ name: ObjectName) throws(JournalError) {
        do throws(IOError) {
            try disk.rename(
                directory + "/" + temporaryName, to: directory + "/" + VaultLayout.fileName(name))
            try disk.syncDirectory(directory)
        } catch { throw ObjectWriter.refusal(error) }
    }

    /// Gives up an object that was begun.
    package func discard(_ writer: consuming ObjectWriter) {
        removeTemporary(writer.temporaryName)
    }

    /// What stays behind after an error is removed at the next start.
    private func removeTemporary(_ name: String) { try? disk.remove(directory + "/" + name) }

    private func slot(
        _ key: SecretKey, _ name: ObjectName, under number: UInt32
    ) throws(JournalError) -> VaultSlot {
        guard let dataKey = keys.dataKey(number) else {
            preconditionFailure("the data key in use is in the ring")
        }
        do throws(CryptoError) {
            return try VaultSlot(
                key, of: name, under: dataKey, number: number, cluster: keys.cluster,
                nonce: random.nonce())
        } catch { throw .crypto(error) }
    }

    /// Changes the table; a failure is final, because nobody knows what of it is on disk.
    private func change(
        _ body: (inout SlotTable) throws(IOError) -> Void
    ) throws(JournalError) {
        do throws(IOError) { try body(&table) } catch {
            failure = error
            throw .poisoned(error)
        }
    }

    // MARK: Reading

    /// Opens an object for reading.
    ///
    /// - Throws: `.dataLoss` when it has no key or no file, or does not verify; `.io`.
    package func read(_ name: ObjectName) throws(JournalError) -> ObjectReader {
        try read(name, fileName: VaultLayout.fileName(name))
    }

    /// Opens an object under whatever name its file has.
    func read(_ name: ObjectName, fileName: String) throws(JournalError) -> ObjectReader {
        try ObjectReader(
            disk, directory, name, fileName, cluster: keys.cluster, key: try objectKey(name))
    }

    private func objectKey(_ name: ObjectName) throws(JournalError) -> SecretKey {
        guard let slot = try table.slot(name) else {
            throw .dataLoss(
                file: FileName.vault + "/" + VaultLayout.fileName(name), offset: 0,
                what: "the object has no key")
        }
        guard let dataKey = keys.dataKey(slot.keyNumber) else {
            throw .dataLoss(
                file: SlotTable.file, offset: 0,
                what: "a slot names data key \(slot.keyNumber), which keys has not")
        }
        guard let key = slot.key(under: dataKey, cluster: keys.cluster) else {
            throw .dataLoss(
                file: SlotTable.file, offset: 0, what: "a key was not wrapped so: \(name)")
        }
        return key
    }

    // MARK: Erasing

    /// Destroys an object's key, then its bytes; one that is gone already is no error.
    ///
    /// The event that says so is durable before.
    ///
    /// - Throws: `.poisoned`, `.io`: it is erased at the next start then.
    /// - Durability: on disk when this returns
    package func erase(_ name: ObjectName) throws(JournalError) {
        if let failure { throw .poisoned(failure) }
        try change { table throws(IOError) in try table.erase(name) }
        missing.remove(name)
        guard files.contains(name) else { return }
        do throws(IOError) {
            try disk.remove(directory + "/" + VaultLayout.fileName(name))
            try disk.syncDirectory(directory)
        } catch { throw .io(error) }
        files.remove(name)
    }

    private func remove(_ name: ObjectName) throws(IOError) {
        try table.erase(name)
        guard files.contains(name) else { return }
        try disk.remove(directory + "/" + VaultLayout.fileName(name))
        files.remove(name)
    }

    // MARK: Counts

    /// Objects that the state named as stored at the start, were not there, and are not erased.
    package var missingCount: Int { missing.count }

    /// Objects that are set aside.
    package var asideCount: Int { aside.count }

    // MARK: Rotation

    /// Whether its table takes changes: none once a write to it has failed.
    ///
    /// - Throws: `.poisoned`.
    package func requireWritable() throws(JournalError) {
        if let failure { throw .poisoned(failure) }
    }

    /// Wraps every object's key with the data key in use.
    ///
    /// A key that cannot be read stays as it is, under the data key of before, which then cannot be
    /// dropped.
    ///
    /// - Returns: How many were wrapped anew, and why the others were not.
    /// - Throws: `.poisoned`, `.io`, `.crypto`; each slot is as before or anew then.
    /// - Durability: on disk when this returns
    package func rewrap() throws(JournalError) -> (count: Int, unreadable: [JournalError]) {
        try requireWritable()
        let number = keys.dataKeyInUse
        var count = 0
        var unreadable: [JournalError] = []
        for name in table.names(notUnder: number) {
            let key: SecretKey
            do throws(JournalError) { key = try objectKey(name) } catch {
                unreadable.append(error)
                continue
            }
            let anew = try slot(key, name, under: number)
            try change { table throws(IOError) in try table.replace(anew) }
            count += 1
        }
        try change { table throws(IOError) in try table.sync() }
        return (count, unreadable)
    }

    /// Makes the table durable as it was read, so that a data key that nothing in it needs can be
    /// dropped: what a killed process wrapped anew may be in a cache alone.
    ///
    /// - Throws: `.poisoned`.
    /// - Durability: on disk when this returns
    package func settle(time: WallTime) throws(JournalError) {
        guard table.exists else { return }
        try change { table throws(IOError) in try table.prepare(time) }
    }

    /// How many objects' keys each data key wraps.
    package var keyNumbers: [UInt32: Int] { table.keyNumbers.filter { $0.value > 0 } }

    /// Objects that have a file, a key, or both, and are not set aside.
    package var names: [ObjectName] { inOrder(files.union(table.names).subtracting(aside.keys)) }
}
