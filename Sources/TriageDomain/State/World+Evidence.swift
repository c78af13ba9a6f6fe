// Evidence, holds and erasures: from command to events, from event to state, and what can be seen
// of them. Whether something may be erased is HoldRules' judgement.

package import TriageBase

/// An object of evidence with the names that its numbers stand for.
package struct EvidenceView: Sendable {
    package var value: Evidence
    package var principals: [PrincipalIndex: Principal]

    package init(value: Evidence, principals: [PrincipalIndex: Principal]) {
        self.value = value
        self.principals = principals
    }
}

/// A hold with the names that its numbers stand for.
package struct HoldView: Sendable {
    package var value: Hold
    package var principals: [PrincipalIndex: Principal]

    package init(value: Hold, principals: [PrincipalIndex: Principal]) {
        self.value = value
        self.principals = principals
    }
}

/// A part of what belongs to a case, oldest first.
package struct CasePart<Item: Sendable>: Sendable {
    package var items: [Item]
    /// The number of the last item, when more follow; nil at the end.
    package var next: UInt64?

    package init(items: [Item], next: UInt64?) {
        self.items = items
        self.next = next
    }
}

extension World {
    // MARK: Finding

    private func evidencePlace(
        _ number: EvidenceNumber, of matter: CaseNumber
    ) throws(DomainError) -> Int {
        guard let place = Int(exactly: number.value), state.evidence.indices.contains(place),
            state.evidence[place].caseNumber == matter
        else { throw .notFound(.evidence) }
        return place
    }

    private func holdPlace(
        _ number: HoldNumber, of matter: CaseNumber
    ) throws(DomainError) -> Int {
        guard let place = Int(exactly: number.value), state.holds.indices.contains(place),
            state.holds[place].caseNumber == matter
        else { throw .notFound(.hold) }
        return place
    }

    /// What forbids to erase anything of a case now; nil when nothing does.
    ///
    /// The identities are those of the case's subjects, as ``HoldRules/identity(of:)`` has them.
    package func holder(
        of matter: CaseNumber, identities: Set<Hash128>, at now: WallTime
    ) -> Holder? {
        for place in indexes.holdsOfCase[matter] ?? [] {
            let hold = state.holds[place]
            if hold.state == .active, hold.order.expiresAt > now {
                return .hold(matter, hold.number)
            }
        }
        let value = state.cases[Int(matter.value)]
        for place in indexes.activePreservations.sorted() {
            let request = state.disclosures[place]
            guard let preservation = request.preservation, preservation.state == .active,
                preservation.expiresAt > now
            else { continue }
            if HoldRules.names(request, value, identities) { return .preservation(request.id) }
        }
        return nil
    }

    // MARK: Decide

    /// Refuses an attachment that there is no case or no room for.
    ///
    /// - Throws: ``DomainError``: `.notFound`, `.tooMuchEvidence`.
    package func checkAttachment(to matter: CaseNumber, size: Int) throws(DomainError) {
        _ = try place(of: matter)
        let ofCase = indexes.evidenceOfCase[matter]?.count ?? 0
        guard ofCase < Limits.evidencePerCaseMax else {
            throw .tooMuchEvidence(.objectsOfCase, limit: Limits.evidencePerCaseMax)
        }
        guard indexes.storedEvidence < Limits.objectsMax else {
            throw .tooMuchEvidence(.objects, limit: Limits.objectsMax)
        }
        guard indexes.storedEvidenceBytes + size <= Limits.vaultBytesMax else {
            throw .tooMuchEvidence(.bytes, limit: Limits.vaultBytesMax)
        }
    }

    func attachEvidence(
        _ matter: CaseNumber, _ attachment: AttachedObject, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        try checkAttachment(to: matter, size: attachment.size)
        let number = EvidenceNumber(UInt64(state.evidence.endIndex))
        events.append(.evidenceAttached(case: matter, evidence: number, attachment: attachment))
        return .evidenceChanged(number)
    }

    func eraseEvidence(
        _ matter: CaseNumber, _ number: EvidenceNumber, _ erasure: Erasure,
        _ identities: Set<Hash128>, _ context: CommandContext, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let place = try evidencePlace(number, of: matter)
        // Done is done: whoever asks again learns how.
        if state.evidence[place].erasure != nil { return .evidenceChanged(number) }
        if let holder = holder(of: matter, identities: identities, at: context.now) {
            throw .held(by: holder)
        }
        events.append(.evidenceErased(evidence: number, erasure: erasure))
        return .evidenceChanged(number)
    }

