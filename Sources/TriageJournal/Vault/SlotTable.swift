// `vault/keys`: the table of the objects' wrapped keys. Finds, writes, zeroes and rewraps slots,
// each durable before it returns. Knows nothing of the objects themselves.

internal import TriageBase
internal import TriageCrypto
internal import TriageIO

/// The table of objects' keys, in memory and on disk.
struct SlotTable {
    /// What was read and could not be used.
    struct Damage: Equatable {
        /// Slots whose write was interrupted; free again once they are zeroed.
        var torn: [Int] = []
        /// Slots that do not verify, with the name that stands in each, whatever it is worth.
        var damaged: [(slot: Int, name: ObjectName)] = []

        static func == (a: Damage, b: Damage) -> Bool {
            a.torn == b.torn && a.damaged.map(\.slot) == b.damaged.map(\.slot)
        }
    }

    /// Where an object's key is, and the data key that wraps it.
    private struct Place {
        var index: Int
        var keyNumber: UInt32
    }

    private let disk: any Disk
    private let directory: String
    private let cluster: ClusterID
    private let crcKey: UInt32
    private var file: (any DiskFile)?
    /// Whether that takes writes: who only looks opens it to be read.
    private var isWritable = false
    private var slots: [ObjectName: Place] = [:]
    private var free: [Int] = []
    private var count = 0
    /// How many slots each data key wraps.
    private(set) var keyNumbers: [UInt32: Int] = [:]
    private(set) var damage = Damage()

    static let file = FileName.vault + "/" + VaultLayout.keysName
    private var path: String { directory + "/" + VaultLayout.keysName }

    /// Reads the table.
    ///
    /// - Parameters:
    ///   - disk: The file system.
    ///   - directory: The vault's.
    ///   - cluster: Which deployment it must be of.
    ///   - exists: Whether there is a file.
    /// - Throws: `.dataLoss` when the file is none or has an impossible length, `.foreignCluster`,
    ///   `.newerVersion`, `.io`.
    init(
        _ disk: any Disk, _ directory: String, cluster: ClusterID, exists: Bool
    ) throws(JournalError) {
        self.disk = disk
        self.directory = directory
        self.cluster = cluster
        crcKey = Format.key(cluster)
        guard exists else { return }
        let path = path
        let opened = try TriageJournal.disk { () throws(IOError) in
            let file = try disk.open(path, .read)
            return (file, try file.size())
        }
        let (file, size) = opened
        self.file = file
        let stepBytes = VaultLayout.slotsPerStep * VaultLayout.slotBytes
        guard size >= Format.blockBytes + stepBytes,
            (size - Format.blockBytes) % VaultLayout.slotBytes == 0
        else {
            throw .dataLoss(file: Self.file, offset: size, what: "the file ends in a slot")
        }
        var buffer = PageBuffer(capacity: stepBytes)
        try Self.read(file, &buffer, Format.blockBytes, at: 0)
        let header = try HeaderBlock(
            buffer.span(0..<Format.blockBytes), .vaultKeys, file: Self.file)
        guard header.cluster == cluster else {
            throw .foreignCluster(file: Self.file, expected: cluster, found: header.cluster)
        }
        var offset = Format.blockBytes
        while offset < size {
            let bytes = min(stepBytes, size - offset)
            try Self.read(file, &buffer, bytes, at: offset)
            for at in stride(from: 0, to: bytes, by: VaultLayout.slotBytes) {
                take(buffer.span(at..<at + VaultLayout.slotBytes))
            }
            offset += bytes
        }
        free.reverse()
    }

    private static func read(
        _ file: any DiskFile, _ buffer: inout PageBuffer, _ count: Int, at offset: Int
    ) throws(JournalError) {
        let done: Int
        do { done = try file.read(into: &buffer, 0..<count, at: offset) } catch { throw .io(error) }
        guard done == count else {
            throw .dataLoss(file: Self.file, offset: offset + done, what: "the file ends here")
        }
    }

