// Work beside the thread that gives it, and waiting for it: threads as the journal and the engine
// see them. Behind protocols, so that a simulation decides who runs when.

package import TriageBase

/// Runs pieces of work one after the other, in the order in which they were given.
package protocol Worker: AnyObject, Sendable {
    /// Adds work.
    ///
    /// Work given after ``stop()`` is dropped.
    func submit(_ work: @escaping @Sendable () -> Void)
    /// Lets the work that was given finish, then ends; returns when it has ended.
    func stop()
}

/// Makes workers, and lets whoever depends on another's work wait for it.
package protocol WorkerSource: Sendable {
    /// Starts a worker.
    ///
    /// - Parameters:
    ///   - name: For process listings; at most 15 bytes.
    ///   - urgency: How it shares a CPU.
    /// - Returns: The worker; it ends when it is dropped, once what was given is done.
    /// - Throws: ``IOError``: `.thread` when the system has no thread left.
    func makeWorker(name: String, urgency: Thread.Urgency) throws(IOError) -> any Worker

    /// Waits until `body`, tried at once and after every change of the monitor, gives a value.
    ///
    /// - Parameters:
    ///   - monitor: What others change meanwhile.
    ///   - deadline: On the monotonic clock; ``MonotonicTime/never`` for none.
    ///   - body: Looks at the state, and may change it.
    /// - Returns: What `body` gave; nil when the deadline passed first.
    func wait<State, R>(
        on monitor: Monitor<State>, before deadline: MonotonicTime,
        until body: (inout State) -> R?
    ) -> R?
}

/// The system's threads.
package struct SystemWorkers: WorkerSource {
    /// A source; holds no state.
    package init() {}

    package func makeWorker(
        name: String, urgency: Thread.Urgency
    ) throws(IOError) -> any Worker {
        try TaskThread(name: name, urgency: urgency)
    }

    package func wait<State, R>(
        on monitor: Monitor<State>, before deadline: MonotonicTime,
        until body: (inout State) -> R?
    ) -> R? {
        monitor.wait(before: deadline, until: body)
    }
}
