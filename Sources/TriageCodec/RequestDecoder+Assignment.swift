// The requests of AssignmentService, OperationsService, health and reflection.

internal import CTriageProtos
internal import TriageBase
internal import TriageDomain

extension RequestDecoder {
    // MARK: AssignmentService

    /// Decodes ClaimNext.
    package func decodeClaimNext(_ bytes: Span<UInt8>) throws(RequestError) -> ClaimNextRequest {
        let message = unsafe try unpack(bytes, triaged__v1__claim_next_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let wait = unsafe form.duration(
            message.pointee.wait_duration, max: Limits.claimWaitMillisecondsMax, "wait_duration")
        _ = try form.finish(())
        unsafe message.pointee.request_id = nil
        // How long the caller is willing to wait is not part of what it asks for.
        unsafe message.pointee.wait_duration = nil
        return unsafe ClaimNextRequest(
            key: WriteKey(requestID: requestID, fingerprint: fingerprint(message, .claimNext)),
            waitMilliseconds: wait)
    }

    /// Decodes AcceptCase.
    package func decodeAcceptCase(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__accept_case_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let assignment = unsafe form.assignmentName(message.pointee.name)
        let token = unsafe form.token(message.pointee.fencing_token)
        _ = try form.finish(())
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .acceptCase, .acceptCase(assignment: assignment, token: token))
    }

    /// Decodes RenewLease.
    package func decodeRenewLease(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__renew_lease_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let assignment = unsafe form.assignmentName(message.pointee.name)
        let token = unsafe form.token(message.pointee.fencing_token)
        let lease = unsafe form.duration(
            message.pointee.lease_duration, max: nil, "lease_duration")
        _ = try form.finish(())
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .renewLease,
            .renewLease(assignment: assignment, token: token, leaseMilliseconds: lease))
    }

    /// Decodes ReleaseLease.
    package func decodeReleaseLease(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__release_lease_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let assignment = unsafe form.assignmentName(message.pointee.name)
        let token = unsafe form.token(message.pointee.fencing_token)
        let reason: ReleaseReason = unsafe form.choice(message.pointee.reason, "reason")
        _ = try form.finish(())
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .releaseLease,
            .releaseLease(assignment: assignment, token: token, reason: reason))
    }

    /// Decodes HandOffCase.
    package func decodeHandOffCase(_ bytes: Span<UInt8>) throws(RequestError) -> HandOffRequest {
        let message = unsafe try unpack(bytes, triaged__v1__hand_off_case_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let assignment = unsafe form.assignmentName(message.pointee.name)
        let token = unsafe form.token(message.pointee.fencing_token)
        let specialist = unsafe form.principal(message.pointee.specialist, "specialist")
        let note = unsafe form.text(message.pointee.note, min: 1, max: 2 << 10, "note")
        _ = try form.finish(())
        unsafe message.pointee.request_id = nil
        return unsafe HandOffRequest(
            key: WriteKey(requestID: requestID, fingerprint: fingerprint(message, .handOffCase)),
            assignment: assignment, token: token, specialist: specialist, note: note)
    }

    /// Decodes CompleteCase.
    package func decodeCompleteCase(_ bytes: Span<UInt8>) throws(RequestError) -> WriteRequest {
        let message = unsafe try unpack(bytes, triaged__v1__complete_case_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        let assignment = unsafe form.assignmentName(message.pointee.name)
        let token = unsafe form.token(message.pointee.fencing_token)
        _ = try form.finish(())
        unsafe message.pointee.request_id = nil
        return unsafe write(
            requestID, message, .completeCase,
            .completeCase(assignment: assignment, token: token))
    }

    /// Decodes WatchAssignments: the last revision that the caller has.
    package func decodeWatchAssignments(_ bytes: Span<UInt8>) throws(RequestError) -> UInt64 {
        let message = unsafe try unpack(bytes, triaged__v1__watch_assignments_request__init)
        var form = Form()
        let revision = unsafe form.revision(message.pointee.resume_revision)
        return try form.finish(revision)
    }

    // MARK: OperationsService

    /// Decodes GetStatus, which says nothing.
    package func decodeGetStatus(_ bytes: Span<UInt8>) throws(RequestError) {
        _ = unsafe try unpack(bytes, triaged__v1__get_status_request__init)
    }

    /// Decodes CreateSnapshot.
    package func decodeCreateSnapshot(_ bytes: Span<UInt8>) throws(RequestError) -> WriteKey {
        let message = unsafe try unpack(bytes, triaged__v1__create_snapshot_request__init)
        var form = Form()
        let requestID = unsafe form.requestID(message.pointee.request_id)
        _ = try form.finish(())
        unsafe message.pointee.request_id = nil
        return unsafe WriteKey(
            requestID: requestID, fingerprint: fingerprint(message, .createSnapshot))
    }

    // MARK: Health and reflection

    /// Decodes a health request: the service asked about; empty for the whole server.
    package func decodeHealthCheck(_ bytes: Span<UInt8>) throws(RequestError) -> String {
        let message = unsafe try unpack(bytes, grpc__health__v1__health_check_request__init)
        var form = Form()
        let service = unsafe form.text(message.pointee.service, max: 256, "service")
        return try form.finish(service)
    }

    /// Decodes Health List, which says nothing.
    package func decodeHealthList(_ bytes: Span<UInt8>) throws(RequestError) {
        _ = unsafe try unpack(bytes, grpc__health__v1__health_list_request__init)
    }

    /// Decodes one question of server reflection.
    package func decodeReflection(
        _ bytes: Span<UInt8>
    ) throws(RequestError) -> ReflectionRequest {
        let message = unsafe try unpack(
            bytes, grpc__reflection__v1__server_reflection_request__init)
        var form = Form()
        let host = unsafe form.text(message.pointee.host, max: 256, "host")
        let question: ReflectionRequest.Question
        // The case of a oneof is the number of the field that is set.
        switch unsafe message.pointee.message_request_case.rawValue {
        case 3:
            question = .fileByName(
                unsafe form.text(message.pointee.file_by_filename, max: 512, "file_by_filename"))
        case 4:
            question = .fileContainingSymbol(
                unsafe form.text(
                    message.pointee.file_containing_symbol, max: 512, "file_containing_symbol"))
        case 5:
            let asked = unsafe message.pointee.file_containing_extension
            question = .fileContainingExtension(
                type: unsafe form.text(
                    asked?.pointee.containing_type, max: 512,
                    "file_containing_extension.containing_type"),
                number: unsafe asked?.pointee.extension_number ?? 0)
        case 6:
            question = .extensionNumbers(
                type: unsafe form.text(
                    message.pointee.all_extension_numbers_of_type, max: 512,
                    "all_extension_numbers_of_type"))
        case 7:
            question = .listServices(
                unsafe form.text(message.pointee.list_services, max: 512, "list_services"))
        default:
            question = .none
        }
        return try form.finish(ReflectionRequest(host: host, question: question))
    }
}
