// One line on a terminal that says how far something is: a bar, the rate, what is left. Where
// nobody watches, in a pipe or a log, it says nothing.

package import TriageBase

/// Shows on standard error how much of something is done.
package struct ProgressBar {
    /// What is counted.
    package enum Unit: Sendable {
        case bytes, segments
    }

    private let stream: StandardStream
    private let clock: any TimeSource
    private let isShown: Bool
    private var step = ""
    private var start = MonotonicTime(nanoseconds: 0)
    private var shownAfter: UInt64?

    /// What is left between two lines that are written over each other.
    private static let interval: UInt64 = 100_000_000
    private static let width = 30

    /// A bar that shows nothing yet.
    ///
    /// - Parameters:
    ///   - stream: Where it is shown, if that is a terminal.
    ///   - clock: Tells the rate.
    package init(on stream: StandardStream = .error, clock: any TimeSource = SystemClock()) {
        self.stream = stream
        self.clock = clock
        isShown = stream.isTerminal
    }

    /// Shows how far a step is; another step begins another line.
    ///
    /// - Parameters:
    ///   - step: What is being done, in one word.
    ///   - done: How many are done.
    ///   - total: How many there are.
    ///   - unit: What is counted.
    package mutating func show(
        _ step: String, _ done: Int, of total: Int, _ unit: Unit = .bytes
    ) {
        guard isShown else { return }
        if step != self.step {
            finish()
            self.step = step
            start = clock.monotonicTime()
        }
        let spent = clock.monotonicTime().nanoseconds(since: start)
        if let shownAfter, done < total, spent < shownAfter + Self.interval { return }
        shownAfter = spent
        // The second part clears what a longer line has left.
        let line = Self.line(step, done, of: total, unit, nanoseconds: spent)
        stream.write("\r\(line)\u{1B}[K")
    }

    /// Ends the line, so that other text can follow.
    package mutating func finish() {
        if isShown, shownAfter != nil { stream.write("\n") }
        shownAfter = nil
        step = ""
    }

    /// The line that is shown.
    ///
    /// - Parameters:
    ///   - step: What is being done.
    ///   - done: How many are done.
    ///   - total: How many there are.
    ///   - unit: What is counted.
    ///   - nanoseconds: Since the step began.
    /// - Returns: Bar, percents, counts, rate, and the time that is left at that rate.
    package static func line(
        _ step: String, _ done: Int, of total: Int, _ unit: Unit = .bytes, nanoseconds: UInt64
    ) -> String {
        func size(_ count: Int) -> String {
            unit == .bytes ? Self.size(count) : "\(count) segments"
        }
        let share = total > 0 ? min(1, Double(done) / Double(total)) : 1
        let filled = Int(share * Double(width))
        let bar =
            String(repeating: "#", count: filled) + String(repeating: "-", count: width - filled)
        var line = "\(step) [\(bar)] \(Int(share * 100)) %  \(size(done)) of \(size(total))"
        let seconds = Double(nanoseconds) / 1e9
        guard done > 0, seconds > 0 else { return line }
        let rate = Double(done) / seconds
        line += "  \(size(Int(rate)))/s"
        let left = (Double(total) - Double(done)) / rate
        guard done < total, left < 1e9 else { return line }
        return line + "  \(time(Int(left.rounded(.up)))) left"
    }

    private static func size(_ bytes: Int) -> String {
        if bytes < 1 << 20 { return "\((bytes + 1023) >> 10) KiB" }
        let (unit, shift) = bytes < 1 << 30 ? ("MiB", 20) : ("GiB", 30)
        let tenths = (bytes >> (shift - 4)) * 10 / 16
        return "\(tenths / 10).\(tenths % 10) \(unit)"
    }

    private static func time(_ seconds: Int) -> String {
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let (minutes, rest) = seconds.quotientAndRemainder(dividingBy: 60)
        guard minutes >= 60 else { return "\(minutes):\(two(rest))" }
        return "\(minutes / 60):\(two(minutes % 60)):\(two(rest))"
    }
}
