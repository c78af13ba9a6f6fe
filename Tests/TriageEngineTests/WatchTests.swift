// Watches: the initial state, what follows, resuming, and consumers that do not keep up.

import TestSupport
import Testing
import TriageBase
import TriageDomain

@testable import TriageEngine

@Suite struct WatchTests {
    private func watchBoard(
        _ bench: EngineBench, resume: UInt64 = 0, _ filter: BoardFilter = BoardFilter()
    ) -> EngineRequest {
        bench.request(.watchBoard(resume: resume, filter: filter))
    }

    private func parts(_ completions: [Completion]) -> [BoardChanges] {
        completions.compactMap {
            if case .boardChanges(let part) = $0.reply { part } else { nil }
        }
    }

    private func numbers(_ parts: [BoardChanges]) -> [String] {
        parts.flatMap(\.changes).map { change in
            switch change {
            case .changed(let view): "\(view.value.number.value)"
            case .removed(let number): "-\(number.value)"
            }
        }
    }

    /// Lets the engine do what it still has to do without a request.
    private func settle(_ bench: EngineBench) -> [Completion] {
        var all: [Completion] = []
        while bench.core.hasWork { all += bench.turn() }
        return all
    }

    @Test func anEmptyBoard_isABookmark() {
        let bench = EngineBench()
        let first = parts(bench.turn(watchBoard(bench)))
        #expect(first.count == 1)
        #expect(first[0].changes.isEmpty && first[0].bookmark == 0 && first[0].revision == 0)
    }

    @Test func theWholeBoard_comesInPages_thenTheBookmark_thenChanges() throws {
        let bench = EngineBench { $0.watchPartMax = 2 }
        for subject in 0..<5 { _ = try bench.submit(about: UInt64(subject)) }
        let completions = bench.turn(watchBoard(bench))
        let initial = parts(completions + settle(bench))
        #expect(numbers(initial) == ["1", "2", "3", "4", "5"])
        #expect(initial.map(\.bookmark) == [nil, nil, 5])
        #expect(initial.last?.revision == 5)
        let change = bench.turn(bench.request(.write(bench.report(about: 9), bench.freshKey())))
        let part = try #require(parts(change).first)
        #expect(numbers([part]) == ["6"] && part.revision == 6)
        #expect(part.bookmark == nil)
    }

    /// What a thousand watches cost rests on this.
    @Test func watchesThatKnowTheSame_getTheSamePart() throws {
        let bench = EngineBench()
        for _ in 0..<3 { bench.turn(watchBoard(bench)) }
        var level = BoardFilter()
        level.states = 1 << CaseState.queued.rawValue
        bench.turn(watchBoard(bench, level))
        let sent = parts(
            bench.turn(bench.request(.write(bench.report(about: 1), bench.freshKey()))))
        #expect(numbers(sent) == ["1", "1", "1", "1"])
        #expect(Set(sent.map(ObjectIdentifier.init)).count == 2, "one for each filter")
    }

    @Test func watchesOfAGroup_costOneHandOver_andAPausedOneGoesAlone_untilItHasCaughtUp() throws {
        let bench = EngineBench()
        var watches: [EngineRequest] = []
        for _ in 0..<3 {
            watches.append(watchBoard(bench))
            bench.turn(watches[watches.count - 1])
        }
        #expect(bench.core.watches.groups.values.map(\.calls) == [watches.map(\.call)])
        #expect(bench.core.watches.alone.isEmpty)
        bench.core.turn([
            RequestBatch(
                reactor: 0,
                requests: [bench.request(.write(bench.report(about: 1), bench.freshKey()))])
        ])
        let delivered = bench.sink.take().filter(\.reply.isWatchPart)
        #expect(delivered.map(\.reply.kind) == ["sharedBoardChanges"])
        func told(_ operation: EngineOperation, by watch: EngineRequest) -> EngineRequest {
            var request = bench.request(operation)
            request.call = watch.call
            return request
        }
        bench.turn(told(.pause, by: watches[1]))
        #expect(Set(bench.core.watches.alone.keys) == [watches[1].call])
        var sent: [UInt64: [String]] = [:]
        func note(_ completions: [Completion]) {
            for completion in completions {
                guard case .boardChanges(let part) = completion.reply else { continue }
                sent[completion.call, default: []] += numbers([part])
            }
        }
        for subject in 2..<5 as Range<UInt64> {
            note(bench.turn(bench.request(.write(bench.report(about: subject), bench.freshKey()))))
        }
        #expect(sent == [watches[0].call: ["2", "3", "4"], watches[2].call: ["2", "3", "4"]])
        note(bench.turn(told(.credit(1_024), by: watches[1])))
        #expect(sent[watches[1].call] == ["2", "3", "4"])
        #expect(bench.core.watches.groups.values.map(\.calls) == [watches.map(\.call)])
        for watch in watches { bench.turn(told(.cancel, by: watch)) }
        #expect(bench.core.watches.groups.isEmpty && bench.core.watches.count == 0)
    }

