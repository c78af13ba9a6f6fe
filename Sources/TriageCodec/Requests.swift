// What the decoder makes of requests that are not a command by themselves: reads, watches, and the
// writes that need something which the message does not say (what the policy allows a specialist).

package import TriageBase
package import TriageDomain

/// Which write a request is: its idempotency key and what it says.
///
/// The fingerprint is that of the message packed anew, in field order and without the request id
/// (of a report: of its stored content). So it does not depend on how a client's library orders or
/// pads the bytes, only on what the request says.
package struct WriteKey: Hashable, Sendable {
    package var requestID: RequestID
    package var fingerprint: Hash128

    package init(requestID: RequestID, fingerprint: Hash128) {
        self.requestID = requestID
        self.fingerprint = fingerprint
    }
}

/// A write that is one command of the domain.
package struct WriteRequest: Sendable {
    package var key: WriteKey
    package var command: Command
}

/// One message of the stream of SubmitReports.
package struct StreamedReport: Sendable {
    /// `.none` when the message has no valid one.
    package var requestID: RequestID
    /// The write, or why it is refused; one refusal does not end the stream.
    package var write: Result<WriteRequest, RequestError>
}

/// What became of one message of the stream of SubmitReports.
package struct StreamedReportResult: Sendable {
    /// The request id; `.none` when it was not one.
    package var requestID: RequestID
    /// The receipt, or why there is none.
    package var outcome: Outcome

    /// Accepted or refused.
    package enum Outcome: Sendable {
        case accepted(ReportReceipt)
        /// `code` is a gRPC status code; `field` is empty when no single field is at fault.
        case refused(code: Int32, reason: String, message: String, field: String)
    }

    package init(requestID: RequestID, outcome: Outcome) {
        self.requestID = requestID
        self.outcome = outcome
    }

    /// Bytes that it takes in an array that has grown.
    package var bytesHeldMax: Int {
        let own = 2 * MemoryLayout<StreamedReportResult>.stride
        guard case .refused(_, let reason, let message, let field) = outcome else { return own }
        return own + reason.utf8.count + message.utf8.count + field.utf8.count
    }
}

/// How much of a case is shown.
package enum CaseDetail: Sendable {
    /// No sensitive field.
    case basic
    /// Everything; the read is recorded.
    case full
}

/// A GetCase request.
package struct GetCaseRequest: Sendable {
    package var number: CaseNumber
    package var detail: CaseDetail
    /// From 1 to 256 bytes for the full view; may be empty for the basic one.
    package var purpose: String
}

/// A ListCases request, page size resolved and token opened.
package struct ListCasesRequest: Sendable {
    /// From 1 to ``Limits/pageSizeMax``.
    package var pageSize: Int
    /// The last case of the page before; nil for the first page.
    package var after: PriorityKey?
    package var filter: BoardFilter
    /// Hand it back with the reply, for the next token.
    package var binding: PageBinding
}

/// A WatchBoard request.
package struct WatchBoardRequest: Sendable {
    /// The last revision that the caller has; 0 for the whole board.
    package var resumeRevision: UInt64
    package var filter: BoardFilter
}

/// A ClaimNext request.
package struct ClaimNextRequest: Sendable {
    package var key: WriteKey
    /// From 0 to ``Limits/claimWaitMillisecondsMax``.
    package var waitMilliseconds: Int64
}

/// A HandOffCase request; the command also needs what the policy gives `specialist`.
package struct HandOffRequest: Sendable {
    package var key: WriteKey
    package var assignment: AssignmentNumber
    package var token: AssignmentNumber
    package var specialist: Principal
    package var note: String
}

/// A GetDisclosureRequest request.
package struct GetDisclosureRequest: Sendable {
    package var id: DisclosureID
    /// From 0 to 256 bytes; whether it may be empty depends on who calls.
    package var purpose: String
}

/// A ListDisclosureRequests request, page size resolved and token opened.
package struct ListDisclosuresRequest: Sendable {
    /// From 1 to ``Limits/pageSizeMax``.
    package var pageSize: Int
    /// The last request of the page before; nil for the first page.
    package var after: DisclosureCursor?
    /// States wanted; empty means all.
    package var states: [DisclosureState]
    /// Hand it back with the reply, for the next token.
    package var binding: PageBinding
}

/// A question of server reflection, v1 or v1alpha: their wire format is the same.
package struct ReflectionRequest: Equatable, Sendable {
    /// What is asked.
    package enum Question: Equatable, Sendable {
        case none
        case fileByName(String)
        case fileContainingSymbol(String)
        case fileContainingExtension(type: String, number: Int32)
        case extensionNumbers(type: String)
        case listServices(String)
    }

    /// Echoed in the answer.
    package var host: String
    package var question: Question

    package init(host: String, question: Question) {
        self.host = host
        self.question = question
    }
}
