// A vault in memory behind the services' door, which answers when the test lets it: what was asked
// stands in order, and each step can be held back or made to fail.

import TestSupport
import TriageBase
import TriageCodec
import TriageDomain
import TriageIO

@testable import TriageEngine
@testable import TriageServices

/// A vault that a test drives.
///
/// `@unchecked Sendable`: used by the test's thread only.
final class FakeVault: VaultDoor, VaultKeeper, @unchecked Sendable {
    private var sink: (any VaultSink)?
    private var waiting: [(request: VaultRequest, call: UInt64)] = []
    private var puts: [UInt64: [UInt8]] = [:]
    private var reads: [UInt64: [[UInt8]]] = [:]
    private var nextName: UInt64 = 1
    /// What is stored, by name.
    var objects: [ObjectName: [UInt8]] = [:]
    var erased: [ObjectName] = []
    /// What the next request of a call is answered with, instead of what it asks.
    var failure: VaultFailure?
    /// Holds everything back that is asked from now on.
    var isHeld = false
    /// What a key that is asked for is.
    var answer: KeyAnswer? = KeyAnswer(number: 3, objects: 0)

    func connect(reactor: Int, sink: any VaultSink) { self.sink = sink }

    func submit(_ request: VaultRequest, call: UInt64, reactor: Int) {
        waiting.append((request, call))
    }

    /// Whether something waits to be done.
    var hasWork: Bool { !isHeld && !waiting.isEmpty }

    /// Does what was asked, in order.
    func run() {
        while hasWork {
            let (request, call) = waiting.removeFirst()
            guard let reply = carryOut(request, call) else { continue }
            sink?.deliver(call, reply)
        }
    }

    private func carryOut(_ request: VaultRequest, _ call: UInt64) -> VaultReply? {
        if case .cancel = request {
            puts[call] = nil
            reads[call] = nil
            return nil
        }
        if let failure {
            self.failure = nil
            puts[call] = nil
            reads[call] = nil
            return .failed(failure)
        }
        switch request {
        case .begin:
            puts[call] = []
            return .ready
        case .append(let bytes):
            puts[call]?.append(contentsOf: bytes)
            return .ready
        case .finish(let expected):
            guard let bytes = puts.removeValue(forKey: call) else { return .failed(.failed) }
            let sha256 = SHA256.hash(bytes.span)
            if let expected, expected != sha256 { return .failed(.otherDigest) }
            let name = ObjectName(Digest(nextName, 0, 0, 7))
            nextName += 1
            objects[name] = bytes
            return .stored(name, sha256: sha256)
        case .open(let name, _):
            guard let bytes = objects[name] else { return .failed(.damaged) }
            reads[call] = stride(from: 0, to: bytes.count, by: 4).map {
                Array(bytes[$0..<min($0 + 4, bytes.count)])
            }
            return .opened
        case .next:
            guard let chunks = reads[call] else { return .failed(.failed) }
            guard let first = chunks.first else { return .ended }
            reads[call] = Array(chunks.dropFirst())
            return .chunk(first)
        case .erase(let name):
            erase([name])
            return .erased
        case .cancel: return nil
        }
    }

    // MARK: The engine's side

    func erase(_ names: [ObjectName]) {
        erased += names
        for name in names { objects[name] = nil }
    }

    func renew(_ purpose: KeyPurpose, report: @escaping @Sendable (KeyAnswer?) -> Void) {
        report(answer)
    }

    var status: VaultStatus { VaultStatus() }
}
