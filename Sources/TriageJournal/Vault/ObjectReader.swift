// Reads one object, chunk by chunk, each proven before it is handed out. Knows no table of keys and
// no policy.

package import TriageBase
internal import TriageCrypto
internal import TriageIO

/// An object that is being read.
///
/// Holds one chunk, whatever the object's size.
///
/// - Isolation: the vault's thread
package struct ObjectReader: ~Copyable {
    /// Which object.
    package let name: ObjectName
    /// Bytes of its plaintext.
    package let size: Int
    private let file: any DiskFile
    private var cipher: MessageCipher
    private var chunk: PageBuffer
    private let header: [UInt8]
    private var chunkIndex = 0
    private let fileName: String

    /// Opens an object and checks its length.
    ///
    /// - Throws: `.dataLoss` when there is no such file, its header does not verify, or it has
    ///   another length than its header says; `.foreignCluster`, `.newerVersion`, `.io`.
    init(
        _ disk: any Disk, _ directory: String, _ name: ObjectName, _ stored: String,
        cluster: ClusterID, key: SecretKey
    ) throws(JournalError) {
        let fileName = FileName.vault + "/" + stored
        var chunk = PageBuffer(capacity: VaultLayout.chunkBytes + VaultLayout.tagBytes)
        let file: any DiskFile
        let bytes: Int
        let read: Int
        do {
            file = try disk.open(directory + "/" + stored, .read)
            bytes = try file.size()
            read = try file.read(into: &chunk, 0..<Format.blockBytes, at: 0)
        } catch {
            guard error.errno == .notFound else { throw .io(error) }
            throw .dataLoss(file: fileName, offset: 0, what: "the object is missing")
        }
        let block = try HeaderBlock(chunk.span(0..<read), .object, file: fileName)
        guard block.cluster == cluster else {
            throw .foreignCluster(file: fileName, expected: cluster, found: block.cluster)
        }
        guard block.size <= UInt64(Limits.objectBytesMax),
            VaultLayout.fileBytes(Int(block.size)) == bytes
        else {
            throw .dataLoss(
                file: fileName, offset: bytes, what: "the file is not as long as its header says")
        }
        let cipher: MessageCipher
        do { cipher = try MessageCipher(key) } catch { throw .crypto(error) }
        header = [UInt8](copying: chunk.span(VaultLayout.authenticatedHeader))
        size = Int(block.size)
        self.name = name
        self.fileName = fileName
        self.file = file
        self.cipher = cipher
        self.chunk = chunk
    }

    /// Hands out the next chunk: 1 to 65,536 bytes; an empty object has none.
    ///
    /// - Returns: False at the end, without having called `body`.
    /// - Throws: `.dataLoss` when the chunk does not verify: it is not handed out; `.io`.
    package mutating func next(_ body: (Span<UInt8>) -> Void) throws(JournalError) -> Bool {
        guard chunkIndex < VaultLayout.chunkCount(size) else { return false }
        let plain = VaultLayout.plainBytes(chunkIndex, of: size)
        let offset = VaultLayout.offset(chunkIndex)
        let stored = plain + VaultLayout.tagBytes
        let read: Int
        do throws(IOError) { read = try file.read(into: &chunk, 0..<stored, at: offset) } catch {
            throw .io(error)
        }
        guard read == stored else {
            throw .dataLoss(file: fileName, offset: offset + read, what: "the file ends here")
        }
        let nonce = VaultLayout.nonce(chunkIndex, of: size)
        guard Self.open(&chunk, plain, &cipher, nonce, header) else {
            throw .dataLoss(file: fileName, offset: offset, what: "a chunk does not verify")
        }
        chunkIndex += 1
        guard plain > 0 else { return false }
        body(chunk.span(0..<plain))
        return true
    }

    private static func open(
        _ chunk: inout PageBuffer, _ count: Int, _ cipher: inout MessageCipher, _ nonce: Nonce,
        _ header: [UInt8]
    ) -> Bool {
        let tag = Self.tag(chunk.span(count..<count + VaultLayout.tagBytes))
        var message = chunk.mutableSpan(0..<count)
        do {
            try cipher.open(&message, nonce: nonce, tag: tag, additional: header.span)
            return true
        } catch {
            return false
        }
    }

    private static func tag(_ bytes: Span<UInt8>) -> Tag {
        Tag(bytes.loadUInt64(at: 0), bytes.loadUInt64(at: 8))
    }
}
