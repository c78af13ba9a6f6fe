// Memory that runs out in OpenSSL: its n-th allocation fails, over all n of contexts, handshakes
// and an exchange. The session may fail; nothing may trap, and the next one must be whole again.

import COpenSSL
import Glibc
import Synchronization
import TestSupport
import Testing
import TriageBase
import TriageTLS

/// OpenSSL's allocator of this process, once it is installed.
private enum FailingAllocator {
    static let count = Atomic<Int>(0)
    /// Which one fails; 0: none.
    static let failsAt = Atomic<Int>(0)
    /// All those after it fail as well.
    static let failsForGood = Atomic<Bool>(false)

    /// Must come before OpenSSL's first allocation in the process.
    static func install() -> Bool {
        unsafe CRYPTO_set_mem_functions(
            { size, _, _ in FailingAllocator.mayGo() ? unsafe malloc(size) : nil },
            { old, size, _, _ in FailingAllocator.mayGo() ? unsafe realloc(old, size) : nil },
            { old, _, _ in unsafe free(old) }) == 1
    }

    private static func mayGo() -> Bool {
        let number = count.add(1, ordering: .relaxed).newValue
        let failing = failsAt.load(ordering: .relaxed)
        guard failing > 0 else { return true }
        return failsForGood.load(ordering: .relaxed) ? number < failing : number != failing
    }

    static func arm(_ number: Int, forGood: Bool = false) {
        count.store(0, ordering: .relaxed)
        failsForGood.store(forGood, ordering: .relaxed)
        failsAt.store(number, ordering: .relaxed)
    }
}

/// What is tried: everything that the server does for a connection.
private struct Attempt {
    let fixture: TLSFixture
    let ada: CertificateFixture.Identity
    let server: CertificateFixture.Identity
    let list: String

    init() throws {
        fixture = try TLSFixture()
        ada = try fixture.certificates.leaf("ada")
        server = try fixture.certificates.server()
        list = try fixture.certificates.revocationList("list")
    }

    /// True when bytes went both ways under the right name.
    func connect(_ server: TLSContext, _ client: TLSContext) -> Bool {
        do {
            var pair = try TLSPair(server, client)
            pair.handshake()
            guard pair.serverOutcome == .open, pair.clientOutcome == .open,
                pair.server.peerPrincipal?.text == "spiffe://triage.example/specialist/ada"
            else { return false }
            let sent = [UInt8](repeating: 9, count: 20_000)
            guard try TLSPair.send(sent, from: pair.client, to: pair.server) == sent,
                try TLSPair.send(sent, from: pair.server, to: pair.client) == sent
            else { return false }
            pair.server.close()
            return pair.server.refusal(under: server) == nil
        } catch {
            return false
        }
    }

    /// A context and two connections, the second of which may resume.
    func whole() -> Bool {
        guard let server = try? fixture.serverContext(server, crl: list),
            let client = try? fixture.clientContext(ada)
        else { return false }
        return connect(server, client) && connect(server, client)
    }
}

@Suite struct MemoryFaultTests {
    /// In a process of its own, because the allocator is the process's.
    @Test func anyAllocationOfOpenSSL_mayFail() async {
        await #expect(processExitsWith: .success) {
            guard FailingAllocator.install() else { fatalError("OpenSSL has allocated before") }
            let attempt = try Attempt()
            // What OpenSSL makes once a process is made now.
            guard attempt.whole() else { fatalError("without a fault all is well") }
            FailingAllocator.arm(0)
            guard attempt.whole() else { fatalError("and again") }
            let total = FailingAllocator.count.load(ordering: .relaxed)
            guard total > 1_000 else { fatalError("\(total) allocations are not all") }
            // Twenty milliseconds each: all of them only with Deploy/test --long.
            let step = unsafe getenv("TRIAGED_LONG") == nil ? 31 : 1
            for number in stride(from: 1, through: total, by: step) {
                FailingAllocator.arm(number)
                _ = attempt.whole()
            }
            for number in stride(from: 1, through: total, by: 7 * step) {
                FailingAllocator.arm(number, forGood: true)
                _ = attempt.whole()
            }
            FailingAllocator.arm(0)
            guard attempt.whole() else { fatalError("whole again afterwards") }
        }
    }
}
