// All that the World is, as values: what a snapshot holds. Whatever can be computed from it
// (indexes, timers, counts) is elsewhere and is rebuilt at recovery.

package import TriageBase

/// The World's state.
///
/// A copy is a handful of retains, and may be read on another thread while the World goes on.
package struct WorldState: Sendable {
    /// Every case, at the index that is its number.
    package internal(set) var cases = ChunkedArray<Case>(startIndex: 1)
    /// Held assignments and those that ended within the last 24 hours, at the index that is their
    /// number; older ones follow out when everything before them has.
    package internal(set) var assignments = ChunkedArray<Assignment>(startIndex: 1)
    /// Every disclosure request, oldest first.
    package internal(set) var disclosures = ChunkedArray<DisclosureRequest>()
    /// All evidence, erased or not, at the index that is its number.
    package internal(set) var evidence = ChunkedArray<Evidence>(startIndex: 1)
    /// Every hold, ended or not, at the index that is its number.
    package internal(set) var holds = ChunkedArray<Hold>(startIndex: 1)
    /// Every principal that was seen, at the index that is its ``PrincipalIndex``.
    package internal(set) var principals = ChunkedArray<Principal>(startIndex: 1)
    /// Answers to recent request ids, oldest first.
    package internal(set) var ledger = ChunkedArray<LedgerEntry>()
    /// What only ever counts up.
    package internal(set) var counters = WorldCounters()
}

extension WorldState {
    /// Every report that has no words any more, and all evidence whose caption was erased with it.
    ///
    /// - Complexity: O(reports and evidence)
    package var erasedWords: [ErasedWords] {
        var found: [ErasedWords] = []
        func note(_ report: StoredReport) {
            guard report.content == Erased.content else { return }
            found.append(
                ErasedWords(owner: .report(report.number), recordedAt: report.receivedAt))
        }
        cases.forEachChunk(in: cases.startIndex..<cases.endIndex) { chunk, offsets in
            // Report by report: a case that is handed out is copied with all that it holds.
            let cases = chunk.span
            for offset in offsets {
                note(cases[offset].first)
                for report in cases[offset].more { note(report) }
            }
        }
        for evidence in evidence where evidence.erasure != nil {
            if evidence.attachment.caption.isEmpty { continue }
            found.append(
                ErasedWords(owner: .evidence(evidence.number), recordedAt: evidence.attachedAt))
        }
        return found
    }
}

/// What the service holds, for its status.
package struct WorldCounts: Equatable, Sendable {
    /// Open cases of one level.
    package struct LevelCounts: Equatable, Sendable {
        /// Cases that wait.
        package var queued = 0
        /// Cases that somebody holds, or that are decided and not yet closed.
        package var held = 0
        /// When the oldest one that waits was received; nil when none waits.
        package var oldestQueued: WallTime?
    }
    /// By the raw value of the level.
    package var levels = [LevelCounts](repeating: LevelCounts(), count: Level.allCases.count)
    package var openCases = 0
    /// Closed ones included; also the number of the newest.
    package var cases = 0
    /// The newest case; `.none` before the first.
    package var lastCase = CaseNumber.none
    package var reports = 0
    /// Offered or active.
    package var heldAssignments = 0
    package var disclosures = 0
    /// Neither approved nor rejected.
    package var openDisclosures = 0
    /// Objects of evidence that are not erased, and their bytes.
    package var evidence = 0
    package var evidenceBytes = 0
    package var activeHolds = 0
    /// Lanes of the priority index.
    package var lanes = 0
    package var principals = 0
    /// Request ids that are remembered.
    package var ledgerEntries = 0
}