    @Test func aGroupWhosePartsAreNotTaken_isSentNoMore_andEndedWhenTheRingHasOvertakenIt() throws {
        let bench = EngineBench { $0.ringCount = 16 }
        let watches = [watchBoard(bench), watchBoard(bench)]
        for watch in watches { bench.turn(watch) }
        var delivered: [Completion] = []
        for subject in 0..<40 as Range<UInt64> {
            let write = bench.request(.write(bench.report(about: subject), bench.freshKey()))
            bench.core.turn([RequestBatch(reactor: 0, requests: [write])])
            delivered += bench.sink.take()
        }
        let shared = delivered.filter { $0.reply.kind == "sharedBoardChanges" }
        #expect(shared.count == bench.core.configuration.watchCredits)
        let ended = delivered.filter { $0.reply.kind == "failed(watchTooSlow(revision: 8))" }
        #expect(Set(ended.map(\.call)) == Set(watches.map(\.call)) && ended.count == 2)
        #expect(bench.core.watches.count == 0 && bench.core.watches.groups.isEmpty)
        #expect(bench.core.currentStatus().counters.watchesTooSlow == 2)
    }

    @Test func aRemoval_goesToThoseWhoMayHaveTheCase_whereOthersStandBesideThem() throws {
        let bench = EngineBench()
        var queued = BoardFilter()
        queued.states = 1 << CaseState.queued.rawValue
        _ = try bench.submit(about: 1)
        _ = try bench.claim()
        let fresh = watchBoard(bench, queued)
        let revision = try #require(parts(bench.turn(fresh)).first).revision
        let resumed = watchBoard(bench, resume: revision, queued)
        bench.turn(resumed)
        // A further report of a case that is not queued, and a new case.
        let completions = bench.turn(
            bench.request(.write(bench.report(about: 1), bench.freshKey())),
            bench.request(.write(bench.report(about: 2), bench.freshKey())))
        func sent(_ watch: EngineRequest) -> [String] {
            numbers(parts(completions.filter { $0.call == watch.call }))
        }
        #expect(sent(fresh) == ["2"])
        #expect(sent(resumed) == ["-1", "2"])
    }

    @Test func changesWhileTheInitialStateIsSent_arriveAfterIt() throws {
        let bench = EngineBench {
            $0.watchPartMax = 2
            $0.watchCredits = 1
        }
        for subject in 0..<4 { _ = try bench.submit(about: UInt64(subject)) }
        let watch = watchBoard(bench)
        #expect(numbers(parts(bench.turn(watch))) == ["1", "2"])
        // A change of a case that was sent already, and a new one.
        let meanwhile = bench.turn(
            bench.request(.write(bench.report(about: 0), bench.freshKey())),
            bench.request(.write(bench.report(about: 99), bench.freshKey())))
        #expect(parts(meanwhile).isEmpty)
        var rest: [BoardChanges] = []
        for _ in 0..<6 {
            var credit = bench.request(.credit(1))
            credit.call = watch.call
            rest += parts(bench.turn(credit))
        }
        #expect(rest.last?.bookmark == 5 && rest.last?.revision == 6)
        #expect(Set(numbers(rest)).isSuperset(of: ["1", "3", "4", "5"]))
    }

    @Test func aCaseThatChangesTwice_isSentOnce_asItIsNow() throws {
        let bench = EngineBench()
        bench.turn(watchBoard(bench))
        let completions = bench.turn(
            bench.request(.write(bench.report(about: 1), bench.freshKey())),
            bench.request(.write(bench.report(about: 1), bench.freshKey())))
        let sent = parts(completions)
        #expect(numbers(sent) == ["1"])
        guard case .changed(let view)? = sent.first?.changes.first else { throw Unexpected() }
        #expect(view.value.reportCount == 2 && sent[0].revision == 2)
    }

