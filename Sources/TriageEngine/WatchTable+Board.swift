// What a board watch gets next: the board in pages, then the changes since, and a sweep over what
// changed when the ring could not wait for it. Nothing is lost, because whatever a page missed has
// changed since the pages began.

internal import TriageBase
internal import TriageDomain

/// What the ring holds for one filter from one place on.
final class BoardStep {
    /// A change, without what is sent of it: each watch looks at these.
    struct Mark: BitwiseCopyable {
        let number: UInt64
        let isRemoval: Bool
    }

    let filter: BoardFilter
    let position: Int
    let end: Int
    /// Every change up to `end`: whom a removal concerns is each watch's own matter.
    let part: BoardChanges
    /// By index of ``part``'s changes.
    let marks: [Mark]

    init(filter: BoardFilter, position: Int, end: Int, part: BoardChanges) {
        self.filter = filter
        self.position = position
        self.end = end
        self.part = part
        marks = part.changes.map { change in
            switch change {
            case .changed(let view): Mark(number: view.value.number.value, isRemoval: false)
            case .removed(let number): Mark(number: number.value, isRemoval: true)
            }
        }
    }
}

extension WatchTable {
    /// Cases that a sweep looks at for one part: a fraction of a millisecond of the writer's time.
    private static let sweepScanMax = 8_192
    /// Steps that are kept for the other watches of a pass: comparing with more of them would cost
    /// more than it saves.
    private static let stepsMax = 16

    /// A part that is being put together.
    private struct Draft {
        var changes: [BoardChanges.Change] = []
        var revisions: [UInt64] = []

        mutating func add(_ change: BoardChanges.Change, _ revision: UInt64) {
            changes.append(change)
            revisions.append(revision)
        }
    }

    /// Sends a watch its next part, if there is one.
    ///
    /// - Returns: Whether there is more to send at once.
    mutating func advance(
        _ watch: Watch, _ subject: BoardWatch, _ world: borrowing World, _ durable: UInt64,
        _ send: (Watch, EngineReply) -> Void
    ) -> Bool {
        var draft = Draft()
        takeInitial(subject, world, revision: watch.revision, &draft)
        if subject.initial == nil, watch.position < board.start {
            // Changes are gone that it has not had. Whatever they were, the cases that they changed
            // say so themselves.
            subject.initial = .sweep(since: subject.base, next: nil)
            subject.base = durable
            watch.position = board.end
            sweepCount += 1
        }
        var part: BoardChanges?
        if subject.initial == nil {
            if draft.changes.isEmpty, watch.position < board.end {
                part = takeChanges(watch, subject, world, durable, &draft)
            }
            watch.revision = board.revision(before: watch.position, current: durable)
            subject.base = watch.revision
        }
        let caughtUp = subject.initial == nil && watch.position == board.end
        // A quiet filter must not let the caller's revision fall out of the ring unnoticed.
        let stale = watch.position - watch.sentPosition > configuration.ringCount / 8
        if caughtUp, watch.owesBookmark || stale {
            watch.owesBookmark = false
            part = BoardChanges(
                changes: part?.changes ?? draft.changes,
                revisions: part?.revisions ?? draft.revisions, revision: watch.revision,
                bookmark: world.counts.openCases)
        } else if part == nil, !draft.changes.isEmpty {
            part = BoardChanges(
                changes: draft.changes, revisions: draft.revisions, revision: watch.revision,
                bookmark: nil)
        }
        if let part {
            watch.credits -= 1
            watch.sentPosition = watch.position
            send(watch, .boardChanges(part))
        }
        return !caughtUp && watch.credits > 0
    }

    /// Takes a part of what comes before the changes of the ring.
    private func takeInitial(
        _ subject: BoardWatch, _ world: borrowing World, revision: UInt64, _ draft: inout Draft
    ) {
        switch subject.initial {
        case nil: return
        case .page(let after):
            let page = world.board(
                after: after, limit: configuration.watchPartMax, filter: subject.filter)
            for view in page.cases {
                subject.known.insert(view.value.number.value)
                draft.add(.changed(view), revision)
            }
            subject.initial = page.next.map { .page(after: $0) }
        case .sweep(let since, var next):
            let numbers = world.cases(
                changedAfter: since, from: &next, limit: configuration.watchPartMax,
                scanMax: Self.sweepScanMax)
            for number in numbers {
                guard let view = try? world.view(of: number, full: false) else { continue }
                let change = Self.change(view, subject.filter, world)
                let isRemoval = if case .removed = change { true } else { false }
                if subject.take(BoardStep.Mark(number: number.value, isRemoval: isRemoval)) {
                    draft.add(change, revision)
                }
            }
            subject.initial = next.map { .sweep(since: since, next: $0) }
        }
    }

    /// Takes the next changes of the ring.
    ///
    /// - Returns: All of them, when all concern the watch; else nil, and the draft has those that
    ///   do.
    private mutating func takeChanges(
        _ watch: Watch, _ subject: BoardWatch, _ world: borrowing World, _ durable: UInt64,
        _ draft: inout Draft
    ) -> BoardChanges? {
        let step = step(at: watch.position, subject.filter, world, durable)
        watch.position = step.end
        let part = step.part
        if step.marks.allSatisfy({ !$0.isRemoval || subject.known.contains($0.number) }) {
            for mark in step.marks { _ = subject.take(mark) }
            return step.marks.isEmpty ? nil : part
        }
        for (index, mark) in step.marks.enumerated() where subject.take(mark) {
            draft.add(part.changes[index], part.revisions[index])
        }
        return nil
    }

    /// What the ring holds from a place on, looked up once for all who stand there.
    private mutating func step(
        at position: Int, _ filter: BoardFilter, _ world: borrowing World, _ durable: UInt64
    ) -> BoardStep {
        for step in steps where step.position == position && step.filter == filter { return step }
        var draft = Draft()
        var end = position
        while end < board.end, draft.changes.count < configuration.watchPartMax {
            let entry = board[end]
            end += 1
            // A later change of the same case is in the ring too, and shows what this one would.
            guard let view = try? world.view(of: CaseNumber(entry.number), full: false),
                view.value.revision <= entry.revision
            else { continue }
            draft.add(
                Self.change(view, filter, world), board.revision(before: end, current: durable))
        }
        let step = BoardStep(
            filter: filter, position: position, end: end,
            part: BoardChanges(
                changes: draft.changes, revisions: draft.revisions,
                revision: board.revision(before: end, current: durable), bookmark: nil))
        if steps.count < Self.stepsMax { steps.append(step) }
        return step
    }

    /// What a case as it is now means to those who watch a filter.
    private static func change(
        _ view: CaseView, _ filter: BoardFilter, _ world: borrowing World
    ) -> BoardChanges.Change {
        view.value.state != .closed && world.matches(view.value, filter)
            ? .changed(view) : .removed(view.value.number)
    }
}

extension BoardWatch {
    /// Notes that a change is sent: a removal only of what the caller has, or may have.
    ///
    /// - Returns: False when it does not concern the caller.
    fileprivate func take(_ mark: BoardStep.Mark) -> Bool {
        if mark.isRemoval { return known.remove(mark.number) }
        known.insert(mark.number)
        return true
    }
}
