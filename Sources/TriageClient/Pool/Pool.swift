// Which connections there should be, and which of them takes a call. Pure: time, chance, and what
// became of connections are handed in; steps come out. Knows no sockets, threads or calls.
//
//   address   untried ──▶ connecting ──ready──▶ has connections ──lost──▶ connecting ...
//                 ▲            └──failed──▶ in back-off (out of rotation) ──time──▶ connecting
//   connection  connecting ──▶ ready ──GOAWAY, age, idle, name gone──▶ retiring ──▶ ended
//
// While there are calls, or were some lately, every address (round robin) or one (pick first) has a
// connection; one more where calls wait because all are full; one in place of each that is old,
// before that one is retired. Without calls everything is closed.

internal import TriageBase

/// The connections of one client.
struct Pool {
    let settings: PoolSettings
    var random: SeededRandom
    /// In the order of the names' addresses.
    var places: [PoolPlace] = []
    var members: [Int: PoolMember] = [:]
    private var nextID = 1
    /// Round robin: the place whose turn it is.
    private var turn = 0
    /// Pick first: when the next address is tried although one has not answered.
    var raceAt = MonotonicTime(nanoseconds: 0)
    var names: NameLookup

    /// When calls were there last; nil before the first.
    private var demandAt: MonotonicTime?

    /// A pool without connections.
    init(_ settings: PoolSettings, seed: UInt64) {
        self.settings = settings
        random = SeededRandom(seed: seed)
        names = NameLookup(interval: settings.resolve, backoff: settings.backoff)
    }

    // MARK: What became of connections

    /// A connection may take calls.
    mutating func connected(_ id: Int, callsMax: Int, _ now: MonotonicTime) {
        guard var member = members[id], member.state == .connecting else { return }
        member.state = .ready
        member.callsMax = callsMax
        member.readyAt = now
        let spread = 1 + 0.1 * (2 * random.unit() - 1)
        member.endAt = now.advanced(byNanoseconds: UInt64(Double(settings.age) * spread))
        member.idleSince = now
        members[id] = member
        if let index = place(of: member.endpoint) { places[index].failure = nil }
    }

    /// How many calls a connection has and may have, counted by its owner.
    mutating func setLoad(_ id: Int, open: Int, callsMax: Int, _ now: MonotonicTime) {
        members[id]?.open = open
        members[id]?.callsMax = callsMax
        if open > 0 {
            members[id]?.idleSince = nil
        } else if members[id]?.idleSince == nil {
            members[id]?.idleSince = now
        }
    }

    /// A long-lived call that ``pick(isLongLived:)`` gave to a connection is over.
    mutating func longLivedCallEnded(_ id: Int) { members[id]?.longLived -= 1 }

    /// The server asks for no further calls on a connection.
    mutating func draining(_ id: Int, _ now: MonotonicTime) {
        guard let member = members[id], member.state != .retiring else { return }
        members[id]?.state = .retiring
        unlink(id)
        names.isWanted = true
        noteEnd(member, nil, now)
    }

    /// A connection is over, or could not be made.
    mutating func ended(_ id: Int, _ reason: String, _ now: MonotonicTime) {
        guard let member = members.removeValue(forKey: id) else { return }
        if let index = place(of: member.endpoint) { places[index].ids.removeAll { $0 == id } }
        unlink(id)
        if let old = member.replaces { members[old]?.isBeingReplaced = false }
        guard member.state != .retiring else { return }
        names.isWanted = true
        noteEnd(member, reason, now)
    }

    /// An address whose connection fails, or ends at once without ever having had a call, is left
    /// alone for a while; one that has worked is connected to again at once.
    ///
    /// - Parameters:
    ///   - member: The connection that ends.
    ///   - reason: Why it counts as a failure; nil: it does not, the server is only going away.
    ///   - now: The time.
    private mutating func noteEnd(_ member: PoolMember, _ reason: String?, _ now: MonotonicTime) {
        if member.state == .ready, !places.contains(where: { hasReady($0) }) { beginPass(now) }
        guard let index = place(of: member.endpoint) else { return }
        let hasLived =
            member.state == .ready
            && (member.served > 0
                || now.nanoseconds(since: member.readyAt) > settings.backoff.initial)
        if hasLived {
            places[index].backoff.reset()
            places[index].failure = nil
        } else {
            places[index].failure = reason
            places[index].retryAt = now.advanced(
                byNanoseconds: places[index].backoff.pause(&random))
        }
    }

    /// The last connection that could be used is gone: what is known of the other addresses is old.
    ///
    /// Each is tried at once, once; the pauses after that go on growing.
    private mutating func beginPass(_ now: MonotonicTime) {
        for index in places.indices {
            places[index].failure = nil
            places[index].retryAt = now
        }
    }

    // MARK: Addresses

    /// The names stand for these addresses.
    mutating func resolved(_ addresses: [PoolAddress], _ now: MonotonicTime) {
        names.answered(now)
        var old = places
        places = []
        for address in addresses where place(of: address.endpoint) == nil {
            if let index = old.firstIndex(where: { $0.address.endpoint == address.endpoint }) {
                var kept = old.remove(at: index)
                kept.isGone = false
                if kept.address != address, !addresses.contains(kept.address) {
                    // Whoever is there now has another name, and other certificates to show.
                    kept.address = address
                    kept.failure = nil
                    kept.retryAt = now
                    kept.backoff.reset()
                }
                places.append(kept)
            } else {
                places.append(PoolPlace(address: address, backoff: Backoff(settings.backoff)))
            }
        }
        // Kept as long as there are connections, so that these find their place.
        for var gone in old where !gone.ids.isEmpty {
            gone.isGone = true
            places.append(gone)
        }
    }

