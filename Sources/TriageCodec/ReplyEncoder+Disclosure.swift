// Disclosure requests as the API shows them: to our own people, to the authority that filed one,
// and in lists, where no sensitive field is shown to anybody.

internal import CProtobufC
internal import CTriageProtos
internal import TriageBase
package import TriageDomain

/// Whom a disclosure request is shown to.
package enum DisclosureAudience: Sendable {
    /// Our own people.
    case `internal`
    /// Who filed it: how they were verified, what we may hand out before it is approved, who
    /// decided, and the case that we link it to are not theirs to know.
    case requester
}

/// What of a disclosure request is shown.
private struct Shown {
    var audience: DisclosureAudience
    var sensitive: Bool

    var isInternal: Bool {
        switch audience {
        case .internal: true
        case .requester: false
        }
    }
}

extension ReplyEncoder {
    /// A disclosure request: the reply of GetDisclosureRequest and of every write that changes one.
    package func disclosure(_ view: DisclosureView, audience: DisclosureAudience) -> [UInt8] {
        arena.reset()
        return unsafe arena.pack(build(view, Shown(audience: audience, sensitive: true)))
    }

    /// A message of WatchDisclosureRequest.
    package func watchDisclosure(_ view: DisclosureView, audience: DisclosureAudience) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__watch_disclosure_request_response__init)
        unsafe reply.pointee.disclosure_request = build(
            view, Shown(audience: audience, sensitive: true))
        return unsafe arena.pack(reply)
    }

    /// The reply of ListDisclosureRequests.
    package func listDisclosures(
        _ page: DisclosurePage, audience: DisclosureAudience, binding: PageBinding
    ) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__list_disclosure_requests_response__init)
        unsafe reply.pointee.n_disclosure_requests = page.requests.count
        unsafe reply.pointee.disclosure_requests = arena.list(page.requests) {
            unsafe build($0, Shown(audience: audience, sensitive: false))
        }
        if let next = page.next {
            unsafe reply.pointee.next_page_token = arena.text(
                PageToken.seal(
                    .disclosures, high: UInt64(bitPattern: next.receivedAt.milliseconds),
                    low: next.id.value, binding, pageTokenKey))
        }
        unsafe reply.pointee.withheld_count = Int64(page.withheld)
        return unsafe arena.pack(reply)
    }

    private func build(
        _ view: DisclosureView, _ shown: Shown
    ) -> UnsafeMutablePointer<Triaged__V1__DisclosureRequest> {
        let value = view.value
        let message = unsafe arena.new(triaged__v1__disclosure_request__init)
        unsafe message.pointee.name = arena.text(ResourceName.text(value.id))
        unsafe message.pointee.state = .init(UInt32(value.state.rawValue))
        unsafe addFiling(value.filing, shown, to: message)
        unsafe message.pointee.requester = name(value.requester, view.principals)
        unsafe message.pointee.create_time = arena.time(value.receivedAt)
        unsafe message.pointee.update_time = arena.time(value.updatedAt)
        unsafe message.pointee.instrument = arena.text(value.instrument)
        unsafe message.pointee.n_clocks = value.clocks.count
        unsafe message.pointee.clocks = arena.list(value.clocks) { clock in
            let copy = unsafe arena.new(triaged__v1__clock__init)
            let rule = InstrumentRules.rule(clock.rule)
            unsafe copy.pointee.kind = arena.text(clock.kind)
            unsafe copy.pointee.deadline_time = arena.time(clock.deadline)
            unsafe copy.pointee.source = arena.text(rule?.source ?? clock.rule)
            unsafe copy.pointee.verification_mark = arena.text(rule?.mark.rawValue ?? "U")
            return unsafe copy
        }
        if let hold = value.preservation {
            unsafe message.pointee.preservation = preservation(hold)
        }
        if shown.isInternal {
            unsafe message.pointee.n_verifications = value.verifications.count
            unsafe message.pointee.verifications = arena.list(value.verifications) {
                unsafe verification($0, view, shown)
            }
            unsafe message.pointee.case_ = arena.name(value.filing.caseNumber)
            let participants = value.participants
            unsafe message.pointee.n_participants = participants.count
            unsafe message.pointee.participants = arena.texts(
                participants.map { view.principals[$0]?.text ?? "" })
        }
        if let scope = value.scope, shown.isInternal || value.state == .approved {
            unsafe message.pointee.scope = self.scope(scope, view, shown)
        }
        if let approval = value.approval {
            let copy = unsafe arena.new(triaged__v1__approval__init)
            unsafe copy.pointee.principal = decider(approval.principal, view, shown)
            unsafe copy.pointee.create_time = arena.time(approval.approvedAt)
            unsafe copy.pointee.scope_revision = Int64(bitPattern: approval.scopeRevision)
            unsafe message.pointee.approval = unsafe copy
        }
        if let rejection = value.rejection {
            let copy = unsafe arena.new(triaged__v1__rejection__init)
            unsafe copy.pointee.reason = .init(UInt32(rejection.reason.rawValue))
            unsafe copy.pointee.explanation = arena.text(rejection.explanation)
            unsafe copy.pointee.principal = decider(rejection.principal, view, shown)
            unsafe copy.pointee.create_time = arena.time(rejection.rejectedAt)
            unsafe message.pointee.rejection = unsafe copy
        }
        unsafe message.pointee.revision = Int64(bitPattern: value.revision)
        unsafe message.pointee.etag = arena.etag(revision: value.revision)
        return unsafe message
    }

    /// Who decided something: known among ourselves only.
    private func decider(
        _ index: PrincipalIndex, _ view: DisclosureView, _ shown: Shown
    ) -> CText? {
        shown.isInternal ? unsafe name(index, view.principals) : nil
    }

    /// A text that lists leave out.
    private func sensitive(_ text: String, _ shown: Shown) -> CText? {
        shown.sensitive ? unsafe arena.text(text) : nil
    }

    // MARK: What was filed

    private func addFiling(
        _ filing: DisclosureFiling, _ shown: Shown,
        to message: UnsafeMutablePointer<Triaged__V1__DisclosureRequest>
    ) {
        unsafe message.pointee.kind = .init(UInt32(filing.kind.rawValue))
        let agency = unsafe arena.new(triaged__v1__agency__init)
        unsafe agency.pointee.name = arena.text(filing.agency.name)
        unsafe agency.pointee.region_code = arena.text(filing.agency.region.text)
        unsafe agency.pointee.address = arena.text(filing.agency.address)
        unsafe message.pointee.agency = unsafe agency
        unsafe message.pointee.officer = officer(filing.officer, shown)
        if let emergency = filing.emergency {
            unsafe message.pointee.emergency = self.emergency(emergency, shown)
        }
        unsafe message.pointee.n_subject_identifiers = filing.identifiers.count
        unsafe message.pointee.subject_identifiers = arena.list(filing.identifiers) { identifier in
            let copy = unsafe arena.new(triaged__v1__subject_identifier__init)
            unsafe copy.pointee.kind = .init(UInt32(identifier.kind.rawValue))
            unsafe copy.pointee.value = sensitive(identifier.value, shown)
            return unsafe copy
        }
        if shown.sensitive {
            unsafe message.pointee.n_content_uris = filing.contentURIs.count
            unsafe message.pointee.content_uris = arena.texts(filing.contentURIs)
        }
        unsafe message.pointee.n_data_requests = filing.dataRequests.count
        unsafe message.pointee.data_requests = arena.list(filing.dataRequests) { request in
            let copy = unsafe arena.new(triaged__v1__data_request__init)
            unsafe copy.pointee.category = .init(UInt32(request.category.rawValue))
            unsafe copy.pointee.justification = sensitive(request.justification, shown)
            unsafe copy.pointee.start_time = arena.time(request.start)
            unsafe copy.pointee.end_time = arena.time(request.end)
            return unsafe copy
        }
        if let process = filing.legalProcess {
            let copy = unsafe arena.new(triaged__v1__legal_process__init)
            unsafe copy.pointee.kind = .init(UInt32(process.kind.rawValue))
            unsafe copy.pointee.citation = arena.text(process.citation)
            unsafe copy.pointee.offence = arena.text(process.offence)
            unsafe copy.pointee.court = arena.text(process.court)
            unsafe copy.pointee.judge = sensitive(process.judge, shown)
            unsafe message.pointee.legal_process = unsafe copy
        }
        unsafe message.pointee.addressee = .init(UInt32(filing.addressee.rawValue))
        unsafe message.pointee.user_notice = .init(UInt32(filing.userNotice.rawValue))
        unsafe message.pointee.n_documents = filing.documents.count
        unsafe message.pointee.documents = arena.list(filing.documents) { document in
            let copy = unsafe arena.new(triaged__v1__document_reference__init)
            unsafe copy.pointee.sha256 = arena.text(document.sha256)
            unsafe copy.pointee.title = arena.text(document.title)
            return unsafe copy
        }
    }

    private func officer(
        _ officer: Officer, _ shown: Shown
    ) -> UnsafeMutablePointer<Triaged__V1__Officer> {
        let message = unsafe arena.new(triaged__v1__officer__init)
        unsafe message.pointee.name = sensitive(officer.name, shown)
        unsafe message.pointee.badge_id = sensitive(officer.badgeID, shown)
        unsafe message.pointee.email = sensitive(officer.email, shown)
        unsafe message.pointee.phone = sensitive(officer.phone, shown)
        unsafe message.pointee.title = arena.text(officer.title)
        unsafe message.pointee.sworn = officer.sworn ? 1 : 0
        unsafe message.pointee.supervisor_contact = sensitive(officer.supervisorContact, shown)
        return unsafe message
    }

    private func emergency(
        _ emergency: Emergency, _ shown: Shown
    ) -> UnsafeMutablePointer<Triaged__V1__Emergency> {
        let message = unsafe arena.new(triaged__v1__emergency__init)
        unsafe message.pointee.nature = .init(UInt32(emergency.nature.rawValue))
        unsafe message.pointee.summary = sensitive(emergency.summary, shown)
        unsafe message.pointee.person_in_danger = sensitive(emergency.personInDanger, shown)
        unsafe message.pointee.necessity = sensitive(emergency.necessity, shown)
        unsafe message.pointee.needed_by_time = arena.timeIfSet(emergency.neededBy)
        unsafe message.pointee.needed_by_reason = arena.text(emergency.neededByReason)
        unsafe message.pointee.danger_to_life_declared = emergency.dangerToLifeDeclared ? 1 : 0
        unsafe message.pointee.on_letterhead = emergency.onLetterhead ? 1 : 0
        return unsafe message
    }

    // MARK: What was done about it

    private func preservation(
        _ hold: Preservation
    ) -> UnsafeMutablePointer<Triaged__V1__Preservation> {
        let message = unsafe arena.new(triaged__v1__preservation__init)
        let rule = InstrumentRules.rule(hold.rule)
        unsafe message.pointee.state = .init(UInt32(hold.state.rawValue))
        unsafe message.pointee.create_time = arena.time(hold.placedAt)
        unsafe message.pointee.expire_time = arena.time(hold.expiresAt)
        unsafe message.pointee.source = arena.text(rule?.source ?? hold.rule)
        unsafe message.pointee.verification_mark = arena.text(rule?.mark.rawValue ?? "U")
        return unsafe message
    }

    private func verification(
        _ verification: Verification, _ view: DisclosureView, _ shown: Shown
    ) -> UnsafeMutablePointer<Triaged__V1__Verification> {
        let message = unsafe arena.new(triaged__v1__verification__init)
        unsafe message.pointee.method = .init(UInt32(verification.method.rawValue))
        unsafe message.pointee.outcome = .init(UInt32(verification.outcome.rawValue))
        unsafe message.pointee.note = sensitive(verification.note, shown)
        unsafe message.pointee.principal = name(verification.principal, view.principals)
        unsafe message.pointee.create_time = arena.time(verification.verifiedAt)
        return unsafe message
    }

    private func scope(
        _ scope: Scope, _ view: DisclosureView, _ shown: Shown
    ) -> UnsafeMutablePointer<Triaged__V1__Scope> {
        let message = unsafe arena.new(triaged__v1__scope__init)
        unsafe message.pointee.n_items = scope.items.count
        unsafe message.pointee.items = arena.list(scope.items) { item in
            let copy = unsafe arena.new(triaged__v1__scope_item__init)
            unsafe copy.pointee.subject_index = Int32(clamping: item.subjectIndex)
            unsafe copy.pointee.category = .init(UInt32(item.category.rawValue))
            unsafe copy.pointee.start_time = arena.time(item.start)
            unsafe copy.pointee.end_time = arena.time(item.end)
            return unsafe copy
        }
        unsafe message.pointee.legal_basis = .init(UInt32(scope.legalBasis.rawValue))
        unsafe message.pointee.good_faith_finding = sensitive(scope.goodFaithFinding, shown)
        unsafe message.pointee.principal = decider(scope.principal, view, shown)
        unsafe message.pointee.create_time = arena.time(scope.setAt)
        return unsafe message
    }
}
