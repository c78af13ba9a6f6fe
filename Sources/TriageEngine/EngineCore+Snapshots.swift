// Snapshots as the writer sees them: begun when due or asked for, answered when durable, and the
// answer recorded, so that a repeat of the call is answered alike.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain
package import TriageJournal

/// What came of a snapshot, and of tidying up after one.
package enum SnapshotResult: Sendable {
    case taken(SnapshotReceipt)
    case failed(JournalError)
    /// Follows ``taken(_:)``, but for the last one: what of erased words could be taken out of the
    /// journal is gone.
    case forgotten(ForgottenWords)
    /// Follows ``forgotten(_:)``: the segments are as they were, and the next snapshot tries again.
    case forgetFailed(JournalError)
    /// Follows ``taken(_:)``: what the snapshot made superfluous is gone.
    case tidied(Tidied)
    /// Follows ``taken(_:)``: the snapshot is good all the same, and the next one tries again.
    case tidyFailed(JournalError)
}

extension EngineCore {
    /// Answers a repeat at once; otherwise the answer comes when a snapshot is durable.
    func askForSnapshot(
        _ request: EngineRequest, _ key: WriteKey, _ reactor: Int
    ) -> EngineReply? {
        let context = CommandContext(
            principal: request.principal, now: now, requestID: key.requestID,
            fingerprint: key.fingerprint, random: 0)
        do {
            switch try world.repeatedAnswer(context) {
            case .snapshot(let taken): return .snapshot(taken)
            // The fingerprint tells methods apart, so another kind of answer is never a repeat.
            case .some: return .refused(.requestIDReused)
            case nil: break
            }
        } catch {
            status.counters.refusals[error.kind.rawValue] += 1
            return .refused(error)
        }
        snapshots.ask(SnapshotSchedule.Call(request: request, key: key, reactor: reactor))
        return nil
    }

    /// Begins a snapshot when one is due or was asked for: everything applied is durable here.
    func snapshotIfDue() {
        guard failure == nil, let taker = parts.snapshots,
            snapshots.begins(configuration, durable: status.durableSequence, now: monotonic)
        else { return }
        taker.take(
            world.snapshotState, at: parts.journal.durableTree, time: now, isPaced: true,
            report: parts.wake)
    }

    /// Begins the snapshot that lets the next start replay nothing, if configured and worth it.
    ///
    /// As fast as the disk takes it: no intake is beside it.
    func takeLastSnapshot() -> Bool {
        // The answers to those who waited for the one before are records too.
        commit()
        guard configuration.snapshotAtStop, failure == nil, let taker = parts.snapshots,
            snapshots.beginsLast(durable: status.durableSequence)
        else { return false }
        taker.take(
            world.snapshotState, at: parts.journal.durableTree, time: now, isPaced: false,
            report: parts.wake)
        return true
    }

    /// Delivers what the end of the last snapshot still brought.
    func deliverLast() {
        for call in snapshots.fail() {
            hold(call.request, .failed(.stopping), call.reactor)
        }
        commit()
        deliver()
    }

    /// Counts a snapshot that failed, or remembers one that was taken.
    func snapshotEnded(_ result: SnapshotResult) {
        parts.snapshotEnded(result)
        switch result {
        case .taken(let receipt):
            status.snapshot = receipt
            for call in snapshots.ended(taken: receipt.sequence) {
                hold(call.request, record(receipt, for: call), call.reactor)
            }
        case .failed:
            status.counters.snapshotFailures += 1
            for call in snapshots.ended(taken: nil) {
                hold(call.request, .failed(.snapshotFailed), call.reactor)
            }
        case .forgotten(let forgotten):
            if forgotten.waitsForSegment { parts.endSegment() }
            status.wordsToForget = forgotten.waiting
            status.counters.segmentsRewritten += UInt64(forgotten.segments.count)
            status.counters.recordsForgotten += UInt64(forgotten.records)
        case .forgetFailed:
            status.counters.forgetFailures += 1
        case .tidied(let tidied):
            status.holdings = tidied.holdings
            status.counters.segmentsRetired += UInt64(tidied.segments.count)
        case .tidyFailed:
            status.counters.tidyFailures += 1
        }
    }

    /// Records what a call is answered with; two calls of one request id get one record.
    private func record(
        _ receipt: SnapshotReceipt, for call: SnapshotSchedule.Call
    ) -> EngineReply {
        let answer = SnapshotAnswer(
            sequence: receipt.sequence, recordCount: receipt.recordCount,
            bytes: UInt64(receipt.bytes), milliseconds: UInt64(receipt.durationMilliseconds))
        let reply = write(.recordSnapshot(answer), call.key, call.request.principal)
        if case .outcome(.snapshot(let recorded)) = reply { return .snapshot(recorded) }
        return reply
    }
}
