// Takes words that were erased out of the journal's old segments, after a snapshot. Knows whose,
// and among which segments to look for them; the journal does the rest.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
internal import TriageJournal

/// What came of taking erased words out of the journal.
package struct ForgottenWords: Equatable, Sendable {
    /// First sequences of the segments that were written anew.
    package var segments: [UInt64] = []
    /// Records whose words are gone.
    package var records = 0
    /// Reports and evidence whose erased words the journal may still have.
    package var waiting = 0
    /// Whether some of them can only be in the segment that is being written.
    package var waitsForSegment = false
}

/// Remembers what was forgotten since the start, so that nothing is looked for twice.
///
/// `@unchecked Sendable`: used by one thread at a time, the one that writes snapshots.
final class WordForgetter: @unchecked Sendable {
    /// Erased words of which no record was found yet.
    private struct Wanted {
        let recordedAt: WallTime
        /// Their record is not behind this one.
        let upTo: UInt64
        /// Segments that do not have it.
        var looked: Set<UInt64> = []
        /// The segment that has it, and goes as a whole.
        var place: UInt64?
    }

    private let words = SealedWords()
    /// Whose words the journal has not any more.
    private var done: Set<WordsOwner> = []
    private var wanted: [WordsOwner: Wanted] = [:]
    /// The segments in which the last run would have found words that are wanted.
    private var lookedThrough: Set<UInt64> = []

    /// Forgets what can be forgotten by now.
    ///
    /// - Parameters:
    ///   - state: A state of which a snapshot is on disk.
    ///   - directory: Where the journal is.
    ///   - goesOn: Asked before each segment; what is left is done after the next snapshot.
    /// - Returns: What was done, and the first failure; the others were done all the same.
    func run(
        _ state: WorldState, _ directory: DataDirectory, goesOn: () -> Bool
    ) -> (forgotten: ForgottenWords, failure: JournalError?) {
        for words in state.erasedWords
        where !done.contains(words.owner) && wanted[words.owner] == nil {
            wanted[words.owner] = Wanted(
                recordedAt: words.recordedAt, upTo: state.counters.sequence)
        }
        var run = Run()
        lookedThrough = []
        guard !wanted.isEmpty else { return (run.forgotten, nil) }
        do throws(JournalError) {
            var redaction = try directory.makeRedaction()
            settleRemoved(redaction.segments)
            var places = wanted.mapValues { Self.candidates($0.recordedAt, redaction.segments) }
            // What moves is out of reach: it is looked through whatever the times say.
            let hints = redaction.moves ? wanted.mapValues { before($0.upTo, redaction) } : places
            let isThrough =
                look(hints, &redaction, &run, goesOn)
                && lookEverywhere(&places, &redaction, &run, goesOn)
            if isThrough, run.failure == nil {
                lookedThrough = Set(
                    redaction.segments.filter { $0.isCovered || $0.isArchived }.map(\.first))
            }
            run.forgotten.waitsForSegment = waitsForSegment(places, redaction.segments.last)
        } catch { run.failure = error }
        run.forgotten.waiting = wanted.count
        return (run.forgotten, run.failure)
    }

    /// Whether a segment has no words any more that were erased in the state of the last run, but
    /// for what the archive has already.
    ///
    /// One that was complete, or had leaves, only after the run had begun was not looked through.
    func isFree(_ first: UInt64) -> Bool { wanted.isEmpty || lookedThrough.contains(first) }

    /// Notes words of which the segment is gone.
    private func settleRemoved(_ segments: [DatedSegment]) {
        for (owner, words) in wanted {
            if let place = words.place, !segments.contains(where: { $0.first == place }) {
                settle(owner)
            }
        }
    }

    /// Whether words were looked for everywhere but in the segment that is being written.
    private func waitsForSegment(
        _ places: [WordsOwner: [DatedSegment]], _ last: DatedSegment?
    ) -> Bool {
        wanted.contains { owner, words in
            let left = places[owner]?.filter { !words.looked.contains($0.first) } ?? []
            return words.place == nil && left.count == 1 && left.first == last
        }
    }

    /// What one run has come to.
    private struct Run {
        var forgotten = ForgottenWords()
        var failure: JournalError?
    }

    /// The segments in which a record of that time can be.
    private static func candidates(
        _ time: WallTime, _ segments: [DatedSegment]
    ) -> [DatedSegment] {
        segments.filter { $0.earliest <= time && time <= $0.latest }
    }

