// What a board watch gets next: the board in pages, then the changes since, and a sweep over what
// changed when the ring could not wait for it. Nothing is lost, because whatever a page missed has
// changed since the pages began.

internal import TriageBase
internal import TriageDomain

/// What the ring holds for one filter from one place on.
struct BoardStep {
    let filter: BoardFilter
    let position: Int
    let end: Int
    /// Every change up to `end`: whom a removal concerns is each watch's own matter.
    let part: BoardChanges
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
                if subject.take(change) { draft.add(change, revision) }
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
        if part.changes.allSatisfy(subject.concerns) {
            for change in part.changes { _ = subject.take(change) }
            return part.changes.isEmpty ? nil : part
        }
        for (change, revision) in zip(part.changes, part.revisions) where subject.take(change) {
            draft.add(change, revision)
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
    /// Whether a change has to be sent: a removal only of what the caller has, or may have.
    fileprivate func concerns(_ change: BoardChanges.Change) -> Bool {
        switch change {
        case .changed: true
        case .removed(let number): known.contains(number.value)
        }
    }

    /// Notes that a change is sent.
    ///
    /// - Returns: False when it does not concern the caller.
    fileprivate func take(_ change: BoardChanges.Change) -> Bool {
        switch change {
        case .changed(let view):
            known.insert(view.value.number.value)
            return true
        case .removed(let number):
            return known.remove(number.value)
        }
    }
}
