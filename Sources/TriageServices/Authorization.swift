// Which roles may call which method: one table, looked at before a request is even decoded, so that
// nobody learns what exists from an error. Finer rules (own requests, the child-safety wall, second
// persons) are applied where the state is known.

internal import TriageBase
internal import TriageGRPC

/// The methods, as numbers that the dispatcher switches over.
package enum Route: UInt8, CaseIterable, Sendable {
    case submitReport, submitReports, getCase, listCases, answerProtocol, decideCase, closeCase
    case reopenCase, watchBoard
    case claimNext, acceptCase, renewLease, releaseLease, handOffCase, completeCase
    case watchAssignments
    case submitDisclosureRequest, getDisclosureRequest, listDisclosureRequests, addVerification
    case setScope, approveDisclosure, rejectDisclosure, watchDisclosureRequest
    case attachEvidence, listEvidence, readEvidence, eraseEvidence, eraseReportTexts
    case placeHold, releaseHold, listHolds, listHoldRules
    case getStatus, createSnapshot, rotateKeys, listBackup, readBackup
    case signHead, proveRecord, proveHistory
    case healthCheck, healthList, healthWatch
    case channelzTopChannels, channelzServers, channelzServer, channelzServerSockets
    case channelzChannel, channelzSubchannel, channelzSocket
    case reflection, reflectionAlpha

    /// The route of a `:path`; nil for a method that is not served.
    package init?(path: String) {
        guard let route = Self.allCases.first(where: { $0.path == path }) else { return nil }
        self = route
    }

    /// `/package.Service/Method`.
    package var path: String {
        switch self {
        case .submitReport: "/triaged.v1.TriageService/SubmitReport"
        case .submitReports: "/triaged.v1.TriageService/SubmitReports"
        case .getCase: "/triaged.v1.TriageService/GetCase"
        case .listCases: "/triaged.v1.TriageService/ListCases"
        case .answerProtocol: "/triaged.v1.TriageService/AnswerProtocol"
        case .decideCase: "/triaged.v1.TriageService/DecideCase"
        case .closeCase: "/triaged.v1.TriageService/CloseCase"
        case .reopenCase: "/triaged.v1.TriageService/ReopenCase"
        case .watchBoard: "/triaged.v1.TriageService/WatchBoard"
        case .claimNext: "/triaged.v1.AssignmentService/ClaimNext"
        case .acceptCase: "/triaged.v1.AssignmentService/AcceptCase"
        case .renewLease: "/triaged.v1.AssignmentService/RenewLease"
        case .releaseLease: "/triaged.v1.AssignmentService/ReleaseLease"
        case .handOffCase: "/triaged.v1.AssignmentService/HandOffCase"
        case .completeCase: "/triaged.v1.AssignmentService/CompleteCase"
        case .watchAssignments: "/triaged.v1.AssignmentService/WatchAssignments"
        case .submitDisclosureRequest: "/triaged.v1.DisclosureService/SubmitDisclosureRequest"
        case .getDisclosureRequest: "/triaged.v1.DisclosureService/GetDisclosureRequest"
        case .listDisclosureRequests: "/triaged.v1.DisclosureService/ListDisclosureRequests"
        case .addVerification: "/triaged.v1.DisclosureService/AddVerification"
        case .setScope: "/triaged.v1.DisclosureService/SetScope"
        case .approveDisclosure: "/triaged.v1.DisclosureService/ApproveDisclosure"
        case .rejectDisclosure: "/triaged.v1.DisclosureService/RejectDisclosure"
        case .watchDisclosureRequest: "/triaged.v1.DisclosureService/WatchDisclosureRequest"
        case .attachEvidence: "/triaged.v1.EvidenceService/AttachEvidence"
        case .listEvidence: "/triaged.v1.EvidenceService/ListEvidence"
        case .readEvidence: "/triaged.v1.EvidenceService/ReadEvidence"
        case .eraseEvidence: "/triaged.v1.EvidenceService/EraseEvidence"
        case .eraseReportTexts: "/triaged.v1.EvidenceService/EraseReportTexts"
        case .placeHold: "/triaged.v1.EvidenceService/PlaceHold"
        case .releaseHold: "/triaged.v1.EvidenceService/ReleaseHold"
        case .listHolds: "/triaged.v1.EvidenceService/ListHolds"
        case .listHoldRules: "/triaged.v1.EvidenceService/ListHoldRules"
        case .getStatus: "/triaged.v1.OperationsService/GetStatus"
        case .createSnapshot: "/triaged.v1.OperationsService/CreateSnapshot"
        case .rotateKeys: "/triaged.v1.OperationsService/RotateKeys"
        case .listBackup: "/triaged.v1.OperationsService/ListBackup"
        case .readBackup: "/triaged.v1.OperationsService/ReadBackup"
        case .signHead: "/triaged.v1.AuditService/SignHead"
        case .proveRecord: "/triaged.v1.AuditService/ProveRecord"
        case .proveHistory: "/triaged.v1.AuditService/ProveHistory"
        case .healthCheck: "/grpc.health.v1.Health/Check"
        case .healthList: "/grpc.health.v1.Health/List"
        case .healthWatch: "/grpc.health.v1.Health/Watch"
        case .channelzTopChannels: "/grpc.channelz.v1.Channelz/GetTopChannels"
        case .channelzServers: "/grpc.channelz.v1.Channelz/GetServers"
        case .channelzServer: "/grpc.channelz.v1.Channelz/GetServer"
        case .channelzServerSockets: "/grpc.channelz.v1.Channelz/GetServerSockets"
        case .channelzChannel: "/grpc.channelz.v1.Channelz/GetChannel"
        case .channelzSubchannel: "/grpc.channelz.v1.Channelz/GetSubchannel"
        case .channelzSocket: "/grpc.channelz.v1.Channelz/GetSocket"
        case .reflection: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        case .reflectionAlpha: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        }
    }

    /// What a call takes of its caller's calls a second.
    ///
    /// A report may be about a life and is never counted; what reads pages, or writes the whole
    /// state, counts as often as its work.
    package var cost: Int {
        switch self {
        case .submitReport, .submitReports: 0
        case .listCases, .watchBoard, .listDisclosureRequests, .createSnapshot, .attachEvidence,
            .readEvidence, .rotateKeys, .listBackup, .signHead, .proveRecord, .proveHistory:
            Limits.bulkReadCost
        case .getCase, .answerProtocol, .decideCase, .closeCase, .reopenCase, .claimNext,
            .acceptCase, .renewLease, .releaseLease, .handOffCase, .completeCase,
            .watchAssignments, .submitDisclosureRequest, .getDisclosureRequest, .addVerification,
            .setScope, .approveDisclosure, .rejectDisclosure, .watchDisclosureRequest, .getStatus,
            .readBackup,
            .listEvidence, .eraseEvidence, .eraseReportTexts, .placeHold, .releaseHold, .listHolds,
            .listHoldRules, .healthCheck, .healthList, .healthWatch, .channelzTopChannels,
            .channelzServers,
            .channelzServer, .channelzServerSockets, .channelzChannel, .channelzSubchannel,
            .channelzSocket, .reflection,
            .reflectionAlpha:
            1
        }
    }

    /// Who may call it; nil when it needs no identity.
    package var roles: RoleSet? {
        switch self {
        case .submitReport, .submitReports: RoleSet(.intake, .partner, .specialist, .lead)
        case .getCase, .listCases, .watchBoard: RoleSet(.specialist, .lead, .auditor, .operator)
        case .answerProtocol, .decideCase, .closeCase, .reopenCase: RoleSet(.specialist, .lead)
        case .claimNext, .acceptCase, .renewLease, .releaseLease, .handOffCase, .completeCase,
            .watchAssignments:
            RoleSet(.specialist, .lead)
        case .submitDisclosureRequest: RoleSet(.externalPartner, .legal)
        case .getDisclosureRequest, .listDisclosureRequests, .watchDisclosureRequest:
            RoleSet(.legal, .auditor, .lead, .externalPartner)
        case .addVerification, .setScope, .approveDisclosure, .rejectDisclosure:
            RoleSet(.legal, .lead)
        case .attachEvidence: RoleSet(.specialist, .lead, .legal)
        case .listEvidence, .readEvidence: RoleSet(.specialist, .lead, .legal, .auditor)
        case .eraseEvidence, .eraseReportTexts, .placeHold: RoleSet(.lead, .legal)
        // Whoever may erase does not also open the way to it.
        case .releaseHold: RoleSet(.legal)
        case .listHolds, .listHoldRules: RoleSet(.specialist, .lead, .legal, .auditor)
        case .getStatus: RoleSet(.operator, .lead, .auditor)
        case .createSnapshot: RoleSet(.operator, .lead)
        case .rotateKeys: RoleSet(.operator)
        // Encrypted or not, it is everything.
        case .listBackup, .readBackup: RoleSet(.operator)
        case .signHead: RoleSet(.operator, .auditor)
        case .proveRecord, .proveHistory: RoleSet(.auditor)
        case .channelzTopChannels, .channelzServers, .channelzServer, .channelzServerSockets,
            .channelzChannel, .channelzSubchannel, .channelzSocket:
            RoleSet(.operator)
        case .healthCheck, .healthWatch: nil
        // It names every service, which a stranger may not ask reflection either.
        case .healthList, .reflection, .reflectionAlpha: .all
        }
    }

    /// Who may see the FULL view of a case.
    static let fullViewRoles = RoleSet(.specialist, .lead, .auditor)
    /// Who sees every disclosure request; an external partner sees its own.
    static let allDisclosuresRoles = RoleSet(.legal, .auditor, .lead)
}

