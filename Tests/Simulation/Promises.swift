// What the service has promised: which write was answered how, which was refused, and up to which
// record somebody has been shown the effect. Judges every answer against what was promised before,
// and every record that is found against what was asked.

import TriageBase
import TriageCodec
import TriageDomain
import TriageEngine

/// A principal's request id.
struct WriteID: Hashable {
    let principal: String
    let id: RequestID
}

/// What a write was answered with, as far as a repeat must be answered alike.
enum Answer: Equatable {
    case receipt(ReportReceipt)
    case changedCase(CaseNumber)
    case offer(AssignmentNumber)
    case assignment(AssignmentNumber)
    case disclosure(DisclosureID)
    case snapshot(SnapshotAnswer)
    case evidence(EvidenceNumber)
    case hold(HoldNumber)
    case erasedTexts(CaseNumber)
    case key(KeyAnswer)
    case recorded
}

/// One write, with all its repeats.
final class Write {
    let operation: EngineOperation
    let principal: Principal
    let key: WriteKey
    /// The first answer.
    var answer: Answer?
    /// The newest record of which that shows the effect.
    var revision: UInt64 = 0
    /// The engine's clock was not earlier when it was given.
    var answeredAt = WallTime.epoch
    /// The engine's clock was not earlier at the first attempt.
    var askedAt = WallTime.epoch
    /// Attempts without an answer yet.
    var pending = 0
    /// Whether an attempt may have succeeded unheard.
    var isUncertain = false

    init(_ operation: EngineOperation, _ principal: Principal, _ key: WriteKey) {
        self.operation = operation
        self.principal = principal
        self.key = key
    }

    var id: WriteID { WriteID(principal: principal.text, id: key.requestID) }
    /// Whether a record of it may be in the journal.
    var mayExist: Bool { answer != nil || isUncertain || pending > 0 }
    /// Whether it is an erasure: of what was erased before, it writes nothing.
    var isErasure: Bool {
        switch operation {
        case .write(.eraseEvidence, _), .write(.eraseReportTexts, _): true
        default: false
        }
    }

    /// Whether an event erases what this is to erase.
    func isErased(by event: Event) -> Bool {
        switch (operation, event) {
        case (
            .write(.eraseEvidence(_, let wanted, _, _), _), .evidenceErased(let evidence, _)
        ): wanted == evidence
        case (.write(.eraseReportTexts(let wanted, _, _), _), .reportTextsErased(let matter, _)):
            wanted == matter
        default: false
        }
    }
}

/// What must not have come about of an erasure if that had a record of its own: what was erased
/// before is not erased again, and takes no id.
private struct Doubt {
    let write: Write
    /// The record that its answer showed.
    let revision: UInt64
    let what: String

    init(of write: Write, _ what: String) {
        self.write = write
        revision = write.revision
        self.what = what
    }

    /// Whether that record is the erasure's.
    func isTrue(_ records: [HistoryRecord]) -> Bool {
        guard records.indices.contains(Int(revision) - 1) else { return false }
        let header = records[Int(revision) - 1].header
        return header.requestID == write.key.requestID && header.principal == write.principal
            && header.fingerprint == write.key.fingerprint
    }
}

/// Everything promised so far.
final class Promises {
    private(set) var writes: [Write] = []
    private var byID: [WriteID: Write] = [:]
    /// Every record up to this one has been shown, and must survive.
    var shown: UInt64 { max(answered, backedUp) }
    /// The last record that an answer has shown the effect of.
    private(set) var answered: UInt64 = 0
    /// The last record of a backup.
    private var backedUp: UInt64 = 0
    /// A snapshot of this record, or a newer one, must survive.
    private(set) var snapshotShown: UInt64 = 0
    /// Recorded reads that were answered, and those that may have been recorded.
    private var readsAnswered = 0
    private var readsAsked = 0
    /// What was put into the vault, by its name there.
    private var objects: [ObjectName: [UInt8]] = [:]
    /// To be judged by the journal.
    private var unlessRecorded: [Doubt] = []
    private let transcript: Transcript

