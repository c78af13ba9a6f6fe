// Writes metrics in the Prometheus text format, version 0.0.4. Knows nothing of where they come
// from but the shape of ServerMetrics.

package import TriageGRPC
import TriageTLS

/// A page of metrics that grows line by line.
///
/// Source: Prometheus "Exposition formats"; names of calls as in
/// go-grpc-middleware/providers/prometheus.
package struct PrometheusText {
    /// The page so far.
    package private(set) var text = ""

    /// An empty page.
    package init() {}

    /// Writes the two lines in front of a metric's samples.
    package mutating func describe(_ name: String, _ type: String, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    /// Writes one sample.
    package mutating func sample(
        _ name: String, _ labels: [(String, String)] = [], _ value: String
    ) {
        text += name
        if !labels.isEmpty {
            let pairs = labels.map { "\($0.0)=\"\(Self.escape($0.1))\"" }
            text += "{" + pairs.joined(separator: ",") + "}"
        }
        text += " " + value + "\n"
    }

    /// Writes a metric that has one sample.
    package mutating func single(_ name: String, _ type: String, _ help: String, _ value: UInt64) {
        describe(name, type, help)
        sample(name, [], String(value))
    }

    private static func escape(_ value: String) -> String {
        var out = ""
        for character in value {
            switch character {
            case "\\": out += "\\\\"
            case "\"": out += "\\\""
            case "\n": out += "\\n"
            default: out.append(character)
            }
        }
        return out
    }
}

extension PrometheusText {
    /// Writes everything that a server counts.
    package mutating func append(_ metrics: ServerMetrics, _ table: MethodTable) {
        let rows = table.methods.map(Self.labels) + [Self.unknownLabels]
        perMethod(
            "grpc_server_started_total", "Calls begun on the server.", rows,
            metrics.methods.map(\.started))
        describe(
            "grpc_server_handled_total", "counter", "Calls ended on the server, by status code.")
        for (row, labels) in rows.enumerated() {
            for code in StatusCode.allCases {
                sample(
                    "grpc_server_handled_total", labels + [("grpc_code", code.title)],
                    String(metrics.methods[row].handled[Int(code.rawValue)]))
            }
        }
        perMethod(
            "grpc_server_msg_received_total", "Messages received on the server.", rows,
            metrics.methods.map(\.received))
        perMethod(
            "grpc_server_msg_sent_total", "Messages sent by the server.", rows,
            metrics.methods.map(\.sent))
        describe(
            "grpc_server_handling_seconds", "histogram", "Time from a call's headers to its status."
        )
        for (row, labels) in rows.enumerated() { histogram(labels, metrics.methods[row]) }
        appendTransport(metrics)
    }

    private mutating func perMethod(
        _ name: String, _ help: String, _ rows: [[(String, String)]], _ values: [UInt64]
    ) {
        describe(name, "counter", help)
        for (row, labels) in rows.enumerated() { sample(name, labels, String(values[row])) }
    }

    private mutating func histogram(
        _ labels: [(String, String)], _ counts: ServerMetrics.PerMethod
    ) {
        let name = "grpc_server_handling_seconds"
        var total: UInt64 = 0
        for bucket in 0..<ServerMetrics.bucketCount {
            total += counts.latencyBuckets[bucket]
            let bound =
                bucket < ServerMetrics.bucketBounds.count
                ? Self.seconds(ServerMetrics.bucketBounds[bucket]) : "+Inf"
            sample("\(name)_bucket", labels + [("le", bound)], String(total))
        }
        sample("\(name)_sum", labels, Self.seconds(counts.latencySum))
        sample("\(name)_count", labels, String(total))
    }

    private mutating func appendTransport(_ metrics: ServerMetrics) {
        describe("triaged_limit_hits_total", "counter", "How often a limit of the wire was hit.")
        for kind in LimitKind.allCases {
            sample(
                "triaged_limit_hits_total", [("limit", kind.label)],
                String(metrics.limits[kind]))
        }
        single(
            "triaged_connections_accepted_total", "counter", "Connections accepted.",
            metrics.connectionsAccepted)
        single("triaged_connections", "gauge", "Connections open.", metrics.connectionsOpen)
        single("triaged_calls", "gauge", "Calls in progress.", metrics.callsOpen)
        describe("triaged_handshakes_total", "counter", "TLS handshakes, by outcome.")
        sample("triaged_handshakes_total", [("outcome", "full")], String(metrics.handshakesFull))
        sample(
            "triaged_handshakes_total", [("outcome", "resumed")], String(metrics.handshakesResumed))
        sample(
            "triaged_handshakes_total", [("outcome", "failed")], String(metrics.handshakesFailed))
        describe(
            "triaged_certificates_refused_total", "counter",
            "Client certificates refused, in handshakes and after a reload, by reason.")
        for (index, label) in PeerRefusal.labels.enumerated() {
            sample(
                "triaged_certificates_refused_total", [("reason", label)],
                String(metrics.refusals[index]))
        }
        single(
            "triaged_peers_refused_total", "counter",
            "Open connections ended because a reload left their certificates without trust.",
            metrics.peersRefused)
        describe("triaged_handshake_seconds_total", "counter", "Time spent in TLS handshakes.")
        sample(
            "triaged_handshake_seconds_total", [], Self.seconds(metrics.handshakeNanoseconds))
        single(
            "triaged_received_bytes_total", "counter", "Bytes read from sockets.",
            metrics.bytesReceived)
        single(
            "triaged_sent_bytes_total", "counter", "Bytes written to sockets.", metrics.bytesSent)
        single(
            "triaged_held_bytes", "gauge", "Bytes of unfinished requests and unsent replies.",
            metrics.bytesHeld)
        single(
            "triaged_messages_inflated_total", "counter", "Messages that came compressed.",
            metrics.messagesInflated)
        single(
            "triaged_messages_deflated_total", "counter", "Messages that left compressed.",
            metrics.messagesDeflated)
        single(
            "triaged_calls_retried_total", "counter",
            "Calls that their client's library had tried before.", metrics.callsRetried)
        single("triaged_loop_turns_total", "counter", "Turns of the event loops.", metrics.turns)
    }

    private static func labels(_ method: Method) -> [(String, String)] {
        let type =
            switch (method.clientStreaming, method.serverStreaming) {
            case (false, false): "unary"
            case (true, false): "client_stream"
            case (false, true): "server_stream"
            case (true, true): "bidi_stream"
            }
        return [
            ("grpc_type", type), ("grpc_service", method.service), ("grpc_method", method.name),
        ]
    }

    /// Calls of methods that do not exist share one label: a peer must not be able to make new
    /// ones.
    private static let unknownLabels = [
        ("grpc_type", "unknown"), ("grpc_service", "unknown"), ("grpc_method", "unknown"),
    ]

    /// Nanoseconds as decimal seconds, without rounding.
    static func seconds(_ nanoseconds: UInt64) -> String {
        let (whole, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        if rest == 0 { return String(whole) }
        var digits = String(rest)
        digits = String(repeating: "0", count: 9 - digits.utf8.count) + digits
        while digits.last == "0" { digits.removeLast() }
        return "\(whole).\(digits)"
    }
}
