// Reads that are more than a look: of sensitive material, which the journal records.

internal import TriageBase
internal import TriageCodec
internal import TriageDomain

extension EngineCore {
    /// Reads a case; the FULL view is recorded with its purpose.
    func readCase(
        _ number: CaseNumber, _ purpose: String?, _ cleared: Bool, _ principal: Principal
    ) -> EngineReply {
        do {
            if let purpose {
                let view = try world.view(of: number, full: true)
                if view.value.clearance == .childSafety, !cleared {
                    return .failed(.clearanceRequired)
                }
                if let refusal = record(
                    SensitiveRead(target: .case(number), purpose: purpose), principal)
                {
                    return refusal
                }
                return .caseView(view)
            }
            let view = try world.view(of: number, full: false)
            if withholds, view.value.revision > status.durableSequence {
                return .failed(.journalFailed)
            }
            return .caseView(view)
        } catch {
            return .refused(error)
        }
    }

    /// Reads a disclosure request; recorded when there is a purpose.
    func readDisclosure(
        _ id: DisclosureID, _ requester: Principal?, _ purpose: String?, _ principal: Principal
    ) -> EngineReply {
        do {
            let view = try world.disclosure(id, visibleTo: requester)
            if withholds, view.value.revision > status.durableSequence {
                return .failed(.journalFailed)
            }
            if let purpose,
                let refusal = record(
                    SensitiveRead(target: .disclosure(id), purpose: purpose), principal)
            {
                return refusal
            }
            return .disclosure(view)
        } catch {
            return .refused(error)
        }
    }

    /// Records a read of sensitive material.
    ///
    /// - Returns: Why it cannot be recorded, and so not be answered; nil when it was.
    func record(_ read: SensitiveRead, _ principal: Principal) -> EngineReply? {
        let key = WriteKey(requestID: .none, fingerprint: .zero)
        switch decide(.recordRead(read), key, principal) {
        case .success: return nil
        case .failure(let refusal): return refusal.reply
        }
    }
}
