// The command line of the simulation: which seeds, for how long, and what is printed.

internal import ArgumentParser
internal import Glibc
internal import Simulation
internal import TriageBase
internal import TriageIO

/// Runs seeds until one breaks a promise.
struct SimulationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "triage-simulation",
        abstract: "Run the engine, journal and snapshots on a simulated disk under seeds.",
        discussion:
            "Ends with 1 at the first seed that breaks a promise, and says how to repeat it.")

    @Option(help: "How many seeds.")
    var seeds: UInt64?
    @Option(help: "For how many seconds.")
    var seconds: Double?
    @Option(help: "The first seed; any text is taken, such as a commit's hash.")
    var seed = "1"
    @Flag(help: "Print every step. Alone: of one seed.")
    var trace = false
    @Flag(help: "Print how often what happened.")
    var counts = false

    mutating func run() throws {
        let first = UInt64(seed) ?? Hash128(of: seed.utf8.span, seed: 0).low
        let limit = seeds ?? (seconds == nil ? 1 : .max)
        let clock = ContinuousClock()
        let end = seconds.map { clock.now + .seconds($0) }
        var total: [String: Int] = [:]
        var done: UInt64 = 0
        LastWords.install()
        while done < limit, end.map({ clock.now < $0 }) ?? true {
            let seed = first &+ done
            LastWords.seed(seed)
            let result = Simulation.run(seed: seed, reader: trace ? { Self.say($0) } : nil)
            done += 1
            for (what, times) in result.counts { total[what, default: 0] += times }
            if trace { Self.say("hash \(String(result.hash, radix: 16))") }
            if let violation = result.violation {
                Self.say("seed \(seed): \(violation)\n\(LastWords.advice(seed))")
                throw ExitCode(1)
            }
            if done % 1_000 == 0 { Self.say("\(done) seeds") }
        }
        if counts {
            for (what, times) in total.sorted(by: { $0.key < $1.key }) {
                Self.say("\(times)\t\(what)")
            }
        }
        Self.say("\(done) seeds from \(first): every promise was kept")
    }
}

extension SimulationCommand {
    /// Prints a line, at once: the process may end in the next one.
    private static func say(_ line: String) { StandardStream.output.write(line + "\n") }
}

/// What is said when the process ends in the middle of a seed, by a trap or because it hangs.
private enum LastWords {
    /// Bytes of what is to be written; changed before each seed, read by the handler.
    nonisolated(unsafe) private static let text = UnsafeMutablePointer<CChar>.allocate(
        capacity: 512)
    /// Longest that a seed may take.
    private static let secondsMax: UInt32 = 300

    static func advice(_ seed: UInt64) -> String {
        "repeat it with: Deploy/soak storage --seed \(seed) --trace"
    }

    static func install() {
        for number in [SIGILL, SIGTRAP, SIGSEGV, SIGABRT, SIGALRM] {
            signal(number) { number in
                unsafe _ = write(2, LastWords.text, strlen(LastWords.text))
                signal(number, SIG_DFL)
                raise(number)
            }
        }
    }

    static func seed(_ seed: UInt64) {
        let words = Array("seed \(seed) trapped or hung\n\(advice(seed))\n".utf8CString)
        for (index, byte) in words.prefix(511).enumerated() { unsafe text[index] = byte }
        unsafe text[511] = 0
        _ = alarm(secondsMax)
    }
}
