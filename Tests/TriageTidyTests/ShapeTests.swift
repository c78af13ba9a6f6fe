// Sizes: functions, files, columns. They say where the limits are and what to do about a find; they
// do not know what code means.

import Testing

@Suite("Shape")
struct ShapeTests {
    static let functionLinesMax = 70
    static let fileLinesMax = 600
    static let columnsMax = 100

    /// Functions that are longer, each with the length it may have and no more: the ratchet.
    ///
    /// A function that got shorter lowers its number, one that fits leaves the list.
    static let longFunctions: [String: Int] = [:]

    struct Function: Equatable {
        let name: String
        let line: Int
        let lineCount: Int
    }

    /// Functions, initialisers and subscripts with a body, and their length from name to brace.
    static func functions(in file: SourceFile) -> [Function] {
        let text = Array(file.code.joined(separator: "\n").utf8)
        var found: [Function] = []
        var line = 1
        var at = 0
        var wordStart: Int?
        while at <= text.count {
            let byte = at < text.count ? text[at] : UInt8(ascii: "\n")
            let isWord =
                (byte >= 0x61 && byte <= 0x7A) || (byte >= 0x41 && byte <= 0x5A) || byte == 0x5F
                || (byte >= 0x30 && byte <= 0x39) || byte == UInt8(ascii: ".")
            if isWord {
                if wordStart == nil { wordStart = at }
            } else if let start = wordStart {
                wordStart = nil
                let word = String(decoding: text[start..<at], as: UTF8.self)
                let isCall = word == "init" && (start > 0 && text[start - 1] == UInt8(ascii: "."))
                if ["func", "init", "deinit", "subscript"].contains(word) && !isCall,
                    let count = bodyLineCount(text, from: at)
                {
                    let name = word == "func" ? nameAfter(text, at) : word
                    found.append(Function(name: name, line: line, lineCount: count))
                }
            }
            if byte == UInt8(ascii: "\n") { line += 1 }
            at += 1
        }
        return found
    }

    private static func nameAfter(_ text: [UInt8], _ start: Int) -> String {
        let rest = text[start...].drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "`") }
        let stops: Set<UInt8> = [0x28, 0x3C, 0x20, 0x0A, 0x60]
        return String(decoding: rest.prefix { !stops.contains($0) }, as: UTF8.self)
    }

    /// Lines from a declaration's word to its closing brace; nil when it has no body.
    private static func bodyLineCount(_ text: [UInt8], from start: Int) -> Int? {
        let goesOn = ["{", "where", "throws", "rethrows", "async", "->"]
        var depth = 0
        var at = start
        var lines = 1
        while at < text.count {
            switch text[at] {
            case UInt8(ascii: "("), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: ")"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: "}") where depth == 0: return nil
            case UInt8(ascii: "{") where depth == 0:
                return closingBrace(text, from: at, lines: lines)
            case UInt8(ascii: "\n"):
                lines += 1
                guard depth == 0 else { break }
                let next = text[(at + 1)...].drop { $0 == 0x20 || $0 == 0x0A }.prefix(9)
                let head = String(decoding: next, as: UTF8.self)
                if !goesOn.contains(where: head.hasPrefix) { return nil }
            default: break
            }
            if depth < 0 { return nil }
            at += 1
        }
        return nil
    }

    private static func closingBrace(_ text: [UInt8], from start: Int, lines: Int) -> Int? {
        var depth = 0
        var lines = lines
        for byte in text[start...] {
            if byte == UInt8(ascii: "{") { depth += 1 }
            if byte == UInt8(ascii: "\n") { lines += 1 }
            if byte == UInt8(ascii: "}") {
                depth -= 1
                if depth == 0 { return lines }
            }
        }
        return nil
    }

    static func longLines(in file: SourceFile) -> [String] {
        file.lines.enumerated().compactMap { index, line in
            // A URL cannot be wrapped.
            guard line.utf8.count > columnsMax, line.count > columnsMax, !line.contains("://")
            else {
                return nil
            }
            return file.finding(index + 1, "\(line.count) columns, \(columnsMax) at most: wrap it")
        }
    }

    @Test("functions have 70 lines at most")
    func functionsAreShort() throws {
        var findings: [String] = []
        var unused = Self.longFunctions
        var count = 0
        for file in try SourceTree.swiftFiles(in: "Sources", "Tests") {
            for function in Self.functions(in: file) {
                count += 1
                let key = "\(file.path) \(function.name)"
                let allowed = unused.removeValue(forKey: key)
                if function.lineCount > allowed ?? Self.functionLinesMax {
                    findings.append(
                        file.finding(
                            function.line,
                            """
                            \(function.name) has \(function.lineCount) lines, \
                            \(allowed ?? Self.functionLinesMax) at most: split it by input
                            """))
                } else if let allowed, function.lineCount < allowed {
                    findings.append(
                        "longFunctions: lower \(key) to \(function.lineCount), or drop it")
                }
            }
        }
        findings += unused.keys.map { "longFunctions: \($0) is gone, drop it" }
        #expect(count > 50, "the test must see the functions")
        #expect(findings.isEmpty, report(findings))
    }

    @Test("files have 600 lines at most")
    func filesAreShort() throws {
        let files = try SourceTree.swiftFiles(in: "Sources", "Tests").filter { !$0.isGenerated }
        let findings = files.filter { $0.lines.count > Self.fileLinesMax + 1 }.map {
            $0.finding(
                $0.lines.count, "\(Self.fileLinesMax) lines at most: split the file by what it does"
            )
        }
        #expect(findings.isEmpty, report(findings))
    }

    @Test("lines have 100 columns at most")
    func linesAreShort() throws {
        let endings = [".swift", ".c", ".h", ".py", ".sh"]
        let findings = try SourceTree.paths()
            .filter { path in endings.contains { path.hasSuffix($0) } }
            .map(SourceTree.read).filter { !$0.isGenerated }
            .flatMap(Self.longLines(in:))
        #expect(findings.isEmpty, report(findings))
    }

    @Test("the length of a function is counted from its name to its brace")
    func functionLength_isCounted() {
        let text = """
            protocol P {
                func requirement(_ a: Int)
                init(b: Int) throws
            }
            struct S {
                init() { self = .init(a: 1) }
                /// func comment() {
                func long(
                    a: Int = { 3 }()
                )
                    throws(E) -> Int
                where T: P {
                    let text = "func no() { \\(call { $0 }) "
                    return 1
                }
                var x: Int { 1 }
            }
            """
        let functions = Self.functions(in: SourceFile(path: "Sources/X/S.swift", text: text))
        #expect(
            functions == [
                Function(name: "init", line: 6, lineCount: 1),
                Function(name: "long", line: 8, lineCount: 8),
            ])
    }

    @Test("a line over the limit is found, a URL is not")
    func longLine_isFound() {
        let long = String(repeating: "é", count: 101)
        let file = SourceFile(
            path: "Sources/X/S.swift",
            text: "\(String(long.dropLast()))\n\(long)\n// https://\(long)")
        #expect(Self.longLines(in: file).count == 1)
        #expect(Self.longLines(in: file).first?.hasPrefix("Sources/X/S.swift:2:") == true)
    }
}
