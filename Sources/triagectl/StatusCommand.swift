// `triagectl status` and `snapshot`: what operators ask.

internal import ArgumentParser
internal import TriageCodec

/// Shows how the server is.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show how the server is and what it holds.")

    @OptionGroup var global: GlobalOptions

    mutating func run() async throws {
        let command = self
        try await reportingFailures {
            let reply = try await command.global.call("GetStatus", DynamicMessage())
            if command.global.json { return Output.json(reply) }
            Listing.print(reply, indent: 0)
        }
    }
}

/// Takes a snapshot.
struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Take a snapshot now; returns when it is on disk.")

    @OptionGroup var global: GlobalOptions

    mutating func run() async throws {
        let command = self
        try await reportingFailures {
            var request = DynamicMessage()
            request["request_id"] = .string(RequestIDText.fresh())
            // Written at a pace that spares the intake: 10,000,000 cases take 35 s.
            let reply = try await command.global.call(
                "CreateSnapshot", request, seconds: Seconds(600))
            if command.global.json { return Output.json(reply) }
            Listing.print(reply, indent: 0)
        }
    }
}
