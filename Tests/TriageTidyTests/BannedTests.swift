// Words and calls that this code base does without, each with what to write instead. A rule is a
// row of the table; where it does not hold is part of the row.

import Foundation
import Testing

@Suite("Banned calls")
struct BannedTests {
    /// One thing not to write.
    struct Rule {
        let name: String
        /// Matched against each line with comments and strings blanked.
        let pattern: String
        let instead: String
        /// Path prefixes where it does not hold.
        var exempt: [String] = []
        /// Path prefixes where alone it holds.
        var only: [String] = ["Sources/"]
    }

    /// Where raw memory may be touched: the six wrappers of C, the index's storage and that of
    /// calls.
    static let rawMemory = [
        "Sources/TriageIO/", "Sources/TriageCrypto/", "Sources/TriageTLS/", "Sources/TriageHTTP2/",
        "Sources/TriageCodec/",
        "Sources/TriageGzip/",
        "Sources/TriageDomain/Index/",
        "Sources/TriageTransport/Slab.swift",
    ]
    static let executables = [
        "Sources/triaged/", "Sources/triagectl/", "Sources/triage-index-bench/",
        "Sources/triage-journal-bench/",
    ]

    static let rules: [Rule] = [
        Rule(
            name: "unsafe", pattern: #"\bunsafe\b|\bUnsafe[A-Z]|\bOpaquePointer\b|\bwithUnsafe"#,
            instead: "take a Span, or move the code into the module that wraps the C library",
            exempt: rawMemory),
        Rule(
            name: "unstructured task", pattern: #"\bTask(\.detached)?(\s*<[^>]*>)?\s*(\{|\()"#,
            instead: "use a task group, or Task.immediate on the call's reactor, cancelled with it",
            only: ["Sources/", "Tests/"]),
        Rule(
            name: "side effect in a precondition",
            pattern:
                #"\b(precondition|assert)\s*\(.*\b((SSL|BIO|ERR|X509|EVP|nghttp2)_\w+|"#
                + #"write|read|insert|remove\w*|append|pop\w*|next|close)\("#,
            instead:
                "call first, keep the result, then check it: the condition may not be evaluated"),
        Rule(
            name: "print", pattern: #"(?<![.\w])(debugPrint|print|dump)\("#,
            instead: "return the text, or log it where the process is put together",
            exempt: executables),
        Rule(
            name: "sleep", pattern: #"\b(usleep|nanosleep|Thread\.sleep)\b|(?<![.\w])sleep\("#,
            instead: "wait for the event itself, or make the clock an input",
            // Here is where the clock and the pause that others take as an input come from.
            exempt: ["Sources/TriageIO/"], only: ["Sources/", "Tests/"]),
        Rule(
            name: "sleeping task", pattern: #"\bTask\.sleep\b"#,
            instead: "wait for the event itself, or make the clock an input",
            exempt: ["Sources/triagectl/"], only: ["Sources/", "Tests/"]),
        Rule(
            name: "public", pattern: #"^\s*(@\w+(\([^)]*\))?\s+)*(public|open)\s"#,
            instead: "package: nobody outside this package links these modules"),
        Rule(
            name: "untyped throw at a seam",
            pattern: #"^\s*(@\w+(\([^)]*\))?\s+)*package\b.*\bthrows\b(?!\()"#,
            instead: "name the error: throws(JournalError)"),
        Rule(
            name: "unseeded randomness",
            pattern: #"\.(random\(in: [^,]*\)|shuffled\(\)|randomElement\(\))|\bUUID\(\)"#,
            instead: "take a generator of TriageBase, so that a run can be repeated from its seed",
            // Names of temporary directories.
            exempt: ["Tests/TestSupport/"], only: ["Sources/", "Tests/"]),
        Rule(
            name: "clock in the rules",
            pattern: #"\b(ContinuousClock|SuspendingClock|clock_gettime|Date)\b"#,
            instead: "the time is an input: take `now` from the command",
            only: ["Sources/TriageDomain/", "Sources/TriageGRPC/", "Sources/TriageHTTP2/"]),
        Rule(
            name: "forced try", pattern: #"\btry!|\bas!"#,
            instead: "handle the error, or state the invariant with `invariant(...)`",
            only: ["Sources/", "Tests/"]),
        Rule(
            name: "test framework", pattern: #"\bXCTest\b"#,
            instead: "Swift Testing", only: ["Tests/"]),
    ]

    static func findings(in file: SourceFile, _ rules: [Rule] = rules) throws -> [String] {
        var findings: [String] = []
        for rule in rules {
            let holds =
                rule.only.contains { file.path.hasPrefix($0) }
                && !rule.exempt.contains { file.path.hasPrefix($0) }
            guard holds else { continue }
            let pattern = try NSRegularExpression(pattern: rule.pattern)
            for (index, line) in file.code.enumerated() {
                let text = String(line)
                let range = NSRange(text.startIndex..., in: text)
                if pattern.firstMatch(in: text, range: range) != nil {
                    findings.append(
                        file.finding(index + 1, "\(rule.name); instead: \(rule.instead)"))
                }
            }
        }
        return findings
    }

