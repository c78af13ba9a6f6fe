// How many connections the server has, and whose they are: the only state that reactors share.
// Touched when a connection opens, is identified, and closes; never by a call.

import Synchronization
import TriageBase
import TriageIO

/// Counts connections of all reactors against their limits.
final class Admission: Sendable {
    private let limits: ServerLimits
    private let open = Atomic<Int>(0)
    private let unidentified = Atomic<Int>(0)
    private let identities = Lock<[Principal: Int]>([:])

    init(limits: ServerLimits) { self.limits = limits }

    /// Counts a new connection, or says which limit it breaks.
    func accept() -> LimitKind? {
        if open.add(1, ordering: .relaxed).newValue > limits.connectionsMax {
            open.subtract(1, ordering: .relaxed)
            return .connections
        }
        if unidentified.add(1, ordering: .relaxed).newValue > limits.unidentifiedConnectionsMax {
            unidentified.subtract(1, ordering: .relaxed)
            open.subtract(1, ordering: .relaxed)
            return .unidentifiedConnections
        }
        return nil
    }

    /// Counts an accepted connection as its principal's.
    ///
    /// - Returns: False when the principal has too many; it is then still unidentified.
    func identify(_ principal: Principal) -> Bool {
        let admitted = identities.withLock { counts in
            let count = counts[principal, default: 0]
            guard count < limits.connectionsPerIdentityMax else { return false }
            counts[principal] = count + 1
            return true
        }
        if admitted { unidentified.subtract(1, ordering: .relaxed) }
        return admitted
    }

    /// Forgets a connection that was accepted; `principal` if it was identified.
    func close(_ principal: Principal?) {
        open.subtract(1, ordering: .relaxed)
        guard let principal else {
            unidentified.subtract(1, ordering: .relaxed)
            return
        }
        identities.withLock { counts in
            guard let count = counts[principal] else { return }
            counts[principal] = count > 1 ? count - 1 : nil
        }
    }
}