    private mutating func take(_ bytes: Span<UInt8>) {
        switch VaultSlot.read(bytes, crcKey: crcKey) {
        case .free: free.append(count)
        case .used(let slot):
            // Two slots of one name cannot come about; the first one counts.
            if slots[slot.name] == nil {
                slots[slot.name] = Place(index: count, keyNumber: slot.keyNumber)
                keyNumbers[slot.keyNumber, default: 0] += 1
            }
        case .torn: damage.torn.append(count)
        case .damaged: damage.damaged.append((count, ObjectName(bytes.loadDigest(at: 8))))
        }
        count += 1
    }

    // MARK: Questions

    /// Names of all objects that have a key.
    var names: [ObjectName] { Array(slots.keys) }

    /// Whether an object has a key.
    func contains(_ name: ObjectName) -> Bool { slots[name] != nil }

    /// Whether there is a file.
    var exists: Bool { file != nil }

    /// Whether the slot that an object had when the table was read is by now free, or another's.
    func isErased(_ name: ObjectName) -> Bool {
        guard let place = slots[name], let file else { return true }
        var buffer = PageBuffer(capacity: VaultLayout.slotBytes)
        do throws(JournalError) {
            try Self.read(file, &buffer, VaultLayout.slotBytes, at: Self.offset(place.index))
        } catch { return false }
        switch VaultSlot.read(buffer.span(0..<VaultLayout.slotBytes), crcKey: crcKey) {
        case .free: return true
        case .used(let slot): return slot.name != name
        case .torn, .damaged: return false
        }
    }

    /// Names of the objects whose keys another data key than this one wraps.
    func names(notUnder keyNumber: UInt32) -> [ObjectName] {
        slots.filter { $0.value.keyNumber != keyNumber }.map(\.key)
    }

    /// The slot of an object; nil when it has none.
    ///
    /// - Throws: `.dataLoss` when it does not verify any more, `.io`.
    func slot(_ name: ObjectName) throws(JournalError) -> VaultSlot? {
        guard let place = slots[name], let file else { return nil }
        let offset = Self.offset(place.index)
        var buffer = PageBuffer(capacity: VaultLayout.slotBytes)
        try Self.read(file, &buffer, VaultLayout.slotBytes, at: offset)
        let reading = VaultSlot.read(buffer.span(0..<VaultLayout.slotBytes), crcKey: crcKey)
        guard case .used(let slot) = reading, slot.name == name else {
            throw .dataLoss(file: Self.file, offset: offset, what: "a slot does not verify")
        }
        return slot
    }

    private static func offset(_ index: Int) -> Int {
        Format.blockBytes + index * VaultLayout.slotBytes
    }

    // MARK: Changes

    /// Makes the file if there is none; writes it once more as it was read, without what was torn.
    ///
    /// A killed process, or one whose sync failed, may have left it in a cache alone, and a data
    /// key that no slot needs any more may be dropped.
    ///
    /// - Durability: on disk when this returns
    mutating func prepare(_ time: WallTime) throws(IOError) {
        guard let file = try writableFile() else { return try makeFile(time) }
        let stepBytes = VaultLayout.slotsPerStep * VaultLayout.slotBytes
        var buffer = PageBuffer(capacity: stepBytes)
        for offset in stride(from: Format.blockBytes, to: Self.offset(count), by: stepBytes) {
            let bytes = try file.read(into: &buffer, 0..<stepBytes, at: offset)
            try file.write(buffer, 0..<bytes, at: offset)
        }
        buffer.zero(0..<VaultLayout.slotBytes)
        for index in damage.torn {
            try file.write(buffer, 0..<VaultLayout.slotBytes, at: Self.offset(index))
        }
        try file.sync()
        free.append(contentsOf: damage.torn)
        damage.torn = []
    }

    /// The file, opened for writing from now on; nil: there is none.
    private mutating func writableFile() throws(IOError) -> (any DiskFile)? {
        if file != nil, !isWritable {
            file = try disk.open(path, .update)
            isWritable = true
        }
        return file
    }

