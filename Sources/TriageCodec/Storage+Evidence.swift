// Evidence and holds on disk, both ways: their events, and their records in a snapshot.

internal import CProtobufC
internal import CTriageProtos
internal import TriageBase
internal import TriageDomain

private typealias StoredEvent = Triaged__Storage__V1__Event

// MARK: Writing

extension StorageWriter {
    func writeEvidence(
        _ event: Event, _ stored: UnsafeMutablePointer<Triaged__Storage__V1__Event>,
        _ record: inout RecordParts
    ) {
        switch event {
        case .evidenceAttached(let matter, let number, let attachment):
            let copy = unsafe arena.new(triaged__storage__v1__evidence_attached__init)
            unsafe copy.pointee.case_number = Int64(matter.value)
            unsafe copy.pointee.evidence_number = Int64(number.value)
            var unspoken = attachment
            unspoken.caption = ""
            unsafe copy.pointee.attachment = write(unspoken)
            unsafe copy.pointee.caption_sealed = seal(attachment.caption, &record)
            unsafe stored.pointee.kind_case = .init(20)
            unsafe stored.pointee.evidence_attached = unsafe copy
        case .evidenceErased(let number, let erasure):
            let copy = unsafe arena.new(triaged__storage__v1__evidence_erased__init)
            unsafe copy.pointee.evidence_number = Int64(number.value)
            unsafe copy.pointee.erasure = write(erasure, withReason: false)
            unsafe copy.pointee.reason_sealed = seal(erasure.reason, &record)
            unsafe stored.pointee.kind_case = .init(21)
            unsafe stored.pointee.evidence_erased = unsafe copy
        case .reportTextsErased(let matter, let erasure):
            let copy = unsafe arena.new(triaged__storage__v1__report_texts_erased__init)
            unsafe copy.pointee.case_number = Int64(matter.value)
            unsafe copy.pointee.erasure = write(erasure, withReason: false)
            unsafe copy.pointee.reason_sealed = seal(erasure.reason, &record)
            unsafe stored.pointee.kind_case = .init(22)
            unsafe stored.pointee.report_texts_erased = unsafe copy
        case .keyRenewed(let made):
            unsafe stored.pointee.kind_case = .init(26)
            unsafe stored.pointee.key_renewed = write(made)
        default: unsafe writeHold(event, stored, &record)
        }
    }

    private func writeHold(
        _ event: Event, _ stored: UnsafeMutablePointer<StoredEvent>, _ record: inout RecordParts
    ) {
        switch event {
        case .holdPlaced(let matter, let number, let order):
            let copy = unsafe arena.new(triaged__storage__v1__hold_placed__init)
            unsafe copy.pointee.case_number = Int64(matter.value)
            unsafe copy.pointee.hold_number = Int64(number.value)
            unsafe copy.pointee.order = write(order, withReason: false)
            unsafe copy.pointee.reason_sealed = seal(order.reason, &record)
            unsafe stored.pointee.kind_case = .init(23)
            unsafe stored.pointee.hold_placed = unsafe copy
        case .holdReleased(let number, let release):
            let copy = unsafe arena.new(triaged__storage__v1__hold_released__init)
            unsafe copy.pointee.hold_number = Int64(number.value)
            unsafe copy.pointee.release = write(release, withReason: false)
            unsafe copy.pointee.reason_sealed = seal(release.reason, &record)
            unsafe stored.pointee.kind_case = .init(24)
            unsafe stored.pointee.hold_released = unsafe copy
        case .holdExpired(let number):
            let copy = unsafe arena.new(triaged__storage__v1__hold_expired__init)
            unsafe copy.pointee.hold_number = Int64(number.value)
            unsafe stored.pointee.kind_case = .init(25)
            unsafe stored.pointee.hold_expired = unsafe copy
        default: preconditionFailure("not an event of a hold")
        }
    }

