// What a process leaves to its successor. That a process really becomes another one is in
// Tests/EndToEnd/test_restart.py.

import Glibc
import TestSupport
import Testing
import TriageIO

@Suite struct HandoverTests {
    private func sockets(_ text: String?, process: Int32 = 77) -> [InheritedSocket] {
        Handover.inheritedSockets(
            environment: { $0 == "TRIAGED_HANDOVER" ? text : nil }, process: process)
    }

    @Test func sockets_areNamed_inOrder() {
        let found = sockets("77 internal@127.0.0.1:0=9 partner@[::1]:8443=11 internal@a=x:1=12")
        #expect(
            found.map(\.name) == ["internal@127.0.0.1:0", "partner@[::1]:8443", "internal@a=x:1"])
        #expect(found.allSatisfy { $0.origin == .predecessor })
    }

    @Test(arguments: [
        nil, "", "78 a=9", "a=9", "77", "77 a", "77 a=", "77 a=b", "77 a=1", "77 a=-4",
    ]) func whatIsNotForUs_isNotTaken(text: String?) { #expect(sockets(text).isEmpty) }

    @Test func aPredecessorsSocket_isTakenOnce_andItsDescriptorGoes() throws {
        let listener = try Socket.listen(host: "127.0.0.1", port: 0, backlog: 1)
        let port = try listener.localPort()
        let left = dup(listener.descriptor)
        let inherited = try #require(sockets("77 door=\(left)").first)
        let taken = try inherited.open()
        let takenPort = try taken.localPort()
        #expect(takenPort == port)
        #expect(fcntl(left, F_GETFD) == -1, "closed: a drain can close the queue")
        #expect(fcntl(taken.descriptor, F_GETFD) & FD_CLOEXEC != 0)
    }

    @Test func rehearsal_saysWhatIsWrong() {
        #expect(Handover.rehearse(["/bin/true"], milliseconds: 10_000) == nil)
        #expect(
            Handover.rehearse(
                ["/bin/sh", "-c", "echo out; echo no good >&2; exit 1"], milliseconds: 10_000)
                == "no good\n")
        #expect(
            Handover.rehearse(["/bin/sh", "-c", "exit 1"], milliseconds: 10_000)
                == "it did not end well")
        #expect(
            Handover.rehearse(["/no/such/program"], milliseconds: 10_000)?
                .contains("No such file") == true)
        #expect(
            Handover.rehearse(["/bin/sh", "-c", "exec sleep 100"], milliseconds: 50)
                == "it gave no answer within 50 ms", "one that hangs is ended")
    }

    @Test func rehearsal_isTold() {
        let check = "test \"$TRIAGED_REHEARSAL\" = 'a@b:1 :1' && test -n \"$PATH\""
        #expect(
            Handover.rehearse(
                ["/bin/sh", "-c", check], telling: ["a@b:1", ":1"], milliseconds: 10_000) == nil)
        #expect(Handover.toldInRehearsal { _ in "a@b:1 :1" } == ["a@b:1", ":1"])
        #expect(Handover.toldInRehearsal { _ in nil } == nil)
    }

    @Test func rehearsalThatIsGivenUp_endsWithAllThatItHasStarted() throws {
        let directory = try TempDirectory()
        let path = directory.file("process")
        let script = "sleep 1000 & echo $! >\(path); wait"
        #expect(Handover.rehearse(["/bin/sh", "-c", script], milliseconds: 2_000) != nil)
        let process = try TextFile.read(path: path, bytesMax: 99).split(separator: "\n")[0]
        // Its words are gone as soon as it has ended, whoever has still to hear of that.
        let words = "/proc/\(process)/cmdline"
        for _ in 0..<10_000 where (try? TextFile.read(path: words, bytesMax: 99))?.isEmpty == false
        {
            _ = poll(nil, 0, 1)
        }
        #expect((try? TextFile.read(path: words, bytesMax: 99)) ?? "" == "")
    }

    @Test func successor_isKnown_alsoWithoutASocketOfItsOwn() {
        func isSuccessor(_ text: String?) -> Bool {
            Handover.isSuccessor(
                environment: { $0 == "TRIAGED_HANDOVER" ? text : nil }, process: 77)
        }
        #expect(isSuccessor("77"))
        #expect(isSuccessor("77 a=9"))
        #expect(!isSuccessor("78 a=9"))
        #expect(!isSuccessor(""))
        #expect(!isSuccessor(nil))
    }

    @Test func becoming_stopsAtASocketThatIsNotThere() throws {
        let error = Handover.become(
            ["/no/such/program"], leaving: [SocketToLeave(name: "a", descriptor: 9_999)])
        #expect(error.operation == "fcntl" && error.errno == EBADF)
    }
}