    init(_ transcript: Transcript) { self.transcript = transcript }

    // MARK: Asking

    func asked(_ operation: EngineOperation, _ principal: Principal, _ key: WriteKey) -> Write {
        let write = Write(operation, principal, key)
        writes.append(write)
        byID[write.id] = write
        return write
    }

    func askedToRead() { readsAsked += 1 }

    // MARK: Evidence

    /// The vault has stored an object.
    func stored(_ name: ObjectName, _ bytes: [UInt8]) { objects[name] = bytes }

    /// What was stored under a name; nil when nothing was.
    func content(of name: ObjectName) -> [UInt8]? { objects[name] }

    func transcriptCount(_ what: String, _ times: Int) { transcript.count(what, times) }

    // MARK: Answers

    /// Somebody was shown the effect of records up to `revision`.
    func show(_ revision: UInt64) { answered = max(answered, revision) }

    /// A backup has the records up to `sequence`.
    func showBackup(_ sequence: UInt64) { backedUp = max(backedUp, sequence) }

    /// Somebody was told of a snapshot.
    func showSnapshot(_ sequence: UInt64) { snapshotShown = max(snapshotShown, sequence) }

    /// A recorded read was answered.
    func read() { readsAnswered += 1 }

    /// A write was answered.
    ///
    /// - Parameters:
    ///   - write: Which.
    ///   - reply: How.
    ///   - isRepeat: Whether it was asked when the answer was known: of attempts that are on their
    ///     way at once an earlier one may have been refused.
    ///   - journalHasFailed: Whether nothing new may be acknowledged any more.
    ///   - earliest: The engine's clock is not earlier.
    ///   - latest: It is not later.
    /// - Throws: ``Violation`` when that breaks a promise.
    func answered(
        _ write: Write, _ reply: EngineReply, isRepeat: Bool, journalHasFailed: Bool,
        earliest: WallTime, latest: WallTime
    ) throws(Violation) {
        write.pending -= 1
        let isRemembered =
            latest.milliseconds < write.answeredAt.milliseconds + Limits.requestIDMilliseconds
        if let answer = try Self.answer(reply) {
            if let first = write.answer, isRemembered {
                try require(answer == first, "a repeat was answered with \(answer), not \(first)")
                transcript.count("repeat answered alike")
                return
            }
            try require(
                !journalHasFailed || write.isUncertain,
                "a write was acknowledged after the journal had failed")
            write.answer = answer
            write.revision = revision(shownBy: reply)
            write.answeredAt = earliest
            return
        }
        switch reply {
        case .failed(.journalFailed): write.isUncertain = true
        case .refused(let error) where isRepeat && isRemembered && write.isErasure:
            unlessRecorded.append(Doubt(of: write, "a repeat was refused: \(error)"))
        case .refused(let error) where isRepeat && isRemembered:
            throw Violation(
                "a repeat of request \(write.key.requestID.low), answered at \(write.answeredAt) "
                    + "with \(write.answer as Any), was refused until \(latest): \(error)")
        default: break
        }
    }

    /// Whoever repeats an attachment is to send the bytes again.
    ///
    /// - Throws: ``Violation`` when it was attached, and that was told.
    func askedForBytes(_ write: Write, isRepeat: Bool, latest: WallTime) throws(Violation) {
        write.pending -= 1
        let isRemembered =
            latest.milliseconds < write.answeredAt.milliseconds + Limits.requestIDMilliseconds
        try require(
            !isRepeat || !isRemembered,
            "evidence of request \(write.key.requestID.low) would be attached twice")
    }

