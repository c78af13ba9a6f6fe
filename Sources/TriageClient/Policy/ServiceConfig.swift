// A service configuration as gRPC's clients take it: which calls have which deadline, which are
// tried again and how, how servers are chosen. Read from the JSON that the API publishes, so that
// our client has no numbers of its own.
//
// Source: gRPC `doc/service_config.md`, grpc/service_config/service_config.proto; proposal A6.

internal import FoundationEssentials
internal import TriageBase
internal import TriageCodec
package import TriageGRPC
internal import TriageTransport

/// Why a service configuration cannot be used.
package struct ServiceConfigError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong with it.
    package let problem: String

    package var description: String { "service config: \(problem)" }
}

/// How a client's calls behave.
package struct ServiceConfig: Equatable, Sendable {
    /// How one of several servers is chosen.
    package enum Balancing: Equatable, Sendable {
        /// The first that can be reached, until it cannot.
        case pickFirst
        /// All in turn.
        case roundRobin
    }

    /// How calls are tried again.
    package struct RetryPolicy: Equatable, Sendable {
        /// Two to five, the first included.
        package var attemptsMax: Int
        var backoff: Backoff.Shape
        /// Codes that may be tried again.
        package var codes: Set<StatusCode>

        /// Whether an attempt that failed so may be followed by another.
        ///
        /// Only UNAVAILABLE is tried again for its code: it alone says that trying again helps.
        /// What else a configuration lists (RESOURCE_EXHAUSTED: of many meanings) is tried again
        /// when the server asks for it, with its pushback.
        func isRetryable(_ code: StatusCode, _ pushback: RetryPushback) -> Bool {
            guard codes.contains(code) else { return false }
            if code == .unavailable { return true }
            if case .after = pushback { return true }
            return false
        }
    }

    /// What holds for the calls of a method.
    package struct MethodPolicy: Equatable, Sendable {
        /// The deadline of a call that has none of its own, nanoseconds.
        package var timeout: UInt64?
        /// Whether calls wait while no server can be reached.
        package var waitsForReady = false
        /// Largest request message, bytes.
        package var requestBytesMax: Int?
        /// Largest reply message, bytes.
        package var replyBytesMax: Int?
        /// How calls are tried again; nil: only those that no server began with.
        package var retry: RetryPolicy?
    }

    /// How one of several servers is chosen.
    package var balancing = Balancing.pickFirst
    /// Tokens of the retry budget, and what a success gives back; nil: no budget.
    package private(set) var throttling: (tokensMax: Double, tokenRatio: Double)?
    /// By `/package.Service/Method`, by `/package.Service/`, and under "/" the rest.
    private var policies: [String: MethodPolicy] = [:]

    /// What `Protos/service_config.json` says.
    package static let published: ServiceConfig = {
        do throws(ServiceConfigError) {
            return try ServiceConfig(json: PublishedServiceConfig.json)
        } catch {
            preconditionFailure("the built-in \(error)")
        }
    }()

    /// The policy of a method: its own, else its service's, else everybody's.
    ///
    /// - Parameter path: `/package.Service/Method`.
    /// - Returns: The policy; one that says nothing where there is none.
    package func policy(_ path: String) -> MethodPolicy {
        if let own = policies[path] { return own }
        let service = path.lastIndex(of: "/").map { String(path[...$0]) } ?? path
        return policies[service] ?? policies["/"] ?? MethodPolicy()
    }

    /// Methods that have a policy of their own.
    package var namedPaths: [String] { policies.keys.filter { !$0.hasSuffix("/") }.sorted() }

    /// A budget that is full.
    func makeThrottle() -> RetryThrottle {
        let (tokensMax, tokenRatio) = throttling ?? (Double.greatestFiniteMagnitude, 1)
        return RetryThrottle(tokensMax: tokensMax, tokenRatio: tokenRatio)
    }

    /// Reads a configuration.
    ///
    /// - Parameter json: UTF-8.
    /// - Throws: ``ServiceConfigError`` when it is not one, or has values that gRPC does not allow.
    package init(json: [UInt8]) throws(ServiceConfigError) {
        let text: ServiceConfigText
        do {
            text = try JSONDecoder().decode(ServiceConfigText.self, from: Data(json))
        } catch {
            throw ServiceConfigError(problem: "it is not the JSON of a service config")
        }
        if let named = text.loadBalancingConfig?.compactMap(\.balancing).first {
            balancing = named
        }
        if let throttling = text.retryThrottling {
            guard (1...1_000).contains(throttling.maxTokens), throttling.tokenRatio > 0 else {
                throw ServiceConfigError(
                    problem: "retryThrottling takes 1 to 1000 maxTokens and a tokenRatio above 0")
            }
            self.throttling = (throttling.maxTokens, throttling.tokenRatio)
        }
        for method in text.methodConfig ?? [] {
            let policy = try method.policy()
            for name in method.name {
                let path = try name.path()
                guard policies.updateValue(policy, forKey: path) == nil else {
                    throw ServiceConfigError(problem: "\(path) is named twice")
                }
            }
        }
    }

    package static func == (a: ServiceConfig, b: ServiceConfig) -> Bool {
        a.balancing == b.balancing && a.policies == b.policies
            && a.throttling?.tokensMax == b.throttling?.tokensMax
            && a.throttling?.tokenRatio == b.throttling?.tokenRatio
    }
}
