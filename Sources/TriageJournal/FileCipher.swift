// What encrypts the batches of a segment or the blocks of a snapshot, or leaves them as they are
// (FORMAT.md §5). Knows which bytes are authenticated beside a message, not what a message is.

internal import TriageBase
internal import TriageCrypto
internal import TriageIO

/// The cipher of one file.
///
/// No nonce may come twice under one key, or both messages are lost. The key is the file's alone:
/// it follows from 32 bytes that are random for each file. Under it every message has 96 random
/// bits of its own; a counter would start again where a write was cut and is written anew, and
/// nobody could tell whether the first attempt had reached the disk. Of 2^24 messages at most,
/// which is what a file has room for, two share a nonce with a probability below 2^-49.
struct FileCipher: ~Copyable {
    /// nil: the content stands as it is.
    private var sealing: Sealing?

    private struct Sealing: ~Copyable {
        var cipher: MessageCipher
        /// Cluster id, then what of a message's header is authenticated.
        var additional: PageBuffer

        mutating func seal(
            _ buffer: inout PageBuffer, _ message: Range<Int>, _ header: Range<Int>, _ nonce: Nonce
        ) -> Tag {
            additional.copy(buffer.span(header), to: 16)
            return Self.seal(&cipher, &buffer, message, nonce, additional, 16 + header.count)
        }

        // Apart from the value, whose two parts the compiler does not tell apart here.
        private static func seal(
            _ cipher: inout MessageCipher, _ buffer: inout PageBuffer, _ message: Range<Int>,
            _ nonce: Nonce, _ additional: borrowing PageBuffer, _ count: Int
        ) -> Tag {
            var bytes = buffer.mutableSpan(message)
            return cipher.seal(&bytes, nonce: nonce, additional: additional.span(0..<count))
        }

        mutating func open(
            _ buffer: inout PageBuffer, _ message: Range<Int>, _ header: Range<Int>,
            _ nonce: Nonce, _ tag: Tag
        ) -> Bool {
            additional.copy(buffer.span(header), to: 16)
            return Self.open(&cipher, &buffer, message, nonce, tag, additional, 16 + header.count)
        }

        private static func open(
            _ cipher: inout MessageCipher, _ buffer: inout PageBuffer, _ message: Range<Int>,
            _ nonce: Nonce, _ tag: Tag, _ additional: borrowing PageBuffer,
            _ count: Int
        ) -> Bool {
            var bytes = buffer.mutableSpan(message)
            do {
                try cipher.open(
                    &bytes, nonce: nonce, tag: tag, additional: additional.span(0..<count))
                return true
            } catch {
                return false
            }
        }
    }

    /// The cipher of a file.
    ///
    /// - Parameters:
    ///   - header: The file's header.
    ///   - file: For errors.
    ///   - keys: The directory's keys; nil when it has none.
    /// - Throws: `.dataLoss` when the header contradicts that, or names a key that is not there;
    ///   `.crypto`.
    init(_ header: HeaderBlock, _ file: String, _ keys: KeyRing?) throws(JournalError) {
        guard header.cipher != .none else {
            if keys != nil {
                throw .dataLoss(
                    file: file, offset: 56,
                    what: "it is not encrypted, and everything in this directory should be")
            }
            sealing = nil
            return
        }
        guard let key = keys?.dataKey(header.keyNumber) else {
            throw .dataLoss(
                file: file, offset: 60,
                what: "it is encrypted with data key \(header.keyNumber), which keys has not")
        }
        var block = PageBuffer(capacity: Format.blockBytes)
        header.store(in: &block)
        let info = Self.info(block)
        do {
            let cipher = try MessageCipher(
                key.derive(salt: block.span(96..<128), info: info.span))
            block.store(header.cluster, at: 0)
            sealing = Sealing(cipher: cipher, additional: block)
        } catch {
            throw .crypto(error)
        }
    }

    /// The cipher of a file that is being made, which its header then describes.
    ///
    /// - Throws: `.crypto`.
    init(
        making header: inout HeaderBlock, _ keys: KeyRing?, _ random: inout RandomBytes
    ) throws(JournalError) {
        if let keys {
            header.cipher = .aes256GCM
            header.keyNumber = keys.dataKeyInUse
            header.salt = Digest(random.word(), random.word(), random.word(), random.word())
        }
        try self.init(header, "", keys)
    }

    private static func info(_ header: borrowing PageBuffer) -> [UInt8] {
        var info = Array("triaged file".utf8)
        info.append(copying: header.span(0..<12))
        info.append(copying: header.span(16..<40))
        return info
    }

    /// Encrypts a message where it stands.
    ///
    /// - Parameters:
    ///   - buffer: Holds the message and its header.
    ///   - message: Where the message is.
    ///   - header: What of its header is authenticated.
    ///   - random: Gives the nonce.
    /// - Returns: The nonce and the tag; zero without encryption.
    mutating func seal(
        _ buffer: inout PageBuffer, _ message: Range<Int>, header: Range<Int>,
        random: inout RandomBytes
    ) -> (nonce: Nonce, tag: Tag) {
        let nonce = sealing == nil ? Nonce(0, 0) : random.nonce()
        let tag = sealing?.seal(&buffer, message, header, nonce)
        return (nonce, tag ?? Tag(0, 0))
    }

    /// Decrypts a message where it stands.
    ///
    /// - Returns: False when it was not sealed so; what stands there then means nothing.
    mutating func open(
        _ buffer: inout PageBuffer, _ message: Range<Int>, header: Range<Int>, nonce: Nonce,
        tag: Tag
    ) -> Bool {
        sealing?.open(&buffer, message, header, nonce, tag)
            ?? (nonce == Nonce(0, 0) && tag == Tag(0, 0))
    }
}

extension PageBuffer {
    mutating func store(_ nonce: Nonce, at offset: Int) {
        store(nonce.low, at: offset)
        store(nonce.high, at: offset + 8)
    }

    mutating func store(_ tag: Tag, at offset: Int) {
        store(tag.low, at: offset)
        store(tag.high, at: offset + 8)
    }
}

extension Span<UInt8> {
    func loadNonce(at offset: Int) -> Nonce {
        Nonce(loadUInt64(at: offset), loadUInt32(at: offset + 8))
    }

    func loadTag(at offset: Int) -> Tag {
        Tag(loadUInt64(at: offset), loadUInt64(at: offset + 8))
    }
}
