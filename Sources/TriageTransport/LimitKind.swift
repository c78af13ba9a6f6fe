// Names the bounds of the wire, for the counters in the metrics and for what peers are told. The
// figures are in TriageBase/Limits.swift; knows nothing of how they are judged.

import TriageGRPC

/// Which bound a peer has broken; each is a counter in the metrics.
package enum LimitKind: UInt8, CaseIterable, Sendable {
    case connections
    case descriptors
    case unidentifiedConnections
    case strangers
    case connectionsPerIdentity
    case resets
    case provokedResets
    case pings
    case settings
    case settingsEntries
    case emptyFrames
    case priorities
    case windowUpdates
    case queuedAnswers
    case continuations
    case headerBytes
    case headerFields
    case concurrentStreams
    case keyUpdates
    case certificateChain
    case sessionBytes
    case handshakeTime
    case prefaceTime
    case headerBlockTime
    case idleTime
    case keepalive
    case connectionAge
    case ageGrace
    case outputBytes
    case stalledStream
    case stalledSocket
    case messageBytes
    case messageFields
    case messageDepth
    case messageUnknownBytes
    case messageBytesInFlight
    case identityBytes
    case callRate
    case compressionRatio
    case longLivedStreams
    case evidenceStreams
    case backupStreams
    case streamReports
    case watchBytes
    case journalBytes
    case newCallsPerTurn
    case inflatedPerTurn
    case unaryTime
    case bodyTime
    case drainTime
    case adminConnections
    case adminRequestBytes
    case adminTime

    /// The metric label.
    package var label: String {
        switch self {
        case .connections: "connections"
        case .descriptors: "descriptors"
        case .unidentifiedConnections: "unidentified_connections"
        case .strangers: "strangers"
        case .connectionsPerIdentity: "connections_per_identity"
        case .resets: "resets"
        case .provokedResets: "provoked_resets"
        case .pings: "pings"
        case .settings: "settings"
        case .settingsEntries: "settings_entries"
        case .emptyFrames: "empty_frames"
        case .priorities: "priorities"
        case .windowUpdates: "window_updates"
        case .queuedAnswers: "queued_answers"
        case .continuations: "continuations"
        case .headerBytes: "header_bytes"
        case .headerFields: "header_fields"
        case .concurrentStreams: "concurrent_streams"
        case .keyUpdates: "key_updates"
        case .certificateChain: "certificate_chain"
        case .sessionBytes: "session_bytes"
        case .handshakeTime: "handshake_time"
        case .prefaceTime: "preface_time"
        case .headerBlockTime: "header_block_time"
        case .idleTime: "idle_time"
        case .keepalive: "keepalive"
        case .connectionAge: "connection_age"
        case .ageGrace: "age_grace"
        case .outputBytes: "output_bytes"
        case .stalledStream: "stalled_stream"
        case .stalledSocket: "stalled_socket"
        case .messageBytes: "message_bytes"
        case .messageFields: "message_fields"
        case .messageDepth: "message_depth"
        case .messageUnknownBytes: "message_unknown_bytes"
        case .messageBytesInFlight: "message_bytes_in_flight"
        case .identityBytes: "identity_bytes"
        case .callRate: "call_rate"
        case .compressionRatio: "compression_ratio"
        case .longLivedStreams: "long_lived_streams"
        case .evidenceStreams: "evidence_streams"
        case .backupStreams: "backup_streams"
        case .streamReports: "stream_reports"
        case .watchBytes: "watch_bytes"
        case .journalBytes: "journal_bytes"
        case .newCallsPerTurn: "new_calls_per_turn"
        case .inflatedPerTurn: "inflated_per_turn"
        case .unaryTime: "unary_time"
        case .bodyTime: "body_time"
        case .drainTime: "drain_time"
        case .adminConnections: "admin_connections"
        case .adminRequestBytes: "admin_request_bytes"
        case .adminTime: "admin_time"
        }
    }

    /// The bound that a handler's error names in its metadata, under `limit`; nil: none of
    /// these.
    init?(namedIn error: RPCError) {
        guard let label = error.metadata[Self.errorKey],
            let kind = Self.allCases.first(where: { $0.label == label })
        else { return nil }
        self = kind
    }

    private static let errorKey = "limit"

    /// Why the connection ends, for the peer: the debug text of its GOAWAY.
    var farewell: StaticString {
        switch self {
        case .pings: "too_many_pings"
        case .resets: "too_many_resets"
        case .provokedResets: "too_many_errors"
        case .settings: "too_many_settings"
        case .settingsEntries: "too_many_settings_entries"
        case .emptyFrames: "too_many_empty_frames"
        case .priorities: "too_many_priorities"
        case .windowUpdates: "too_many_window_updates"
        case .queuedAnswers: "answers_not_read"
        case .continuations: "too_many_continuations"
        case .connectionsPerIdentity: "connections_per_identity"
        case .strangers: "room_for_others"
        case .idleTime: "idle"
        case .keepalive: "keepalive_timeout"
        case .connectionAge, .ageGrace: "max_age"
        case .handshakeTime, .prefaceTime, .headerBlockTime, .stalledSocket: "timeout"
        case .connections, .descriptors, .unidentifiedConnections, .headerBytes, .headerFields,
            .concurrentStreams, .keyUpdates, .outputBytes, .stalledStream, .messageBytes,
            .messageFields, .messageDepth, .messageUnknownBytes, .messageBytesInFlight,
            .identityBytes, .callRate, .compressionRatio, .longLivedStreams,
            .certificateChain, .sessionBytes, .evidenceStreams, .backupStreams,
            .streamReports, .watchBytes, .journalBytes, .newCallsPerTurn, .inflatedPerTurn,
            .unaryTime, .bodyTime, .drainTime, .adminConnections, .adminRequestBytes, .adminTime:
            "limit"
        }
    }
}
