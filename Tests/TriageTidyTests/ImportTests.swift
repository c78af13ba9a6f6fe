// The import arrows of the architecture, read from every file. The table here is the one place that
// says what a module may import; a change of it is a change of the architecture and belongs in the
// same commit as the code that needs it.

import Foundation
import Testing

@Suite("Import arrows")
struct ImportTests {
    /// What each target may import.
    ///
    /// `Swift`'s own `Synchronization` is free to all.
    static let allowed: [String: Set<String>] = [
        "TriageBase": [],
        "TriageIO": ["TriageBase", "CTriageShims", "Glibc"],
        "TriageCrypto": ["TriageBase", "COpenSSL"],
        "TriageDomain": ["TriageBase"],
        "TriageJournal": ["TriageBase", "TriageIO", "TriageCrypto"],
        "TriageCodec": [
            "TriageBase", "TriageDomain", "CTriageProtos", "CProtobufC", "CTriageShims",
        ],
        "TriageGRPC": ["TriageBase"],
        "TriageTLS": ["TriageBase", "COpenSSL", "CTriageShims"],
        "TriageHTTP2": ["TriageBase", "CNghttp2", "CTriageShims"],
        "TriageEngine": [
            "TriageBase", "TriageIO", "TriageCrypto", "TriageDomain", "TriageCodec",
            "TriageJournal",
        ],
        "TriageGzip": ["TriageBase", "CZlib"],
        "TriageTransport": [
            "TriageBase", "TriageIO", "TriageTLS", "TriageHTTP2", "TriageGRPC", "TriageGzip",
        ],
        "TriageServices": [
            "TriageBase", "TriageGRPC", "TriageEngine", "TriageCodec", "TriageDomain",
        ],
        "TriageClient": [
            "TriageBase", "TriageTransport", "TriageGRPC", "TriageCodec", "TriageDomain",
            // JSON only, of service configurations.
            "FoundationEssentials",
        ],
        // The daemon wires everything below it, but never speaks HTTP/2 or touches C itself.
        "triaged": [
            "TriageBase", "TriageIO", "TriageCrypto", "TriageJournal", "TriageEngine",
            "TriageCodec", "TriageDomain",
            "TriageGRPC", "TriageTLS", "TriageTransport", "TriageServices",
            "ArgumentParser", "Logging", "Yams",
        ],
        // A client only: nothing of the server's half.
        "triagectl": [
            "TriageBase", "TriageIO", "TriageClient", "TriageGRPC", "TriageTransport",
            "TriageCodec",
            "TriageDomain", "ArgumentParser", "Histogram", "Yams",
            "Foundation",
        ],
        // Measuring commands of the project, run by Deploy/bench; no product.
        "triage-index-bench": ["TriageBase", "TriageDomain", "Histogram"],
        "triage-journal-bench": ["TriageBase", "TriageIO", "TriageJournal", "Histogram"],
    ]

    /// C targets have no Swift imports, but must be known here, so that none appears unnoticed.
    static let cTargets: Set<String> = [
        "CNghttp2", "COpenSSL", "CProtobufC", "CZlib", "CTriageShims", "CTriageProtos",
    ]

    static func findings(in file: SourceFile) -> [String] {
        guard let target = file.target else { return [] }
        guard let allowed = allowed[target] else {
            return [
                file.finding(1, "target \(target) is not in the table of ImportTests: add its row")
            ]
        }
        var findings: [String] = []
        for (index, line) in file.code.enumerated() {
            guard let module = importedModule(line) else { continue }
            if line.contains("@_exported") {
                findings.append(
                    file.finding(index + 1, "re-exports \(module): import it where it is used"))
            }
            if module != "Synchronization" && !allowed.contains(module) {
                findings.append(
                    file.finding(
                        index + 1,
                        """
                        \(target) may not import \(module), only \(allowed.sorted()); \
                        move the code, or pass the value in from the row above
                        """))
            }
        }
        return findings
    }

    /// `package import struct TriageBase.Instant` gives `TriageBase`.
    static func importedModule(_ line: Substring) -> String? {
        let kinds: Set<Substring> = [
            "struct", "class", "enum", "protocol", "func", "var", "let", "typealias", "actor",
        ]
        let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
        guard let at = words.firstIndex(of: "import"), at + 1 < words.count else { return nil }
        let modifiers: Set<Substring> = [
            "private", "fileprivate", "internal", "package", "public", "@testable", "@_exported",
            "@preconcurrency", "@_implementationOnly",
        ]
        guard words[..<at].allSatisfy({ modifiers.contains($0) }) else { return nil }
        let name =
            kinds.contains(words[at + 1]) && at + 2 < words.count ? words[at + 2] : words[at + 1]
        return name.split(separator: ".").first.map(String.init)
    }

    @Test("every import under Sources is one that the architecture allows")
    func importsFollowTheArrows() throws {
        let files = try SourceTree.swiftFiles(in: "Sources")
        let findings = files.flatMap(Self.findings(in:))
        #expect(files.count > 5, "the test must see the sources")
        #expect(findings.isEmpty, report(findings))
    }

    @Test("every folder under Sources is known")
    func targetsAreKnown() throws {
        let folders = Set(
            try SourceTree.paths().compactMap { SourceFile(path: $0, text: "").target })
        let sources = folders.filter {
            FileManager.default.fileExists(
                atPath: SourceTree.root.appendingPathComponent("Sources/\($0)").path)
        }
        let unknown = sources.subtracting(Self.allowed.keys).subtracting(Self.cTargets).sorted()
        #expect(unknown.isEmpty, "add to the tables of ImportTests: \(unknown)")
    }

    @Test(
        "a forbidden import is found, with or without modifiers",
        arguments: [
            "import Foundation", "internal import TriageIO",
            "package import struct TriageIO.Socket",
            "@preconcurrency internal import Glibc", "@_exported import TriageBase",
        ])
    func forbiddenImport_isFound(line: String) {
        let file = SourceFile(path: "Sources/TriageDomain/World.swift", text: "// x\n\(line)\n")
        #expect(Self.findings(in: file).count == 1)
        #expect(
            Self.findings(in: file).first?.hasPrefix("Sources/TriageDomain/World.swift:2:") == true)
    }

    @Test(
        "comments, strings and allowed imports are not findings",
        arguments: [
            "// import Foundation", "let text = \"import Foundation\"", "package import TriageBase",
            "internal import Synchronization", "/* import Glibc */",
        ])
    func allowedLine_isNoFinding(line: String) {
        let file = SourceFile(path: "Sources/TriageDomain/World.swift", text: line)
        #expect(Self.findings(in: file).isEmpty)
    }
}
