// What a board watch gets next: the board in pages, then the changes since, and a sweep over what
// changed when the ring could not wait for it. Nothing is lost, because whatever a page missed has
// changed since the pages began.

internal import TriageBase
internal import TriageDomain

extension WatchTable {
    /// Cases that a sweep looks at for one part: a fraction of a millisecond of the writer's time.
    private static let sweepScanMax = 8_192

    /// Sends a watch its next part, if there is one.
    ///
    /// - Returns: Whether there is more to send at once.
    mutating func advance(
        _ watch: Watch, _ subject: BoardWatch, _ world: borrowing World, _ durable: UInt64,
        _ send: (Watch, EngineReply) -> Void
    ) -> Bool {
        var subject = subject
        var part = BoardChanges(
            changes: [], revisions: [], previousRevision: watch.revision, revision: watch.revision,
            bookmark: nil)
        takeInitial(&subject, world, &part)
        if subject.initial == nil, watch.position < board.start {
            // Changes are gone that it has not had. Whatever they were, the cases that they changed
            // say so themselves.
            subject.initial = .sweep(since: subject.base, next: nil)
            subject.base = durable
            watch.position = board.end
            sweepCount += 1
        }
        if subject.initial == nil {
            takeChanges(watch, &subject, world, durable, &part)
            watch.revision = board.revision(before: watch.position, current: durable)
            subject.base = watch.revision
        }
        watch.subject = .board(subject)
        let caughtUp = subject.initial == nil && watch.position == board.end
        // A quiet filter must not let the caller's revision fall out of the ring unnoticed.
        let stale = watch.position - watch.sentPosition > configuration.ringCount / 8
        if caughtUp, watch.owesBookmark || stale { part.bookmark = world.counts.openCases }
        if !part.changes.isEmpty || part.bookmark != nil {
            part.revision = watch.revision
            watch.credits -= 1
            watch.sentPosition = watch.position
            if part.bookmark != nil { watch.owesBookmark = false }
            send(watch, .boardChanges(part))
        }
        return !caughtUp && watch.credits > 0
    }

    /// Takes a part of what comes before the changes of the ring.
    private func takeInitial(
        _ subject: inout BoardWatch, _ world: borrowing World, _ part: inout BoardChanges
    ) {
        switch subject.initial {
        case nil: return
        case .page(let after):
            let page = world.board(
                after: after, limit: configuration.watchPartMax, filter: subject.filter)
            for view in page.cases {
                subject.known.insert(view.value.number.value)
                part.changes.append(.changed(view))
                part.revisions.append(part.previousRevision)
            }
            subject.initial = page.next.map { .page(after: $0) }
        case .sweep(let since, var next):
            let numbers = world.cases(
                changedAfter: since, from: &next, limit: configuration.watchPartMax,
                scanMax: Self.sweepScanMax)
            for number in numbers {
                guard let view = try? world.view(of: number, full: false) else { continue }
                if take(view, &subject, world, &part) {
                    part.revisions.append(part.previousRevision)
                }
            }
            subject.initial = next.map { .sweep(since: since, next: $0) }
        }
    }

    /// Takes changes from the ring until the part is full.
    private func takeChanges(
        _ watch: Watch, _ subject: inout BoardWatch, _ world: borrowing World, _ durable: UInt64,
        _ part: inout BoardChanges
    ) {
        while watch.position < board.end, part.changes.count < configuration.watchPartMax {
            let entry = board[watch.position]
            watch.position += 1
            // A later change of the same case is in the ring too, and shows what this one would.
            guard let view = try? world.view(of: CaseNumber(entry.number), full: false),
                view.value.revision <= entry.revision
            else { continue }
            if take(view, &subject, world, &part) {
                part.revisions.append(board.revision(before: watch.position, current: durable))
            }
        }
    }

    /// Adds a case as it is now to a part, if it concerns the caller.
    private func take(
        _ view: CaseView, _ subject: inout BoardWatch, _ world: borrowing World,
        _ part: inout BoardChanges
    ) -> Bool {
        let number = view.value.number
        if view.value.state != .closed, world.matches(view.value, subject.filter) {
            subject.known.insert(number.value)
            part.changes.append(.changed(view))
        } else if subject.known.remove(number.value) {
            part.changes.append(.removed(number))
        } else {
            return false
        }
        return true
    }
}
