// What can be seen of the World without changing it: cases, the board, assignments, disclosure
// requests, counts. Who may see it is decided above.

package import TriageBase

/// A part of the board.
package struct BoardPage: Sendable {
    /// Open cases in board order.
    package var cases: [CaseView]
    /// Where the next page begins; nil at the end.
    ///
    /// A page may be short and yet have a next one.
    package var next: PriorityKey?
    /// Cases left out by ``withhold(after:)``.
    package var withheld = 0

    /// Leaves out what changed after a revision.
    package mutating func withhold(after revision: UInt64) {
        let count = cases.count
        cases.removeAll { $0.value.revision > revision }
        withheld += count - cases.count
    }
}

/// A part of the list of disclosure requests.
package struct DisclosurePage: Sendable {
    /// Newest first.
    package var requests: [DisclosureView]
    /// Where the next page begins; nil at the end.
    ///
    /// A page may be short and yet have a next one.
    package var next: DisclosureCursor?
    /// Requests left out by ``withhold(after:)``.
    package var withheld = 0

    /// Leaves out what changed after a revision.
    package mutating func withhold(after revision: UInt64) {
        let count = requests.count
        requests.removeAll { $0.value.revision > revision }
        withheld += count - requests.count
    }
}

/// What a record changed, for watches.
package struct Touched: Sendable {
    package var cases: [CaseNumber] = []
    package var assignments: [AssignmentNumber] = []
    package var disclosures: [DisclosureID] = []
}

extension World {
    /// Cases or requests looked at for one page at most, matching or not.
    static var scanMax: Int { 2_048 }

    // MARK: Cases

    /// A case as it is now.
    ///
    /// - Parameters:
    ///   - number: Which case.
    ///   - full: True to name every principal in it.
    /// - Returns: The case; it may be closed.
    /// - Throws: ``DomainError/notFound(_:)``.
    package func view(of number: CaseNumber, full: Bool) throws(DomainError) -> CaseView {
        caseView(try place(of: number), full: full)
    }

    /// Cases in board order.
    ///
    /// - Parameters:
    ///   - key: ``BoardPage/next`` of the page before; nil for the first.
    ///   - limit: Cases at most; 1 or more.
    ///   - filter: Which cases.
    /// - Returns: A page that looked at ``scanMax`` cases at most.
    package func board(after key: PriorityKey?, limit: Int, filter: BoardFilter) -> BoardPage {
        var page = BoardPage(cases: [], next: key)
        var keys: [PriorityKey] = []
        var scanned = 0
        while page.cases.count < limit && scanned < Self.scanMax {
            let wanted = min(
                filter.matchesAll ? limit - page.cases.count : 256, Self.scanMax - scanned)
            keys.removeAll(keepingCapacity: true)
            indexes.priority.page(after: page.next, limit: wanted, into: &keys)
            for key in keys {
                if page.cases.count == limit { return page }
                page.next = key
                scanned += 1
                let place = Int(key.number.value)
                if filter.matchesAll || matches(state.cases[place], filter) {
                    page.cases.append(caseView(place, full: false))
                }
            }
            if keys.count < wanted {
                page.next = nil
                return page
            }
        }
        keys.removeAll(keepingCapacity: true)
        indexes.priority.page(after: page.next, limit: 1, into: &keys)
        if keys.isEmpty { page.next = nil }
        return page
    }

    /// Numbers of cases, closed ones included, that changed after a revision, in rising order.
    ///
    /// - Parameters:
    ///   - revision: Cases that changed later are wanted.
    ///   - next: The first number to look at, nil for the first of all; afterwards the one to go on
    ///     with, nil at the end.
    ///   - limit: Numbers at most; 1 or more.
    ///   - scanMax: Cases looked at, at most.
    /// - Returns: The numbers; perhaps none although more follow.
    package func cases(
        changedAfter revision: UInt64, from next: inout CaseNumber?, limit: Int, scanMax: Int
    ) -> [CaseNumber] {
        var found: [CaseNumber] = []
        var place = max(state.cases.startIndex, Int(clamping: next?.value ?? 0))
        let end = min(state.cases.endIndex, place + scanMax)
        while place < end, found.count < limit {
            if state.cases[place].revision > revision { found.append(state.cases[place].number) }
            place += 1
        }
        next = place < state.cases.endIndex ? CaseNumber(UInt64(place)) : nil
        return found
    }

