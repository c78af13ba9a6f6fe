// The signed heads of a directory seen from outside, each with the key that must have signed it.
// Verifies signatures; whether the heads are the journal's is checked with the journal.

internal import TriageBase
internal import TriageCrypto
internal import TriageIO

extension Inspection {
    /// The signed heads, oldest first, each with a good signature; none without encryption.
    ///
    /// - Throws: `.dataLoss` for the first one that does not verify, `.foreignCluster`,
    ///   `.newerVersion`, `.io`.
    package func signedHeads() throws(JournalError) -> [KnownHead] {
        guard let heads = try readHeads() else { return [] }
        var result: [KnownHead] = []
        for index in heads.file.heads.indices { result.append(try heads.known(index)) }
        return result
    }

    /// The directory's signing keys: number, and the public half as it is handed out.
    package func signingKeys() -> [(number: UInt32, key: NoteKey)] {
        guard let keys else { return [] }
        return keys.keys.compactMap { info in
            guard info.kind == .signing, let key = keys.signingKey(info.number) else { return nil }
            return (info.number, HeadText.noteKey(cluster, key.verifyingKey))
        }
    }

    /// The signed heads, their signatures not verified; nil when there are none.
    func readHeads() throws(JournalError) -> SignedHeads? {
        guard try Inventory(disk, path).hasHeads else { return nil }
        guard let keys else { throw HeadsFile.withoutKeys }
        return SignedHeads(try HeadsFile.read(disk, path, cluster), keys)
    }

    var segmentReader: SegmentReader {
        SegmentReader(disk: disk, cluster: cluster, keys: keys)
    }
}

/// The heads in a file, and the keys that they name.
struct SignedHeads {
    let file: HeadsFile
    private let keys: KeyRing

    init(_ file: HeadsFile, _ keys: KeyRing) {
        self.file = file
        self.keys = keys
    }

    /// A head with its key.
    ///
    /// - Throws: `.dataLoss`: its key is unknown, or its signature wrong.
    func known(_ index: Int) throws(JournalError) -> KnownHead {
        let key = try verify(index)
        return KnownHead(
            signed: file.heads[index], key: HeadText.noteKey(keys.cluster, key),
            note: file.heads[index].note(keys.cluster, key))
    }

    /// What the journal must contain: the heads from a place in the file on, each verified.
    ///
    /// - Throws: as ``known(_:)``.
    func checkpoints(from start: Int) throws(JournalError) -> [Checkpoint] {
        var result: [Checkpoint] = []
        for index in start..<file.heads.count {
            _ = try verify(index)
            result.append(checkpoint(index))
        }
        return result
    }

    /// What the journal must contain: every head that verifies; the others become problems.
    func checkpoints(_ problems: inout [JournalError]) -> [Checkpoint] {
        var result: [Checkpoint] = []
        for index in file.heads.indices {
            do throws(JournalError) {
                _ = try verify(index)
                result.append(checkpoint(index))
            } catch { problems.append(error) }
        }
        return result
    }

    private func checkpoint(_ index: Int) -> Checkpoint {
        Checkpoint(
            head: file.heads[index].head, file: FileName.heads,
            offset: HeadsFile.offset(of: index) + 24)
    }

    /// Verifies a head's signature.
    ///
    /// - Returns: The key that made it.
    private func verify(_ index: Int) throws(JournalError) -> VerifyingKey {
        let head = file.heads[index]
        guard let key = keys.signingKey(head.keyNumber)?.verifyingKey else {
            throw fault(index, "is of signing key \(head.keyNumber), which `keys` lacks")
        }
        guard head.verifies(keys.cluster, key) else {
            throw fault(index, "was not signed so by signing key \(head.keyNumber)")
        }
        return key
    }

    private func fault(_ index: Int, _ what: String) -> JournalError {
        .dataLoss(
            file: FileName.heads, offset: HeadsFile.offset(of: index),
            what: "the head of \(file.heads[index].head.sequence) records \(what)")
    }
}
