// Heads and proofs as the writer sees them: a head is signed some time after a record that none
// covers, or because somebody asked, always behind the commit and beside the calls; proofs are
// asked for and answered when they are made.

internal import TriageBase
internal import TriageJournal

/// A call that waits for a head or a proof.
package struct AuditCall: Sendable {
    var request: EngineRequest
    var reactor: Int
}

/// What came of signing a head, or of a proof, and who waits for it; nobody, if it was due.
package struct AuditResult: Sendable {
    var calls: [AuditCall]
    var answer: AuditAnswer
}

/// When a head is signed next.
struct HeadSchedule {
    /// When a head must be signed; nil while every durable record is covered.
    private(set) var due: MonotonicTime?
    /// Who asked for one since the last commit.
    private var asking: [AuditCall] = []
    /// Proofs that are being made.
    var proofs = 0

    static let proofsMax = 8

    /// Records became durable.
    mutating func recorded(_ configuration: EngineConfiguration, now: MonotonicTime) {
        guard due == nil else { return }
        due = now.advanced(byNanoseconds: UInt64(configuration.headMilliseconds) * 1_000_000)
    }

    /// Asks for a head of everything that will be durable with the next commit.
    mutating func ask(_ call: AuditCall) { asking.append(call) }

    /// Whether one is signed now; if so, it is taken as signed.
    ///
    /// - Returns: Who asked for it; nil when none is due.
    mutating func begins(now: MonotonicTime) -> [AuditCall]? {
        guard !asking.isEmpty || due.map({ $0 <= now }) ?? false else { return nil }
        due = nil
        return takeCalls()
    }

    /// Gives up whoever waits for the next commit.
    mutating func takeCalls() -> [AuditCall] {
        defer { asking = [] }
        return asking
    }
}

extension EngineCore {
    /// Has a head signed in time over what the last process left without one.
    func coverWithHead(upTo sequence: UInt64) {
        guard let keeper = parts.audit, keeper.status.newest?.head.sequence ?? 0 < sequence else {
            return
        }
        heads.recorded(configuration, now: monotonic)
    }

    /// The answer to a question about heads or proofs; nil when it comes later.
    func answerAudit(_ request: EngineRequest, _ reactor: Int) -> EngineReply? {
        guard let keeper = parts.audit else { return .failed(.encryptionRequired) }
        let call = AuditCall(request: request, reactor: reactor)
        guard case .prove(let question) = request.operation else {
            heads.ask(call)
            return nil
        }
        guard heads.proofs < HeadSchedule.proofsMax else { return .failed(.overloaded) }
        heads.proofs += 1
        let answered = parts.answered
        keeper.prove(question) { answered(AuditResult(calls: [call], answer: $0)) }
        return nil
    }

    /// Has a head signed when one is due or was asked for: everything applied is durable here.
    func signHeadIfDue() {
        guard failure == nil, let keeper = parts.audit, let calls = heads.begins(now: monotonic)
        else { return }
        let answered = parts.answered
        keeper.sign(now) { answered(AuditResult(calls: calls, answer: $0)) }
    }

    /// Answers whoever asked.
    func auditAnswered(_ result: AuditResult) {
        if case .failed(.signingFailed) = result.answer {
            // Tried again in time, although nothing may be recorded until then.
            heads.recorded(configuration, now: monotonic)
        }
        for call in result.calls {
            if case .prove = call.request.operation { heads.proofs -= 1 }
            let reply: EngineReply =
                if case .failed(let failure) = result.answer {
                    .failed(failure)
                } else {
                    .audit(result.answer)
                }
            hold(call.request, reply, call.reactor)
        }
    }
}