    /// The answer to another request under an id that was used.
    ///
    /// - Parameters:
    ///   - write: The id's owner.
    ///   - reply: How it was answered.
    ///   - wasTaken: Whether the id had its owner when it was asked: what came before, and was
    ///     refused or got nothing, took no id.
    ///   - latest: The engine's clock is not later.
    /// - Throws: ``Violation`` when both were done.
    func answeredReuse(
        of write: Write, _ reply: EngineReply, wasTaken: Bool, latest: WallTime
    ) throws(Violation) {
        let isRemembered =
            latest.milliseconds < write.answeredAt.milliseconds + Limits.requestIDMilliseconds
        // Otherwise whichever came first has the id.
        guard write.answer != nil, isRemembered else { return }
        switch reply {
        case .refused(.requestIDReused): transcript.count("reuse of an id refused")
        case .failed: break
        case .outcome(.nothingToClaim) where !wasTaken, .refused where !wasTaken: break
        case _ where write.isErasure:
            guard wasTaken else { break }
            transcript.count("reuse of an erasure's id answered")
            unlessRecorded.append(
                Doubt(of: write, "the id was taken for two requests: \(kind(of: reply))"))
        default: throw Violation("a request id was taken for two requests")
        }
    }

    /// The process ended; what was not answered may have happened.
    func processEnded() {
        for write in writes where write.pending > 0 {
            write.pending = 0
            write.isUncertain = true
        }
    }

    /// What a reply promises; nil for a refusal.
    private static func answer(_ reply: EngineReply) throws(Violation) -> Answer? {
        switch reply {
        case .receipt(let receipt), .outcome(.receipt(let receipt)): .receipt(receipt)
        case .outcome(.changedCase(let view)): .changedCase(view.value.number)
        case .outcome(.offer(let view, _, _)): .offer(view.value.number)
        case .outcome(.changedAssignment(let view)): .assignment(view.value.number)
        case .outcome(.changedDisclosure(let view)): .disclosure(view.value.id)
        case .outcome(.snapshot(let taken)), .snapshot(let taken): .snapshot(taken)
        case .outcome(.evidence(let view)): .evidence(view.value.number)
        case .outcome(.hold(let view)): .hold(view.value.number)
        case .outcome(.erasedTexts(let number, _, _)): .erasedTexts(number)
        case .outcome(.key(let answer)): .key(answer)
        case .outcome(.recorded): .recorded
        case .outcome(.nothingToClaim), .refused, .failed: nil
        default: throw Violation("a write was answered with \(kind(of: reply))")
        }
    }

    // MARK: Records

    /// Judges records that were found: each was asked for and not refused.
    func found(_ records: ArraySlice<HistoryRecord>) throws(Violation) {
        for record in records {
            let header = record.header
            transcript.tell(
                "record \(header.sequence) of \(header.time), request \(header.requestID.low): "
                    + "\(record.events)")
            if header.principal == .system { continue }
            if header.requestID.isNone {
                guard record.events.count == 1, case .sensitiveRead = record.events[0] else {
                    throw Violation("record \(header.sequence) was never asked for")
                }
                continue
            }
            let id = WriteID(principal: header.principal.text, id: header.requestID)
            guard let write = byID[id] else {
                throw Violation("record \(header.sequence) was never asked for")
            }
            try require(
                write.mayExist, "record \(header.sequence) is of a write that was refused")
            transcript.count("record found")
        }
    }

