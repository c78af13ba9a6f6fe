// What a disk does to bytes that it had made durable. We need not survive it, but must never give
// a wrong answer: either the state is right, or the start is refused, naming the file, and nothing
// was changed.

import TestSupport
import TriageBase
import TriageDomain
import TriageEngine
import TriageIO
import TriageJournal

/// One damage to a durable file.
struct Damage {
    enum Kind: String, CaseIterable {
        /// One bit is another.
        case flip
        /// A sector that was not written, or that was unmapped.
        case zeroSector
        /// A sector that was written to where another one should be.
        case misplaced
        /// A sector of which one half is lost.
        case tornInside
        /// A sector that cannot be read.
        case unreadable
        /// A file that is shorter.
        case cut
        /// A file that is gone.
        case erased
    }

    let kind: Kind
    let file: String
    let offset: Int

    /// Damages a file of the data directory; nil when there is none to damage.
    init?(_ disk: SimDisk, _ lots: inout Lots) {
        let names = disk.fileNames.filter {
            $0.hasPrefix(Plan.directory + "/") && !$0.hasSuffix("/lock")
                && disk.bytes(of: $0)?.isEmpty == false
        }
        guard !names.isEmpty else { return nil }
        // The last batches are of most interest: nothing stands behind them that bears them out.
        let last = names.last { $0.hasSuffix(".journal") }
        let isAtTheEnd = last != nil && lots.oneIn(3)
        file = isAtTheEnd ? last ?? "" : lots.pick(names)
        kind = lots.pick(Kind.allCases)
        guard var bytes = disk.bytes(of: file) else { return nil }
        // Most of a file is zero: what is in use is of interest.
        let used = max(1, bytes.count - bytes.reversed().prefix { $0 == 0 }.count)
        offset =
            isAtTheEnd
            ? max(0, used - 1 - lots.below(600))
            : lots.oneIn(8) ? lots.below(bytes.count) : lots.below(used)
        let sector = offset / 512 * 512..<min(bytes.count, (offset / 512 + 1) * 512)
        switch kind {
        case .flip: bytes[offset] ^= 1 << UInt8(lots.below(8))
        case .zeroSector:
            bytes.replaceSubrange(sector, with: [UInt8](repeating: 0, count: sector.count))
        case .misplaced:
            let from = lots.below(max(1, used / 512)) * 512
            let piece = bytes[from..<min(bytes.count, from + sector.count)]
            bytes.replaceSubrange(sector.lowerBound..<sector.lowerBound + piece.count, with: piece)
        case .tornInside:
            let half = sector.lowerBound + sector.count / 2
            bytes.replaceSubrange(
                half..<sector.upperBound,
                with: [UInt8](repeating: 0, count: sector.upperBound - half))
        case .unreadable:
            disk.spoil(file, sector: offset / 512)
            return
        case .cut: bytes.removeLast(bytes.count - offset)
        case .erased:
            disk.erase(file)
            return
        }
        disk.replace(file, with: bytes)
    }

    /// Whether it may hide the journal's end as a write that was never acknowledged would.
    ///
    /// FORMAT.md, "What this cannot see": a sector's part of the last batches is zero, or the last
    /// segment is gone before the mark told of it.
    func mayHideTheEnd(of disk: SimDisk) -> Bool {
        guard file.hasSuffix(".journal") else { return false }
        switch kind {
        case .zeroSector, .tornInside, .misplaced: return true
        case .erased:
            return disk.fileNames.allSatisfy {
                !$0.hasPrefix(Plan.directory + "/") || !$0.hasSuffix(".journal") || $0 <= file
            }
        case .flip, .unreadable, .cut: return false
        }
    }
}

/// The newest snapshot in the data directory by its name; 0 when there is none.
func newestSnapshot(on disk: SimDisk) -> UInt64 {
    disk.fileNames.filter { $0.hasPrefix(Plan.directory + "/") && $0.hasSuffix(".snapshot") }
        .compactMap { UInt64($0.dropFirst(Plan.directory.count + 1).prefix(20)) }.max() ?? 0
}

/// The newest record that the mark tells of (FORMAT.md, "Mark"); 0 without one.
func marked(on disk: SimDisk) -> UInt64 {
    guard let bytes = disk.bytes(of: Plan.directory + "/mark") else { return 0 }
    return [0, 4096].reduce(0) { newest, slot in
        guard bytes.count >= slot + 40, bytes[slot..<slot + 8].elementsEqual("TRIAGEMK".utf8)
        else { return newest }
        let sequence = bytes[slot + 32..<slot + 40].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        return max(newest, sequence)
    }
}

/// A state that was recovered, and the record that it is after.
final class Recovered {
    let head: UInt64
    var world: World

    init(head: UInt64, world: consuming World) {
        self.head = head
        self.world = world
    }
}

/// Recovers what is on a disk, as a start does before it changes anything.
func recover(_ disk: SimDisk, _ plan: borrowing Plan) throws(JournalError) -> Recovered {
    let directory = try DataDirectory(
        opening: Plan.directory, disk: disk, options: plan.storage, keys: plan.keys)
    var target = RecoveredWorld()
    let report = try directory.recover(into: &target)
    do {
        return Recovered(head: report.head.sequence, world: try target.takeWorld())
    } catch {
        throw .rejected(file: Plan.directory, offset: 0, what: error.what)
    }
}

/// Checks that nothing was removed or overwritten that is not kept elsewhere, but for files that
/// were never finished, and for what the disk itself took back as a sync failed.
func requireKept(before: SimDisk, after: SimDisk) throws(Violation) {
    for name in before.fileNames where name.hasPrefix(Plan.directory + "/") {
        if name.hasSuffix("/lock") || name.hasSuffix(".tmp") { continue }
        // What nothing refers to is removed from it; see judgeVault.
        if name.contains("/vault/") { continue }
        guard let old = before.bytes(of: name), let new = after.bytes(of: name) else {
            throw Violation("a start removed \(name)")
        }
        if old == new { continue }
        let isTakenBack = after.failures.contains { $0.call == .sync && $0.path == name }
        let synced = isTakenBack ? before.syncedBytes(of: name) ?? [] : []
        let changed = old.indices.prefix(new.count).filter { place in
            old[place] != new[place]
                && !(synced.indices.contains(place) && new[place] == synced[place])
        }
        if isTakenBack, changed.isEmpty, old.count == new.count { continue }
        guard old.count == new.count, let first = changed.first, let last = changed.last else {
            throw Violation("a start changed the length of \(name)")
        }
        let kept = after.fileNames.filter { $0.hasSuffix(".torn") }.contains { torn in
            guard let copy = after.bytes(of: torn) else { return false }
            // The copy begins where the torn write does, at or before the first byte that is now
            // zero.
            return (0...min(first, copy.count)).contains { before in
                let start = first - before
                return last < start + copy.count
                    && Array(old[start..<min(old.count, start + copy.count)]) == copy
            }
        }
        try require(kept, "a start overwrote \(name) from byte \(first) without a copy")
    }
}
