// Reads segments on several threads ahead of whoever goes through them in order: reading,
// decrypting and hashing are what checking a journal costs, and segments do not depend on each
// other in it.

internal import TriageBase
internal import TriageIO

/// Segments that are read ahead.
///
/// - Isolation: ``take(_:)`` from one thread.
final class SegmentsAhead: Sendable {
    /// What one part came to.
    ///
    /// `@unchecked Sendable`: owned by the thread that reads, then by the one that takes.
    private final class Outcome: @unchecked Sendable {
        var content: SegmentContent?
        var error: JournalError?
        /// Memory for the next one.
        var memory: PageBuffer?
    }

    private struct State: Sendable {
        /// The part that is read next.
        var next = 0
        /// Parts that were taken.
        var taken = 0
        var done: [Int: Outcome] = [:]
        var spares: [Outcome] = []
        var stopping = false
    }

    private let state = Monitor(State())
    private let threads: [TaskThread]

    /// Begins to read.
    ///
    /// - Parameters:
    ///   - parts: Those whose segments are there, in the order in which they will be taken.
    ///   - reader: Reads segments.
    ///   - count: Threads that read; that many and one more are held in memory.
    /// - Throws: ``IOError``: `.thread`.
    init(_ parts: [JournalPart], _ reader: SegmentReader, threads count: Int) throws(IOError) {
        var threads: [TaskThread] = []
        for _ in 0..<count { threads.append(try TaskThread(name: "verify")) }
        self.threads = threads
        let state = state
        for thread in threads {
            thread.submit {
                while let (index, outcome) = Self.claim(state, parts.count, ahead: count + 1) {
                    Self.read(parts[index], reader, into: outcome)
                    state.change { $0.done[index] = outcome }
                }
            }
        }
    }

    deinit {
        state.change { $0.stopping = true }
        for thread in threads { thread.stop() }
    }

    private static func claim(
        _ state: Monitor<State>, _ count: Int, ahead: Int
    ) -> (Int, Outcome)? {
        state.wait { state -> (Int, Outcome)?? in
            if state.stopping || state.next >= count { return .some(nil) }
            guard state.next < state.taken + ahead else { return nil }
            defer { state.next += 1 }
            return .some((state.next, state.spares.popLast() ?? Outcome()))
        }
    }

    private static func read(
        _ part: JournalPart, _ reader: SegmentReader, into outcome: Outcome
    ) {
        guard let directory = part.directory else { return }
        let memory = outcome.memory.take() ?? PageBuffer(capacity: Format.blockBytes)
        outcome.error = nil
        do throws(JournalError) {
            outcome.content = try reader.read(
                part.first, in: directory, isLast: part.isLast, memory: memory)
        } catch { outcome.error = error }
    }

    /// The segment of a part; waits for it.
    ///
    /// - Parameter index: 0, then 1, and so on.
    /// - Returns: What was read of it, hashed.
    /// - Throws: As reading it.
    func take(_ index: Int) throws(JournalError) -> SegmentContent {
        let outcome = state.wait { $0.done.removeValue(forKey: index) }
        state.change { $0.taken = index + 1 }
        if let content = outcome.content.take() { return content }
        throw outcome.error ?? .gap(file: FileName.segment(1), missing: 1)
    }

    /// Gives memory back for those that follow.
    func giveBack(_ memory: consuming PageBuffer) {
        let outcome = Outcome()
        outcome.memory = .some(memory)
        state.change { $0.spares.append(outcome) }
    }
}
