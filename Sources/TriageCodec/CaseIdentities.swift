// Whom and what a case is about, as far as its reports say: what the rules of holds compare with
// the identifiers of a disclosure request. The domain carries those words and never reads them.

internal import CProtobufC
internal import CTriageProtos
package import TriageBase
package import TriageDomain

/// Reads the identities of a case's subjects.
///
/// - Isolation: one thread at a time.
package final class CaseIdentities {
    private let arena = Arena()

    package init() {}

    /// The identities of every subject of every report, related ones included: identifier, account
    /// and address each.
    ///
    /// - Complexity: O(bytes of the reports).
    package func identities(of value: Case) -> Set<Hash128> {
        var found: Set<Hash128> = []
        for report in [value.first] + value.more { add(report.content, &found) }
        return found
    }

    private func add(_ content: [UInt8], _ found: inout Set<Hash128>) {
        arena.reset()
        // It was validated when it came, and when it was read back.
        guard
            let report = unsafe try? arena.unpack(
                content.span, .storage, triaged__storage__v1__report_content__init)
        else { preconditionFailure("stored content is a message") }
        if let subject = unsafe report.pointee.subject { unsafe add(subject, &found) }
        for index in unsafe 0..<report.pointee.n_related_subjects {
            let list = unsafe elements(
                report.pointee.related_subjects, report.pointee.n_related_subjects)
            if let subject = unsafe list[index] { unsafe add(subject, &found) }
        }
    }

    private func add(
        _ subject: UnsafeMutablePointer<Triaged__Storage__V1__Subject>, _ found: inout Set<Hash128>
    ) {
        for text in unsafe [
            string(subject.pointee.id), string(subject.pointee.account_id),
            string(subject.pointee.uri),
        ] where !text.isEmpty {
            found.insert(HoldRules.identity(of: text))
        }
    }
}
