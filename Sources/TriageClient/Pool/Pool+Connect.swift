// When the pool makes a connection and when it lets one go, by its policy. Pure, as all of it.

internal import TriageBase

extension Pool {
    private func mayConnect(_ place: PoolPlace, _ now: MonotonicTime) -> Bool {
        !place.isGone && place.retryAt <= now
    }

    /// Connections to an address that take calls or will; without those made to replace others.
    private func count(_ place: PoolPlace) -> Int {
        place.ids.count { id in
            members[id].map { $0.state != .retiring && $0.replaces == nil } ?? false
        }
    }

    // MARK: Every address, or one

    /// Round robin: each address has a connection, unless it is in back-off.
    mutating func connectAll(_ now: MonotonicTime, _ steps: inout [PoolStep]) {
        for index in places.indices
        where mayConnect(places[index], now) && count(places[index]) == 0 {
            connect(index, &steps)
        }
    }

    /// Pick first: one address has a connection; the others are tried in order, each a little after
    /// the one before has not answered, and the first that answers is taken.
    ///
    /// Source: gRPC proposal A62; RFC 8305 §5.
    mutating func connectFirst(_ now: MonotonicTime, _ steps: inout [PoolStep]) {
        if let chosen = places.first(where: { hasReady($0) }) {
            for id in members.keys.sorted() where members[id]?.endpoint != chosen.endpoint {
                retire(id, &steps)
            }
            return
        }
        let isTrying = members.values.contains { $0.state == .connecting }
        guard !isTrying || now >= raceAt else { return }
        let next = places.indices.first {
            mayConnect(places[$0], now) && count(places[$0]) == 0
        }
        guard let next else { return }
        raceAt = now.advanced(byNanoseconds: settings.race)
        connect(next, &steps)
    }

    // MARK: More, other, fewer

    private func takesCalls(_ place: PoolPlace) -> Bool {
        place.ids.contains { id in
            members[id].map { $0.state == .ready && $0.callsMax > 0 } ?? false
        }
    }

    /// Calls wait: one more connection for as many of them as one takes, where there are fewest.
    mutating func grow(_ now: MonotonicTime, _ demand: PoolDemand, _ steps: inout [PoolStep]) {
        guard demand.waiting + demand.waitingLongLived > 0 else { return }
        let ready = members.values.filter { $0.state == .ready }
        // One that takes none for a while says nothing of the others.
        guard let callsMax = ready.map(\.callsMax).filter({ $0 > 0 }).min() else { return }
        let longLivedMax = min(callsMax, settings.longLivedCallsMax)
        let wanted =
            (demand.waiting + callsMax - 1) / callsMax
            + (demand.waitingLongLived + longLivedMax - 1) / longLivedMax
        var coming = members.values.count { $0.state == .connecting }
        while coming < wanted {
            let candidates = places.indices.filter {
                mayConnect(places[$0], now) && takesCalls(places[$0])
                    && count(places[$0]) < settings.connectionsMax
            }
            let fewest = candidates.min { count(places[$0]) < count(places[$1]) }
            guard let fewest else { return }
            connect(fewest, &steps)
            coming += 1
        }
    }

    /// Makes a connection in place of each that is old, and retires that one when there is; one
    /// without calls beside others is not replaced.
    mutating func replaceOld(_ now: MonotonicTime, _ steps: inout [PoolStep]) {
        for id in members.keys.sorted() {
            guard let member = members[id], member.state == .ready, member.endAt <= now,
                let index = place(of: member.endpoint)
            else { continue }
            let successor = members.values.first { $0.replaces == id }
            let isSpare = member.open == 0 && count(places[index]) > 1
            if successor?.state == .ready || successor == nil && isSpare {
                retire(id, &steps)
            } else if successor == nil, !member.isBeingReplaced, mayConnect(places[index], now) {
                connect(index, replacing: id, &steps)
            }
        }
    }

    /// Lets go of connections that were added for a peak.
    mutating func retireIdle(_ now: MonotonicTime, _ steps: inout [PoolStep]) {
        for id in members.keys.sorted(by: >) {
            guard let member = members[id], member.state == .ready, member.open == 0,
                let since = member.idleSince, now.nanoseconds(since: since) >= settings.idle,
                let index = place(of: member.endpoint), count(places[index]) > 1
            else { continue }
            retire(id, &steps)
        }
    }

    /// Lets go of addresses that no name stands for any more.
    mutating func retireGone(_ steps: inout [PoolStep]) {
        for place in places where place.isGone {
            for id in place.ids { retire(id, &steps) }
        }
        places.removeAll { $0.isGone && $0.ids.isEmpty }
    }

    /// Lets go of connections whose address is another target's by now: they were made under the
    /// name of the one before.
    mutating func retireMoved(_ steps: inout [PoolStep]) {
        for place in places {
            for id in place.ids where members[id]?.address != place.address {
                retire(id, &steps)
            }
        }
    }
}
