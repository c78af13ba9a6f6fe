// Which request ids were answered, and how: what makes a write repeatable for 24 hours, across
// restarts. Knows fingerprints, not requests.

package import TriageBase

/// What a repeated request is answered with.
package enum LedgerAnswer: Equatable, Sendable {
    /// Exactly the first answer.
    case receipt(ReportReceipt)
    /// The case as it is now.
    case caseChanged(CaseNumber)
    /// The same offer, as it is now.
    case offer(AssignmentNumber)
    /// The assignment as it is now.
    case assignmentChanged(AssignmentNumber)
    /// The disclosure request as it is now.
    case disclosureChanged(DisclosureID)
}

/// One request id and its answer: 64 bytes.
package struct LedgerEntry: Equatable, Sendable {
    /// Fingerprint of the principal and the request id.
    package let key: Hash128
    /// Fingerprint of the request's content.
    package let fingerprint: Hash128
    /// When it was answered.
    package let time: WallTime
    /// Number of the case, assignment or disclosure request.
    private let subject: UInt64
    /// Kind in bits 60-63; of a receipt, opened in bit 59, level in bits 56-58, report in bits 0-47.
    private let packed: UInt64
    /// Of a receipt; otherwise 0.
    private let revision: UInt64

    /// Records an answer.
    ///
    /// - Precondition: A receipt's `receivedAt` is `time`.
    package init(key: Hash128, fingerprint: Hash128, time: WallTime, answer: LedgerAnswer) {
        self.key = key
        self.fingerprint = fingerprint
        self.time = time
        switch answer {
        case .receipt(let receipt):
            invariant(receipt.receivedAt == time, "a receipt is answered when it is given")
            subject = receipt.caseNumber.value
            packed =
                (receipt.opened ? 1 << 59 : 0) | UInt64(receipt.level.rawValue) << 56
                | receipt.report.value
            revision = receipt.revision
        case .caseChanged(let number): (subject, packed, revision) = (number.value, 1 << 60, 0)
        case .offer(let number): (subject, packed, revision) = (number.value, 2 << 60, 0)
        case .assignmentChanged(let number): (subject, packed, revision) = (number.value, 3 << 60, 0)
        case .disclosureChanged(let id): (subject, packed, revision) = (id.value, 4 << 60, 0)
        }
    }

    /// What a repeat is answered with.
    package var answer: LedgerAnswer {
        switch packed >> 60 {
        case 0:
            .receipt(
                ReportReceipt(
                    caseNumber: CaseNumber(subject), report: ReportNumber(packed & 0xFFFF_FFFF_FFFF),
                    opened: packed >> 59 & 1 == 1,
                    level: Level(rawValue: UInt8(packed >> 56 & 7)) ?? .p0, revision: revision,
                    receivedAt: time))
        case 1: .caseChanged(CaseNumber(subject))
        case 2: .offer(AssignmentNumber(subject))
        case 3: .assignmentChanged(AssignmentNumber(subject))
        default: .disclosureChanged(DisclosureID(subject))
        }
    }
}

/// Finds and forgets entries; the entries themselves are part of ``WorldState``.
struct RequestLedger: Sendable {
    /// Entries forgotten with each record at most: faster than they come, in small steps.
    private static let forgottenPerRecordMax = 8

    private var index = HashIndex()

    /// What a principal's request id is remembered under.
    static func key(_ principal: Principal, _ id: RequestID) -> Hash128 {
        Hash128(of: principal.text.utf8.span, seed: 0x7265_7175_6573_7421)
            .combined(with: Hash128(high: id.high, low: id.low))
    }

    /// The entry of a key, if it is not older than 24 hours.
    func entry(
        _ key: Hash128, at now: WallTime, in entries: ChunkedArray<LedgerEntry>
    ) -> LedgerEntry? {
        var found: LedgerEntry?
        _ = index.first(key.low) { place in
            let entry = entries[Int(place)]
            guard entry.key == key, !Self.isExpired(entry, at: now) else { return false }
            found = entry
            return true
        }
        return found
    }

    /// Remembers an answer, and forgets some that are too old.
    mutating func record(_ entry: LedgerEntry, in entries: inout ChunkedArray<LedgerEntry>) {
        index.insert(entry.key.low, value: UInt64(entries.endIndex))
        entries.append(entry)
    }

    /// Forgets a few entries that are too old.
    @inline(__always)
    mutating func forget(at now: WallTime, in entries: inout ChunkedArray<LedgerEntry>) {
        guard let oldest = entries.first, Self.isExpired(oldest, at: now) else { return }
        var end = entries.startIndex
        while end < entries.endIndex, end - entries.startIndex < Self.forgottenPerRecordMax,
            Self.isExpired(entries[end], at: now)
        {
            index.remove(entries[end].key.low, value: UInt64(end))
            end += 1
        }
        entries.removePrefix(upTo: end)
    }

    /// Enters all entries after recovery.
    mutating func load(_ entries: ChunkedArray<LedgerEntry>) {
        index.reserveCapacity(entries.count)
        for place in entries.indices {
            index.insert(entries[place].key.low, value: UInt64(place))
        }
    }

    var count: Int { index.count }

    private static func isExpired(_ entry: LedgerEntry, at now: WallTime) -> Bool {
        entry.time.advanced(byMilliseconds: Limits.requestIDMilliseconds) <= now
    }
}
