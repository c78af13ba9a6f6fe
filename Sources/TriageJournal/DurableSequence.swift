// How far a journal is durable, for whoever reads its files beside the writer: what stands behind
// that was written, and perhaps never will have been.

internal import Synchronization

/// The last durable record of a journal: told by its writer, asked from any thread.
final class DurableSequence: Sendable {
    private let known = Atomic<UInt64>(0)
    private let hasWriter = Atomic<Bool>(false)

    /// The last durable record; nil before the journal was opened for writing.
    var value: UInt64? {
        guard hasWriter.load(ordering: .acquiring) else { return nil }
        return known.load(ordering: .acquiring)
    }

    /// Every record up to this one is on disk.
    func reached(_ sequence: UInt64) {
        known.store(sequence, ordering: .releasing)
        hasWriter.store(true, ordering: .releasing)
    }
}
