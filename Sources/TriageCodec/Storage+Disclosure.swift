// The parts of a disclosure request that events and snapshots share, both ways.

internal import CTriageProtos
internal import TriageBase
internal import TriageDomain

extension StorageWriter {
    func write(
        _ filing: DisclosureFiling
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__DisclosureFiling> {
        let stored = unsafe arena.new(triaged__storage__v1__disclosure_filing__init)
        unsafe stored.pointee.kind = Int32(filing.kind.rawValue)
        unsafe stored.pointee.agency_name = text(filing.agency.name)
        unsafe stored.pointee.agency_region = Int32(filing.agency.region.rawValue)
        unsafe stored.pointee.agency_address = text(filing.agency.address)
        unsafe stored.pointee.officer = write(filing.officer)
        if let emergency = filing.emergency {
            unsafe stored.pointee.emergency = write(emergency)
        }
        unsafe stored.pointee.n_identifiers = filing.identifiers.count
        unsafe stored.pointee.identifiers = arena.list(filing.identifiers) { identifier in
            let copy = unsafe arena.new(triaged__storage__v1__subject_identifier__init)
            unsafe copy.pointee.kind = Int32(identifier.kind.rawValue)
            unsafe copy.pointee.value = text(identifier.value)
            return unsafe copy
        }
        unsafe stored.pointee.n_content_uris = filing.contentURIs.count
        unsafe stored.pointee.content_uris = arena.texts(filing.contentURIs)
        unsafe stored.pointee.n_data_requests = filing.dataRequests.count
        unsafe stored.pointee.data_requests = arena.list(filing.dataRequests) { request in
            let copy = unsafe arena.new(triaged__storage__v1__data_request__init)
            unsafe copy.pointee.category = Int32(request.category.rawValue)
            unsafe copy.pointee.justification = text(request.justification)
            unsafe copy.pointee.start_milliseconds = request.start.milliseconds
            unsafe copy.pointee.end_milliseconds = request.end.milliseconds
            return unsafe copy
        }
        if let process = filing.legalProcess {
            unsafe stored.pointee.legal_process = write(process)
        }
        unsafe stored.pointee.addressee = Int32(filing.addressee.rawValue)
        unsafe stored.pointee.user_notice = Int32(filing.userNotice.rawValue)
        unsafe stored.pointee.n_documents = filing.documents.count
        unsafe stored.pointee.documents = arena.list(filing.documents) { document in
            let copy = unsafe arena.new(triaged__storage__v1__document_reference__init)
            unsafe copy.pointee.sha256 = text(document.sha256)
            unsafe copy.pointee.title = text(document.title)
            return unsafe copy
        }
        unsafe stored.pointee.case_number = Int64(filing.caseNumber.value)
        return unsafe stored
    }

    private func write(
        _ officer: Officer
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__Officer> {
        let stored = unsafe arena.new(triaged__storage__v1__officer__init)
        unsafe stored.pointee.name = text(officer.name)
        unsafe stored.pointee.badge_id = text(officer.badgeID)
        unsafe stored.pointee.email = text(officer.email)
        unsafe stored.pointee.phone = text(officer.phone)
        unsafe stored.pointee.title = text(officer.title)
        unsafe stored.pointee.sworn = officer.sworn ? 1 : 0
        unsafe stored.pointee.supervisor_contact = text(officer.supervisorContact)
        return unsafe stored
    }

    private func write(
        _ emergency: Emergency
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__Emergency> {
        let stored = unsafe arena.new(triaged__storage__v1__emergency__init)
        unsafe stored.pointee.nature = Int32(emergency.nature.rawValue)
        unsafe stored.pointee.summary = text(emergency.summary)
        unsafe stored.pointee.person_in_danger = text(emergency.personInDanger)
        unsafe stored.pointee.necessity = text(emergency.necessity)
        unsafe stored.pointee.needed_by_milliseconds = emergency.neededBy.milliseconds
        unsafe stored.pointee.needed_by_reason = text(emergency.neededByReason)
        unsafe stored.pointee.danger_to_life_declared = emergency.dangerToLifeDeclared ? 1 : 0
        unsafe stored.pointee.on_letterhead = emergency.onLetterhead ? 1 : 0
        return unsafe stored
    }

    private func write(
        _ process: LegalProcess
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__LegalProcess> {
        let stored = unsafe arena.new(triaged__storage__v1__legal_process__init)
        unsafe stored.pointee.kind = Int32(process.kind.rawValue)
        unsafe stored.pointee.citation = text(process.citation)
        unsafe stored.pointee.offence = text(process.offence)
        unsafe stored.pointee.court = text(process.court)
        unsafe stored.pointee.judge = text(process.judge)
        return unsafe stored
    }

    func write(_ clock: DisclosureClock) -> UnsafeMutablePointer<Triaged__Storage__V1__Clock> {
        let stored = unsafe arena.new(triaged__storage__v1__clock__init)
        unsafe stored.pointee.kind = text(clock.kind)
        unsafe stored.pointee.deadline_milliseconds = clock.deadline.milliseconds
        unsafe stored.pointee.rule = text(clock.rule)
        return unsafe stored
    }

    func write(
        _ verification: Verification
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__Verification> {
        let stored = unsafe arena.new(triaged__storage__v1__verification__init)
        unsafe stored.pointee.method = Int32(verification.method.rawValue)
        unsafe stored.pointee.outcome = Int32(verification.outcome.rawValue)
        unsafe stored.pointee.note = text(verification.note)
        unsafe stored.pointee.principal_index = Int32(verification.principal.value)
        unsafe stored.pointee.verify_milliseconds = verification.verifiedAt.milliseconds
        return unsafe stored
    }

    func write(_ scope: Scope) -> UnsafeMutablePointer<Triaged__Storage__V1__Scope> {
        let stored = unsafe arena.new(triaged__storage__v1__scope__init)
        unsafe stored.pointee.n_items = scope.items.count
        unsafe stored.pointee.items = arena.list(scope.items) { item in
            let copy = unsafe arena.new(triaged__storage__v1__scope_item__init)
            unsafe copy.pointee.subject_index = Int32(item.subjectIndex)
            unsafe copy.pointee.category = Int32(item.category.rawValue)
            unsafe copy.pointee.start_milliseconds = item.start.milliseconds
            unsafe copy.pointee.end_milliseconds = item.end.milliseconds
            return unsafe copy
        }
        unsafe stored.pointee.legal_basis = Int32(scope.legalBasis.rawValue)
        unsafe stored.pointee.good_faith_finding = text(scope.goodFaithFinding)
        unsafe stored.pointee.principal_index = Int32(scope.principal.value)
        unsafe stored.pointee.set_milliseconds = scope.setAt.milliseconds
        return unsafe stored
    }

    func write(_ rejection: Rejection) -> UnsafeMutablePointer<Triaged__Storage__V1__Rejection> {
        let stored = unsafe arena.new(triaged__storage__v1__rejection__init)
        unsafe stored.pointee.reason = Int32(rejection.reason.rawValue)
        unsafe stored.pointee.explanation = text(rejection.explanation)
        unsafe stored.pointee.principal_index = Int32(rejection.principal.value)
        unsafe stored.pointee.reject_milliseconds = rejection.rejectedAt.milliseconds
        return unsafe stored
    }
}

extension StorageReader {
    static func read(
        _ stored: Triaged__Storage__V1__DisclosureFiling
    ) throws(CodecError) -> DisclosureFiling {
        var filing = unsafe DisclosureFiling(
            kind: try choice(stored.kind, "DisclosureFiling.kind"),
            addressee: try choice(stored.addressee, "DisclosureFiling.addressee"),
            userNotice: try choice(stored.user_notice, "DisclosureFiling.user_notice"))
        filing.agency.name = unsafe string(stored.agency_name)
        filing.agency.region = unsafe try region(
            stored.agency_region, "DisclosureFiling.agency_region")
        filing.agency.address = unsafe string(stored.agency_address)
        filing.officer = unsafe read(try part(stored.officer, "DisclosureFiling.officer"))
        if let emergency = unsafe stored.emergency?.pointee {
            filing.emergency = unsafe try read(emergency)
        }
        filing.identifiers = unsafe try list(stored.identifiers, stored.n_identifiers) {
            value throws(CodecError) in
            unsafe SubjectIdentifier(
                kind: try choice(value.kind, "SubjectIdentifier.kind"), value: string(value.value))
        }
        filing.contentURIs = unsafe texts(stored.content_uris, stored.n_content_uris)
        filing.dataRequests = unsafe try list(stored.data_requests, stored.n_data_requests) {
            value throws(CodecError) in
            unsafe DataRequest(
                category: try choice(value.category, "DataRequest.category"),
                justification: string(value.justification),
                start: try time(value.start_milliseconds),
                end: try time(value.end_milliseconds))
        }
        if let process = unsafe stored.legal_process?.pointee {
            filing.legalProcess = unsafe try read(process)
        }
        filing.documents = unsafe try list(stored.documents, stored.n_documents) {
            value throws(CodecError) in
            unsafe DocumentReference(sha256: string(value.sha256), title: string(value.title))
        }
        filing.caseNumber = unsafe try caseNumber(stored.case_number)
        return filing
    }

    private static func read(_ stored: Triaged__Storage__V1__Officer) -> Officer {
        var officer = Officer()
        officer.name = unsafe string(stored.name)
        officer.badgeID = unsafe string(stored.badge_id)
        officer.email = unsafe string(stored.email)
        officer.phone = unsafe string(stored.phone)
        officer.title = unsafe string(stored.title)
        officer.sworn = unsafe stored.sworn != 0
        officer.supervisorContact = unsafe string(stored.supervisor_contact)
        return officer
    }

    private static func read(
        _ stored: Triaged__Storage__V1__Emergency
    ) throws(CodecError) -> Emergency {
        var emergency = unsafe Emergency(nature: try choice(stored.nature, "Emergency.nature"))
        emergency.summary = unsafe string(stored.summary)
        emergency.personInDanger = unsafe string(stored.person_in_danger)
        emergency.necessity = unsafe string(stored.necessity)
        emergency.neededBy = unsafe try time(stored.needed_by_milliseconds)
        emergency.neededByReason = unsafe string(stored.needed_by_reason)
        emergency.dangerToLifeDeclared = unsafe stored.danger_to_life_declared != 0
        emergency.onLetterhead = unsafe stored.on_letterhead != 0
        return emergency
    }

    private static func read(
        _ stored: Triaged__Storage__V1__LegalProcess
    ) throws(CodecError) -> LegalProcess {
        var process = unsafe LegalProcess(kind: try choice(stored.kind, "LegalProcess.kind"))
        process.citation = unsafe string(stored.citation)
        process.offence = unsafe string(stored.offence)
        process.court = unsafe string(stored.court)
        process.judge = unsafe string(stored.judge)
        return process
    }

    static func read(_ stored: Triaged__Storage__V1__Clock) throws(CodecError) -> DisclosureClock {
        unsafe DisclosureClock(
            kind: string(stored.kind), deadline: try time(stored.deadline_milliseconds),
            rule: string(stored.rule))
    }

    static func read(
        _ stored: Triaged__Storage__V1__Verification
    ) throws(CodecError) -> Verification {
        unsafe Verification(
            method: try choice(stored.method, "Verification.method"),
            outcome: try choice(stored.outcome, "Verification.outcome"), note: string(stored.note),
            principal: try principal(stored.principal_index, "Verification.principal_index"),
            verifiedAt: try time(stored.verify_milliseconds))
    }

    static func read(_ stored: Triaged__Storage__V1__Scope) throws(CodecError) -> Scope {
        unsafe Scope(
            items: try list(stored.items, stored.n_items) { item throws(CodecError) in
                guard unsafe item.subject_index >= 0 else {
                    throw .outOfRange("ScopeItem.subject_index")
                }
                return unsafe ScopeItem(
                    subjectIndex: Int(item.subject_index),
                    category: try choice(item.category, "ScopeItem.category"),
                    start: try time(item.start_milliseconds), end: try time(item.end_milliseconds))
            },
            legalBasis: try choice(stored.legal_basis, "Scope.legal_basis"),
            goodFaithFinding: string(stored.good_faith_finding),
            principal: try principal(stored.principal_index, "Scope.principal_index"),
            setAt: try time(stored.set_milliseconds))
    }

    static func read(_ stored: Triaged__Storage__V1__Rejection) throws(CodecError) -> Rejection {
        unsafe Rejection(
            reason: try choice(stored.reason, "Rejection.reason"),
            explanation: string(stored.explanation),
            principal: try principal(stored.principal_index, "Rejection.principal_index"),
            rejectedAt: try time(stored.reject_milliseconds))
    }
}