    @Test func aCaseThatCeasesToMatch_isRemoved_once_andOthersAreNot() throws {
        let bench = EngineBench()
        var filter = BoardFilter()
        filter.states = 1 << CaseState.queued.rawValue
        _ = try bench.submit(about: 1)
        bench.turn(watchBoard(bench, filter))
        let claimed = bench.turn(
            bench.request(.claim(anything, bench.freshKey(), waitMilliseconds: 0)))
        #expect(numbers(parts(claimed)) == ["-1"])
        guard case .outcome(.offer(let offer, _, _))? = claimed.first?.reply else {
            throw Unexpected()
        }
        // Further changes of a case that the watch does not have are not its business.
        let accepted = bench.turn(
            bench.request(
                .write(
                    .acceptCase(assignment: offer.value.number, token: offer.value.number),
                    bench.freshKey())))
        #expect(parts(accepted).isEmpty)
        let released = bench.turn(
            bench.request(
                .write(
                    .releaseLease(
                        assignment: offer.value.number, token: offer.value.number, reason: .other),
                    bench.freshKey())))
        #expect(numbers(parts(released)) == ["1"])
    }

    @Test func aWatch_resumes_whereItWas() throws {
        let bench = EngineBench()
        for subject in 0..<3 { _ = try bench.submit(about: UInt64(subject)) }
        let resumed = parts(bench.turn(watchBoard(bench, resume: 2)))
        #expect(numbers(resumed) == ["3"])
        #expect(resumed.map(\.bookmark) == [3])
        let current = parts(bench.turn(watchBoard(bench, resume: 3)))
        #expect(numbers(current) == [] && current.map(\.bookmark) == [3])
    }

    @Test(arguments: [1, 7] as [UInt64])
    func aRevisionThatIsNotKept_orNeverWas_isCompacted(resume: UInt64) throws {
        let bench = EngineBench { $0.ringCount = 2 }
        for subject in 0..<5 { _ = try bench.submit(about: UInt64(subject)) }
        let replies = bench.turn(watchBoard(bench, resume: resume))
        #expect(replies.map(\.reply.kind) == ["failed(revisionCompacted(oldest: 3))"])
        #expect(parts(bench.turn(watchBoard(bench, resume: 3))).count == 1)
    }

    @Test func aWatchWithoutCredit_lags_thenIsEnded_withWhereToResume() throws {
        let bench = EngineBench {
            $0.ringCount = 4
            $0.watchCredits = 1
        }
        bench.turn(watchBoard(bench))
        var replies: [Completion] = []
        for subject in 0..<5 {
            replies += bench.turn(
                bench.request(.write(bench.report(about: UInt64(subject)), bench.freshKey())))
        }
        #expect(replies.last?.reply.kind == "failed(watchTooSlow(revision: 0))")
        #expect(bench.core.watches.count == 0)
        #expect(parts(replies).isEmpty)
    }

    @Test func aQuietFilter_isToldHowFarItIs() throws {
        let bench = EngineBench { $0.ringCount = 16 }
        var filter = BoardFilter()
        filter.families = 1 << HarmFamily.disaster.rawValue
        bench.turn(watchBoard(bench, filter))
        var sent: [BoardChanges] = []
        for subject in 0..<9 {
            sent += parts(
                bench.turn(
                    bench.request(.write(bench.report(about: UInt64(subject)), bench.freshKey()))))
        }
        #expect(numbers(sent) == [])
        #expect(sent.map(\.revision) == [3, 6, 9])
    }

    @Test func aCancelledWatch_isForgotten() {
        let bench = EngineBench()
        let watch = watchBoard(bench)
        bench.turn(watch)
        var cancel = bench.request(.cancel)
        cancel.call = watch.call
        #expect(bench.turn(cancel).isEmpty && bench.core.watches.count == 0)
    }

    // MARK: Assignments and disclosure requests