/// Decides whether a peer may call.
enum Authorization {
    /// The peer's entry, if it may call `route`.
    ///
    /// - Throws: PERMISSION_DENIED: `PRINCIPAL_UNKNOWN` for a stranger, `ROLE_REQUIRED` naming the
    ///   roles; UNAUTHENTICATED for a peer without a certificate.
    static func check(_ route: RoleSet, _ peer: PeerPolicy?) throws(RPCError) -> PolicyEntry {
        guard let peer else { throw unauthenticated }
        guard let entry = peer.entry else { throw unknownPrincipal }
        guard !entry.roles.isDisjoint(with: route) else { throw roleRequired(route) }
        return entry
    }

    /// The transport refuses such calls itself; this is the second line.
    static let unauthenticated = RPCError(
        .unauthenticated, reason: "CLIENT_CERTIFICATE_REQUIRED",
        message: "this method needs a client certificate: connect with one")

    private static let unknownPrincipal = RPCError(
        .permissionDenied, reason: "PRINCIPAL_UNKNOWN",
        message: "the policy does not name your identity: ask the operator to add it")

    /// The refusal of a caller that has none of `roles`.
    static func roleRequired(_ roles: RoleSet) -> RPCError {
        RPCError(
            .permissionDenied, reason: "ROLE_REQUIRED",
            message: "this needs one of the roles: \(roles.names)",
            metadata: ["roles": roles.names])
    }
}