    private func write(
        _ attachment: AttachedObject
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__Attachment> {
        let stored = unsafe arena.new(triaged__storage__v1__attachment__init)
        unsafe stored.pointee.media_type = text(attachment.mediaType)
        unsafe stored.pointee.caption = text(attachment.caption)
        unsafe stored.pointee.object = arena.bytes(attachment.object.digest.bytes)
        unsafe stored.pointee.sha256 = arena.bytes(attachment.sha256.bytes)
        unsafe stored.pointee.size_bytes = Int64(attachment.size)
        return unsafe stored
    }

    private func write(
        _ erasure: Erasure, withReason: Bool
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__Erasure> {
        let stored = unsafe arena.new(triaged__storage__v1__erasure__init)
        unsafe stored.pointee.ground = Int32(erasure.ground.rawValue)
        unsafe stored.pointee.legal_basis = text(erasure.legalBasis)
        if withReason { unsafe stored.pointee.reason = text(erasure.reason) }
        unsafe stored.pointee.principal_index = Int32(erasure.principal.value)
        unsafe stored.pointee.erase_milliseconds = erasure.erasedAt.milliseconds
        return unsafe stored
    }

    private func write(
        _ order: HoldOrder, withReason: Bool
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__HoldOrder> {
        let stored = unsafe arena.new(triaged__storage__v1__hold_order__init)
        unsafe stored.pointee.rule = text(order.rule)
        unsafe stored.pointee.authority = text(order.authority)
        unsafe stored.pointee.reference = text(order.reference)
        if withReason { unsafe stored.pointee.reason = text(order.reason) }
        unsafe stored.pointee.expire_milliseconds = order.expiresAt.milliseconds
        return unsafe stored
    }

    private func write(
        _ release: HoldRelease, withReason: Bool
    ) -> UnsafeMutablePointer<Triaged__Storage__V1__HoldRelease> {
        let stored = unsafe arena.new(triaged__storage__v1__hold_release__init)
        unsafe stored.pointee.authority = text(release.authority)
        if withReason { unsafe stored.pointee.reason = text(release.reason) }
        unsafe stored.pointee.principal_index = Int32(release.principal.value)
        unsafe stored.pointee.release_milliseconds = release.releasedAt.milliseconds
        return unsafe stored
    }

    func write(_ made: KeyAnswer) -> UnsafeMutablePointer<Triaged__Storage__V1__KeyRenewed> {
        let stored = unsafe arena.new(triaged__storage__v1__key_renewed__init)
        unsafe stored.pointee.key_number = Int64(made.number)
        unsafe stored.pointee.object_count = Int64(bitPattern: made.objects)
        return unsafe stored
    }

    func write(_ evidence: Evidence) -> UnsafeMutablePointer<Triaged__Storage__V1__EvidenceRecord> {
        let stored = unsafe arena.new(triaged__storage__v1__evidence_record__init)
        unsafe stored.pointee.evidence_number = Int64(evidence.number.value)
        unsafe stored.pointee.case_number = Int64(evidence.caseNumber.value)
        unsafe stored.pointee.attachment = write(evidence.attachment)
        unsafe stored.pointee.principal_index = Int32(evidence.principal.value)
        unsafe stored.pointee.attach_milliseconds = evidence.attachedAt.milliseconds
        if let erasure = evidence.erasure {
            unsafe stored.pointee.erasure = write(erasure, withReason: true)
        }
        unsafe stored.pointee.revision = Int64(bitPattern: evidence.revision)
        return unsafe stored
    }

    func write(_ hold: Hold) -> UnsafeMutablePointer<Triaged__Storage__V1__HoldRecord> {
        let stored = unsafe arena.new(triaged__storage__v1__hold_record__init)
        unsafe stored.pointee.hold_number = Int64(hold.number.value)
        unsafe stored.pointee.case_number = Int64(hold.caseNumber.value)
        unsafe stored.pointee.state = Int32(hold.state.rawValue)
        unsafe stored.pointee.order = write(hold.order, withReason: true)
        unsafe stored.pointee.principal_index = Int32(hold.principal.value)
        unsafe stored.pointee.place_milliseconds = hold.placedAt.milliseconds
        if let release = hold.release {
            unsafe stored.pointee.release = write(release, withReason: true)
        }
        unsafe stored.pointee.revision = Int64(bitPattern: hold.revision)
        return unsafe stored
    }
}

// MARK: Reading

extension StorageReader {
    static func readEvidence(
        _ event: Triaged__Storage__V1__Event, _ sealed: SealedFields
    ) throws(CodecError) -> Event {
        switch unsafe event.kind_case.rawValue {
        case 20:
            let stored = unsafe try part(event.evidence_attached, "Event.evidence_attached")
            var attachment = unsafe try read(
                try part(stored.attachment, "EvidenceAttached.attachment"))
            attachment.caption = unsafe try sealed.text(
                stored.caption_sealed, "EvidenceAttached.caption_sealed")
            return unsafe .evidenceAttached(
                case: try caseNumber(stored.case_number),
                evidence: EvidenceNumber(
                    try smallNumber(stored.evidence_number, "EvidenceAttached.evidence_number")),
                attachment: attachment)
        case 21:
            let stored = unsafe try part(event.evidence_erased, "Event.evidence_erased")
            var erasure = unsafe try read(try part(stored.erasure, "EvidenceErased.erasure"))
            erasure.reason = unsafe try sealed.text(
                stored.reason_sealed, "EvidenceErased.reason_sealed")
            return unsafe .evidenceErased(
                evidence: EvidenceNumber(
                    try smallNumber(stored.evidence_number, "EvidenceErased.evidence_number")),
                erasure: erasure)
        case 22:
            let stored = unsafe try part(event.report_texts_erased, "Event.report_texts_erased")
            var erasure = unsafe try read(try part(stored.erasure, "ReportTextsErased.erasure"))
            erasure.reason = unsafe try sealed.text(
                stored.reason_sealed, "ReportTextsErased.reason_sealed")
            return unsafe .reportTextsErased(
                case: try caseNumber(stored.case_number), erasure: erasure)
        case 26:
            return unsafe .keyRenewed(
                try read(try part(event.key_renewed, "Event.key_renewed")))
        default: return unsafe try readHold(event, sealed)
        }
    }

    private static func readHold(
        _ event: StoredEvent, _ sealed: SealedFields
    ) throws(CodecError) -> Event {
        switch unsafe event.kind_case.rawValue {
        case 23:
            let stored = unsafe try part(event.hold_placed, "Event.hold_placed")
            var order = unsafe try read(try part(stored.order, "HoldPlaced.order"))
            order.reason = unsafe try sealed.text(
                stored.reason_sealed, "HoldPlaced.reason_sealed")
            return unsafe .holdPlaced(
                case: try caseNumber(stored.case_number),
                hold: try holdNumber(stored.hold_number), order: order)
        case 24:
            let stored = unsafe try part(event.hold_released, "Event.hold_released")
            var release = unsafe try read(try part(stored.release, "HoldReleased.release"))
            release.reason = unsafe try sealed.text(
                stored.reason_sealed, "HoldReleased.reason_sealed")
            return unsafe .holdReleased(
                hold: try holdNumber(stored.hold_number), release: release)
        default:
            let stored = unsafe try part(event.hold_expired, "Event.hold_expired")
            return unsafe .holdExpired(hold: try holdNumber(stored.hold_number))
        }
    }

    /// A number of 48 bits, 1 or more.
    static func smallNumber(
        _ value: Int64, _ field: StaticString
    ) throws(CodecError) -> UInt64 {
        guard value > 0, value >> 48 == 0 else { throw .outOfRange("\(field)") }
        return UInt64(value)
    }

    private static func holdNumber(_ value: Int64) throws(CodecError) -> HoldNumber {
        HoldNumber(try smallNumber(value, "hold_number"))
    }

    private static func read(
        _ stored: Triaged__Storage__V1__Attachment
    ) throws(CodecError) -> AttachedObject {
        guard unsafe stored.size_bytes >= 0,
            unsafe stored.size_bytes <= Int64(Limits.objectBytesMax)
        else { throw .outOfRange("AttachedObject.size_bytes") }
        return unsafe AttachedObject(
            mediaType: string(stored.media_type), caption: string(stored.caption),
            object: ObjectName(try digest(stored.object, "AttachedObject.object")),
            sha256: try digest(stored.sha256, "AttachedObject.sha256"), size: Int(stored.size_bytes)
        )
    }

    private static func digest(
        _ stored: ProtobufCBinaryData, _ field: StaticString
    ) throws(CodecError) -> Digest {
        let bytes = unsafe UnsafeBufferPointer(start: stored.data, count: stored.len)
        guard let digest = unsafe Digest(bytes: bytes.span) else {
            throw .outOfRange("\(field)")
        }
        return digest
    }

    private static func read(
        _ stored: Triaged__Storage__V1__Erasure
    ) throws(CodecError) -> Erasure {
        unsafe Erasure(
            ground: try choice(stored.ground, "Erasure.ground"),
            legalBasis: string(stored.legal_basis), reason: string(stored.reason),
            principal: try principal(stored.principal_index, "principal_index"),
            erasedAt: try time(stored.erase_milliseconds))
    }

    private static func read(
        _ stored: Triaged__Storage__V1__HoldOrder
    ) throws(CodecError) -> HoldOrder {
        unsafe HoldOrder(
            rule: string(stored.rule), authority: string(stored.authority),
            reference: string(stored.reference), reason: string(stored.reason),
            expiresAt: try time(stored.expire_milliseconds))
    }

    private static func read(
        _ stored: Triaged__Storage__V1__HoldRelease
    ) throws(CodecError) -> HoldRelease {
        unsafe HoldRelease(
            authority: string(stored.authority), reason: string(stored.reason),
            principal: try principal(stored.principal_index, "principal_index"),
            releasedAt: try time(stored.release_milliseconds))
    }

    static func read(
        _ stored: Triaged__Storage__V1__KeyRenewed
    ) throws(CodecError) -> KeyAnswer {
        guard let number = unsafe UInt32(exactly: stored.key_number),
            let objects = unsafe UInt64(exactly: stored.object_count)
        else { throw .outOfRange("KeyRenewed") }
        return KeyAnswer(number: number, objects: objects)
    }

    static func read(
        _ stored: Triaged__Storage__V1__EvidenceRecord
    ) throws(CodecError) -> Evidence {
        unsafe Evidence(
            number: EvidenceNumber(
                try smallNumber(stored.evidence_number, "EvidenceRecord.evidence_number")),
            caseNumber: try caseNumber(stored.case_number),
            attachment: try read(try part(stored.attachment, "EvidenceRecord.attachment")),
            principal: try principal(stored.principal_index, "principal_index"),
            attachedAt: try time(stored.attach_milliseconds),
            erasure: try stored.erasure.map {
                why throws(CodecError) in try unsafe read(why.pointee)
            },
            revision: try number(stored.revision, "EvidenceRecord.revision"))
    }

    static func read(
        _ stored: Triaged__Storage__V1__HoldRecord
    ) throws(CodecError) -> Hold {
        unsafe Hold(
            number: try holdNumber(stored.hold_number),
            caseNumber: try caseNumber(stored.case_number),
            state: try choice(stored.state, "HoldRecord.state"),
            order: try read(try part(stored.order, "HoldRecord.order")),
            principal: try principal(stored.principal_index, "principal_index"),
            placedAt: try time(stored.place_milliseconds),
            release: try stored.release.map {
                how throws(CodecError) in try unsafe read(how.pointee)
            },
            revision: try number(stored.revision, "HoldRecord.revision"))
    }
}