    /// An `@unchecked Sendable` or `@safe` without the argument for it in a comment close above.
    static func unargued(in file: SourceFile) -> [String] {
        file.code.enumerated().compactMap { index, line in
            guard line.contains("@unchecked Sendable") || line.contains("@safe") else { return nil }
            let above = file.lines[max(0, index - 12)...index]
            let isArgued = above.contains { $0.contains("//") }
            return isArgued
                ? nil : file.finding(index + 1, "say in a comment why the promise holds")
        }
    }

    /// A closure in main.swift traps on the first foreign thread that runs it.
    static func closures(in file: SourceFile) -> [String] {
        guard file.path.hasSuffix("/main.swift") else { return [] }
        return file.code.enumerated().compactMap { index, line in
            line.contains("{")
                ? file.finding(
                    index + 1, "main.swift is one call: form closures in another file") : nil
        }
    }

    @Test("no banned call")
    func nothingBanned() throws {
        let files =
            try SourceTree.swiftFiles(in: "Sources", "Tests") + [SourceTree.read("Package.swift")]
        var findings: [String] = []
        for file in files where file.target != "TriageTidyTests" {
            findings += try Self.findings(in: file)
            findings += Self.closures(in: file)
            if file.path.hasPrefix("Sources/") { findings += Self.unargued(in: file) }
        }
        #expect(findings.isEmpty, report(findings))
    }

    /// -Ounchecked drops checks that the server needs to start; others need a decision.
    @Test("the one compiler flag is the decided one")
    func flagsDecided() throws {
        let decided =
            #".unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),"#
        let flags = try SourceTree.read("Package.swift").lines
            .map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { $0.contains("unsafeFlags") || $0.contains("unchecked") }
        #expect(flags == [decided])
    }

    @Test("nothing is put off")
    func nothingPutOff() throws {
        // Spelled in halves, so that this file does not find itself.
        let words = ["TO" + "DO", "FIX" + "ME", "XX" + "X:", "HA" + "CK:"]
        var findings: [String] = []
        let text = [".swift", ".c", ".h", ".proto", ".py", ".sh", ".md", ".yaml", ".yml"]
        for path in try SourceTree.paths() {
            let isText = text.contains { path.hasSuffix($0) } || !path.contains(".")
            guard isText, !path.hasPrefix("Sources/CTriageProtos/") else { continue }
            let file = try SourceTree.read(path)
            for (index, line) in file.lines.enumerated()
            where words.contains(where: { line.contains($0) }) {
                findings.append(file.finding(index + 1, "do it now, or file an issue and say so"))
            }
        }
        #expect(findings.isEmpty, report(findings))
    }

    @Test(
        "each rule finds what it bans",
        arguments: [
            "let p: UnsafeRawPointer", "nonisolated(unsafe) var x = 1", "Task { await x() }",
            "Task.detached { }", "let t = Task(priority: .high) {",
            "precondition(set.insert(1).inserted)",
            "assert(SSL_accept(ssl) == 1)", "print(\"x\")", "usleep(3)", "sleep(1)",
            "try await Task.sleep(for: .seconds(1))", "public struct S {}",
            "package func f() throws -> Int {", "Int.random(in: 0..<3)",
            "let all = list.shuffled()",
            "let now = ContinuousClock.now", "let v = try! f()",
        ])
    func bannedLine_isFound(line: String) throws {
        let file = SourceFile(path: "Sources/TriageDomain/World.swift", text: line)
        #expect(try Self.findings(in: file).count == 1, "\(line)")
    }

    @Test(
        "what only looks like it is not found",
        arguments: [
            "// print(x)", "let text = \"Task { }\"", "Task.immediate(executorPreference: loop) {",
            "printer.print(x)", "package func f() throws(JournalError) -> Int {",
            "precondition(count > 0)", "precondition(index < list.count)",
            "withTaskGroup(of: T.self) {",
            "Int.random(in: 0..<3, using: &generator)", "list.shuffled(using: &generator)",
            "let x = publicKey", "await clock.sleep(until: deadline)",
            "package func f() rethrows {",
        ])
    func harmlessLine_isNotFound(line: String) throws {
        let file = SourceFile(path: "Sources/TriageDomain/World.swift", text: line)
        #expect(try Self.findings(in: file).isEmpty, "\(line)")
    }

    @Test("a closure in main.swift is found, and a promise without an argument")
    func closureAndPromise_areFound() {
        let main = SourceFile(path: "Sources/triaged/main.swift", text: "run { 1 }\n")
        #expect(Self.closures(in: main).count == 1)
        let bare = SourceFile(
            path: "Sources/TriageIO/A.swift", text: "final class A: @unchecked Sendable {}")
        let argued = SourceFile(
            path: "Sources/TriageIO/A.swift",
            text: "// One thread owns it.\nfinal class A: @unchecked Sendable {}")
        #expect(Self.unargued(in: bare).count == 1)
        #expect(Self.unargued(in: argued).isEmpty)
    }
}
