// What the board watches of one identity may hold, on a board with so many cases that a copy of
// what a watch knows shows.

import TestSupport
import Testing
import TriageBase
import TriageDomain

@testable import TriageEngine

@Suite struct WatchShareTests {
    private static let caseCount = 8_000
    /// What one watch that goes alone is booked with on that board.
    private static let each = NumberSet.bytesMax(upTo: caseCount)

    private func board(room: Int) -> EngineBench {
        let bench = EngineBench { $0.watchBytesPerIdentityMax = room }
        for start in stride(from: 0, to: Self.caseCount, by: 4_000) {
            let reports = (start..<start + 4_000).map {
                bench.request(.write(bench.report(about: UInt64($0)), bench.freshKey()))
            }
            bench.core.turn([RequestBatch(reactor: 0, requests: reports)])
            _ = bench.sink.take()
        }
        return bench
    }

    /// Filters that all match the board.
    private func filter(_ number: Int) -> BoardFilter {
        var filter = BoardFilter()
        filter.regions = [.unknown] + Array(repeating: .unknown, count: number)
        return filter
    }

    private func watch(
        _ bench: EngineBench, _ filter: BoardFilter, resumes: Bool = true, by name: String = "ana"
    ) -> EngineRequest {
        let resume = resumes ? bench.core.revision : 0
        return bench.request(.watchBoard(resume: resume, filter: filter), by: name)
    }

    private func isRefused(_ completions: [Completion]) -> Bool {
        completions.contains { $0.reply.kind == "failed(tooManyWatches)" }
    }

    /// What is kept, measured.
    private func bytesKnown(_ watches: WatchTable) -> Int {
        var bytes = watches.groups.values.reduce(0) { $0 + $1.subject.known.bytesHeld }
        for watch in watches.alone.values {
            if case .board(let subject) = watch.subject { bytes += subject.known.bytesHeld }
        }
        return bytes
    }

    private func told(
        _ bench: EngineBench, _ operation: EngineOperation, by watch: EngineRequest
    ) -> EngineRequest {
        var request = bench.request(operation)
        request.call = watch.call
        return request
    }

    @Test(arguments: [true, false])
    func watchesWithFiltersOfTheirOwn_haveTheIdentitysRoom_andOthersHaveTheirs(
        resumes: Bool
    ) throws {
        let bench = board(room: 5 * Self.each)
        var watches: [EngineRequest] = []
        for number in 0..<5 {
            watches.append(watch(bench, filter(number), resumes: resumes))
            #expect(!isRefused(bench.turn(watches[number])))
        }
        #expect(isRefused(bench.turn(watch(bench, filter(5), resumes: resumes))))
        #expect(bench.core.watches.count == 5)
        let booked = bench.core.watches.bytesHeld(by: person("ana"), bench.core.world)
        #expect(booked == 5 * Self.each)
        let known = bytesKnown(bench.core.watches)
        #expect(known <= booked)
        if resumes { #expect(known >= 5 * Self.caseCount / 8, "a bit a case, each") }
        #expect(!isRefused(bench.turn(watch(bench, filter(5), resumes: resumes, by: "ben"))))
        bench.turn(told(bench, .cancel, by: watches[2]))
        #expect(!isRefused(bench.turn(watch(bench, filter(5), resumes: resumes))))
    }

    @Test func watchesOfOneFilter_haveRoomForOne() {
        let bench = board(room: 2 * Self.each)
        for _ in 0..<40 { #expect(!isRefused(bench.turn(watch(bench, filter(0))))) }
        #expect(bench.core.watches.count == 40 && bench.core.watches.groups.count == 1)
        #expect(
            bench.core.watches.bytesHeld(by: person("ana"), bench.core.world) == Self.each)
    }

    @Test func theFirstWatch_isOpened_whateverTheBoardIs() {
        let bench = board(room: 1)
        #expect(!isRefused(bench.turn(watch(bench, filter(0)))))
        #expect(isRefused(bench.turn(watch(bench, filter(0)))))
        #expect(!isRefused(bench.turn(watch(bench, filter(0), by: "ben"))))
    }

    @Test func aWatchThatIsNotRead_andHasNoRoomAlone_isEnded_andSaysFromWhereToResume() throws {
        let bench = board(room: 2 * Self.each + Self.each / 2)
        let watches = (0..<4).map { _ in watch(bench, filter(0)) }
        for watch in watches { bench.turn(watch) }
        #expect(bench.core.watches.groups.values.map(\.calls.count) == [4])
        #expect(bench.turn(told(bench, .pause, by: watches[0])).isEmpty)
        let ended = bench.turn(told(bench, .pause, by: watches[1]))
        #expect(
            ended.map(\.reply.kind) == ["failed(watchTooSlow(revision: \(bench.core.revision)))"])
        #expect(ended.map(\.call) == [watches[1].call])
        #expect(bench.core.watches.count == 3)
        let next = bench.turn(
            bench.request(.write(bench.report(about: 99_999), bench.freshKey()), by: "intake"))
        let heard = next.filter(\.reply.isWatchPart).map(\.call)
        #expect(Set(heard) == [watches[2].call, watches[3].call])
    }
}
