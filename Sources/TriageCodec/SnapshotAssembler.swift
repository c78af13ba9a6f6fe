// Puts what the records of a snapshot say together, in the order in which they were written: a case
// with the records that belong to it, and all of them into a World. Reads no bytes.

internal import TriageBase
package import TriageDomain

/// What one record of a snapshot says.
package enum SnapshotItem: Sendable {
    case counters(WorldCounters)
    case principal(PrincipalRecord)
    /// A case without the parts that are yet to come.
    case openedCase(Case, SnapshotParts)
    case report(StoredReport)
    case round(ProtocolRound)
    case decision(CaseDecision)
    case reopening(Reopening)
    case assignment(Assignment)
    case disclosure(DisclosureRequest)
    case ledger(LedgerEntry)
    case evidence(Evidence)
    case hold(Hold)
    /// Cases without further parts, whose numbers follow each other.
    case cases(ContiguousArray<Case>)
    /// Entries whose times do not fall.
    case ledgerEntries(ContiguousArray<LedgerEntry>)
}

/// What the records of one block of a snapshot say, in their order.
package struct SnapshotItems: Sendable {
    /// Each with the place of its first record among all, from 0.
    package private(set) var items: [(item: SnapshotItem, record: Int)] = []
    private var count = 0
    /// Cases and entries that are yet to become an item, one of which is empty.
    private var cases: ContiguousArray<Case> = []
    private var entries: ContiguousArray<LedgerEntry> = []

    /// Begins without records.
    package init() {}

    /// Adds what the next record says.
    mutating func add(_ item: SnapshotItem) {
        close()
        items.append((item, count))
        count += 1
    }

    /// Adds a case, whose further parts follow.
    mutating func add(_ value: consuming Case, _ parts: SnapshotParts) {
        guard parts == .none else { return add(.openedCase(value, parts)) }
        let follows = cases.last.map { $0.number.value &+ 1 == value.number.value } ?? false
        if !follows || WorldBuilder.beginsRun(value.number) {
            close()
            cases.reserveCapacity(ChunkedArray<Case>.chunkSize)
        }
        cases.append(value)
        count += 1
    }

    /// Adds an entry of the ledger.
    mutating func add(_ entry: LedgerEntry) {
        let follows = entries.last.map { $0.time <= entry.time } ?? false
        if !follows { close() }
        entries.append(entry)
        count += 1
    }

    /// Ends a run; call it after the last record.
    package mutating func close() {
        if !cases.isEmpty {
            items.append((.cases(cases), count - cases.count))
            cases = []
        }
        if !entries.isEmpty {
            items.append((.ledgerEntries(entries), count - entries.count))
            entries = []
        }
    }
}

/// How many records follow a case's own, by kind, in this order.
package struct SnapshotParts: Equatable, Sendable {
    var reports: Int
    var rounds: Int
    var decisions: Int
    var reopenings: Int

    static let none = SnapshotParts(
        reports: 0, rounds: 0, decisions: 0, reopenings: 0)
}

/// Assembles one snapshot.
package struct SnapshotAssembler: Sendable {
    /// A case whose further records are still to come, and how many.
    private var pending: (value: Case, missing: SnapshotParts)?

    /// Begins with the first record.
    package init() {}

    /// Adds what the next record says to a builder.
    ///
    /// - Throws: ``CodecError``: it is out of its place, or contradicts what came before. The
    ///   snapshot cannot be used.
    package mutating func add(
        _ item: SnapshotItem, to builder: inout WorldBuilder
    ) throws(CodecError) {
        switch item {
        case .report, .round, .decision, .reopening:
            try addPart(item)
            guard let complete = pending, complete.missing == .none else { return }
            pending = nil
            try admit { () throws(WorldImportError) in try builder.add(complete.value) }
        case .openedCase(let value, let parts) where parts != .none:
            try finish()
            pending = (value, parts)
        default:
            try finish()
            try admit { () throws(WorldImportError) in try Self.add(item, to: &builder) }
        }
    }

    /// Adds what stands by itself.
    private static func add(
        _ item: SnapshotItem, to builder: inout WorldBuilder
    ) throws(WorldImportError) {
        switch item {
        case .counters(let counters): builder.set(counters)
        case .principal(let principal): try builder.add(principal)
        case .openedCase(let value, _): try builder.add(value)
        case .assignment(let assignment): try builder.add(assignment)
        case .disclosure(let request): try builder.add(request)
        case .ledger(let entry): try builder.add(entry)
        case .evidence(let evidence): try builder.add(evidence)
        case .hold(let hold): try builder.add(hold)
        case .cases(let cases): try builder.add(run: cases)
        case .ledgerEntries(let entries): try builder.add(run: entries)
        case .report, .round, .decision, .reopening: preconditionFailure("a part of a case")
        }
    }

    private mutating func addPart(_ item: SnapshotItem) throws(CodecError) {
        guard var (value, missing) = pending else { throw .outOfOrder("a part without a case") }
        switch item {
        case .report(let report) where missing.reports > 0:
            missing.reports -= 1
            value.more.append(report)
        case .round(let round) where missing.reports == 0 && missing.rounds > 0:
            missing.rounds -= 1
            value.rounds.append(round)
        case .decision(let decision)
        where missing.reports == 0 && missing.rounds == 0 && missing.decisions > 0:
            missing.decisions -= 1
            value.decisions.append(decision)
        case .reopening(let reopening)
        where missing.reports == 0 && missing.rounds == 0 && missing.decisions == 0
            && missing.reopenings > 0:
            missing.reopenings -= 1
            value.reopenings.append(reopening)
        default: throw .outOfOrder("a part that its case did not announce")
        }
        pending = (value, missing)
    }

    private func admit(_ body: () throws(WorldImportError) -> Void) throws(CodecError) {
        do { try body() } catch { throw .refused(error.description) }
    }

    /// Checks that the last case is complete; call it after the last record.
    package func finish() throws(CodecError) {
        guard pending == nil else { throw .outOfOrder("a case is not complete") }
    }
}
