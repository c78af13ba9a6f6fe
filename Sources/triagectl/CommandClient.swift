// Calls by name with dynamic messages, over TriageClient; turns a failed call into an exit code and
// a text that says what to do.

internal import ArgumentParser
internal import TriageClient
internal import TriageCodec
internal import TriageGRPC
internal import TriageIO

/// A call that failed, as the command line reports it.
struct CallFailure: Error, CustomStringConvertible {
    let error: RPCError
    /// What the same command takes so that a write which may have been done is not done again; nil:
    /// nothing.
    var repetition: String?

    var description: String {
        var text = Output.visible(error.message)
        for violation in error.fieldViolations {
            text += Output.visible("\n\(violation.field): \(violation.description)", margin: "  ")
        }
        if let delay = error.retryAfterMilliseconds { text += "\n  try again in \(delay) ms" }
        let attempts = error.metadata["attempts"].map { ", tried \($0) times" } ?? ""
        text += "\n  (\(error.code.name), \(Output.visible(error.reason + attempts)))"
        return text + (repetition.map { "\n  to have it done once, repeat it with \($0)" } ?? "")
    }

    /// Nobody knows whether the server has done what it was asked.
    var isOutcomeUnknown: Bool { exitCode == ExitCode(7) }

    /// Exit codes as `triagectl --help` lists them.
    var exitCode: ExitCode {
        switch error.code {
        case .ok: .success
        case .notFound: ExitCode(3)
        case .permissionDenied, .unauthenticated: ExitCode(4)
        // Ours: no certificate to show. Nothing that the state of a case would change.
        case .failedPrecondition where error.reason == "CLIENT_IDENTITY": ExitCode(4)
        case .failedPrecondition, .aborted, .alreadyExists: ExitCode(5)
        case .invalidArgument, .outOfRange: ExitCode(6)
        case .unavailable, .deadlineExceeded, .cancelled: ExitCode(7)
        case .resourceExhausted: ExitCode(8)
        case .unknown, .unimplemented, .internal, .dataLoss: ExitCode(1)
        }
    }
}

/// Why a command ends without what it was asked for, although no call failed.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String
    /// As `triagectl --help` lists them.
    let exitCode: ExitCode

    /// Something of this machine's, or that nobody foresaw.
    init(_ description: String, _ exitCode: ExitCode = ExitCode(1)) {
        self.description = description
        self.exitCode = exitCode
    }
}

/// A connected client that speaks dynamic messages.
struct CommandClient: Sendable {
    private let client: TriageClient
    private let timeoutMilliseconds: Int64
    private let waitsForReady: Bool

    /// Prepares a client; it connects with the first call.
    ///
    /// - Parameters:
    ///   - configuration: Where to and as whom.
    ///   - timeoutMilliseconds: How long a stream may take that is read to its end.
    ///   - waitsForReady: Calls wait while no server answers.
    /// - Throws: ``CallFailure`` when a file cannot be used.
    init(
        _ configuration: ClientConfiguration, timeoutMilliseconds: Int64, waitsForReady: Bool
    ) throws {
        self.timeoutMilliseconds = timeoutMilliseconds
        self.waitsForReady = waitsForReady
        do {
            client = try TriageClient(configuration)
        } catch {
            throw CallFailure(error: error)
        }
    }

    /// Closes the connections.
    func close() {
        client.close()
    }

    /// Makes one unary call.
    func call(
        _ name: String, _ request: DynamicMessage, timeoutMilliseconds: Int64
    ) async throws -> DynamicMessage {
        let method = MethodSchema.named(name)
        let reply: [UInt8]
        do {
            reply = try await client.unary(
                path: method.path, message: try method.request.encode(request),
                options: options(timeoutMilliseconds))
        } catch let error as RPCError {
            throw CallFailure(error: error)
        }
        return try decode(reply, method)
    }

