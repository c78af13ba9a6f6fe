import DomainFixtures
import Testing
import TriageBase

@testable import TriageDomain

@Suite struct WorldReplayTests {
    static let seeds: [UInt64] = [
        1, 2, 3, UInt64(ContinuousClock.now.duration(to: .now).components.attoseconds),
    ]

    /// Runs random commands; returns how often each kind of event happened.
    private func play(_ driver: Driver, seed: UInt64, steps: Int) throws -> [String: Int] {
        var chance = RandomCommands(seed: seed)
        var happened: [String: Int] = [:]
        var refused = 0
        var highestToken: UInt64 = 0
        driver.checksEachStep = false
        for step in 0..<steps {
            let state = driver.world.snapshotState
            let (command, principal) = chance.command(state)
            do throws(DomainError) {
                let (decision, events) = try driver.step(
                    command, as: principal, random: chance.random.next())
                _ = driver.world.outcome(of: decision)
                for case .caseOffered(let number, _, _, _, _, _, _) in events {
                    #expect(number.value > highestToken, "fencing tokens only grow")
                    highestToken = number.value
                }
            } catch {
                refused += 1
                if step % 128 == 0 {
                    #expect(
                        described(driver.world.snapshotState) == described(state),
                        "a refused command changes nothing")
                }
            }
            if chance.below(8) == 0 { try driver.advance(seconds: Int64(chance.below(600))) }
            if chance.below(100) == 0 { try driver.advance(seconds: 5 * 3_600) }
            if step % 50 == 0 { driver.checkInvariants() }
        }
        driver.checkInvariants()
        for event in driver.journal.flatMap(\.events) {
            happened[String("\(event)".prefix { $0 != "(" }), default: 0] += 1
        }
        happened["refused"] = refused
        return happened
    }

    @Test(arguments: seeds) func replayingTheJournalGivesTheSameWorld(_ seed: UInt64) throws {
        print("seed \(seed)")
        let driver = Driver()
        let happened = try play(driver, seed: seed, steps: 3_000)
        // The run was worth replaying: every kind of event came up. That of the clock may be a dull
        // one; the others are known not to be.
        let wanted =
            seed > 3
            ? []
            : [
                "reportReceived", "protocolAnswered", "caseDecided", "caseClosed", "caseReopened",
                "caseOffered", "caseAccepted", "leaseRenewed", "assignmentEnded",
                "disclosureSubmitted", "preservationPlaced", "verificationAdded", "scopeSet",
                "disclosureApproved", "disclosureRejected", "legalClockDue", "refused",
            ]
        for kind in wanted {
            #expect(happened[kind, default: 0] > 0, "no \(kind) under seed \(seed)")
        }

        let replayed = driver.replayed()
        #expect(described(replayed.snapshotState) == described(driver.world.snapshotState))
        #expect(observed(replayed) == observed(driver.world))
        try expectSame(WorldBuilder(), and: driver.journal[...], as: driver)
    }

    /// A recovery keeps up no index while it replays, and makes all at the end: nothing differs.
    private func expectSame(
        _ builder: consuming WorldBuilder,
        and records: ArraySlice<(header: EventHeader, events: [Event])>, as driver: Driver
    ) throws {
        var recovered = try builder.beginReplay()
        for record in records { recovered.apply(record.events, record.header) }
        // In parts that end where no chunk does, and in an order in which nobody would run them.
        recovered.finishReplay(casesPerPart: 300) { for piece in $0.reversed() { piece() } }
        try recovered.checkInvariants()
        #expect(described(recovered.snapshotState) == described(driver.world.snapshotState))
        #expect(observed(recovered) == observed(driver.world))
        #expect(recovered.storedObjects == driver.world.storedObjects)
    }

    @Test(arguments: seeds) func aSnapshotAndTheRestOfTheJournalGiveTheSameWorld(
        _ seed: UInt64
    ) throws {
        print("seed \(seed)")
        let driver = Driver()
        _ = try play(driver, seed: seed, steps: 1_000)
        let taken = driver.world.snapshotState
        let text = described(taken)
        let records = driver.journal.count
        _ = try play(driver, seed: seed &+ 1, steps: 1_000)
        // The copy did not move with the World.
        #expect(described(taken) == text)

        var restored = try rebuilt(from: taken)
        try restored.checkInvariants()
        #expect(described(restored.snapshotState) == text)
        for record in driver.journal[records...] { restored.apply(record.events, record.header) }
        try restored.checkInvariants()
        #expect(described(restored.snapshotState) == described(driver.world.snapshotState))
        #expect(observed(restored) == observed(driver.world))
        try expectSame(builder(of: taken), and: driver.journal[records...], as: driver)
    }

    @Test func casesInRunsGiveTheSameWorld() throws {
        let driver = Driver()
        driver.checksEachStep = false
        for subject in 1...1_100 { try driver.submit(.example(UInt64(subject))) }
        let state = driver.world.snapshotState
        // Cut as blocks of a snapshot would cut them: anywhere, and where a run begins.
        var runs: [ContiguousArray<Case>] = []
        for value in state.cases {
            if runs.isEmpty || WorldBuilder.beginsRun(value.number) || value.number.value % 300 == 0
            {
                runs.append([])
            }
            runs[runs.count - 1].append(value)
        }
        #expect(runs.count == 5 + 3)
        var empty = state
        empty.cases = ChunkedArray(startIndex: 1)
        empty.ledger = ChunkedArray()
        var restored = try builder(of: empty)
        #expect(throws: WorldImportError.self) { try restored.add(run: runs[1]) }
        for run in runs { try restored.add(run: run) }
        try restored.add(run: ContiguousArray(state.ledger.prefix(700)))
        try restored.add(run: ContiguousArray(state.ledger.dropFirst(700)))
        try expectSame(restored, and: [], as: driver)
    }

    @Test func timersOfManyComeInBoundedRecords() throws {
        let driver = Driver()
        driver.checksEachStep = false
        for subject in 1...600 { try driver.submit(.example(UInt64(subject))) }
        for index in 0..<600 {
            try driver.run(
                .claimNext(eligibility: .everything), as: Principal(dnsName: "s\(index)"))
        }
        let before = driver.journal.count
        try driver.advance(seconds: 180)
        #expect(driver.journal[before...].map(\.events.count) == [256, 256, 88])
        #expect(driver.world.counts.heldAssignments == 0)
        driver.checkInvariants()
    }

    // MARK: What makes no World

    @Test func partsThatDoNotFitAreRefused() throws {
        let driver = Driver()
        try driver.submit(.example(1))
        try driver.submit(.example(2))
        _ = try driver.take()
        _ = try driver.file(.emergency())
        let state = driver.world.snapshotState
        _ = try rebuilt(from: state)

        func refused(_ name: String, _ spoil: (inout WorldState) -> Void) {
            var spoiled = state
            spoil(&spoiled)
            #expect(throws: WorldImportError.self, "\(name)") { _ = try rebuilt(from: spoiled) }
        }
        refused("a case lost") { $0.cases.removePrefix(upTo: 2) }
        refused("a case number off") { $0.cases[2].number = CaseNumber(9) }
        refused("a case too few") { $0.counters.lastCase = CaseNumber(3) }
        refused("a submitter unknown") { $0.cases[1].first.submitter = PrincipalIndex(99) }
        refused("a case held by nothing") { $0.cases[2].assignment = AssignmentNumber(7) }
        refused("a holder without its case") { $0.cases[1].assignment = .none }
        refused("an assignment of no case") { $0.assignments[1].caseNumber = CaseNumber(9) }
        refused("an assignment of nobody") { $0.assignments[1].specialist = .none }
        refused("a token lost") { $0.counters.lastAssignment = AssignmentNumber(2) }
        refused("a request of nobody") { $0.disclosures[0].requester = .none }
        refused("a request twice") { $0.disclosures.append($0.disclosures[0]) }
        refused("a ledger out of order") {
            $0.ledger.append(
                LedgerEntry(
                    key: Hash128(high: 1, low: 1), fingerprint: Hash128(high: 1, low: 1),
                    time: .epoch, answer: .recorded))
        }
    }
}
