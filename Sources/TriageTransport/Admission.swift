// How many connections the server has, and whose they are: the only state that reactors share.
// Touched when a connection opens, is identified, and closes; never by a call.

import Synchronization
import TriageBase
import TriageGRPC
import TriageIO

/// Counts connections of all reactors against their limits.
final class Admission: Sendable {
    /// What a connection counts as, beside as one of all.
    enum Place: Equatable, Sendable {
        /// Its handshake is not complete, or it was refused a place after it.
        case unidentified
        /// One of an identity's.
        case identity(Principal)
        /// One of those that have shown no certificate at this door.
        case stranger(Audience)
    }

    private struct Counts {
        var identities: [Principal: Int] = [:]
        var strangers: [Audience: Int] = [:]
    }

    private let limits: ServerLimits
    private let open = Atomic<Int>(0)
    private let unidentified = Atomic<Int>(0)
    private let counts = Lock(Counts())
    private let wants = Atomic<UInt64>(0)

    init(limits: ServerLimits) { self.limits = limits }

    /// How often there was no descriptor or memory for another connection.
    var wantsOfDescriptors: UInt64 { wants.load(ordering: .relaxed) }

    func noteWantOfDescriptors() { wants.add(1, ordering: .relaxed) }

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
        let admitted = counts.withLock { counts in
            let count = counts.identities[principal, default: 0]
            guard count < limits.connectionsPerIdentityMax else { return false }
            counts.identities[principal] = count + 1
            return true
        }
        if admitted { unidentified.subtract(1, ordering: .relaxed) }
        return admitted
    }

    /// Counts an accepted connection as a door's that shows no certificate.
    ///
    /// - Returns: False when there are too many now, this one counted: another one has to go.
    func admitStranger(at door: Audience) -> Bool {
        unidentified.subtract(1, ordering: .relaxed)
        return counts.withLock { counts in
            counts.strangers[door, default: 0] += 1
            return counts.strangers[door, default: 0] <= limits.strangersPerDoorMax
        }
    }

    /// Forgets a connection that was accepted.
    func close(_ place: Place) {
        open.subtract(1, ordering: .relaxed)
        switch place {
        case .unidentified: unidentified.subtract(1, ordering: .relaxed)
        case .identity(let principal):
            counts.withLock { counts in
                guard let count = counts.identities[principal] else { return }
                counts.identities[principal] = count > 1 ? count - 1 : nil
            }
        case .stranger(let door): counts.withLock { $0.strangers[door, default: 1] -= 1 }
        }
    }
}
