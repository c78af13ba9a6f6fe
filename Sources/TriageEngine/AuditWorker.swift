// Signed heads and proofs beside the engine: heads are signed on the journal's helper thread,
// proofs are made from files on a thread of their own. Knows no call and no role.

package import TriageBase
package import TriageCodec
internal import TriageIO
package import TriageJournal

/// What an auditor wants proved.
///
/// A size names a signed head by its records; nil: the newest one.
package enum AuditQuestion: Sendable {
    /// That a record stands in the journal of a signed head.
    case record(sequence: UInt64, size: UInt64?)
    /// That the journal of a signed head is the beginning of that of a later one.
    case history(from: UInt64, to: UInt64?)
}

/// What came of signing, or of a question.
package enum AuditAnswer: Sendable {
    /// The head is on disk.
    case head(SignedHeadReport)
    /// The proof as a file says it (FORMAT.md §15).
    case proof(String)
    /// It could not be done.
    case failed(EngineFailure)
}

/// Signs heads and makes proofs, as the engine needs it.
package protocol HeadKeeper: AnyObject, Sendable {
    /// Signs the durable head; returns at once.
    ///
    /// - Isolation: the engine's thread
    func sign(_ time: WallTime, report: @escaping @Sendable (AuditAnswer) -> Void)
    /// Makes a proof; returns at once.
    func prove(_ question: AuditQuestion, report: @escaping @Sendable (AuditAnswer) -> Void)
    /// How far heads are signed.
    var status: SigningStatus { get }
}

/// Heads and proofs of a data directory.
///
/// `@unchecked Sendable`: the journal is touched by ``sign(_:report:)`` alone, which is called on
/// its thread, the engine's.
final class AuditWorker: HeadKeeper, @unchecked Sendable {
    private let writer: JournalWriter
    private let directory: DataDirectory
    private let signing: @Sendable () -> SigningStatus
    private let failed: @Sendable (JournalError) -> Void
    private let worker: any Worker

    /// Makes a keeper of heads; fails without encryption, because there is no signing key.
    ///
    /// - Parameters:
    ///   - writer: The journal.
    ///   - directory: Where it lies.
    ///   - workers: Where its thread comes from.
    ///   - failed: Called with what an operator has to know, on the helper threads.
    /// - Throws: ``IOError``: `.thread`.
    init?(
        _ writer: JournalWriter, _ directory: DataDirectory, _ workers: any WorkerSource,
        failed: @escaping @Sendable (JournalError) -> Void
    ) throws(IOError) {
        guard let signing = writer.signing else { return nil }
        self.writer = writer
        self.directory = directory
        self.signing = signing
        self.failed = failed
        worker = try workers.makeWorker(name: "proof", urgency: .background)
    }

    var status: SigningStatus { signing() }

    func sign(_ time: WallTime, report: @escaping @Sendable (AuditAnswer) -> Void) {
        let failed = failed
        writer.signHead(time: time) { result in
            switch result {
            case .success(let receipt): report(.head(SignedHeadReport(receipt)))
            case .failure(let error):
                failed(error)
                report(.failed(.signingFailed))
            }
        }
    }

    func prove(_ question: AuditQuestion, report: @escaping @Sendable (AuditAnswer) -> Void) {
        worker.submit { [directory, failed] in
            do throws(ProverError) {
                report(.proof(try Self.answer(question, directory)))
            } catch {
                switch error {
                case .request(let what): report(.failed(.notProvable(what)))
                case .journal(let error):
                    failed(error)
                    report(.failed(.proofFailed))
                }
            }
        }
    }

    private static func answer(
        _ question: AuditQuestion, _ directory: DataDirectory
    ) throws(ProverError) -> String {
        var prover = try directory.makeProver()
        switch question {
        case .record(let sequence, let size):
            return try prover.prove(sequence, in: try prover.head(of: size)).description
        case .history(let from, let to):
            return try prover.prove(from: try prover.head(of: from), to: try prover.head(of: to))
                .description
        }
    }

    /// Finishes the proofs that were begun, and ends the thread.
    func stop() { worker.stop() }
}

extension SignedHeadReport {
    fileprivate init(_ receipt: SignedHeadReceipt) {
        self.init(
            size: receipt.signed.head.sequence, root: receipt.signed.head.root,
            time: receipt.signed.time, checkpoint: receipt.note.description,
            verifierKey: receipt.key.description)
    }
}
