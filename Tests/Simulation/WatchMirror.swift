// A watch as its caller keeps it: what it was sent, put together. Once it has caught up, that is
// what is there.

import TriageBase
import TriageDomain
import TriageEngine

/// The caller's side of one watch.
final class WatchMirror {
    enum Kind: Equatable {
        case board, assignments, disclosure
    }

    let call: UInt64
    let kind: Kind
    let principal: Principal
    let filter: BoardFilter
    /// Cases on the board by number, with their revision.
    private(set) var cases: [UInt64: UInt64]
    private(set) var held: [UInt64: UInt64]
    private(set) var revision: UInt64
    private(set) var isCaughtUp = false
    var hasShown = false

    init(
        call: UInt64, kind: Kind, principal: Principal, filter: BoardFilter,
        resuming other: WatchMirror? = nil
    ) {
        self.call = call
        self.kind = kind
        self.principal = principal
        self.filter = filter
        cases = other?.cases ?? [:]
        held = other?.held ?? [:]
        revision = other?.revision ?? 0
    }

    func take(_ part: BoardChanges) throws(Violation) {
        try require(part.revision >= revision, "a watch went back to \(part.revision)")
        try require(
            part.revisions.count == part.changes.count, "a change does not say what is known after")
        for (change, known) in zip(part.changes, part.revisions) {
            try require(
                known >= revision && known <= part.revision,
                "a watch at \(revision) was told that it knows \(known) of \(part.revision)")
            revision = known
            switch change {
            case .changed(let view): cases[view.value.number.value] = view.value.revision
            case .removed(let number): cases[number.value] = nil
            }
        }
        revision = part.revision
        if part.bookmark != nil { isCaughtUp = true }
    }

    func take(_ part: AssignmentChanges) throws(Violation) {
        try require(part.revision >= revision, "a watch went back to \(part.revision)")
        for view in part.assignments {
            let number = view.value.number.value
            held[number] = view.value.state.holdsCase ? view.value.revision : nil
        }
        revision = part.revision
        if part.bookmark { isCaughtUp = true }
    }

    /// Compares what was put together with what is there; only once everything has been sent.
    func compare(_ world: borrowing World) throws(Violation) {
        guard isCaughtUp else { return }
        switch kind {
        case .board:
            var expected: [UInt64: UInt64] = [:]
            for view in world.board(after: nil, limit: 10_000, filter: filter).cases {
                expected[view.value.number.value] = view.value.revision
            }
            try require(
                cases == expected,
                "a watch of the board has \(cases.sorted { $0.key < $1.key }), "
                    + "there is \(expected.sorted { $0.key < $1.key })")
        case .assignments:
            var expected: [UInt64: UInt64] = [:]
            for view in world.heldAssignments(of: principal) {
                expected[view.value.number.value] = view.value.revision
            }
            try require(
                held == expected,
                "a watch of assignments has \(held.sorted { $0.key < $1.key }), "
                    + "there is \(expected.sorted { $0.key < $1.key })")
        case .disclosure: break
        }
    }
}
