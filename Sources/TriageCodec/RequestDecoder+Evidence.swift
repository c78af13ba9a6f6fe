// The requests of EvidenceService, and of keys: what is attached, read and erased, and what holds
// it.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase
package import TriageDomain

/// The first message of AttachEvidence: what is attached, before its bytes are there.
package struct AttachStart: Sendable {
    package var key: WriteKey
    package var caseNumber: CaseNumber
    package var mediaType: String
    /// Sensitive.
    package var caption: String
    /// From 0 to ``Limits/objectBytesMax``.
    package var size: Int
    /// What the client says of the bytes; nil when it says nothing.
    package var sha256: Digest?
}

/// One message of the stream of AttachEvidence.
package enum AttachPart: Sendable {
    case start(AttachStart)
    /// 1 to ``Limits/evidenceChunkBytesMax`` bytes.
    case chunk([UInt8])
}

/// A ReadEvidence request.
package struct ReadEvidenceRequest: Sendable {
    package var caseNumber: CaseNumber
    package var evidence: EvidenceNumber
    package var purpose: String
}

/// An EraseEvidence or EraseReportTexts request; the command also needs the identities of the
/// case's subjects, which the engine has read.
package struct EraseRequest: Sendable {
    package var key: WriteKey
    package var caseNumber: CaseNumber
    /// nil: the words of its reports.
    package var evidence: EvidenceNumber?
    package var erasure: Erasure
}

/// A ListEvidence or ListHolds request, page size resolved and token opened.
package struct ListPartRequest: Sendable {
    package var caseNumber: CaseNumber
    /// From 1 to ``Limits/pageSizeMax``.
    package var pageSize: Int
    /// The number of the last item of the page before; 0 for the first page.
    package var after: UInt64
    /// Hand it back with the reply, for the next token.
    package var binding: PageBinding
}

/// Which key a RotateKeys request asks for; raw values equal the API's.
package enum KeyPurpose: UInt8, CaseIterable, Sendable {
    case data = 1
    case signing = 2
}

extension RequestDecoder {
    private enum Bound {
        static let reason = 1 << 10
        static let legalBasis = 512
        static let authority = 256
        static let reference = 128
        static let ruleKey = 64
    }

    /// Decodes one message of the stream of AttachEvidence.
    package func decodeAttachEvidence(_ bytes: Span<UInt8>) throws(RequestError) -> AttachPart {
        let message = unsafe try unpack(bytes, triaged__v1__attach_evidence_request__init)
        var form = Form()
        // The case of a oneof is the number of the field that is set.
        switch unsafe message.pointee.part_case.rawValue {
        case 1:
            guard let start = unsafe message.pointee.start else { break }
            return .start(unsafe try decode(start, &form))
        case 2:
            let count = unsafe message.pointee.chunk.len
            guard count > 0, count <= Limits.evidenceChunkBytesMax else {
                form.refuse(
                    { "chunk" }, "must be 1 to \(Limits.evidenceChunkBytesMax) bytes")
                break
            }
            let chunk = unsafe UnsafeBufferPointer(
                start: message.pointee.chunk.data, count: count)
            return .chunk(unsafe [UInt8](chunk))
        default: form.refuse({ "part" }, "is required: a start, then chunks")
        }
        throw .invalid(form.problems)
    }

    private func decode(
        _ start: UnsafeMutablePointer<Triaged__V1__AttachEvidenceStart>, _ form: inout Form
    ) throws(RequestError) -> AttachStart {
        let requestID = unsafe form.requestID(start.pointee.request_id)
        let number = unsafe form.caseName(start.pointee.case_, "start.case")
        let mediaType = unsafe form.text(
            start.pointee.media_type, min: 3, max: 127, "start.media_type")
        let hasSize = (3...127).contains(mediaType.utf8.count)
        if hasSize, !Self.isMediaType(Array(mediaType.utf8).span) {
            form.refuse(
                { "start.media_type" },
                "must be a type and a subtype in lower case, without parameters")
        }
        let caption = unsafe form.text(start.pointee.caption, max: 1 << 10, "start.caption")
        let size = unsafe start.pointee.size_bytes
        if size < 0 || size > Int64(Limits.objectBytesMax) {
            form.refuse(
                { "start.size_bytes" }, "must be 0 to \(Limits.objectBytesMax)")
        }
        let sha256 = unsafe digest(start.pointee.sha256, &form)
        form = try form.finish(form)
        unsafe start.pointee.request_id = nil
        return unsafe AttachStart(
            key: WriteKey(requestID: requestID, fingerprint: fingerprint(start, .attachEvidence)),
            caseNumber: number, mediaType: mediaType, caption: caption, size: Int(size),
            sha256: sha256)
    }

