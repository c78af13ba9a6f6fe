// `triagectl evidence`: what was seen or handed over, attached to a case, read on record, erased.

internal import ArgumentParser
internal import TriageBase
internal import TriageCodec
internal import TriageIO

/// Attaches, lists, reads and erases evidence.
struct EvidenceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evidence",
        abstract: "Attach, list, read or erase the evidence of a case.",
        subcommands: [Add.self, List.self, Read.self, Erase.self, EraseTexts.self])

    /// Attaches a file.
    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Attach a file to a case; returns when it is on disk, encrypted.",
            discussion: "The file's SHA-256 is sent along, and other bytes are refused. Give a "
                + "--request-id to repeat safely.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "cases/{case}")
        var name: String
        @Argument(help: "The file.")
        var file: String
        @Option(name: .customLong("media-type"), help: "Such as video/mp4.")
        var mediaType: String
        @Option(help: "What it shows.")
        var caption: String?
        @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
        var requestID: String?

        /// Bytes of a message: a quarter of a megabyte is in flight, and another one read.
        private static let chunkBytes = 256 << 10

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                let messages = try command.messages()
                let reply = try await command.global.withClient { client in
                    try await client.upload(
                        "AttachEvidence", messages,
                        timeoutMilliseconds: command.global.timeoutMilliseconds)
                }
                if command.global.json { return Output.json(reply) }
                Output.line(Shown.evidence(reply))
            }
        }

        private func messages() throws -> [DynamicMessage] {
            let chunks = try Self.read(file)
            var hash = SHA256()
            for chunk in chunks { hash.update(chunk.span) }
            var start = DynamicMessage()
            start["request_id"] = .string(requestID ?? RequestIDText.fresh())
            start["case"] = .string(name)
            start["media_type"] = .string(mediaType)
            if let caption { start["caption"] = .string(caption) }
            start["size_bytes"] = .int(Int64(chunks.reduce(0) { $0 + $1.count }))
            start["sha256"] = .string(hash.finalize().description)
            var first = DynamicMessage()
            first["start"] = .message(start)
            return [first]
                + chunks.map { chunk in
                    var message = DynamicMessage()
                    message["chunk"] = .bytes(chunk)
                    return message
                }
        }

        private static func read(_ path: String) throws -> [[UInt8]] {
            do throws(IOError) {
                let handle = try FileHandle(path: path, access: .read)
                guard try handle.size() <= Limits.objectBytesMax else {
                    throw IOError(.read, path: path, .fileTooLarge)
                }
                var chunks: [[UInt8]] = []
                var offset = 0
                while true {
                    var chunk = [UInt8](repeating: 0, count: chunkBytes)
                    var span = chunk.mutableSpan
                    let count = try handle.read(into: &span, at: offset)
                    guard count > 0 else { return chunks }
                    chunk.removeLast(chunk.count - count)
                    chunks.append(chunk)
                    offset += count
                }
            } catch {
                throw ValidationError("\(error)")
            }
        }
    }

    /// Lists evidence.
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the evidence of a case, oldest first.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "cases/{case}")
        var name: String

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var table = Table(["EVIDENCE", "STATE", "TYPE", "BYTES", "ATTACHED", "BY"])
                try await command.global.pages("ListEvidence", of: command.name) { page in
                    if command.global.json { return Output.json(page) }
                    for value in page.messages("evidence") {
                        table.add([
                            value.text("name"),
                            Shown.value(value, "state", prefix: "EVIDENCE_STATE_"),
                            value.text("media_type"), String(value.int("size_bytes")),
                            Shown.time(value.time("create_time")),
                            Shown.identity(value.text("principal")),
                        ])
                    }
                }
                if !command.global.json { table.print() }
            }
        }
    }

    /// Reads evidence.
    struct Read: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read evidence into a new file of mode 0600; the read is on record.",
            discussion: "The file gets its name only when every byte has come and its SHA-256 is "
                + "that of the evidence.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "cases/{case}/evidence/{evidence}")
        var name: String
        @Option(help: "Why you need it; recorded.")
        var purpose: String
        @Option(help: "The file; one that is there is not overwritten.")
        var out: String

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var target = try DownloadedFile(command.out)
                var request = DynamicMessage()
                request["name"] = .string(command.name)
                request["purpose"] = .string(command.purpose)
                var evidence = DynamicMessage()
                do {
                    try await command.global.withClient { client in
                        try await client.stream("ReadEvidence", request) { message in
                            if let value = message.message("evidence") {
                                evidence = value
                            } else {
                                try target.append(message.bytes("chunk"))
                            }
                            return true
                        }
                    }
                    try target.finish(expecting: evidence.text("sha256"))
                } catch {
                    target.discard()
                    throw error
                }
                if command.global.json { return Output.json(evidence) }
                Output.line("\(Shown.evidence(evidence)) in \(command.out)")
            }
        }
    }

    /// What an erasure needs.
    struct ErasureOptions: ParsableArguments {
        @Option(
            help:
                "retention-ended, data-subject-request, order or not-to-be-kept.")
        var ground: String
        @Option(name: .customLong("legal-basis"), help: "The authority relied on, verbatim.")
        var legalBasis: String
        @Option(help: "Why.")
        var reason: String

        var message: DynamicMessage {
            var erasure = DynamicMessage()
            erasure["ground"] = .enumeration(ground)
            erasure["legal_basis"] = .string(legalBasis)
            erasure["reason"] = .string(reason)
            return erasure
        }
    }

    /// Erases evidence.
    struct Erase: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Erase evidence for good; refused while a hold covers it.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "cases/{case}/evidence/{evidence}")
        var name: String
        @OptionGroup var erasure: ErasureOptions
        @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
        var requestID: String?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var request = DynamicMessage()
                request["request_id"] = .string(command.requestID ?? RequestIDText.fresh())
                request["name"] = .string(command.name)
                request["erasure"] = .message(command.erasure.message)
                let reply = try await command.global.call("EraseEvidence", request)
                if command.global.json { return Output.json(reply) }
                Output.line(Shown.evidence(reply))
            }
        }
    }

    /// Erases the words of reports.
    struct EraseTexts: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "erase-texts",
            abstract: "Erase the words of a case's reports for good; refused while it is held.")
        @OptionGroup var global: GlobalOptions
        @Argument(help: "cases/{case}")
        var name: String
        @OptionGroup var erasure: ErasureOptions
        @Option(name: .customLong("request-id"), help: "UUID; give the same one to repeat safely.")
        var requestID: String?

        mutating func run() async throws {
            let command = self
            try await reportingFailures {
                var request = DynamicMessage()
                request["request_id"] = .string(command.requestID ?? RequestIDText.fresh())
                request["case"] = .string(command.name)
                request["erasure"] = .message(command.erasure.message)
                let reply = try await command.global.call("EraseReportTexts", request)
                if command.global.json { return Output.json(reply) }
                Output.line("\(reply.text("case")) \(reply.int("report_count")) reports erased")
            }
        }
    }
}

