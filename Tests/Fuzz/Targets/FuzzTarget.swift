// What is fuzzed: one function a target, from bytes to nothing. It must not trap, and what it
// checks about the result must hold. Knows neither libFuzzer nor the test framework: Entry.swift
// and ReplayTests.swift feed it.

import TriageBase

/// A target of the fuzzer; the raw value is its name on the command line and its corpus' folder.
enum FuzzTarget: String, CaseIterable {
    /// The server's whole connection: TLS, HTTP/2, gRPC, time, handlers that answer late or never.
    case connection
    /// A session of either role with an owner that uses all of its methods.
    case http2
    /// A header list: its limits, and what gRPC makes of it.
    case headers
    /// Messages of a stream in any pieces, and gzip.
    case deframer
    /// The message validator and every decoder.
    case message
    /// Percent encoding, timeouts, status and its details.
    case text

    /// Runs one input.
    func run(_ bytes: [UInt8]) {
        switch self {
        case .connection: ConnectionFuzz.run(bytes)
        case .http2: HTTP2Fuzz.run(bytes)
        case .headers: HeaderFuzz.run(bytes)
        case .deframer: DeframerFuzz.run(bytes)
        case .message: MessageFuzz.run(bytes)
        case .text: TextFuzz.run(bytes)
        }
    }
}

/// Takes an input apart: small numbers that decide what happens, and pieces of data.
struct FuzzInput {
    private let bytes: [UInt8]
    private(set) var at = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isEmpty: Bool { at >= bytes.count }

    /// The next byte; 0 at the end.
    mutating func byte() -> UInt8 {
        guard at < bytes.count else { return 0 }
        at += 1
        return bytes[at - 1]
    }

    /// Up to so many of the next bytes.
    mutating func piece(_ count: Int) -> [UInt8] {
        let end = min(bytes.count, at + count)
        defer { at = end }
        return Array(bytes[at..<end])
    }

    /// All that is left.
    mutating func rest() -> [UInt8] { piece(.max - at) }
}

/// Checks what must hold for every input, in release builds too.
func check(_ condition: Bool, _ text: @autoclosure () -> String, line: Int = #line) {
    if !condition { fatalError("line \(line): \(text())") }
}
