// The real figures that a replay is drawn from, read from the bundled sample (or a folder of the
// same form). See Deploy/sample/README.md for the columns and where they come from.

internal import ArgumentParser
internal import TriageBase
internal import TriageIO

/// Shapes and shares of real arrivals and responses.
struct ReplayData: Sendable {
    /// One surge of reports about few incidents.
    struct Surge {
        var name: String
        var country: String
        /// Offsets of arrivals from its start, ascending, milliseconds.
        var arrivals: [Int64]
        /// Where its busiest ten minutes begin.
        var peakOffset: Int64
    }

    /// How long a responder took to react and to handle a call of a priority.
    struct Response {
        var reactionSeconds: Double
        var handlingSeconds: Double
    }

    /// 168 weights: Monday 00 h first.
    var hourWeights: [Double]
    /// Calls by priority letter: O, A, B, C, D, E.
    var priorities: Weighted<String>
    var responses: [String: [Response]]
    /// Kinds of harm: the emergency slice of one platform's decisions, in its own mix.
    var families: Weighted<String>
    var languages: Weighted<String>
    var countries: Weighted<String>
    var surges: [Surge]

    /// Reads a folder.
    ///
    /// - Parameter folder: Laid out as `Deploy/sample`.
    /// - Throws: `ValidationError` naming file and line.
    init(folder: String) throws {
        let hours = try CSVFile(path: "\(folder)/dispatch/hours.csv")
        hourWeights = try hours.rows.map { try hours.number($0, "call_count") }
        guard hourWeights.count == 168 else {
            throw ValidationError("\(folder)/dispatch/hours.csv: 168 rows are wanted, one an hour")
        }
        priorities = try Weighted(
            CSVFile(path: "\(folder)/dispatch/priorities.csv"), "priority", "call_count")
        let calls = try CSVFile(path: "\(folder)/dispatch/responses.csv")
        responses = [:]
        for row in calls.rows {
            responses[try calls.text(row, "priority"), default: []].append(
                Response(
                    reactionSeconds: try calls.number(row, "reaction_s"),
                    handlingSeconds: try calls.number(row, "handling_s")))
        }
        families = try Weighted(
            CSVFile(path: "\(folder)/dsa/categories.csv"), "category", "decision_count",
            { HarmFamilyNames.ofCategory[$0] })
        languages = try Weighted(
            CSVFile(path: "\(folder)/ncmec/languages.csv"), "language", "share")
        countries = try Weighted(
            CSVFile(path: "\(folder)/ncmec/countries.csv"), "country", "report_count")
        let index = try CSVFile(path: "\(folder)/crisislex/surges.csv")
        surges = try index.rows.map { row in
            let name = try index.text(row, "surge")
            let file = try CSVFile(path: "\(folder)/crisislex/\(name).csv")
            return Surge(
                name: name, country: try index.text(row, "country"),
                arrivals: try file.rows.map { Int64(try file.number($0, "offset_ms")) },
                peakOffset: Int64(try index.number(row, "peak_offset_ms")))
        }
    }
}

/// A discrete distribution.
struct Weighted<Value: Sendable>: Sendable {
    private let values: [Value]
    private let cumulative: [Double]

    /// - Precondition: As many weights as values, none negative, some positive.
    init(_ pairs: [(Value, Double)]) {
        values = pairs.map(\.0)
        var sum = 0.0
        cumulative = pairs.map { pair in
            sum += pair.1
            return sum
        }
        precondition(sum > 0, "a distribution needs weight")
    }

    /// Draws a value.
    func draw(_ random: inout SeededRandom) -> Value {
        let point = random.unit() * (cumulative.last ?? 0)
        var low = 0
        var high = values.count - 1
        while low < high {
            let middle = (low + high) / 2
            if cumulative[middle] > point { high = middle } else { low = middle + 1 }
        }
        return values[low]
    }
}

extension Weighted where Value == String {
    /// Adds up a file's weights by what `name` makes of a value; rows where it is nil are left out.
    init(
        _ file: CSVFile, _ column: String, _ weight: String,
        _ name: (String) -> String? = { $0 }
    ) throws {
        var sums: [String: Double] = [:]
        for row in file.rows {
            guard let value = name(try file.text(row, column)) else { continue }
            sums[value, default: 0] += try file.number(row, weight)
        }
        guard sums.values.contains(where: { $0 > 0 }) else {
            throw ValidationError("\(file.path): has no usable row")
        }
        self.init(sums.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
    }
}

/// A CSV file of the sample: a header, then rows without quoting.
struct CSVFile {
    let path: String
    let rows: [(line: Int, cells: [Substring])]
    private let columns: [String: Int]

    /// Reads a file whole.
    init(path: String) throws {
        self.path = path
        let text: String
        do {
            text = try TextFile.read(path: path, bytesMax: 64 << 20)
        } catch {
            throw ValidationError("\(path): \(error); --sample names a folder like Deploy/sample")
        }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        let header = lines.first?.split(separator: ",") ?? []
        columns = Dictionary(
            uniqueKeysWithValues: header.enumerated().map { (String($1), $0) })
        rows = lines.dropFirst().enumerated().map { index, line in
            (index + 2, line.split(separator: ",", omittingEmptySubsequences: false))
        }
    }

    /// A cell as text.
    func text(_ row: (line: Int, cells: [Substring]), _ column: String) throws -> String {
        guard let index = columns[column] else {
            throw ValidationError("\(path):1: has no column \(column)")
        }
        guard index < row.cells.count else {
            throw ValidationError("\(path):\(row.line): has too few cells")
        }
        return String(row.cells[index])
    }

    /// A cell as a number.
    func number(_ row: (line: Int, cells: [Substring]), _ column: String) throws -> Double {
        guard let value = Double(try text(row, column)) else {
            throw ValidationError("\(path):\(row.line): \(column) is not a number")
        }
        return value
    }
}
