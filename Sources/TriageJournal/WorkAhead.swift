// Work that is done on several threads ahead of whoever takes its results in order: what can be
// done to a segment or a block without what comes before it. Knows nothing of what the work is.

internal import TriageBase
package import TriageIO

/// The threads that work ahead.
package struct HelperThreads: Sendable {
    /// How many; 0: none.
    package var count: Int
    /// Where they come from.
    package var source: any WorkerSource

    /// Names the threads; they are made when there is work.
    package init(count: Int, source: any WorkerSource = SystemWorkers()) {
        self.count = count
        self.source = source
    }

    /// No threads: work is done by whoever asks for it.
    package static var none: HelperThreads { HelperThreads(count: 0) }

    /// One of several pieces of work.
    private final class Piece: Sendable {
        let work: @Sendable () -> Void

        init(_ work: @escaping @Sendable () -> Void) { self.work = work }
    }

    /// Runs pieces of work that do not depend on each other, and returns when all are done.
    ///
    /// When the system has no thread left, the caller runs them itself.
    package func run(_ pieces: [@Sendable () -> Void]) {
        do {
            // One more than there are: somebody has to find the end, even of none.
            let work = try WorkAhead<Piece>(
                threads: self, ahead: pieces.count + 1, name: "recovery",
                next: { index, _ in index < pieces.count ? Piece(pieces[index]) : nil },
                makeWork: { { $0.work() } })
            while work.take() != nil {}
        } catch {
            for piece in pieces { piece() }
        }
    }
}

/// Pieces that are worked on ahead, and taken in their order.
///
/// ```
///   next(0), next(1) ...   one after the other, on whichever thread is free
///   work(piece)            on that thread, beside the work on other pieces
///   take()                 the pieces as they were begun; waits for the one that is due
/// ```
///
/// - Isolation: ``take()`` and ``giveBack(_:)`` from one thread.
final class WorkAhead<Piece: AnyObject & Sendable>: Sendable {
    private struct State: Sendable {
        /// How many were begun; one is being begun while `isBeginning`.
        var begun = 0
        var isBeginning = false
        var hasEnded = false
        var taken = 0
        var done: [Int: Piece] = [:]
        var spares: [Piece] = []
        var isStopping = false
    }

    /// Does the work where it is taken, when there are no threads.
    ///
    /// `@unchecked Sendable`: used by the thread that takes.
    private final class Inline: @unchecked Sendable {
        let work: (Piece) -> Void

        init(_ work: @escaping (Piece) -> Void) { self.work = work }
    }

    private let state = Monitor(State())
    private let next: @Sendable (Int, Piece?) -> Piece?
    private let inline: Inline?
    private let threads: [any Worker]
    private let source: any WorkerSource

    /// Begins.
    ///
    /// - Parameters:
    ///   - helpers: The threads that work; none: each piece is begun and worked on as it is taken.
    ///   - ahead: How many pieces there are at once at most, but for the one that was taken last.
    ///   - name: Of the threads.
    ///   - next: Begins a piece, given its index from 0 and a piece to be used again; nil: there
    ///     are no more. Never called by two threads at once.
    ///   - makeWork: Makes what is done to a piece, for one thread.
    /// - Throws: ``IOError``: `.thread`.
    init(
        threads helpers: HelperThreads, ahead: Int, name: String,
        next: @escaping @Sendable (Int, Piece?) -> Piece?,
        makeWork: @escaping @Sendable () -> (Piece) -> Void
    ) throws(IOError) {
        self.next = next
        inline = helpers.count == 0 ? Inline(makeWork()) : nil
        let source = helpers.source
        self.source = source
        var threads: [any Worker] = []
        for _ in 0..<helpers.count {
            threads.append(try source.makeWorker(name: name, urgency: .normal))
        }
        self.threads = threads
        let state = state
        for thread in threads {
            thread.submit { Self.run(state, source, ahead, next, makeWork()) }
        }
    }

    deinit {
        state.change { $0.isStopping = true }
        for thread in threads { thread.stop() }
    }

    private static func run(
        _ state: Monitor<State>, _ source: any WorkerSource, _ ahead: Int,
        _ next: (Int, Piece?) -> Piece?, _ work: (Piece) -> Void
    ) {
        while let (index, spare) = claim(state, source, ahead) {
            let piece = next(index, spare)
            state.change {
                $0.isBeginning = false
                if piece == nil { $0.hasEnded = true } else { $0.begun += 1 }
            }
            guard let piece else { return }
            work(piece)
            state.change { $0.done[index] = piece }
        }
    }

    /// Waits until a piece may be begun; nil when there are no more.
    private static func claim(
        _ state: Monitor<State>, _ source: any WorkerSource, _ ahead: Int
    ) -> (Int, Piece?)? {
        let claimed: (Int, Piece?)?? = source.wait(on: state, before: .never) { state in
            if state.isStopping || state.hasEnded { return .some(nil) }
            guard !state.isBeginning, state.begun < state.taken + ahead else { return nil }
            state.isBeginning = true
            return .some((state.begun, state.spares.popLast()))
        }
        return claimed ?? nil
    }

    /// The next piece; waits for it.
    ///
    /// - Returns: nil behind the last one.
    func take() -> Piece? {
        if let inline {
            let (index, spare) = state.change { state in
                defer { state.taken += 1 }
                return (state.taken, state.spares.popLast())
            }
            guard let piece = next(index, spare) else { return nil }
            inline.work(piece)
            return piece
        }
        let piece: Piece?? = source.wait(on: state, before: .never) { state in
            if let piece = state.done.removeValue(forKey: state.taken) { return .some(piece) }
            return state.hasEnded && state.taken == state.begun ? .some(nil) : nil
        }
        state.change { $0.taken += 1 }
        return piece ?? nil
    }

    /// Gives a piece back, to be used again.
    func giveBack(_ piece: Piece) { state.change { $0.spares.append(piece) } }
}
