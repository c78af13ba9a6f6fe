// What a command led to, as values that can cross a thread: the World may move on while another
// thread turns them into a reply.

package import TriageBase

/// A case with the names that its numbers stand for.
package struct CaseView: Sendable {
    package var value: Case
    /// Who holds it; nil when nobody does.
    package var assignee: Principal?
    /// Names of every principal index inside `value`; filled for the FULL view only.
    package var principals: [PrincipalIndex: Principal]

    package init(value: Case, assignee: Principal?, principals: [PrincipalIndex: Principal]) {
        self.value = value
        self.assignee = assignee
        self.principals = principals
    }
}

/// An assignment with the names that its numbers stand for.
package struct AssignmentView: Sendable {
    package var value: Assignment
    package var specialist: Principal

    package init(value: Assignment, specialist: Principal) {
        self.value = value
        self.specialist = specialist
    }
}

/// A disclosure request with the names that its numbers stand for.
package struct DisclosureView: Sendable {
    package var value: DisclosureRequest
    package var principals: [PrincipalIndex: Principal]

    package init(value: DisclosureRequest, principals: [PrincipalIndex: Principal]) {
        self.value = value
        self.principals = principals
    }
}

/// The answer to a submitted report; repeated exactly when the request id is.
package struct ReportReceipt: Hashable, Sendable {
    package var caseNumber: CaseNumber
    package var report: ReportNumber
    package var opened: Bool
    package var level: Level
    package var revision: UInt64
    package var receivedAt: WallTime

    package init(
        caseNumber: CaseNumber, report: ReportNumber, opened: Bool, level: Level, revision: UInt64,
        receivedAt: WallTime
    ) {
        self.caseNumber = caseNumber
        self.report = report
        self.opened = opened
        self.level = level
        self.revision = revision
        self.receivedAt = receivedAt
    }
}

/// What a command led to.
package enum Outcome: Sendable {
    case receipt(ReportReceipt)
    /// Indirect, like all but the receipt, so that the common outcome stays small.
    indirect case changedCase(CaseView)
    indirect case offer(AssignmentView, CaseView, ClaimExplanation)
    /// Nothing that the caller may take is queued.
    case nothingToClaim
    indirect case changedAssignment(AssignmentView)
    indirect case changedDisclosure(DisclosureView)
    indirect case evidence(EvidenceView)
    indirect case hold(HoldView)
    /// A case whose reports have no words any more.
    indirect case erasedTexts(CaseNumber, reportCount: Int, revision: UInt64)
    case key(KeyAnswer)
    indirect case snapshot(SnapshotAnswer)
    case recorded
}
