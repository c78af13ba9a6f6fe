// The service manager's sockets and datagrams, and files that change.

import Glibc
import TestSupport
import Testing
import TriageIO

@Suite struct ServiceManagerTests {
    private func sockets(_ variables: [String: String], process: Int32 = 77) -> [InheritedSocket] {
        ServiceManager.inheritedSockets(environment: { variables[$0] }, process: process)
    }

    @Test func sockets_areNamed_inOrder() {
        let found = sockets(["LISTEN_PID": "77", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:partner:"])
        #expect(found.map(\.name) == ["a", "partner", ""])
        #expect(sockets(["LISTEN_PID": "77", "LISTEN_FDS": "1"]).map(\.name) == [""])
    }

    @Test(arguments: [
        [:], ["LISTEN_FDS": "1"], ["LISTEN_PID": "78", "LISTEN_FDS": "1"],
        ["LISTEN_PID": "77"], ["LISTEN_PID": "77", "LISTEN_FDS": "x"],
        ["LISTEN_PID": "77", "LISTEN_FDS": "-1"], ["LISTEN_PID": "77", "LISTEN_FDS": "9999"],
    ]) func whatIsNotForUs_isNotTaken(variables: [String: String]) {
        #expect(sockets(variables).isEmpty)
    }

    @Test func whatDoesNotListen_isRefused() throws {
        // Descriptors of our own: any other number may be a socket of a test beside this one.
        var ends: [Int32] = [-1, -1]
        try #require(unsafe pipe(&ends) == 0)
        let unheard = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        try #require(unheard >= 0)
        defer { for end in ends + [unheard] { _ = close(end) } }
        for descriptor in [ends[0], unheard] {
            let left = Handover.inheritedSockets(
                environment: { _ in "77 a=\(descriptor)" }, process: 77)
            let only = try #require(left.first)
            #expect(throws: SocketError.self) { _ = try only.open() }
        }
    }

    @Test func notify_withoutAManager_doesNothing() {
        #expect(!ServiceManager.notify("READY=1", environment: { _ in nil }))
        #expect(!ServiceManager.notify("READY=1", environment: { _ in "/no/such/socket" }))
        let long = String(repeating: "x", count: 200)
        #expect(!ServiceManager.notify("READY=1", environment: { _ in long }))
    }

    @Test func whatTakesLongIsVouchedFor_andNoLonger() throws {
        let directory = try TempDirectory()
        let path = directory.file("notify")
        let manager = try #require(DatagramListener(path))
        let variables = ["NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000"]
        let said = ServiceManager.alive(environment: { variables[$0] }) {
            (0..<5).map { _ in manager.next() }
        }
        #expect(said == Array(repeating: "WATCHDOG=1", count: 5))
        // What was sent before it ended, and then our own.
        #expect(ServiceManager.notify("READY=1", environment: { variables[$0] }))
        while case let left = manager.next(), left != "READY=1" { #expect(left == "WATCHDOG=1") }
        #expect(!manager.hasNext)
        // Without a watchdog it just runs.
        #expect(
            ServiceManager.alive(environment: { $0 == "NOTIFY_SOCKET" ? path : nil }) { 7 } == 7)
        #expect(!manager.hasNext)
    }

    @Test func watchdog_isAskedForTwiceAsOften() {
        func every(_ text: String?) -> Int64? {
            ServiceManager.watchdogMilliseconds(environment: { _ in text })
        }
        #expect(every("30000000") == 15_000)
        #expect(every("1") == 1)
        #expect(every(nil) == nil)
        #expect(every("0") == nil)
        #expect(every("soon") == nil)
    }
}

@Suite struct FileWatchTests {
    /// What so many looks say.
    private func look(_ watch: inout FileWatch, times: Int) -> [Bool] {
        (0..<times).map { _ in watch.settled() }
    }

    @Test func change_isSeenOnce_whenItHasSettled() throws {
        let directory = try TempDirectory()
        let path = try directory.write("a.pem", "one")
        var watch = FileWatch([path, directory.file("later.pem")])
        var seen = look(&watch, times: 2)
        #expect(seen == [false, false])
        _ = try directory.write("a.pem", "three")
        seen = look(&watch, times: 3)
        #expect(seen == [false, true, false], "first it may still be written")
        _ = try directory.write("later.pem", "new")
        seen = look(&watch, times: 3)
        #expect(seen == [false, true, false], "a file that comes is a change")
    }

    @Test func fileThatGoesAgain_isNoChange() throws {
        let directory = try TempDirectory()
        let path = directory.file("a.pem")
        var watch = FileWatch([path])
        _ = try directory.write("a.pem", "x")
        var seen = look(&watch, times: 1)
        #expect(seen == [false])
        _ = unsafe unlink(path)
        seen = look(&watch, times: 2)
        #expect(seen == [false, false])
    }
}

/// The manager's end of NOTIFY_SOCKET.
private final class DatagramListener {
    private let descriptor: Int32

    init?(_ path: String) {
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard descriptor >= 0, bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            return nil
        }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let bound = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe bind(descriptor, generic, size)
            }
        }
        guard bound == 0 else { return nil }
    }

    deinit { close(descriptor) }

    /// The next message; waits for it.
    func next() -> String { receive(0) }

    var hasNext: Bool { receive(Int32(MSG_DONTWAIT)) != "" }

    private func receive(_ flags: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = unsafe recv(descriptor, &bytes, bytes.count, flags)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}
