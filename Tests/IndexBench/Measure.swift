// The command, timing and printing: `triage-index-bench [CASES]` prints one JSON object a line with
// name, values, unit and what is asked for; Deploy/bench index judges them. 1,000,000 cases unless
// told otherwise; the reaches stand for that many on one core of the machine that the shared
// design's performance page describes.

internal import Glibc

/// Measures everything.
func runBenchmarks(arguments: [String]) {
    let cases = arguments.dropFirst().first.flatMap { Int($0) } ?? 1_000_000
    // First, while the process is small: it weighs what a case adds to it.
    WorldBench(count: cases).run()
    IndexBench(cases: cases).run()
    ContainerBench(count: cases).run()
}

/// Nanoseconds of processor time that `body` takes, in steps of 1,000.
///
/// Not elapsed time, so that waiting for a processor on a shared machine does not count.
func nanoseconds(_ body: () -> Void) -> Double {
    let start = clock()
    body()
    return Double(clock() - start) * (1e9 / Double(CLOCKS_PER_SEC))
}

/// Nanoseconds that pass while `body` runs; for what is over in a few microseconds.
func elapsedNanoseconds(_ body: () -> Void) -> Double {
    Double(ContinuousClock().measure(body).components.attoseconds) / 1e9
}

/// The median over batches of what `body` takes for one of `items`, in nanoseconds.
///
/// Batches, so that a neighbour's burst on a shared machine does not pass for our own cost.
func medianNanoseconds<Item>(_ items: [Item], _ body: (Item) -> Void) -> Double {
    let batch = max(1, items.count / 20)
    var times: [Double] = []
    for start in stride(from: 0, to: items.count, by: batch) {
        let part = items[start..<min(items.count, start + batch)]
        times.append(nanoseconds { for item in part { body(item) } } / Double(part.count))
    }
    return times.sorted()[times.count / 2]
}

/// Prints one result; `reach` is the most that it may be.
func report(
    _ name: String, _ value: Double, _ unit: String, reach: Double, of part: String = "index"
) {
    let shown = Double(Int(value * 1_000 + 0.5)) / 1_000
    print(
        """
        {"name":"\(part).\(name)","values":[\(shown)],"unit":"\(unit)","at_most":\(reach)}
        """)
}

/// Keeps a result from being optimised away.
@inline(never)
func keep<Value>(_ value: Value) {}