    @Test func assignments_ofTheCaller_expiryIncluded_andOfNobodyElse() throws {
        let bench = EngineBench()
        for subject in 0..<2 { _ = try bench.submit(about: UInt64(subject)) }
        _ = try bench.claim(by: "ana")
        let opened = bench.turn(
            bench.request(.watchAssignments(resume: 0), by: "ana"))
        func states(_ completions: [Completion]) -> [AssignmentState] {
            completions.flatMap { completion -> [AssignmentState] in
                guard case .assignmentChanges(let part) = completion.reply else { return [] }
                return part.assignments.map(\.value.state)
            }
        }
        #expect(states(opened) == [.offered])
        guard case .assignmentChanges(let part)? = opened.first?.reply else { throw Unexpected() }
        #expect(part.bookmark && part.revision == 3)
        #expect(
            states(
                bench.turn(
                    bench.request(
                        .claim(anything, bench.freshKey(), waitMilliseconds: 0), by: "ben"))) == [])
        bench.clock.advance(milliseconds: 600_000)
        #expect(states(bench.turn()) == [.timedOut])
    }

    @Test func anAssignmentThatIsForgotten_isNotPassedOver() throws {
        let bench = EngineBench()
        for subject in 0..<2 { _ = try bench.submit(about: UInt64(subject)) }
        let known = bench.core.status.durableSequence
        _ = try bench.claim(by: "ana")
        bench.clock.advance(milliseconds: 600_000)
        _ = bench.turn()
        // What ended is forgotten after a day, when another one begins.
        bench.clock.advance(milliseconds: 25 * 3_600_000)
        _ = bench.turn()
        _ = try bench.claim(by: "ben")
        let resumed = bench.turn(bench.request(.watchAssignments(resume: known), by: "ana"))
        guard case .failed(.watchTooSlow(known))? = resumed.first?.reply else {
            throw Unexpected()
        }
        let again = bench.turn(bench.request(.watchAssignments(resume: known), by: "ana"))
        guard case .failed(.revisionCompacted(let oldest))? = again.first?.reply else {
            throw Unexpected()
        }
        #expect(oldest > known && bench.core.watches.count == 0)
        let anew = bench.turn(bench.request(.watchAssignments(resume: 0), by: "ana"))
        guard case .assignmentChanges(let part)? = anew.first?.reply else { throw Unexpected() }
        #expect(part.assignments.isEmpty && part.bookmark)
    }

    private func file(_ bench: EngineBench, by name: String) throws -> DisclosureView {
        let filing = emergencyFiling()
        let replies = bench.turn(
            bench.request(.write(.submitDisclosureRequest(filing), bench.freshKey()), by: name))
        guard case .outcome(.changedDisclosure(let view))? = replies.first?.reply else {
            throw Unexpected()
        }
        return view
    }

    @Test func aDisclosureRequest_isWatched_untilItEnds() throws {
        let bench = EngineBench()
        let view = try file(bench, by: "police")
        let opened = bench.turn(
            bench.request(
                .watchDisclosure(view.value.id, requester: person("police")), by: "police"))
        #expect(opened.map(\.reply.kind) == ["disclosureChange"])
        let ended = bench.turn(
            bench.request(
                .write(
                    .rejectDisclosure(
                        request: view.value.id,
                        rejection: Rejection(reason: .duplicate, explanation: ""), etag: nil),
                    bench.freshKey()), by: "legal"))
        #expect(ended.map(\.reply.kind) == ["outcome", "disclosureChange"])
        guard case .disclosureChange(let last, ended: true)? = ended.last?.reply else {
            throw Unexpected()
        }
        #expect(last.value.state == .rejected && bench.core.watches.count == 0)
    }

    @Test func aForeignDisclosureRequest_isNotFound_likeAMissingOne() throws {
        let bench = EngineBench()
        let view = try file(bench, by: "police")
        let foreign = bench.turn(
            bench.request(.watchDisclosure(view.value.id, requester: person("other"))))
        let missing = bench.turn(
            bench.request(.watchDisclosure(DisclosureID(3), requester: person("other"))))
        #expect(foreign.map(\.reply.kind) == missing.map(\.reply.kind))
        #expect(foreign.first?.reply.kind.hasPrefix("refused(notFound") == true)
    }

    @Test func whatAnInsiderWatches_isRecorded() throws {
        let bench = EngineBench()
        let view = try file(bench, by: "police")
        let before = bench.journal.durableCount
        bench.turn(bench.request(.watchDisclosure(view.value.id, requester: nil), by: "legal"))
        #expect(bench.journal.durableCount == before + 1)
    }
}

@Suite struct ChangeRingTests {
    @Test func position_isTheFirstChangeAfterARevision() {
        var ring = ChangeRing(capacity: 4, floor: 10)
        #expect(ring.position(after: 9) == nil && ring.position(after: 10) == 0)
        for revision in [11, 11, 13, 14, 14, 15] as [UInt64] {
            ring.append(revision: revision, number: 1)
        }
        // Two of the six are gone: 11 twice.
        #expect(ring.start == 2 && ring.end == 6 && ring.floor == 11)
        #expect(ring.position(after: 10) == nil)
        #expect(ring.position(after: 11) == 2)
        #expect(ring.position(after: 12) == 2)
        #expect(ring.position(after: 13) == 3)
        #expect(ring.position(after: 14) == 5)
        #expect(ring.position(after: 15) == 6)
        #expect(ring.revision(before: 3, current: 20) == 13)
        #expect(ring.revision(before: 6, current: 20) == 20)
    }

    @Test func numberSet_againstASet() {
        var random = SeededRandom(seed: 7)
        var set = NumberSet()
        var oracle: Set<UInt64> = []
        for _ in 0..<2_000 {
            let number = random.next() % 500
            if random.next() % 2 == 0 {
                set.insert(number)
                oracle.insert(number)
            } else {
                #expect(set.remove(number) == (oracle.remove(number) != nil))
            }
        }
    }
}
