// The policy file: who may call, and as what. A file with an error is refused whole, with line and
// column; what was in force stays.

internal import TriageBase
internal import TriageDomain
internal import TriageServices
internal import Yams

/// Reads policy files.
///
/// Their shape is described in Deploy/policy/policy.yaml.
enum PolicyFile {
    /// Reads and checks a file.
    ///
    /// - Parameter path: Its path.
    /// - Returns: The policy.
    /// - Throws: `ConfigurationError` naming file, line and column.
    static func read(path: String) throws(ConfigurationError) -> Policy {
        let root = try YAMLFile.compose(path: path)
        let fields = try mapping(root, path, known: ["version", "principals"])
        guard let version = fields["version"] else {
            throw YAMLFile.problem(path, root, "version is missing; write version: 1")
        }
        guard version.scalar?.string == "1" else {
            throw YAMLFile.problem(path, version, "unknown version; this server reads version 1")
        }
        guard let principals = fields["principals"]?.sequence else {
            throw YAMLFile.problem(path, root, "principals is missing, or no list")
        }
        var entries: [Principal: PolicyEntry] = [:]
        for node in principals {
            let (principal, entry) = try entry(node, path)
            guard entries.updateValue(entry, forKey: principal) == nil else {
                throw YAMLFile.problem(path, node, "this principal is named twice")
            }
        }
        return Policy(entries: entries)
    }

    private static func entry(
        _ node: Node, _ path: String
    ) throws(ConfigurationError) -> (Principal, PolicyEntry) {
        let fields = try mapping(
            node, path, known: ["id", "roles", "skills", "languages", "clearances", "regions"])
        guard let id = fields["id"], let text = id.scalar?.string else {
            throw YAMLFile.problem(path, node, "id is missing")
        }
        guard let principal = principal(text) else {
            throw YAMLFile.problem(
                path, id, "id is neither a SPIFFE ID with a path nor dns: and a host name")
        }
        var roles = RoleSet([])
        for (name, place) in try names(fields["roles"], path) {
            guard let role = Role(name: name) else {
                let known = Role.allCases.map(\.name).joined(separator: ", ")
                throw YAMLFile.problem(path, place, "unknown role; known are \(known)")
            }
            roles.insert(role)
        }
        guard !roles.isEmpty else {
            throw YAMLFile.problem(path, node, "roles is missing or empty")
        }
        // An agency with a role of ours would see, verify and approve its own requests.
        guard !roles.contains(.externalPartner) || roles == RoleSet(.externalPartner) else {
            throw YAMLFile.problem(path, node, "external_partner goes with no other role")
        }
        return (principal, PolicyEntry(roles: roles, eligibility: try eligibility(fields, path)))
    }

    /// A SPIFFE ID as it stands, or a DNS name with its prefix `dns:` (or without, if it has a
    /// dot).
    private static func principal(_ text: String) -> Principal? {
        if text.hasPrefix("spiffe://") {
            let parts = text.dropFirst(9).split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count >= 2, parts.allSatisfy({ !$0.isEmpty }) else { return nil }
            return Principal(spiffeID: text)
        }
        let name = text.hasPrefix("dns:") ? String(text.dropFirst(4)) : text
        let allowed = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        guard allowed, name.contains(".") else { return nil }
        return Principal(dnsName: name)
    }

    private static func eligibility(
        _ fields: [String: Node], _ path: String
    ) throws(ConfigurationError) -> Eligibility {
        let skills = try mask(fields["skills"], path, HarmFamilyName.all)
        let clearances = try mask(fields["clearances"], path, ClearanceName.all)
        let regions = try mask(fields["regions"], path, RegionName.all)
        var languages: [UInt16] = []
        var allLanguages = false
        for (name, place) in try names(fields["languages"], path) {
            if name == "all" {
                allLanguages = true
            } else if let code = LanguageCode(tag: Array(name.utf8).span) {
                languages.append(code.rawValue)
            } else {
                throw YAMLFile.problem(
                    path, place, "not a language; write an ISO 639 code such as en, or all")
            }
        }
        // A case whose family, or region, nobody knows is open to everyone who takes any.
        return Eligibility(
            skills: skills == 0 ? 0 : skills | 1, clearances: UInt8(clearances),
            regions: UInt8(regions == 0 ? 0 : regions | 1), languages: languages,
            allLanguages: allLanguages)
    }

