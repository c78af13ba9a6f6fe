// Evidence, holds and keys as the writer sees them: what may be attached, what is read on record,
// what is erased unless it is held, and keys that are made beside the engine and recorded here.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain

/// The one key that is being made at a time.
struct KeyRenewal {
    var isRunning = false
    /// Keys that are in use and of which the journal had no room for the record: the next call that
    /// asks for one gets this one, so that repeats make no further ones.
    var unrecorded: [KeyPurpose: KeyAnswer] = [:]
}

extension EngineCore {
    /// The answer to a request about evidence, holds or keys; nil when it comes later.
    func answerEvidence(_ request: EngineRequest, _ reactor: Int) -> EngineReply? {
        switch request.operation {
        case .checkAttachment(let matter, let size, let key, let cleared):
            return checkAttachment(matter, size, key, cleared, request.principal)
        case .readEvidence(let matter, let number, let purpose, let cleared):
            return readEvidence(matter, number, purpose, cleared, request.principal)
        case .listEvidence(let matter, let after, let limit):
            return list { () throws(DomainError) in
                var part = try world.evidence(of: matter, after: after, limit: limit)
                if withholds { part.items.removeAll { isWithheld($0.value.revision) } }
                return .evidenceList(part)
            }
        case .listHolds(let matter, let after, let limit):
            return list { () throws(DomainError) in
                var part = try world.holds(of: matter, after: after, limit: limit)
                if withholds { part.items.removeAll { isWithheld($0.value.revision) } }
                return .holdList(part)
            }
        case .erase(let asked): return erase(asked, request.principal)
        case .renewKey(let purpose, let key): return renewKey(purpose, key, request, reactor)
        default: preconditionFailure("not about evidence")
        }
    }

    private func isWithheld(_ revision: UInt64) -> Bool { revision > status.durableSequence }

    private func list(_ body: () throws(DomainError) -> EngineReply) -> EngineReply {
        do { return try body() } catch { return .refused(error) }
    }

    /// A repeat's answer; nil for what was not answered before.
    private func repeated(_ key: WriteKey, _ principal: Principal) throws(DomainError) -> Outcome? {
        let context = CommandContext(
            principal: principal, now: now, requestID: key.requestID,
            fingerprint: key.fingerprint, random: 0)
        return try world.repeatedAnswer(context).map { world.outcome(of: .repeated($0)) }
    }

    private func isWalled(_ matter: CaseNumber) throws(DomainError) -> Bool {
        try world.view(of: matter, full: false).value.clearance == .childSafety
    }

    private func checkAttachment(
        _ matter: CaseNumber, _ size: Int, _ key: WriteKey, _ cleared: Bool,
        _ principal: Principal
    ) -> EngineReply {
        do throws(DomainError) {
            if let outcome = try repeated(key, principal) { return .outcome(outcome) }
            if !cleared, try isWalled(matter) { return .failed(.clearanceRequired) }
            try world.checkAttachment(to: matter, size: size)
            return .attachable
        } catch {
            status.counters.refusals[error.kind.rawValue] += 1
            return .refused(error)
        }
    }

    private func readEvidence(
        _ matter: CaseNumber, _ number: EvidenceNumber, _ purpose: String, _ cleared: Bool,
        _ principal: Principal
    ) -> EngineReply {
        do throws(DomainError) {
            let view = try world.evidence(number, of: matter)
            if !cleared, try isWalled(matter) { return .failed(.clearanceRequired) }
            let read = SensitiveRead(target: .evidence(matter, number), purpose: purpose)
            if let refusal = record(read, principal) { return refusal }
            return .evidence(view)
        } catch {
            return .refused(error)
        }
    }

    private func erase(_ asked: EraseRequest, _ principal: Principal) -> EngineReply {
        let matter = asked.caseNumber
        // A case that is not there has none; the rules refuse it.
        let known =
            (try? world.view(of: matter, full: false).value)
            .map(identities.identities(of:)) ?? []
        let command: Command =
            if let number = asked.evidence {
                .eraseEvidence(
                    case: matter, evidence: number, erasure: asked.erasure, identities: known)
            } else {
                .eraseReportTexts(case: matter, erasure: asked.erasure, identities: known)
            }
        return write(command, asked.key, principal)
    }

    // MARK: Keys

    /// Answers a repeat at once; otherwise the answer comes when the key is in use.
    private func renewKey(
        _ purpose: KeyPurpose, _ key: WriteKey, _ request: EngineRequest, _ reactor: Int
    ) -> EngineReply? {
        do throws(DomainError) {
            if let outcome = try repeated(key, request.principal) { return .outcome(outcome) }
        } catch {
            status.counters.refusals[error.kind.rawValue] += 1
            return .refused(error)
        }
        guard let vault = parts.vault else { return .failed(.encryptionRequired) }
        guard !keyRenewal.isRunning else { return .failed(.rotationRunning) }
        if let made = keyRenewal.unrecorded[purpose] {
            return record(made, purpose, key, request.principal)
        }
        keyRenewal.isRunning = true
        let renewed = parts.renewed
        vault.renew(purpose) { answer in
            renewed(RenewedKey(request: request, key: key, reactor: reactor, answer: answer))
        }
        return nil
    }

    /// Records a key that was made, and answers who asked for it.
    func keyRenewed(_ result: RenewedKey) {
        keyRenewal.isRunning = false
        guard let answer = result.answer,
            case .renewKey(let purpose, _) = result.request.operation
        else {
            hold(result.request, .failed(.rotationFailed), result.reactor)
            return
        }
        let reply = record(answer, purpose, result.key, result.request.principal)
        hold(result.request, reply, result.reactor)
    }

    private func record(
        _ made: KeyAnswer, _ purpose: KeyPurpose, _ key: WriteKey, _ principal: Principal
    ) -> EngineReply {
        let reply = write(.recordKey(made), key, principal)
        let isRecorded = if case .outcome = reply { true } else { false }
        keyRenewal.unrecorded[purpose] = isRecorded ? nil : made
        return reply
    }
}
