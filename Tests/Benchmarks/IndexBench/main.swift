// Measures the priority index, one JSON object a line: name, value, unit, reach, holds.
// `triage-index-bench [CASES]`; 1,000,000 cases unless told otherwise. The reaches stand for a
// million cases on one core of the machine that the shared design's performance page describes.

let cases = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 1_000_000
IndexBench(cases: cases).run()
ContainerBench(count: cases).run()
