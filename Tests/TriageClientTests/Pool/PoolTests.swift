// The pool's rules: where calls go, which connections there are, and when. No sockets, no threads,
// no waiting.

import Testing
import TriageBase

@testable import TriageClient

@Suite struct PoolTests {
    private func busy(
        _ addresses: [String] = ["1:1", "2:2"],
        _ balancing: ServiceConfig.Balancing = .roundRobin,
        _ change: (inout PoolSettings) -> Void = { _ in }
    ) -> PoolBench {
        var bench = PoolBench(addresses, balancing, change)
        bench.demand.open = 1
        bench.step()
        return bench
    }

    // MARK: Choosing

    @Test func withoutCalls_nothingIsConnectedTo() {
        var bench = PoolBench()
        expect(bench.step().isEmpty)
        expect(bench.pool.nextLook(bench.now, bench.demand) == .never)
    }

    @Test func roundRobin_connectsToAll_andTakesTurns() {
        var bench = busy()
        expect(bench.connecting.values.sorted() == ["1:1", "2:2"])
        bench.answer()
        expect((0..<6).map { _ in bench.pick() } == ["1:1", "2:2", "1:1", "2:2", "1:1", "2:2"])
    }

    @Test func pickFirst_takesTheFirstThatAnswers_andStays() {
        var bench = busy(["1:1", "2:2", "3:3"], .pickFirst)
        expect(Array(bench.connecting.values) == ["1:1"])
        bench.refuse()
        bench.step()
        expect(Array(bench.connecting.values) == ["2:2"], "the next at once")
        bench.answer()
        bench.advance(milliseconds: 60_000)
        expect(bench.step().isEmpty)
        expect((0..<3).map { _ in bench.pick() } == ["2:2", "2:2", "2:2"])
    }

    @Test func pickFirst_doesNotWaitForAnAddressThatIsSilent() {
        var bench = busy(["1:1", "2:2", "3:3"], .pickFirst)
        bench.advance(milliseconds: 249)
        expect(bench.step().isEmpty)
        expect(bench.pool.nextLook(bench.now, bench.demand) > bench.now)
        bench.advance(milliseconds: 1)
        bench.step()
        expect(bench.connecting.values.sorted() == ["1:1", "2:2"])
        bench.answer("2:2")
        bench.step()
        expect(bench.connecting.isEmpty, "the race is over")
        expect(bench.pick() == "2:2")
    }

    // MARK: Addresses that fail

    @Test func aDeadAddress_leavesTheRotation_untilItIsBack() {
        var bench = busy()
        bench.refuse("1:1")
        bench.answer("2:2")
        expect((0..<4).map { _ in bench.pick() } == ["2:2", "2:2", "2:2", "2:2"])
        bench.advance(milliseconds: 790)
        bench.step()
        expect(bench.connecting.isEmpty, "0.8 s at least")
        bench.advance(milliseconds: 420)
        bench.step()
        expect(Array(bench.connecting.values) == ["1:1"], "1.2 s at most")
        bench.answer()
        expect(Set((0..<4).map { _ in bench.pick() }) == ["1:1", "2:2"])
    }

    @Test func backoff_grows_toTwoMinutes() {
        var bench = busy(["1:1"])
        var base = 1_000.0
        for _ in 0..<14 {
            bench.refuse()
            let next = bench.pool.places[0].retryAt.nanoseconds(since: bench.now)
            let pause = Double(next) / 1e6
            expect(pause >= base * 0.8 - 1 && pause <= base * 1.2 + 1)
            bench.now = bench.pool.places[0].retryAt
            bench.step()
            base = min(base * 1.6, 120_000)
        }
    }

    @Test func whenAllFail_callsAreToldWhy_alsoWhileItIsTriedAgain() throws {
        var bench = busy()
        expect(bench.failure == nil, "not known yet")
        bench.refuse("1:1")
        expect(bench.failure == nil)
        bench.refuse("2:2")
        let failure = try require(bench.failure)
        expect(failure.contains("1:1: refused") && failure.contains("2:2: refused"))
        bench.advance(milliseconds: 1_300)
        bench.step()
        expect(bench.connecting.count == 2)
        expect(bench.failure != nil)
        bench.answer("1:1")
        expect(bench.failure == nil && bench.pick() == "1:1")
    }

    @Test func afterALongSilence_nothingIsKnownToFail() {
        var bench = busy(["1:1"])
        bench.refuse()
        bench.demand = PoolDemand()
        bench.step()
        bench.advance(milliseconds: 240_000)
        expect(bench.step().isEmpty)
        bench.demand.waiting = 1
        bench.step()
        expect(bench.failure == nil)
        expect(bench.connecting.count == 1)
    }

