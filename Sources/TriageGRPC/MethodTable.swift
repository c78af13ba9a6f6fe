// The methods that a server offers, found by path. Built once at start from the descriptor set, so
// that streaming flags have one source; read by every reactor without a lock.

import TriageBase

/// What the calls of a method need that the usual call does not, and should not pay for.
package struct MethodTraits: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Its handler reads the client's own metadata.
    package static let readsMetadata = MethodTraits(rawValue: 1)
    /// Its handler reads the client's trace context.
    package static let readsTrace = MethodTraits(rawValue: 4)
    /// Its replies may be so large that compressing them pays.
    package static let compressesReplies = MethodTraits(rawValue: 2)
}

/// One RPC method.
package struct Method: Sendable {
    /// `/package.Service/Method`, as in the `:path` of a call.
    package let path: String
    /// The client sends a stream of messages.
    package let clientStreaming: Bool
    /// The server sends a stream of messages.
    package let serverStreaming: Bool
    /// May be called on a connection without a client certificate: health probes, and nothing else.
    package let allowedWithoutIdentity: Bool
    /// What a call takes of its identity's calls a second; 0: never refused for their number.
    package let cost: Int
    /// What its calls need beyond the usual.
    package let traits: MethodTraits

    /// Describes a method.
    package init(
        path: String, clientStreaming: Bool, serverStreaming: Bool,
        allowedWithoutIdentity: Bool = false, traits: MethodTraits = [], cost: Int = 1
    ) {
        self.path = path
        self.clientStreaming = clientStreaming
        self.serverStreaming = serverStreaming
        self.allowedWithoutIdentity = allowedWithoutIdentity
        self.cost = cost
        self.traits = traits
    }

    /// The service part of ``path``: `package.Service`.
    package var service: String {
        String(path.dropFirst().prefix { $0 != "/" })
    }

    /// The method part of ``path``.
    package var name: String {
        guard let slash = path.lastIndex(of: "/") else { return path }
        return String(path[path.index(after: slash)...])
    }
}

/// An immutable table of methods with look-up by the bytes of a path.
///
/// A class, because every call hands it on: a copy of the struct was seven retains.
package final class MethodTable: Sendable {
    /// The methods; an index into this array names a method elsewhere.
    package let methods: [Method]
    /// A fresh state machine for each method.
    package let shapes: [CallStateMachine]
    /// Each method's ``Method/cost``.
    package let costs: [Int]
    /// The traits of each method.
    package let traits: [MethodTraits]
    // All paths behind one another, and where each ends: a look-up then touches no other object.
    private let pathBytes: [UInt8]
    private let pathEnds: [Int32]
    private let buckets: [Int32]
    private let mask: UInt64

    /// Builds the table; open addressing, at most half full.
    ///
    /// - Precondition: no path occurs twice.
    package init(_ methods: [Method]) {
        self.methods = methods
        traits = methods.map(\.traits)
        shapes = methods.map {
            CallStateMachine(
                clientStreaming: $0.clientStreaming, serverStreaming: $0.serverStreaming)
        }
        costs = methods.map(\.cost)
        let paths = methods.map { Array($0.path.utf8) }
        pathBytes = paths.flatMap { $0 }
        var end: Int32 = 0
        pathEnds =
            [0]
            + paths.map { path in
                end += Int32(path.count)
                return end
            }
        var size = 8
        while size < methods.count * 2 { size *= 2 }
        mask = UInt64(size - 1)
        var buckets = [Int32](repeating: -1, count: size)
        for (index, method) in methods.enumerated() {
            let path = paths[index]
            var at = Int(Self.hash(path.span) & mask)
            while buckets[at] >= 0 {
                precondition(methods[Int(buckets[at])].path != method.path, "a path occurs twice")
                at = (at + 1) & (size - 1)
            }
            buckets[at] = Int32(index)
        }
        self.buckets = buckets
    }

    /// Finds a method by its path.
    ///
    /// - Parameter path: The bytes of `:path`.
    /// - Returns: The method's index, or nil if there is none.
    /// - Complexity: O(1) expected; no allocation.
    package func index(path: Span<UInt8>) -> Int? {
        var at = Int(Self.hash(path) & mask)
        while buckets[at] >= 0 {
            let index = Int(buckets[at])
            if isPath(index, path) { return index }
            at = (at + 1) & Int(mask)
        }
        return nil
    }

    func isPath(_ index: Int, _ path: Span<UInt8>) -> Bool {
        let start = Int(pathEnds[index])
        guard Int(pathEnds[index + 1]) - start == path.count else { return false }
        let paths = pathBytes
        let known = paths.span
        // No early exit: the loop then compares many bytes at a time.
        var difference: UInt8 = 0
        for position in path.indices { difference |= known[start &+ position] ^ path[position] }
        return difference == 0
    }

    // The length and the last eight bytes: names differ there. The table is fixed and the peer
    // cannot add to it, so that collisions cannot be provoked.
    static func hash(_ bytes: Span<UInt8>) -> UInt64 {
        var word: UInt64 = 0
        for index in max(0, bytes.count - 8)..<bytes.count {
            word = word << 8 | UInt64(bytes[index])
        }
        return mix64(word ^ UInt64(bytes.count) << 56)
    }
}
