// What the engine answers: values that may cross to the reactor that asked, released only once
// everything that they show is durable. Knows nothing of messages or statuses.

package import TriageBase
package import TriageDomain

/// One answer, or one part of a watch, on its way to a reactor.
package struct Completion: Sendable {
    /// The call, as the request named it.
    package var call: UInt64
    /// The request's echo.
    package var echo: UInt64
    /// Who asked: what is shown may depend on it.
    package var principal: Principal
    /// The answer.
    package var reply: EngineReply

    /// Groups the parts of an answer.
    package init(call: UInt64, echo: UInt64, principal: Principal, reply: EngineReply) {
        self.call = call
        self.echo = echo
        self.principal = principal
        self.reply = reply
    }
}

/// What the engine answers.
///
/// Large payloads are indirect, so that the common answer, a receipt, stays small.
package enum EngineReply: Sendable {
    /// A report was accepted.
    case receipt(ReportReceipt)
    /// Any other command was carried out.
    indirect case outcome(Outcome)
    /// A case that was read.
    indirect case caseView(CaseView)
    /// A page of the board.
    indirect case board(BoardPage, openCount: Int, revision: UInt64)
    /// A disclosure request that was read.
    indirect case disclosure(DisclosureView)
    /// A page of disclosure requests.
    indirect case disclosures(DisclosurePage)
    /// What was asked about may be attached.
    case attachable
    /// Evidence that may be read now: the record of it is durable.
    indirect case evidence(EvidenceView)
    /// A page of the evidence of a case.
    indirect case evidenceList(CasePart<EvidenceView>)
    /// A page of the holds of a case.
    indirect case holdList(CasePart<HoldView>)
    /// How the service is.
    indirect case status(EngineStatus)
    /// A snapshot is durable.
    indirect case snapshot(SnapshotAnswer)
    /// A head was signed, or a proof made.
    indirect case audit(AuditAnswer)

    /// A part of a board watch.
    case boardChanges(BoardChanges)
    /// A part that many board watches get: the completion's call is none of theirs.
    case sharedBoardChanges(SharedBoardChanges)
    /// A part of an assignment watch.
    indirect case assignmentChanges(AssignmentChanges)
    /// A part of a disclosure watch; the last one when `ended`.
    indirect case disclosureChange(DisclosureView, ended: Bool)

    /// The rules refused.
    indirect case refused(DomainError)
    /// The engine could not.
    case failed(EngineFailure)

    /// True for a part of a watch, after which more may follow.
    package var isWatchPart: Bool {
        switch self {
        case .boardChanges, .sharedBoardChanges, .assignmentChanges: true
        case .disclosureChange(_, let ended): !ended
        case .receipt, .outcome, .caseView, .board, .disclosure, .disclosures, .attachable,
            .evidence, .evidenceList, .holdList, .status, .snapshot, .audit, .refused, .failed:
            false
        }
    }
}

/// Why the engine could not answer, the rules apart.
package enum EngineFailure: Error, Equatable, Sendable {
    /// A write or sync failed: no more writes until a restart. Nothing of the call is certain.
    case journalFailed
    /// Its deadline passed while it waited for its turn: nothing was done.
    case expired
    /// More waits for the disk than may; try again.
    case overloaded
    /// No room on the disk for the next segment; works again when there is room.
    case storageFull
    /// The command's record would be too long.
    case tooLarge
    /// The engine drains or has stopped.
    case stopping
    /// The case is behind the child-safety wall.
    case clearanceRequired
    /// The revision to resume from is no longer kept, or was never given out.
    case revisionCompacted(oldest: UInt64)
    /// The watch did not take its changes in time; it may resume from `revision`.
    case watchTooSlow(revision: UInt64)
    /// The identity's watches of the board hold as much as they may.
    case tooManyWatches
    /// The snapshot could not be written; the state is not affected.
    case snapshotFailed
    /// The server has no encryption, and so neither vault nor keys.
    case encryptionRequired
    /// A key is being made already.
    case rotationRunning
    /// The key could not be made; the ones before are in use.
    case rotationFailed
    /// The head could not be signed or written; those before stand.
    case signingFailed
    /// What was asked cannot be proved; the text says why, without internals.
    case notProvable(String)
    /// The files do not lead to the proof.
    case proofFailed
}

/// A part of a board watch.
///
/// A class, so that one change that concerns a thousand watches is looked up, handed over and
/// encoded once: watches that get the same get the same object.
package final class BoardChanges: Sendable {
    /// One change.
    package enum Change: Sendable {
        /// A case is new or has changed.
        case changed(CaseView)
        /// A case has left the board, or the filter.
        case removed(CaseNumber)
    }

    /// In the order in which they are to be sent.
    package let changes: [Change]
    /// For each change, what the caller knows once it and all before it have reached it.
    package let revisions: [UInt64]
    /// What the caller knows once all of ``changes`` have reached it.
    package let revision: UInt64
    /// Open cases at ``revision`` when the part ends with a bookmark, else nil.
    package let bookmark: Int?

    /// Groups the parts of a part.
    init(changes: [Change], revisions: [UInt64], revision: UInt64, bookmark: Int?) {
        self.changes = changes
        self.revisions = revisions
        self.revision = revision
        self.bookmark = bookmark
    }
}

/// One part for all watches of a group: handed over once, and answered with
/// ``EngineOperation/taken(group:)``.
package final class SharedBoardChanges: Sendable {
    /// What each of them gets.
    package let part: BoardChanges
    /// Their calls, in ascending order.
    package let calls: [UInt64]
    /// Which group it is.
    package let group: Int

    /// Addresses a part.
    init(_ part: BoardChanges, to calls: [UInt64], group: Int) {
        self.part = part
        self.calls = calls
        self.group = group
    }
}

/// A part of an assignment watch.
package struct AssignmentChanges: Sendable {
    /// The assignments as they are now.
    package var assignments: [AssignmentView]
    /// What the caller knew before this part; 0 while the initial state is being sent.
    package var previousRevision: UInt64
    /// What the caller knows after this part.
    package var revision: UInt64
    /// True when the part ends with a bookmark.
    package var bookmark: Bool
}

/// The newest snapshot.
package struct SnapshotReceipt: Sendable {
    /// The journal sequence that it stands for.
    package var sequence: UInt64
    /// Records in it.
    package var recordCount: UInt64
    /// Its size.
    package var bytes: Int
    /// From its begin to its durability.
    package var durationMilliseconds: Int64
    /// When it was taken.
    package var time: WallTime

    /// Groups the figures of a snapshot.
    package init(
        sequence: UInt64, recordCount: UInt64, bytes: Int, durationMilliseconds: Int64,
        time: WallTime
    ) {
        self.sequence = sequence
        self.recordCount = recordCount
        self.bytes = bytes
        self.durationMilliseconds = durationMilliseconds
        self.time = time
    }
}

/// Takes the completions of one reactor; called on the engine's thread once a turn.
package protocol CompletionSink: AnyObject, Sendable {
    /// Hands over completions, in order; must return at once.
    func deliver(_ completions: [Completion])
}
