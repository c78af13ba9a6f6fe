// What lies in the repository: the top level that the architecture fixes, no file that no target
// uses, no private key, and a README whose map is the tree.

import Foundation
import Testing

@Suite("Tree")
struct TreeTests {
    /// The top level, fixed by the architecture.
    ///
    /// Hidden files that tools expect may stand beside it.
    static let places = [
        "Package.swift", "Sources", "Tests", "Protos", "Certs", "Deploy", "README.md",
    ]
    static let hidden: Set<String> = [".ci", ".swift-format", ".gitignore"]

    @Test("the top level holds what the architecture names, and nothing else")
    func topLevelIsFixed() throws {
        let top = Set(
            try SourceTree.paths().compactMap { $0.split(separator: "/").first.map(String.init) })
        let strangers = top.subtracting(Self.places).subtracting(Self.hidden).sorted()
        #expect(strangers.isEmpty, "move these below one of \(Self.places): \(strangers)")
    }

    @Test("every source folder and file belongs to a target")
    func everyFileHasATarget() throws {
        let manifest = try SourceTree.read("Package.swift").lines.joined(separator: "\n")
        // Suites in other languages, and data that Swift tests read.
        let notSwift: Set<String> = ["EndToEnd", "Fixtures", "Interop", "Fuzz"]
        var findings: [String] = []
        for path in try SourceTree.paths() {
            let file = SourceFile(path: path, text: "")
            if path.hasPrefix("Sources/") || path.hasPrefix("Tests/") {
                guard let target = file.target else {
                    if !path.hasSuffix(".md") { findings.append("\(path): move it into a target") }
                    continue
                }
                if notSwift.contains(target) { continue }
                let place = path.split(separator: "/").prefix(2).joined(separator: "/")
                if !manifest.contains("\"\(target)\"") && !manifest.contains("\"\(place)\"") {
                    findings.append(
                        "\(path): no target \(target) in Package.swift: add or delete it")
                }
                let known = [".swift", ".c", ".h", ".modulemap"].contains { path.hasSuffix($0) }
                let name = path.split(separator: "/")[2]
                if !known && !manifest.contains("\"\(name)\"") {
                    findings.append(
                        "\(path): not compiled: exclude it in Package.swift, or delete it")
                }
            }
        }
        #expect(findings.isEmpty, report(findings))
    }