    /// Not one of the names could be looked up; addresses that are known stay.
    mutating func resolveFailed(_ reason: String, _ now: MonotonicTime) {
        names.failed(reason, now, &random)
    }

    func place(of endpoint: Endpoint) -> Int? {
        places.firstIndex { $0.address.endpoint == endpoint }
    }

    // MARK: Calls

    /// Finds a connection for a call and counts the call as its load.
    mutating func pick(isLongLived: Bool, _ now: MonotonicTime) -> PoolPick {
        let count = places.count
        for offset in 0..<count {
            let index = settings.balancing == .roundRobin ? (turn + offset) % count : offset
            guard let id = member(in: places[index], isLongLived, now) else { continue }
            turn = (index + 1) % count
            members[id]?.idleSince = nil
            members[id]?.open += 1
            members[id]?.served += 1
            if isLongLived { members[id]?.longLived += 1 }
            return .connection(id)
        }
        return failure.map { .failing($0) } ?? .wait
    }

    /// The connection to one address that takes the next call: the eldest that is not old, so that
    /// what was added for a peak runs dry; an old one only when no other has room.
    private func member(
        in place: PoolPlace, _ isLongLived: Bool, _ now: MonotonicTime
    ) -> Int? {
        var old: Int?
        for id in place.ids {
            guard let member = members[id], member.hasRoom(isLongLived: isLongLived, settings)
            else { continue }
            if member.endAt > now { return id }
            if old == nil { old = id }
        }
        return old
    }

    /// Why no server can be reached; nil when one can, or that is not known yet.
    private var failure: String? {
        let present = places.filter { !$0.isGone }
        guard !present.isEmpty else { return names.failure }
        var reasons: [String] = []
        for place in present {
            guard let failure = place.failure, !hasReady(place) else { return nil }
            reasons.append("\(place.endpoint): \(failure)")
        }
        let shown = reasons.prefix(3).joined(separator: "; ")
        return reasons.count > 3 ? "\(shown); and \(reasons.count - 3) more" : shown
    }

    func hasReady(_ place: PoolPlace) -> Bool {
        place.ids.contains { members[$0]?.state == .ready }
    }

    // MARK: Steps

    /// What is to be done now.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - demand: The client's calls.
    /// - Returns: The steps, to be taken in order.
    mutating func steps(_ now: MonotonicTime, _ demand: PoolDemand) -> [PoolStep] {
        if !demand.isNone {
            if !isActive(now) { wake() }
            demandAt = now
        }
        var steps: [PoolStep] = []
        guard isActive(now) else {
            for id in members.keys.sorted() where members[id]?.state != .retiring {
                close(id, &steps)
            }
            return steps
        }
        if names.asks(now) { steps.append(.resolve) }
        retireGone(&steps)
        retireMoved(&steps)
        replaceOld(now, &steps)
        retireIdle(now, &steps)
        switch settings.balancing {
        case .roundRobin: connectAll(now, &steps)
        case .pickFirst: connectFirst(now, &steps)
        }
        grow(now, demand, &steps)
        return steps
    }

    /// When ``steps(_:_:)`` has to be asked again, whatever happens.
    func nextLook(_ now: MonotonicTime, _ demand: PoolDemand) -> MonotonicTime {
        guard let demandAt, isActive(now) else { return .never }
        var next = demand.isNone ? demandAt.advanced(byNanoseconds: settings.idle) : .never
        next = min(next, names.nextLook)
        for member in members.values where member.state == .ready {
            if member.endAt > now { next = min(next, member.endAt) }
            if let since = member.idleSince {
                let spareAt = since.advanced(byNanoseconds: settings.idle)
                if spareAt > now { next = min(next, spareAt) }
            }
        }
        for place in places where !place.isGone && place.retryAt > now {
            next = min(next, place.retryAt)
        }
        if raceAt > now, members.values.contains(where: { $0.state == .connecting }) {
            next = min(next, raceAt)
        }
        return next
    }

    private func isActive(_ now: MonotonicTime) -> Bool {
        guard let demandAt else { return false }
        return now.nanoseconds(since: demandAt) < settings.idle
    }

    /// After a long silence nothing is known to fail.
    private mutating func wake() {
        for index in places.indices { places[index].failure = nil }
        names.wake()
    }

    // MARK: Changing members

    mutating func connect(_ index: Int, replacing old: Int? = nil, _ steps: inout [PoolStep]) {
        let id = nextID
        nextID += 1
        var member = PoolMember(id: id, address: places[index].address)
        member.replaces = old
        members[id] = member
        places[index].ids.append(id)
        if let old { members[old]?.isBeingReplaced = true }
        steps.append(.connect(id, places[index].address))
    }

    /// Ends a connection that has no calls, or is not ready.
    mutating func close(_ id: Int, _ steps: inout [PoolStep]) {
        members[id]?.state = .retiring
        unlink(id)
        steps.append(.close(id))
    }

    mutating func retire(_ id: Int, _ steps: inout [PoolStep]) {
        guard let member = members[id], member.state != .retiring else { return }
        if member.state == .connecting { return close(id, &steps) }
        members[id]?.state = .retiring
        unlink(id)
        steps.append(.retire(id))
    }

    /// A connection takes no further calls: what was made to replace it stands for itself.
    private mutating func unlink(_ id: Int) {
        for other in members.keys where members[other]?.replaces == id {
            members[other]?.replaces = nil
        }
    }
}