    /// True when a case is wanted by a filter.
    package func matches(_ value: Case, _ filter: BoardFilter) -> Bool {
        func has(_ wanted: Int, _ bit: UInt8) -> Bool { wanted == 0 || wanted >> Int(bit) & 1 == 1 }
        guard has(Int(filter.levels), value.level.rawValue),
            has(Int(filter.states), value.state.rawValue),
            has(Int(filter.families), value.code.family.rawValue),
            filter.languages.isEmpty || filter.languages.contains(value.language),
            filter.regions.isEmpty || filter.regions.contains(value.region)
        else { return false }
        if filter.assignees.isEmpty { return true }
        guard let held = state.heldAssignment(value.assignment.value) else { return false }
        return filter.assignees.contains(state.principals[Int(held.specialist.value)])
    }

    func caseView(_ place: Int, full: Bool) -> CaseView {
        let value = state.cases[place]
        let held = state.heldAssignment(value.assignment.value)
        var view = CaseView(
            value: value, assignee: held.map { state.principals[Int($0.specialist.value)] },
            principals: [:])
        guard full else { return view }
        name(value.first.submitter, &view.principals)
        for report in value.more { name(report.submitter, &view.principals) }
        for round in value.rounds { name(round.principal, &view.principals) }
        for decision in value.decisions { name(decision.principal, &view.principals) }
        for reopening in value.reopenings { name(reopening.principal, &view.principals) }
        for pending in value.pendingLowering { name(pending.proposer, &view.principals) }
        for principal in value.declinedBy { name(principal, &view.principals) }
        return view
    }

    func name(_ index: PrincipalIndex, _ names: inout [PrincipalIndex: Principal]) {
        if index != .none && names[index] == nil {
            names[index] = state.principals[Int(index.value)]
        }
    }

    // MARK: Assignments

    /// An assignment that is held, or ended within the last 24 hours.
    package func assignment(_ number: AssignmentNumber) throws(DomainError) -> AssignmentView {
        assignmentView(state.assignments[try assignmentPlace(number)])
    }

    /// What a specialist holds, oldest first.
    package func heldAssignments(of principal: Principal) -> [AssignmentView] {
        indexes.held(by: indexes.principals.number(principal, in: state.principals)).map {
            assignmentView(state.assignments[Int($0.value)])
        }
    }

    func assignmentView(_ value: Assignment) -> AssignmentView {
        AssignmentView(value: value, specialist: state.principals[Int(value.specialist.value)])
    }

    // MARK: Disclosure requests

    /// A disclosure request as it is now.
    ///
    /// - Parameters:
    ///   - id: Which request.
    ///   - requester: Only a request that this principal filed; nil for internal callers.
    /// - Returns: The request with the names of everybody in it.
    /// - Throws: ``DomainError/notFound(_:)``, also for a request of somebody else.
    package func disclosure(
        _ id: DisclosureID, visibleTo requester: Principal?
    ) throws(DomainError) -> DisclosureView {
        let view = disclosureView(try place(of: id))
        if let requester, view.principals[view.value.requester] != requester {
            throw .notFound(.disclosureRequest)
        }
        return view
    }

    /// Disclosure requests, newest first.
    ///
    /// - Parameters:
    ///   - cursor: ``DisclosurePage/next`` of the page before; nil for the first.
    ///   - limit: Requests at most; 1 or more.
    ///   - states: Which states; none means all.
    ///   - requester: Only what this principal filed; nil for internal callers.
    /// - Returns: A page that looked at ``scanMax`` requests at most.
    package func disclosures(
        after cursor: DisclosureCursor?, limit: Int, states: [DisclosureState],
        requester: Principal?
    ) -> DisclosurePage {
        var page = DisclosurePage(requests: [], next: nil)
        let end = cursor.flatMap { disclosurePlace($0.id) } ?? state.disclosures.endIndex
        var scanned = 0
        /// False when the page is complete.
        func take(_ place: Int) -> Bool {
            if page.requests.count == limit || scanned == Self.scanMax { return false }
            scanned += 1
            page.next = DisclosureCursor(
                receivedAt: state.disclosures[place].receivedAt, id: state.disclosures[place].id)
            if states.isEmpty || states.contains(state.disclosures[place].state) {
                page.requests.append(disclosureView(place))
            }
            return true
        }
        if let requester {
            let number = indexes.principals.number(requester, in: state.principals)
            let own = indexes.disclosuresOfRequester[number] ?? []
            for place in own.reversed() where place < end && !take(place) { return page }
        } else {
            for place in (0..<end).reversed() where !take(place) { return page }
        }
        page.next = nil
        return page
    }

