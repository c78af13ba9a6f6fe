// All open watches, and what each gets next. A watch that lags costs a position in the ring; one
// that the ring has overtaken is ended, unless it is still catching up. Shows durable state only:
// it is advanced right after a commit.

internal import TriageBase
internal import TriageDomain

/// The open watches and the changes that they follow.
struct WatchTable {
    let configuration: EngineConfiguration
    /// Changes of cases.
    var board: ChangeRing
    /// Changes of assignments.
    var assignments: ChangeRing
    /// All of them, by call.
    private(set) var watches: [UInt64: Watch] = [:]
    /// Those of the board, by who has them.
    var boardWatches: [Principal: [UInt64: Watch]] = [:]
    /// Those that go with no group.
    var alone: [UInt64: Watch] = [:]
    /// By number.
    var groups: [Int: WatchGroup] = [:]
    var groupNumbers: [WatchGroup.Key: Int] = [:]
    var nextGroup = 0
    private var disclosureWatches = 0
    /// What watches that stand at the same place get next; for one pass over them.
    var steps: [BoardStep] = []
    /// Watches ended because they did not keep up.
    private(set) var tooSlowCount: UInt64 = 0
    /// Times that a board watch swept because the ring overran it before it had caught up.
    var sweepCount: UInt64 = 0

    init(_ configuration: EngineConfiguration, floor: UInt64) {
        self.configuration = configuration
        board = ChangeRing(capacity: configuration.ringCount, floor: floor)
        assignments = ChangeRing(capacity: configuration.ringCount, floor: floor)
    }

    /// How many are open.
    var count: Int { watches.count }

    // MARK: Opening and closing

    /// Opens a watch; its first part comes with the next commit.
    ///
    /// - Returns: Why it cannot be opened, or nil.
    mutating func open(
        _ request: EngineRequest, _ reactor: Int, _ world: borrowing World, revision: UInt64
    ) -> EngineReply? {
        switch request.operation {
        case .watchBoard(let resume, let filter):
            guard let position = Self.position(board, resume, revision) else {
                return .failed(.revisionCompacted(oldest: board.floor))
            }
            guard hasRoom(for: request.principal, world) else { return .failed(.tooManyWatches) }
            let last = UInt64(world.counts.cases)
            let subject = BoardWatch(
                filter: filter, isResumed: resume != 0,
                initial: resume == 0 ? .page(after: nil) : nil,
                known: resume == 0 ? NumberSet() : NumberSet(upTo: last),
                base: resume == 0 ? revision : resume)
            add(request, reactor, .board(subject), position, resume)
        case .watchAssignments(let resume):
            guard let position = Self.position(assignments, resume, revision) else {
                return .failed(.revisionCompacted(oldest: assignments.floor))
            }
            add(request, reactor, .assignments(started: resume != 0), position, resume)
        case .watchDisclosure(let id, let requester):
            do { _ = try world.disclosure(id, visibleTo: requester) } catch {
                return .refused(error)
            }
            disclosureWatches += 1
            add(request, reactor, .disclosure(id, requester: requester, changed: true), 0, 0)
        case .write, .claim, .readCase, .listCases, .readDisclosure, .listDisclosures, .credit,
            .pause, .taken, .cancel, .status, .snapshot, .checkAttachment, .readEvidence,
            .listEvidence, .listHolds, .erase, .renewKey, .signHead, .prove:
            preconditionFailure("not a watch")
        }
        return nil
    }

    private static func position(_ ring: ChangeRing, _ resume: UInt64, _ revision: UInt64) -> Int? {
        if resume == 0 { return ring.end }
        return resume <= revision ? ring.position(after: resume) : nil
    }

    private mutating func add(
        _ request: EngineRequest, _ reactor: Int, _ subject: Watch.Subject, _ position: Int,
        _ revision: UInt64
    ) {
        let watch = Watch(
            request, reactor: reactor, subject: subject, credits: configuration.watchCredits,
            position: position, revision: revision)
        watches[request.call] = watch
        alone[request.call] = watch
        if case .board = subject { boardWatches[watch.principal, default: [:]][watch.call] = watch }
    }

    /// Closes a watch, if it is open.
    mutating func close(_ call: UInt64) {
        guard let watch = watches.removeValue(forKey: call) else { return }
        if watch.group == nil { alone[call] = nil } else { leave(watch) }
        switch watch.subject {
        case .board:
            boardWatches[watch.principal]?[call] = nil
            if boardWatches[watch.principal]?.isEmpty == true {
                boardWatches[watch.principal] = nil
            }
        case .disclosure: disclosureWatches -= 1
        case .assignments: break
        }
    }

