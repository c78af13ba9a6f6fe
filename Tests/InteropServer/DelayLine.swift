// Jobs that are due later: the pauses between messages that interoperability clients ask for. One
// thread waits for all of them.

import TriageBase
import TriageGRPC
import TriageIO

/// Posts jobs when their time has come.
final class DelayLine: Sendable {
    /// The one of the process.
    static let shared = DelayLine()

    private struct Entry: Sendable {
        let due: MonotonicTime
        let mailbox: any ReactorMailbox
        let job: any ReactorJob
    }

    private let waiting = Monitor<[Entry]>([])
    private let clock = SystemClock()
    private let thread: Thread?

    private init() {
        let waiting = waiting
        let clock = clock
        thread = try? Thread(name: "delays") {
            while true {
                let next = waiting.change { $0.map(\.due).min() ?? .never }
                let due = waiting.wait(before: next) { entries -> [Entry]? in
                    let now = clock.monotonicTime()
                    let due = entries.filter { $0.due <= now }
                    entries.removeAll { $0.due <= now }
                    // Nothing is due, but something sooner has come: wait anew.
                    let isSooner = entries.contains { $0.due < next }
                    return due.isEmpty && !isSooner ? nil : due
                }
                for entry in due ?? [] { entry.mailbox.post(entry.job) }
            }
        }
    }

    /// Posts `job` after a while.
    func add(microseconds: Int, _ mailbox: any ReactorMailbox, _ job: any ReactorJob) {
        let due = clock.monotonicTime().advanced(byNanoseconds: UInt64(microseconds) * 1_000)
        waiting.change { $0.append(Entry(due: due, mailbox: mailbox, job: job)) }
    }
}
