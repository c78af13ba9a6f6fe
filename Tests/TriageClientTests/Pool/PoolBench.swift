// A pool with a clock, a network and calls of the test's own.

import TriageBase

@testable import TriageClient

struct PoolBench {
    var pool: Pool
    var now = MonotonicTime(nanoseconds: 1_000_000_000_000)
    var demand = PoolDemand()
    /// What was asked for and not yet answered: address by connection.
    var connecting: [Int: String] = [:]
    var ready: [Int: String] = [:]
    var retired: [Int] = []
    var resolves = 0

    init(
        _ addresses: [String] = ["1:1", "2:2"],
        _ balancing: ServiceConfig.Balancing = .roundRobin, seed: UInt64 = 1,
        _ change: (inout PoolSettings) -> Void = { _ in }
    ) {
        var settings = PoolSettings()
        settings.balancing = balancing
        change(&settings)
        pool = Pool(settings, seed: seed)
        _ = pool.names.asks(now)
        pool.resolved(Self.addresses(addresses), now)
    }

    /// What one name stands for.
    static func addresses(_ texts: [String]) -> [PoolAddress] {
        texts.compactMap { text in Endpoint(text).map { PoolAddress(target: 0, endpoint: $0) } }
    }

    /// Carries the pool's steps out, as a channel would.
    @discardableResult mutating func step() -> [PoolStep] {
        let steps = pool.steps(now, demand)
        for step in steps {
            switch step {
            case .connect(let id, let address): connecting[id] = "\(address.endpoint)"
            case .close(let id):
                connecting[id] = nil
                ready[id] = nil
                pool.ended(id, "closed by us", now)
            case .retire(let id):
                ready[id] = nil
                retired.append(id)
            case .resolve: resolves += 1
            }
        }
        return steps
    }

    /// Every connection that is being made to one of these succeeds.
    mutating func answer(_ addresses: String..., callsMax: Int = 100) {
        for (id, address) in connecting.sorted(by: { $0.key < $1.key })
        where addresses.isEmpty || addresses.contains(address) {
            connecting[id] = nil
            ready[id] = address
            pool.connected(id, callsMax: callsMax, now)
            pool.setLoad(id, open: 0, callsMax: callsMax, now)
        }
    }

    /// Every connection that is being made to one of these fails.
    mutating func refuse(_ addresses: String...) {
        for (id, address) in connecting where addresses.isEmpty || addresses.contains(address) {
            connecting[id] = nil
            pool.ended(id, "refused", now)
        }
    }

    /// A connection that was ready breaks.
    mutating func lose(_ id: Int) {
        ready[id] = nil
        pool.ended(id, "lost", now)
    }

    mutating func advance(milliseconds: UInt64) {
        now = now.advanced(byNanoseconds: milliseconds * 1_000_000)
    }

    /// The address of the connection that takes a call; nil when there is none.
    mutating func pick(longLived: Bool = false) -> String? {
        if case .connection(let id) = pool.pick(isLongLived: longLived, now) { return ready[id] }
        return nil
    }

    /// Why no server can be reached; nil when that is not known.
    var failure: String? {
        var copy = pool
        if case .failing(let reason) = copy.pick(isLongLived: false, now) { return reason }
        return nil
    }
}
