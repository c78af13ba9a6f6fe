// The JSON of a service configuration, field by field, and its values in our units. Fields that
// this client has no use for are skipped, as gRPC's clients do.

internal import FoundationEssentials
internal import TriageGRPC

/// The JSON as it stands.
struct ServiceConfigText: Decodable {
    var loadBalancingConfig: [Balancing]?
    var methodConfig: [Method]?
    var retryThrottling: Throttling?

    struct Throttling: Decodable {
        var maxTokens: Double
        var tokenRatio: Double
    }

    /// One choice of a load balancing policy; the first that a client knows holds.
    struct Balancing: Decodable {
        private struct Empty: Decodable {}
        let balancing: ServiceConfig.Balancing?

        private enum Names: String, CodingKey {
            case pickFirst = "pick_first"
            case roundRobin = "round_robin"
        }

        init(from decoder: any Decoder) throws {
            let names = try decoder.container(keyedBy: Names.self)
            balancing =
                if names.contains(.roundRobin) {
                    .roundRobin
                } else if names.contains(.pickFirst) {
                    .pickFirst
                } else {
                    nil
                }
        }
    }

    struct Name: Decodable {
        var service: String?
        var method: String?

        /// The key of ``ServiceConfig``'s policies.
        func path() throws(ServiceConfigError) -> String {
            guard let service, !service.isEmpty else {
                guard method ?? "" == "" else {
                    throw ServiceConfigError(problem: "a method is named without its service")
                }
                return "/"
            }
            return "/\(service)/\(method ?? "")"
        }
    }

    struct Retry: Decodable {
        var maxAttempts: Int
        var initialBackoff: String
        var maxBackoff: String
        var backoffMultiplier: Double
        var retryableStatusCodes: [String]

        func policy() throws(ServiceConfigError) -> ServiceConfig.RetryPolicy {
            let codes = retryableStatusCodes.map { name in
                StatusCode.allCases.first { $0.name == name }
            }
            guard maxAttempts >= 2, backoffMultiplier > 0, !codes.isEmpty,
                let initial = nanoseconds(initialBackoff), initial > 0,
                let longest = nanoseconds(maxBackoff), longest > 0
            else {
                throw ServiceConfigError(
                    problem: "a retryPolicy takes 2 maxAttempts or more, backoffs and a "
                        + "backoffMultiplier above 0, and at least one retryableStatusCode")
            }
            var known: Set<StatusCode> = []
            for code in codes {
                guard let code, code != .ok else {
                    throw ServiceConfigError(problem: "a retryableStatusCode is no gRPC error")
                }
                known.insert(code)
            }
            // gRPC's clients make five attempts at most, whatever they are told.
            return ServiceConfig.RetryPolicy(
                attemptsMax: min(maxAttempts, 5),
                backoff: Backoff.Shape(
                    initial: initial, multiplier: backoffMultiplier, longest: longest),
                codes: known)
        }
    }

    struct Method: Decodable {
        var name: [Name]
        var waitForReady: Bool?
        var timeout: String?
        var maxRequestMessageBytes: Int?
        var maxResponseMessageBytes: Int?
        var retryPolicy: Retry?

        func policy() throws(ServiceConfigError) -> ServiceConfig.MethodPolicy {
            var policy = ServiceConfig.MethodPolicy()
            if let timeout {
                guard let value = nanoseconds(timeout), value > 0 else {
                    throw ServiceConfigError(problem: "a timeout is no span, such as 10s")
                }
                policy.timeout = value
            }
            policy.waitsForReady = waitForReady ?? false
            policy.requestBytesMax = maxRequestMessageBytes
            policy.replyBytesMax = maxResponseMessageBytes
            policy.retry = try retryPolicy.map { retry throws(ServiceConfigError) in
                try retry.policy()
            }
            return policy
        }
    }
}

/// Reads a google.protobuf.Duration's JSON, such as `0.1s`; nil when it is none, or negative.
///
/// Source: protobuf's JSON mapping: seconds with up to nine fractional digits, then `s`.
private func nanoseconds(_ text: String) -> UInt64? {
    guard text.hasSuffix("s") else { return nil }
    let parts = text.dropLast().split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2, let seconds = UInt64(parts[0]) else { return nil }
    let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    // Longer than 500 years.
    if overflow || whole > .max / 2 { return nil }
    guard parts.count == 2 else { return whole }
    let digits = parts[1]
    guard (1...9).contains(digits.count), digits.allSatisfy({ $0.isASCII && $0.isNumber }),
        var fraction = UInt64(digits)
    else { return nil }
    for _ in digits.count..<9 { fraction *= 10 }
    return whole + fraction
}