    @Test func aConnectionThatWorked_isMadeAgainAtOnce() {
        var bench = busy(["1:1"])
        bench.answer()
        expect(bench.pick() == "1:1")
        bench.lose(1)
        bench.step()
        expect(bench.connecting.count == 1)
        expect(bench.failure == nil)
    }

    @Test func aServerThatEndsEachConnectionAtOnce_isLeftAlone() {
        var bench = busy(["1:1"])
        bench.answer()
        bench.pool.draining(1, bench.now)
        bench.step()
        expect(bench.connecting.isEmpty)
        expect(bench.failure == nil, "it says that it is going away: calls wait")
        bench.advance(milliseconds: 1_300)
        bench.step()
        bench.answer()
        bench.lose(2)
        bench.step()
        expect(bench.connecting.isEmpty)
        expect(bench.failure != nil, "it says nothing")
    }

    @Test(arguments: [ServiceConfig.Balancing.pickFirst, .roundRobin])
    func whenTheLastServerGoes_theOthersAreTriedAtOnce(
        balancing: ServiceConfig.Balancing
    ) {
        var bench = busy(["1:1", "2:2"], balancing)
        bench.refuse("1:1")
        bench.step()
        bench.answer("2:2")
        bench.step()
        expect(bench.pick() == "2:2")
        // The first is back, and in back-off all the same.
        bench.lose(2)
        bench.step()
        bench.refuse("2:2")
        expect(bench.failure == nil)
        bench.step()
        bench.answer("1:1")
        expect(bench.pick() == "1:1")
    }

    // MARK: Room

    @Test func fullConnections_getCompany_upToTheLimit() {
        var bench = busy(["1:1"])
        bench.answer(callsMax: 10)
        var taken = 0
        for _ in 0..<20 {
            while bench.pick() != nil { taken += 1 }
            bench.demand.waiting = 100
            bench.step()
            bench.answer(callsMax: 10)
        }
        expect(taken == 80)
        expect(bench.ready.count == Limits.clientConnectionsMax)
        expect(bench.failure == nil, "they wait")
    }

    @Test func noMoreConnections_areMadeThanCallsNeed() {
        var bench = busy(["1:1"])
        bench.answer(callsMax: 10)
        while bench.pick() != nil {}
        bench.demand.waiting = 11
        bench.step()
        bench.step()
        expect(bench.connecting.count == 2)
        var watches = busy(["1:1"])
        watches.answer()
        while watches.pick(longLived: true) != nil {}
        watches.demand.waitingLongLived = 1
        watches.step()
        expect(watches.connecting.count == 1)
    }

    @Test func watches_leaveRoomForCalls_andGetAConnectionMore() {
        var bench = busy(["1:1"])
        bench.answer()
        var watches = 0
        while bench.pick(longLived: true) != nil { watches += 1 }
        expect(watches == Limits.longLivedStreamsMax)
        expect(bench.pick() == "1:1")
        bench.pool.longLivedCallEnded(1)
        expect(bench.pick(longLived: true) == "1:1")
    }

    @Test func aServerThatTakesNoCalls_makesThemWait() {
        var bench = busy(["1:1"])
        bench.answer(callsMax: 0)
        expect(bench.pick() == nil && bench.failure == nil)
        bench.demand.waiting = 5
        expect(bench.step().isEmpty)
    }

    @Test func aServerThatTakesNoneForAWhile_keepsNoOtherFromGrowing() {
        var bench = busy()
        bench.answer("1:1", callsMax: 0)
        bench.answer("2:2", callsMax: 2)
        expect((0..<3).map { _ in bench.pick() } == ["2:2", "2:2", nil])
        bench.demand.waiting = 1
        bench.step()
        expect(Array(bench.connecting.values) == ["2:2"], "and none more to who takes none")
    }

    @Test func connectionsOfAPeak_areLetGo() {
        var bench = busy(["1:1"])
        bench.answer(callsMax: 1)
        expect(bench.pick() != nil)
        bench.demand.waiting = 2
        bench.step()
        bench.answer(callsMax: 1)
        expect(bench.ready.count == 3)
        bench.demand.waiting = 0
        bench.advance(milliseconds: 1)
        bench.step()
        bench.advance(milliseconds: 240_001)
        bench.step()
        expect(bench.ready.count == 1)
        expect(bench.pool.nextLook(bench.now, bench.demand) > bench.now)
    }
}

/// The ends of connections that nobody should notice.
@Suite struct PoolAgeTests {
    private func aged() -> PoolBench {
        var bench = PoolBench(["1:1"])
        bench.demand.open = 1
        bench.step()
        bench.answer()
        _ = bench.pick()
        return bench
    }