    /// Makes one unary call that changes something; where nobody knows whether it has, the failure
    /// says how to repeat it.
    ///
    /// - Parameters:
    ///   - name: The method.
    ///   - request: Its request.
    ///   - timeoutMilliseconds: How long it may take.
    /// - Returns: The reply.
    /// - Throws: ``CallFailure``.
    func write(
        _ name: String, _ request: DynamicMessage, timeoutMilliseconds: Int64
    ) async throws -> DynamicMessage {
        do {
            return try await call(name, request, timeoutMilliseconds: timeoutMilliseconds)
        } catch var failure as CallFailure where failure.isOutcomeUnknown {
            var words = ["--request-id \(request.text("request_id"))"]
            if request["fencing_token"] != nil {
                // A lease may have been found by its case, which has none once this is done.
                words = [request.text("name"), "--token \(request.int("fencing_token"))"] + words
            }
            failure.repetition = words.joined(separator: " ")
            throw failure
        }
    }

    /// A reply that cannot be read is the server's fault, not the request's, and comes when the
    /// request has been obeyed.
    private func decode(_ reply: [UInt8], _ method: MethodSchema) throws -> DynamicMessage {
        do {
            return try method.reply.decode(reply.span)
        } catch {
            throw CallFailure(
                error: RPCError(
                    .internal, reason: "REPLY_UNREADABLE",
                    message: "The server's reply is not what the API says: \(error)."))
        }
    }

    private func options(_ timeoutMilliseconds: Int64?) -> CallOptions {
        var options = CallOptions()
        options.deadline = timeoutMilliseconds.map { .after(milliseconds: $0) } ?? .never
        if waitsForReady { options.waitsForReady = true }
        return options
    }

    /// Reads a server stream until it ends or `body` returns false.
    ///
    /// - Parameters:
    ///   - name: The method.
    ///   - request: Its request.
    ///   - isEndless: The stream may take longer than a call.
    ///   - body: Takes the messages.
    /// - Throws: ``CallFailure``, and what `body` throws.
    func stream(
        _ name: String, _ request: DynamicMessage, isEndless: Bool = false,
        _ body: (DynamicMessage) throws -> Bool
    ) async throws {
        let method = MethodSchema.named(name)
        do {
            let messages = client.serverStream(
                path: method.path, message: try method.request.encode(request),
                options: options(isEndless ? nil : timeoutMilliseconds))
            for try await message in messages {
                guard try body(try decode(message, method)) else { return }
            }
        } catch let error as RPCError {
            throw CallFailure(error: error)
        }
    }

    /// Follows a watch, over lost connections too, until it ends.
    func follow(
        _ watch: Watch, from revision: Int64 = 0, _ body: (WatchEvent) -> Void
    ) async throws {
        do throws(RPCError) {
            try await watch.follow(client, from: revision, options: options(nil)) { event in
                if case .interrupted(let error) = event {
                    let why = Output.visible("\(error.message) (\(error.reason))")
                    StandardStream.error.write(
                        "triagectl: the watch was interrupted and goes on: \(why)\n")
                }
                body(event)
                return true
            }
        } catch {
            throw CallFailure(error: error)
        }
    }

    /// Sends many messages over one client stream.
    func upload(
        _ name: String, _ requests: [DynamicMessage], timeoutMilliseconds: Int64
    ) async throws -> DynamicMessage {
        let method = MethodSchema.named(name)
        let messages = try requests.map { try method.request.encode($0) }
        let reply: [UInt8]
        do throws(RPCError) {
            reply = try await client.clientStream(
                path: method.path, options: options(timeoutMilliseconds)
            ) { call throws(RPCError) in
                for message in messages { try await call.send(message) }
            }
        } catch {
            throw CallFailure(error: error)
        }
        return try decode(reply, method)
    }
}

extension AsyncParsableCommand {
    /// Runs `body`; a failed call ends the process with its message and its exit code.
    func reportingFailures(_ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let failure as CallFailure {
            StandardStream.error.write("triagectl: \(failure)\n")
            throw failure.exitCode
        } catch let failure as CommandFailure {
            StandardStream.error.write("triagectl: \(failure)\n")
            throw failure.exitCode
        } catch let error as DynamicMessageError {
            StandardStream.error.write("triagectl: \(error)\n")
            throw ExitCode(6)
        }
    }
}
