// Threads of which exactly one runs at a time, and the time that passes for them. Who goes on, and
// when, follows from a seed: the same seed gives the same interleaving, and time that nobody uses
// passes at once.
//
// A thread gives up its turn where it may in reality be overtaken in a way that matters: at each
// call of the disk, when it waits for another one, and while it pauses. Between two of those points
// nothing that threads share changes, but under a lock that is held for no such point.

internal import Glibc
package import TriageBase
package import TriageIO

/// The threads of one simulated process, and its clocks.
///
/// The thread that makes the value is one of them: it drives the others.
///
/// `@unchecked Sendable`: everything is touched by the thread that has the turn alone; handing it
/// on goes through a lock.
package final class SimThreads: WorkerSource, TimeSource, @unchecked Sendable {
    private enum Need {
        /// It goes on when it gets the turn.
        case turn
        /// It looks again when something has happened since, or when its deadline is there.
        case change(before: UInt64, lookedAt: Int)
        /// It goes on when nobody else can without time passing.
        case quiet
        case ended
    }

    private struct Lane {
        let name: String
        let gate: Monitor<Bool>
        var thread: pthread_t?
        var need = Need.turn
        /// Waits in a row that ended at once, at the same time.
        var spins = 0
        var spunAt: UInt64 = 0
    }

    private var lanes: [Lane]
    private var current = 0
    /// Rises whenever a thread goes on: what others wait for may have come about.
    private var progress = 1
    private var random: SeededRandom
    private var nanoseconds: UInt64 = 1_000_000_000
    private var wallOffset: Int64 = 1_800_000_000_000
    private static let spinsMax = 1_000

    /// A thread gives its turn away at one of so many points; 1: at each.
    package var turnsBetweenSwitches: UInt64 = 4
    /// What no thread may do, if one did it: to be looked at by the driver.
    package private(set) var misbehaviour: String?

    /// Threads whose every turn follows from `seed`.
    package init(seed: UInt64) {
        random = SeededRandom(seed: seed)
        lanes = [Lane(name: "driver", gate: Monitor(false), thread: pthread_self())]
    }

    // MARK: Time

    package func monotonicTime() -> MonotonicTime { MonotonicTime(nanoseconds: nanoseconds) }

    package func wallTime() -> WallTime {
        WallTime(milliseconds: wallOffset + Int64(nanoseconds / 1_000_000))
    }

    /// Sets the time of day, and only that.
    package func stepWall(byMilliseconds delta: Int64) { wallOffset += delta }

    /// Lets time pass while the calling thread does something that takes it.
    package func take(nanoseconds: UInt64) { self.nanoseconds += nanoseconds }

    /// Holds the calling thread; the others go on meanwhile.
    package func pause(nanoseconds: UInt64) {
        let end = self.nanoseconds + nanoseconds
        while self.nanoseconds < end, misbehaviour == nil {
            block(.change(before: end, lookedAt: .max))
        }
        progress += 1
    }

    // MARK: Turns

    /// A point at which another thread may come first.
    package func pass() {
        check()
        guard lanes.count > 1, random.next() % turnsBetweenSwitches == 0 else { return }
        lanes[current].need = .turn
        hand(to: pick())
        progress += 1
    }

    /// Lets the other threads go on until all of them wait for what does not come by itself.
    package func settle() {
        block(.quiet)
        progress += 1
    }

    /// Lets threads whose workers were dropped end.
    ///
    /// - Returns: The names of those that go on nevertheless.
    package func finish() -> [String] {
        settle()
        // One may be at a pause that it takes between two writes.
        pause(nanoseconds: 3_600_000_000_000)
        settle()
        return lanes.dropFirst().filter { if case .ended = $0.need { false } else { true } }
            .map(\.name)
    }

    package func wait<State, R>(
        on monitor: Monitor<State>, before deadline: MonotonicTime,
        until body: (inout State) -> R?
    ) -> R? {
        check()
        while true {
            if let result = monitor.change(body) {
                progress += 1
                return result
            }
            if nanoseconds >= deadline.nanoseconds {
                noteSpin()
                progress += 1
                return nil
            }
            block(.change(before: deadline.nanoseconds, lookedAt: progress))
        }
    }

    /// A thread that waits for a time that has passed, again and again, burns a CPU.
    private func noteSpin() {
        var lane = lanes[current]
        lane.spins = lane.spunAt == nanoseconds ? lane.spins + 1 : 1
        lane.spunAt = nanoseconds
        lanes[current] = lane
        guard lane.spins > Self.spinsMax else { return }
        misbehaviour = misbehaviour ?? "the thread \(lane.name) spins"
        // The driver is to hear of it.
        lanes[current].need = .turn
        hand(to: pick())
    }

    private func check() {
        let mine = lanes[current].thread.map { pthread_equal($0, pthread_self()) != 0 } ?? false
        precondition(mine, "a thread that is not simulated: take workers from StorageOptions")
    }

    /// Gives the turn away until `need` is met.
    private func block(_ need: Need) {
        check()
        lanes[current].need = need
        hand(to: pick())
    }

    /// Who comes next: any that can go on; without one, time passes.
    private func pick() -> Int {
        let ready = lanes.indices.filter {
            canGoOn(lanes[$0].need) || ($0 == 0 && misbehaviour != nil)
        }
        if !ready.isEmpty { return ready[Int(random.next() % UInt64(ready.count))] }
        for index in lanes.indices {
            if case .quiet = lanes[index].need { return index }
        }
        var first: (index: Int, time: UInt64)?
        for index in lanes.indices {
            if case .change(let deadline, _) = lanes[index].need,
                deadline < first?.time ?? MonotonicTime.never.nanoseconds
            {
                first = (index, deadline)
            }
        }
        guard let first else {
            preconditionFailure("deadlock: \(lanes.map { "\($0.name) \($0.need)" })")
        }
        nanoseconds = max(nanoseconds, first.time)
        return first.index
    }

    private func canGoOn(_ need: Need) -> Bool {
        switch need {
        case .turn: true
        case .change(let deadline, let lookedAt): lookedAt < progress || deadline <= nanoseconds
        case .quiet, .ended: false
        }
    }

    private func hand(to next: Int) {
        let me = current
        guard next != me else { return }
        current = next
        let isOver = if case .ended = lanes[me].need { true } else { false }
        let gate = lanes[me].gate
        lanes[next].gate.change { $0 = true }
        if !isOver { Self.pass(gate) }
    }

    private static func pass(_ gate: Monitor<Bool>) {
        gate.wait { isOpen in
            defer { isOpen = false }
            return isOpen ? () : nil
        }
    }

    // MARK: Workers

    private struct Queue: Sendable {
        var work: [@Sendable () -> Void] = []
        var stopping = false
        var ended = false
    }

    private final class SimWorker: Worker {
        private let threads: SimThreads
        private let queue: Monitor<Queue>
        private let thread: Thread

        init(_ threads: SimThreads, _ queue: Monitor<Queue>, _ thread: Thread) {
            self.threads = threads
            self.queue = queue
            self.thread = thread
        }

        func submit(_ work: @escaping @Sendable () -> Void) {
            queue.change { if !$0.stopping { $0.work.append(work) } }
        }

        func stop() {
            queue.change { $0.stopping = true }
            _ = threads.wait(on: queue, before: .never) { $0.ended ? () : nil }
            thread.join()
        }

        deinit {
            queue.change { $0.stopping = true }
            // Its thread waits for that, and may have looked already.
            threads.progress += 1
        }
    }

    package func makeWorker(
        name: String, urgency: Thread.Urgency
    ) throws(IOError) -> any Worker {
        check()
        let queue = Monitor(Queue())
        let gate = Monitor(false)
        let lane = lanes.count
        lanes.append(Lane(name: name, gate: gate))
        do {
            let thread = try Thread(name: name) { [self] in
                Self.pass(gate)
                lanes[lane].thread = pthread_self()
                work(through: queue)
                lanes[lane].need = .ended
                progress += 1
                hand(to: pick())
            }
            return SimWorker(self, queue, thread)
        } catch {
            throw IOError(.thread, path: name, Errno(rawValue: error.errno))
        }
    }

    private func work(through queue: Monitor<Queue>) {
        while true {
            let work: [@Sendable () -> Void]?? = wait(on: queue, before: .never) { queue in
                guard queue.work.isEmpty else {
                    defer { queue.work = [] }
                    return .some(queue.work)
                }
                guard queue.stopping else { return nil }
                queue.ended = true
                return .some(nil)
            }
            guard let work, let work else { return }
            for piece in work {
                pass()
                piece()
            }
        }
    }
}
