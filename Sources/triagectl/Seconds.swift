// A time that is given on the command line.

internal import ArgumentParser

/// Seconds, up to a year, to the millisecond.
struct Seconds: ExpressibleByArgument {
    let milliseconds: Int64

    private static let range = 0...31_536_000.0

    init?(argument: String) {
        guard let seconds = Double(argument), Self.range.contains(seconds) else { return nil }
        milliseconds = Int64(seconds * 1_000)
    }

    init(_ seconds: Int64) { milliseconds = seconds * 1_000 }

    var defaultValueDescription: String { String(milliseconds / 1_000) }
}
