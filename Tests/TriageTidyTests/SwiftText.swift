// Turns Swift source into the same text with comments and string contents blanked, so that rules
// can look for words and braces without a parser. It knows comments, strings (raw, multi-line) and
// interpolation, and nothing else of the language.

/// Swift source without what only people read.
enum SwiftText {
    private enum Mode {
        /// Code; inside an interpolation `parentheses` counts down to its end.
        case code(interpolation: Bool, parentheses: Int)
        case string(hashes: Int, multiline: Bool)
    }

    private static let newline = UInt8(ascii: "\n")
    private static let quote = UInt8(ascii: "\"")
    private static let hash = UInt8(ascii: "#")
    private static let slash = UInt8(ascii: "/")
    private static let star = UInt8(ascii: "*")
    private static let space = UInt8(ascii: " ")

    /// Blanks comments and string contents; lines and columns (in bytes) stay where they were.
    static func code(of text: String) -> String {
        var scanner = Scanner(bytes: Array(text.utf8))
        scanner.run()
        return String(decoding: scanner.output, as: UTF8.self)
    }

    private struct Scanner {
        let bytes: [UInt8]
        var output: [UInt8] = []
        private var at = 0
        private var modes: [Mode] = [.code(interpolation: false, parentheses: 0)]

        init(bytes: [UInt8]) {
            self.bytes = bytes
            output.reserveCapacity(bytes.count)
        }

        mutating func run() {
            while at < bytes.count {
                switch modes[modes.count - 1] {
                case .code(let interpolation, let parentheses):
                    scanCode(interpolation: interpolation, parentheses: parentheses)
                case .string(let hashes, let multiline):
                    scanString(hashes: hashes, multiline: multiline)
                }
            }
        }

        private func peek(_ offset: Int) -> UInt8 {
            at + offset < bytes.count ? bytes[at + offset] : 0
        }

        private func count(of byte: UInt8, from offset: Int) -> Int {
            var count = 0
            while peek(offset + count) == byte { count += 1 }
            return count
        }

        private mutating func emit(_ count: Int) {
            output.append(contentsOf: bytes[at..<min(at + count, bytes.count)])
            at += count
        }

        private mutating func blank(_ count: Int) {
            for byte in bytes[at..<min(at + count, bytes.count)] {
                output.append(byte == newline ? newline : space)
            }
            at += count
        }

        private mutating func scanCode(interpolation: Bool, parentheses: Int) {
            if peek(0) == slash && peek(1) == slash {
                while at < bytes.count && peek(0) != newline { blank(1) }
                return
            }
            if peek(0) == slash && peek(1) == star {
                blankBlockComment()
                return
            }
            let hashes = count(of: hash, from: 0)
            if peek(hashes) == quote {
                let multiline = count(of: quote, from: hashes) >= 3
                emit(hashes + (multiline ? 3 : 1))
                modes.append(.string(hashes: hashes, multiline: multiline))
                return
            }
            if interpolation && (peek(0) == UInt8(ascii: "(") || peek(0) == UInt8(ascii: ")")) {
                let left = parentheses + (peek(0) == UInt8(ascii: "(") ? 1 : -1)
                modes.removeLast()
                if left > 0 { modes.append(.code(interpolation: true, parentheses: left)) }
            }
            emit(max(1, hashes))
        }

        private mutating func blankBlockComment() {
            var depth = 0
            repeat {
                if peek(0) == slash && peek(1) == star {
                    depth += 1
                    blank(2)
                } else if peek(0) == star && peek(1) == slash {
                    depth -= 1
                    blank(2)
                } else {
                    blank(1)
                }
            } while depth > 0 && at < bytes.count
        }

        private mutating func scanString(hashes: Int, multiline: Bool) {
            if peek(0) == UInt8(ascii: "\\") && count(of: hash, from: 1) >= hashes {
                if peek(1 + hashes) == UInt8(ascii: "(") {
                    emit(2 + hashes)
                    modes.append(.code(interpolation: true, parentheses: 1))
                } else {
                    blank(2 + hashes)
                }
                return
            }
            let quotes = multiline ? 3 : 1
            let closes =
                count(of: quote, from: 0) >= quotes && count(of: hash, from: quotes) >= hashes
            if closes {
                emit(quotes + hashes)
                modes.removeLast()
            } else if peek(0) == newline && !multiline {
                emit(1)
                modes.removeLast()
            } else {
                blank(1)
            }
        }
    }
}