    func eraseReportTexts(
        _ matter: CaseNumber, _ erasure: Erasure, _ identities: Set<Hash128>,
        _ context: CommandContext, _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let place = try place(of: matter)
        let reports = [state.cases[place].first] + state.cases[place].more
        if reports.allSatisfy({ $0.content == Erased.content }) { return .textsErased(matter) }
        if let holder = holder(of: matter, identities: identities, at: context.now) {
            throw .held(by: holder)
        }
        events.append(.reportTextsErased(case: matter, erasure: erasure))
        return .textsErased(matter)
    }

    func placeHold(
        _ matter: CaseNumber, _ order: HoldOrder, _ context: CommandContext,
        _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        _ = try place(of: matter)
        let count = indexes.holdsOfCase[matter]?.count ?? 0
        guard count < Limits.holdsPerCaseMax else {
            throw .tooManyHolds(limit: Limits.holdsPerCaseMax)
        }
        let number = HoldNumber(UInt64(state.holds.endIndex))
        events.append(
            .holdPlaced(
                case: matter, hold: number, order: try HoldRules.complete(order, at: context.now)))
        return .holdChanged(number)
    }

    /// The hold that a decision places by itself.
    ///
    /// It stands before the decision in the record, whose answer is its last event's.
    func placeHold(
        following decision: CaseDecision, of place: Int, _ context: CommandContext,
        _ events: inout [Event]
    ) {
        let value = state.cases[place]
        let order = HoldRules.following(decision, of: value.code.family, at: context.now)
        guard let order, (indexes.holdsOfCase[value.number]?.count ?? 0) < Limits.holdsPerCaseMax
        else { return }
        events.append(
            .holdPlaced(
                case: value.number, hold: HoldNumber(UInt64(state.holds.endIndex)), order: order))
    }

    func releaseHold(
        _ matter: CaseNumber, _ number: HoldNumber, _ release: HoldRelease,
        _ events: inout [Event]
    ) throws(DomainError) -> Decision {
        let place = try holdPlace(number, of: matter)
        let found = state.holds[place].state
        guard found == .active else {
            throw .illegalTransition(
                resource: .hold, from: found.text, to: HoldState.released.text,
                allowed: [HoldState.active.text])
        }
        events.append(.holdReleased(hold: number, release: release))
        return .holdChanged(number)
    }

    // MARK: Apply

    mutating func applyAttachment(
        _ matter: CaseNumber, _ number: EvidenceNumber, _ attachment: AttachedObject,
        _ header: EventHeader
    ) {
        invariant(Int(number.value) == state.evidence.endIndex, "evidence numbers have no gap")
        let evidence = Evidence(
            number: number, caseNumber: matter, attachment: attachment,
            principal: indexes.principals.intern(header.principal, in: &state.principals),
            attachedAt: header.time, revision: header.sequence)
        indexes.enter(evidence, at: state.evidence.endIndex)
        state.evidence.append(evidence)
    }

    mutating func applyErasure(
        _ number: EvidenceNumber, _ erasure: Erasure, _ header: EventHeader
    ) {
        let place = Int(number.value)
        invariant(state.evidence[place].erasure == nil, "evidence is erased once")
        var erasure = erasure
        erasure.principal = indexes.principals.intern(header.principal, in: &state.principals)
        erasure.erasedAt = header.time
        state.evidence[place].erasure = erasure
        state.evidence[place].eraseCaption()
        state.evidence[place].revision = header.sequence
        indexes.storedEvidence -= 1
        indexes.storedEvidenceBytes -= state.evidence[place].attachment.size
    }

    mutating func applyTextErasure(_ matter: CaseNumber, _ header: EventHeader) {
        change(matter, header) { value in
            value.first.content = Erased.content
            for index in value.more.indices { value.more[index].content = Erased.content }
        }
    }

    mutating func applyHold(
        _ matter: CaseNumber, _ number: HoldNumber, _ order: HoldOrder, _ header: EventHeader
    ) {
        invariant(Int(number.value) == state.holds.endIndex, "hold numbers have no gap")
        let hold = Hold(
            number: number, caseNumber: matter, state: .active, order: order,
            principal: indexes.principals.intern(header.principal, in: &state.principals),
            placedAt: header.time, revision: header.sequence)
        indexes.enter(hold, at: state.holds.endIndex)
        state.holds.append(hold)
        indexes.arm(Timer(.hold(number.value), at: order.expiresAt), state)
    }

