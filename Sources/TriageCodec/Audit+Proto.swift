// The requests and replies of AuditService.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase

/// A decoded ProveRecord or ProveHistory; a size of nil is the newest signed head.
package enum ProofRequest: Equatable, Sendable {
    case record(sequence: UInt64, size: UInt64?)
    case history(from: UInt64, to: UInt64?)
}

/// A signed head as the API shows it.
package struct SignedHeadReport: Sendable {
    /// Records that it stands for.
    package var size: UInt64
    /// Root of the tree over them.
    package var root: Digest
    /// When it was signed.
    package var time: WallTime
    /// As a signed note.
    package var checkpoint: String
    /// What it verifies with.
    package var verifierKey: String

    /// Groups what is shown.
    package init(
        size: UInt64, root: Digest, time: WallTime, checkpoint: String, verifierKey: String
    ) {
        self.size = size
        self.root = root
        self.time = time
        self.checkpoint = checkpoint
        self.verifierKey = verifierKey
    }
}

extension RequestDecoder {
    /// Checks a SignHead request, which says nothing.
    package func decodeSignHead(_ bytes: Span<UInt8>) throws(RequestError) {
        _ = unsafe try unpack(bytes, triaged__v1__sign_head_request__init)
    }

    /// Decodes ProveRecord.
    package func decodeProveRecord(_ bytes: Span<UInt8>) throws(RequestError) -> ProofRequest {
        let message = unsafe try unpack(bytes, triaged__v1__prove_record_request__init)
        var form = Form()
        let sequence = unsafe form.count(message.pointee.sequence, "sequence")
        if sequence == 0 { form.refuse({ "sequence" }, "is required: records count from 1") }
        let size = unsafe form.count(message.pointee.record_count, "record_count")
        return try form.finish(.record(sequence: sequence, size: size == 0 ? nil : size))
    }

    /// Decodes ProveHistory.
    package func decodeProveHistory(_ bytes: Span<UInt8>) throws(RequestError) -> ProofRequest {
        let message = unsafe try unpack(bytes, triaged__v1__prove_history_request__init)
        var form = Form()
        let from = unsafe form.count(message.pointee.from_record_count, "from_record_count")
        if from == 0 { form.refuse({ "from_record_count" }, "is required: of a signed head") }
        let to = unsafe form.count(message.pointee.to_record_count, "to_record_count")
        return try form.finish(.history(from: from, to: to == 0 ? nil : to))
    }
}

extension Form {
    /// Checks a count or sequence.
    fileprivate mutating func count(_ value: Int64, _ field: StaticString) -> UInt64 {
        if value < 0 { refuse({ "\(field)" }, "must not be negative") }
        return UInt64(max(0, value))
    }
}

extension ReplyEncoder {
    /// The reply of SignHead.
    package func signedHead(_ head: SignedHeadReport) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__signed_head__init)
        unsafe reply.pointee.record_count = Int64(bitPattern: head.size)
        unsafe reply.pointee.root = arena.text(head.root.description)
        unsafe reply.pointee.sign_time = arena.time(head.time)
        unsafe reply.pointee.checkpoint = arena.text(head.checkpoint)
        unsafe reply.pointee.verifier_key = arena.text(head.verifierKey)
        return unsafe arena.pack(reply)
    }

    /// The reply of ProveRecord and ProveHistory, whose messages are alike on the wire.
    package func proof(_ text: String) -> [UInt8] {
        arena.reset()
        let reply = unsafe arena.new(triaged__v1__prove_record_response__init)
        unsafe reply.pointee.proof = arena.text(text)
        return unsafe arena.pack(reply)
    }
}
