// The door through which other threads reach a loop: jobs in batches, and a wake-up only when the
// loop sleeps. Knows nothing of what the jobs do.

package import TriageGRPC
package import TriageIO
import TriageTLS

/// What a server asks of its reactors.
enum Control: Sendable {
    /// Use these certificates, by listener, for new connections, and judge the open ones by them.
    case reload([TLSContext])
    /// Stop accepting, finish, end; with the sockets kept open where there is something to keep
    /// them.
    case drain(KeptListeners?)
    /// Copy your counters.
    case scrape(Scrape)
    /// Say what channelz asks.
    case inspect(Inspection)
}

/// One reactor's queue of jobs.
package final class Mailbox: ReactorMailbox {
    private struct Waiting: Sendable {
        var jobs: [any ReactorJob] = []
        var controls: [Control] = []
    }

    private let waiting = Lock(Waiting())
    private let wakeUp: WakeUp

    /// Makes the mailbox of the loop that `wakeUp` wakes.
    package init(_ wakeUp: WakeUp) { self.wakeUp = wakeUp }

    package func post(_ job: any ReactorJob) {
        waiting.withLock { $0.jobs.append(job) }
        wakeUp.wake()
    }

    func post(_ control: Control) {
        waiting.withLock { $0.controls.append(control) }
        wakeUp.wake()
    }

    /// True when nothing waits; asked by the loop before it sleeps.
    var isEmpty: Bool { waiting.withLock { $0.jobs.isEmpty && $0.controls.isEmpty } }

    /// Takes all that waits, in order.
    func take() -> (jobs: [any ReactorJob], controls: [Control]) {
        waiting.withLock { waiting in
            if waiting.jobs.isEmpty && waiting.controls.isEmpty { return ([], []) }
            let taken = (waiting.jobs, waiting.controls)
            waiting = Waiting()
            return taken
        }
    }
}

/// Collects the counters of all reactors for one asker.
final class Scrape: Sendable {
    private let sum: Lock<ServerMetrics>
    let latch: Latch

    init(methodCount: Int, _ latch: Latch) {
        sum = Lock(ServerMetrics(methodCount: methodCount))
        self.latch = latch
    }

    func add(_ metrics: ServerMetrics) {
        sum.withLock { $0.add(metrics) }
        latch.arrive()
    }

    var total: ServerMetrics { sum.withLock { $0 } }
}
