// The requests of DisclosureService: what an authority files, and what is done about it.

internal import CTriageProtos
package import TriageBase
internal import TriageDomain

extension RequestDecoder {
    /// Decodes SubmitDisclosureRequest.
    package func decodeSubmitDisclosureRequest(
        _ bytes: Span<UInt8>
    ) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(
            bytes, triaged__v1__submit_disclosure_request_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let filing = unsafe decode(message.pointee.disclosure_request, &form)
        guard let filing = try form.finish(filing) else { throw .invalid(form.problems) }
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .submitDisclosureRequest, .submitDisclosureRequest(filing))
    }

    /// Decodes GetDisclosureRequest.
    package func decodeGetDisclosureRequest(
        _ bytes: Span<UInt8>
    ) throws(RequestError) -> GetDisclosureRequest {
        let message = unsafe try unpack(bytes, triaged__v1__get_disclosure_request_request__init)
        var form = Form()
        let id = unsafe form.disclosureName(message.pointee.name)
        let purpose = unsafe form.text(message.pointee.purpose, max: 256, "purpose")
        return try form.finish(GetDisclosureRequest(id: id, purpose: purpose))
    }

    /// Decodes ListDisclosureRequests; the token must be one that `principal` got with the same
    /// filter.
    package func decodeListDisclosureRequests(
        _ bytes: Span<UInt8>, principal: Principal
    ) throws(RequestError) -> ListDisclosuresRequest {
        let message = unsafe try unpack(
            bytes, triaged__v1__list_disclosure_requests_request__init)
        var form = Form()
        let pageSize = unsafe form.pageSize(message.pointee.page_size)
        var states: [DisclosureState] = []
        var bits: UInt64 = 0
        for index in unsafe 0..<message.pointee.n_states {
            let value = unsafe elements(message.pointee.states, message.pointee.n_states)[index]
            let state: DisclosureState = form.choice(value, "states[\(index)]")
            let bit: UInt64 = 1 << UInt64(state.rawValue)
            if bits & bit == 0 { states.append(state) }
            bits |= bit
        }
        let binding = PageBinding(principal: principal, filter: Hash128(high: bits, low: 0))
        let place = unsafe openToken(message.pointee.page_token, .disclosures, binding, &form)
        let after = place.map {
            DisclosureCursor(
                receivedAt: WallTime(milliseconds: Int64(bitPattern: $0.high)),
                id: DisclosureID($0.low))
        }
        return try form.finish(
            ListDisclosuresRequest(
                pageSize: pageSize, after: after, states: states, binding: binding))
    }

    /// Decodes AddVerification.
    package func decodeAddVerification(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__add_verification_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let id = unsafe form.disclosureName(message.pointee.name)
        let etag = unsafe form.etag(message.pointee.etag)
        var verification: Verification?
        if let sent = unsafe message.pointee.verification?.pointee {
            verification = unsafe Verification(
                method: form.choice(sent.method, "verification.method"),
                outcome: form.choice(sent.outcome, "verification.outcome"),
                note: form.text(sent.note, max: 2 << 10, "verification.note"))
        } else {
            form.refuse({ "verification" }, "is required")
        }
        guard let verification = try form.finish(verification) else {
            throw .invalid(form.problems)
        }
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .addVerification,
            .addVerification(request: id, verification: verification, etag: etag))
    }

    /// Decodes SetScope.
    package func decodeSetScope(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__set_scope_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let id = unsafe form.disclosureName(message.pointee.name)
        let etag = unsafe form.etag(message.pointee.etag)
        let scope = unsafe decode(message.pointee.scope, &form)
        guard let scope = try form.finish(scope) else { throw .invalid(form.problems) }
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .setScope, .setScope(request: id, scope: scope, etag: etag))
    }

    /// Decodes ApproveDisclosure.
    package func decodeApproveDisclosure(
        _ bytes: Span<UInt8>
    ) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__approve_disclosure_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let id = unsafe form.disclosureName(message.pointee.name)
        let etag = unsafe form.etag(message.pointee.etag)
        if unsafe byteCount(message.pointee.etag) == 0 { form.refuse({ "etag" }, "is required") }
        _ = try form.finish(())
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .approveDisclosure,
            .approveDisclosure(request: id, etag: etag ?? 0))
    }

    /// Decodes RejectDisclosure.
    package func decodeRejectDisclosure(
        _ bytes: Span<UInt8>
    ) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__reject_disclosure_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let id = unsafe form.disclosureName(message.pointee.name)
        let etag = unsafe form.etag(message.pointee.etag)
        var rejection: Rejection?
        if let sent = unsafe message.pointee.rejection?.pointee {
            rejection = unsafe Rejection(
                reason: form.choice(sent.reason, "rejection.reason"),
                explanation: form.text(sent.explanation, max: 2 << 10, "rejection.explanation"))
        } else {
            form.refuse({ "rejection" }, "is required")
        }
        guard let rejection = try form.finish(rejection) else { throw .invalid(form.problems) }
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .rejectDisclosure,
            .rejectDisclosure(request: id, rejection: rejection, etag: etag))
    }

    /// Decodes WatchDisclosureRequest.
    package func decodeWatchDisclosureRequest(
        _ bytes: Span<UInt8>
    ) throws(RequestError) -> DisclosureID {
        let message = unsafe try unpack(bytes, triaged__v1__watch_disclosure_request_request__init)
        var form = Form()
        let id = unsafe form.disclosureName(message.pointee.name)
        return try form.finish(id)
    }

    // MARK: Parts

    private func decode(
        _ scope: UnsafeMutablePointer<Triaged__V1__Scope>?, _ form: inout Form
    ) -> Scope? {
        guard let scope = unsafe scope?.pointee else {
            form.refuse({ "scope" }, "is required")
            return nil
        }
        unsafe form.checkCount(scope.n_items, min: 1, max: 256, "scope.items")
        var items: [ScopeItem] = []
        for index in unsafe 0..<min(256, scope.n_items) {
            let element = unsafe elements(scope.items, min(256, scope.n_items))[index]
            guard let item = unsafe element?.pointee else { continue }
            let path = "scope.items[\(index)]"
            if unsafe item.subject_index < 0 {
                form.refuse({ path + ".subject_index" }, "must not be negative")
            }
            let period = unsafe form.period(item.start_time, item.end_time, path)
            items.append(
                unsafe ScopeItem(
                    subjectIndex: Int(item.subject_index),
                    category: form.choice(item.category, path + ".category"),
                    start: period.start, end: period.end))
        }
        let basis: LegalBasis = unsafe form.choice(scope.legal_basis, "scope.legal_basis")
        let needsFinding =
            switch basis {
            case .us2702Emergency, .euGDPRVitalInterests, .ukGDPRVitalInterests, .other: true
            case .us2703Process, .eu20231543Production: false
            }
        let finding = unsafe form.text(
            scope.good_faith_finding, min: needsFinding ? 1 : 0, max: 4 << 10,
            "scope.good_faith_finding")
        return Scope(items: items, legalBasis: basis, goodFaithFinding: finding)
    }

    private func decode(
        _ request: UnsafeMutablePointer<Triaged__V1__DisclosureRequest>?, _ form: inout Form
    ) -> DisclosureFiling? {
        guard let request = unsafe request?.pointee else {
            form.refuse({ "disclosure_request" }, "is required")
            return nil
        }
        let root = "disclosure_request"
        var filing = unsafe DisclosureFiling(
            kind: form.choice(request.kind, "\(root).kind"),
            addressee: form.choice(request.addressee, "\(root).addressee"),
            userNotice: form.choice(request.user_notice, "\(root).user_notice"))
        unsafe who(request, &filing, &form, root)
        unsafe what(request, &filing, &form, root)
        if let emergency = unsafe request.emergency?.pointee {
            filing.emergency = unsafe decode(emergency, &form, "\(root).emergency")
        } else if filing.kind == .emergency {
            form.refuse({ "\(root).emergency" }, "is required for an emergency")
        }
        if let process = unsafe request.legal_process?.pointee {
            filing.legalProcess = unsafe decode(process, &form, "\(root).legal_process")
        } else if filing.kind == .legalProcess {
            form.refuse({ "\(root).legal_process" }, "is required for legal process")
        }
        filing.caseNumber = unsafe form.caseName(
            request.case_, required: false, "\(root).case")
        return filing
    }

    /// Agency and officer.
    private func who(
        _ request: Triaged__V1__DisclosureRequest, _ filing: inout DisclosureFiling,
        _ form: inout Form, _ root: String
    ) {
        if let agency = unsafe request.agency?.pointee {
            let path = root + ".agency"
            filing.agency.name = unsafe form.text(agency.name, min: 1, max: 256, path + ".name")
            filing.agency.region = unsafe form.region(
                agency.region_code, required: true, path + ".region_code")
            filing.agency.address = unsafe form.text(
                agency.address, min: 1, max: 512, path + ".address")
        } else {
            form.refuse({ root + ".agency" }, "is required")
        }
        guard let officer = unsafe request.officer?.pointee else {
            form.refuse({ root + ".officer" }, "is required")
            return
        }
        let path = root + ".officer"
        filing.officer.name = unsafe form.text(officer.name, min: 1, max: 256, path + ".name")
        filing.officer.badgeID = unsafe form.text(
            officer.badge_id, min: 1, max: 64, path + ".badge_id")
        filing.officer.email = unsafe form.text(officer.email, min: 3, max: 254, path + ".email")
        let parts = filing.officer.email.utf8.split(
            separator: UInt8(ascii: "@"), omittingEmptySubsequences: false)
        if (3...254).contains(filing.officer.email.utf8.count),
            parts.count != 2 || parts.contains(where: \.isEmpty)
        {
            form.refuse({ path + ".email" }, "must be an e-mail address")
        }
        filing.officer.phone = unsafe form.text(officer.phone, min: 3, max: 64, path + ".phone")
        filing.officer.title = unsafe form.text(officer.title, max: 128, path + ".title")
        filing.officer.sworn = unsafe officer.sworn != 0
        filing.officer.supervisorContact = unsafe form.text(
            officer.supervisor_contact, max: 512, path + ".supervisor_contact")
    }

    /// Identifiers, content, data and documents.
    private func what(
        _ request: Triaged__V1__DisclosureRequest, _ filing: inout DisclosureFiling,
        _ form: inout Form, _ root: String
    ) {
        unsafe form.checkCount(
            request.n_subject_identifiers, min: 1, max: 64, "\(root).subject_identifiers")
        for index in unsafe 0..<min(64, request.n_subject_identifiers) {
            let element = unsafe elements(
                request.subject_identifiers, min(64, request.n_subject_identifiers))[index]
            guard let sent = unsafe element?.pointee else { continue }
            let path = "\(root).subject_identifiers[\(index)]"
            filing.identifiers.append(
                unsafe SubjectIdentifier(
                    kind: form.choice(sent.kind, path + ".kind"),
                    value: form.text(sent.value, min: 1, max: 512, path + ".value")))
        }
        filing.contentURIs = unsafe form.texts(
            request.content_uris, request.n_content_uris, countMax: 64, bytesMax: 2 << 10,
            "\(root).content_uris")
        unsafe form.checkCount(
            request.n_data_requests, min: 1, max: 16, "\(root).data_requests")
        for index in unsafe 0..<min(16, request.n_data_requests) {
            let element = unsafe elements(request.data_requests, min(16, request.n_data_requests))[
                index]
            guard let sent = unsafe element?.pointee else { continue }
            let path = "\(root).data_requests[\(index)]"
            let period = unsafe form.period(sent.start_time, sent.end_time, path)
            filing.dataRequests.append(
                unsafe DataRequest(
                    category: form.choice(sent.category, path + ".category"),
                    justification: form.text(
                        sent.justification, min: 1, max: 2 << 10, path + ".justification"),
                    start: period.start, end: period.end))
        }
        unsafe form.checkCount(request.n_documents, max: 16, "\(root).documents")
        for index in unsafe 0..<min(16, request.n_documents) {
            let element = unsafe elements(request.documents, min(16, request.n_documents))[index]
            guard let sent = unsafe element?.pointee else { continue }
            let path = "\(root).documents[\(index)]"
            let digest = unsafe withBytes(sent.sha256) { bytes in
                guard bytes.count == 64 else { return false }
                for at in bytes.indices where hexDigitValue(bytes[at]) == nil { return false }
                return true
            }
            if !digest { form.refuse({ path + ".sha256" }, "must be 64 hexadecimal digits") }
            filing.documents.append(
                unsafe DocumentReference(
                    sha256: string(sent.sha256).lowercased(),
                    title: form.text(sent.title, min: 1, max: 128, path + ".title")))
        }
    }

    private func decode(
        _ sent: Triaged__V1__Emergency, _ form: inout Form, _ path: String
    ) -> Emergency {
        var emergency = unsafe Emergency(nature: form.choice(sent.nature, path + ".nature"))
        emergency.summary = unsafe form.text(
            sent.summary, min: 1, max: 8 << 10, path + ".summary")
        emergency.personInDanger = unsafe form.text(
            sent.person_in_danger, min: 1, max: 1 << 10, path + ".person_in_danger")
        emergency.necessity = unsafe form.text(
            sent.necessity, min: 1, max: 4 << 10, path + ".necessity")
        emergency.neededBy = unsafe form.time(
            sent.needed_by_time, required: false, path + ".needed_by_time")
        emergency.neededByReason = unsafe form.text(
            sent.needed_by_reason, max: 1 << 10, path + ".needed_by_reason")
        emergency.dangerToLifeDeclared = unsafe sent.danger_to_life_declared != 0
        emergency.onLetterhead = unsafe sent.on_letterhead != 0
        return emergency
    }

    private func decode(
        _ sent: Triaged__V1__LegalProcess, _ form: inout Form, _ path: String
    ) -> LegalProcess {
        var process = unsafe LegalProcess(kind: form.choice(sent.kind, path + ".kind"))
        process.citation = unsafe form.text(sent.citation, min: 1, max: 512, path + ".citation")
        process.offence = unsafe form.text(sent.offence, min: 1, max: 512, path + ".offence")
        process.court = unsafe form.text(sent.court, max: 256, path + ".court")
        process.judge = unsafe form.text(sent.judge, max: 256, path + ".judge")
        return process
    }
}
