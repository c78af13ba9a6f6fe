import DomainFixtures
import Testing
import TriageBase

@testable import TriageDomain

@Suite struct BoardTests {
    @Test func whatChangedAfterARevision_closedOnesIncluded_inBoundedSteps() throws {
        let driver = Driver()
        for subject in 1...9 as ClosedRange<UInt64> { try driver.submit(.example(subject)) }
        let revision = driver.world.counters.sequence
        let held = try driver.take()
        try driver.decideIt(held)
        try driver.run(
            .closeCase(case: held.caseNumber, token: held.number, liveRiskEnded: true, etag: nil))
        try driver.submit(.example(7))
        try driver.submit(.example(20))
        var found: [UInt64] = []
        var next: CaseNumber?
        var steps = 0
        repeat {
            let page = driver.world.cases(
                changedAfter: revision, from: &next, limit: 2, scanMax: 4)
            #expect(page.count <= 2)
            found += page.map(\.value)
            steps += 1
        } while next != nil
        #expect(found == [held.caseNumber.value, 7, 10].sorted() && steps >= 3)
        var none: CaseNumber?
        #expect(
            driver.world.cases(
                changedAfter: .max, from: &none, limit: 9, scanMax: 99
            ).isEmpty && none == nil)
    }

    /// Every case in the order of the reference, from its fields alone.
    static func expected(_ world: borrowing World) -> [CaseNumber] {
        world.snapshotState.cases.filter(\.isOpen).sorted { a, b in
            if a.band != b.band { return a.band < b.band }
            if a.effectiveDeadline != b.effectiveDeadline {
                return a.effectiveDeadline < b.effectiveDeadline
            }
            if a.modifiers.count != b.modifiers.count {
                return a.modifiers.count > b.modifiers.count
            }
            if a.receivedAt != b.receivedAt { return a.receivedAt < b.receivedAt }
            return a.number < b.number
        }.map(\.number)
    }

    @Test func casesStandInTheOrderOfTheReference() throws {
        let driver = Driver()
        driver.checksEachStep = false
        var random = SeededRandom(seed: 5)
        for subject in 1...500 {
            let bits = random.next()
            try driver.submit(
                .example(
                    UInt64(subject), family: HarmFamily.allCases[Int(bits % 11)],
                    reporter: ReporterKind.allCases[Int(bits >> 8 % 6)],
                    imminence: Imminence.allCases[Int(bits >> 16 % 5)],
                    modifiers: RiskModifiers(rawValue: UInt8(bits >> 24 & 0x7F)),
                    live: bits >> 32 % 4 == 0))
            // Some share a millisecond.
            if bits >> 40 % 2 == 0 { driver.now = driver.now.advanced(byMilliseconds: 60_000) }
        }
        driver.checkInvariants()
        let page = driver.world.board(after: nil, limit: 1_000, filter: BoardFilter())
        #expect(page.cases.map(\.value.number) == Self.expected(driver.world))
        #expect(page.next == nil)
        #expect(Set(page.cases.map(\.value.level)).count >= 4)
    }

    @Test func bandsAreThoseOfTheReference() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        for (level, band) in zip(Level.allCases.reversed(), [2, 2, 2, 1, 0]) where level <= .p2 {
            try driver.answer(number, level)
            #expect(try driver.matter(number).band == band)
            #expect(
                try driver.matter(number).effectiveDeadline
                    == driver.now.advanced(byMilliseconds: Targets.milliseconds(level)))
        }
    }

    @Test func pagesJoinToTheWholeBoard() throws {
        let driver = Driver()
        driver.checksEachStep = false
        for subject in 1...53 { try driver.submit(.example(UInt64(subject))) }
        for limit in [1, 7, 53, 100] {
            var found: [CaseNumber] = []
            var next: PriorityKey?
            var pages = 0
            repeat {
                let page = driver.world.board(after: next, limit: limit, filter: BoardFilter())
                #expect(page.cases.count <= limit)
                found += page.cases.map(\.value.number)
                next = page.next
                pages += 1
            } while next != nil
            #expect(found == (1...53).map { CaseNumber($0) })
            // No empty page at the end.
            #expect(pages == (53 + limit - 1) / limit)
        }
    }

    @Test func aFilterMatchesEveryPart() throws {
        let driver = Driver()
        let english = LanguageCode(rawValue: 5 << 5 | 14)
        let germany = RegionCode(rawValue: 4 << 5 | 5)
        let number = try driver.submit(
            .example(1, family: .terrorism, language: english, region: germany)
        ).caseNumber
        try driver.submit(.example(2))
        let lease = try driver.take()
        #expect(lease.caseNumber == number)
        func found(_ change: (inout BoardFilter) -> Void) -> Bool {
            var filter = BoardFilter()
            change(&filter)
            let cases = driver.world.board(after: nil, limit: 10, filter: filter).cases
            #expect(cases.allSatisfy { driver.world.matches($0.value, filter) })
            return cases.map(\.value.number) == [number]
        }
        #expect(found { $0.levels = 1 << 1 })
        #expect(!found { $0.levels = 1 << 2 })
        #expect(found { $0.states = 1 << CaseState.inTriage.rawValue })
        #expect(found { $0.families = 1 << HarmFamily.terrorism.rawValue })
        #expect(found { $0.languages = [english] })
        #expect(found { $0.regions = [germany] })
        #expect(found { $0.assignees = [.alice] })
        #expect(!found { $0.assignees = [.bob] })
        #expect(
            !found {
                $0.languages = [english]
                $0.levels = 1 << 2
            })
    }

    @Test func aPageThatFindsLittleEndsEarlyAndGoesOn() throws {
        let driver = Driver()
        driver.checksEachStep = false
        for subject in 1...5_000 { try driver.submit(.example(UInt64(subject))) }
        let last = try driver.submit(.example(9_999, imminence: .notImminent)).caseNumber
        var filter = BoardFilter()
        filter.levels = 1 << Level.p3.rawValue
        var next: PriorityKey?
        var found: [CaseNumber] = []
        var pages = 0
        repeat {
            let page = driver.world.board(after: next, limit: 10, filter: filter)
            found += page.cases.map(\.value.number)
            next = page.next
            pages += 1
        } while next != nil
        #expect(found == [last])
        #expect(pages == 3)
    }

    @Test func countsNameWhatWaitsAndSinceWhen() throws {
        let driver = Driver()
        let began = driver.now
        try driver.submit(.example(1))
        try driver.advance(seconds: 60)
        try driver.submit(.example(2))
        #expect(driver.world.counts.levels[2].queued == 2)
        #expect(driver.world.counts.levels[2].oldestQueued == began)
        let lease = try driver.take()
        #expect(driver.world.counts.levels[2].queued == 1)
        #expect(driver.world.counts.levels[2].held == 1)
        #expect(driver.world.counts.levels[2].oldestQueued == driver.now)
        try driver.release(lease.number, .shiftEnd)
        #expect(driver.world.counts.levels[2].oldestQueued == began)
        #expect(driver.world.counts.lastCase == CaseNumber(2))
    }

    @Test func whatARecordTouchedIsNamed() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        let (_, offered) = try driver.step(.claimNext(eligibility: .everything))
        let touched = driver.world.touched(by: offered.span)
        #expect(touched.cases == [number])
        #expect(touched.assignments == [AssignmentNumber(1)])
        #expect(driver.world.claimableLane(of: number) == nil)
        let (_, filed) = try driver.step(
            .submitDisclosureRequest(.emergency(case: number)), random: 3)
        #expect(driver.world.touched(by: filed.span).disclosures == [DisclosureID(3)])
        #expect(driver.world.touched(by: filed.span).cases == [number])
    }

    @Test func aReadIsRecordedAndChangesNothing() throws {
        let driver = Driver()
        let number = try driver.submit(.example()).caseNumber
        let before = try driver.matter(number).revision
        let read = SensitiveRead(target: .case(number), purpose: "quality review")
        let (_, events) = try driver.step(.recordRead(read), id: RequestID.none)
        #expect(events.count == 1)
        #expect(try driver.matter(number).revision == before)
        #expect(throws: DomainError.notFound(.disclosureRequest)) {
            try driver.run(
                .recordRead(SensitiveRead(target: .disclosure(DisclosureID(1)), purpose: "p")))
        }
    }
}

@Suite struct LazyHeapTests {
    @Test func theLeastCurrentEntryComesFirst() {
        var random = SeededRandom(seed: 11)
        var heap = LazyHeap<UInt64>()
        var current: Set<UInt64> = []
        for _ in 0..<20_000 {
            let value = random.next() % 1_000
            if random.next() % 3 == 0 {
                current.remove(value)
            } else {
                current.insert(value)
                heap.push(value) { current.contains($0) }
            }
            heap.settle { current.contains($0) }
            #expect(heap.first == current.min())
            // Bounded, however often the same entries come and go.
            #expect(heap.elements.count <= 2 * 1_000 + 1_024)
        }
        let limit: UInt64 = 500
        #expect(
            Set(heap.collect(upTo: limit).filter { current.contains($0) })
                == current.filter { $0 <= limit })
    }
}
