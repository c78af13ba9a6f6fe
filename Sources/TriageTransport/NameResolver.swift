// Host names to addresses, on a thread that may block for as long as the resolver likes. Knows
// nothing of ports, connections or when to ask again.

import TriageIO

/// Resolves one host name, again and again.
///
/// A thread of its own for each name, made with the first question: a name server that does not
/// answer holds up nobody else. A literal needs no thread.
package final class NameResolver: Sendable {
    /// Asked for.
    package let host: String
    /// An address literal: there is nothing to ask.
    package let isLiteral: Bool
    private let thread = Lock<TaskThread?>(nil)

    /// Names a host.
    package init(host: String) {
        self.host = host
        isLiteral = Socket.isLiteral(host)
    }

    /// Asks for the addresses of the host.
    ///
    /// - Parameter answer: Given the address literals, at least one, in order of preference, or why
    ///   there are none; at once for a literal, else on the resolver's thread.
    package func resolve(_ answer: @escaping @Sendable (Result<[String], TransportError>) -> Void) {
        if isLiteral { return answer(.success([host])) }
        let made = thread.withLock { thread in
            if thread == nil { thread = try? TaskThread(name: "resolve") }
            return thread
        }
        guard let made else {
            return answer(
                .failure(.unresolvable(host: host, reason: "the system has no thread left")))
        }
        made.submit { [host] in
            do throws(ResolveError) {
                answer(.success(try Socket.resolveAll(host)))
            } catch {
                answer(.failure(.unresolvable(host: host, reason: error.reason)))
            }
        }
    }
}

extension Socket {
    /// The preferred address literal of a host name; blocks for the resolver.
    static func address(of host: String) throws(TransportError) -> String {
        do throws(ResolveError) {
            return try resolveAll(host)[0]
        } catch {
            throw .unresolvable(host: host, reason: error.reason)
        }
    }
}
