// The service manager's side doors, without its library: listening sockets that it opened for us,
// and the datagrams that tell it how we are. Knows nothing of what is served.

import CTriageShims
import Glibc
internal import TriageBase

/// A listening socket that was open before this process began to serve.
package struct InheritedSocket: Sendable, Equatable {
    /// Who else has a hand on it.
    package enum Origin: Equatable, Sendable {
        /// The service manager: it stays open for the life of the process, and after it.
        case manager
        /// The process that this one was, see ``Handover``: it is ours alone.
        case predecessor
    }

    /// Its name: `FileDescriptorName=` of the socket unit, empty if it has none; or what the
    /// predecessor called it.
    package let name: String
    /// Where it comes from.
    package let origin: Origin
    let descriptor: Int32

    /// Groups the three.
    package init(name: String, origin: Origin, descriptor: Int32) {
        self.name = name
        self.origin = origin
        self.descriptor = descriptor
    }

    /// Keeps it from the programs that this process runs: one that stays would keep its queue open,
    /// from which nobody takes.
    ///
    /// Source: fcntl(2) FD_CLOEXEC.
    package func hideFromPrograms() { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }

    /// An accepting socket on its queue.
    ///
    /// A predecessor's is taken with it, and can be opened once.
    ///
    /// - Throws: ``SocketError``: EINVAL when it is not a listening stream socket.
    ///
    /// Source: sd_listen_fds(3); socket(7) SO_ACCEPTCONN.
    package func open() throws(SocketError) -> Socket {
        let copy = CTriageShims_duplicate_listener(descriptor)
        guard copy >= 0 else { throw SocketError.last("inherited listener") }
        if origin == .predecessor { _ = close(descriptor) }
        return Socket(owning: copy)
    }
}

/// systemd, or whoever speaks its two protocols.
package enum ServiceManager {
    /// The sockets that were handed to this process; none without a service manager.
    ///
    /// - Parameters:
    ///   - environment: Looks up an environment variable.
    ///   - process: Our process id: what was meant for another process is not taken.
    /// - Returns: The sockets, in the manager's order.
    ///
    /// Source: sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES, descriptors from 3 on.
    package static func inheritedSockets(
        environment: (String) -> String? = Environment.value, process: Int32 = getpid()
    ) -> [InheritedSocket] {
        guard environment("LISTEN_PID").flatMap(Int32.init) == process,
            let count = environment("LISTEN_FDS").flatMap(Int32.init), count > 0,
            count <= inheritedMax
        else { return [] }
        let names =
            environment("LISTEN_FDNAMES")?.split(separator: ":", omittingEmptySubsequences: false)
            .map(String.init) ?? []
        return (0..<count).map { index in
            InheritedSocket(
                name: Int(index) < names.count ? names[Int(index)] : "", origin: .manager,
                descriptor: firstDescriptor + index)
        }
    }

    /// Tells the service manager something, as in `READY=1`; does nothing without one.
    ///
    /// - Returns: Whether it was sent.
    ///
    /// Source: sd_notify(3): a datagram to NOTIFY_SOCKET; `@` begins an abstract name.
    @discardableResult
    package static func notify(
        _ state: String, environment: (String) -> String? = Environment.value
    ) -> Bool {
        guard let path = environment("NOTIFY_SOCKET"), !path.isEmpty else { return false }
        return unsafe CTriageShims_notify(path, state) == 0
    }

    /// How often the manager wants `WATCHDOG=1`, milliseconds; nil when it does not.
    ///
    /// Half of its limit. Source: sd_watchdog_enabled(3): WATCHDOG_USEC.
    package static func watchdogMilliseconds(
        environment: (String) -> String? = Environment.value
    ) -> Int64? {
        guard let microseconds = environment("WATCHDOG_USEC").flatMap(Int64.init), microseconds > 0
        else { return nil }
        return max(1, microseconds / 2_000)
    }

    /// Keeps the watchdog quiet while `body` runs, which may take longer than its limit.
    ///
    /// A thread of its own reports, for ``aliveMilliseconds`` at most. Without a watchdog it just
    /// runs.
    ///
    /// - Throws: What `body` throws.
    package static func alive<Result, Failure: Error>(
        environment: (String) -> String? = Environment.value,
        during body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        guard let pause = watchdogMilliseconds(environment: environment),
            let worker = try? SystemWorkers().makeWorker(name: "alive", urgency: .normal)
        else { return try body() }
        notify("WATCHDOG=1", environment: environment)
        let path = environment("NOTIFY_SOCKET")
        let isOver = Monitor(false)
        worker.submit {
            let clock = SystemClock()
            let end = clock.monotonicTime().advanced(
                byNanoseconds: UInt64(aliveMilliseconds) * 1_000_000)
            while clock.monotonicTime() < end {
                let next = clock.monotonicTime().advanced(
                    byNanoseconds: UInt64(pause) * 1_000_000)
                if isOver.wait(before: min(next, end), until: { $0 ? true : nil }) != nil { return }
                notify("WATCHDOG=1", environment: { _ in path })
            }
        }
        defer {
            isOver.change { $0 = true }
            worker.stop()
        }
        return try body()
    }

    /// How long ``alive(environment:during:)`` vouches for what it does not look at: as long as the
    /// unit gives a start.
    package static let aliveMilliseconds: Int64 = 300_000

    private static let firstDescriptor: Int32 = 3
    private static let inheritedMax: Int32 = 64
}
