// The published service configuration as our client reads it, and what it refuses.

import Foundation
import Testing
import TriageCodec
import TriageGRPC

@testable import TriageClient

@Suite struct ServiceConfigTests {
    private static let file = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Protos/service_config.json")

    @Test func theBuiltInText_isTheFile() throws {
        #expect(try [UInt8](Data(contentsOf: Self.file)) == PublishedServiceConfig.json)
    }

    /// Read once more with another reader, number by number.
    @Test func everyNumber_isTheFiles() throws {
        let root = try #require(
            try JSONSerialization.jsonObject(with: Data(contentsOf: Self.file)) as? [String: Any])
        let published = ServiceConfig.published
        #expect(published.balancing == .roundRobin)
        let throttling = try #require(root["retryThrottling"] as? [String: Double])
        #expect(published.throttling?.tokensMax == throttling["maxTokens"])
        #expect(published.throttling?.tokenRatio == throttling["tokenRatio"])
        var paths: [String] = []
        for method in try #require(root["methodConfig"] as? [[String: Any]]) {
            for name in try #require(method["name"] as? [[String: String]]) {
                let path = "/\(name["service"] ?? "")/\(name["method"] ?? "")"
                paths.append(path)
                try check(published.policy(path), method)
            }
        }
        #expect(published.namedPaths == paths.sorted())
        #expect(paths.count > 20)
    }

    private func check(_ policy: ServiceConfig.MethodPolicy, _ method: [String: Any]) throws {
        let timeout = (method["timeout"] as? String).flatMap { Double($0.dropLast()) }
        #expect(policy.timeout == timeout.map { UInt64($0 * 1e9) })
        #expect(policy.requestBytesMax == method["maxRequestMessageBytes"] as? Int)
        let retry = try #require(method["retryPolicy"] as? [String: Any])
        let read = try #require(policy.retry)
        #expect(read.attemptsMax == retry["maxAttempts"] as? Int)
        #expect(read.backoff.multiplier == retry["backoffMultiplier"] as? Double)
        for (key, value) in [
            ("initialBackoff", read.backoff.initial), ("maxBackoff", read.backoff.longest),
        ] {
            let text = try #require(retry[key] as? String)
            #expect(Double(text.dropLast()).map { UInt64($0 * 1e9) } == value)
        }
        let codes = retry["retryableStatusCodes"] as? [String] ?? []
        #expect(Set(read.codes.map(\.name)) == Set(codes))
    }

    /// A policy is what makes a call one that may be tried again: it is for reads, for heads, of
    /// which a second says no more than the first, and for writes that carry a request id, only.
    @Test func everyPolicy_isOfAReadOrOfAWriteWithARequestID() {
        for path in ServiceConfig.published.namedPaths {
            let schema = MethodSchema.all.first { $0.path == path }
            let name = path.split(separator: "/").last ?? ""
            let isRead = ["Get", "List", "Read", "Watch", "Prove", "SignHead"]
                .contains { name.hasPrefix($0) }
            #expect(isRead || schema?.request.fieldNames.contains("request_id") == true, "\(path)")
        }
    }

    @Test func names_goFromMethodOverServiceToAll() throws {
        let config = try ServiceConfig(
            json: Array(
                """
                {"methodConfig": [
                  {"name": [{"service": "a.B", "method": "C"}], "timeout": "1s"},
                  {"name": [{"service": "a.B"}], "timeout": "2.5s", "waitForReady": true},
                  {"name": [{}], "timeout": "0.000000003s", "maxResponseMessageBytes": 7}
                ], "unknownField": {"x": 1}}
                """.utf8))
        #expect(config.policy("/a.B/C").timeout == 1_000_000_000)
        #expect(config.policy("/a.B/D").timeout == 2_500_000_000)
        #expect(config.policy("/a.B/D").waitsForReady)
        #expect(config.policy("/x.Y/Z").timeout == 3)
        #expect(config.policy("/x.Y/Z").replyBytesMax == 7)
        #expect(config.policy("/x.Y/Z").retry == nil)
        #expect(config.balancing == .pickFirst)
        #expect(config.makeThrottle().allowsRetry)
    }

    private static func retry(_ change: String) -> String {
        var fields = [
            "maxAttempts": "3", "initialBackoff": "\"1s\"", "maxBackoff": "\"2s\"",
            "backoffMultiplier": "2", "retryableStatusCodes": "[\"UNAVAILABLE\"]",
        ]
        let parts = change.split(separator: "=", maxSplits: 1).map(String.init)
        if parts.count == 2 { fields[parts[0]] = parts[1] }
        let text = fields.map { "\"\($0.key)\": \($0.value)" }.joined(separator: ",")
        return "{\"methodConfig\": [{\"name\": [{}], \"retryPolicy\": {\(text)}}]}"
    }

    @Test func aFaultlessPolicy_isTaken_andAttemptsAreCapped() throws {
        let config = try ServiceConfig(json: Array(Self.retry("maxAttempts=9").utf8))
        #expect(config.policy("/a/b").retry?.attemptsMax == 5)
    }

    @Test(
        "what gRPC does not allow is refused",
        arguments: [
            "", "[]", "{", "{\"methodConfig\": 1}", retry("maxAttempts=1"),
            retry("initialBackoff=\"0s\""), retry("initialBackoff=\"1\""),
            retry("maxBackoff=\"-1s\""), retry("maxBackoff=\"1.0000000001s\""),
            retry("maxBackoff=\"99999999999999s\""), retry("backoffMultiplier=0"),
            retry("retryableStatusCodes=[]"), retry("retryableStatusCodes=[\"OK\"]"),
            retry("retryableStatusCodes=[\"SOMETIMES\"]"),
            "{\"retryThrottling\": {\"maxTokens\": 0, \"tokenRatio\": 1}}",
            "{\"retryThrottling\": {\"maxTokens\": 1001, \"tokenRatio\": 1}}",
            "{\"retryThrottling\": {\"maxTokens\": 10, \"tokenRatio\": 0}}",
            "{\"methodConfig\": [{\"name\": [{\"method\": \"M\"}]}]}",
            "{\"methodConfig\": [{\"name\": [{}]}, {\"name\": [{}]}]}",
            "{\"methodConfig\": [{\"name\": [{}], \"timeout\": \"soon\"}]}",
        ])
    func faultyConfigurations_areRefused(text: String) {
        #expect(throws: ServiceConfigError.self) { try ServiceConfig(json: Array(text.utf8)) }
    }
}
