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
