// Takes the words of reports that were erased out of the journal's old segments, after a snapshot.
// Knows which reports, and among which segments to look for them; the journal does the rest.

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
    /// Erased reports whose words the journal may still have.
    package var waiting = 0
    /// Whether some of them can only be in the segment that is being written.
    package var waitsForSegment = false
}

/// Remembers what was forgotten since the start, so that nothing is looked for twice.
///
/// `@unchecked Sendable`: used by one thread at a time, the one that writes snapshots.
final class WordForgetter: @unchecked Sendable {
    /// An erased report of which no record was found yet.
    private struct Wanted {
        let receivedAt: WallTime
        /// Segments that do not have it.
        var looked: Set<UInt64> = []
    }

    private let contents = ReportContents()
    /// Reports whose words the journal has not any more.
    private var done: Set<ReportNumber> = []
    private var wanted: [ReportNumber: Wanted] = [:]

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
        for report in state.erasedReports
        where !done.contains(report.number) && wanted[report.number] == nil {
            wanted[report.number] = Wanted(receivedAt: report.receivedAt)
        }
        var run = Run()
        guard !wanted.isEmpty else { return (run.forgotten, nil) }
        do throws(JournalError) {
            guard var redaction = try directory.makeRedaction() else { return (run.forgotten, nil) }
            let byTime = wanted.mapValues { Self.candidates($0.receivedAt, redaction.segments) }
            let isThrough = look(byTime, &redaction, &run, goesOn)
            if isThrough { lookEverywhere(byTime, &redaction, &run, goesOn) }
            run.forgotten.waitsForSegment = waitsForSegment(byTime, redaction.segments.last)
        } catch { run.failure = error }
        run.forgotten.waiting = wanted.count
        return (run.forgotten, run.failure)
    }

    /// Whether a report was looked for everywhere but in the segment that is being written.
    private func waitsForSegment(
        _ byTime: [ReportNumber: [DatedSegment]], _ last: DatedSegment?
    ) -> Bool {
        wanted.contains { number, report in
            let left = byTime[number]?.filter { !report.looked.contains($0.first) } ?? []
            return left.count == 1 && left.first == last
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

    /// Looks for reports where they were found in no segment of their time: in all segments, once.
    ///
    /// Of a journal whose beginning is gone they went with it.
    private func lookEverywhere(
        _ byTime: [ReportNumber: [DatedSegment]], _ redaction: inout Redaction, _ run: inout Run,
        _ goesOn: () -> Bool
    ) {
        let lost = byTime.filter { number, segments in
            guard let looked = wanted[number]?.looked else { return false }
            return segments.allSatisfy { looked.contains($0.first) }
        }
        guard !lost.isEmpty else { return }
        if redaction.segments.first?.first == 1 {
            let all = redaction.segments
            guard look(lost.mapValues { _ in all }, &redaction, &run, goesOn), run.failure == nil
            else { return }
        }
        for number in lost.keys { settle(number) }
    }

    /// Looks for reports in those of their segments that are covered, and takes their words out.
    ///
    /// - Returns: Whether all of them were looked through.
    private func look(
        _ places: [ReportNumber: [DatedSegment]], _ redaction: inout Redaction, _ run: inout Run,
        _ goesOn: () -> Bool
    ) -> Bool {
        var looking: [UInt64: [ReportNumber]] = [:]
        for (number, segments) in places {
            guard let looked = wanted[number]?.looked else { continue }
            for segment in segments where segment.isCovered && !looked.contains(segment.first) {
                looking[segment.first, default: []].append(number)
            }
        }
        for first in looking.keys.sorted() {
            // Who was found in an earlier segment is not in this one.
            let numbers = looking[first]?.filter { wanted[$0] != nil } ?? []
            if numbers.isEmpty { continue }
            guard goesOn() else { return false }
            do throws(JournalError) {
                try forget(in: first, &redaction, &run)
                for number in numbers { wanted[number]?.looked.insert(first) }
            } catch {
                run.failure = run.failure ?? error
            }
        }
        return true
    }

    private func forget(
        in first: UInt64, _ redaction: inout Redaction, _ run: inout Run
    ) throws(JournalError) {
        var found: Set<ReportNumber> = []
        let records = try redaction.redact(first) { record throws(RecordRejection) in
            var fields: [Int] = []
            do throws(CodecError) {
                try contents.forEach(in: record) { report, field in
                    guard wanted[report] != nil else { return }
                    found.insert(report)
                    fields.append(field)
                }
            } catch { throw RecordRejection("\(error)") }
            return fields
        }
        if records > 0 {
            run.forgotten.segments.append(first)
            run.forgotten.records += records
        }
        for report in found { settle(report) }
    }

    private func settle(_ report: ReportNumber) {
        wanted[report] = nil
        done.insert(report)
    }
}
