import Testing
import TriageBase
import TriageDomain

@Suite struct PriorityKeyTests {
    func key(
        _ band: Int, _ deadline: Int64, _ modifiers: Int = 0, _ number: UInt64 = 1
    ) -> PriorityKey {
        PriorityKey(
            band: band, effectiveDeadline: WallTime(milliseconds: deadline),
            modifierCount: modifiers, number: CaseNumber(number))
    }

    @Test func keepsItsParts() throws {
        for (band, deadline, modifiers, number) in [
            (0, Int64(0), 0, UInt64(1)), (1, 1_763_800_000_123, 7, 1 << 48 - 1),
            (2, WallTime.distantFuture.milliseconds, 15, 42),
        ] {
            let key = key(band, deadline, modifiers, number)
            #expect(key.band == band)
            #expect(key.effectiveDeadline.milliseconds == deadline)
            #expect(key.modifierCount == modifiers)
            #expect(key.number == CaseNumber(number))
            #expect(PriorityKey(high: key.high, low: key.low) == key)
        }
    }

    @Test func eachPartDecidesOnlyWhenThoseBeforeItAreEqual() {
        let ascending = [
            key(0, 5, 0, 9), key(1, 1, 3, 9), key(1, 1, 2, 1), key(1, 1, 2, 2), key(1, 2, 15, 1),
            key(2, 0, 15, 1), key(2, WallTime.distantFuture.milliseconds, 0, 1 << 48 - 1),
        ]
        for (a, b) in zip(ascending, ascending.dropFirst()) { #expect(a < b) }
    }

    @Test func outOfRangePartsAreClamped() {
        #expect(key(1, -5) == key(1, 0))
        #expect(key(1, 5, 99) == key(1, 5, 15))
    }

    @Test func forgedWordsAreRefused() {
        let good = key(2, 7)
        #expect(PriorityKey(high: 3 << 52, low: 1) == nil)
        #expect(PriorityKey(high: good.high, low: 0) == nil)
        #expect(PriorityKey(high: good.high, low: 1 << 48) == nil)
        #expect(PriorityKey(high: .max, low: .max) == nil)
        #expect(PriorityKey(high: 0xFFFF_FFFF_FFFF << 4, low: 1) == nil)
    }

    @Test func isSixteenBytes() {
        #expect(MemoryLayout<PriorityKey>.stride == 16)
    }
}
