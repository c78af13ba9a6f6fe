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

    var description: String {
        var text = error.message
        for violation in error.fieldViolations {
            text += "\n  \(violation.field): \(violation.description)"
        }
        if let delay = error.retryAfterMilliseconds { text += "\n  try again in \(delay) ms" }
        return "\(text)\n  (\(error.code.name), \(error.reason))"
    }

    /// Exit codes as `triagectl --help` lists them.
    var exitCode: ExitCode {
        switch error.code {
        case .ok: .success
        case .notFound: ExitCode(3)
        case .permissionDenied, .unauthenticated: ExitCode(4)
        case .failedPrecondition, .aborted, .alreadyExists: ExitCode(5)
        case .invalidArgument, .outOfRange: ExitCode(6)
        case .unavailable, .deadlineExceeded, .cancelled: ExitCode(7)
        case .resourceExhausted: ExitCode(8)
        case .unknown, .unimplemented, .internal, .dataLoss: ExitCode(1)
        }
    }
}

/// A connected client that speaks dynamic messages.
struct CommandClient: Sendable {
    private let client: TriageClient

    /// Prepares a client; it connects with the first call.
    init(_ configuration: ClientConfiguration) throws {
        do {
            client = try TriageClient(configuration)
        } catch {
            throw CallFailure(error: error)
        }
    }

    /// Closes the connection.
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
                timeoutMilliseconds: timeoutMilliseconds)
        } catch let error as RPCError {
            throw CallFailure(error: error)
        }
        return try method.reply.decode(reply.span)
    }

    /// Reads a server stream until it ends or `body` returns false.
    func stream(
        _ name: String, _ request: DynamicMessage, _ body: (DynamicMessage) throws -> Bool
    ) async throws {
        let method = MethodSchema.named(name)
        do {
            let messages = client.serverStream(
                path: method.path, message: try method.request.encode(request))
            for try await message in messages {
                guard try body(try method.reply.decode(message.span)) else { return }
            }
        } catch let error as RPCError {
            throw CallFailure(error: error)
        }
    }

    /// Sends many messages over one client stream.
    func upload(
        _ name: String, _ requests: [DynamicMessage], timeoutMilliseconds: Int64
    ) async throws -> DynamicMessage {
        let method = MethodSchema.named(name)
        let reply: [UInt8]
        do {
            reply = try await client.clientStream(
                path: method.path, messages: try requests.map { try method.request.encode($0) },
                timeoutMilliseconds: timeoutMilliseconds)
        } catch let error as RPCError {
            throw CallFailure(error: error)
        }
        return try method.reply.decode(reply.span)
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
        } catch let error as DynamicMessageError {
            StandardStream.error.write("triagectl: \(error)\n")
            throw ExitCode(6)
        }
    }
}
