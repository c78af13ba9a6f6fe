// Printing: the protobuf JSON mapping, tables, and colours that appear on a terminal only.

internal import TriageBase
internal import TriageCodec
internal import TriageIO

/// What the subcommands print with.
enum Output {
    /// Prints a line.
    static func line(_ text: String) {
        StandardStream.output.write(text + "\n")
    }

    /// Prints a text that ends its lines itself.
    static func text(_ text: String) { StandardStream.output.write(text) }

    /// Prints a message as one line of JSON.
    static func json(_ message: DynamicMessage) {
        line(JSONMapping.text(.message(message)))
    }

    /// Text that people wrote, so that none of it reads as our own lines or moves the cursor.
    ///
    /// - Parameters:
    ///   - text: Any text.
    ///   - margin: Stands before each line behind the first one; nil: all is kept in one line.
    /// - Returns: The text, with control characters and those that turn the direction of writing as
    ///   `\u{..}`.
    static func visible(_ text: String, margin: String? = nil) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x0A where margin != nil: out += "\n" + (margin ?? "")
            case 0..<0x20, 0x7F...0x9F, 0x202A...0x202E, 0x2066...0x2069:
                out += "\\u{" + String(scalar.value, radix: 16) + "}"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }

    /// Wraps `text` in a colour when a terminal shows it.
    static func coloured(_ text: String, _ colour: Colour) -> String {
        guard StandardStream.output.isTerminal, Environment.value("NO_COLOR") == nil else {
            return text
        }
        return "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m"
    }

    /// ANSI colours.
    enum Colour: String {
        case red = "1;31"
        case yellow = "33"
        case green = "32"
        case dim = "2"
    }

    /// The colour of a level; nil for the usual one.
    static func colour(ofLevel level: String) -> Colour? {
        switch level {
        case "P0": .red
        case "P1": .yellow
        default: nil
        }
    }
}

/// A table with a header, columns as wide as their widest cell.
struct Table {
    private var rows: [[String]]
    private let header: [String]
    private var colours: [Output.Colour?] = []

    /// Starts a table.
    init(_ header: [String]) {
        self.header = header
        rows = []
    }

    /// Adds a row, in a colour if any.
    mutating func add(_ cells: [String], colour: Output.Colour? = nil) {
        precondition(cells.count == header.count, "a row has as many cells as the header")
        rows.append(cells.map { Output.visible($0) })
        colours.append(colour)
    }

    /// The lines of the table.
    var lines: [String] {
        let widths = header.indices.map { column in
            ([header] + rows).map { $0[column].count }.max() ?? 0
        }
        func line(_ cells: [String]) -> String {
            zip(cells, widths).map { cell, width in
                cell + String(repeating: " ", count: width - cell.count)
            }.joined(separator: "  ").trimmedEnd
        }
        return [Output.coloured(line(header), .dim)]
            + zip(rows, colours).map { row, colour in
                colour.map { Output.coloured(line(row), $0) } ?? line(row)
            }
    }

    /// Prints it.
    func print() {
        for line in lines { Output.line(line) }
    }
}

extension String {
    fileprivate var trimmedEnd: String {
        var end = endIndex
        while end > startIndex, self[index(before: end)] == " " { end = index(before: end) }
        return String(self[..<end])
    }
}
