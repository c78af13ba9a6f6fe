// What a run is to be like, drawn from its seed: sizes so small that every limit is met, and how
// the disk behaves in each life of the process.

import TestSupport
import TriageBase
import TriageEngine
import TriageIO
import TriageJournal

/// Draws.
struct Lots {
    private var random: SeededRandom

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    mutating func next() -> UInt64 { random.next() }

    mutating func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }

    mutating func pick<T>(_ values: [T]) -> T { values[below(values.count)] }

    mutating func oneIn(_ count: Int) -> Bool { below(count) == 0 }
}

/// Settings of a run.
struct Plan {
    static let directory = "data"
    static let archive = "archive"
    static let removed = "removed"

    var configuration = EngineConfiguration()
    var storage = StorageOptions()
    /// Opens the keys of the directory; nil: it is not encrypted.
    let keys: KeySource?
    let lives: Int
    let turnsBetweenSwitches: UInt64

    init(_ lots: inout Lots) {
        lives = 2 + lots.below(6)
        var secret = (0..<32).map { _ in UInt8(truncatingIfNeeded: lots.next()) }
        let key = KeyEncryptionKey(wiping: &secret)
        keys = lots.oneIn(2) ? key.map { KeySource(current: $0) } : nil
        turnsBetweenSwitches = lots.pick([1, 2, 8, 64])
        storage.segmentBytes = lots.pick([8 << 10, 16 << 10, 64 << 10])
        storage.bufferBytesMax = lots.pick([4 << 10, 64 << 20, 64 << 20])
        storage.preparationBytesPerSecond = lots.pick([nil, 1 << 20])
        storage.snapshotBlockBytes = lots.pick([4 << 10, 16 << 10])
        storage.snapshotBytesPerSecond = lots.pick([nil, 1 << 20])
        storage.recoveryThreads = lots.pick([0, 0, 1, 2, 5])
        storage.recoveryPieceBytes = 3_000
        storage.snapshotsKept = 1 + lots.below(3)
        storage.journalRetention = lots.pick([.keep, .remove, .archive(Self.archive)])
        configuration.snapshotRecords = lots.pick([0, 5, 20, 100])
        configuration.snapshotMilliseconds = lots.pick([0, 10_000, 3_600_000])
        configuration.snapshotAtStop = lots.oneIn(2)
        configuration.turnBytesMax = lots.pick([1 << 10, 4 << 20])
        configuration.inboxBytesMax = lots.pick([16 << 10, 64 << 20])
        configuration.ringCount = lots.pick([8, 64, 65_536])
        configuration.watchPartMax = lots.pick([2, 16, 256])
        configuration.watchCredits = lots.pick([1, 2, 8])
        configuration.markMilliseconds = lots.pick([0, 100, 5_000])
    }

    /// Where older segments are, if the settings move them.
    var archivePath: String? {
        if case .archive(let path) = storage.journalRetention { path } else { nil }
    }
}

/// What befalls one life of the process.
struct Fate {
    enum End: String, CaseIterable {
        case stop, kill, powerCut
    }

    /// How it ends, if nothing ends it before.
    let end: End
    /// Calls of the disk after which it ends, whatever it is doing; nil: not for that reason.
    let crashesAfter: Int?
    /// How the disk behaves.
    let chances: SimChances
    /// Whether the disk fills up at times.
    let fillsUp: Bool
    /// Whether somebody sets the clock.
    let setsClock: Bool
    let steps: Int
    let segmentBytes: Int?

    init(_ lots: inout Lots) {
        end = lots.pick(End.allCases)
        // Early crashes meet recovery itself, again and again.
        crashesAfter = lots.oneIn(2) ? 1 + lots.below(lots.pick([30, 300, 1_500])) : nil
        var chances = SimChances()
        chances.nanoseconds = lots.pick([0, 20_000, 400_000])
        if lots.oneIn(3) {
            chances.slow = lots.pick([200, 5_000])
            chances.slowNanoseconds = lots.pick([20_000_000, 3_000_000_000])
        }
        if lots.oneIn(3) {
            chances.failing = lots.pick([100, 1_000, 8_000])
            chances.calls = lots.pick([
                SimCall.allCases, [.write], [.sync], [.write, .sync], [.read, .list],
                [.rename, .remove, .syncDirectory], [.open, .allocate],
            ])
            chances.errno = lots.pick([.inputOutput, .inputOutput, .noSpace, .quotaExceeded])
            chances.suffix = lots.pick(["", "", ".journal", ".tmp", "mark", ".snapshot"])
        }
        self.chances = chances
        fillsUp = lots.oneIn(4)
        setsClock = lots.oneIn(3)
        steps = 5 + lots.below(40)
        segmentBytes = lots.oneIn(4) ? lots.pick([8 << 10, 16 << 10, 64 << 10]) : nil
    }
}