    func disclosureView(_ place: Int) -> DisclosureView {
        let value = state.disclosures[place]
        var view = DisclosureView(value: value, principals: [:])
        for principal in value.participants { name(principal, &view.principals) }
        for principal in [value.approval?.principal, value.rejection?.principal] {
            name(principal ?? .none, &view.principals)
        }
        return view
    }

    // MARK: Changes and counts

    /// What events changed; call it after they were applied.
    package func touched(by events: Span<Event>) -> Touched {
        var touched = Touched()
        for index in events.indices { touch(events[index], &touched) }
        return touched
    }

    private func touch(_ event: Event, _ touched: inout Touched) {
        switch event {
        case .reportReceived(let number, _, _, _, _, _),
            .protocolAnswered(let number, _, _, _, _, _), .caseDecided(let number, _),
            .caseClosed(let number), .caseReopened(let number, _), .legalClockDue(let number):
            touch(number, &touched)
        case .caseOffered(let number, _, _, _, _, _, _), .caseAccepted(let number, _),
            .assignmentEnded(let number, _, _):
            touched.assignments.append(number)
            touch(state.assignments[Int(number.value)].caseNumber, &touched)
        case .leaseRenewed(let number, _): touched.assignments.append(number)
        case .disclosureSubmitted(let id, let filing, _, _):
            touch(id, &touched)
            if filing.caseNumber != .none { touch(filing.caseNumber, &touched) }
        case .disclosureApproved(let id, _), .disclosureRejected(let id, _):
            touch(id, &touched)
            if let place = disclosurePlace(id), state.disclosures[place].filing.caseNumber != .none
            {
                touch(state.disclosures[place].filing.caseNumber, &touched)
            }
        case .preservationPlaced(let id, _, _), .preservationExpired(let id),
            .verificationAdded(let id, _, _), .scopeSet(let id, _):
            touch(id, &touched)
        case .reportTextsErased(let number, _): touch(number, &touched)
        case .evidenceAttached, .evidenceErased, .holdPlaced, .holdReleased, .holdExpired,
            .keyRenewed, .sensitiveRead, .snapshotTaken:
            break
        }
    }

    private func touch(_ number: CaseNumber, _ touched: inout Touched) {
        if touched.cases.last != number { touched.cases.append(number) }
    }

    private func touch(_ id: DisclosureID, _ touched: inout Touched) {
        if touched.disclosures.last != id { touched.disclosures.append(id) }
    }

    /// What the service holds.
    ///
    /// - Complexity: O(levels).
    package var counts: WorldCounts {
        var counts = WorldCounts()
        for level in Level.allCases {
            let row = Int(level.rawValue)
            let queued = indexes.queuedCounts[row]
            counts.levels[row].queued = queued
            counts.levels[row].held = indexes.openCounts[row] - queued
            counts.levels[row].oldestQueued = indexes.oldestQueued[row].first.map {
                state.cases[Int($0)].receivedAt
            }
        }
        counts.openCases = indexes.priority.count
        counts.cases = state.cases.count
        counts.lastCase = state.counters.lastCase
        counts.reports = Int(state.counters.lastReport.value)
        counts.heldAssignments = indexes.heldAssignments
        counts.disclosures = state.disclosures.count
        counts.openDisclosures = indexes.openDisclosures
        counts.evidence = indexes.storedEvidence
        counts.evidenceBytes = indexes.storedEvidenceBytes
        counts.activeHolds = indexes.activeHolds
        counts.lanes = indexes.priority.laneCount
        counts.principals = state.principals.count
        counts.ledgerEntries = indexes.ledger.count
        return counts
    }

    /// What only counts up: the last record applied, and the newest numbers.
    package var counters: WorldCounters { state.counters }

    /// The lane in which a case can be claimed; nil while it cannot.
    package func claimableLane(of number: CaseNumber) -> Lane? {
        guard let place = try? place(of: number), state.cases[place].state == .queued else {
            return nil
        }
        return state.cases[place].lane
    }
}