    @Test("every door that the server opens has a socket unit that names it")
    func everyDoorHasASocketUnit() throws {
        let doors = try SourceTree.read("Sources/triaged/Doors.swift").lines
        let names = doors.compactMap { line in
            line.firstMatch(of: #/case "([a-z]+)": \./#).map { String($0.1) }
        }.filter { $0 != "required" && $0 != "optional" }
        #expect(names == ["partner", "external"], "Doors.swift names its doors in another way")
        for name in names {
            let unit = try SourceTree.read("Deploy/systemd/triaged-\(name).socket").lines
            #expect(unit.contains("FileDescriptorName=\(name)"), "triaged-\(name).socket")
        }
    }

    /// Whether text holds a PEM private key.
    ///
    /// The marker is spelled in halves so as not to find itself.
    static func holdsPrivateKey(_ text: String) -> Bool {
        let marker = "PRIVATE" + " KEY-----"
        return text.split(separator: "\n").contains {
            $0.hasPrefix("-----BEGIN ") && $0.hasSuffix(marker)
        }
    }

    @Test("no private key is committed")
    func noPrivateKey() throws {
        let findings = try SourceTree.paths().filter { path in
            try path.hasSuffix(".key") || path.hasSuffix(".p12")
                || Self.holdsPrivateKey(SourceTree.read(path).lines.joined(separator: "\n"))
        }
        #expect(findings.isEmpty, "remove, and consider the keys known: \(findings)")
    }

    @Test("a private key is found")
    func privateKey_isFound() {
        #expect(Self.holdsPrivateKey("x\n-----BEGIN EC PRIVATE" + " KEY-----\nabc"))
        #expect(!Self.holdsPrivateKey("-----BEGIN CERTIFICATE-----"))
    }

    /// Backticked paths of a Markdown text that begin with one of the top-level places.
    static func mentionedPaths(in text: String) -> [String] {
        let pieces = text.split(separator: "`", omittingEmptySubsequences: false)
        var found: [String] = []
        for index in stride(from: 1, to: pieces.count, by: 2) {
            guard var path = pieces[index].split(separator: " ").first else { continue }
            if path.hasPrefix("./") { path = path.dropFirst(2) }
            if path.hasSuffix("/") { path = path.dropLast() }
            if places.contains(where: { path == $0 || path.hasPrefix($0 + "/") }) {
                found.append(String(path))
            }
        }
        return found
    }

    @Test("the README's map is the tree")
    func readmeMapIsTheTree() throws {
        let text = try SourceTree.read("README.md").lines.joined(separator: "\n")
        let mentioned = Set(Self.mentionedPaths(in: text))
        let missing = Self.places.filter { $0 != "README.md" && !mentioned.contains($0) }
        #expect(missing.isEmpty, "the README's map leaves out \(missing)")
        let paths = try SourceTree.paths()
        // Made by `Deploy/run`, not committed.
        let made = ["Certs/dev", "Deploy/data", "Deploy/.venv"]
        let gone = mentioned.filter { place in
            !paths.contains { $0 == place || $0.hasPrefix(place + "/") }
                && !made.contains { place == $0 || place.hasPrefix($0 + "/") }
        }
        #expect(gone.isEmpty, "the README names what is not there: \(gone.sorted())")
    }

    /// What a Markdown text names as tests: suites or their files, `Suite.test`, `test_name`,
    /// `test_file.py`.
    static func namedTests(in text: String) -> [(suite: String, test: String?)] {
        let pieces = text.split(separator: "`", omittingEmptySubsequences: false)
        var found: [(String, String?)] = []
        for index in stride(from: 1, to: pieces.count, by: 2) {
            let words = pieces[index].split(separator: ".", maxSplits: 1).map(String.init)
            guard let first = words.first, !first.contains("/"), !first.contains(" ") else {
                continue
            }
            if first.hasPrefix("test_") {
                found.append((words.count > 1 ? "\(first).py" : "", words.count > 1 ? nil : first))
            } else if first.hasSuffix("Tests"), !first.contains("*") {
                found.append((first, words.count > 1 ? words[1] : nil))
            }
        }
        return found
    }

    @Test("the tests that Tests/README.md names are there")
    func namedTests_areThere() throws {
        let named = Self.namedTests(
            in: try SourceTree.read("Tests/README.md").lines.joined(separator: "\n"))
        #expect(named.count > 40)
        let swift = try SourceTree.swiftFiles(in: "Tests")
        let python = try SourceTree.paths().filter {
            $0.hasPrefix("Tests/") && $0.hasSuffix(".py")
        }
        let pythonText = try python.map { try SourceTree.read($0).lines.joined(separator: "\n") }
        let gone = named.filter { suite, test in
            if suite.hasSuffix(".py") { return !python.contains { $0.hasSuffix("/" + suite) } }
            if suite.isEmpty {
                return !pythonText.contains { $0.contains("def \(test ?? "")(") }
            }
            if suite.hasPrefix("Triage") {
                return !swift.contains { $0.path.hasPrefix("Tests/\(suite)/") }
            }
            return !swift.contains { file in
                guard
                    file.path.hasSuffix("/\(suite).swift")
                        || file.lines.contains(where: { $0.contains("struct \(suite) ") })
                else { return false }
                guard let test else { return true }
                return file.lines.contains { $0.contains("func \(test)(") }
            }
        }
        #expect(gone.isEmpty, "named, but not there: \(gone)")
    }

    @Test("scripts are executable and say which shell they need")
    func scriptsAreExecutable() throws {
        var findings: [String] = []
        for path in try SourceTree.paths() {
            let isScript =
                path.hasPrefix("Deploy/") || path.hasPrefix("Certs/") || path.hasPrefix(".ci/")
            let url = SourceTree.root.appendingPathComponent(path)
            guard isScript, !url.lastPathComponent.contains("."),
                try SourceTree.read(path).lines.first?.hasPrefix("#!") == true
            else { continue }
            if !FileManager.default.isExecutableFile(atPath: url.path) {
                findings.append("\(path): chmod +x")
            }
        }
        #expect(findings.isEmpty, report(findings))
    }
}
