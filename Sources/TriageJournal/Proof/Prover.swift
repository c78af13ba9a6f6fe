// Makes proofs from a data directory seen from outside: which signed head, the digests from the
// leaf store, the records from their segments. Checks every proof before it hands it out; changes
// nothing.

internal import TriageBase
internal import TriageCrypto
internal import TriageIO

/// Why something cannot be proved.
package enum ProverError: Error, Equatable, Sendable {
    /// What is asked for makes no sense for this journal.
    case request(String)
    /// The directory cannot be read, or does not verify.
    case journal(JournalError)
}

extension ProverError: CustomStringConvertible {
    /// What to do.
    package var description: String {
        switch self {
        case .request(let what): what
        case .journal(let error): "\(error)"
        }
    }
}

/// A signed head of a directory, with the key that signed it.
package struct KnownHead: Equatable, Sendable {
    /// The head and its signature.
    package let signed: SignedHead
    /// What it verifies with.
    package let key: NoteKey
    /// As a signed note.
    package let note: SignedNote
}

/// Makes proofs.
///
/// - Isolation: one thread at a time.
package struct Prover {
    private let parts: [JournalPart]
    private let reader: SegmentReader
    private var store: LeafStore
    private let signed: SignedHeads

    /// Reads the signed heads and the headers of a directory.
    ///
    /// - Throws: `.journal`; `.request` for a directory without signed heads.
    package init(_ inspection: Inspection) throws(ProverError) {
        guard inspection.version == Format.version else {
            throw .request("the directory is of format version 1, which has no tree: upgrade it")
        }
        reader = inspection.segmentReader
        let found: SignedHeads?
        do throws(JournalError) {
            found = try inspection.readHeads()
            parts = try inspection.parts(withLeaves: true)
        } catch { throw .journal(error) }
        guard let found, !found.file.heads.isEmpty else {
            throw .request(
                "the directory has no signed head: only an encrypted one has a signing key, and "
                    + "the server signs the first head soon after its first record")
        }
        signed = found
        store = try Self.store(inspection, parts, reader)
    }

    private static func store(
        _ inspection: Inspection, _ parts: [JournalPart], _ reader: SegmentReader
    ) throws(ProverError) -> LeafStore {
        do throws(JournalError) {
            return try LeafStore(inspection.disk, inspection.path, parts, reader)
        } catch { throw .journal(error) }
    }

    /// The signed head of a size, or the newest one.
    ///
    /// - Throws: `.request` when there is none.
    package func head(of size: UInt64?) throws(ProverError) -> KnownHead {
        let heads = signed.file.heads
        let index =
            size.map { size in heads.lastIndex { $0.head.sequence == size } } ?? heads.count - 1
        guard let index else {
            let sizes = heads.map(\.head.sequence)
            let near = sizes.last { $0 < size ?? 0 }.map { "\($0)" } ?? "none before"
            let next = sizes.first { $0 > size ?? 0 }.map { "\($0)" } ?? "none behind"
            throw .request(
                "no head of \(size ?? 0) records was signed; the nearest are \(near), \(next)")
        }
        do throws(JournalError) { return try signed.known(index) } catch { throw .journal(error) }
    }

    /// Proves that a record stands in the journal of a signed head.
    ///
    /// - Parameters:
    ///   - sequence: Of the record.
    ///   - head: Which head.
    /// - Returns: The proof, checked.
    /// - Throws: ``ProverError``.
    package mutating func prove(
        _ sequence: UInt64, in head: KnownHead
    ) throws(ProverError) -> RecordProof {
        let size = head.signed.head.sequence
        guard sequence > 0, sequence <= size else {
            throw .request(
                "record \(sequence) is not in the journal of the signed head, which ends with "
                    + "record \(size)")
        }
        do throws(JournalError) {
            try checkSize(size)
            let proof = try store.inclusionProof(of: sequence - 1, size: size)
            let leaf = try store.subtree(level: 0, index: sequence - 1)
            guard proof.verifies(leaf, in: head.signed.head) else { throw doubt(head) }
            var found: RecordEntry?
            if try hasRecord(sequence) {
                try readRecords(sequence...sequence, shows: { _, _ in false }) { found = $0 }
            }
            if let entry = found, entry.leaf != leaf {
                throw .dataLoss(
                    file: FileName.heads, offset: 0,
                    what: "record \(sequence) is not the one that was committed: run "
                        + "`triaged inspect verify`")
            }
            return RecordProof(entry: found, proof: proof, note: head.note)
        } catch { throw .journal(error) }
    }

    /// Proves that the journal of a signed head is the beginning of that of another.
    ///
    /// - Parameters:
    ///   - earlier: The smaller one.
    ///   - later: The larger one.
    /// - Returns: The proof, checked.
    /// - Throws: ``ProverError``.
    package mutating func prove(
        from earlier: KnownHead, to later: KnownHead
    ) throws(ProverError) -> HistoryProof {
        let (from, to) = (earlier.signed.head, later.signed.head)
        guard from.sequence <= to.sequence else {
            throw .request(
                "the head of \(from.sequence) records is the later one: change them over")
        }
        do throws(JournalError) {
            try checkSize(to.sequence)
            let proof = try store.consistencyProof(from: from.sequence, to: to.sequence)
            guard proof.verifies(from, to) else { throw doubt(later) }
            return HistoryProof(proof: proof, earlier: earlier.note, later: later.note)
        } catch { throw .journal(error) }
    }

    /// Writes a run of records with the proof that they stand in the journal of a signed head.
    ///
    /// - Parameters:
    ///   - range: Sequences.
    ///   - head: Which head.
    ///   - shows: Whether a sealed field is shown, by sequence and number (from 1).
    ///   - write: Takes the text, piece by piece.
    /// - Throws: ``ProverError``; what was written until then is no proof.
    package mutating func export(
        _ range: ClosedRange<UInt64>, in head: KnownHead, shows: (UInt64, Int) -> Bool,
        write: (String) -> Void
    ) throws(ProverError) {
        let size = head.signed.head.sequence
        guard range.lowerBound > 0, range.upperBound <= size else {
            throw .request(
                "records \(range.lowerBound) to \(range.upperBound) are not all in the journal of "
                    + "the signed head, which has records 1 to \(size)")
        }
        do throws(JournalError) {
            try checkSize(size)
            let proof = try store.rangeProof(
                first: range.lowerBound - 1, count: UInt64(range.count), size: size)
            guard var verifier = proof.verifier() else {
                preconditionFailure("a proof of ours has as many digests as it needs")
            }
            write(ExportHeader(proof: proof, note: head.note).description)
            try readRecords(range, shows: shows) { entry in
                _ = verifier.append(entry.leaf)
                write(entry.lines)
            }
            guard verifier.verifies(in: head.signed.head) else { throw doubt(head) }
        } catch { throw .journal(error) }
    }

    private func checkSize(_ size: UInt64) throws(JournalError) {
        guard size <= store.size else {
            throw .gap(file: FileName.heads, missing: store.size + 1)
        }
    }

    private func doubt(_ head: KnownHead) -> JournalError {
        .dataLoss(
            file: FileName.heads, offset: 0,
            what: "the journal does not lead to the head of \(head.signed.head.sequence) records "
                + "that was signed: run `triaged inspect verify`")
    }

    // MARK: Records

    /// The parts that hold records of a range, in order.
    private func parts(of range: ClosedRange<UInt64>) -> [JournalPart] {
        parts.indices.filter { index in
            parts[index].first <= range.upperBound
                && (index == parts.count - 1 || parts[index + 1].first > range.lowerBound)
        }.map { parts[$0] }
    }

    /// Whether the segment of a record is there.
    private func hasRecord(_ sequence: UInt64) throws(JournalError) -> Bool {
        parts(of: sequence...sequence).allSatisfy { $0.directory != nil }
    }

    private func readRecords(
        _ range: ClosedRange<UInt64>, shows: (UInt64, Int) -> Bool,
        _ body: (RecordEntry) -> Void
    ) throws(JournalError) {
        var memory = PageBuffer(capacity: Format.blockBytes)
        for part in parts(of: range) {
            guard let directory = part.directory else {
                throw .gap(file: part.file, missing: max(part.first, range.lowerBound))
            }
            let segment = try reader.read(
                part.first, in: directory, isLast: part.isLast, memory: memory, hashes: false)
            for batch in segment.batches
            where batch.first <= range.upperBound
                && batch.first + batch.count > range.lowerBound
            {
                try Self.readBatch(segment, batch, range, shows, body)
            }
            let end = segment.batches.last.map { $0.first + $0.count } ?? part.first
            if let problem = segment.problem, end <= range.upperBound { throw problem }
            memory = segment.takeMemory()
        }
    }

    private static func readBatch(
        _ segment: borrowing SegmentContent, _ batch: BatchPlace, _ range: ClosedRange<UInt64>,
        _ shows: (UInt64, Int) -> Bool, _ body: (RecordEntry) -> Void
    ) throws(JournalError) {
        let records = segment.bytes.extracting(0..<batch.records.upperBound)
        var offset = batch.records.lowerBound
        for sequence in batch.first..<batch.first + batch.count {
            guard let layout = RecordLayout(records, at: offset) else {
                throw .dataLoss(
                    file: segment.file, offset: offset, what: "record \(sequence) is malformed")
            }
            if range.contains(sequence) {
                guard
                    let entry = RecordEntry(
                        records, layout, sequence: sequence, shows: { shows(sequence, $0) })
                else {
                    throw .dataLoss(
                        file: segment.file, offset: offset, what: "record \(sequence) is malformed")
                }
                body(entry)
            }
            offset = layout.end
        }
    }
}

extension DataDirectory {
    /// Makes proofs from the directory while its journal is being written; also of records whose
    /// segments are in the archive, as long as that can be listed.
    ///
    /// - Throws: ``ProverError``.
    package func makeProver() throws(ProverError) -> Prover {
        var archive: String?
        if case .archive(let place) = options.journalRetention,
            (try? Inventory.archived(disk, place)) != nil
        {
            archive = place
        }
        return try Prover(Inspection(self, archive: archive))
    }
}
