// Puts one object: takes its bytes in pieces, encrypts them chunk by chunk into a temporary file,
// and hashes both sides on the way. Knows no table of keys; Vault.swift makes the object durable.

package import TriageBase
internal import TriageCrypto
internal import TriageIO

/// What the vault says of an object that it has stored.
package struct StoredObject: Hashable, Sendable {
    /// Its name.
    package let name: ObjectName
    /// SHA-256 of the plaintext.
    package let sha256: Digest
    /// Bytes of the plaintext.
    package let size: Int
}

/// An object that is being put.
///
/// Holds one chunk, whatever the object's size.
///
/// ```
///   init -> append ... -> (Vault.finish) ; dropped before: the file is removed at the next start,
///                                          or by Vault.discard
/// ```
///
/// - Isolation: the vault's thread
package struct ObjectWriter: ~Copyable {
    let key: SecretKey
    let temporaryName: String
    /// Bytes of the plaintext that were announced.
    package let size: Int
    private let file: any DiskFile
    private var cipher: MessageCipher
    private var chunk: PageBuffer
    private let header: [UInt8]
    private var filled = 0
    private var unsynced = 0
    private var chunkIndex = 0
    /// Bytes of the plaintext taken so far.
    package private(set) var count = 0
    private var plainHash = SHA256()
    /// SHA-256 of what was taken so far.
    package var sha256: Digest { plainHash.finalize() }
    private var storedHash: SHA256

    init(
        _ disk: any Disk, _ path: String, temporaryName: String, cluster: ClusterID, size: Int,
        time: WallTime, key: SecretKey
    ) throws(JournalError) {
        var chunk = PageBuffer(capacity: VaultLayout.chunkBytes + VaultLayout.tagBytes)
        HeaderBlock(kind: .object, cluster: cluster, time: time, size: UInt64(size))
            .store(in: &chunk)
        let cipher: MessageCipher
        do { cipher = try MessageCipher(key) } catch { throw .crypto(error) }
        let file: any DiskFile
        do {
            file = try disk.open(path, .create)
            try file.allocate(VaultLayout.fileBytes(size))
            try file.write(chunk, 0..<Format.blockBytes, at: 0)
        } catch {
            throw Self.refusal(error)
        }
        var storedHash = SHA256()
        storedHash.update(chunk.span(0..<Format.blockBytes))
        self.storedHash = storedHash
        header = [UInt8](copying: chunk.span(VaultLayout.authenticatedHeader))
        self.key = key
        self.temporaryName = temporaryName
        self.size = size
        self.file = file
        self.cipher = cipher
        self.chunk = chunk
    }

    static func refusal(_ error: IOError) -> JournalError {
        error.errno == .noSpace || error.errno == .quotaExceeded ? .noSpace(error) : .io(error)
    }

    /// Takes the next bytes.
    ///
    /// - Precondition: not more than were announced.
    /// - Throws: `.noSpace`, `.io`; the object cannot be finished then.
    /// - Durability: none
    package mutating func append(_ bytes: Span<UInt8>) throws(JournalError) {
        precondition(bytes.count <= size - count, "not more than was announced")
        plainHash.update(bytes)
        count += bytes.count
        var at = 0
        while at < bytes.count {
            // A full chunk waits until more follows it: the last one is sealed as the last one.
            if filled == VaultLayout.chunkBytes { try write() }
            let portion = min(bytes.count - at, VaultLayout.chunkBytes - filled)
            chunk.copy(bytes.extracting(at..<at + portion), to: filled)
            filled += portion
            at += portion
        }
    }

    private mutating func write() throws(JournalError) {
        let nonce = VaultLayout.nonce(chunkIndex, of: size)
        Self.seal(&chunk, filled, &cipher, nonce, header)
        let stored = 0..<filled + VaultLayout.tagBytes
        var hash = storedHash
        hash.update(chunk.span(stored))
        storedHash = hash
        do throws(IOError) {
            try file.write(chunk, stored, at: VaultLayout.offset(chunkIndex))
            unsynced += stored.count
            // A sync of everything at the end would hold up all other work of the vault's thread.
            if unsynced >= Self.unsyncedBytesMax {
                try file.sync()
                unsynced = 0
            }
        } catch { throw Self.refusal(error) }
        chunkIndex += 1
        filled = 0
    }

    private static func seal(
        _ chunk: inout PageBuffer, _ count: Int, _ cipher: inout MessageCipher, _ nonce: Nonce,
        _ header: [UInt8]
    ) {
        var message = chunk.mutableSpan(0..<count)
        let tag = cipher.seal(&message, nonce: nonce, additional: header.span)
        chunk.store(tag.low, at: count)
        chunk.store(tag.high, at: count + 8)
    }

    private static let unsyncedBytesMax = 8 << 20

    /// Writes what is left and makes the file durable, still under its temporary name.
    ///
    /// - Precondition: as many bytes were taken as were announced.
    /// - Durability: the bytes are on disk when this returns
    mutating func seal() throws(JournalError) -> StoredObject {
        precondition(count == size, "as much as was announced")
        try write()
        do throws(IOError) { try file.sync() } catch { throw Self.refusal(error) }
        return StoredObject(
            name: ObjectName(storedHash.finalize()), sha256: plainHash.finalize(), size: size)
    }
}