extension GlobalOptions {
    /// Reads every page of what belongs to a case.
    func pages(
        _ method: String, of name: String, _ body: (DynamicMessage) throws -> Void
    ) async throws {
        var token = ""
        repeat {
            var request = DynamicMessage()
            request["case"] = .string(name)
            if !token.isEmpty { request["page_token"] = .string(token) }
            let page = try await call(method, request)
            try body(page)
            token = page.text("next_page_token")
        } while !token.isEmpty
    }
}

/// A file that is being written: without a name until it is whole, so that nothing is left of it
/// however this ends, or where there is no such thing under `PATH.part`.
struct DownloadedFile {
    private let path: String
    private let handle: SharedFile
    private var hash = SHA256()
    private var count = 0

    /// Begins; refuses to replace a file.
    init(_ path: String) throws {
        self.path = path
        guard FileStamp(path: path) == nil else {
            throw ValidationError("\(path) is there already: name a new file")
        }
        do throws(IOError) { handle = try SharedFile(path) } catch {
            let isThere = error.errno == .exists
            throw ValidationError("\(error)" + (isThere ? ": remove it, or name another file" : ""))
        }
    }

    /// Adds bytes.
    mutating func append(_ bytes: [UInt8]) throws {
        hash.update(bytes.span)
        do throws(IOError) { try handle.file.write(bytes.span, at: count) } catch {
            throw CommandFailure("\(error)")
        }
        count += bytes.count
    }

    /// Removes what has come: nobody is to find a part of it.
    func discard() { if let part = handle.part { try? Directory.remove(part) } }

    /// Gives the file its name if it is what it should be.
    func finish(expecting sha256: String) throws {
        guard hash.finalize().description == sha256 else {
            throw CommandFailure("\(path): the bytes that came are not the evidence")
        }
        do throws(IOError) {
            try handle.file.sync()
            if let part = handle.part {
                try Directory.rename(part, to: path)
            } else {
                try handle.file.give(name: path)
            }
            try Directory.sync(Directory.parent(of: path))
        } catch { throw CommandFailure("\(error)") }
    }
}

/// A file handle that a copyable value can hold.
private final class SharedFile {
    let file: FileHandle
    /// The name that it has until it is whole; nil: none.
    let part: String?

    init(_ path: String) throws(IOError) {
        do throws(IOError) {
            file = try FileHandle(unnamedIn: Directory.parent(of: path))
            part = nil
        } catch {
            guard error.errno == .notSupported || error.errno == .isDirectory else { throw error }
            file = try FileHandle(path: path + ".part", access: .exclusive)
            part = path + ".part"
        }
    }
}