    @Test(arguments: 1...20) func age_hasJitter(seed: UInt64) throws {
        var bench = PoolBench(["1:1"], seed: seed)
        bench.demand.open = 1
        bench.step()
        bench.answer()
        let member = try require(bench.pool.members[1])
        let age = Double(member.endAt.nanoseconds(since: bench.now)) / 1e6
        expect(age >= 1_620_000 && age <= 1_980_000)
    }

    @Test func anOldConnection_servesUntilItsSuccessorDoes() {
        var bench = aged()
        bench.advance(milliseconds: 2_000_000)
        bench.step()
        expect(bench.connecting.count == 1)
        expect(bench.pick() == "1:1", "the old one")
        expect(bench.step().isEmpty, "one successor")
        bench.answer()
        bench.step()
        expect(bench.retired == [1])
        expect(bench.pick() == "1:1")
        expect(bench.pool.members[2]?.served == 1)
    }

    @Test func aSuccessorThatFails_leavesTheOldOneInPlace() {
        var bench = aged()
        bench.advance(milliseconds: 2_000_000)
        bench.step()
        bench.refuse()
        bench.step()
        expect(bench.pick() == "1:1" && bench.failure == nil)
        expect(bench.connecting.isEmpty, "in back-off")
        expect(bench.pool.nextLook(bench.now, bench.demand) > bench.now)
        bench.advance(milliseconds: 1_300)
        bench.step()
        expect(bench.connecting.count == 1)
    }

    @Test func theOldOneEndsByItself_andItsSuccessorIsEnough() {
        var bench = aged()
        bench.advance(milliseconds: 2_000_000)
        bench.step()
        bench.lose(1)
        bench.step()
        expect(bench.connecting.count == 1)
        bench.answer()
        bench.step()
        expect(bench.ready.count == 1 && bench.connecting.isEmpty)
    }

    @Test func goAway_bringsAnotherConnectionAtOnce() {
        var bench = aged()
        bench.pool.draining(1, bench.now)
        bench.step()
        expect(bench.connecting.count == 1)
        expect(bench.pick() == nil && bench.failure == nil, "calls wait for it")
        bench.answer()
        expect(bench.pick() == "1:1")
    }

    @Test func withoutCalls_everythingIsClosed() {
        var bench = aged()
        bench.demand = PoolDemand()
        bench.pool.setLoad(1, open: 0, callsMax: 100, bench.now)
        bench.step()
        expect(
            bench.pool.nextLook(bench.now, bench.demand)
                <= bench.now.advanced(byNanoseconds: 240_000_000_000))
        bench.advance(milliseconds: 240_000)
        expect(bench.step() == [.close(1)])
        expect(bench.pool.members.isEmpty)
    }
}

/// Names, and any mix of everything.
@Suite struct PoolNameTests {
    @Test func names_areLookedUpAtFirst_andAfterAFailure_notMoreOftenThanEvery5Seconds() {
        var bench = PoolBench(["1:1"])
        bench.demand.open = 1
        bench.step()
        bench.answer()
        let first = bench.resolves
        bench.advance(milliseconds: 60_000)
        bench.step()
        expect(bench.resolves == first, "nothing has failed")
        _ = bench.pick()
        bench.lose(1)
        bench.step()
        expect(bench.resolves == first + 1)
        bench.pool.resolved(PoolBench.addresses(["1:1"]), bench.now)
        bench.answer()
        _ = bench.pick()
        bench.lose(2)
        bench.step()
        expect(bench.resolves == first + 1)
        bench.advance(milliseconds: 5_000)
        bench.step()
        expect(bench.resolves == first + 2)
    }

    @Test func aNameWithoutAddress_failsCalls_andIsAskedAgain() {
        var bench = PoolBench([])
        bench.pool.resolveFailed("a has no address", bench.now)
        bench.demand.waiting = 1
        expect(bench.failure == "a has no address")
        bench.step()
        let asked = bench.resolves
        bench.advance(milliseconds: 1_300)
        bench.step()
        expect(bench.resolves >= asked)
        bench.pool.resolved(PoolBench.addresses(["1:1"]), bench.now)
        expect(bench.failure == nil)
        bench.step()
        expect(bench.connecting.count == 1)
    }

    @Test func addresses_comeAndGo_andCallsOnThoseThatGoAreFinished() {
        var bench = PoolBench(["1:1", "2:2"])
        bench.demand.open = 1
        bench.step()
        bench.answer()
        bench.pool.resolved(PoolBench.addresses(["2:2", "3:3"]), bench.now)
        bench.step()
        expect(bench.retired.count == 1)
        bench.answer()
        expect(Set((0..<6).map { _ in bench.pick() }) == ["2:2", "3:3"])
        bench.pool.ended(bench.retired[0], "retired", bench.now)
        bench.step()
        expect(bench.pool.places.count == 2)
    }

