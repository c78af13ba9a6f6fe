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
        /// What the loop had counted when it ended; nil: it runs, or has yet to.
        var last: ServerMetrics?
    }

    private let waiting = Lock(Waiting())
    private let wakeUp: WakeUp

    /// Makes the mailbox of the loop that `wakeUp` wakes.
    package init(_ wakeUp: WakeUp) { self.wakeUp = wakeUp }

    package func post(_ job: any ReactorJob) {
        waiting.withLock { waiting in
            // Its calls are over as well.
            if waiting.last == nil { waiting.jobs.append(job) }
        }
        wakeUp.wake()
    }

    func post(_ control: Control) {
        let last: ServerMetrics? = waiting.withLock { waiting in
            if waiting.last == nil { waiting.controls.append(control) }
            return waiting.last
        }
        if let last { Self.answer(control, last) } else { wakeUp.wake() }
    }

    /// The loop has ended: whoever asks from now on is told what it had counted, at once.
    ///
    /// Else nobody would hear of the others any more while their last calls run.
    func end(_ last: ServerMetrics) {
        let controls = waiting.withLock { waiting in
            defer {
                waiting = Waiting()
                waiting.last = last
            }
            return waiting.controls
        }
        for control in controls { Self.answer(control, last) }
    }

    private static func answer(_ control: Control, _ last: ServerMetrics) {
        switch control {
        case .reload, .drain: break
        case .scrape(let scrape): scrape.add(last)
        case .inspect(let inspection):
            var facts = ServerFacts()
            if case .server = inspection.question { facts.count(last.methods) }
            inspection.add(facts)
        }
    }

    /// True when nothing waits; asked by the loop before it sleeps.
    var isEmpty: Bool { waiting.withLock { $0.jobs.isEmpty && $0.controls.isEmpty } }

    /// Takes all that waits, in order.
    func take() -> (jobs: [any ReactorJob], controls: [Control]) {
        waiting.withLock { waiting in
            if waiting.jobs.isEmpty && waiting.controls.isEmpty { return ([], []) }
            let taken = (waiting.jobs, waiting.controls)
            waiting.jobs = []
            waiting.controls = []
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