    /// Closes all watches.
    mutating func removeAll() -> [Watch] {
        defer {
            watches = [:]
            boardWatches = [:]
            alone = [:]
            groups = [:]
            groupNumbers = [:]
            disclosureWatches = 0
        }
        return Array(watches.values)
    }

    /// Forgets all changes: the state has been set back to `revision`.
    mutating func restart(after revision: UInt64) {
        board.restart(after: revision)
        assignments.restart(after: revision)
    }

    /// Lets a watch send more parts; one that goes with a group has the group's credit.
    func credit(_ call: UInt64, _ count: Int) {
        guard let watch = alone[call] else { return }
        watch.credits = min(watch.credits + count, configuration.watchCredits)
    }

    /// Notes that a disclosure request changed.
    func disclosureChanged(_ id: DisclosureID) {
        guard disclosureWatches > 0 else { return }
        for watch in alone.values {
            if case .disclosure(id, let requester, _) = watch.subject {
                watch.subject = .disclosure(id, requester: requester, changed: true)
            }
        }
    }

    // MARK: Advancing

    /// Sends each watch its next part, if there is one and it has credit.
    ///
    /// - Returns: Whether there is more to send at once.
    mutating func advance(
        _ world: borrowing World, durable: UInt64, _ send: (Watch, EngineReply) -> Void
    ) -> Bool {
        var ended: [UInt64] = []
        var over = 0
        defer { steps.removeAll(keepingCapacity: true) }
        var more = advanceGroups(world, durable: durable, &ended, send)
        var joining: [Watch] = []
        for watch in alone.values {
            switch watch.subject {
            case .board(let subject):
                let isOvertaken = watch.position < board.start && !watch.owesBookmark
                if isOvertaken || watch.isOverShare {
                    send(watch, .failed(.watchTooSlow(revision: watch.revision)))
                    ended.append(watch.call)
                } else if watch.credits > 0 {
                    more = advance(watch, subject, world, durable, send) || more
                    if mayJoin(watch, subject) { joining.append(watch) }
                }
            case .assignments(let started):
                let isOvertaken = watch.position < assignments.start
                if !isOvertaken, watch.credits == 0 { continue }
                if !isOvertaken, let goesOn = advance(watch, started, world, durable, send) {
                    more = goesOn || more
                } else {
                    send(watch, .failed(.watchTooSlow(revision: watch.revision)))
                    ended.append(watch.call)
                }
            case .disclosure(let id, let requester, true):
                guard watch.credits > 0 else { continue }
                watch.credits -= 1
                watch.subject = .disclosure(id, requester: requester, changed: false)
                guard let view = try? world.disclosure(id, visibleTo: requester) else { continue }
                let isOver = view.value.state == .approved || view.value.state == .rejected
                send(watch, .disclosureChange(view, ended: isOver))
                if isOver {
                    ended.append(watch.call)
                    over += 1
                }
            case .disclosure(_, _, false):
                continue
            }
        }
        for watch in joining { join(watch) }
        tooSlowCount += UInt64(ended.count - over)
        for call in ended { close(call) }
        return more
    }

    /// Sends an assignment watch what it lacks, a part at a time.
    ///
    /// - Returns: Whether there is more to send at once; nil when a change cannot be told any more,
    ///   because its assignment ended a day ago and whose it was is forgotten.
    private mutating func advance(
        _ watch: Watch, _ started: Bool, _ world: borrowing World, _ durable: UInt64,
        _ send: (Watch, EngineReply) -> Void
    ) -> Bool? {
        var views: [AssignmentView] = []
        let previous = watch.revision
        if !started {
            // What a specialist may hold is few; no paging.
            views = world.heldAssignments(of: watch.principal)
            watch.subject = .assignments(started: true)
        }
        while watch.position < assignments.end, views.count < configuration.watchPartMax {
            let entry = assignments[watch.position]
            watch.position += 1
            guard let view = try? world.assignment(AssignmentNumber(entry.number)) else {
                assignments.forget(before: watch.position)
                return nil
            }
            guard view.specialist == watch.principal, view.value.revision <= entry.revision
            else { continue }
            views.append(view)
        }
        watch.revision = assignments.revision(before: watch.position, current: durable)
        let caughtUp = watch.position == assignments.end
        let stale = watch.position - watch.sentPosition > configuration.ringCount / 8
        let bookmark = caughtUp && (watch.owesBookmark || stale)
        if !views.isEmpty || bookmark {
            watch.credits -= 1
            watch.sentPosition = watch.position
            if bookmark { watch.owesBookmark = false }
            send(
                watch,
                .assignmentChanges(
                    AssignmentChanges(
                        assignments: views, previousRevision: previous, revision: watch.revision,
                        bookmark: bookmark)))
        }
        return !caughtUp && watch.credits > 0
    }
}