    private mutating func makeFile(_ time: WallTime) throws(IOError) {
        let bytes = Format.blockBytes + VaultLayout.slotsPerStep * VaultLayout.slotBytes
        var buffer = PageBuffer(capacity: bytes)
        HeaderBlock(kind: .vaultKeys, cluster: cluster, time: time).store(in: &buffer)
        let made = try disk.open(path + ".tmp", .create)
        try made.write(buffer, 0..<bytes, at: 0)
        try made.sync()
        try disk.rename(path + ".tmp", to: path)
        try disk.syncDirectory(directory)
        file = try disk.open(path, .update)
        isWritable = true
        count = VaultLayout.slotsPerStep
        free = Array((0..<count).reversed())
    }

    /// Makes sure that there is a free slot.
    ///
    /// A failure leaves the table as it was: what lies behind its end means nothing.
    ///
    /// - Durability: on disk when this returns
    mutating func reserve() throws(IOError) {
        guard let file = try writableFile() else {
            preconditionFailure("the table was prepared")
        }
        guard free.isEmpty else { return }
        let bytes = VaultLayout.slotsPerStep * VaultLayout.slotBytes
        let zeros = PageBuffer(capacity: bytes)
        try file.allocate(Self.offset(count) + bytes)
        try file.write(zeros, 0..<bytes, at: Self.offset(count))
        try file.sync()
        free = Array((count..<count + VaultLayout.slotsPerStep).reversed())
        count += VaultLayout.slotsPerStep
    }

    /// Stores an object's key in a slot that was reserved.
    ///
    /// - Durability: on disk when this returns
    mutating func insert(_ slot: VaultSlot) throws(IOError) {
        guard let file = try writableFile(), let index = free.last else {
            preconditionFailure("a slot was reserved")
        }
        try write(slot, at: index, file)
        try file.sync()
        free.removeLast()
        slots[slot.name] = Place(index: index, keyNumber: slot.keyNumber)
        keyNumbers[slot.keyNumber, default: 0] += 1
    }

    private func write(_ slot: VaultSlot, at index: Int, _ file: any DiskFile) throws(IOError) {
        var buffer = PageBuffer(capacity: VaultLayout.slotBytes)
        slot.store(in: &buffer, crcKey: crcKey)
        try file.write(buffer, 0..<VaultLayout.slotBytes, at: Self.offset(index))
    }

    /// Destroys an object's key; also what a damaged slot under its name still holds.
    ///
    /// - Durability: on disk when this returns
    mutating func erase(_ name: ObjectName) throws(IOError) {
        guard let file = try writableFile() else { return }
        let damagedSlots = damage.damaged.filter { $0.name == name }.map(\.slot)
        let indexes = damagedSlots + (slots[name].map { [$0.index] } ?? [])
        guard !indexes.isEmpty else { return }
        let zeros = PageBuffer(capacity: VaultLayout.slotBytes)
        for index in indexes {
            try file.write(zeros, 0..<VaultLayout.slotBytes, at: Self.offset(index))
        }
        try file.sync()
        if let place = slots.removeValue(forKey: name) { keyNumbers[place.keyNumber]? -= 1 }
        damage.damaged.removeAll { $0.name == name }
        free.append(contentsOf: indexes)
    }

    /// Wraps a slot's key anew; durable after ``sync()``.
    mutating func replace(_ slot: VaultSlot) throws(IOError) {
        guard let file = try writableFile(), let place = slots[slot.name] else {
            preconditionFailure("only what is there is wrapped anew")
        }
        try write(slot, at: place.index, file)
        keyNumbers[place.keyNumber]? -= 1
        slots[slot.name]?.keyNumber = slot.keyNumber
        keyNumbers[slot.keyNumber, default: 0] += 1
    }

    /// Makes what was replaced durable.
    func sync() throws(IOError) { try file?.sync() }
}