    private static func mask(
        _ node: Node?, _ path: String, _ bits: [(name: String, bit: UInt8)]
    ) throws(ConfigurationError) -> UInt32 {
        var mask: UInt32 = 0
        for (name, place) in try names(node, path) {
            if name == "all" {
                mask |= bits.reduce(0) { $0 | 1 << $1.bit }
            } else if let bit = bits.first(where: { $0.name == name })?.bit {
                mask |= 1 << bit
            } else {
                let known = bits.map(\.name).joined(separator: ", ")
                throw YAMLFile.problem(path, place, "unknown name; known are \(known), all")
            }
        }
        return mask
    }

    private static func names(
        _ node: Node?, _ path: String
    ) throws(ConfigurationError) -> [(String, Node)] {
        guard let node else { return [] }
        guard let sequence = node.sequence else {
            throw YAMLFile.problem(path, node, "expected a list of names")
        }
        var names: [(String, Node)] = []
        for item in sequence {
            guard let name = item.scalar?.string else {
                throw YAMLFile.problem(path, item, "expected a name")
            }
            names.append((name, item))
        }
        return names
    }

    private static func mapping(
        _ node: Node, _ path: String, known: [String]
    ) throws(ConfigurationError) -> [String: Node] {
        guard let mapping = node.mapping else {
            throw YAMLFile.problem(path, node, "expected \(known.joined(separator: ", "))")
        }
        var fields: [String: Node] = [:]
        for (key, value) in mapping {
            guard let name = key.scalar?.string, known.contains(name) else {
                throw YAMLFile.problem(
                    path, key, "unknown key; known are \(known.joined(separator: ", "))")
            }
            guard fields.updateValue(value, forKey: name) == nil else {
                throw YAMLFile.problem(path, key, "\(name) is given twice")
            }
        }
        return fields
    }
}

/// Names of harm families as policy files write them.
enum HarmFamilyName {
    static let all: [(name: String, bit: UInt8)] = HarmFamily.allCases.compactMap { family in
        name(family).map { ($0, family.rawValue) }
    }

    private static func name(_ family: HarmFamily) -> String? {
        switch family {
        case .unrecognised: nil
        case .suicideSelfHarm: "suicide_self_harm"
        case .violentThreat: "violent_threat"
        case .terrorism: "terrorism"
        case .childSexualExploitation: "child_sexual_exploitation"
        case .missingPerson: "missing_person"
        case .humanTrafficking: "human_trafficking"
        case .intimateImageAbuse: "intimate_image_abuse"
        case .domesticViolence: "domestic_violence"
        case .disaster: "disaster"
        case .otherImminentHarm: "other_imminent_harm"
        }
    }
}

/// Names of clearances as policy files write them.
enum ClearanceName {
    static let all: [(name: String, bit: UInt8)] = Clearance.allCases.map { clearance in
        switch clearance {
        case .general: ("general", clearance.rawValue)
        case .graphic: ("graphic", clearance.rawValue)
        case .childSafety: ("child_safety", clearance.rawValue)
        }
    }
}

/// Names of routing regions as policy files write them.
enum RegionName {
    static let all: [(name: String, bit: UInt8)] = RoutingRegion.allCases.compactMap { region in
        switch region {
        case .unspecified: nil
        case .americas: ("americas", region.rawValue)
        case .emea: ("emea", region.rawValue)
        case .asiaPacific: ("asia_pacific", region.rawValue)
        }
    }
}