    mutating func applyRelease(
        _ number: HoldNumber, _ release: HoldRelease, _ header: EventHeader
    ) {
        var release = release
        release.principal = indexes.principals.intern(header.principal, in: &state.principals)
        release.releasedAt = header.time
        changeHold(number, header) {
            $0.state = .released
            $0.release = release
        }
    }

    mutating func changeHold(
        _ number: HoldNumber, _ header: EventHeader, _ body: (inout Hold) -> Void
    ) {
        let place = Int(number.value)
        body(&state.holds[place])
        state.holds[place].revision = header.sequence
        indexes.activeHolds -= 1
    }

    // MARK: Queries

    /// An object of evidence as it is now.
    ///
    /// - Throws: ``DomainError/notFound(_:)``, also for evidence of another case.
    package func evidence(
        _ number: EvidenceNumber, of matter: CaseNumber
    ) throws(DomainError) -> EvidenceView {
        evidenceView(try evidencePlace(number, of: matter))
    }

    func evidenceView(_ place: Int) -> EvidenceView {
        let value = state.evidence[place]
        var view = EvidenceView(value: value, principals: [:])
        name(value.principal, &view.principals)
        name(value.erasure?.principal ?? .none, &view.principals)
        return view
    }

    func holdView(_ place: Int) -> HoldView {
        let value = state.holds[place]
        var view = HoldView(value: value, principals: [:])
        name(value.principal, &view.principals)
        name(value.release?.principal ?? .none, &view.principals)
        return view
    }

    /// The evidence of a case, oldest first.
    ///
    /// - Parameters:
    ///   - matter: The case.
    ///   - number: The last one of the part before; 0 for the first part.
    ///   - limit: At most; 1 or more.
    /// - Returns: A part of it, and where the next one begins.
    /// - Throws: ``DomainError/notFound(_:)``.
    package func evidence(
        of matter: CaseNumber, after number: UInt64, limit: Int
    ) throws(DomainError) -> CasePart<EvidenceView> {
        _ = try place(of: matter)
        return Self.part(indexes.evidenceOfCase[matter] ?? [], after: number, limit: limit) {
            evidenceView($0)
        }
    }

    /// The holds of a case, oldest first; parameters as of ``evidence(of:after:limit:)``.
    package func holds(
        of matter: CaseNumber, after number: UInt64, limit: Int
    ) throws(DomainError) -> CasePart<HoldView> {
        _ = try place(of: matter)
        return Self.part(indexes.holdsOfCase[matter] ?? [], after: number, limit: limit) {
            holdView($0)
        }
    }

    private static func part<Item>(
        _ places: [Int], after number: UInt64, limit: Int, _ view: (Int) -> Item
    ) -> CasePart<Item> {
        let rest = places.drop { UInt64($0) <= number }
        let shown = rest.prefix(limit)
        return CasePart(
            items: shown.map(view),
            next: shown.count < rest.count ? shown.last.map { UInt64($0) } : nil)
    }

    /// The object of evidence.
    package func object(of number: EvidenceNumber) -> ObjectName {
        state.evidence[Int(number.value)].attachment.object
    }

    /// Names of all objects that the vault must have.
    package var storedObjects: Set<ObjectName> {
        var names: Set<ObjectName> = []
        names.reserveCapacity(indexes.storedEvidence)
        state.evidence.forEach { evidence in
            if evidence.erasure == nil { names.insert(evidence.attachment.object) }
        }
        return names
    }

    /// Names of all objects that the vault must have no more.
    package var erasedObjects: Set<ObjectName> {
        var names: Set<ObjectName> = []
        state.evidence.forEach { evidence in
            if evidence.erasure != nil { names.insert(evidence.attachment.object) }
        }
        return names
    }
}

extension WorldIndexes {
    mutating func enter(_ evidence: Evidence, at place: Int) {
        evidenceOfCase[evidence.caseNumber, default: []].append(place)
        guard evidence.erasure == nil else { return }
        storedEvidence += 1
        storedEvidenceBytes += evidence.attachment.size
    }

    mutating func enter(_ hold: Hold, at place: Int) {
        holdsOfCase[hold.caseNumber, default: []].append(place)
        if hold.state == .active { activeHolds += 1 }
    }
}