    /// An address that a roll-out handed over: whoever is there now shows other certificates.
    @Test func anAddressThatAnotherNameHasNow_isConnectedToUnderThatOne() throws {
        var bench = PoolBench(["1:1", "2:2"])
        bench.demand.open = 1
        bench.step()
        bench.answer()
        _ = bench.pick()
        let old = try require(bench.ready.first { $0.value == "1:1" }?.key)
        let moved = PoolAddress(target: 1, endpoint: try require(Endpoint("1:1")))
        // Both names have it for a while: nothing changes.
        var both = PoolBench.addresses(["2:2"]) + [moved]
        both.append(PoolAddress(target: 0, endpoint: moved.endpoint))
        bench.pool.resolved(both, bench.now)
        expect(bench.step().isEmpty)
        bench.pool.resolved([moved], bench.now)
        let steps = bench.step()
        expect(steps.contains(.retire(old)))
        let next = try require(bench.connecting.first?.key)
        expect(steps.contains(.connect(next, moved)))
        expect(bench.pick() == nil, "not to the one before, under another name")
        bench.answer()
        expect(bench.pick() == "1:1")
    }

    @Test func anAddressThatFailedUnderItsOldName_isTriedAtOnceUnderAnother() throws {
        var bench = PoolBench(["1:1"])
        bench.demand.open = 1
        bench.step()
        bench.refuse()
        expect(bench.failure != nil)
        let moved = PoolAddress(target: 1, endpoint: try require(Endpoint("1:1")))
        bench.pool.resolved([moved], bench.now)
        expect(bench.failure == nil, "nothing is known of it")
        expect(bench.step().contains(.connect(2, moved)))
    }

    @Test func families_takeTurns() {
        expect(
            interleaved(["::1", "::2", "::3", "1.1.1.1"]) == ["::1", "1.1.1.1", "::2", "::3"])
        expect(interleaved(["1.1.1.1", "::1", "::2"]) == ["1.1.1.1", "::1", "::2"])
        expect(interleaved([]).isEmpty)
    }

    /// Anything may happen at any time; some things must always hold.
    @Test(arguments: 1...60) func anyHistory_keepsItsPromises(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let balancing: ServiceConfig.Balancing = seed % 2 == 0 ? .pickFirst : .roundRobin
        let all = ["1:1", "2:2", "3:3", "4:4"]
        var bench = PoolBench(all, balancing, seed: seed) { $0.connectionsMax = 3 }
        for _ in 0..<2_000 {
            switch random.next() % 12 {
            case 0: bench.demand.open = Int(random.next() % 4)
            case 1: bench.demand.waiting = Int(random.next() % 20)
            case 2: bench.advance(milliseconds: random.next() % 400_000)
            case 3: bench.refuse(all[Int(random.next() % 4)])
            case 4:
                bench.pool.resolved(
                    PoolBench.addresses(all.filter { _ in random.next() % 4 > 0 }), bench.now)
            case 5: if let id = bench.ready.keys.min() { bench.lose(id) }
            case 6:
                if let id = bench.ready.keys.max() {
                    bench.ready[id] = nil
                    bench.retired.append(id)
                    bench.pool.draining(id, bench.now)
                }
            case 7:
                for id in bench.retired { bench.pool.ended(id, "done", bench.now) }
                bench.retired = []
            case 8, 9: bench.answer(all[Int(random.next() % 4)], callsMax: 5)
            default: bench.advance(milliseconds: random.next() % 2_000)
            }
            bench.step()
            bench.check(balancing)
        }
    }
}

extension PoolBench {
    /// What holds whatever has happened.
    fileprivate mutating func check(_ balancing: ServiceConfig.Balancing) {
        expect(pool.nextLook(now, demand) > now, "no busy loop")
        for place in pool.places {
            let active = place.ids.compactMap { pool.members[$0] }.filter { $0.state != .retiring }
            expect(
                active.count(where: { $0.replaces == nil }) <= pool.settings.connectionsMax,
                "no more than allowed")
            for member in active where member.replaces != nil {
                expect(pool.members[member.replaces ?? 0] != nil, "it replaces somebody")
            }
        }
        expect(Set(pool.places.flatMap(\.ids)) == Set(pool.members.keys), "each has its place")
        for id in pool.members.keys where pool.members[id]?.state == .ready {
            expect(ready[id] != nil, "what it thinks ready is")
        }
        if balancing == .pickFirst {
            expect(Set(ready.values).count <= 1, "one address")
        }
        for id in ready.keys { pool.setLoad(id, open: 0, callsMax: 5, now) }
        if case .connection(let id) = pool.pick(isLongLived: false, now) {
            expect(ready[id] != nil, "calls go where they may")
        } else if demand.waiting + demand.open > 0 {
            expect(ready.isEmpty, "a ready connection takes calls")
        }
        for id in ready.keys { pool.setLoad(id, open: 0, callsMax: 5, now) }
    }
}
