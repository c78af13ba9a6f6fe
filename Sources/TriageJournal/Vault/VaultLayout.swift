// The layout of VAULT.md: names, slots of the table of keys, chunks of an object. Pure: bytes in,
// values out.

internal import TriageBase
internal import TriageCrypto
internal import TriageIO

/// Sizes and names of VAULT.md.
enum VaultLayout {
    static let slotBytes = 512
    /// The table grows by so many slots at a time.
    static let slotsPerStep = 64
    /// Plaintext of a chunk; the last one has the rest.
    static let chunkBytes = 65_536
    static let tagBytes = 16
    static let keysName = "keys"
    /// Of an object's file name.
    static let suffix = ".object"
    /// Of the name of an object that was set aside.
    static let asideSuffix = ".aside"

    static func fileName(_ name: ObjectName) -> String { "\(name)\(suffix)" }

    /// The name of an object that nothing refers to since then.
    static func fileName(_ name: ObjectName, asideSince time: WallTime) -> String {
        "\(name)-\(time.milliseconds)\(asideSuffix)"
    }

    /// Chunks of an object; an empty one has one chunk of nothing.
    static func chunkCount(_ size: Int) -> Int { max(1, (size + chunkBytes - 1) / chunkBytes) }

    /// Bytes of an object's file.
    static func fileBytes(_ size: Int) -> Int {
        Format.blockBytes + size + chunkCount(size) * tagBytes
    }

    /// Plaintext bytes of a chunk.
    static func plainBytes(_ chunk: Int, of size: Int) -> Int {
        min(chunkBytes, size - chunk * chunkBytes)
    }

    /// Where a chunk begins in the file.
    static func offset(_ chunk: Int) -> Int {
        Format.blockBytes + chunk * (chunkBytes + tagBytes)
    }

    /// The nonce of a chunk: a key encrypts one object, once.
    static func nonce(_ chunk: Int, of size: Int) -> Nonce {
        Nonce(UInt64(chunk), chunk == chunkCount(size) - 1 ? 1 : 0)
    }

    /// How much of the header is authenticated with each chunk.
    static let authenticatedHeader = 0..<56

    /// What a name in the directory stands for.
    enum Meaning: Equatable {
        case keys, object(ObjectName), aside(ObjectName, since: WallTime), temporary, foreign
    }

    static func meaning(of entry: DirectoryEntry) -> Meaning {
        if entry.isDirectory { return .foreign }
        if entry.name == keysName { return .keys }
        if entry.name.hasSuffix(".tmp") { return .temporary }
        let text = Array(entry.name.utf8.prefix(64))
        guard let digest = Digest(hexadecimal: text.span) else { return .foreign }
        let name = ObjectName(digest)
        if entry.name == fileName(name) { return .object(name) }
        guard entry.name.hasSuffix(asideSuffix),
            let since = Int64(entry.name.dropFirst(65).dropLast(asideSuffix.utf8.count)),
            entry.name == fileName(name, asideSince: WallTime(milliseconds: since))
        else { return .foreign }
        return .aside(name, since: WallTime(milliseconds: since))
    }
}

/// What is in the vault of a data directory; nothing when it has none.
func listVault(_ disk: any Disk, _ data: String) throws(JournalError) -> [DirectoryEntry] {
    try TriageJournal.disk { () throws(IOError) in
        let isThere = try disk.list(data).contains { $0.isDirectory && $0.name == FileName.vault }
        return isThere ? try disk.list(data + "/" + FileName.vault) : []
    }
}

/// One slot of the table: an object's key, wrapped by a data key.
struct VaultSlot: Equatable {
    /// Number of the data key in `keys`.
    var keyNumber: UInt32
    var name: ObjectName
    var nonce: Nonce
    /// 32 bytes.
    var sealed: [UInt8]
    var tag: Tag

    /// What a slot's bytes are.
    enum Reading: Equatable {
        case free
        case used(VaultSlot)
        /// Its write was interrupted: a part of it is zero.
        case torn
        case damaged
    }

    /// What is authenticated with the wrapped key.
    static func additional(_ cluster: ClusterID, _ keyNumber: UInt32, _ name: ObjectName) -> [UInt8]
    {
        var buffer = PageBuffer(capacity: Format.blockBytes)
        buffer.store(cluster.low, at: 0)
        buffer.store(cluster.high, at: 8)
        buffer.store(keyNumber, at: 16)
        buffer.store(name.digest, at: 20)
        return [UInt8](copying: buffer.span(0..<52))
    }

    /// Wraps an object's key.
    ///
    /// - Throws: ``CryptoError``: `.unavailable`.
    init(
        _ key: SecretKey, of name: ObjectName, under dataKey: SecretKey, number: UInt32,
        cluster: ClusterID, nonce: Nonce
    ) throws(CryptoError) {
        var cipher = try MessageCipher(dataKey)
        let additional = Self.additional(cluster, number, name)
        var wrapped = [UInt8](repeating: 0, count: SecretKey.byteCount)
        var target = wrapped.mutableSpan
        tag = key.seal(into: &target, with: &cipher, nonce: nonce, additional: additional.span)
        sealed = wrapped
        keyNumber = number
        self.name = name
        self.nonce = nonce
    }

    private init(_ bytes: Span<UInt8>) {
        keyNumber = bytes.loadUInt32(at: 4)
        name = ObjectName(bytes.loadDigest(at: 8))
        nonce = Nonce(bytes.loadUInt64(at: 40), bytes.loadUInt32(at: 48))
        sealed = [UInt8](copying: bytes.extracting(52..<84))
        tag = Tag(bytes.loadUInt64(at: 84), bytes.loadUInt64(at: 92))
    }

    /// Reads a slot.
    static func read(_ bytes: Span<UInt8>, crcKey: UInt32) -> Reading {
        if bytes.isZero { return .free }
        let crc = crc32c(bytes.extracting(4..<VaultLayout.slotBytes), after: crcKey)
        if bytes.loadUInt32(at: 0) == crc, bytes.loadUInt32(at: 4) != 0,
            bytes.extracting(100..<VaultLayout.slotBytes).isZero
        {
            return .used(VaultSlot(bytes))
        }
        // A device that writes less than a sector at once leaves zeros at the front or at the end.
        let isTorn = bytes.extracting(0..<8).isZero || bytes.extracting(84..<100).isZero
        return isTorn ? .torn : .damaged
    }

    /// Writes the slot to the front of a buffer.
    func store(in buffer: inout PageBuffer, crcKey: UInt32) {
        buffer.zero(0..<VaultLayout.slotBytes)
        buffer.store(keyNumber, at: 4)
        buffer.store(name.digest, at: 8)
        buffer.store(nonce.low, at: 40)
        buffer.store(nonce.high, at: 48)
        buffer.copy(sealed.span, to: 52)
        buffer.store(tag.low, at: 84)
        buffer.store(tag.high, at: 92)
        buffer.store(crc32c(buffer.span(4..<VaultLayout.slotBytes), after: crcKey), at: 0)
    }

    /// Unwraps the object's key; nil when it was not wrapped so.
    func key(under dataKey: SecretKey, cluster: ClusterID) -> SecretKey? {
        guard var cipher = try? MessageCipher(dataKey) else { return nil }
        let additional = Self.additional(cluster, keyNumber, name)
        return try? SecretKey(
            opening: sealed.span, with: &cipher, nonce: nonce, tag: tag,
            additional: additional.span)
    }
}