    /// Judges the whole journal: everything acknowledged is there, once.
    func judge(_ records: [HistoryRecord]) throws(Violation) {
        var places: [WriteID: [EventHeader]] = [:]
        var reads = 0
        var token: UInt64 = 0
        for record in records {
            for case .caseOffered(let number, _, _, _, _, _, _) in record.events {
                try require(number.value > token, "fencing tokens rise")
                token = number.value
            }
            let header = record.header
            if header.requestID.isNone {
                if header.principal != .system { reads += 1 }
                continue
            }
            let id = WriteID(principal: header.principal.text, id: header.requestID)
            if let last = places[id]?.last {
                try require(
                    header.time.milliseconds - last.time.milliseconds
                        >= Limits.requestIDMilliseconds,
                    "records \(last.sequence) and \(header.sequence) are of one request")
            }
            places[id, default: []].append(header)
        }
        try require(
            readsAnswered <= reads && reads <= readsAsked,
            "\(readsAnswered) reads were answered, \(readsAsked) asked for, \(reads) are on record")
        for doubt in unlessRecorded where doubt.isTrue(records) {
            throw Violation("the erasure of record \(doubt.revision): \(doubt.what)")
        }
        for write in writes {
            guard let answer = write.answer else { continue }
            if write.isErasure {
                try require(
                    records.prefix(Int(write.revision)).contains {
                        $0.events.contains(where: write.isErased(by:))
                    }, "record \(write.revision) was said to show an erasure: \(answer)")
                continue
            }
            guard let headers = places[write.id] else {
                throw Violation("an acknowledged write has no record: \(answer)")
            }
            if case .receipt(let receipt) = answer {
                try require(
                    headers.contains {
                        $0.sequence == receipt.revision && $0.time == receipt.receivedAt
                    }, "a receipt names record \(receipt.revision), which is another one")
            }
        }
    }
}

/// A short name of a reply's case.
func kind(of reply: EngineReply) -> String {
    switch reply {
    case .receipt: "receipt"
    case .outcome(.nothingToClaim): "nothing to claim"
    case .outcome: "outcome"
    case .caseView: "case"
    case .board: "board"
    case .disclosure: "disclosure"
    case .disclosures: "disclosures"
    case .attachable: "attachable"
    case .evidence: "evidence"
    case .evidenceList: "evidence list"
    case .holdList: "hold list"
    case .status: "status"
    case .snapshot: "snapshot"
    case .audit: "audit"
    case .boardChanges: "board changes"
    case .sharedBoardChanges: "shared board changes"
    case .assignmentChanges: "assignment changes"
    case .disclosureChange: "disclosure change"
    case .refused(let error): "refused \(error.kind.name)"
    case .failed(let failure): "failed \("\(failure)".prefix { $0 != "(" })"
    }
}

/// The snapshot that a reply tells of; 0 for none.
func snapshot(shownBy reply: EngineReply) -> UInt64 {
    switch reply {
    case .outcome(.snapshot(let taken)), .snapshot(let taken): taken.sequence
    case .status(let status): status.snapshot?.sequence ?? 0
    default: 0
    }
}

/// The newest record that a reply shows the effect of; 0 for none.
func revision(shownBy reply: EngineReply) -> UInt64 {
    switch reply {
    case .receipt(let receipt), .outcome(.receipt(let receipt)): receipt.revision
    case .outcome(.changedCase(let view)), .caseView(let view): view.value.revision
    case .outcome(.offer(let view, let matter, _)): max(view.value.revision, matter.value.revision)
    case .outcome(.changedAssignment(let view)): view.value.revision
    case .outcome(.changedDisclosure(let view)), .disclosure(let view),
        .disclosureChange(let view, _):
        view.value.revision
    case .outcome(.evidence(let view)), .evidence(let view): view.value.revision
    case .outcome(.hold(let view)): view.value.revision
    case .outcome(.erasedTexts(_, _, let revision)): revision
    case .evidenceList(let part): part.items.reduce(0) { max($0, $1.value.revision) }
    case .holdList(let part): part.items.reduce(0) { max($0, $1.value.revision) }
    case .outcome(.snapshot(let taken)), .snapshot(let taken): taken.sequence
    case .board(let page, _, let revision):
        page.cases.reduce(revision) { max($0, $1.value.revision) }
    case .disclosures(let page): page.requests.reduce(0) { max($0, $1.value.revision) }
    case .status(let status): max(status.durableSequence, status.snapshot?.sequence ?? 0)
    case .boardChanges(let part): part.revision
    case .sharedBoardChanges(let shared): shared.part.revision
    case .assignmentChanges(let part): part.revision
    case .outcome(.nothingToClaim), .outcome(.recorded), .outcome(.key), .attachable, .audit,
        .refused, .failed:
        0
    }
}
