// The service configuration that partners' clients are given, as our own client reads it: the text
// of Protos/service_config.json, built in by Protos/generate. Knows nothing of what it says.

internal import CTriageProtos

/// `Protos/service_config.json`.
package enum PublishedServiceConfig {
    /// Its text, JSON in UTF-8.
    ///
    /// Source: gRPC `doc/service_config.md`.
    package static var json: [UInt8] {
        unsafe [UInt8](
            UnsafeBufferPointer(
                start: triaged_service_config(), count: triaged_service_config_size()))
    }
}
