// The check of a successor, beside the thread that looks after everything else: who is asked for
// the key may take its time, and a revocation does not wait for it.

internal import TriageBase
internal import TriageIO

/// One run of the program as its successor would begin it.
final class Rehearsal: Sendable {
    /// What came of it.
    enum Verdict: Sendable {
        case fit
        case unfit(String)
    }

    /// How often to ask for the verdict.
    static let lookMilliseconds: Int32 = 50

    private let worker: any Worker
    private let result = Lock<Verdict?>(nil)

    /// Begins it.
    ///
    /// - Parameters:
    ///   - words: The program and what it is given.
    ///   - telling: What it is told beside them.
    ///   - milliseconds: It may take as long.
    /// - Throws: ``IOError``: `.thread`.
    init(_ words: [String], telling: [String], milliseconds: Int32) throws(IOError) {
        worker = try SystemWorkers().makeWorker(name: "rehearsal", urgency: .normal)
        worker.submit { [result] in
            let trouble = Handover.rehearse(
                words, telling: telling, milliseconds: milliseconds)
            result.withLock { $0 = trouble.map(Verdict.unfit) ?? .fit }
        }
    }

    /// What came of it; nil while it runs.
    var verdict: Verdict? { result.withLock { $0 } }
}
