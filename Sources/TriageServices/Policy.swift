// Who may do what: roles and eligibility by principal, swapped as a whole when the operator reloads
// the policy. Knows nothing of the file that it came from, nor of what a role is needed for.

internal import Synchronization
package import TriageBase
package import TriageDomain
package import TriageGRPC

/// What a principal is, for the purpose of authorisation.
package enum Role: UInt8, CaseIterable, Sendable {
    /// Submits reports.
    case intake = 0
    /// Claims, answers the protocol, decides and closes.
    case specialist = 1
    /// What a specialist may, for others too.
    case lead = 2
    /// Verifies, scopes, approves and rejects disclosure requests.
    case legal = 3
    /// Status and snapshots; no case content.
    case `operator` = 4
    /// Reads all, changes nothing.
    case auditor = 5
    /// A team inside the house.
    case partner = 6
    /// An agency outside: its own disclosure requests and nothing else.
    case externalPartner = 7

    /// The name in the policy file and in refusals.
    package var name: String {
        switch self {
        case .intake: "intake"
        case .specialist: "specialist"
        case .lead: "lead"
        case .legal: "legal"
        case .operator: "operator"
        case .auditor: "auditor"
        case .partner: "partner"
        case .externalPartner: "external_partner"
        }
    }

    /// The role of that name in the policy file; nil for an unknown one.
    package init?(name: String) {
        guard let role = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = role
    }
}

/// A set of roles.
package struct RoleSet: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The set of these roles.
    package init(_ roles: Role...) {
        rawValue = roles.reduce(0) { $0 | 1 << $1.rawValue }
    }

    /// Every role.
    package static let all = RoleSet(rawValue: .max)

    /// The roles that count at a listener.
    ///
    /// Whoever comes through a partner's door is a partner there and nothing else, whatever the
    /// policy says of the name.
    package static func allowed(through audience: Audience) -> RoleSet {
        switch audience {
        case .internal: .all
        case .partner: RoleSet(.partner)
        case .external: RoleSet(.externalPartner)
        }
    }

    /// Whether `role` is in the set.
    package func contains(_ role: Role) -> Bool { rawValue >> role.rawValue & 1 == 1 }

    /// Adds a role.
    package mutating func insert(_ role: Role) {
        self = RoleSet(rawValue: rawValue | 1 << role.rawValue)
    }

    /// The names of the roles, separated by ", ".
    package var names: String {
        Role.allCases.filter(contains).map(\.name).joined(separator: ", ")
    }
}

/// What the policy says of one principal.
package struct PolicyEntry: Hashable, Sendable {
    /// What it is.
    package var roles: RoleSet
    /// What it may take, if it is a specialist or lead.
    package var eligibility: Eligibility

    /// Groups roles and eligibility.
    package init(roles: RoleSet, eligibility: Eligibility) {
        self.roles = roles
        self.eligibility = eligibility
    }

    /// Whether it sees only its own disclosure requests, and of them what a requester may know.
    var isExternal: Bool { roles.isDisjoint(with: Route.allDisclosuresRoles) }

    /// Whether it may see what lies behind the child-safety wall.
    ///
    /// An auditor reads all; others need the clearance, person by person.
    var clearedForChildSafety: Bool {
        roles.contains(.auditor)
            || eligibility.clearances >> Clearance.childSafety.rawValue & 1 == 1
    }
}

/// The policy in force: an entry for every principal that may call.
package struct Policy: Sendable {
    /// By principal: one without an entry is a stranger.
    package var entries: [Principal: PolicyEntry]

    /// Groups the entries.
    package init(entries: [Principal: PolicyEntry]) {
        self.entries = entries
    }
}

/// The policy in force, replaced as a whole; connections notice by its generation.
package final class PolicyStore: Sendable {
    private let policy: Mutex<Policy>
    private let mailboxes = Mutex<[any ReactorMailbox]>([])
    private let current = Atomic<Int>(0)

    /// Puts a first policy in force.
    package init(_ policy: Policy) {
        self.policy = Mutex(policy)
    }

    /// Puts another policy in force, from any thread.
    ///
    /// Calls that begin from now on follow it; watches and waiting claims of those who lost the
    /// right to them are ended.
    package func replace(_ policy: Policy) {
        self.policy.withLock { $0 = policy }
        current.add(1, ordering: .releasing)
        for mailbox in mailboxes.withLock({ $0 }) { mailbox.post(PolicyJob()) }
    }

    /// Tells a reactor's services of every replacement.
    func subscribe(_ mailbox: any ReactorMailbox) { mailboxes.withLock { $0.append(mailbox) } }

    /// Rises with every replacement.
    package var generation: Int { current.load(ordering: .acquiring) }

    /// What the policy in force says of a principal; nil for a stranger.
    package func entry(of principal: Principal) -> PolicyEntry? {
        policy.withLock { $0.entries[principal] }
    }
}

/// Another policy is in force.
private final class PolicyJob: ReactorJob {
    func run(_ handler: any CallHandler) {
        guard let services = handler as? ServiceHandler else { return }
        services.policyChanged()
    }
}

/// What a connection's peer is under the policy in force; kept in ``PeerContext/attachment`` so
/// that no call looks a name up.
final class PeerPolicy {
    let principal: Principal
    /// Which door it came through.
    let door: Audience
    /// nil for a stranger.
    let entry: PolicyEntry?
    let generation: Int

    /// What a principal is who came through a door: no more than the door allows.
    init(
        _ principal: Principal, through door: Audience, _ store: PolicyStore, generation: Int
    ) {
        self.principal = principal
        self.door = door
        var entry = store.entry(of: principal)
        entry?.roles.formIntersection(RoleSet.allowed(through: door))
        self.entry = entry
        self.generation = generation
    }

    /// What `peer` is; looked up at its first call and after a change of policy.
    ///
    /// - Returns: nil when the peer showed no certificate.
    static func resolve(_ peer: PeerContext, _ store: PolicyStore) -> PeerPolicy? {
        // The generation is read first: a replacement in between is noticed at the next call.
        let generation = store.generation
        if let known = peer.attachment as? PeerPolicy, known.generation == generation {
            return known
        }
        guard let principal = peer.principal else { return nil }
        let resolved = PeerPolicy(principal, through: peer.audience, store, generation: generation)
        peer.attachment = resolved
        return resolved
    }
}
