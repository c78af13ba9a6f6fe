// What the World exports beside its cases, assignments and disclosure requests, so that a snapshot
// can be written and read back: who it has seen, what it has answered, and its counters.

package import TriageBase

/// A principal with its place in the World's table; a case refers to it by that place.
package struct PrincipalRecord: Hashable, Sendable {
    package var index: PrincipalIndex
    package var principal: Principal

    package init(index: PrincipalIndex, principal: Principal) {
        self.index = index
        self.principal = principal
    }
}

/// What a write was answered with, as far as a repeat of it must be answered alike.
package enum LedgerAnswer: Hashable, Sendable {
    /// A submitted report: answered exactly as the first time.
    case receipt(ReportReceipt)
    /// The case as it is now.
    case changedCase(CaseNumber)
    /// The same offer, as it is now.
    case offer(AssignmentNumber)
    /// The assignment as it is now.
    case changedAssignment(AssignmentNumber)
    /// The disclosure request as it is now.
    case changedDisclosure(DisclosureID)
    /// The evidence as it is now.
    case evidence(EvidenceNumber)
    /// The hold as it is now.
    case hold(HoldNumber)
    /// The case whose texts were erased, as it is now.
    case erasedTexts(CaseNumber)
    /// A key that was made: answered exactly as the first time.
    case key(KeyAnswer)
    /// A snapshot that was taken: answered exactly as the first time.
    case snapshot(SnapshotAnswer)
    /// Only that it was done.
    case recorded
}

/// One request id and its answer: 64 bytes.
package struct LedgerEntry: Hashable, Sendable {
    /// Fingerprint of the principal and the request id.
    package let key: Hash128
    /// Fingerprint of the request's content.
    package let fingerprint: Hash128
    /// When it was answered; forgotten `Limits.requestIDMilliseconds` later.
    package let time: WallTime
    /// Number of the case, assignment or disclosure request; sequence of a snapshot.
    private let subject: UInt64
    /// Kind in bits 60-63; of a receipt, opened in bit 59, level in bits 56-58, report in bits
    /// 0-47; of a snapshot, record count in bits 24-59, milliseconds in bits 0-23.
    private let packed: UInt64
    /// Of a receipt; bytes of a snapshot; otherwise 0.
    private let revision: UInt64

    /// Records an answer.
    ///
    /// A receipt's `receivedAt` is always `time`, and kept once.
    package init(key: Hash128, fingerprint: Hash128, time: WallTime, answer: LedgerAnswer) {
        self.key = key
        self.fingerprint = fingerprint
        self.time = time
        switch answer {
        case .receipt(let receipt):
            subject = receipt.caseNumber.value
            packed =
                (receipt.opened ? 1 << 59 : 0) | UInt64(receipt.level.rawValue) << 56
                | receipt.report.value
            revision = receipt.revision
        case .changedCase(let number): (subject, packed, revision) = (number.value, 1 << 60, 0)
        case .offer(let number): (subject, packed, revision) = (number.value, 2 << 60, 0)
        case .changedAssignment(let number):
            (subject, packed, revision) = (number.value, 3 << 60, 0)
        case .changedDisclosure(let id): (subject, packed, revision) = (id.value, 4 << 60, 0)
        case .recorded: (subject, packed, revision) = (0, 5 << 60, 0)
        case .snapshot(let taken):
            subject = taken.sequence
            packed = 6 << 60 | taken.recordCount << 24 | taken.milliseconds
            revision = taken.bytes
        case .evidence(let number): (subject, packed, revision) = (number.value, 7 << 60, 0)
        case .hold(let number): (subject, packed, revision) = (number.value, 8 << 60, 0)
        case .erasedTexts(let number): (subject, packed, revision) = (number.value, 9 << 60, 0)
        case .key(let made):
            (subject, packed, revision) = (UInt64(made.number), 10 << 60, made.objects)
        }
    }

    /// What a repeat is answered with.
    package var answer: LedgerAnswer {
        switch packed >> 60 {
        case 0:
            .receipt(
                ReportReceipt(
                    caseNumber: CaseNumber(subject),
                    report: ReportNumber(packed & 0xFFFF_FFFF_FFFF),
                    opened: packed >> 59 & 1 == 1,
                    level: Level(rawValue: UInt8(packed >> 56 & 7)) ?? .p0, revision: revision,
                    receivedAt: time))
        case 1: .changedCase(CaseNumber(subject))
        case 2: .offer(AssignmentNumber(subject))
        case 3: .changedAssignment(AssignmentNumber(subject))
        case 4: .changedDisclosure(DisclosureID(subject))
        case 6:
            .snapshot(
                SnapshotAnswer(
                    sequence: subject, recordCount: packed >> 24 & (1 << 36 - 1), bytes: revision,
                    milliseconds: packed & (1 << 24 - 1)))
        case 7: .evidence(EvidenceNumber(subject))
        case 8: .hold(HoldNumber(subject))
        case 9: .erasedTexts(CaseNumber(subject))
        case 10: .key(KeyAnswer(number: UInt32(truncatingIfNeeded: subject), objects: revision))
        default: .recorded
        }
    }
}

/// The World's counters: what the next numbers are, and the last record applied.
package struct WorldCounters: Hashable, Sendable {
    /// Sequence of the last record applied.
    package var sequence: UInt64
    /// Time of the last record applied; time never runs backwards.
    package var time: WallTime
    /// Cases ever opened; the next one has the next number.
    package var lastCase: CaseNumber
    /// Reports ever received.
    package var lastReport: ReportNumber
    /// Assignments ever made; also the newest fencing token.
    package var lastAssignment: AssignmentNumber

    package init(
        sequence: UInt64 = 0, time: WallTime = .epoch, lastCase: CaseNumber = .none,
        lastReport: ReportNumber = ReportNumber(0), lastAssignment: AssignmentNumber = .none
    ) {
        self.sequence = sequence
        self.time = time
        self.lastCase = lastCase
        self.lastReport = lastReport
        self.lastAssignment = lastAssignment
    }
}