    private func digest(_ text: CText?, _ form: inout Form) -> Digest? {
        guard unsafe byteCount(text) > 0 else { return nil }
        let digest = unsafe withBytes(text) { Digest(hexadecimal: $0) }
        if digest == nil { form.refuse({ "start.sha256" }, "must be 64 hexadecimal digits") }
        return digest
    }

    /// Two names of RFC 6838 §4.2, in lower case, with a slash between.
    private static func isMediaType(_ text: Span<UInt8>) -> Bool {
        var slashes = 0
        var isFirst = true
        for index in text.indices {
            switch text[index] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                isFirst = false
            case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "&"),
                UInt8(ascii: "-"), UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "+"):
                if isFirst { return false }
            case UInt8(ascii: "/"):
                if isFirst { return false }
                slashes += 1
                isFirst = true
            default: return false
            }
        }
        return slashes == 1 && !isFirst
    }

    /// Decodes ReadEvidence.
    package func decodeReadEvidence(
        _ bytes: Span<UInt8>
    ) throws(RequestError) -> ReadEvidenceRequest {
        let message = unsafe try unpack(bytes, triaged__v1__read_evidence_request__init)
        var form = Form()
        let (number, evidence) = unsafe form.evidenceName(message.pointee.name)
        let purpose = unsafe form.text(message.pointee.purpose, min: 1, max: 256, "purpose")
        return try form.finish(
            ReadEvidenceRequest(caseNumber: number, evidence: evidence, purpose: purpose))
    }

    /// Decodes EraseEvidence.
    package func decodeEraseEvidence(_ bytes: Span<UInt8>) throws(RequestError) -> EraseRequest {
        let message = unsafe try unpack(bytes, triaged__v1__erase_evidence_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let (number, evidence) = unsafe form.evidenceName(message.pointee.name)
        let erasure = unsafe decode(message.pointee.erasure, &form)
        guard let erasure = try form.finish(erasure) else { throw .invalid(form.problems) }
        unsafe message.pointee.request_id = nil
        return unsafe EraseRequest(
            key: WriteKey(
                requestID: requestID, fingerprint: fingerprint(message, .eraseEvidence)),
            caseNumber: number, evidence: evidence, erasure: erasure)
    }

    /// Decodes EraseReportTexts.
    package func decodeEraseReportTexts(_ bytes: Span<UInt8>) throws(RequestError) -> EraseRequest {
        let message = unsafe try unpack(bytes, triaged__v1__erase_report_texts_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let number = unsafe form.caseName(message.pointee.case_, "case")
        let erasure = unsafe decode(message.pointee.erasure, &form)
        guard let erasure = try form.finish(erasure) else { throw .invalid(form.problems) }
        unsafe message.pointee.request_id = nil
        return unsafe EraseRequest(
            key: WriteKey(
                requestID: requestID, fingerprint: fingerprint(message, .eraseReportTexts)),
            caseNumber: number, evidence: nil, erasure: erasure)
    }

    private func decode(
        _ erasure: UnsafeMutablePointer<Triaged__V1__Erasure>?, _ form: inout Form
    ) -> Erasure? {
        guard let sent = unsafe erasure?.pointee else {
            form.refuse({ "erasure" }, "is required")
            return nil
        }
        return unsafe Erasure(
            ground: form.choice(sent.ground, "erasure.ground"),
            legalBasis: form.text(
                sent.legal_basis, min: 1, max: Bound.legalBasis, "erasure.legal_basis"),
            reason: form.text(sent.reason, min: 1, max: Bound.reason, "erasure.reason"))
    }

    /// Decodes PlaceHold.
    package func decodePlaceHold(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__place_hold_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let number = unsafe form.caseName(message.pointee.case_, "case")
        var order: HoldOrder?
        if let sent = unsafe message.pointee.hold?.pointee {
            order = unsafe HoldOrder(
                rule: form.text(sent.rule, min: 1, max: Bound.ruleKey, "hold.rule"),
                authority: form.text(
                    sent.authority, min: 1, max: Bound.authority, "hold.authority"),
                reference: form.text(sent.reference, max: Bound.reference, "hold.reference"),
                reason: form.text(sent.reason, min: 1, max: Bound.reason, "hold.reason"),
                expiresAt: form.time(sent.expire_time, required: false, "hold.expire_time"))
        } else {
            form.refuse({ "hold" }, "is required")
        }
        guard let order = try form.finish(order) else { throw .invalid(form.problems) }
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .placeHold, .placeHold(case: number, order: order))
    }

    /// Decodes ReleaseHold.
    package func decodeReleaseHold(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__release_hold_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let (number, hold) = unsafe form.holdName(message.pointee.name)
        var release: HoldRelease?
        if let sent = unsafe message.pointee.release?.pointee {
            release = unsafe HoldRelease(
                authority: form.text(
                    sent.authority, min: 1, max: Bound.authority, "release.authority"),
                reason: form.text(sent.reason, min: 1, max: Bound.reason, "release.reason"))
        } else {
            form.refuse({ "release" }, "is required")
        }
        guard let release = try form.finish(release) else { throw .invalid(form.problems) }
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .releaseHold,
            .releaseHold(case: number, hold: hold, release: release))
    }

    /// Decodes ListEvidence; the token must be one that `principal` got for the same case.
    package func decodeListEvidence(
        _ bytes: Span<UInt8>, principal: Principal
    ) throws(RequestError) -> ListPartRequest {
        let message = unsafe try unpack(bytes, triaged__v1__list_evidence_request__init)
        return unsafe try listPart(
            message.pointee.case_, message.pointee.page_size, message.pointee.page_token,
            .evidence, principal)
    }

    /// Decodes ListHolds; the token must be one that `principal` got for the same case.
    package func decodeListHolds(
        _ bytes: Span<UInt8>, principal: Principal
    ) throws(RequestError) -> ListPartRequest {
        let message = unsafe try unpack(bytes, triaged__v1__list_holds_request__init)
        return unsafe try listPart(
            message.pointee.case_, message.pointee.page_size, message.pointee.page_token, .holds,
            principal)
    }

    private func listPart(
        _ name: CText?, _ size: Int32, _ token: CText?, _ list: PageToken.List,
        _ principal: Principal
    ) throws(RequestError) -> ListPartRequest {
        var form = Form()
        let number = unsafe form.caseName(name, "case")
        let pageSize = form.pageSize(size)
        let binding = PageBinding(
            principal: principal, filter: Hash128(high: number.value, low: 0))
        let place = unsafe openToken(token, list, binding, &form)
        return try form.finish(
            ListPartRequest(
                caseNumber: number, pageSize: pageSize, after: place?.low ?? 0, binding: binding))
    }

    /// Checks a ListHoldRules request, which says nothing.
    package func decodeListHoldRules(_ bytes: Span<UInt8>) throws(RequestError) {
        _ = unsafe try unpack(bytes, triaged__v1__list_hold_rules_request__init)
    }

    /// Decodes RotateKeys.
    package func decodeRotateKeys(
        _ bytes: Span<UInt8>
    ) throws(RequestError) -> (key: WriteKey, purpose: KeyPurpose) {
        let message = unsafe try unpack(bytes, triaged__v1__rotate_keys_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let purpose: KeyPurpose = unsafe form.choice(message.pointee.kind, "kind")
        _ = try form.finish(())
        unsafe message.pointee.request_id = nil
        return unsafe (
            WriteKey(requestID: requestID, fingerprint: fingerprint(message, .rotateKeys)),
            purpose
        )
    }
}

extension Form {
    /// Checks the name of evidence.
    mutating func evidenceName(_ text: CText?) -> (CaseNumber, EvidenceNumber) {
        if let found = unsafe withBytes(text, ResourceName.parseEvidence) { return found }
        refuse({ "name" }, "must be `cases/{number}/evidence/{number}`")
        return (.none, EvidenceNumber(0))
    }

    /// Checks the name of a hold.
    mutating func holdName(_ text: CText?) -> (CaseNumber, HoldNumber) {
        if let found = unsafe withBytes(text, ResourceName.parseHold) { return found }
        refuse({ "name" }, "must be `cases/{number}/holds/{number}`")
        return (.none, HoldNumber(0))
    }
}
