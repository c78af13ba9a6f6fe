// What is written beside the commits, the mark and the leaves of complete segments: what of it
// failed, so that an operator sees it and the next tidying makes up for it.

internal import TriageBase
internal import TriageIO

/// What could not be written beside the commits since the start.
///
/// No record is lost by it.
package struct HousekeepingStatus: Equatable, Sendable {
    /// Marks that could not be written: the one before stays true.
    package var markFailures = 0
    /// Leaves that could not be written.
    package var leavesFailures = 0
    /// Complete segments that have no leaves because of that: until they do, these and all later
    /// ones stay, with erased words in them.
    package var leavesMissing = 0

    /// Nothing failed.
    package init() {}
}

/// Counts what fails beside the commits, and tells of it.
///
/// - Isolation: any
final class Housekeeping: Sendable {
    private struct State: Sendable {
        var status = HousekeepingStatus()
        var isMarkFailing = false
        /// First sequences of the segments whose leaves are not there.
        var withoutLeaves: Set<UInt64> = []
    }

    private let state = Lock(State())
    private let failed: @Sendable (JournalError) -> Void

    /// Begins with nothing.
    ///
    /// - Parameter failed: Called with each failure to write leaves, and with the first one in a
    ///   row to write the mark, by whoever wrote.
    init(_ failed: @escaping @Sendable (JournalError) -> Void) { self.failed = failed }

    var status: HousekeepingStatus { state.withLock { $0.status } }

    /// The segments that have no leaves, oldest first.
    var withoutLeaves: [UInt64] { state.withLock { $0.withoutLeaves.sorted() } }

    /// The mark was written, or (with an error) was not.
    func markWritten(_ error: IOError?) {
        let isFirst = state.withLock { state in
            defer { state.isMarkFailing = error != nil }
            if error != nil { state.status.markFailures += 1 }
            return !state.isMarkFailing
        }
        if let error, isFirst { failed(.io(error)) }
    }

    /// The leaves of a segment could not be written.
    func leavesFailed(_ first: UInt64, _ error: IOError) {
        state.withLock { state in
            state.status.leavesFailures += 1
            state.withoutLeaves.insert(first)
            state.status.leavesMissing = state.withoutLeaves.count
        }
        failed(.io(error))
    }

    /// The leaves of a segment are there after all.
    func leavesMade(_ first: UInt64) {
        state.withLock { state in
            state.withoutLeaves.remove(first)
            state.status.leavesMissing = state.withoutLeaves.count
        }
    }
}
