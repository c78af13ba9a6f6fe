// What every subcommand needs: which server, as whom, and how to print.

internal import ArgumentParser
internal import TriageBase
internal import TriageClient
internal import TriageCodec
internal import TriageGRPC
internal import TriageIO

/// Options that every subcommand takes.
struct GlobalOptions: ParsableArguments {
    @Option(
        help: """
            HOST:PORT of the server, or several with commas between: the first that answers is \
            used, and another when it fails. Environment: TRIAGED_SERVER.
            """)
    var server: String?
    @Option(
        help: "Act as NAME: NAME.crt, NAME.key and ca.crt of the folder --certs. TRIAGED_IDENTITY.")
    var identity: String?
    @Option(help: "Folder of identities. Environment: TRIAGED_CERTS; default Certs/dev.")
    var certs: String?
    @Option(help: "Certificates that the server's must chain to, PEM; overrides --certs.")
    var ca: String?
    @Option(help: "Client certificate chain, PEM; overrides --identity.")
    var cert: String?
    @Option(help: "Its private key, PEM; overrides --identity.")
    var key: String?
    @Option(name: .customLong("server-name"), help: "Name that the server's certificate must have.")
    var serverName: String = "localhost"
    @Option(help: "Seconds to wait for an answer; default 30, and 600 for a snapshot.")
    var timeout: Seconds?
    @Flag(
        name: .customLong("wait-for-ready"),
        help: "Wait, no longer than --timeout, while no server answers.")
    var waitForReady = false
    @Flag(help: "Say on standard error what happens to connections, and what is tried again.")
    var verbose = false
    @Flag(help: "Print JSON, as the protobuf JSON mapping has it.")
    var json = false

    /// Where the server is and how to authenticate to it, from flags, then environment, then
    /// defaults.
    func clientConfiguration() throws -> ClientConfiguration {
        let addresses = server ?? Environment.value("TRIAGED_SERVER") ?? "127.0.0.1:8443"
        let named = addresses.split(separator: ",", omittingEmptySubsequences: false)
        let targets = named.compactMap { Endpoint(String($0)) }
        guard targets.count == named.count else {
            throw ValidationError(
                "--server takes HOST:PORT, such as 127.0.0.1:8443, or several with commas between")
        }
        let folder = certs ?? Environment.value("TRIAGED_CERTS") ?? "Certs/dev"
        let name = identity ?? Environment.value("TRIAGED_IDENTITY")
        guard let certificate = cert ?? name.map({ "\(folder)/\($0).crt" }),
            let privateKey = key ?? name.map({ "\(folder)/\($0).key" })
        else {
            throw ValidationError(
                "say who you are: --identity NAME (see \(folder)), or --cert and --key")
        }
        var configuration = ClientConfiguration(
            targets: targets, serverTrust: ca ?? "\(folder)/ca.crt",
            certificateChain: certificate, privateKey: privateKey, serverName: serverName)
        // A command makes a call or two: a connection to every server would be for nothing.
        configuration.service.balancing = .pickFirst
        if verbose {
            configuration.events = {
                StandardStream.error.write("triagectl: \(Output.visible("\($0)"))\n")
            }
        }
        return configuration
    }

    /// Opens a client.
    func client() throws -> CommandClient {
        try CommandClient(
            try clientConfiguration(), timeoutMilliseconds: timeoutMilliseconds,
            waitsForReady: waitForReady)
    }

    /// Acts as a development identity when neither flag nor environment says who.
    mutating func actByDefault(as name: String) {
        guard identity == nil, cert == nil, Environment.value("TRIAGED_IDENTITY") == nil else {
            return
        }
        identity = name
    }

    /// The timeout of most calls as a whole number of milliseconds, at least 1.
    var timeoutMilliseconds: Int64 { timeoutMilliseconds(orElse: Seconds(30)) }

    /// The timeout as a whole number of milliseconds, at least 1; `seconds` when the user does not
    /// say.
    private func timeoutMilliseconds(orElse seconds: Seconds) -> Int64 {
        max(1, (timeout ?? seconds).milliseconds)
    }

    /// Makes one unary call.
    ///
    /// - Parameters:
    ///   - method: The method.
    ///   - request: Its request.
    ///   - seconds: How long it may take when the user does not say.
    /// - Returns: The reply.
    /// - Throws: ``CallFailure`` when the server refuses or cannot be reached.
    func call(
        _ method: String, _ request: DynamicMessage, seconds: Seconds = Seconds(30)
    ) async throws -> DynamicMessage {
        try await withClient { client in
            try await client.call(
                method, request, timeoutMilliseconds: timeoutMilliseconds(orElse: seconds))
        }
    }

    /// Reads pages of a list until enough is there, or all.
    ///
    /// - Parameters:
    ///   - method: The method.
    ///   - request: Its request, without size and token.
    ///   - items: Field of a page that has what is listed.
    ///   - limit: Enough.
    /// - Returns: The pages, in order.
    /// - Throws: ``CallFailure``.
    func pages(
        _ method: String, _ request: DynamicMessage, of items: String, limit: Int64
    ) async throws -> [DynamicMessage] {
        try await withClient { client in
            var pages: [DynamicMessage] = []
            var left = limit
            var token = ""
            repeat {
                var part = request
                part["page_size"] = .int(min(left, 1_000))
                if !token.isEmpty { part["page_token"] = .string(token) }
                let page = try await client.call(
                    method, part, timeoutMilliseconds: timeoutMilliseconds)
                pages.append(page)
                left -= Int64(page.messages(items).count)
                token = page.text("next_page_token")
            } while left > 0 && !token.isEmpty
            return pages
        }
    }

    /// Opens a client for as long as `body` runs.
    func withClient<Value>(
        _ body: (CommandClient) async throws -> Value
    ) async throws -> Value {
        let client = try client()
        defer { client.close() }
        return try await body(client)
    }
}

/// Request ids, for writes that the user did not name, and for the parts of one that is several.
enum RequestIDText {
    /// The id of one of the writes that a command makes under one id, the same each time.
    ///
    /// - Parameters:
    ///   - id: The command's.
    ///   - part: Which of its writes.
    /// - Returns: A UUID of version 8.
    /// - Throws: `ValidationError` when `id` is no UUID.
    ///
    /// Source: RFC 9562 §5.8
    static func derived(from id: String, _ part: String) throws -> String {
        guard let id = RequestID(uuid: id.utf8.span) else {
            throw ValidationError("--request-id takes a UUID that is not all zeros")
        }
        let digest = SHA256.hash(Array("\(id.uuidText)/\(part)".utf8).span)
        let high = digest.words.0 & ~0xF000 | 0x8000
        let low = digest.words.1 & ~(3 << 62) | (2 << 62)
        return RequestID(high: high, low: low).uuidText
    }

    /// A random (version 4) UUID.
    static func fresh() -> String {
        var generator = SystemRandomNumberGenerator()
        let high = generator.next() & ~0xF000 | 0x4000
        let low = generator.next() & ~(3 << 62) | (2 << 62)
        return RequestID(high: high, low: low).uuidText
    }
}