    /// Looks for words that were found in no segment of their time: in all that may have them.
    ///
    /// Of a journal whose beginning is gone they went with it.
    ///
    /// - Parameters:
    ///   - places: Where words are looked for; becomes all segments for these.
    ///   - redaction: The segments.
    ///   - run: What came of it so far.
    ///   - goesOn: Asked before each segment.
    /// - Returns: Whether all that are covered were looked through.
    private func lookEverywhere(
        _ places: inout [WordsOwner: [DatedSegment]], _ redaction: inout Redaction,
        _ run: inout Run, _ goesOn: () -> Bool
    ) -> Bool {
        let lost = places.filter { isLookedFor($0.key) && isLookedThrough($0.key, $0.value) }
        guard redaction.segments.first?.first == 1 else {
            for owner in lost.keys { settle(owner) }
            return true
        }
        for owner in lost.keys {
            places[owner] = before(wanted[owner]?.upTo ?? 0, redaction)
        }
        let isThrough = look(places.filter { lost[$0.key] != nil }, &redaction, &run, goesOn)
        for owner in lost.keys
        where isLookedFor(owner) && isLookedThrough(owner, places[owner] ?? []) {
            settle(owner)
        }
        return isThrough
    }

    /// The segments in which a record that is not behind `last` can be.
    private func before(_ last: UInt64, _ redaction: borrowing Redaction) -> [DatedSegment] {
        redaction.segments.filter { $0.first <= last }
    }

    private func isLookedThrough(_ owner: WordsOwner, _ segments: [DatedSegment]) -> Bool {
        segments.allSatisfy { wanted[owner]?.looked.contains($0.first) ?? true }
    }

    /// Looks for words in those of their segments that are covered, and takes them out; where
    /// segments go as they are, in those that are complete.
    ///
    /// - Returns: Whether all of them were looked through.
    private func look(
        _ places: [WordsOwner: [DatedSegment]], _ redaction: inout Redaction, _ run: inout Run,
        _ goesOn: () -> Bool
    ) -> Bool {
        var looking: [UInt64: [WordsOwner]] = [:]
        for (owner, segments) in places {
            guard isLookedFor(owner), let looked = wanted[owner]?.looked else { continue }
            for segment in segments
            where (redaction.rewrites ? segment.isCovered : segment.isComplete)
                && !looked.contains(segment.first)
            {
                looking[segment.first, default: []].append(owner)
            }
        }
        for first in looking.keys.sorted() {
            // What was found in an earlier segment is not in this one.
            let owners = looking[first]?.filter { isLookedFor($0) } ?? []
            if owners.isEmpty { continue }
            guard goesOn() else { return false }
            do throws(JournalError) {
                try forget(in: first, &redaction, &run)
                for owner in owners { wanted[owner]?.looked.insert(first) }
            } catch {
                run.failure = run.failure ?? error
            }
        }
        return true
    }

    private func forget(
        in first: UInt64, _ redaction: inout Redaction, _ run: inout Run
    ) throws(JournalError) {
        var found: Set<WordsOwner> = []
        guard redaction.rewrites else {
            try redaction.look(in: first) { record throws(RecordRejection) in
                try fields(of: record, &found)
            }
            for owner in found { wanted[owner]?.place = first }
            return
        }
        let records = try redaction.redact(first) { record throws(RecordRejection) in
            try fields(of: record, &found)
        }
        if records > 0 {
            run.forgotten.segments.append(first)
            run.forgotten.records += records
        }
        for owner in found { settle(owner) }
    }

    /// The fields of a record with words that are wanted.
    private func fields(
        of record: RecordView, _ found: inout Set<WordsOwner>
    ) throws(RecordRejection) -> [Int] {
        var fields: [Int] = []
        do throws(CodecError) {
            try words.forEach(in: record) { owner, field in
                guard wanted[owner] != nil else { return }
                found.insert(owner)
                fields.append(field)
            }
        } catch { throw RecordRejection("\(error)") }
        return fields
    }

    /// Whether it is not known yet where its words are.
    private func isLookedFor(_ owner: WordsOwner) -> Bool {
        wanted[owner].map { $0.place == nil } ?? false
    }

    private func settle(_ owner: WordsOwner) {
        wanted[owner] = nil
        done.insert(owner)
    }
}
